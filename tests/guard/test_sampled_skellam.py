"""Skellam noise over Poisson samples: what is charged against what the true mechanism leaks, and what is really drawn."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from dp_accounting.pld import privacy_loss_distribution as pld
from numpy.typing import NDArray
from scipy.special import ive, logsumexp

from tacit.domain import Category, Domain
from tacit.errors import OffPlan, UsageError
from tacit.guarantee import Budget, PrivacyUnit, Relation
from tacit.guard import Cost, Filter, Plan, PlanStep, Sampler, Session, plan_cost, skellam_variance
from tacit.guard.events import SkellamDpEvent, event_from_dict, event_to_dict
from tacit.guard.sampler import RATE_UNIT, drawn
from tacit.guard.skellam import sampled_skellam_rdp, skellam_rdp
from tacit.questions import GRID, Batch, Binning, DenseGradient, Frame, SessionCache, Target, parse
from tacit.randomness import SecureRandom

Z = 6.2  # a standard normal is further out with probability 6e-10
SHIFT = 2048
DELTA = 1e-5


def plan(rate: float, noise: float, steps: int, *, cells: int = 1, relation: Relation = Relation.ADD_REMOVE, l2: int = SHIFT) -> Plan:
    step = PlanStep("dense@1", steps, noise, cells, l2=l2, sampler=Sampler.poisson(rate))
    return Plan("t", PrivacyUnit(), relation, (step,), mechanism="skellam", run="r")


# ------------------------------------------------------------------------------------------ what is charged, against the true mechanism


@cache
def log_masses(variance: float, reach: int) -> NDArray[np.float64]:
    side = np.log(ive(np.arange(reach + 1), variance))
    return np.concatenate([side[:0:-1], side])


def pair(rate: float, noise: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """log of the answer's law without the unit and with it, one coordinate that moves by the whole bound, on the same integers."""
    variance = skellam_variance(noise * SHIFT)
    still = log_masses(variance, math.ceil(12 * math.sqrt(variance)) + SHIFT)
    near, moved = still[SHIFT:], still[: len(still) - SHIFT]
    return near, np.logaddexp(math.log1p(-rate) + near, math.log(rate) + moved)


def losses(upper: NDArray[np.float64], lower: NDArray[np.float64], steps: int, *, pessimistic: bool) -> Any:
    masses = [dict(enumerate(law.tolist())) for law in (lower, upper)]
    one = pld.from_two_probability_mass_functions(
        *masses, pessimistic_estimate=pessimistic, value_discretization_interval=1e-4,
    )
    return one.self_compose(steps)


@pytest.mark.parametrize(
    ("rate", "noise", "steps"),
    [(0.01, 0.8, 1), (0.01, 0.8, 40), (0.1, 1.0, 1), (0.1, 1.0, 20), (0.1, 3.0, 200), (0.5, 2.0, 10), (0.5, 6.0, 60), (0.9, 4.0, 5)],
)
def test_what_is_charged_covers_true_sampled_skellam_and_is_hardly_more(rate: float, noise: float, steps: int) -> None:
    """The whole path, from a plan to ε, against privacy-loss distributions of the Skellam masses themselves, in both directions."""
    cost = plan_cost(plan(rate, noise, steps))
    charged = Filter(Budget(8.0, DELTA), kind="single").epsilon([cost])
    without, with_it = pair(rate, noise)
    surely = [losses(a, b, steps, pessimistic=False) for a, b in ((without, with_it), (with_it, without))]
    at_most = [losses(a, b, steps, pessimistic=True) for a, b in ((without, with_it), (with_it, without))]
    assert max(float(found.get_delta_for_epsilon(charged)) for found in surely) <= DELTA
    assert charged >= max(float(found.get_epsilon_for_delta(DELTA)) for found in surely)
    room = 0.9 * DELTA  # a tenth of δ is kept for samplers
    assert charged <= 1.01 * max(float(found.get_epsilon_for_delta(room)) for found in at_most) + 1e-3


def test_charging_for_5_percent_less_would_be_seen() -> None:
    """The comparison above has power: a charge for 5 % more noise, or for 5 % rarer samples, lies below the truth."""
    rule, (without, with_it) = Filter(Budget(8.0, DELTA), kind="single"), pair(0.1, 1.0)
    truth = float(losses(with_it, without, 20, pessimistic=False).get_epsilon_for_delta(DELTA))
    assert rule.epsilon([plan_cost(plan(0.1, 1.05, 20))]) < truth
    assert rule.epsilon([plan_cost(plan(0.095, 1.0, 20))]) < truth


