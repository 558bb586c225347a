"""Every kind of question: the same sum however records come, one unit clipped as one, a closed and versioned list."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.domain import Category, Domain, Numeric
from tacit.errors import DataError, NeedsContext, UsageError
from tacit.guarantee import Relation
from tacit.questions import (
    GRID,
    KINDS,
    Batch,
    Binning,
    Bounds,
    CellCounts,
    CellSums,
    CountByKey,
    Frame,
    Histogram,
    LinearGradient,
    Marginals,
    MarginCounts,
    Moments,
    Partition,
    Profile,
    Question,
    Select,
    SessionCache,
    SpreadCounts,
    Target,
    TimeCounts,
    UnitCount,
    UnitLengths,
    Update,
    is_known,
    parse,
    restore,
)
from tacit.questions.base import clip_to
from tacit.questions.counts import clipped_counts

DOMAIN = Domain.of(amount=Numeric(-10, 1e6), kind=Category(("a", "b")))
TARGET, NUMBER = Target("y", ("0", "1")), Target("amount", bounds=(-5.0, 5.0))
TYPES = {"amount": pa.float64(), "kind": pa.string(), "y": pa.string()}
Rows = list[tuple[Any, Any, Any]]


class Source:
    """Rows ``(amount, kind, y)`` of some units, in batches of whole units."""

    def __init__(self, units: list[Rows], *, grouped: bool = True, per_batch: int = 1000) -> None:
        self.units, self.grouped, self.per_batch = units, grouped, per_batch

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[Batch]:
        for start in range(0, len(self.units), self.per_batch):
            some = self.units[start : start + self.per_batch]
            rows = [row for unit in some for row in unit]
            arrays = {name: pa.array([row[i] for row in rows], kind) for i, (name, kind) in enumerate(TYPES.items())}
            owners = np.repeat(np.arange(len(some)), [len(unit) for unit in some])
            yield Batch(arrays, len(rows), owners if self.grouped else None)


def frame(target: Target = TARGET) -> Frame:
    tables = tuple((np.arange(kind.code_count) % 5).astype(np.uint8) for _, kind in DOMAIN.columns)
    return Frame(target, "squared" if target.bounds else "logistic", Binning(DOMAIN, tables))


def cells(clip: int | None, target: Target = TARGET) -> CellSums:
    shared = frame(target)
    counts = shared.binning.counts
    return CellSums(shared, shared.digest, (Partition.of_feature(0, counts[0]), Partition.of_feature(1, counts[1])), clip=clip)


def unlabelled(clip: int | None) -> list[Question]:
    asked = cells(clip)
    updates = tuple(Update(part, np.arange(part.size, dtype=np.int32)[:, None] * 100 - 150) for part in asked.partitions)
    edges = np.array([-200, 0, 150], np.int32)
    return [CellCounts(asked.frame.binning, asked.partitions, clip), MarginCounts(asked.frame.binning, updates, edges, clip)]


def questions(clip: int | None) -> list[Question]:
    weights = np.full((1, 5), 700, np.int32)
    return [
        UnitCount(), Profile(("amount", "kind"), clip), Histogram(DOMAIN, 3, clip), CountByKey("kind", ("a", "b"), 2, 3), cells(clip),
        cells(clip, NUMBER), LinearGradient(TARGET, "logistic", DOMAIN, weights, None if clip is None else clip * 1024),
        LinearGradient(TARGET, "logistic", DOMAIN, weights, clip, 1024),
        Moments(DOMAIN, 1, None, clip), Moments(DOMAIN, 1, None, clip, logs=False), Moments(DOMAIN, 2, TARGET, clip), *unlabelled(clip),
        TimeCounts("amount", -4, 100, 4, None, (), clip), TimeCounts("amount", 0, 200, 3, "kind", ("b", "a"), clip),
        UnitLengths(TimeCounts("amount", -4, 100, 4)), Marginals(cells(None).frame.binning, ((0,), (0, 1)), clip),
        SpreadCounts(DOMAIN, np.full((2, 5), 1 << 19, np.int32), np.array([100, 4_000], np.int32), clip),
    ]


CLIPPED = [question for question in questions(GRID) if hasattr(question, "clip")]
AMOUNT = st.sampled_from([1.0, 250.0, -3.0, float("nan"), None])
ROW = st.tuples(AMOUNT, st.sampled_from(["a", "b", "z", None]), st.sampled_from(["0", "1", None, "x"]))
UNITS = st.lists(st.lists(ROW, min_size=1, max_size=6), min_size=1, max_size=6)


def name(question: Any) -> str:
    return f"{question.kind} {getattr(question, 'order', '')}{'number' if getattr(getattr(question, 'frame', None), 'loss', '') == 'squared' else ''}"


# -------------------------------------------------------------------------------------------------------------- the exact sum


@settings(max_examples=25)
@given(UNITS, st.integers(1, 7), st.randoms())
def test_neither_batches_nor_order_change_a_sum(units: list[Rows], per_batch: int, shuffle: Any) -> None:
    moved = list(units)
    shuffle.shuffle(moved)
    for question in questions(2 * GRID):
        whole = question.evaluate(Source(units), SessionCache())
        assert question.evaluate(Source(moved, per_batch=per_batch), SessionCache()).tolist() == whole.tolist(), question.kind


@settings(max_examples=25)
@given(UNITS, st.integers(1, 3 * GRID))
def test_a_sum_over_units_is_the_sum_of_each_units_own(units: list[Rows], clip: int) -> None:
    """So clipping is per unit: a batch of many is not shortened, and one unit's rows are shortened together."""
    for question in questions(clip):
        whole = question.evaluate(Source(units), SessionCache())
        alone = [question.evaluate(Source([unit]), SessionCache()) for unit in units]
        assert np.sum(alone, axis=0).tolist() == whole.tolist(), question.kind


