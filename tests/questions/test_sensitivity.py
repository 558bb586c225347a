"""No single unit can move a sum by more than the question says, whatever its records hold."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.domain import Category, Domain, Numeric
from tacit.guarantee import Relation
from tacit.questions import (
    GRID,
    Batch,
    Binning,
    CellCounts,
    CellSums,
    CountByKey,
    DenseGradient,
    Frame,
    Histogram,
    LinearGradient,
    Marginals,
    MarginCounts,
    Moments,
    Partition,
    Profile,
    SessionCache,
    SpreadCounts,
    Target,
    TimeCounts,
    UnitCount,
    UnitLengths,
    Update,
    parse,
)
from tacit.questions.dense import width_of

DOMAIN = Domain.of(amount=Numeric(-10, 1e6), share=Numeric(0, 1), kind=Category(("a", "b")))
NUMBER = st.one_of(
    st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -0.0, 1e308, -1e308, 5e-324, None, 1e6, -10.0]), st.floats(allow_nan=True, width=64),
)
TEXT = st.one_of(st.sampled_from(["a", "b", "", " a ", "unknown", "\x00", "a" * 300, None]), st.text(max_size=5))
RECORD = st.fixed_dictionaries({"amount": NUMBER, "share": NUMBER, "kind": TEXT, "y": st.sampled_from(["0", "1", "2", None, "", "x"]), "z": NUMBER})
BINARY, MULTI, NUMERIC = Target("y", ("0", "1")), Target("y", ("0", "1", "2")), Target("z", bounds=(-5.0, 5.0))


class Source:
    """Records of some units, as a source."""

    def __init__(self, units: list[list[dict[str, object]]], *, grouped: bool) -> None:
        self.units, self.grouped = units, grouped

    def batches(self, columns: object = None) -> object:
        rows = [record for unit in self.units for record in unit]
        owners = np.repeat(np.arange(len(self.units)), [len(unit) for unit in self.units])
        types = {"amount": pa.float64(), "share": pa.float64(), "kind": pa.string(), "y": pa.string(), "z": pa.float64()}
        arrays = {name: pa.array([row[name] for row in rows], type=kind) for name, kind in types.items()}
        yield Batch(arrays, len(rows), owners if self.grouped else None)


def binning(seed: int = 0) -> Binning:
    rng = np.random.default_rng(seed)
    return Binning(DOMAIN, tuple(np.sort(rng.integers(0, 7, kind.code_count)).astype(np.uint8) for _, kind in DOMAIN.columns))


def cell_question(target: Target, *, clip: int | None, hessian: bool, trees: int, seed: int) -> CellSums:
    rng = np.random.default_rng(seed)
    bins = binning(seed)
    loss = "squared" if target.bounds else ("softmax" if target.outputs > 1 else "logistic")
    frame = Frame(target, loss, bins)
    parts = []
    for _ in range(trees):
        features = rng.choice(3, 2, replace=False)
        parts.append(Partition.oblivious(features, [rng.integers(0, 2, bins.counts[f]).astype(bool) for f in features]))
    start = Partition.of_feature(1, bins.counts[1])
    delta = (Update(start, rng.integers(-60_000, 60_000, (bins.counts[1], target.outputs)).astype(np.int32)),)
    return CellSums(frame, frame.digest, tuple(parts), delta, hessian, clip)


def dense(target: Target, loss: str, *, clip: int, seed: int) -> DenseGradient:
    rng = np.random.default_rng(seed)
    frame = Frame(target, loss, binning(seed))
    sizes = [width_of(frame.binning), 4, 3, target.outputs]
    layers = tuple(
        (rng.integers(-200_000, 200_000, (after, before)).astype(np.int32), rng.integers(-60_000, 60_000, after).astype(np.int32))
        for before, after in itertools.pairwise(sizes)
    )
    return DenseGradient(frame, layers, clip)


def questions(clip: int | None, seed: int) -> list[object]:
    rng = np.random.default_rng(seed)
    width = 1 + 1 + 1 + 3
    found: list[object] = [Profile(("amount", "kind"), clip), Histogram(DOMAIN, 1, clip), Histogram(DOMAIN, 4, clip), UnitCount()]
    for target, loss in ((BINARY, "logistic"), (MULTI, "softmax"), (NUMERIC, "squared")):
        found += [cell_question(target, clip=clip, hessian=h, trees=t, seed=seed) for h, t in ((True, 1), (False, 3), (True, 2))]
        scaled = None if clip is None else clip * 1024
        weights = rng.integers(-40_000, 40_000, (target.outputs, width)).astype(np.int32)
        found.append(LinearGradient(target, loss, DOMAIN, weights, scaled))
        found.append(LinearGradient(target, loss, DOMAIN, weights, clip, 1024))
    found += [Moments(DOMAIN, 1, None, clip), Moments(DOMAIN, 2, None, clip), Moments(DOMAIN, 2, NUMERIC, clip), Moments(DOMAIN, 2, BINARY, clip)]
    found += [Moments(DOMAIN, order, None, clip, logs=False) for order in (1, 2)]
    bins, parts = found[4].frame.binning, found[5].partitions  # type: ignore[attr-defined]
    updates = tuple(Update(part, rng.integers(-60_000, 60_000, (part.size, 1)).astype(np.int32)) for part in parts)
    found += [CellCounts(bins, parts, clip), MarginCounts(bins, updates, np.array([-30_000, 0, 30_000], np.int32), clip)]
    times = TimeCounts("amount", -(10**6), 10**5, 30, "kind", ("a", "b"), clip)
    found += [times, TimeCounts("z", 0, 1, 1, None, (), clip), UnitLengths(times)]
    found.append(SpreadCounts(DOMAIN, rng.integers(-(1 << 24), 1 << 24, (4, width)).astype(np.int32), np.array([10, 5_000, 1 << 29], np.int32), clip))
    found += [Marginals(bins, ((0,), (0, 2), (1, 2), (0, 1, 2)), clip), Marginals(bins, ((1,),), clip)]
    losses = ((BINARY, "logistic"), (MULTI, "softmax"), (NUMERIC, "squared"))
    found += [dense(target, loss, clip=clip or 3 * GRID, seed=seed) for target, loss in losses]
    return [*found, CountByKey("kind", ("a", "b", "c"), 2, 3), CountByKey("kind", ("a", "b", "c"), 1, 1, "salt")]


def check(question: object, before: Source, after: Source, relation: Relation) -> None:
    first = question.evaluate(before, SessionCache())
    second = question.evaluate(after, SessionCache())
    assert first.dtype == np.int64
    assert first.shape == (question.size,)
    moved = [abs(int(x)) for x in (first - second)]
    bounds = question.bounds(relation)
    assert sum(1 for x in moved if x) <= bounds.l0, question.kind
    assert sum(moved) <= bounds.l1, question.kind
    assert sum(x * x for x in moved) <= bounds.l2**2, (question.kind, math.isqrt(sum(x * x for x in moved)), bounds)
    assert max(moved) <= bounds.linf, question.kind


@settings(max_examples=25, deadline=None)
@given(st.lists(RECORD, min_size=1, max_size=4), RECORD, st.integers(0, 10_000))
def test_one_record_more_stays_within_the_bounds(others: list[dict[str, object]], one: dict[str, object], seed: int) -> None:
    before, after = Source([[r] for r in others], grouped=False), Source([[r] for r in [*others, one]], grouped=False)
    for question in questions(None, seed):
        check(question, before, after, Relation.ADD_REMOVE)


@settings(max_examples=15, deadline=None)
@given(st.lists(RECORD, min_size=1, max_size=3), RECORD, RECORD, st.integers(0, 10_000))
def test_one_record_replaced_stays_within_the_bounds(
    others: list[dict[str, object]], one: dict[str, object], two: dict[str, object], seed: int,
) -> None:
    before, after = Source([[r] for r in [*others, one]], grouped=False), Source([[r] for r in [*others, two]], grouped=False)
    for question in questions(None, seed):
        check(question, before, after, Relation.REPLACE)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(RECORD, min_size=1, max_size=3), min_size=1, max_size=3), st.lists(RECORD, min_size=1, max_size=12),
    st.integers(1, 6 * GRID), st.integers(0, 10_000),
)
def test_one_unit_with_many_rows_stays_within_its_clip(
    others: list[list[dict[str, object]]], one: list[dict[str, object]], clip: int, seed: int,
) -> None:
    before, after = Source(others, grouped=True), Source([*others, one], grouped=True)
    for question in questions(clip, seed):
        check(question, before, after, Relation.ADD_REMOVE)


def test_the_bound_is_reached_by_one_hostile_record() -> None:
    """A bound that is far too loose would hide a wrong one."""
    frame = Frame(BINARY, "logistic", binning())
    whole = Partition((0,), (np.zeros(frame.binning.counts[0], np.uint8),), 1)
    push = Update(whole, np.array([[-40_000]], np.int32))
    question = CellSums(frame, frame.digest, (whole,), (push,), False)
    answer = question.evaluate(Source([[{"amount": 1.0, "share": 0.1, "kind": "a", "y": "1", "z": 0.0}]], grouped=False), SessionCache())
    assert abs(int(answer[0])) >= 0.999 * question.bounds(Relation.ADD_REMOVE).l2


@pytest.mark.parametrize("step", [-(2**31), -(2**30), -3_000_000, -2_200_000, 2_200_000, 3_000_000, 2**30, 2**31 - 1])
@pytest.mark.parametrize("label", ["0", "1"])
def test_no_margin_however_large_makes_a_gradient_longer_than_its_bound(step: int, label: str) -> None:
    frame = Frame(BINARY, "logistic", binning())
    whole = Partition((0,), (np.zeros(frame.binning.counts[0], np.uint8),), 1)
    update = Update(whole, np.array([[step]], np.int64).astype(np.int32))
    record = {"amount": 1.0, "share": 0.1, "kind": "a", "y": label, "z": 0.0}
    linear = LinearGradient(BINARY, "logistic", DOMAIN, np.full((1, 6), step, np.int64).astype(np.int32))
    twice = CellSums(frame, frame.digest, (whole,), (update, update))
    for question in (twice, CellSums(frame, frame.digest, (whole, whole), (update,), False), linear):
        check(question, Source([], grouped=False), Source([[record]], grouped=False), Relation.ADD_REMOVE)


def test_a_gradient_is_right_for_margins_up_to_hundreds() -> None:
    frame = Frame(BINARY, "logistic", binning())
    whole = Partition((0,), (np.zeros(frame.binning.counts[0], np.uint8),), 1)
    for margin in (-500.0, -13.0, -11.9, 0.0, 3.3, 12.1, 420.0, 511.0):
        update = Update(whole, np.array([[round(margin * 4096)]], np.int32))
        question = CellSums(frame, frame.digest, (whole,), (update,), False)
        answer = question.evaluate(Source([[{"amount": 1.0, "share": 0.1, "kind": "a", "y": "1", "z": 0.0}]], grouped=False), SessionCache())
        assert int(answer[0]) / GRID == pytest.approx(1 / (1 + math.exp(-margin)) - 1, abs=1e-3)


def test_clipping_is_per_unit_and_not_per_batch() -> None:
    """A thousand units under their clip are not shortened because there are many of them."""
    frame = Frame(BINARY, "logistic", binning())
    whole = Partition((0,), (np.zeros(frame.binning.counts[0], np.uint8),), 1)
    record = {"amount": 1.0, "share": 0.1, "kind": "a", "y": "1", "z": 0.0}
    clipped = CellSums(frame, frame.digest, (whole,), (), True, 2 * GRID).evaluate(Source([[record]] * 1000, grouped=True), SessionCache())
    free = CellSums(frame, frame.digest, (whole,)).evaluate(Source([[record]] * 1000, grouped=False), SessionCache())
    assert clipped.tolist() == free.tolist()


@pytest.mark.parametrize("clip", [None, 3 * GRID])
def test_a_question_survives_its_canonical_form(clip: int | None) -> None:
    records = Source([[{"amount": 3.0, "share": 0.5, "kind": "b", "y": "1", "z": 1.0}]], grouped=clip is not None)
    for question in questions(clip, 5):
        again = parse(question.to_dict())
        assert again.to_dict() == question.to_dict()
        assert again.evaluate(records, SessionCache()).tolist() == question.evaluate(records, SessionCache()).tolist()
