"""Counts over a public grid: exact against a naive count, within their bounds for hostile units, whatever the order and the batches."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.errors import DataError, UsageError
from tacit.guarantee import Relation
from tacit.questions import (
    GRID,
    Batch,
    Bounding,
    Condition,
    Contributions,
    DistinctTally,
    Grid,
    KeyAxis,
    SelectKeys,
    SessionCache,
    Tally,
    TimeAxis,
    ValueAxis,
    parse,
)
from tacit.questions.contributions import MOST_RATIO, QUARTERS, edges
from tacit.questions.keyselect import SEPARATOR

HOSTS = ("h1", "h2", "h3")
Row = dict[str, Any]
ROW = st.fixed_dictionaries({
    "host": st.sampled_from([*HOSTS, "other", None, "", " h1 "]), "user": st.sampled_from(["a", "b", None]),
    "at": st.sampled_from([0.0, 3_599.0, 3_600.0, 7_199.9, 7_200.0, -1.0, math.nan, None, 1e300]),
    "size": st.sampled_from([0.0, 5.0, 10.0, 99.0, 100.0, 1e9, -3.0, math.nan, None]), "outcome": st.sampled_from(["failure", "success", None]),
})
UNITS = st.lists(st.lists(ROW, min_size=1, max_size=12), max_size=6)
TYPES = {"host": pa.string(), "user": pa.string(), "at": pa.float64(), "size": pa.float64(), "outcome": pa.string()}
GRIDS = [
    Grid(), Grid((KeyAxis(("host",), tuple((h,) for h in HOSTS)),)),
    Grid((KeyAxis(("host", "user"), (("h1", "a"), ("h3", "b"), ("h2", "a"))), TimeAxis("at", 0, 3_600, 2))),
    Grid((TimeAxis("at", 0, 3_600, 2), ValueAxis("size", (0.0, 10.0, 20.0, 100.0))), (Condition("outcome", "in", ("failure",)),)),
    Grid((KeyAxis(("host",), (("h2",), ("h1",))),), (Condition("outcome", "not in", ("success",)), Condition("size", ">=", limit=5.0))),
]
BOUNDINGS = [
    Bounding(rows=3), Bounding(cells=2, each=2), Bounding(cells=1, each=3, rows=2), Bounding(length=GRID), Bounding(length=int(2.5 * GRID)),
    Bounding(each=1), Bounding(each=2, rows=5, length=2 * GRID), Bounding(rows=1), Bounding(cells=2, rows=1_000),
]


class Source:
    """Records of units; each batch holds some whole units, texts as dictionaries or as they are."""

    def __init__(self, units: list[list[Row]], *, per_batch: int = 100, grouped: bool = True, coded: bool = False) -> None:
        self.units, self.per_batch, self.grouped, self.coded = units, per_batch, grouped, coded

    def batches(self, columns: Any = None) -> Any:
        for start in range(0, len(self.units), self.per_batch):
            part = self.units[start : start + self.per_batch]
            rows = [row for unit in part for row in unit]
            arrays = {name: pa.array([row[name] for row in rows], kind) for name, kind in TYPES.items()}
            if self.coded:
                arrays = {name: array.dictionary_encode() if array.type == pa.string() else array for name, array in arrays.items()}
            yield Batch(arrays, len(rows), np.repeat(np.arange(len(part)), [len(unit) for unit in part]) if self.grouped else None)


# ------------------------------------------------------------------------------------------------------------- the naive count


def naive_cell(grid: Grid, row: Row) -> int | None:
    for test in grid.where:
        value = row[test.column]
        if test.limit is None:
            inside = value is not None and value.strip() in test.values
            if inside != (test.test == "in"):
                return None
        elif value is None or math.isnan(value) or not {">=": value >= test.limit, "<": value < test.limit}[test.test]:
            return None
    place = 0
    for axis in grid.axes:
        if isinstance(axis, KeyAxis):
            key = tuple((row[name] or "").strip() for name in axis.columns)
            if key not in axis.values:
                return None
            at = axis.values.index(key)
        elif isinstance(axis, TimeAxis):
            when = row["at"]
            if when is None or math.isnan(when) or not axis.begin <= when < axis.begin + axis.width * axis.bins:
                return None
            at = int((when - axis.begin) // axis.width)
        else:
            value = row["size"]
            if value is None or math.isnan(value):
                return None
            at = sum(value >= edge for edge in axis.edges[1:-1])
        place = place * axis.size + at
    return place


def naive_counts(grid: Grid, units: list[list[Row]]) -> list[Counter[int]]:
    found = [Counter(cell for row in unit if (cell := naive_cell(grid, row)) is not None) for unit in units]
    return [counter for counter in found if counter]


def naive_kept(bounding: Bounding, counts: Counter[int]) -> dict[int, Fraction] | None:
    """What stays of one unit, in rows; `None` where ties decide which cells stay."""
    cut = {cell: min(n, bounding.each or n) for cell, n in counts.items()}
    if bounding.cells is not None and len(cut) > bounding.cells:
        ranked = sorted(cut.values(), reverse=True)
        if ranked[bounding.cells - 1] == ranked[bounding.cells]:
            return None
        cut = {cell: n for cell, n in cut.items() if n >= ranked[bounding.cells - 1]}
    total = sum(cut.values())
    kept = {cell: Fraction(n) for cell, n in cut.items()}
    if bounding.rows is not None and total > bounding.rows:
        kept = {cell: Fraction(n * bounding.rows * GRID // total, GRID) for cell, n in cut.items()}
    if bounding.length is not None:
        length = math.sqrt(sum(float(n) ** 2 for n in kept.values())) * GRID
        if length > bounding.length:
            kept = {cell: n * Fraction(bounding.length / length) for cell, n in kept.items()}
    return kept


@settings(max_examples=120)
@given(UNITS, st.sampled_from(GRIDS), st.sampled_from(BOUNDINGS), st.booleans(), st.integers(1, 4), st.booleans())
def test_it_is_the_naive_count(units: list[list[Row]], grid: Grid, bounding: Bounding, once: bool, per_batch: int, coded: bool) -> None:
    counts = naive_counts(grid, units)
    if once:
        counts = [Counter(dict.fromkeys(counter, 1)) for counter in counts]
    kept = [naive_kept(bounding, counter) for counter in counts]
    answer = Tally(grid, bounding, once).evaluate(Source(units, per_batch=per_batch, coded=coded), SessionCache())
    assert answer.shape == (grid.size,)
    if None in kept:
        assert answer.sum() <= sum(min(sum(c.values()), bounding.rows or math.inf) for c in counts) * GRID
        return
    for cell in range(grid.size):
        exact = sum((part.get(cell, Fraction(0)) for part in kept if part is not None), Fraction(0)) * GRID
        slack = 0 if bounding.length is None else len(units) + 1
        assert exact - slack <= int(answer[cell]) <= exact


@settings(max_examples=60)
@given(UNITS, st.sampled_from(GRIDS), st.sampled_from(BOUNDINGS), st.randoms(use_true_random=False))
def test_order_of_rows_units_and_batches_changes_nothing(units: list[list[Row]], grid: Grid, bounding: Bounding, random: Any) -> None:
    shuffled = [random.sample(unit, len(unit)) for unit in random.sample(units, len(units))]
    for question in (
        Tally(grid, bounding), Tally(grid, bounding, True), DistinctTally(grid, ("user", "outcome"), 2), Contributions(Tally(grid, bounding), "lost"),
        Contributions(Tally(grid), "length"),
    ):
        first = question.evaluate(Source(units), SessionCache())
        assert first.tolist() == question.evaluate(Source(shuffled, per_batch=1, coded=True), SessionCache()).tolist()


def test_ties_are_broken_by_the_units_own_rows_and_not_alike_for_all() -> None:
    """Of units with more cells than they may have, no cell is always the one that goes."""
    row = {"user": None, "at": 0.0, "size": 0.0, "outcome": None}
    rng = np.random.default_rng(0)
    hosts = [f"h{i}" for i in range(40)]
    grid = Grid((KeyAxis(("host",), tuple((host,) for host in hosts)),))
    units = [[{**row, "host": host} for host in rng.choice(hosts, 20, replace=False)] for _ in range(2_000)]
    answer = Tally(grid, Bounding(cells=10, each=1)).evaluate(Source(units), SessionCache()) / GRID
    assert answer.sum() == 20_000
    assert (np.abs(answer - 500) < 6.5 * math.sqrt(500)).all()
    alone = [Tally(grid, Bounding(cells=10, each=1)).evaluate(Source([*units[:n], units[-1]]), SessionCache()) for n in (0, 1, 700)]
    without = [Tally(grid, Bounding(cells=10, each=1)).evaluate(Source(units[:n]), SessionCache()) for n in (0, 1, 700)]
    assert len({tuple((a - b).tolist()) for a, b in zip(alone, without, strict=True)}) == 1


@settings(max_examples=40)
@given(UNITS, st.sampled_from([g for g in GRIDS if g.axes]))
def test_coarser_cells_are_sums_of_the_finer(units: list[list[Row]], grid: Grid) -> None:
    last = grid.shape[-1]
    question = Tally(grid, Bounding(rows=3), blocks=(1, 2) if last >= 2 else (1,))
    fine, *coarse = question.split(question.evaluate(Source(units), SessionCache()))
    for table in coarse:
        padded = np.concatenate([fine, np.zeros((*fine.shape[:-1], -last % 2), np.int64)], axis=-1)
        assert table.tolist() == padded.reshape(*fine.shape[:-1], -1, 2).sum(axis=-1).tolist()


def test_packed_and_plain_orders_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from tacit.questions import pairs

    rng = np.random.default_rng(3)
    owner, count = np.sort(rng.integers(0, 40, 500)), rng.integers(1, 4, 500)
    ties = rng.integers(0, 2**63, 500).astype(np.uint64) << np.uint64(1)
    packed = pairs._ranked(owner, count, ties)
    monkeypatch.setattr(pairs, "_TIE_BITS", 65)
    assert pairs._ranked(owner, count, ties).tolist() == packed.tolist()


# --------------------------------------------------------------------------------------------------------------------- bounds


def questions() -> list[Any]:
    found: list[Any] = []
    for grid in GRIDS:
        for bounding in BOUNDINGS:
            found.append(Tally(grid, bounding))
            found.append(Tally(grid, bounding, True))
            found.append(Contributions(Tally(grid, bounding), "lost"))
        if grid.axes and grid.shape[-1] > 1:
            found.append(Tally(grid, Bounding(each=2, rows=3), blocks=(1, 2)))
        found += [Contributions(Tally(grid), measure) for measure in ("rows", "cells", "each", "length")]
        found += [DistinctTally(grid, ("user",), 1), DistinctTally(grid, ("user", "outcome"), 3)]
        found += [Contributions(DistinctTally(grid, ("size",), 2), measure) for measure in ("rows", "lost")]
    return found


def within(question: Any, before: list[list[Row]], after: list[list[Row]], relation: Relation, grouped: bool = True) -> None:
    first, second = (question.evaluate(Source(units, grouped=grouped), SessionCache()) for units in (before, after))
    moved, bounds = [abs(int(x)) for x in first - second], question.bounds(relation)
    assert first.dtype == np.int64
    assert first.shape == (question.size,)
    assert sum(1 for x in moved if x) <= bounds.l0, question
    assert sum(moved) <= bounds.l1, question
    assert sum(x * x for x in moved) <= bounds.l2**2, question
    assert max(moved) <= bounds.linf, question


@settings(max_examples=25)
@given(UNITS, st.lists(ROW, min_size=1, max_size=40), st.lists(ROW, min_size=1, max_size=40))
def test_one_unit_moves_a_count_by_no_more_than_its_bounds(others: list[list[Row]], one: list[Row], two: list[Row]) -> None:
    for question in questions():
        within(question, others, [*others, one], Relation.ADD_REMOVE)
        within(question, [one, *others], [two, *others], Relation.REPLACE)


@settings(max_examples=25)
@given(st.lists(ROW, max_size=5), ROW, ROW)
def test_one_record_moves_a_count_by_no_more_than_its_bounds(others: list[Row], one: Row, two: Row) -> None:
    alone = [[row] for row in others]
    for question in questions():
        within(question, alone, [*alone, [one]], Relation.ADD_REMOVE, grouped=False)
        within(question, [[one], *alone], [[two], *alone], Relation.REPLACE, grouped=False)


def hostile(counts: list[int]) -> list[Row]:
    row = {"user": None, "size": 0.0, "outcome": None, "at": 0.0}
    return [{**row, "host": f"h{cell}"} for cell, n in enumerate(counts) for _ in range(n)]


@pytest.mark.parametrize("bounding", [Bounding(cells=10, each=2), Bounding(rows=7), Bounding(length=3 * GRID), Bounding(cells=3, each=4, rows=9)])
@pytest.mark.parametrize("counts", [[100] * 30, [10_000] + [1] * 29, [1] * 30, [5_000]])
def test_the_bounds_are_reached_and_not_passed_by_units_with_far_too_much(bounding: Bounding, counts: list[int]) -> None:
    grid = Grid((KeyAxis(("host",), tuple((f"h{i}",) for i in range(30))),))
    question = Tally(grid, bounding)
    within(question, [], [hostile(counts)], Relation.ADD_REMOVE)
    answer, bounds = question.evaluate(Source([hostile(counts)]), SessionCache()), question.bounds(Relation.ADD_REMOVE)
    if counts == [100] * 30:
        full = bounds.l2 if bounding.length else bounds.l1
        moved = math.sqrt(float((answer.astype(float) ** 2).sum())) if bounding.length else int(answer.sum())
        assert moved >= 0.99 * full


def test_a_wrong_bound_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests above can fail: a tally that keeps one row more than it says does not pass them."""
    from tacit.questions import tally

    question = Tally(Grid((KeyAxis(("host",), tuple((f"h{i}",) for i in range(30))),)), Bounding(rows=7))
    monkeypatch.setattr(tally, "_share", lambda count, rows, totals: count * (rows + 1) * GRID // totals)
    with pytest.raises(AssertionError):
        within(question, [], [hostile([100] * 30)], Relation.ADD_REMOVE)


def test_very_large_units_do_not_overflow() -> None:
    grid, rows = Grid((TimeAxis("at", 0, 1, 2),)), 3_000_000

    class Giant:
        def batches(self, columns: Any = None) -> Any:
            yield Batch({"at": pa.array(np.zeros(rows))}, rows, np.zeros(rows, np.int64))

    for bounding, kept in ((Bounding(rows=1 << 24), rows), (Bounding(rows=1_000_003), 1_000_003), (Bounding(each=1 << 24), rows)):
        answer = Tally(grid, bounding).evaluate(Giant(), SessionCache())
        assert answer.tolist() == [kept * GRID, 0]


def test_what_bounds_nothing_is_not_asked() -> None:
    for bounding in (Bounding(), Bounding(cells=3)):
        with pytest.raises(UsageError, match="bound"):
            Tally(GRIDS[1], bounding).bounds(Relation.ADD_REMOVE)
        with pytest.raises(UsageError, match="bound"):
            Tally(GRIDS[1], bounding).evaluate(Source([]), SessionCache())


# ------------------------------------------------------------------------------------------------------------ distinct values


@settings(max_examples=80)
@given(UNITS, st.sampled_from(GRIDS), st.sampled_from([("user",), ("user", "outcome"), ("size",)]), st.integers(1, 3), st.booleans())
def test_distinct_values_are_the_naive_ones(units: list[list[Row]], grid: Grid, columns: tuple[str, ...], per_batch: int, coded: bool) -> None:
    seen: set[tuple[Any, ...]] = set()
    for unit in units:
        for row in unit:
            value = tuple(row[name] for name in columns)
            if (cell := naive_cell(grid, row)) is not None and not any(part is None or part != part for part in value):
                seen.add((cell, value))
    answer = DistinctTally(grid, columns, 1_000).evaluate(Source(units, per_batch=per_batch, coded=coded), SessionCache())
    cells = Counter(cell for cell, _ in seen)
    assert answer.tolist() == [cells[cell] * GRID for cell in range(grid.size)]


def test_distinct_values_of_many_batches_are_put_together(monkeypatch: pytest.MonkeyPatch) -> None:
    from tacit.questions import distinct

    monkeypatch.setattr(distinct, "_PENDING", 10)
    row = {"host": None, "user": None, "at": 0.0, "outcome": None}
    units = [[{**row, "size": float(value)} for value in range(n, n + 5)] for n in range(200)]
    answer = DistinctTally(Grid(), ("size",), 5).evaluate(Source(units, per_batch=7), SessionCache())
    assert answer.tolist() == [204 * GRID]
    fewer = DistinctTally(Grid(), ("size",), 1).evaluate(Source(units, per_batch=7), SessionCache())
    assert 60 * GRID < fewer[0] <= 200 * GRID


def test_words_that_hash_alike_move_only_their_own_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever finds values with the same hash makes counts too small, and moves no count of another cell."""
    from tacit.questions import distinct

    monkeypatch.setattr(distinct, "mixed", lambda values: np.zeros_like(values))
    row = {"at": 0.0, "size": 0.0, "outcome": None}
    units = [[{**row, "host": host, "user": user}] for host in HOSTS for user in ("a", "b")]
    question = DistinctTally(GRIDS[1], ("user",), 2)
    assert question.evaluate(Source(units), SessionCache()).tolist() == [GRID] * 3
    for place in range(len(units)):
        within(question, units, units[:place] + units[place + 1 :], Relation.ADD_REMOVE)


# -------------------------------------------------------------------------------------------------------------- contributions


def test_edges_rise_and_reach_far() -> None:
    assert edges()[:9].tolist() == list(range(9))
    assert (np.diff(edges()) > 0).all()
    assert edges()[-1] == 1 << 24
    assert (np.diff(edges()[8:]) / edges()[8:-1] <= 1 / 2 + 1e-9).all()


def test_contributions_are_counted_by_size() -> None:
    units = [hostile([1]), hostile([3, 4]), hostile([20]), hostile([2] * 9), [{**hostile([1])[0], "host": "unknown"}]]
    grid = Grid((KeyAxis(("host",), tuple((f"h{i}",) for i in range(30))),))

    def found(measure: str, bounding: Bounding = Bounding()) -> dict[int, float]:  # noqa: B008 - frozen
        answer = Contributions(Tally(grid, bounding), measure).evaluate(Source(units), SessionCache()) / GRID
        return {int([*edges(), 1 << 25][place]): float(answer[place]) for place in np.flatnonzero(answer)}

    assert found("rows") == {1: 1, 7: 1, 20: 2}
    assert found("cells") == {1: 2, 2: 1, 10: 1}
    assert found("each") == {1: 1, 2: 1, 4: 1, 20: 1}
    assert found("lost", Bounding(cells=2, each=3)) == {0: 1, 1: 1, 14: 1, 20: 1}
    assert found("rows", Bounding(each=1)) == {1: 2, 2: 1, 10: 1}
    lengths = found("length")
    assert set(lengths) == {QUARTERS, 5 * QUARTERS, 96, 24}
    assert lengths[24] == pytest.approx(18 / 6 / MOST_RATIO, abs=1 / GRID)  # nine cells of two rows: length 6
    assert lengths[20] == pytest.approx(7 / 5 / MOST_RATIO, abs=1 / GRID)


def test_values_have_no_length() -> None:
    with pytest.raises(UsageError, match="rows, lost"):
        Contributions(DistinctTally(Grid(), ("user",)), "length")
    with pytest.raises(UsageError, match="measure"):
        Contributions(Tally(Grid()), "weight")


# ------------------------------------------------------------------------------------------------------------------ selection


@settings(max_examples=60)
@given(UNITS, st.sampled_from([1, 2, 5]), st.sampled_from(["l1", "l2"]), st.booleans(), st.integers(1, 3))
def test_keys_are_counted_by_units(units: list[list[Row]], most: int, norm: str, joint: bool, per_batch: int) -> None:
    columns = ("host", "user") if joint else ("host",)
    where = Grid(where=(Condition("outcome", "not in", ("success",)),))
    names, steps = SelectKeys(columns, where, most, norm).count(Source(units, per_batch=per_batch), SessionCache())["key"]
    found = dict(zip(names.to_pylist(), steps.tolist(), strict=True))
    owned = []
    for unit in units:
        keys = {tuple((row[name] or "").strip() for name in columns) for row in unit if row["outcome"] != "success"}
        owned.append({SEPARATOR.join(key) for key in keys if all(key)})
    weight = {k: int(GRID / (k if norm == "l1" else math.sqrt(k))) for k in range(1, most + 1)}
    if all(len(keys) <= most for keys in owned):
        exact: dict[str, int] = defaultdict(int)
        for keys in owned:
            for key in keys:
                exact[key] += weight[len(keys)]
        assert found == dict(exact)
    assert sum(found.values()) == sum(min(len(keys), most) * weight[min(len(keys), most)] for keys in owned if keys)
    question = SelectKeys(columns, where, most, norm)
    bounds = question.bounds(Relation.ADD_REMOVE)
    for place in range(len(units)):
        names, steps = question.count(Source(units[:place] + units[place + 1 :]), SessionCache())["key"]
        less = dict(zip(names.to_pylist(), steps.tolist(), strict=True))
        moved = [found.get(key, 0) - less.get(key, 0) for key in found.keys() | less.keys()]
        assert sum(map(abs, moved)) <= bounds.l1
        assert sum(x * x for x in moved) <= bounds.l2**2
        assert sum(1 for x in moved if x) <= bounds.l0


def test_long_and_odd_texts_are_no_keys() -> None:
    row = {"user": None, "at": 0.0, "size": 0.0, "outcome": None}
    units = [[{**row, "host": text}] for text in ("fine", "x" * 121, f"a{SEPARATOR}b", "  ", "ü" * 120)]
    names, _ = SelectKeys(("host",)).count(Source(units), SessionCache())["key"]
    assert names.to_pylist() == ["fine", "ü" * 120]


def test_what_is_selected_passes_the_threshold_that_covers_one_unit() -> None:
    for norm, mechanism in (("l1", "laplace"), ("l2", "gaussian")):
        question = SelectKeys(("host",), keys_per_unit=4, norm=norm)
        threshold = question.threshold(GRID, 1e-6, Relation.ADD_REMOVE, mechanism=mechanism)
        assert threshold > GRID
        for keys in range(1, 5):
            weight = GRID / (keys if norm == "l1" else math.sqrt(keys))
            beyond = (threshold - 0.5 - weight) / GRID
            chance = math.exp(-beyond) / 2 if mechanism == "laplace" else math.erfc(beyond / math.sqrt(2)) / 2
            assert keys * chance <= 1e-6 * (1 + 1e-9)


# ------------------------------------------------------------------------------------------------------------- forms and words


def test_every_question_survives_its_canonical_form() -> None:
    units = [hostile([2, 1]), hostile([5])]
    for question in questions():
        again = parse(question.to_dict())
        assert again == question
        assert again.evaluate(Source(units), SessionCache()).tolist() == question.evaluate(Source(units), SessionCache()).tolist()
    keys = SelectKeys(("host", "user"), Grid(where=(Condition("size", "<", limit=3.0),)), 7, "l1", 30)
    assert parse(keys.to_dict()) == keys


def test_numbers_are_keys_as_they_are_written() -> None:
    batch = Batch({"port": pa.array([443.0, 80.0, 22.5, None]), "code": pa.array([4625, 4624, 4625, 1])}, 4)
    assert KeyAxis(("port",), (("80",), ("443",), ("22.5",))).codes(batch).tolist() == [1, 0, 2, -1]
    assert KeyAxis(("code", "port"), (("4625", "443"), ("4625", "22.5"))).codes(batch).tolist() == [0, -1, 1, -1]
    assert Condition("code", "in", ("4625",)).holds(batch).tolist() == [True, False, True, False]
    assert Condition("port", "<=", limit=80.0).holds(batch).tolist() == [False, True, True, False]
    assert Condition("port", ">", limit=80.0).holds(batch).tolist() == [True, False, False, False]


@pytest.mark.parametrize("build", [
    lambda: KeyAxis((), (("a",),)), lambda: KeyAxis(("a",), ()), lambda: KeyAxis(("a", "a"), (("x", "y"),)), lambda: KeyAxis(("a",), (("x", "y"),)),
    lambda: KeyAxis(("a",), (("x",), ("x",))), lambda: KeyAxis(("a",), (("",),)), lambda: KeyAxis(("a",), ((" x",),)),
    lambda: TimeAxis("t", 0, 0, 3), lambda: TimeAxis("t", 0, 60, 0), lambda: TimeAxis("t", 0.5, 60, 1), lambda: TimeAxis("t", 0, True, 1),
    lambda: ValueAxis("v", (1.0,)), lambda: ValueAxis("v", (1.0, 1.0)), lambda: ValueAxis("v", (0.0, math.inf)),
    lambda: ValueAxis("v", (0.0, math.nan)),
    lambda: Condition("c", "like", ("x",)), lambda: Condition("c", "in"), lambda: Condition("c", "in", ("x",), 3.0), lambda: Condition("c", "<"),
    lambda: Condition("c", "<", ("x",), 1.0), lambda: Condition("c", ">", limit=math.nan), lambda: Grid((TimeAxis("t", 0, 1, 1 << 23),)),
    lambda: Bounding(rows=0), lambda: Bounding(cells=1.5), lambda: Bounding(each=True), lambda: Bounding(length=10), lambda: Bounding(rows=1 << 25),
    lambda: Tally(Grid(), blocks=()), lambda: Tally(Grid(), blocks=(2,)), lambda: Tally(GRIDS[1], blocks=(1, 4)),
    lambda: Tally(GRIDS[1], blocks=(1, 2, 2)),
    lambda: DistinctTally(Grid(), ()), lambda: DistinctTally(Grid(), ("a",), 0), lambda: SelectKeys(()), lambda: SelectKeys(("a",), GRIDS[1]),
    lambda: SelectKeys(("a",), norm="l3"), lambda: SelectKeys(("a",), keys_per_unit=0),
])
def test_what_cannot_be_asked_is_refused(build: Any) -> None:
    with pytest.raises(UsageError, match="Expected"):
        build()


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(DataError, match="«port»"):
        Tally(Grid((KeyAxis(("port",), (("1",),)),)), Bounding(rows=1)).evaluate(Source([hostile([1])]), SessionCache())


def test_a_unit_with_too_many_keys_gives_those_it_has_most_rows_of_and_others_do_not_matter() -> None:
    row = {"user": None, "at": 0.0, "size": 0.0, "outcome": None}
    mine = [{**row, "host": host} for host, rows in (("a", 5), ("b", 4), ("c", 1), ("d", 1), ("e", 1)) for _ in range(rows)]
    question = SelectKeys(("host",), keys_per_unit=3)
    kept = set()

    def counted(units: list[list[Row]]) -> dict[str, int]:
        names, steps = question.count(Source(units), SessionCache())["key"]
        return dict(zip(names.to_pylist(), steps.tolist(), strict=True))

    for hosts in ([], [f"0{i}" for i in range(50)], ["zz", "c", "bb"]):
        others = [[{**row, "host": host}] for host in hosts]
        with_me, without = counted([*others, mine]), counted(others)
        kept.add(frozenset(key for key in with_me if with_me[key] != without.get(key, 0)))
    assert len(kept) == 1
    found = next(iter(kept))
    assert {"a", "b"} < found
    assert len(found) == 3
