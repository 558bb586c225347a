"""What a guard lets questions see: records in the layout of the policy's unit, and only those of the window whose budget pays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tacit.errors import UsageError
from tacit.guarantee import Budget, PrivacyUnit, Relation
from tacit.guard import Guard, Limits, MemoryBooks, Policy, Records
from tacit.guard.sources import OfUnit, OfWindow, paid_for
from tacit.questions import Batch, SessionCache, UnitCount

DAY = PrivacyUnit("user-day", "user", "day")
EVENTS = {
    "user": ["a", "a", "b", "a", "b", "c", "a"],
    "time": [
        "2026-10-31T23:59:59Z", "2026-11-01T00:00:00Z", "2026-11-30T23:59:59.999Z", "2026-12-01T00:00:00Z", "2026-11-15", "2026-11-02T12:00", "soon",
    ],
    "bytes": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0],
}


def seen(source: Any, columns: Sequence[str] | None = None) -> list[tuple[dict[str, list[Any]], list[int]]]:
    return [({name: column.to_pylist() for name, column in batch.columns.items()}, batch.units.tolist()) for batch in source.batches(columns)]


def in_window(window: str, *, batch_rows: int = 65_536) -> OfWindow:
    found = paid_for(Records.open(EVENTS, unit=DAY, time="time", batch_rows=batch_rows), unit=DAY, window=window)
    assert isinstance(found, OfWindow)
    return found


@pytest.mark.parametrize("batch_rows", [1, 2, 65_536])
@pytest.mark.parametrize(("window", "expected"), [
    ("2026-11", [2.0, 3.0, 5.0, 6.0]), ("2026-10", [1.0]), ("2026-12", [4.0]), ("2026-W44", [1.0, 2.0]),
    ("2026-11-15", [5.0]), ("2027-01", []),
])
def test_only_the_records_of_the_window_are_seen(window: str, expected: list[float], batch_rows: int) -> None:
    found = [value for columns, _ in seen(in_window(window, batch_rows=batch_rows), ["bytes"]) for value in columns["bytes"]]
    assert sorted(found) == expected


def test_units_begin_at_zero_and_never_decrease_in_what_is_left() -> None:
    for columns, units in seen(in_window("2026-11", batch_rows=2)):
        assert set(columns) == {"user", "time", "bytes"}
        assert units[0] == 0
        assert units == sorted(units)
    assert UnitCount().evaluate(in_window("2026-11"), SessionCache()).tolist() == [4 * 4096]


def test_the_time_is_read_but_handed_on_only_if_asked_for() -> None:
    assert all(set(columns) == {"bytes"} for columns, _ in seen(in_window("2026-11"), ["bytes"]))
    assert all(set(columns) == set() for columns, _ in seen(in_window("2026-11"), ()))
    assert all(set(columns) == {"time", "bytes"} for columns, _ in seen(in_window("2026-11"), ["time", "bytes", "time"]))


def test_windows_divide_the_records() -> None:
    """A record is paid for by exactly one month; only what has no time is paid for by none, because it is left out."""
    months = [value for month in ("2026-10", "2026-11", "2026-12") for columns, _ in seen(in_window(month)) for value in columns["bytes"]]
    assert sorted(months) == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]


def test_a_part_of_the_records_keeps_its_time() -> None:
    part = Records.open(EVENTS, unit=DAY, time="time").take([0, 1, 2])
    assert part.time == "time"


def test_a_budget_that_never_renews_pays_for_everything() -> None:
    records = Records.open(EVENTS, unit=DAY, time="time")
    assert paid_for(records, unit=DAY, window="all") is records


class Plain:
    """Records of nobody's class, with or without units."""

    def __init__(self, units: list[int] | None) -> None:
        self.units = units

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[Batch]:
        yield Batch({"x": pa.array([1.0, 2.0, 3.0])}, 3, None if self.units is None else np.array(self.units))


@pytest.mark.parametrize("window", ["2026-11", "2026-W48", "2026-11-25"])
def test_a_renewing_budget_needs_records_that_say_when(window: str) -> None:
    for records in (Plain([0, 0, 1]), Records.open({"user": ["a"]}, unit="user")):
        with pytest.raises(UsageError, match=r"Expected records .*(time|grouped)"):
            paid_for(records, unit=DAY, window=window)


@pytest.mark.parametrize(("opened", "unit"), [
    (PrivacyUnit(), PrivacyUnit("user", "user")), (PrivacyUnit("user", "user"), PrivacyUnit()), (PrivacyUnit("user", "user"), DAY),
    (PrivacyUnit("user", "user"), PrivacyUnit("host", "bytes")),
])
def test_records_grouped_by_something_else_are_refused(opened: PrivacyUnit, unit: PrivacyUnit) -> None:
    records = Records.open(EVENTS, unit=None if opened.is_record else opened)
    with pytest.raises(UsageError, match="Open them with unit="):
        paid_for(records, unit=unit, window="all")
    policy = Policy("d", unit, Relation.ADD_REMOVE, Budget(1.0, 1e-6), limits=Limits(0))
    with pytest.raises(UsageError, match="Open them with unit="):
        Guard(records, policy=policy, ledger=MemoryBooks())


def test_the_name_of_a_unit_is_for_people_and_need_not_agree() -> None:
    records = Records.open(EVENTS)
    assert paid_for(records, unit=PrivacyUnit("event"), window="all") is records


@pytest.mark.parametrize(("units", "unit"), [(None, PrivacyUnit("user", "user")), ([0, 0, 1], PrivacyUnit())])
def test_a_layout_that_bounds_are_not_proved_for_is_refused_in_every_pass(units: list[int] | None, unit: PrivacyUnit) -> None:
    with pytest.raises(UsageError, match="grouped by"):
        list(OfUnit(Plain(units), unit).batches())
    assert len(list(OfUnit(Plain([0, 0, 1]), PrivacyUnit("user", "user")).batches())) == 1
    assert len(list(OfUnit(Plain(None), PrivacyUnit()).batches())) == 1


def test_a_guard_counts_the_units_of_its_window_alone() -> None:
    """November's budget pays for November's user-days; opened in December, the same records are December's, and few."""
    days = [f"2026-11-{day:02d}T08:00:00Z" for day in range(1, 31)] * 10
    records = Records.open({"user": [f"u{i % 7}" for i in range(300)], "time": days}, unit=DAY, time="time")
    policy = Policy("auth", DAY, Relation.ADD_REMOVE, Budget(8.0, 1e-2), window="month", limits=Limits(0), count_share=0.99)
    november, december = (Guard(records, policy=policy, ledger=MemoryBooks(), today=lambda m=m: date(2026, m, 28)) for m in (11, 12))
    assert november.scope.window == "2026-11"
    assert abs(november.size() - len({(f"u{i % 7}", days[i]) for i in range(300)})) < 6
    assert december.size() < 6
