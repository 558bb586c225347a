"""`Select`: which values are common. Not a sum: only keys above a noisy threshold leave, and δ is charged for the rest.

What a single unit holds alone is released with probability at most the charged δ (Korolova et al. 2009). A unit with k values adds 1/√k to each,
so that none of them is preferred and its length stays 1 (Gopi et al. 2020, arXiv 2006.06783).
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from tacit.errors import UsageError
from tacit.guarantee import Relation
from tacit.questions.base import GRID, Batch, Bounds, RecordSource, SessionCache
from tacit.questions.counts import column
from tacit.questions.encoding import texts

Found: TypeAlias = "dict[str, int] | tuple[pa.Array, NDArray[np.int64]]"
"""Keys and their exact counts in grid steps."""


@dataclass(frozen=True)
class Select:
    """The values of some text columns that more than a few units have.

    Args:
        columns: the columns.
        values_per_unit: how many different values of one column a unit may contribute; which of more depends on its own values alone.
        longest: texts longer than this are ignored.

    Guarantees:
        One unit adds GRID/√k to k <= ``values_per_unit`` counts per column, so the length is √columns GRID. A count is released only if its
        noisy value exceeds `threshold`, which any of the counts that one unit holds alone does with probability at most δ.
    """

    columns: tuple[str, ...]
    values_per_unit: int = 1
    longest: int = 120
    kind: ClassVar[str] = "select@1"

    def __post_init__(self) -> None:
        if not self.columns or self.values_per_unit < 1:
            raise UsageError(f"Expected at least one column and values_per_unit={self.values_per_unit} >= 1.")

    @property
    def keys_per_unit(self) -> int:
        """L0 bound."""
        return len(self.columns) * self.values_per_unit

    def bounds(self, relation: Relation) -> Bounds:
        """See the class."""
        columns, keys = len(self.columns) * relation.factor, self.keys_per_unit * relation.factor
        return Bounds(keys, math.ceil(math.sqrt(self.values_per_unit) * columns * GRID), math.ceil(math.sqrt(columns) * GRID), GRID)

    def threshold(self, scale: float, delta: float, relation: Relation, *, mechanism: str = "gaussian") -> float:
        """The smallest noisy count (in grid steps) to release, for noise of ``scale`` steps: σ, or the scale of Laplace noise.

        If a unit has k values in each column, each must stay below with probability 1 - δ/(k · columns) (union bound), so the threshold is the
        largest GRID/√k + σ Φ⁻¹(1 - δ/(k · columns)) of all k, plus half a step that rounding may add. Laplace noise has its own Φ.
        """
        values = np.arange(1, self.values_per_unit + 1)
        beyond = exceeded(scale, delta / (values * len(self.columns) * relation.factor), mechanism)
        return float((GRID / np.sqrt(values) + beyond).max()) + 0.5

    def count(self, records: RecordSource, cache: SessionCache) -> dict[str, dict[str, int]]:
        """Exact counts in grid steps, column by column. For the guard's eyes alone: even which keys there are is private."""
        counts: dict[str, Counter[str]] = {name: Counter() for name in self.columns}
        for batch in records.batches(self.columns):
            for name in self.columns:
                counts[name].update(self._batch_counts(batch, name))
        return {name: dict(found) for name, found in counts.items()}

    def _batch_counts(self, batch: Batch, name: str) -> dict[str, int]:
        values = pl.from_arrow(pa.chunked_array([texts(column(batch, name)).cast(pa.large_string())]))
        units = np.arange(batch.rows) if batch.units is None else batch.units
        frame = pl.DataFrame({"value": values, "unit": units}).drop_nulls().filter(pl.col("value").str.len_chars() <= self.longest)
        if batch.units is None:
            tally = frame.group_by("value").agg(pl.len().cast(pl.Int64).alias("steps") * GRID)
        else:
            frame = frame.unique().with_columns(order=pl.col("value").map_elements(_order, return_dtype=pl.UInt64))
            frame = frame.filter(pl.col("order").rank("ordinal").over("unit") <= self.values_per_unit)
            steps = (GRID / pl.len().over("unit").sqrt()).floor().cast(pl.Int64)
            tally = frame.with_columns(steps=steps).group_by("value").agg(pl.col("steps").sum())
        return dict(zip(tally["value"].to_list(), tally["steps"].to_list(), strict=True))

    def to_dict(self) -> dict[str, Any]:
        """Canonical plain form."""
        return {"kind": self.kind, "columns": list(self.columns), "values_per_unit": self.values_per_unit, "longest": self.longest}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Select:
        """The question that `to_dict` described."""
        return cls(tuple(data["columns"]), int(data["values_per_unit"]), int(data["longest"]))


def exceeded(scale: float, chance: NDArray[np.float64], mechanism: str) -> NDArray[np.float64]:
    """What noise exceeds with these chances, each below one half."""
    from scipy.special import ndtri

    return np.asarray(-scale * np.log(2 * chance) if mechanism == "laplace" else -scale * ndtri(chance))


def _order(value: str) -> int:
    """A public pseudo-random order of texts."""
    return int.from_bytes(hashlib.sha256(b"tacit.select\x00" + value.encode()).digest()[:8], "big")
