"""Counts over time: how many records fall into each bin of a public calendar, and how much single units add to them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tacit.domain import Category
from tacit.errors import UsageError
from tacit.guarantee import Relation
from tacit.questions.base import GRID, Batch, Bounds, RecordSource, SessionCache, Sums
from tacit.questions.clock import calendar_places, require_calendar
from tacit.questions.counts import clipped_counts, clipped_together, column, count_bounds
from tacit.questions.encoding import encode

Index = NDArray[np.int64]
MOST_CELLS = 1 << 22


@dataclass(frozen=True)
class TimeCounts:
    """How many records there are in each bin of time, for each value of a column or altogether.

    Args:
        time: the column that says when: a time, ISO 8601 text, or seconds since 1970.
        begin: where the first bin begins, in whole seconds since 1970 (UTC).
        width: of a bin, in whole seconds.
        bins: how many bins follow each other; records before and after them are not counted.
        column: whose public values are counted apart; ``None`` for one series of all records.
        keys: those values; records with another one are not counted.
        clip: largest length of one unit's counts, in grid integers; ``None`` if every row is a unit.

    The answer holds all bins of the first series, then those of the next.

    Guarantees:
        A row counts at most once. A unit with several rows is clipped to ``clip``: its counts shrink together, in proportion.

    Raises:
        UsageError: if there are no bins, keys without a column or a column without keys, or more than 4,194,304 counts.
    """

    time: str
    begin: int
    width: int
    bins: int
    column: str | None = None
    keys: tuple[str, ...] = ()
    clip: int | None = None
    kind: ClassVar[str] = "timecounts@1"

    def __post_init__(self) -> None:
        require_calendar(begin=self.begin, width=self.width, bins=self.bins)
        if self.width < 1 or self.bins < 1 or self.size > MOST_CELLS:
            raise UsageError(f"Expected width >= 1 and between 1 and {MOST_CELLS:,} counts; got width={self.width}, {self.size:,} counts.")
        if (self.column is None) != (not self.keys) or len(set(self.keys)) != len(self.keys):
            raise UsageError("Expected a column together with the values that are counted apart, each once; or neither.")

    @property
    def series(self) -> int:
        """How many series of bins there are."""
        return max(1, len(self.keys))

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return self.bins * self.series

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read."""
        return (self.time,) if self.column is None else (self.time, self.column)

    def bounds(self, relation: Relation) -> Bounds:
        """One row counts once."""
        return count_bounds(1, self.size, clip=self.clip, relation=relation)

    def evaluate(self, records: RecordSource, cache: SessionCache) -> Sums:
        """int64 ``[size]``."""
        total = np.zeros(self.size, np.int64)
        for batch in records.batches(self.columns):
            units = clipped_together(batch, self.clip)
            total += clipped_counts(self.places(batch), units, size=self.size, clip=self.clip)
        return total

    def places(self, batch: Batch) -> Index:
        """The coordinate that each row counts under, int64 ``[rows]``; -1 for none."""
        places = calendar_places(column(batch, self.time), begin=self.begin, width=self.width, bins=self.bins)
        if self.column is None:
            return places
        codes = encode(column(batch, self.column), self._kind).astype(np.int64)
        inside = (places >= 0) & (codes >= 1) & (codes <= len(self.keys))
        return np.where(inside, places + (codes - 1) * self.bins, -1)

    @cached_property
    def _kind(self) -> Category:
        return Category(self.keys)

    def to_dict(self) -> dict[str, Any]:
        """Canonical plain form."""
        return {
            "kind": self.kind, "time": self.time, "begin": self.begin, "width": self.width, "bins": self.bins, "column": self.column,
            "keys": list(self.keys), "clip": self.clip,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> TimeCounts:
        """The question that `to_dict` described."""
        return cls(data["time"], data["begin"], data["width"], data["bins"], data["column"], tuple(data["keys"]), data["clip"])


@dataclass(frozen=True)
class UnitLengths:
    """How long the counts of single units are, so that a clip can be chosen: a histogram over powers of √2.

    Args:
        counts: whose lengths are asked; its own clip plays no part.

    Coordinate 0 holds units of length 1, coordinate i those between √2^(i-1) (excluded) and √2^i, the last one all that are longer. A unit without
    a record in the calendar is in none.

    Guarantees:
        One unit adds GRID to one coordinate, however many rows it has.
    """

    counts: TimeCounts
    kind: ClassVar[str] = "unit_lengths@1"
    size: ClassVar[int] = 40

    @classmethod
    def edges(cls) -> NDArray[np.float64]:
        """The longest length of each coordinate but the last: float64 ``[size - 1]``."""
        return np.asarray(2.0 ** (np.arange(cls.size - 1) / 2), np.float64)

    def bounds(self, relation: Relation) -> Bounds:
        """One unit counts once."""
        return count_bounds(1, self.size, clip=None, relation=relation)

    def evaluate(self, records: RecordSource, cache: SessionCache) -> Sums:
        """int64 ``[size]``."""
        total, squared_edges = np.zeros(self.size, np.int64), np.rint(self.edges() ** 2)
        for batch in records.batches(self.counts.columns):
            places = self.counts.places(batch)
            units = np.arange(batch.rows) if batch.units is None else batch.units
            seen = places >= 0
            pairs, times = np.unique(units[seen] * np.int64(self.counts.size) + places[seen], return_counts=True)
            squares = np.bincount(pairs // self.counts.size, times.astype(np.float64) ** 2)
            total += np.bincount(np.searchsorted(squared_edges, squares[squares > 0]), minlength=self.size) * GRID
        return total

    def to_dict(self) -> dict[str, Any]:
        """Canonical plain form."""
        return {"kind": self.kind, "counts": self.counts.to_dict()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> UnitLengths:
        """The question that `to_dict` described."""
        return cls(TimeCounts.from_dict(data["counts"]))
