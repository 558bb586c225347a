"""One charged conversation: the planned noise and nothing else, each step once and in order, nothing that was not charged."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from tacit.domain import Category, Domain, Numeric
from tacit.errors import NeedsContext, OffPlan, UsageError
from tacit.guarantee import PrivacyUnit, Relation
from tacit.guard.plan import Plan, PlanStep
from tacit.guard.session import Session
from tacit.questions import (
    GRID,
    Batch,
    Binning,
    Bounds,
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
SAMPLES = 60_000
USER = PrivacyUnit("user", "user")


class Source:
    """A few records, and how often they were looked at."""

    def __init__(self, columns: dict[str, list[Any]], units: list[int] | None = None) -> None:
        self.columns, self.units, self.passes = columns, units, 0

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[Batch]:
        self.passes += 1
        rows = len(next(iter(self.columns.values())))
        yield Batch({name: pa.array(values) for name, values in self.columns.items()}, rows, None if self.units is None else np.array(self.units))


class OneRow(Source):
    """As little as there can be, for questions that are asked very often."""

    def __init__(self) -> None:
        super().__init__({})

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[Batch]:
        yield Batch({}, 1)


def plan_for(question: Any, noise: float, *, repeats: int = 1, relation: Relation = Relation.ADD_REMOVE, **changes: Any) -> Plan:
    """The plan that buys this question, exactly."""
    bounds = question.bounds(relation)
    size = 1 << 20 if isinstance(question, Select) else question.size
    step = PlanStep(question.kind, repeats, noise, size, l0=bounds.l0, l2=bounds.l2)
    return Plan("t", changes.pop("unit", PrivacyUnit()), relation, (step,), run="r", **changes)


def opened(plan: Plan, source: Source, **options: Any) -> Session:
    return Session(plan, source, source=SecureRandom(), **options)


# ------------------------------------------------------------------------------------------------------ the planned noise, always

WIDE = Domain(tuple((f"c{i}", Category(tuple(f"v{k}" for k in range(240)))) for i in range(24)))
NUMBERS = Domain(tuple((f"n{i}", Numeric(0, 1e6)) for i in range(70)))
CLASSES = Target("y", tuple("0123456789"))
RECORDS = Source(
    {**{name: ["v1", "v2", None] for name in WIDE.names}, **{name: [1.0, math.nan, 5e9] for name in NUMBERS.names}, "y": ["0", "1", None]}, [0, 0, 1],
)
ROWS = Source(RECORDS.columns)


def cells(trees: int, clip: int | None) -> CellSums:
    bins = Binning(WIDE.select(WIDE.names[:2]), (np.arange(242, dtype=np.uint8),) * 2)
    frame = Frame(Target("y", ("0", "1")), "logistic", bins)
    parts = tuple(Partition.of_feature(k % 2, 242) for k in range(trees))
    return CellSums(frame, frame.digest, parts, clip=clip)


def questions(clip: int | None) -> dict[str, Question]:
    weights = np.zeros((10, 1 + 24 * 241), np.int32)
    return {
        "count@1": UnitCount(), "profile@1": Profile((*WIDE.names, *NUMBERS.names), clip), "histogram@1": Histogram(NUMBERS, 1, clip),
        "keys@1": CountByKey("c0", tuple(f"v{k}" for k in range(249)), 3, 2), "cells@1": cells(124, clip),
        "linear@1": LinearGradient(CLASSES, "softmax", WIDE, weights, None if clip is None else clip * 1024),
        "moments@1": Moments(WIDE.select(WIDE.names[:2]), 2, None, clip),
    }


def deviation(noise: NDArray[np.float64], sigma: float) -> float:
    """How many standard errors the noise's variance is from sigma squared."""
    return float((np.mean((noise / sigma) ** 2) - 1) * math.sqrt(len(noise) / 2))


