"""Rows in the cells of a public grid, each unit bounded: how many cells, how many rows of a cell, how many rows altogether."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tacit.errors import UsageError
from tacit.guarantee import Relation
from tacit.questions.base import GRID, Batch, Bounds, RecordSource, SessionCache, Sums
from tacit.questions.grid import Grid
from tacit.questions.pairs import Pairs

MOST_ROWS = 1 << 24
"""The largest bound."""


@dataclass(frozen=True)
class Bounding:
    """How much one unit may add.

    Args:
        cells: most cells; of more, those with most rows stay.
        each: most rows in one cell.
        rows: most rows altogether: if there are more, the unit's counts shrink in proportion.
        length: largest Euclidean length of the unit's counts, in grid integers; longer ones shrink in proportion.

    They apply in the order each, cells, rows, length. `None` bounds nothing.

    Guarantees:
        What stays of a unit depends on the unit's own counts alone.
    """

    cells: int | None = None
    each: int | None = None
    rows: int | None = None
    length: int | None = None

    def __post_init__(self) -> None:
        for name, step in (("cells", 1), ("each", 1), ("rows", 1), ("length", GRID)):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not step <= value <= MOST_ROWS * step):
                raise UsageError(f"Expected {name}={value!r} to be an integer between {step} and {MOST_ROWS * step:,}.")

    def limits(self, size: int) -> tuple[int, int, int, int]:
        """Most cells, largest cell, largest sum and largest square of the length, in grid integers, on a grid of ``size`` cells.

        Raises:
            UsageError: if nothing bounds the unit.
        """
        cells = min(self.cells or size, size)
        sums = [] if self.rows is None else [self.rows * GRID]
        sums += [] if self.each is None else [cells * self.each * GRID]
        sums += [] if self.length is None else [math.isqrt(cells * self.length**2) + 1]
        if not sums:
            raise UsageError("Expected a bound on what one unit adds: rows, or each together with cells.")
        tops = [min(sums)] + ([] if self.each is None else [self.each * GRID]) + ([] if self.length is None else [self.length])
        squares = [_square(min(sums), min(tops))] + ([] if self.length is None else [self.length**2])
        return cells, min(tops), min(sums), min(squares)

    def kept(self, pairs: Pairs) -> tuple[Pairs, Sums]:
        """What stays of the units' counts: which pairs, and how much of each in grid integers."""
        if self.each is not None:
            pairs = pairs.with_counts(np.minimum(pairs.count, self.each))
        if self.cells is not None:
            pairs = pairs.largest(self.cells)
        steps = pairs.count * GRID
        if self.rows is not None:
            totals = pairs.totals(pairs.count)
            if (totals > self.rows).any():
                long = np.flatnonzero(totals[pairs.owner] > self.rows)
                steps[long] = _share(pairs.count[long], self.rows, totals[pairs.owner[long]])
        return pairs, steps if self.length is None else _shortened(pairs, steps, self.length)

    def to_dict(self) -> dict[str, Any]:
        """Plain form."""
        return {"cells": self.cells, "each": self.each, "rows": self.rows, "length": self.length}


def _square(total: int, top: int) -> int:
    """The largest sum of squares of numbers up to ``top`` that add up to ``total``."""
    whole, rest = divmod(total, top)
    return whole * top * top + rest * rest


