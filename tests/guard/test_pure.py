"""ε without δ: Laplace plans, the filter that adds their ε up, and a policy that admits nothing else."""

from __future__ import annotations

import math
from typing import Any

import dp_accounting
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tacit.errors import BudgetExceeded, OffPlan, PolicyViolation, UsageError, VerificationError
from tacit.guarantee import Budget, PrivacyUnit, Relation
from tacit.guard import Curator, Guard, Ledger, Limits, MemoryBooks, Plan, PlanStep, Policy, Records, Session, plan_cost, rehearse_answers
from tacit.guard.accounting import Cost
from tacit.guard.events import event_from_dict, event_to_dict, pure_epsilon
from tacit.guard.filters import Filter, laplace_rdp
from tacit.questions import GRID, Select, TimeCounts, UnitCount
from tacit.randomness import LAPLACE_DISTANCE, SecureRandom

RECORD = PrivacyUnit()
BUDGET = Budget(1.0, 1e-6)


def plan(*epsilons: float, mechanism: str = "laplace", **fields: Any) -> Plan:
    steps = tuple(PlanStep(UnitCount.kind, 1, 1 / epsilon, 1, l0=1, l2=GRID) for epsilon in epsilons)
    return Plan("t", RECORD, Relation.ADD_REMOVE, steps, mechanism=mechanism, **fields)


def policy(**fields: Any) -> Policy:
    given = {"filter": "pure", "limits": Limits(minimum_units=0), **fields}
    return Policy(dataset="d", unit=RECORD, relation=Relation.ADD_REMOVE, budget=BUDGET, **given)


def guard(rows: int = 500, seed: int | None = None, ledger: Any = None, **fields: Any) -> Guard:
    source = None if seed is None else SecureRandom.for_testing(seed)
    return Guard(Records.open(pa.table({"k": ["a"] * rows})), policy=policy(**fields), ledger=ledger or MemoryBooks(), source=source)


# ----------------------------------------------------------------------------------------------------------------- accounting


def test_epsilon_adds_up_and_survives_the_ledgers_form() -> None:
    cost = plan_cost(plan(0.25, 0.5))
    assert pure_epsilon(cost.event) == pytest.approx(0.75)
    assert pure_epsilon(event_from_dict(event_to_dict(cost.event))) == pytest.approx(0.75)
    assert cost.mu_squared is None
    assert cost.sampler_distance == pytest.approx(2 * LAPLACE_DISTANCE)
    assert pure_epsilon(dp_accounting.GaussianDpEvent(5.0)) == math.inf
    assert pure_epsilon(dp_accounting.LaplaceDpEvent(0.0)) == math.inf
    assert pure_epsilon(Cost.nothing().event) == 0


@given(st.lists(st.floats(1e-3, 0.3), min_size=1, max_size=8))
def test_the_filter_admits_exactly_up_to_epsilon(parts: list[float]) -> None:
    costs = [plan_cost(plan(part)) for part in parts]
    rule, spent = Filter(BUDGET, kind="pure"), math.fsum(1 / (1 / part) for part in parts)
    assert rule.admits(costs) is (spent <= 1.0)
    assert rule.epsilon(costs) == rule.fixed_epsilon(costs) == pytest.approx(spent)
    assert rule.left(costs) == pytest.approx(max(0.0, 1 - spent))
    assert 0 < rule.stated_delta(costs) < 1e-30


def test_the_filter_admits_no_other_noise_and_no_selection_beyond_delta() -> None:
    rule = Filter(BUDGET, kind="pure")
    assert not rule.admits([Cost(dp_accounting.GaussianDpEvent(1e6), 1e-12)])
    half = plan_cost(plan(0.1, selection_delta=6e-7))
    assert rule.admits([half])
    assert rule.stated_delta([half]) == pytest.approx(6e-7)
    assert not rule.admits([half, half])
    assert rule.spent([half]).accountant == "sum of epsilon"
    assert rule.extras_left([half]) == pytest.approx(4e-7)


