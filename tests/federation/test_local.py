"""Many guards, one sum: the noise of the whole, the sum of the whole, and no answer unless everybody was charged."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from tacit.domain import Category, Domain, Numeric
from tacit.errors import BudgetExceeded, NeedsContext, OffPlan, Refused, StorageError, UsageError
from tacit.federation import LocalFederation
from tacit.guarantee import Budget, PrivacyUnit, Relation, Scope, TrustModel
from tacit.guard import Curator, Guard, Limits, MemoryBooks, Plan, PlanStep, Policy, Records, plan_cost
from tacit.guard.approvals import approve
from tacit.learn import BoostingShape, LearnSpec, TargetSpec, fit_boosted
from tacit.learn.spending import planned, preparation, with_rest
from tacit.questions import (
    Batch,
    Binning,
    CellSums,
    CountByKey,
    Frame,
    Histogram,
    LinearGradient,
    Moments,
    Partition,
    Profile,
    Question,
    Select,
    SessionCache,
    Target,
    UnitCount,
    Update,
)
from tacit.randomness import SecureRandom

Z = 6.2  # a standard normal is further out with probability 6e-10
BUDGET = Budget(1.0, 1e-5)


class Rows:
    """Some columns as records."""

    def __init__(self, columns: dict[str, list[Any]]) -> None:
        self.columns = columns

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[Batch]:
        yield Batch({name: pa.array(values) for name, values in self.columns.items()}, len(next(iter(self.columns.values()))))


class Lavish(MemoryBooks):
    """Books that admit everything: to look at sums through next to no noise."""

    def require_room(self, scope: Scope, **given: Any) -> None:
        return None


def policy(site: int = 0, budget: Budget = BUDGET, **changes: Any) -> Policy:
    limits = Limits(0, approval=changes.pop("approval", "automatic"))
    given: dict[str, Any] = {"unit": PrivacyUnit(), "relation": Relation.ADD_REMOVE, **changes}
    return Policy(f"site-{site}", budget=budget, limits=limits, **given)


def guards(parts: Sequence[Any], books: type[MemoryBooks] = MemoryBooks, **changes: Any) -> list[Guard]:
    return [Guard(part, policy=policy(i, **changes), ledger=books()) for i, part in enumerate(parts)]


def plan_for(question: Question, noise: float, *, repeats: int = 1, mechanism: str = "skellam") -> Plan:
    bounds = question.bounds(Relation.ADD_REMOVE)
    step = PlanStep(question.kind, repeats, noise, question.size, l0=bounds.l0, l2=bounds.l2)
    return Plan("t", PrivacyUnit(), Relation.ADD_REMOVE, (step,), mechanism=mechanism, run="r")


def wide() -> CellSums:
    """Sixty thousand coordinates."""
    binning = Binning(Domain.of(c=Category(tuple(f"v{k}" for k in range(240)))), (np.arange(242, dtype=np.uint8),))
    frame = Frame(Target("y", ("0", "1")), "logistic", binning)
    return CellSums(frame, frame.digest, (Partition.of_feature(0, 242),) * 124)


def deviation(noise: NDArray[np.float64], sigma: float) -> float:
    """How many standard errors the noise's variance is from sigma squared."""
    return float((np.mean((noise / sigma) ** 2) - 1) * math.sqrt(len(noise) / 2))


def charges(found: Sequence[Guard]) -> list[int]:
    """How many plans each guard was charged for, its count aside."""
    return [sum(entry.body["plan"]["run"] == "r" for entry in guard.ledger.find("charge", guard.scope)) for guard in found]


# -------------------------------------------------------------------------------------------------------- the noise of the sum

PART = Rows({"c": ["v1", "v2", None], "y": ["0", "1", "1"]})


@pytest.mark.parametrize("sites", [2, 4, 7])
def test_the_sum_over_sites_carries_the_planned_noise(sites: int) -> None:
    question = wide()
    conversation = LocalFederation(guards([PART] * sites, Lavish)).open(plan_for(question, 5.0))
    noise = (conversation.ask(0, question) - sites * question.evaluate(PART, SessionCache())).astype(np.float64)
    sigma = 5.0 * question.bounds(Relation.ADD_REMOVE).l2
    assert abs(deviation(noise, sigma)) < Z
    assert abs(noise.mean()) < Z * sigma / math.sqrt(len(noise))
    for wrong in (0.95, 1.05, math.sqrt((sites - 1) / sites)):
        assert abs(deviation(noise * wrong, sigma)) > Z, "the test must see 5 % and a share that is missing"


