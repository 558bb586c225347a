"""`SelectKeys`: which combinations of values are common, among the records that pass a condition. As `Select`, it is not a sum.

A unit with k keys adds 1/√k to each, so that its length is 1 (Gopi et al. 2020, arXiv 2006.06783); for Laplace noise 1/k, so that they add up to 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tacit.errors import UsageError
from tacit.guarantee import Relation
from tacit.questions.base import GRID, Batch, Bounds, RecordSource, SessionCache
from tacit.questions.grid import Grid, text_dictionary
from tacit.questions.pairs import Pairs, mixed
from tacit.questions.select import Found, exceeded

SEPARATOR = "\x1f"
"""Stands between the parts of a key; a value that holds it is ignored."""

_NORMS = ("l1", "l2")
_PENDING = 1 << 20
_EVERYTHING = Grid()


@dataclass(frozen=True)
class SelectKeys:
    """The keys that more than a few units have: values of a column, or combinations of values of several.

    Args:
        columns: the columns.
        grid: whose conditions records have to pass; without axes.
        keys_per_unit: how many different keys a unit may contribute; of more, those it has most rows of.
        norm: which length of a unit's contribution is 1: «l1» for Laplace noise, «l2» for Gaussian.
        longest: texts longer than this are ignored.

    Guarantees:
        One unit adds GRID/√k, or GRID/k, to k <= ``keys_per_unit`` counts. A count is released only if its noisy value exceeds `threshold`, which any
        of the counts that one unit holds alone does with probability at most δ.
    """

    columns: tuple[str, ...]
    grid: Grid = _EVERYTHING
    keys_per_unit: int = 1
    norm: str = "l2"
    longest: int = 120
    kind: ClassVar[str] = "select_keys@1"

    def __post_init__(self) -> None:
        if not self.columns or self.keys_per_unit < 1 or self.grid.axes or self.norm not in _NORMS:
            raise UsageError(
                f"Expected at least one column, keys_per_unit={self.keys_per_unit} >= 1, a grid without axes, and norm={self.norm!r} of l1, l2."
            )

    def _weights(self, keys: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.asarray(GRID / (keys if self.norm == "l1" else np.sqrt(keys)))

    def bounds(self, relation: Relation) -> Bounds:
        """See the class. Counts are never negative, so that replacing a unit moves them by √2 times its length at most."""
        keys, factor = self.keys_per_unit, relation.factor
        total = GRID if self.norm == "l1" else math.isqrt(keys * GRID * GRID) + 1
        return Bounds(keys * factor, total * factor, math.isqrt(GRID * GRID * factor - 1) + 1, GRID)

    def threshold(self, scale: float, delta: float, relation: Relation, *, mechanism: str = "gaussian") -> float:
        """The smallest noisy count (in grid steps) to release; see `Select.threshold`."""
        keys = np.arange(1, self.keys_per_unit + 1)
        return float((self._weights(keys) + exceeded(scale, delta / (keys * relation.factor), mechanism)).max()) + 0.5

    def count(self, records: RecordSource, cache: SessionCache) -> dict[str, Found]:
        """Exact counts in grid steps of keys whose parts `SEPARATOR` joins. For the guard's eyes alone: even which keys there are is private."""
        whole: pl.DataFrame | None = None
        pending: list[pl.DataFrame] = []
        for batch in records.batches(tuple(dict.fromkeys((*self.columns, *self.grid.columns)))):
            pending.append(self._part(batch))
            if sum(part.height for part in pending) > _PENDING:
                whole, pending = _merged([*pending, *([] if whole is None else [whole])]), []
        whole = _merged([*pending, *([] if whole is None else [whole])])
        return {"key": (whole["key"].to_arrow(), whole["steps"].to_numpy())}

    def _part(self, batch: Batch) -> pl.DataFrame:
        """Keys of one batch, and what units add to each."""
        inside, packed = self.grid.places(batch) >= 0, np.zeros(batch.rows, np.int64)
        coded = [text_dictionary(batch, name) for name in self.columns]
        for codes, words in coded:
            usable = np.asarray(pc.and_(pc.less_equal(pc.utf8_length(words), self.longest), pc.invert(pc.match_substring(words, SEPARATOR))))
            inside &= (codes >= 0) & np.append(usable, False)[codes]
            packed = np.unique(packed * max(1, len(words)) + codes, return_inverse=True)[1] if len(coded) > 1 else codes
        rows = np.flatnonzero(inside)
        if not len(rows):
            return pl.DataFrame(schema={"key": pl.String, "steps": pl.Int64})
        _, first, dense = np.unique(packed[rows], return_index=True, return_inverse=True)
        units = rows if batch.units is None else batch.units[rows]
        pairs = Pairs.of(dense.astype(np.int64), units, len(first))
        parts = [words.take(pa.array(codes[rows[first]])) for codes, words in coded]
        keys = parts[0] if len(parts) == 1 else pc.binary_join_element_wise(*parts, pa.scalar(SEPARATOR, pa.large_string()))
        pairs = self._kept(pairs, keys)
        steps = np.floor(self._weights(pairs.sizes)).astype(np.int64)[pairs.owner]
        frame = pl.DataFrame({"key": pl.Series("key", keys), "steps": np.bincount(pairs.place, steps, minlength=len(first)).astype(np.int64)})
        return frame.filter(pl.col("steps") > 0)

    def _kept(self, pairs: Pairs, keys: pa.Array) -> Pairs:
        """At most ``keys_per_unit`` keys of each unit: those with most rows; of equal ones, whose hash comes first under a signature of all its own.

        Nothing here depends on which other keys there are: even where hashes were made to agree, the texts decide.
        """
        many = pairs.sizes > self.keys_per_unit
        if not many.any():
            return pairs
        hashes = np.asarray(pl.Series("key", keys).hash().to_numpy(), np.uint64)
        alphabet = np.empty(len(keys), np.int64)
        alphabet[pc.sort_indices(keys).to_numpy()] = np.arange(len(keys))
        own = hashes[pairs.place]
        signature = np.add.reduceat(mixed(own ^ mixed(pairs.count.astype(np.uint64))), pairs.starts)
        order = np.lexsort((alphabet[pairs.place], mixed(own ^ signature[pairs.owner]), -pairs.count, pairs.owner))
        keep = np.sort(order[np.arange(len(order)) - pairs.starts[pairs.owner] < self.keys_per_unit])
        return Pairs.grouped(pairs.owner[keep], pairs.place[keep], pairs.count[keep])

    def to_dict(self) -> dict[str, Any]:
        """Canonical plain form."""
        return {
            "kind": self.kind, "columns": list(self.columns), "grid": self.grid.to_dict(), "keys_per_unit": self.keys_per_unit, "norm": self.norm,
            "longest": self.longest,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> SelectKeys:
        """The question that `to_dict` described."""
        return cls(tuple(data["columns"]), Grid.from_dict(data["grid"]), int(data["keys_per_unit"]), str(data["norm"]), int(data["longest"]))


def _merged(parts: list[pl.DataFrame]) -> pl.DataFrame:
    whole = pl.concat(parts) if parts else pl.DataFrame(schema={"key": pl.String, "steps": pl.Int64})
    return whole.group_by("key").agg(pl.col("steps").sum()).sort("key")
