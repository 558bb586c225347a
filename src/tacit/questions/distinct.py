"""How many different values there are in each cell of a public grid, each unit contributing a bounded number of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import polars as pl

from tacit.errors import UsageError
from tacit.guarantee import Relation
from tacit.questions.base import GRID, Batch, Bounds, RecordSource, SessionCache, Sums
from tacit.questions.grid import Grid, Index, text_dictionary
from tacit.questions.pairs import Hashes, Pairs, mixed
from tacit.questions.tally import MOST_ROWS, spread

_PENDING = 1 << 21


@dataclass(frozen=True)
class DistinctTally:
    """How many different values of some columns, or combinations of values of several, occur in each cell.

    Args:
        grid: the cells.
        columns: the columns.
        values: the most values one unit may contribute, over all cells; of more, which ones depends on the unit's own values alone.

    Values are told apart by a hash, with the bits of 64 that the number of cells leaves: in one of 16,800 cells two of a million values are taken for
    one with a chance of 1 in 1,000. Missing values are none.

    Guarantees:
        A unit adds at most ``values`` pairs of a cell and a value to a set that is counted; what others added stays as it is.

    Raises:
        UsageError: if there is no column, or ``values`` is out of range.
    """

    grid: Grid
    columns: tuple[str, ...]
    values: int = 1
    kind: ClassVar[str] = "distinct@1"

    def __post_init__(self) -> None:
        if not self.columns or isinstance(self.values, bool) or not isinstance(self.values, int) or not 1 <= self.values <= MOST_ROWS:
            raise UsageError(f"Expected at least one column, and values={self.values!r} between 1 and {MOST_ROWS:,}.")

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return self.grid.size

    def bounds(self, relation: Relation) -> Bounds:
        """At worst all of a unit's values are new and in one cell."""
        total = self.values * GRID
        return spread(min(self.values, self.size), total, total * total, top=total, size=self.size, relation=relation)

    def evaluate(self, records: RecordSource, cache: SessionCache) -> Sums:
        """int64 ``[size]``."""
        known = np.zeros(0, np.uint64)
        pending: list[Hashes] = []
        for batch in records.batches(self.columns_read):
            pairs, tokens = self._tokens(batch)
            pending.append(tokens[self._kept(pairs, tokens)] if (pairs.sizes > self.values).any() else tokens)
            if sum(map(len, pending)) > _PENDING:
                known, pending = np.unique(np.concatenate([known, *pending])), []
        known = np.unique(np.concatenate([known, *pending]))
        return np.bincount((known >> self._hash_bits).astype(np.int64), minlength=self.size).astype(np.int64) * GRID

    @property
    def columns_read(self) -> tuple[str, ...]:
        """The columns that are read, each once."""
        return tuple(dict.fromkeys((*self.grid.columns, *self.columns)))

    @property
    def _hash_bits(self) -> np.uint64:
        """Bits of a token that say the value; the others say the cell, which is never mistaken: so a unit moves no count but its own."""
        return np.uint64(64 - self.grid.size.bit_length())

    def pairs(self, batch: Batch) -> Pairs:
        """Each unit's different pairs of a cell and a value, one apiece."""
        return self._tokens(batch)[0]

    def _tokens(self, batch: Batch) -> tuple[Pairs, Hashes]:
        """Pairs, and for each a token of its cell and value."""
        places, values = self.grid.places(batch), np.zeros(batch.rows, np.uint64)
        for name in self.columns:
            codes, words = text_dictionary(batch, name)
            places[codes < 0] = -1
            values = mixed(values ^ np.append(np.asarray(pl.Series("word", words).hash().to_numpy(), np.uint64), np.uint64(0))[codes])
        rows = np.flatnonzero(places >= 0)
        tokens = places[rows].astype(np.uint64) << self._hash_bits | values[rows] >> (np.uint64(64) - self._hash_bits)
        different, codes = np.unique(tokens, return_inverse=True)
        units = rows if batch.units is None else batch.units[rows]
        pairs = Pairs.of(codes, units, max(1, len(different)))
        tokens = different[pairs.place]
        return Pairs(pairs.starts, pairs.owner, (tokens >> self._hash_bits).astype(np.int64), np.ones_like(pairs.count)), tokens

    def _kept(self, pairs: Pairs, tokens: Hashes) -> Index:
        """Which pairs stay: in an order that a signature of all of the unit's own decides."""
        order = mixed(tokens ^ np.add.reduceat(mixed(tokens), pairs.starts)[pairs.owner])
        ranked = np.lexsort((order, pairs.owner))
        return np.sort(ranked[np.arange(len(ranked)) - pairs.starts[pairs.owner] < self.values])

    def to_dict(self) -> dict[str, Any]:
        """Canonical plain form."""
        return {"kind": self.kind, "grid": self.grid.to_dict(), "columns": list(self.columns), "values": self.values}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> DistinctTally:
        """The question that `to_dict` described."""
        return cls(Grid.from_dict(data["grid"]), tuple(data["columns"]), data["values"])