def test_noise_is_within_five_per_cent_of_the_curators_at_equal_epsilon() -> None:
    """The same outlay planned for both, then the noise that both really add."""
    question = wide()
    federation, curator = LocalFederation(guards([PART] * 4)), Curator(Guard(PART, policy=policy(), ledger=MemoryBooks()))
    outlays = with_rest(preparation(undeclared=0, binned=1), "cells@1", repeats=5, cells=question.size, l0=248)
    plans = [planned(outlays, budget=BUDGET, aggregator=aggregator, purpose="t") for aggregator in (federation, curator)]
    multipliers = [plan.step(1).noise_multiplier for plan in plans]
    assert multipliers[0] / multipliers[1] == pytest.approx(1.0, rel=0.01)
    sums = [question.evaluate(PART, SessionCache()) * k for k in (4, 1)]
    conversations = [aggregator.open(plan) for aggregator, plan in zip((federation, curator), plans, strict=True)]
    scales = [
        float(np.std((conversation.ask(1, question) - exact).astype(np.float64))) for conversation, exact in zip(conversations, sums, strict=True)
    ]
    error = Z / math.sqrt(question.size)  # of the ratio of two standard deviations
    assert abs(scales[0] / scales[1] - multipliers[0] / multipliers[1]) < error
    assert abs(scales[0] / scales[1] - 1) < 0.05
    epsilons = [conversation.guarantee.epsilon for conversation in conversations]
    assert epsilons[0] == pytest.approx(epsilons[1], rel=0.01)
    assert max(epsilons) <= BUDGET.epsilon


def test_sites_draw_their_noise_apart() -> None:
    question = wide()
    found = guards([PART] * 2, Lavish)
    conversation = LocalFederation(found).open(plan_for(question, 5.0, repeats=2))
    exact = 2 * question.evaluate(PART, SessionCache())
    first, second = ((conversation.ask(step, question) - exact) / (5.0 * question.bounds(Relation.ADD_REMOVE).l2) for step in range(2))
    assert abs(float(np.mean(first * second))) * math.sqrt(question.size) < Z


# ------------------------------------------------------------------------------------------------------------ the sum of sums

COLUMNS = {"c": ["v1", "v2", None, "v1", "zz", "v2", "v1"], "n": [0.0, 5.5, math.nan, 1e9, -3.0, 2.0, 7.0], "y": ["0", "1", "1", None, "0", "1", "0"]}
DOMAIN = Domain.of(c=Category(("v1", "v2")), n=Numeric(0, 10))
SPLITS = [[[0, 1], [2, 3, 4], [5, 6]], [[6, 5, 4, 3, 2, 1], [0], []], [[0, 2, 4, 6], [1, 3, 5]]]


def questions() -> list[Question]:
    target = Target("y", ("0", "1"))
    tables = tuple(np.minimum(np.arange(kind.code_count), 5).astype(np.uint8) for _, kind in DOMAIN.columns)
    frame = Frame(target, "logistic", Binning(DOMAIN, tables))
    cell = CellSums(frame, frame.digest, (Partition.of_feature(0, 5), Partition.of_feature(1, 6)))
    return [
        UnitCount(), Profile(("c", "n")), Histogram(DOMAIN, 9), CountByKey("c", ("v1", "v2")), cell,
        LinearGradient(target, "logistic", DOMAIN, np.full((1, 5), 900, np.int32)), Moments(DOMAIN, 2, target),
    ]


@pytest.mark.parametrize("question", questions(), ids=lambda question: question.kind)
@pytest.mark.parametrize("split", SPLITS, ids=["three", "uneven", "two"])
def test_however_records_are_split_the_sum_is_the_same(question: Question, split: list[list[int]]) -> None:
    parts = [Rows({name: [values[i] for i in rows] if rows else values[:0] for name, values in COLUMNS.items()}) for rows in split]
    typed = [Rows({name: pa.array(values, pa.float64() if name == "n" else pa.string()) for name, values in part.columns.items()}) for part in parts]
    whole = question.evaluate(Rows(COLUMNS), SessionCache())
    assert np.sum([question.evaluate(part, SessionCache()) for part in typed], axis=0).tolist() == whole.tolist()
    federation = LocalFederation(guards(typed, Lavish))
    noisy = federation.open(plan_for(question, 2e-3)).ask(0, question)
    sigma = 2e-3 * question.bounds(Relation.ADD_REMOVE).l2
    assert np.abs(noisy - whole).max() <= 9 * sigma + 1


def test_the_size_is_the_sum_of_the_sites_noised_sizes() -> None:
    found = guards([Rows({"c": ["v1"] * 500}), Rows({"c": ["v1"] * 300})])
    federation = LocalFederation(found)
    assert federation.size() == sum(guard.size() for guard in found)
    assert federation.count_cost == plan_cost(found[0].count_plan())
    uneven = [found[0], Guard(PART, policy=policy(1, Budget(3.0, 1e-5)), ledger=MemoryBooks())]
    assert LocalFederation(uneven).count_cost == plan_cost(uneven[1].count_plan()), "the dearest: a unit may lie there"