@settings(max_examples=25)
@given(UNITS, st.integers(1, 2 * GRID))
def test_a_clip_holds_for_rows_that_are_units_of_their_own(units: list[Rows], clip: int) -> None:
    rows = [[row] for unit in units for row in unit]
    for question in questions(clip):
        ungrouped = question.evaluate(Source(rows, grouped=False), SessionCache())
        assert ungrouped.tolist() == question.evaluate(Source(rows), SessionCache()).tolist(), question.kind
        for row in rows:
            one = question.evaluate(Source([row], grouped=False), SessionCache())
            assert sum(int(x) ** 2 for x in one) <= question.bounds(Relation.ADD_REMOVE).l2 ** 2, question.kind


@pytest.mark.parametrize("question", CLIPPED, ids=name)
def test_a_giant_unit_adds_no_more_than_its_clip_and_a_thousand_small_ones_add_it_all(question: Any) -> None:
    row = (250.0, "b", "1")
    giant = question.evaluate(Source([[row] * 3000]), SessionCache())
    length = question.clip
    assert 0.98 * length <= np.sqrt((giant.astype(float) ** 2).sum()) <= length
    wide = type(question).from_dict({**question.to_dict(), "clip": 1 << 40})
    many, free = Source([[row]] * 1000), wide.evaluate(Source([[row]] * 1000), SessionCache())
    roomy = type(question).from_dict({**question.to_dict(), "clip": 4 * length})
    assert roomy.evaluate(many, SessionCache()).tolist() == free.tolist()


@pytest.mark.parametrize("question", [type(q).from_dict({**q.to_dict(), "clip": None}) for q in CLIPPED], ids=name)  # type: ignore[attr-defined]
def test_rows_of_a_unit_are_never_added_unclipped(question: Question) -> None:
    with pytest.raises(UsageError, match="Expected a clip"):
        question.evaluate(Source([[(1.0, "a", "1"), (2.0, "b", "0")]]), SessionCache())


@settings(max_examples=60)
@given(st.lists(st.lists(st.integers(-(2**30), 2**30), min_size=3, max_size=3), min_size=1, max_size=5), st.integers(1, 2**31))
def test_clipping_shortens_to_the_limit_exactly_and_leaves_short_vectors_alone(vectors: list[list[int]], limit: int) -> None:
    before = np.array(vectors, np.int64)
    after = clip_to(before, limit)
    for old, new in zip(before.tolist(), after.tolist(), strict=True):
        squared = sum(x * x for x in old)
        assert sum(x * x for x in new) <= limit * limit
        if squared < limit * limit * (1 - 1e-9):
            assert new == old
        assert all(abs(n) <= abs(o) and n * o >= 0 for o, n in zip(old, new, strict=True))
        if squared > limit * limit:
            factor = limit / squared**0.5
            assert all(abs(n - o * factor) <= 1 + 1e-9 * abs(o) for o, n in zip(old, new, strict=True))


