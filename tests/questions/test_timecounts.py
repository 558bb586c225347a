"""Counts over time: which bin a moment falls into, and how long a unit's counts are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tacit.errors import DataError, UsageError
from tacit.guarantee import Relation
from tacit.questions import GRID, Batch, SessionCache, TimeCounts, UnitLengths

DAY = 86_400


class One:
    """One batch of rows."""

    def __init__(self, units: list[int] | None = None, **columns: Any) -> None:
        self.columns = {name: pa.array(values) for name, values in columns.items()}
        self.units = None if units is None else np.array(units)

    def batches(self, columns: object = None) -> Any:
        yield Batch(self.columns, len(next(iter(self.columns.values()))), self.units)


def asked(question: Any, source: Any) -> list[float]:
    return [value / GRID for value in question.evaluate(source, SessionCache()).tolist()]


def test_a_bin_holds_its_beginning_and_not_its_end() -> None:
    at = [0, 3_599, 3_600, 7_199, 7_200, -1, 10**15]
    assert asked(TimeCounts("at", 0, 3_600, 2), One(at=at)) == [2, 2]


@pytest.mark.parametrize("at", [
    ["1970-01-01T00:30:00Z", "1970-01-01 01:59", "soon", None, ""], [1_800, 7_140, None, None, None],
    [1_800.0, 7_140.0, float("nan"), float("inf"), None],
    [1_800_000_000_000, 5_000_000_000_000, None, None, 10**18],
])  # fmt: skip
def test_times_are_read_as_the_guard_reads_them_and_what_is_no_time_counts_nowhere(at: list[Any]) -> None:
    answer = asked(TimeCounts("at", 0, 3_600, 2), One(at=at))
    assert answer in ([1, 1], [0, 0])
    assert answer == ([0, 0] if at[0] == 1_800_000_000_000 else [1, 1])


def test_series_follow_each_other_and_other_values_are_not_counted() -> None:
    source = One(at=[0, DAY, DAY, 2 * DAY, 0], kind=["web", "dns", "web", "dns", "ssh"])
    assert asked(TimeCounts("at", 0, DAY, 3, "kind", ("dns", "web")), source) == [0, 1, 1, 1, 1, 0]


def test_one_units_counts_shrink_together() -> None:
    source = One([0] * 7 + [1], at=[0, 0, 0, DAY, DAY, DAY, DAY, 0])
    assert asked(TimeCounts("at", 0, DAY, 2, clip=5 * GRID), source) == pytest.approx([4, 4], abs=2 / GRID)
    assert asked(TimeCounts("at", 0, DAY, 2, clip=GRID), source) == pytest.approx([1.6, 0.8], abs=2 / GRID)
    with pytest.raises(UsageError, match="clip"):
        asked(TimeCounts("at", 0, DAY, 2), source)


def test_lengths_are_counted_at_their_edges() -> None:
    """Lengths 1, √2, 2, 5 and none at all."""
    units = [0, 1, 1, 2, 2, *[3] * 7, 4]
    at = [0, 0, DAY, 0, 0, 0, 0, 0, DAY, DAY, DAY, DAY, 9 * DAY]
    found = asked(UnitLengths(TimeCounts("at", 0, DAY, 2)), One(units, at=at))
    assert {place: count for place, count in enumerate(found) if count} == {0: 1, 1: 1, 2: 1, 5: 1}
    assert UnitLengths.edges()[[0, 1, 2, 4, 5]] == pytest.approx([1, 2**0.5, 2, 4, 32**0.5])


def test_a_very_long_unit_is_in_the_last_coordinate() -> None:
    class Long(TimeCounts):
        def places(self, batch: Batch) -> Any:
            return np.zeros(batch.rows, np.int64)

    question = UnitLengths(Long("at", 0, DAY, 1))
    assert question.bounds(Relation.ADD_REMOVE).l2 == GRID
    assert UnitLengths.edges()[-1] > 500_000


@pytest.mark.parametrize("bad", [
    {"width": 0}, {"bins": 0}, {"bins": 1 << 23}, {"begin": 1.5}, {"width": True}, {"column": "kind"}, {"keys": ("a",)},
    {"column": "kind", "keys": ("a", "a")}, {"bins": 1 << 21, "column": "kind", "keys": ("a", "b", "c")},
])
def test_what_cannot_be_asked_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="Expected"):
        TimeCounts(**{"time": "at", "begin": 0, "width": 60, "bins": 10, **bad})


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(DataError, match="«when»"):
        asked(TimeCounts("when", 0, 60, 2), One(at=[0]))
