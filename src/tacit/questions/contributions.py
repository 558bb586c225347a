"""How much single units add to a count, as a histogram: what their bound is chosen by, and what the bound cuts off."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tacit.errors import UsageError
from tacit.guarantee import Relation
from tacit.questions.base import GRID, Batch, Bounds, RecordSource, SessionCache, Sums
from tacit.questions.distinct import DistinctTally
from tacit.questions.pairs import Pairs
from tacit.questions.tally import Tally, spread

MEASURES = ("rows", "cells", "each", "length", "lost")
QUARTERS = 4
"""Lengths are told apart in quarters of a row."""

MOST_RATIO = 8
"""The largest ratio of a unit's rows to its length that the histogram of lengths can say."""


@cache
def edges() -> NDArray[np.int64]:
    """The largest amount of each coordinate but the last: 0 to 8, then four to an octave up to 64 and two up to 2^24, int64 ``[size - 1]``.

    Few coordinates far out, because the noise of each counts there with all the rows it stands for.

    >>> edges()[[0, 1, 8, 9, 12, 20, 21, 22]].tolist(), len(edges()), int(edges()[-1]) == 1 << 24
    ([0, 1, 8, 10, 16, 64, 96, 128], 57, True)
    """
    fine = [step << octave for octave in range(1, 4) for step in (5, 6, 7, 8)]
    coarse = [step << octave for octave in range(5, 23) for step in (3, 4)]
    return np.array([*range(9), *fine, *coarse])


@dataclass(frozen=True)
class Contributions:
    """How many units add how much: one coordinate for each range of `edges`, and a last one for more.

    Args:
        of: the count. Its bounds apply first, so that «rows» are what is left of them, and «lost» what they take.
        measure: «rows» (or values) altogether; «cells»; «each», the most in one cell; «length», the Euclidean length in quarters of a row; «lost».

    A unit without a row in the grid is in no coordinate. For «length» a unit does not add 1 but an eighth of the ratio of its rows to its length, at
    most 1: so the histogram says how many rows are lost where lengths are cut.

    Guarantees:
        One unit adds at most 1 to one coordinate.

    Raises:
        UsageError: if the measure is unknown, or values are asked for what only rows have.
    """

    of: Tally | DistinctTally
    measure: str
    kind: ClassVar[str] = "contributions@1"

    def __post_init__(self) -> None:
        allowed = MEASURES if isinstance(self.of, Tally) else ("rows", "lost")
        if self.measure not in allowed:
            raise UsageError(f"Expected a measure out of {', '.join(allowed)}; got {self.measure!r}.")

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return len(edges()) + 1

    def bounds(self, relation: Relation) -> Bounds:
        """One unit is in one coordinate."""
        return spread(1, GRID, GRID * GRID, top=GRID, size=self.size, relation=relation)

    def evaluate(self, records: RecordSource, cache: SessionCache) -> Sums:
        """int64 ``[size]``."""
        total = np.zeros(self.size, np.int64)
        for batch in records.batches(self.of.grid.columns if isinstance(self.of, Tally) else self.of.columns_read):
            amounts, weights = self._amounts(batch)
            total += np.bincount(np.searchsorted(edges(), amounts), weights, minlength=self.size).astype(np.int64)
        return total

    def _amounts(self, batch: Batch) -> tuple[NDArray[Any], NDArray[Any]]:
        """Each unit's amount, and what it adds in grid integers."""
        pairs = self.of.pairs(batch)
        if isinstance(self.of, DistinctTally):
            amounts = pairs.sizes if self.measure == "rows" else np.maximum(pairs.sizes - self.of.values, 0)
            return amounts, np.full(len(amounts), GRID)
        return self._of_rows(self.of, pairs)

    def _of_rows(self, tally: Tally, pairs: Pairs) -> tuple[NDArray[Any], NDArray[Any]]:
        kept, steps = tally.bounding.kept(pairs)
        rows = kept.sums(steps / GRID)
        whole = np.full(len(rows), GRID)
        if self.measure == "length":
            lengths = np.sqrt(kept.sums((steps / GRID) ** 2))
            ratios = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
            return lengths * QUARTERS * (1 - 1e-12), np.floor(GRID * np.minimum(ratios / MOST_RATIO, 1.0)).astype(np.int64)
        if self.measure == "cells":
            return kept.sizes, whole
        if self.measure == "each":
            largest = np.maximum.reduceat(steps, kept.starts) if len(rows) else steps
            return largest / GRID, whole
        amounts = rows if self.measure == "rows" else pairs.totals(pairs.count) - rows
        return amounts - 1e-9, whole

    def to_dict(self) -> dict[str, Any]:
        """Canonical plain form."""
        return {"kind": self.kind, "of": self.of.to_dict(), "measure": self.measure}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Contributions:
        """The question that `to_dict` described."""
        build = DistinctTally.from_dict if data["of"]["kind"] == DistinctTally.kind else Tally.from_dict
        return cls(build(data["of"]), data["measure"])