def test_counts_are_clipped_per_unit() -> None:
    index, units = np.array([0, 0, 0, 1, 1, -1]), np.array([0, 0, 0, 0, 1, 1])
    sums = clipped_counts(index, units, size=2, clip=2 * GRID)
    share = 2 / 10**0.5  # the first unit counts (3, 1)
    assert np.abs(sums - np.array([3 * share, 1 * share + 1]) * GRID).max() <= 2
    assert clipped_counts(index, None, size=2, clip=None).tolist() == [3 * GRID, 2 * GRID]


def test_a_unit_is_counted_once_however_many_rows_it_has() -> None:
    row = (1.0, "a", "1")
    assert UnitCount().evaluate(Source([[row] * 50, [row]]), SessionCache()).tolist() == [2 * GRID]
    assert UnitCount().evaluate(Source([[row], [row]], grouped=False), SessionCache()).tolist() == [2 * GRID]
    keyed = CountByKey("kind", ("a", "b"), 1, 2)
    assert keyed.evaluate(Source([[row] * 50]), SessionCache()).tolist() == [2 * GRID, 0, 0]


def test_which_keys_of_a_unit_are_kept_depends_on_its_own_alone() -> None:
    both = [(1.0, "a", "1"), (1.0, "b", "1")]
    question = CountByKey("kind", ("a", "b"), 1, 1, "s")
    alone = question.evaluate(Source([both]), SessionCache())
    crowd = question.evaluate(Source([both, [(1.0, "a", "1")], [(1.0, "b", "1")], both[::-1]]), SessionCache())
    assert alone.sum() == GRID
    assert crowd.tolist() == (2 * alone + np.array([GRID, GRID, 0])).tolist()


# ---------------------------------------------------------------------------------------------------------- what is remembered


def test_a_step_that_is_asked_again_is_applied_once() -> None:
    first = cells(None)
    update = Update(first.partitions[0], np.full((first.partitions[0].size, 1), 5000, np.int32))
    second = CellSums(first.frame, first.base, first.partitions, (update,))
    source, cache = Source([[(250.0, "b", "1")]] * 9, grouped=False), SessionCache()
    first.evaluate(source, cache)
    answers = [second.evaluate(source, cache).tolist() for _ in range(3)]
    assert answers[0] == answers[1] == answers[2]
    cold = SessionCache()
    restore(first.frame, (update,), records=source, cache=cold)
    assert CellSums(first.frame, second.after, first.partitions).evaluate(source, cold).tolist() == answers[0]


def test_a_session_that_is_ahead_or_behind_asks_for_the_model() -> None:
    first = cells(None)
    update = Update(first.partitions[0], np.full((first.partitions[0].size, 1), 5000, np.int32))
    second = CellSums(first.frame, first.base, first.partitions, (update,))
    source, cache = Source([[(250.0, "b", "1")]] * 9, grouped=False), SessionCache()
    second.evaluate(source, cache)
    with pytest.raises(NeedsContext):
        first.evaluate(source, cache)
    third = CellSums(first.frame, second.after, first.partitions, (update,))
    with pytest.raises(NeedsContext):
        third.evaluate(source, SessionCache())
    third.evaluate(source, cache)


# ------------------------------------------------------------------------------------------------------------- the closed list


def test_the_list_of_kinds_is_what_the_documentation_says() -> None:
    assert KINDS == (
        "cell_counts@1", "cells@1", "contributions@1", "count@1", "dense@1", "distinct@1", "histogram@1", "keys@1", "linear@1", "margin_counts@1",
        "marginals@1", "moments@1", "profile@1", "select@1", "select_keys@1",
        "spread_counts@1", "tally@1",
        "timecounts@1", "unit_lengths@1",
    )


@pytest.mark.parametrize("question", [*questions(None), *questions(GRID), Select(("kind",), 2)], ids=name)
def test_a_question_is_known_and_survives_its_plain_form(question: Question | Select) -> None:
    assert is_known(question)
    again = parse(question.to_dict())
    assert type(again) is type(question)
    assert again.to_dict() == question.to_dict()
    assert again.bounds(Relation.REPLACE) == question.bounds(Relation.REPLACE)


@pytest.mark.parametrize("data", [{}, {"kind": "histogram@2"}, {"kind": "histogram"}, {"kind": 5}, {"kind": None}, {"kind": "__import__('os')"}])
def test_a_kind_that_is_not_on_the_list_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="Expected a question out of"):
        parse(data)


