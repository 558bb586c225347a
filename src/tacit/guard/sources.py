"""Records as a guard lets questions see them: in the layout of the policy's unit, and of the window whose budget pays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tacit.errors import UsageError
from tacit.guarantee import PrivacyUnit
from tacit.guard.records import Records
from tacit.guard.windows import window_end, window_start
from tacit.questions import Batch, RecordSource
from tacit.questions.clock import seconds


@dataclass(frozen=True)
class OfUnit:
    """Records whose layout is held against the unit that is protected: bounds are proved for no other.

    Raises:
        UsageError: in a pass, if rows are not grouped although a unit may have several, or the reverse.
    """

    records: RecordSource
    unit: PrivacyUnit

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[Batch]:
        """The same records."""
        for batch in self.records.batches(columns):
            if (batch.units is None) != self.unit.is_record:
                raise UsageError(f"Expected records grouped by «{self.unit}»; these are not. Open them with unit= as in the policy.")
            yield batch


@dataclass(frozen=True)
class OfWindow:
    """The records of one budget window, by their own time: a budget that renews must not pay again for the same records.

    A unit lies in one window as a whole (`tacit.guard.windows.nests`), so leaving rows out leaves out whole units.

    Args:
        records: with a time.
        column: that says when.
        begin: seconds since 1970, the first that counts.
        end: the first that does not.
    """

    records: Records
    column: str
    begin: float
    end: float

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[Batch]:
        """Batch by batch, as of every source."""
        names = list(self.records.names if columns is None else dict.fromkeys(columns))
        for batch in self.records.batches(names if self.column in names else [*names, self.column]):
            when = seconds(batch.columns[self.column])
            rows = np.flatnonzero((when >= self.begin) & (when < self.end))
            if len(rows):
                yield _rows_of(batch, rows, names)


def _rows_of(batch: Batch, rows: NDArray[np.intp], names: list[str]) -> Batch:
    chosen = pa.array(rows)
    units = None if batch.units is None else batch.units[rows] - batch.units[rows[0]]
    return Batch({name: batch.columns[name].take(chosen) for name in names}, len(rows), units)


def paid_for(records: RecordSource, *, unit: PrivacyUnit, window: str) -> RecordSource:
    """The records that a budget of ``window`` pays for.

    Raises:
        UsageError: if they are grouped by something else than ``unit``, or the budget renews and they have no time.
    """
    if isinstance(records, Records) and (records.unit.column, records.unit.window) != (unit.column, unit.window):
        raise UsageError(f"Expected records grouped by «{unit}»; these are grouped by «{records.unit}». Open them with unit= as in the policy.")
    begin, end = window_start(window), window_end(window)
    if begin is None or end is None:
        return records
    if not isinstance(records, Records) or records.time is None:
        raise UsageError("Expected records with a time, because the budget renews; open them with Records.open(..., time=the column that says when).")
    return OfWindow(records, records.time, _seconds(begin), _seconds(end))


def _seconds(day: date) -> float:
    return datetime.combine(day, time(), UTC).timestamp()