@pytest.mark.parametrize("order", [2, 3, 7, 16, 40])
@pytest.mark.parametrize("rate", [0.01, 0.2, 0.7])
@pytest.mark.parametrize(("variance", "shift"), [(4.0, 1), (25.0, 3), (400.0, 10), (400.0, 25)])
def test_the_renyi_bound_covers_both_directions(order: int, rate: float, variance: float, shift: int) -> None:
    still = log_masses(variance, 150 if variance < 100 else 500)
    near, moved = still[shift:], still[: len(still) - shift]
    mixed = np.logaddexp(math.log1p(-rate) + near, math.log(rate) + moved)
    bound = sampled_skellam_rdp(order, rate, l1=shift, l2=shift, variance=variance)
    truth = [float(logsumexp(order * a + (1 - order) * b)) / (order - 1) for a, b in ((mixed, near), (near, mixed))]
    assert truth[1] <= truth[0] * (1 + 1e-9) + 1e-12, "the mirror image costs no more"
    assert truth[0] <= bound * (1 + 1e-9) + 1e-12
    if variance >= 400 and shift == 10 and order <= 16:
        assert bound <= 1.3 * truth[0]


def test_sampling_everybody_is_no_sampling_and_never_costs_more() -> None:
    given = {"l1": 9.0, "l2": 3.0, "variance": 50.0}
    assert sampled_skellam_rdp(8, 1.0, **given) == skellam_rdp([8], **given)[0]
    assert sampled_skellam_rdp(8, 1 - 1e-9, **given) <= skellam_rdp([8], **given)[0]
    for wrong in (0.0, -0.1, 1.1):
        with pytest.raises(UsageError, match="rate"):
            sampled_skellam_rdp(8, wrong, **given)
    with pytest.raises(UsageError, match="integer orders"):
        sampled_skellam_rdp(1, 0.5, **given)


def test_the_renyi_filter_admits_sampled_shared_noise_without_the_bridge() -> None:
    rule = Filter(Budget(2.0, DELTA), kind="renyi")
    fine, coarse = (plan_cost(plan(0.1, 3.0, 100, l2=l2)) for l2 in (SHIFT, 8))
    assert rule.admits([fine])
    assert coarse.bridge_shift == math.inf
    assert rule.epsilon([fine]) <= rule.epsilon([coarse]) < 2.0
    assert Filter(Budget(2.0, DELTA), kind="single").epsilon([coarse]) == math.inf, "there is no stand-in below a variance of 1e5"


def test_the_event_names_the_sample_and_the_noise_and_can_be_read_back() -> None:
    cost = plan_cost(plan(0.25, 2.0, 7))
    (step,) = cost.event.events
    assert (step.event.sampling_probability, step.count) == (0.25, 7)
    assert isinstance(step.event.event, SkellamDpEvent)
    assert event_from_dict(event_to_dict(cost.event)) == cost.event
    assert Cost.from_dict(cost.to_dict()) == cost
    assert cost.mu_squared is None


def test_only_what_is_proved_can_be_planned() -> None:
    for kind, sampler in (("count@1", Sampler.poisson(0.5)), ("dense@1", Sampler.passes(4)), ("dense@1", Sampler.cyclic(0.5, cycle=2))):
        with pytest.raises(UsageError, match="Expected every unit in answers with skellam noise"):
            Plan("t", PrivacyUnit(), Relation.ADD_REMOVE, (PlanStep(kind, 4, 5.0, 4, sampler=sampler),), mechanism="skellam")
    with pytest.raises(UsageError, match="got replace"):
        plan(0.5, 2.0, 3, relation=Relation.REPLACE)


# ------------------------------------------------------------------------------------------------------------- what is really drawn

VALUES = tuple(f"v{number:03d}" for number in range(200))
DOMAIN = Domain.of(c=Category(VALUES))
FRAME = Frame(Target("y", ("0", "1")), "logistic", Binning(DOMAIN, (np.arange(DOMAIN.column("c").code_count, dtype=np.uint8),)))
CODES = DOMAIN.column("c").code_count


class OneEach:
    """A unit for every value: each moves a coordinate of its own, so that one answer shows who took part."""

    def __init__(self, rows: int = 1) -> None:
        self.rows = rows

    def batches(self, _columns: Sequence[str] | None = None) -> Iterator[Batch]:
        values = [value for value in VALUES for _ in range(self.rows)]
        units = None if self.rows == 1 else np.repeat(np.arange(len(VALUES)), self.rows)
        yield Batch({"c": pa.array(values), "y": pa.array(["1"] * len(values))}, len(values), units)


def question(fine: int = 4) -> DenseGradient:
    layer = np.zeros((1, CODES), np.int32), np.zeros(1, np.int32)
    return DenseGradient(FRAME, (layer,), GRID, fine)


def answers(rate: float, steps: int, *, noise: float, rows: int = 1, sites: int = 3) -> NDArray[np.float64]:
    """Sums of sites of which one has the records: ``[steps, values]``, in units of one unit's whole part."""
    asked = question()
    unit = PrivacyUnit() if rows == 1 else PrivacyUnit("user", "user")
    step = PlanStep(asked.kind, steps, noise, asked.size, l2=GRID, sampler=Sampler.poisson(rate))
    whole = Plan("t", unit, Relation.ADD_REMOVE, (step,), mechanism="skellam", run="r")
    records = [OneEach(rows), *([Nobody(rows > 1)] * (sites - 1))]
    sessions = [Session(whole, one, source=SecureRandom(), share=Fraction(1, sites)) for one in records]  # type: ignore[arg-type]
    full = asked.evaluate(OneEach(rows), SessionCache())  # type: ignore[arg-type]
    codes = np.flatnonzero(full[:CODES])
    assert len(codes) == len(VALUES)
    found = np.array([np.sum([session.answer(number, asked) for session in sessions], axis=0) for number in range(steps)])
    return np.asarray(found[:, codes] / full[codes])


