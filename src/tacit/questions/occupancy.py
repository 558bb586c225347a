"""Questions without labels: how many records lie in each cell of some partitions, and how a public model's margins are spread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tacit.errors import UsageError
from tacit.guarantee import Relation
from tacit.questions.base import GRID, Bounds, RecordSource, SessionCache, Sums
from tacit.questions.cells import Update, unit_slices
from tacit.questions.counts import clipped_counts, clipped_together, count_bounds
from tacit.questions.structure import Binning, Cells, Partition, pack, unpack

_NUMBERS = 1 << 21  # positions at a time


@dataclass(frozen=True, eq=False)
class CellCounts:
    """How many records lie in every cell of some partitions, partition by partition.

    Args:
        binning: the features and their bins.
        partitions: of the records.
        clip: largest length of one unit's counts, in grid integers; ``None`` if every row is a unit.

    Guarantees:
        A row counts once per partition: length √partitions. A unit with several rows is clipped to ``clip``.
    """

    binning: Binning
    partitions: tuple[Partition, ...]
    clip: int | None = None
    kind: ClassVar[str] = "cell_counts@1"

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return sum(partition.size for partition in self.partitions)

    def bounds(self, relation: Relation) -> Bounds:
        """One row counts once per partition."""
        return count_bounds(len(self.partitions), self.size, clip=self.clip, relation=relation)

    def evaluate(self, records: RecordSource, cache: SessionCache) -> Sums:
        """int64 ``[size]``."""
        offsets = np.cumsum([0, *(partition.size for partition in self.partitions)])

        def places(bins: Cells) -> NDArray[np.int64]:
            return np.stack([partition.cells(bins) + offset for partition, offset in zip(self.partitions, offsets, strict=False)])

        return counted(records, self.binning, size=self.size, clip=self.clip, places=places, width=len(self.partitions))

    def to_dict(self) -> dict[str, Any]:
        """Canonical plain form."""
        return {"kind": self.kind, "binning": self.binning.to_dict(), "partitions": [p.to_dict() for p in self.partitions], "clip": self.clip}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> CellCounts:
        """The question that `to_dict` described."""
        partitions = tuple(Partition.from_dict(item) for item in data["partitions"])
        return cls(Binning.from_dict(data["binning"]), partitions, data["clip"])


@dataclass(frozen=True, eq=False)
class MarginCounts:
    """How many records have a margin between public edges, under a public additive model with one output.

    Args:
        binning: the features and their bins.
        updates: the model.
        edges: increasing margin steps, int32 ``[levels - 1]``; a margin counts above an edge that it reaches.
        clip: as in `CellCounts`.

    Guarantees:
        A row counts once. A unit with several rows is clipped to ``clip``.
    """

    binning: Binning
    updates: tuple[Update, ...]
    edges: NDArray[np.int32]
    clip: int | None = None
    kind: ClassVar[str] = "margin_counts@1"

    def __post_init__(self) -> None:
        if not len(self.edges) or (np.diff(self.edges) <= 0).any() or any(update.values.shape[1] != 1 for update in self.updates):
            raise UsageError("Expected edges that increase, and a model with one output.")

    @property
    def size(self) -> int:
        """Number of coordinates: below the first edge, between each two, and from the last edge on."""
        return len(self.edges) + 1

    def bounds(self, relation: Relation) -> Bounds:
        """One row counts once."""
        return count_bounds(1, self.size, clip=self.clip, relation=relation)

    def evaluate(self, records: RecordSource, cache: SessionCache) -> Sums:
        """int64 ``[size]``."""
        values = [np.ascontiguousarray(update.values[:, 0], np.int64) for update in self.updates]

        def places(bins: Cells) -> NDArray[np.int64]:
            margins = np.zeros(bins.shape[1], np.int64)
            for update, steps in zip(self.updates, values, strict=True):
                margins += steps.take(update.partition.cells(bins))
            return np.searchsorted(self.edges, margins, side="right")[None, :]

        return counted(records, self.binning, size=self.size, clip=self.clip, places=places, width=1)

    def to_dict(self) -> dict[str, Any]:
        """Canonical plain form."""
        return {
            "kind": self.kind, "binning": self.binning.to_dict(), "updates": [update.to_dict() for update in self.updates],
            "edges": pack(self.edges), "clip": self.clip,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> MarginCounts:
        """The question that `to_dict` described."""
        updates = tuple(Update.from_dict(item, 1) for item in data["updates"])
        return cls(Binning.from_dict(data["binning"]), updates, unpack(data["edges"], "int32"), data["clip"])


def counted(
    records: RecordSource, binning: Binning, *, size: int, clip: int | None, places: Callable[[Cells], NDArray[np.int64]], width: int,
) -> Sums:
    """How often each coordinate occurs among ``places`` int64 ``[width, rows]`` of all records, times GRID, clipped per unit."""
    total = np.zeros(size, np.int64)
    for bins, units in _binned(records, binning, clip, rows=max(1, _NUMBERS // width)):
        index = places(bins)
        if units is None:
            total += np.bincount(index.ravel(), minlength=size) * GRID
        else:
            total += clipped_counts(index.ravel(), np.tile(units, width), size=size, clip=clip)
    return total


def _binned(records: RecordSource, binning: Binning, clip: int | None, *, rows: int) -> Iterator[tuple[Cells, NDArray[np.int64] | None]]:
    """Bins and units of about ``rows`` records at a time; no unit is split."""
    for batch in records.batches(binning.domain.names):
        units, bins = clipped_together(batch, clip), binning.bins(batch.columns, batch.rows)
        for part in unit_slices(units, batch.rows, rows):
            yield bins[:, part], None if units is None else units[part]