def test_a_site_that_forgot_receives_the_model_again() -> None:
    cell = questions()[4]
    assert isinstance(cell, CellSums)
    update = Update(cell.partitions[0], np.full((5, 1), 4096, np.int32))
    second = CellSums(cell.frame, cell.base, cell.partitions, (update,))
    third = CellSums(cell.frame, second.after, cell.partitions)
    typed = {"c": pa.array(COLUMNS["c"]), "n": pa.array(COLUMNS["n"], pa.float64()), "y": pa.array(COLUMNS["y"])}
    conversation = LocalFederation(guards([Rows(typed)] * 3, Lavish)).open(plan_for(cell, 2e-3, repeats=3))
    conversation.ask(0, cell)
    before = conversation.ask(1, second)
    conversation.sessions[1].forget()
    with pytest.raises(NeedsContext):
        conversation.ask(2, third)
    conversation = LocalFederation(guards([Rows(typed)] * 3, Lavish)).open(plan_for(cell, 2e-3, repeats=3))
    conversation.ask(1, second)
    conversation.sessions[1].forget()
    after = conversation.ask(2, third, model=(cell.frame, [update]))
    assert np.abs(after - before).max() <= 20 * 2e-3 * cell.bounds(Relation.ADD_REMOVE).l2


# ------------------------------------------------------------------------------------------------------------- all, or nothing


def test_everybody_is_charged_before_anybody_answers() -> None:
    found = guards([PART] * 4)
    LocalFederation(found).open(plan_for(UnitCount(), 50.0))
    assert charges(found) == [1, 1, 1, 1]


def test_if_one_site_refuses_nobody_is_charged() -> None:
    found = guards([PART] * 4)
    spent = plan_for(UnitCount(), 5.0, mechanism="gaussian")
    found[2].open(replace(spent, run="earlier"))
    with pytest.raises(BudgetExceeded, match="site-2"):
        LocalFederation(found).open(plan_for(UnitCount(), 5.0))
    assert charges(found) == [0, 0, 0, 0]


class Faster(MemoryBooks):
    """Books in which somebody else spends the rest between the question and the charge."""

    def charge(self, scope: Scope, *, plan: Plan, **given: Any) -> Any:
        if plan.run == "r":
            raise BudgetExceeded("refused: somebody was faster.")
        return super().charge(scope, plan=plan, **given)


def test_if_one_site_refuses_in_the_last_moment_nothing_is_answered() -> None:
    found = guards([PART] * 3)
    found[1].ledger = Faster()
    with pytest.raises(BudgetExceeded, match="faster"):
        LocalFederation(found).open(plan_for(UnitCount(), 50.0))
    assert charges(found) == [1, 0, 0], "what was charged stays charged"


def test_a_site_whose_disk_fails_ends_it_too() -> None:
    class Broken(MemoryBooks):
        def charge(self, scope: Scope, **given: Any) -> Any:
            raise StorageError("the disk is full. Nothing was written.")

    found = guards([PART] * 2)
    found[1].ledger = Broken()
    with pytest.raises(StorageError):
        LocalFederation(found).open(plan_for(UnitCount(), 50.0))
    assert charges(found) == [0, 0]


def test_a_plan_waits_for_every_owner_at_once() -> None:
    found = guards([PART] * 3, approval="owner")
    federation, plan = LocalFederation(found), plan_for(UnitCount(), 50.0)
    for approved in range(3):
        with pytest.raises(Refused, match=f"site-{approved}"):
            federation.open(plan)
        assert [len(guard.ledger.find("proposal", guard.scope)) for guard in found] == [1, 1, 1], "all owners see it from the first time"
        approve(found[approved].ledger, found[approved].scope, plan.digest)
    federation.open(plan)
    assert charges(found) == [1, 1, 1]
    with pytest.raises(Refused, match="site-0"):
        federation.open(plan)


def test_noise_of_one_curator_is_not_shared() -> None:
    found = guards([PART] * 2)
    with pytest.raises(UsageError, match="Skellam"):
        LocalFederation(found).open(plan_for(UnitCount(), 50.0, mechanism="gaussian"))
    assert charges(found) == [0, 0]


def test_selection_needs_one_curator() -> None:
    with pytest.raises(OffPlan, match="one curator"):
        LocalFederation(guards([PART] * 2)).open(plan_for(UnitCount(), 50.0)).select(0, Select(("c",)))