@pytest.mark.parametrize("epsilon", [0.01, 0.5, 3.0])
@pytest.mark.parametrize("order", [2, 7, 40])
def test_renyi_of_laplace_is_the_librarys_under_every_relation(epsilon: float, order: int) -> None:
    accountant = dp_accounting.rdp.RdpAccountant([order])
    accountant.compose(dp_accounting.LaplaceDpEvent(1 / epsilon))
    assert laplace_rdp(order, 1 / epsilon) == pytest.approx(float(accountant.rdp[0]), rel=1e-9)
    cost = plan_cost(plan(epsilon))
    for relation in Relation:
        assert Filter(BUDGET, relation).epsilon([cost]) > 0


@pytest.mark.parametrize("total", [0.5, 2.0])
def test_one_coordinate_that_moves_by_all_of_it_is_the_worst(total: float) -> None:
    """Hockey-stick divergences of (a, b) with a + b fixed stay below those of (0, a + b): what lets a vector be charged as one number."""

    def loss(shift: float, cells: int) -> np.ndarray:
        """Chances that the privacy loss of a shift is -shift, ..., shift, in steps of 2 shift / cells: both ends are atoms."""
        edges = np.linspace(0, shift, cells + 1)
        inner = np.diff(-np.exp(-edges)) / 2
        between = np.concatenate([[0.0], (inner[1:] + inner[:-1]) / 2, [0.0]])
        between[[0, -1]] = inner[[0, -1]] / 2
        between[0] += 0.5
        between[-1] += math.exp(-shift) / 2
        return between[::-1]

    def divergence(masses: np.ndarray, epsilon: float) -> float:
        return float((masses * np.maximum(0, 1 - np.exp(epsilon - np.linspace(-total, total, len(masses))))).sum())

    cells = 4_000
    whole = loss(total, cells)
    assert whole.sum() == pytest.approx(1)
    assert divergence(whole, 0.0) == pytest.approx(1 - math.exp(-total / 2), abs=1e-3)
    for part in (0.25, 0.5):
        joint = np.convolve(loss(part * total, int(part * cells)), loss((1 - part) * total, int((1 - part) * cells)))
        for epsilon in np.linspace(0, total, 9)[:-1].tolist():
            assert divergence(joint, epsilon) < divergence(whole, epsilon)


# -------------------------------------------------------------------------------------------------------------------- answers


def test_an_answer_has_laplace_noise_of_the_planned_scale() -> None:
    question = TimeCounts("k", 0, 1, 4_000)
    step = PlanStep(question.kind, 2, 4.0, 4_000, l0=1, l2=GRID)
    session = guard().open(Plan("t", RECORD, Relation.ADD_REMOVE, (step,), mechanism="laplace"))
    scale = question.bounds(Relation.ADD_REMOVE).l1 * 4.0
    noise = np.concatenate([session.answer(step, question) for step in range(2)])
    assert stats.kstest(noise, stats.laplace(scale=scale).cdf).pvalue > 1e-9
    for factor, holds in ((1.0, True), (0.9, False), (1.1, False)):  # a magnitude's deviation is its mean
        assert (abs(np.abs(noise).mean() / (factor * scale) - 1) * len(noise) ** 0.5 < 6.2) == holds
    assert stats.kstest(noise, stats.norm(scale=2**0.5 * scale).cdf).pvalue < 1e-9


def test_a_small_share_has_to_be_one() -> None:
    from fractions import Fraction

    with pytest.raises(UsageError, match="share of 1"):
        guard().open(plan(0.1), share=Fraction(1, 2))


def test_a_common_value_is_selected_and_a_single_one_is_not() -> None:
    question = Select(("k",), 1)
    step = PlanStep(question.kind, 1, 2.0, 1 << 30, l0=1, l2=GRID)
    found = set()
    for seed in range(200):
        records = Records.open(pa.table({"k": ["common"] * 400 + ["alone"]}))
        owner = Guard(records, policy=policy(), ledger=MemoryBooks(), source=SecureRandom.for_testing(seed))
        chosen = owner.open(Plan("t", RECORD, Relation.ADD_REMOVE, (step,), mechanism="laplace", selection_delta=1e-7)).select(0, question)
        found |= set(chosen["k"])
        assert chosen["k"] == ("common",)
    assert found == {"common"}