def _share(count: Sums, rows: int, totals: Sums) -> Sums:
    """⌊count · rows · GRID / total⌋ in integers that do not overflow: counts are below 2^38, rows at most 2^24."""
    whole, rest = np.divmod(count * rows, totals)
    return np.asarray(whole * GRID + rest * GRID // totals)


def _shortened(pairs: Pairs, steps: Sums, length: int) -> Sums:
    lengths = np.sqrt(pairs.sums(steps.astype(np.float64) ** 2))
    long = lengths * (1 + 1e-12) > length
    # Rounding towards zero only shortens; 1e-12 covers the float64 error of the square, the root and the product.
    factors = np.minimum(1.0, length / np.maximum(lengths, 1.0)) * (1 - 1e-12)
    return np.where(long[pairs.owner], np.trunc(steps * factors[pairs.owner]), steps).astype(np.int64)


@dataclass(frozen=True)
class Tally:
    """How many rows lie in each cell of a grid.

    Args:
        grid: the cells.
        bounding: what one unit may add. Where every row is a unit it adds one row to one cell.
        once: a unit counts once in every cell it has rows in: units are counted, not rows.
        blocks: the answer is repeated in coarser cells: so many neighbours on the last axis are added up. 1 are the cells themselves.

    The answer holds the cells for each of ``blocks`` in turn.

    Guarantees:
        See `Bounding`: within these bounds, whatever the records hold. Counts are never negative, so that replacing a unit moves the answer by
        √2 times its length at most.

    Raises:
        UsageError: if blocks do not begin with 1 and increase.
    """

    grid: Grid
    bounding: Bounding = Bounding()
    once: bool = False
    blocks: tuple[int, ...] = (1,)
    kind: ClassVar[str] = "tally@1"

    def __post_init__(self) -> None:
        last = self.grid.shape[-1] if self.grid.axes else 1
        if self.blocks[:1] != (1,) or any(not 1 < block <= last for block in self.blocks[1:]) or len(set(self.blocks)) != len(self.blocks):
            raise UsageError(f"Expected blocks that begin with 1, each other between 2 and {last}, each once; got {self.blocks}.")

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shape of the answer's parts."""
        shape = self.grid.shape or (1,)
        return tuple((*shape[:-1], -(-shape[-1] // block)) for block in self.blocks)

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return sum(math.prod(shape) for shape in self.shapes)

    def bounds(self, relation: Relation) -> Bounds:
        """See the class."""
        cells, top, total, square = self.bounding.limits(self.grid.size)
        squares, largest = square, top
        for block in self.blocks[1:]:
            coarse = min(block * top, total)
            squares, largest = squares + _square(total, coarse), max(largest, coarse)
        count = len(self.blocks)
        return spread(cells * count, total * count, squares, top=largest, size=self.size, relation=relation)

    def evaluate(self, records: RecordSource, cache: SessionCache) -> Sums:
        """int64 ``[size]``."""
        self.bounding.limits(self.grid.size)
        total = np.zeros(self.grid.size, np.int64)
        for batch in records.batches(self.grid.columns):
            total += self._part(batch)
        return np.concatenate([self._coarser(total, block) for block in self.blocks])

    def _part(self, batch: Batch) -> Sums:
        if batch.units is None:
            places = self.grid.places(batch)
            return np.bincount(places[places >= 0], minlength=self.grid.size).astype(np.int64) * GRID
        pairs, steps = self.bounding.kept(self.pairs(batch))
        return np.bincount(pairs.place, steps, minlength=self.grid.size).astype(np.int64)

    def pairs(self, batch: Batch) -> Pairs:
        """What units have in which cells, before they are bounded."""
        units = np.arange(batch.rows) if batch.units is None else batch.units
        pairs = Pairs.of(self.grid.places(batch), units, self.grid.size)
        return pairs.with_counts(np.ones_like(pairs.count)) if self.once else pairs

    def _coarser(self, total: Sums, block: int) -> Sums:
        if block == 1:
            return total
        table = total.reshape(self.grid.shape)
        return np.add.reduceat(table, np.arange(0, table.shape[-1], block), axis=-1).ravel()

    def split(self, answer: Sums) -> list[Sums]:
        """The answer, cut into the parts of ``blocks``, each in the shape of its cells."""
        ends = np.cumsum([math.prod(shape) for shape in self.shapes])[:-1]
        return [part.reshape(shape) for part, shape in zip(np.split(answer, ends), self.shapes, strict=True)]

    def to_dict(self) -> dict[str, Any]:
        """Canonical plain form."""
        return {
            "kind": self.kind, "grid": self.grid.to_dict(), "bounding": self.bounding.to_dict(), "once": self.once, "blocks": list(self.blocks),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Tally:
        """The question that `to_dict` described."""
        return cls(Grid.from_dict(data["grid"]), Bounding(**data["bounding"]), data["once"], tuple(data["blocks"]))


def spread(cells: int, total: int, square: int, *, top: int, size: int, relation: Relation) -> Bounds:
    """Bounds of sums of what is never negative, from one unit's cells, sum, sum of squares and largest cell."""
    factor = relation.factor
    length = math.isqrt(square * factor - 1) + 1
    return Bounds(min(cells * factor, size), total * factor, length, top)