def test_a_closed_conversation_is_closed_at_every_site() -> None:
    conversation = LocalFederation(guards([PART] * 2)).open(plan_for(UnitCount(), 50.0))
    conversation.close()
    for session in conversation.sessions:
        with pytest.raises(OffPlan, match="closed"):
            session.answer(0, UnitCount())


# ----------------------------------------------------------------------------------------------------------- who may take part


@pytest.mark.parametrize("changes", [
    {"unit": PrivacyUnit("event")}, {"relation": Relation.REPLACE}, {"rows_per_unit": 2}, {"budget": Budget(1.0, 1e-6)},
])
def test_policies_that_disagree_are_refused(changes: dict[str, Any]) -> None:
    other = Guard(PART, policy=policy(1, **changes), ledger=MemoryBooks())
    with pytest.raises(UsageError, match="agree on unit, relation, rows per unit and delta"):
        LocalFederation([*guards([PART]), other])


def test_sites_may_have_different_budgets() -> None:
    poor = Guard(PART, policy=policy(1, Budget(0.5, 1e-5)), ledger=MemoryBooks())
    assert len(LocalFederation([*guards([PART]), poor]).guards) == 2


@pytest.mark.parametrize("count", [0, 1])
def test_one_guard_is_no_federation(count: int) -> None:
    with pytest.raises(UsageError, match="use Curator"):
        LocalFederation(guards([PART] * count))


def test_the_guarantee_says_whom_a_unit_has_to_trust() -> None:
    conversation = LocalFederation(guards([PART] * 4)).open(plan_for(UnitCount(), 50.0))
    guarantee = conversation.guarantee
    assert guarantee.trust == TrustModel.distributed(4, threshold=4, colluding=0)
    assert str(guarantee.trust) == "distributed(4,4,0)"
    assert (guarantee.accountant, guarantee.unit, guarantee.relation) == ("gdp over skellam", PrivacyUnit(), Relation.ADD_REMOVE)
    assert guarantee.delta == 1e-5
    assert 0 < guarantee.epsilon < 1


def test_a_test_seed_at_one_site_voids_the_guarantee() -> None:
    found = [*guards([PART]), Guard(PART, policy=policy(1), ledger=MemoryBooks(), source=SecureRandom.for_testing(1))]
    federation = LocalFederation(found)
    assert federation.deterministic
    assert not federation.open(plan_for(UnitCount(), 50.0)).guarantee.holds
    assert not LocalFederation(guards([PART] * 2)).deterministic


def test_a_conversation_keeps_naming_the_charge_that_paid_for_it() -> None:
    found = guards([PART] * 2)
    federation = LocalFederation(found)
    first = federation.open(plan_for(UnitCount(), 90.0))
    kept = first.charge
    entry = found[0].last_charge
    assert entry is not None
    assert kept == (entry.sequence, entry.digest)
    federation.open(plan_for(UnitCount(), 90.0))
    assert first.charge == kept


# ------------------------------------------------------------------------------------------------------- one learner, two ways


def table(rows: int, seed: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=rows), rng.integers(0, 3, rows)
    y = (a + 0.8 * (b == 1) + rng.normal(size=rows) * 0.7 > 0.3).astype(int)
    return pa.table({"a": a, "b": pa.array([("x", "y", "z")[i] for i in b]), "label": pa.array([str(v) for v in y])})


def test_the_same_learner_runs_with_a_curator_and_with_four_sites() -> None:
    """Neither the learner nor the spec knows which; what comes out is about as good."""
    train, test = table(8_000, 1), table(4_000, 2)
    domain = Domain.of(a=Numeric(-6, 6), b=Category(("x", "y", "z")))
    spec = LearnSpec(("a", "b"), TargetSpec("label", classes=("0", "1")), BUDGET, domain=domain)
    parts = [Records.open(train.take(np.arange(site, 8_000, 4))) for site in range(4)]
    aggregators = [Curator(Guard(Records.open(train), policy=policy(9), ledger=MemoryBooks())), LocalFederation(guards(parts))]
    models = [fit_boosted(spec, aggregator, BoostingShape(trees=20, depth=2)) for aggregator in aggregators]
    quality = [roc_auc_score(np.array(test["label"].to_pylist()) == "1", model.predict_proba(test)[:, 1]) for model in models]
    assert min(quality) > 0.8
    assert abs(quality[0] - quality[1]) < 0.05
    assert [model.guarantee.trust.kind for model in models] == ["curator", "distributed"]
    assert all(model.guarantee.holds for model in models)


def test_sites_cannot_find_a_domain_by_selection() -> None:
    spec = LearnSpec(("c",), TargetSpec("y"), BUDGET)
    found = guards([PART] * 2)
    with pytest.raises(UsageError, match="declared domain"):
        fit_boosted(spec, LocalFederation(found))
    assert all(not guard.ledger.find("charge", guard.scope) for guard in found)