def test_the_threshold_lets_one_unit_pass_with_the_chance_it_states() -> None:
    for values in (1, 3):
        question = Select(("k",), values)
        threshold = question.threshold(2 * GRID, 0.01, Relation.ADD_REMOVE, mechanism="laplace")
        chance = stats.laplace.sf((threshold - 0.5 - GRID / values**0.5) / (2 * GRID)) * values
        assert chance <= 0.01 * (1 + 1e-9)
        assert question.threshold(2 * GRID, 0.01, Relation.REPLACE, mechanism="laplace") > threshold


def test_sites_do_not_select() -> None:
    question = Select(("k",), 1)
    skellam = Plan("t", RECORD, Relation.ADD_REMOVE, (PlanStep(question.kind, 1, 20.0, 8, l0=1, l2=GRID),), mechanism="skellam", selection_delta=1e-8)
    session = guard(filter="auto", limits=Limits(minimum_units=0)).open(skellam)
    with pytest.raises(OffPlan, match="one curator"):
        session.select(0, question)


# ---------------------------------------------------------------------------------------------------------- policy and ledger


def test_a_policy_keeps_the_two_kinds_of_noise_apart() -> None:
    with pytest.raises(PolicyViolation, match="«pure»"):
        guard().open(plan(0.1, mechanism="gaussian"))
    with pytest.raises(PolicyViolation, match="«auto»"):
        guard(filter="auto").open(plan(0.1))


def test_charges_add_up_to_the_budget_and_no_further(tmp_path: Any) -> None:
    ledger = Ledger.open(str(tmp_path / "ledger.db"))
    owner = guard(ledger=ledger)
    conversation = Curator(owner).open(plan(0.5, 0.25))
    assert conversation.guarantee.epsilon == pytest.approx(0.75)
    assert 0 < conversation.guarantee.delta < 1e-30
    assert conversation.guarantee.accountant == "sum of epsilon"
    assert "0.75" in str(conversation.guarantee)
    owner.open(plan(0.25))
    with pytest.raises(BudgetExceeded):
        owner.open(plan(0.001))
    assert [cost.mu_squared for cost in ledger.costs(owner.scope)] == [None, None]


def test_without_a_minimum_no_units_are_counted_and_with_one_they_are_counted_with_laplace_noise() -> None:
    bare = guard()
    bare.open(plan(0.9))
    assert [note.kind for note in bare.ledger.find("count", bare.scope)] == []
    assert Curator(bare).count_cost.event == dp_accounting.NoOpDpEvent()
    with pytest.raises(UsageError, match="second charge"):
        bare.size()
    held = guard(limits=Limits(minimum_units=100), count_share=0.05)
    conversation = Curator(held).open(plan(0.9))
    assert conversation.guarantee.epsilon == pytest.approx(0.95)
    assert abs(held.size() - 500) < 20 * 40
    with pytest.raises(BudgetExceeded):
        held.open(plan(0.06))


def test_too_few_units_are_refused() -> None:
    with pytest.raises(PolicyViolation, match="at least 100"):
        guard(rows=5, limits=Limits(minimum_units=100), count_share=0.9).open(plan(0.05))


@pytest.mark.parametrize("change", [lambda x, s: (0.9 * x).astype(np.int64), lambda x, s: x + int(s), lambda x, s: np.abs(x)])
def test_laplace_noise_that_was_tampered_with_is_found_before_anything_is_charged(change: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Session._noise
    monkeypatch.setattr(Session, "_noise", lambda self, scale, size: change(original(self, scale, size), scale))
    rehearse_answers.cache_clear()
    owner = guard()
    with pytest.raises(VerificationError, match="not what its plan promises"):
        owner.open(plan(0.1))
    assert owner.ledger.costs(owner.scope) == []
    rehearse_answers.cache_clear()