class Nobody(OneEach):
    """A site without records."""

    def __init__(self, grouped: bool) -> None:
        super().__init__()
        self.grouped = grouped

    def batches(self, _columns: Sequence[str] | None = None) -> Iterator[Batch]:
        units = np.zeros(0, np.int64) if self.grouped else None
        yield Batch({"c": pa.array([], pa.string()), "y": pa.array([], pa.string())}, 0, units)


@pytest.mark.parametrize(("rate", "rows"), [(0.5, 1), (0.25, 1), (0.5, 3)])
def test_each_unit_takes_part_at_the_planned_rate_independently_of_others_and_of_steps(rate: float, rows: int) -> None:
    steps = 300
    seen = answers(rate, steps, noise=0.02, rows=rows)
    taken = seen > 0.5
    draws, p = taken.size, math.ceil(rate * RATE_UNIT) / RATE_UNIT
    z = (taken.sum() - draws * p) / math.sqrt(draws * p * (1 - p))
    assert abs(z) < Z
    assert abs((taken.sum() - draws * p * 1.05) / math.sqrt(draws * p * (1 - p))) > Z, "a rate that is 5 % off would be seen"
    sizes = taken.sum(axis=1)
    spread = ((sizes - len(VALUES) * p) ** 2).mean() / (len(VALUES) * p * (1 - p))
    assert abs(spread - 1) < Z * math.sqrt(2.2 / steps), "units join one by one: a fixed batch, or all at once, spreads otherwise"
    often = taken.sum(axis=0)
    assert abs(((often - steps * p) ** 2).mean() / (steps * p * (1 - p)) - 1) < Z * math.sqrt(2.2 / len(VALUES)), "no unit is preferred"
    centred = taken - p
    again = (centred[1:] * centred[:-1]).sum() / (p * (1 - p)) / math.sqrt(draws)
    assert abs(again) < Z, "a step says nothing about the next"


def test_answers_of_a_planted_unit_are_the_mixture_that_is_charged() -> None:
    """Shared noise around nothing and around the whole part, in the planned shares: at noise that hides which is which."""
    rate, noise, steps = 0.3, 1.0, 300
    seen = answers(rate, steps, noise=noise).ravel()
    sigma = noise * GRID / np.abs(question(0).evaluate(OneEach(), SessionCache())[:CODES]).max()  # type: ignore[arg-type]
    variance = sigma**2 + rate * (1 - rate)
    mean = (seen.mean() - rate) / math.sqrt(variance / seen.size)
    spread = (seen.var() / variance - 1) / math.sqrt(2 / seen.size)
    assert abs(mean) < Z
    assert abs(spread) < Z
    assert abs(seen.var() / (variance + sigma**2 * (1.05**2 - 1)) - 1) / math.sqrt(2 / seen.size) > Z


def test_the_work_has_one_size_and_the_sum_is_of_the_sample_alone() -> None:
    source = SecureRandom()
    found = [drawn(0.2, 5_000, source) for _ in range(30)]
    assert len({int(sample.computed.sum()) for sample in found}) == 1
    assert len({int(sample.taken.sum()) for sample in found}) > 1
    for sample in found:
        assert (sample.computed | ~sample.taken).all()
    small = drawn(0.2, 200, source)
    codes = np.flatnonzero(question().evaluate(OneEach(), SessionCache())[:CODES])  # type: ignore[arg-type]
    total = question().evaluate(OneEach(), SessionCache(), sample=small)  # type: ignore[arg-type]
    assert ((total[codes] != 0) == small.taken).all()


def test_a_step_is_answered_once_and_every_step_has_a_sample_of_its_own() -> None:
    asked = question()
    step = PlanStep(asked.kind, 2, 0.02, asked.size, l2=GRID, sampler=Sampler.poisson(0.5))
    whole = Plan("t", PrivacyUnit(), Relation.ADD_REMOVE, (step,), mechanism="skellam", run="r")
    session = Session(whole, OneEach(), source=SecureRandom(), share=Fraction(1, 2))  # type: ignore[arg-type]
    first = session.answer(0, asked)
    with pytest.raises(OffPlan, match="answered or passed over"):
        session.answer(0, asked)
    assert (np.abs(first - session.answer(1, asked)) > 1000).any()


def test_a_finer_answer_is_the_same_sum_in_smaller_steps() -> None:
    coarse, fine = question(0), question(5)
    assert (coarse.evaluate(OneEach(), SessionCache()) << 5 == fine.evaluate(OneEach(), SessionCache())).all()  # type: ignore[arg-type]
    assert fine.bounds(Relation.ADD_REMOVE).l2 == coarse.bounds(Relation.ADD_REMOVE).l2 << 5
    assert "fine" not in coarse.to_dict()
    assert parse(fine.to_dict()).fine == 5  # type: ignore[union-attr]
    with pytest.raises(UsageError, match="fine"):
        question(13)