def noise_of(question: Question, session: Session, source: Source, count: int) -> NDArray[np.float64]:
    exact = question.evaluate(source, SessionCache())
    repeats = -(-count // question.size)
    return np.concatenate([session.answer(step, question) - exact for step in range(repeats)]).astype(np.float64)[:count]


KINDS = ["profile@1", "histogram@1", "keys@1", "cells@1", "linear@1", "moments@1"]


@pytest.mark.parametrize("relation", [Relation.ADD_REMOVE, Relation.REPLACE])
@pytest.mark.parametrize("grouped", [False, True], ids=["rows", "units"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_carries_the_planned_noise(kind: str, grouped: bool, relation: Relation) -> None:
    """σ is the plan's multiplier times the question's own bound under the relation; five per cent more or less would be seen."""
    question = questions(3 * GRID if grouped else None)[kind]
    source, multiplier = (RECORDS if grouped else ROWS), 7.3
    plan = plan_for(question, multiplier, repeats=500, relation=relation, unit=USER if grouped else PrivacyUnit())
    noise = noise_of(question, opened(plan, source), source, SAMPLES)
    sigma = multiplier * question.bounds(relation).l2
    assert len(noise) >= 31_000
    assert abs(deviation(noise, sigma)) < Z
    assert abs(noise.mean()) < Z * sigma / math.sqrt(len(noise))
    for wrong in (0.95, 1.05, 0.0):
        assert abs(deviation(noise * wrong, sigma)) > Z, "the test must be able to tell"


def test_the_count_carries_the_planned_noise() -> None:
    plan, source = plan_for(UnitCount(), 7.3, repeats=32_000), OneRow()
    noise = noise_of(UnitCount(), opened(plan, source), source, 32_000)
    assert abs(deviation(noise, 7.3 * GRID)) < Z
    assert abs(deviation(noise * 0.95, 7.3 * GRID)) > Z


def test_a_question_with_larger_bounds_than_planned_gets_more_noise() -> None:
    """The plan buys a noise multiplier, not a standard deviation."""
    question = cells(124, 9 * GRID)
    step = PlanStep("cells@1", 2, 4.0, question.size, l2=GRID)
    session = opened(Plan("t", USER, Relation.ADD_REMOVE, (step,), run="r"), RECORDS)
    noise = noise_of(question, session, RECORDS, SAMPLES)
    assert abs(deviation(noise, 4.0 * 9 * GRID)) < Z


@pytest.mark.parametrize("share", [Fraction(1), Fraction(1, 3), Fraction(1, 4)])
def test_a_site_adds_its_share_of_the_variance(share: Fraction) -> None:
    question = cells(124, None)
    plan = plan_for(question, 5.0, mechanism="skellam")
    noise = noise_of(question, opened(plan, ROWS, share=share), ROWS, SAMPLES)
    sigma = 5.0 * question.bounds(Relation.ADD_REMOVE).l2 * math.sqrt(share)
    assert abs(deviation(noise, sigma)) < Z
    assert abs(deviation(noise * 0.95, sigma)) > Z


@pytest.mark.parametrize("mechanism", ["gaussian", "skellam"])
def test_noise_is_drawn_anew_for_every_step_and_session(mechanism: str) -> None:
    question = cells(124, None)
    plan = plan_for(question, 5.0, repeats=2, mechanism=mechanism)
    sigma = 5.0 * question.bounds(Relation.ADD_REMOVE).l2
    first, second = (opened(plan, ROWS) for _ in range(2))
    exact = question.evaluate(ROWS, SessionCache())
    drawn = [(session.answer(step, question) - exact) / sigma for session in (first, second) for step in range(2)]
    for i in range(4):
        for j in range(i):
            assert abs(float(np.mean(drawn[i] * drawn[j]))) * math.sqrt(question.size) < Z
        assert abs(float(np.mean(drawn[i][1:] * drawn[i][:-1]))) * math.sqrt(question.size) < Z


def test_the_sum_is_the_exact_one() -> None:
    """With noise of a few grid steps the answer is the sum to a thousandth."""
    records = Source({"c0": ["v1", "v1", "v2", None, "zzz"]})
    question = Histogram(Domain.of(c0=Category(("v1", "v2"))))
    answer = opened(plan_for(question, 1e-3), records).answer(0, question)
    assert answer.dtype == np.int64
    assert np.rint(answer / GRID).tolist() == [1, 2, 1, 1]


# ------------------------------------------------------------------------------------------------------ only what was charged

HISTOGRAM, COUNT = Histogram(Domain.of(c0=Category(("v1", "v2")))), UnitCount()
STEPS = (PlanStep("count@1", 2, 5.0, 1, l0=1, l2=GRID), PlanStep("histogram@1", 1, 5.0, 4, l0=1, l2=GRID))
TWO = Plan("t", PrivacyUnit(), Relation.ADD_REMOVE, STEPS, run="r")


def rows() -> Source:
    return Source({"c0": ["v1", "v2"]})


def refuses(session: Session, source: Source, step: int, question: Any, match: str) -> None:
    before = source.passes
    with pytest.raises(OffPlan, match=match):
        session.answer(step, question)
    assert source.passes == before, "refused before any record was read"


def test_each_step_is_answered_once_and_in_order() -> None:
    source = rows()
    session = opened(TWO, source)
    session.answer(0, COUNT)
    refuses(session, source, 0, COUNT, "step 1 or a later one")
    session.answer(1, COUNT)
    session.answer(2, HISTOGRAM)
    for step in (0, 1, 2):
        refuses(session, source, step, COUNT, "step 3 or a later one")
    refuses(session, source, 3, COUNT, "from 0 to 2")
    refuses(session, source, -1, COUNT, "step 3 or a later one")


def test_a_step_that_was_passed_over_is_gone() -> None:
    source = rows()
    session = opened(TWO, source)
    session.answer(2, HISTOGRAM)
    refuses(session, source, 1, COUNT, "passed over")


def test_a_question_of_another_kind_is_refused_and_takes_no_step() -> None:
    source = rows()
    session = opened(TWO, source)
    refuses(session, source, 0, HISTOGRAM, "«count@1»")
    refuses(session, source, 2, COUNT, "«histogram@1»")
    session.answer(0, COUNT)


@pytest.mark.parametrize(("step", "match"), [
    (PlanStep("profile@1", 1, 5.0, 2 * 131 - 1, l0=2, l2=GRID), "at most 261 coordinates"),
    (PlanStep("profile@1", 1, 5.0, 2 * 131, l0=1, l2=GRID), "of which 1 can differ"),
    (PlanStep("profile@1", 1, 5.0, 2 * 131, l0=2, l2=2 * GRID), "l2 >= 8192"),
])
def test_looser_bounds_than_planned_are_refused(step: PlanStep, match: str) -> None:
    source = Source({"a": [1.0], "b": [2.0]})
    session = opened(Plan("t", PrivacyUnit(), Relation.ADD_REMOVE, (step,), run="r"), source)
    refuses(session, source, 0, Profile(("a", "b")), match)


def test_the_relation_of_the_plan_decides_about_bounds() -> None:
    step = PlanStep("profile@1", 1, 5.0, 131, l0=1, l2=GRID)
    source = Source({"a": [1.0]})
    refuses(opened(Plan("t", PrivacyUnit(), Relation.REPLACE, (step,), run="r"), source), source, 0, Profile(("a",)), "of which 1 can differ")
    opened(Plan("t", PrivacyUnit(), Relation.ZERO_OUT, (step,), run="r"), source).answer(0, Profile(("a",)))


def test_a_closed_session_answers_nothing() -> None:
    source = rows()
    session = opened(TWO, source)
    session.answer(0, COUNT)
    session.close()
    refuses(session, source, 1, COUNT, "closed")
    with pytest.raises(OffPlan, match="closed"):
        session.select(1, Select(("c0",)))
    with pytest.raises(OffPlan, match="closed"):
        session.supply(cells(1, None).frame, ())


@dataclass(frozen=True)
class Greedy:
    """A question of somebody's own, which lies about its bounds."""

    kind: ClassVar[str] = "count@1"
    size: ClassVar[int] = 1

    def bounds(self, relation: Relation) -> Bounds:
        return Bounds(1, GRID, GRID, GRID)

    def evaluate(self, records: Any, cache: SessionCache) -> NDArray[np.int64]:
        return np.array([sum(10**6 for _ in records.batches())], np.int64)

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind}


class Cheaper(Profile):
    """A known question with a bound of its own."""

    def bounds(self, relation: Relation) -> Bounds:
        return Bounds(1, 1, 1, 1)


@pytest.mark.parametrize("question", [Greedy(), Cheaper(("c0",))], ids=["look-alike", "subclass"])
def test_only_the_closed_list_of_questions_is_answered(question: Any) -> None:
    source = rows()
    step = PlanStep(question.kind, 1, 5.0, 131, l2=1)
    refuses(opened(Plan("t", PrivacyUnit(), Relation.ADD_REMOVE, (step,), run="r"), source), source, 0, question, "closed list")


@pytest.mark.parametrize("kind", ["profile@1", "histogram@1", "cells@1", "linear@1", "moments@1"])
def test_a_unit_with_several_rows_must_be_clipped(kind: str) -> None:
    question = questions(None)[kind]
    source = Source(RECORDS.columns, [0, 0, 1])
    refuses(opened(plan_for(question, 5.0, unit=USER), source), source, 0, question, "clips each user as one")
    clipped = questions(2 * GRID)[kind]
    opened(plan_for(clipped, 5.0, unit=USER), source).answer(0, clipped)


@pytest.mark.parametrize(("unit", "units"), [(USER, None), (PrivacyUnit(), [0, 0])])
def test_records_in_another_layout_than_the_plans_are_refused(unit: PrivacyUnit, units: list[int] | None) -> None:
    session = opened(plan_for(COUNT, 5.0, unit=unit), Source({"c0": ["v1", "v2"]}, units))
    with pytest.raises(UsageError, match="grouped by"):
        session.answer(0, COUNT)


@pytest.mark.parametrize("share", [Fraction(0), Fraction(-1, 2), Fraction(3, 2)])
def test_a_share_is_a_part_of_the_noise(share: Fraction) -> None:
    with pytest.raises(UsageError, match="share"):
        opened(plan_for(COUNT, 5.0, mechanism="skellam"), rows(), share=share)


def test_gaussian_noise_is_not_shared() -> None:
    with pytest.raises(UsageError, match="share of 1 for Gaussian"):
        opened(plan_for(COUNT, 5.0), rows(), share=Fraction(1, 2))


# -------------------------------------------------------------------------------------------------- what a session remembers


def two_steps() -> tuple[CellSums, CellSums, Update]:
    start = cells(1, None)
    update = Update(start.partitions[0], np.full((242, 1), 9000, np.int32))
    return start, CellSums(start.frame, start.after, start.partitions, (update,)), update


def test_a_session_that_forgot_asks_for_the_model_and_then_answers_the_same_step() -> None:
    first, second, update = two_steps()
    third = CellSums(first.frame, second.after, first.partitions)
    plan, source = plan_for(first, 1e-3, repeats=3), Source(ROWS.columns)
    remembering, forgetting = (opened(plan, source) for _ in range(2))
    for session in (remembering, forgetting):
        session.answer(0, first)
        session.answer(1, second)
    forgetting.forget()
    for _ in range(2):
        with pytest.raises(NeedsContext, match="supply the public model"):
            forgetting.answer(2, third)
    forgetting.supply(first.frame, [update])
    assert np.abs(forgetting.answer(2, third) - remembering.answer(2, third)).max() < 20 * 1e-3 * GRID


def test_asking_for_the_model_takes_no_step_and_gives_no_answer() -> None:
    first = cells(1, None)
    other = CellSums(first.frame, b"\x01" * 32, first.partitions)
    session = opened(plan_for(first, 5.0), Source(ROWS.columns))
    for _ in range(2):
        with pytest.raises(NeedsContext):
            session.answer(0, other)
    session.answer(0, first)


# ------------------------------------------------------------------------------------------------------------------ selection


def selecting(delta: float, *, repeats: int = 1, noise: float = 2.0, values: int = 1, **changes: Any) -> Plan:
    return plan_for(Select(("c0",), values), noise, repeats=repeats, selection_delta=delta, **changes)


def test_common_values_are_selected_most_common_first_and_rare_ones_are_not() -> None:
    source = Source({"c0": ["b"] * 400 + ["a"] * 900 + ["rare"] + [None] * 50 + [" a "] * 100})
    assert opened(selecting(1e-6), source).select(0, Select(("c0",))) == {"c0": ("a", "b")}


def test_a_value_that_one_unit_holds_alone_stays_hidden_but_for_delta() -> None:
    """Threshold GRID + σ Φ⁻¹(1 - δ): at δ = 0.2 a lone value comes out in a fifth of the selections, at 0.02 in a fiftieth."""
    values = [f"k{i}" for i in range(4_000)]
    source = Source({"c0": values})
    for delta in (0.2, 0.02):
        found = opened(selecting(delta), source).select(0, Select(("c0",)))["c0"]
        error = Z * math.sqrt(delta * (1 - delta) / len(values))
        assert abs(len(found) / len(values) - delta) < error + 2e-4
        assert len(found) / len(values) <= delta + error


@pytest.mark.parametrize("held", [1, 4])
def test_values_that_one_unit_holds_alone_stay_hidden_together(held: int) -> None:
    """However many values a unit has, any of them comes out with probability at most δ."""
    units, delta = 3_000, 0.2
    source = Source({"c0": [f"k{unit}-{i}" for unit in range(units) for i in range(held)]}, list(np.repeat(range(units), held)))
    found = opened(selecting(delta, values=4, unit=USER), source).select(0, Select(("c0",), 4))["c0"]
    told = len({value.split("-")[0] for value in found}) / units
    assert told <= delta + Z * math.sqrt(delta * (1 - delta) / units)
    assert told >= (0.5 * delta if held == 4 else 0.02)  # at 4 the union bound is all that lies between; fewer values are safer


def test_no_value_of_a_unit_is_preferred_and_its_length_stays_one() -> None:
    source = Source({"c0": ["a", "b", "a", "c"] * 50 + ["a"] * 20}, [*np.repeat(range(50), 4), *range(50, 70)])
    counts = Select(("c0",), 3).count(source, SessionCache())["c0"]
    third = math.floor(GRID / math.sqrt(3))
    assert counts == {"a": 50 * third + 20 * GRID, "b": 50 * third, "c": 50 * third}
    assert 3 * third**2 <= GRID**2


def test_several_selections_share_the_delta() -> None:
    """The plan charges its δ once, so two selections may let a lone value out with half of it each."""
    values = [f"k{i}" for i in range(4_000)]
    session = opened(selecting(0.2, repeats=2), Source({"c0": values}))
    for step in range(2):
        found = session.select(step, Select(("c0",)))["c0"]
        assert abs(len(found) / 4_000 - 0.1) < Z * math.sqrt(0.09 / 4_000) + 2e-4


def test_without_a_delta_nothing_is_selected() -> None:
    assert opened(selecting(0.0), Source({"c0": ["a"] * 10_000})).select(0, Select(("c0",))) == {"c0": ()}


def test_a_selection_is_held_to_the_plan() -> None:
    source = Source({"c0": ["a"] * 500, "c1": ["b"] * 500})
    cases = [
        (selecting(1e-6), Select(("c0", "c1")), "1 counts can differ"), (selecting(1e-6), Select(("c0",), 2), "1 counts can differ"),
        (plan_for(COUNT, 5.0), Select(("c0",)), "«count@1»"), (selecting(1e-6, mechanism="skellam"), Select(("c0",)), "one curator"),
    ]
    for plan, question, match in cases:
        before = source.passes
        with pytest.raises(OffPlan, match=match):
            opened(plan, source).select(0, question)
        assert source.passes == before
    session = opened(selecting(1e-6), source)
    session.select(0, Select(("c0",)))
    with pytest.raises(OffPlan, match="answered or passed over"):
        session.select(0, Select(("c0",)))


def test_a_selection_is_not_answered_as_a_sum() -> None:
    source = Source({"c0": ["a"]})
    refuses(opened(selecting(1e-6), source), source, 0, COUNT, "«select@1»")


def test_one_unit_adds_to_few_counts_whatever_it_holds() -> None:
    """A unit with a thousand rows and values counts like any other."""
    source = Source({"c0": ["x"] * 1000 + [f"y{i}" for i in range(1000)] + ["x"] * 30}, [0] * 2000 + list(range(1, 31)))
    counts = Select(("c0",), 2).count(source, SessionCache())["c0"]
    assert sum(counts.values()) <= (2 + 30) * GRID
    assert counts["x"] <= 31 * GRID