@pytest.mark.parametrize("question", [*questions(GRID), Select(("kind",))], ids=name)
def test_a_question_that_lacks_a_field_is_refused(question: Question | Select) -> None:
    for field in set(question.to_dict()) - {"kind", "step", "logs"}:  # a step of one and logarithms are not written
        data = dict(question.to_dict())
        del data[field]
        with pytest.raises(UsageError, match="Expected"):
            parse(data)


def test_a_look_alike_is_not_known() -> None:
    class Mine(UnitCount):
        """With the name of a known one."""

    assert not is_known(Mine())
    assert not is_known("count@1")
    assert not is_known(UnitCount)


@pytest.mark.parametrize("bad", [
    lambda: Bounds(0, 1, 1, 1), lambda: Bounds(1, 1, 0, 1), lambda: Bounds(1, (1 << 62) + 1, 1, 1), lambda: CountByKey("k", ("a",), 3, 1),
    lambda: CountByKey("k", ("a",), 1, 0), lambda: CountByKey("k", ("a",), 0, 1), lambda: Moments(DOMAIN, 3), lambda: Select(()),
    lambda: Select(("a",), 0), lambda: Moments(DOMAIN, 1, Target("y", ("0", "1", "2"))),
])
def test_a_question_that_makes_no_sense_is_refused(bad: Any) -> None:
    with pytest.raises(UsageError, match="Expected"):
        bad()


def test_bounds_from_a_length_cover_every_vector_of_it() -> None:
    bounds = Bounds.from_l2(10.2, size=7, relation=Relation.REPLACE)
    assert (bounds.l0, bounds.l2, bounds.linf) == (7, 22, 22)
    assert bounds.l1 >= 22 * 7**0.5


@pytest.mark.parametrize("question", [Profile(("absent",)), Histogram(Domain.of(absent=Numeric(0, 1))), CountByKey("absent", ("a",))], ids=name)
def test_a_column_that_is_not_there_is_named(question: Question) -> None:
    with pytest.raises(DataError, match="«absent»"):
        question.evaluate(Source([[(1.0, "a", "1")]], grouped=False), SessionCache())


# ------------------------------------------------------------------------------------------------------------------ out of core


class Endless:
    """A million records that are never in memory together: 80 MB if they were."""

    ROWS, PER_BATCH, COLUMNS = 1_000_000, 65_536, 10

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[Batch]:
        rng = np.random.default_rng(0)
        for start in range(0, self.ROWS, self.PER_BATCH):
            rows = min(self.PER_BATCH, self.ROWS - start)
            arrays = {f"x{i}": pa.array(rng.random(rows)) for i in range(self.COLUMNS)}
            yield Batch({**arrays, "y": pa.array(rng.integers(0, 2, rows))}, rows)


def test_a_million_records_are_summed_without_holding_them() -> None:
    domain = Domain(tuple((f"x{i}", Numeric(0, 1)) for i in range(Endless.COLUMNS)))
    tables = tuple((np.arange(kind.code_count) * 32 // kind.code_count).astype(np.uint8) for _, kind in domain.columns)
    shared = Frame(TARGET, "logistic", Binning(domain, tables))
    trees = tuple(Partition.oblivious(range(k, k + 4), [np.arange(32) >= 16] * 4) for k in range(3))
    for question, allowed in ((Histogram(domain, 8), 30e6), (CellSums(shared, shared.digest, trees), 70e6)):
        tracemalloc.start()
        answer = question.evaluate(Endless(), SessionCache())
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < allowed
        assert answer.any()
    histogram = Histogram(domain, 8).evaluate(Endless(), SessionCache())
    assert histogram.sum() == Endless.ROWS * Endless.COLUMNS * GRID


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.sampled_from([None, 1.0, 1e-3, 64.0]), st.sampled_from([1, 2, 8, 64, 1024]))
def test_merged_codes_stay_within_an_octave_and_in_order(lower: float, width: float, smallest: float | None, stride: int) -> None:
    kind = Numeric(lower, lower + width, smallest)
    groups = kind.merged(stride)
    assert len(groups) == kind.code_count
    assert groups[0] == 0
    assert set(np.diff(groups[1:])) <= {0, 1}
    assert np.bincount(groups)[1:].max() <= stride
    lowest = kind.edges
    for group in np.unique(groups[2:]):
        inside = lowest[groups[2:] == group]
        if len(inside) > 1:
            assert len({(np.sign(edge), np.floor(np.log2(abs(edge)))) for edge in inside}) == 1
