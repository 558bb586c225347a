"""Contingency tables: how many records have each combination of the bins of some features."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tacit.errors import UsageError
from tacit.guarantee import Relation
from tacit.questions.base import Bounds, RecordSource, SessionCache, Sums
from tacit.questions.counts import count_bounds
from tacit.questions.occupancy import counted
from tacit.questions.structure import Binning, Cells

MOST_CELLS = 1 << 22


@dataclass(frozen=True, eq=False)
class Marginals:
    """How often each combination of bins occurs, for several groups of features at once.

    Args:
        binning: the features and their bins.
        cliques: the groups: feature numbers, increasing.
        clip: largest length of one unit's counts, in grid integers; ``None`` if every row is a unit.

    The answer holds one table after the other, each in C order.

    Guarantees:
        A row counts once per table: length √tables. A unit with several rows is clipped to ``clip``.

    Raises:
        UsageError: if a group is empty, not increasing or names a feature that is not there, or if there are more than 4,194,304 cells.
    """

    binning: Binning
    cliques: tuple[tuple[int, ...], ...]
    clip: int | None = None
    kind: ClassVar[str] = "marginals@1"

    def __post_init__(self) -> None:
        features = len(self.binning.counts)
        for clique in self.cliques:
            if not clique or list(clique) != sorted(set(clique)) or not 0 <= clique[0] <= clique[-1] < features:
                raise UsageError(f"Expected groups of increasing feature numbers below {features}; got {clique}.")
        if not 1 <= self.size <= MOST_CELLS:
            raise UsageError(f"Expected between 1 and {MOST_CELLS:,} cells; got {self.size:,}. Ask coarser bins or fewer tables.")

    @cached_property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Of each table."""
        return tuple(tuple(self.binning.counts[feature] for feature in clique) for clique in self.cliques)

    @cached_property
    def size(self) -> int:
        """Number of coordinates."""
        return sum(int(np.prod(shape, dtype=np.int64)) for shape in self.shapes)

    def bounds(self, relation: Relation) -> Bounds:
        """One row counts once per table."""
        return count_bounds(len(self.cliques), self.size, clip=self.clip, relation=relation)

    def evaluate(self, records: RecordSource, cache: SessionCache) -> Sums:
        """int64 ``[size]``."""
        return counted(records, self.binning, size=self.size, clip=self.clip, places=self._places, width=len(self.cliques))

    def _places(self, bins: Cells) -> NDArray[np.int64]:
        """The coordinate of every row in every table: int64 ``[tables, rows]``."""
        places, offset = np.empty((len(self.cliques), bins.shape[1]), np.int64), 0
        for row, (clique, shape) in enumerate(zip(self.cliques, self.shapes, strict=True)):
            places[row] = np.ravel_multi_index([bins[feature] for feature in clique], shape) + offset
            offset += int(np.prod(shape, dtype=np.int64))
        return places

    def split(self, answer: NDArray[Any]) -> list[NDArray[Any]]:
        """The answer, cut into tables of their shapes."""
        ends = np.cumsum([int(np.prod(shape, dtype=np.int64)) for shape in self.shapes])[:-1]
        return [part.reshape(shape) for part, shape in zip(np.split(answer, ends), self.shapes, strict=True)]

    def to_dict(self) -> dict[str, Any]:
        """Canonical plain form."""
        return {"kind": self.kind, "binning": self.binning.to_dict(), "cliques": [list(clique) for clique in self.cliques], "clip": self.clip}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Marginals:
        """The question that `to_dict` described."""
        return cls(Binning.from_dict(data["binning"]), tuple(tuple(int(f) for f in clique) for clique in data["cliques"]), data["clip"])
