"""Counting questions: units, raw shapes of columns, codes of a domain, and units per key."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tacit.domain import Category, Domain, Numeric
from tacit.errors import DataError, UsageError
from tacit.guarantee import Relation
from tacit.questions.base import GRID, Batch, Bounds, RecordSource, SessionCache, Sums
from tacit.questions.encoding import encode, numbers, texts

Index = NDArray[np.int64]


def column(batch: Batch, name: str) -> pa.Array:
    """One column of a batch.

    Raises:
        DataError: if the records do not have it.
    """
    if name not in batch.columns:
        raise DataError(f"Expected a column «{name}»; the records do not have it. Check the name against the file.")
    return batch.columns[name]


def clipped_counts(index: Index, units: Index | None, *, size: int, clip: int | None) -> Sums:
    """How often each coordinate occurs, times GRID, each unit's own counts clipped to length ``clip``.

    Args:
        index: int64 ``[occurrences]``, the coordinate of each occurrence, or -1 for none.
        units: int64 ``[occurrences]``, its unit; ``None`` if no unit can exceed its bound.
        size: number of coordinates.
        clip: largest length of one unit's vector in grid integers; ``None`` for no clipping.
    """
    if units is None or clip is None:
        return np.bincount(index[index >= 0], minlength=size).astype(np.int64) * GRID
    seen = index >= 0
    pairs, counts = np.unique(units[seen] * np.int64(size) + index[seen], return_counts=True)
    owner, coordinate = np.divmod(pairs, size)
    squares = np.bincount(owner, counts.astype(np.float64) ** 2)
    factors = np.minimum(1.0, clip / (GRID * np.sqrt(np.maximum(squares, 1.0))) * (1 - 1e-12))
    weights = np.trunc(counts * float(GRID) * factors[owner])
    return np.bincount(coordinate, weights, minlength=size).astype(np.int64)


def _total(records: RecordSource, names: tuple[str, ...] | None, size: int, part: Callable[[Batch], Sums]) -> Sums:
    total = np.zeros(size, np.int64)
    for batch in records.batches(names):
        total += part(batch)
    return total


@dataclass(frozen=True)
class UnitCount:
    """How many privacy units there are. One unit adds GRID, however many rows it has."""

    kind: ClassVar[str] = "count@1"
    size: ClassVar[int] = 1

    def bounds(self, relation: Relation) -> Bounds:
        """One unit counts once; replacing one changes nothing, but the bound stays positive."""
        return Bounds(1, GRID, GRID, GRID)

    def evaluate(self, records: RecordSource, cache: SessionCache) -> Sums:
        """int64 ``[1]``."""
        count = 0
        for batch in records.batches(()):
            count += batch.rows if batch.units is None else len(np.unique(batch.units))
        return np.array([count * GRID], np.int64)

    def to_dict(self) -> dict[str, Any]:
        """Canonical plain form."""
        return {"kind": self.kind}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> UnitCount:
        """The question that `to_dict` described."""
        return cls()


@dataclass(frozen=True)
class Profile:
    """Of which shape the values of some columns are, before anything is known about them.

    Per column 131 counts: missing, text, zero, 64 negative and 64 positive powers of two (from 2^-32 on). What a column is, and between
    which bounds its numbers lie, follows from the noisy counts.

    Guarantees:
        One row counts once per column: length √columns. A unit with several rows is clipped to ``clip``.
    """

    columns: tuple[str, ...]
    clip: int | None = None
    kind: ClassVar[str] = "profile@1"
    MISSING: ClassVar[int] = 0
    TEXT: ClassVar[int] = 1
    ZERO: ClassVar[int] = 66
    PER_COLUMN: ClassVar[int] = 131

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return self.PER_COLUMN * len(self.columns)

    def bounds(self, relation: Relation) -> Bounds:
        """See the class."""
        return count_bounds(len(self.columns), self.size, clip=self.clip, relation=relation)

    def evaluate(self, records: RecordSource, cache: SessionCache) -> Sums:
        """int64 ``[131 * columns]``, column by column."""
        return _total(records, self.columns, self.size, self._part)

    def _part(self, batch: Batch) -> Sums:
        shapes = [raw_shape(column(batch, name)) + i * self.PER_COLUMN for i, name in enumerate(self.columns)]
        units = clipped_together(batch, self.clip)
        return clipped_counts(np.concatenate(shapes), None if units is None else np.tile(units, len(shapes)), size=self.size, clip=self.clip)

    def to_dict(self) -> dict[str, Any]:
        """Canonical plain form."""
        return {"kind": self.kind, "columns": list(self.columns), "clip": self.clip}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Profile:
        """The question that `to_dict` described."""
        return cls(tuple(data["columns"]), data["clip"])


def raw_shape(values: pa.Array) -> Index:
    """Missing, text, zero, or sign and power of two of every value: int64 ``[rows]`` in 0..130."""
    x = numbers(values)
    known = ~np.isnan(x)
    finite = np.where(known, np.clip(x, -(2.0**32), 2.0**32), 1.0)
    magnitude = np.clip(np.floor(np.log2(np.maximum(np.abs(finite), 2.0**-32))), -32, 31).astype(np.int64) + 33
    shape = np.where(finite == 0, Profile.ZERO, Profile.ZERO + np.sign(finite).astype(np.int64) * magnitude)
    if _may_hold_text(values.type):
        text = np.asarray(texts(values).is_valid().to_numpy(zero_copy_only=False)) & ~known
        return np.where(known, shape, np.where(text, Profile.TEXT, Profile.MISSING))
    return np.where(known, shape, Profile.MISSING)


def _may_hold_text(kind: pa.DataType) -> bool:
    return not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind))


@dataclass(frozen=True)
class Histogram:
    """How often each public code occurs, for all columns of a domain at once.

    Args:
        domain: the columns.
        stride: how many neighbouring codes of a number share a count; missing and categories are never merged.
        clip: as in `Profile`.
    """

    domain: Domain
    stride: int = 1
    clip: int | None = None
    kind: ClassVar[str] = "histogram@1"

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Number of counts of each column."""
        return tuple(int(self.groups(kind).max()) + 1 for _, kind in self.domain.columns)

    def groups(self, kind: Numeric | Category) -> Index:
        """The count that each code of a column adds to."""
        return np.arange(kind.code_count) if isinstance(kind, Category) else kind.merged(self.stride)

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return sum(self.sizes)

    def bounds(self, relation: Relation) -> Bounds:
        """One row counts once per column."""
        return count_bounds(len(self.sizes), self.size, clip=self.clip, relation=relation)

    def evaluate(self, records: RecordSource, cache: SessionCache) -> Sums:
        """int64 ``[size]``, column by column."""
        return _total(records, self.domain.names, self.size, self._part)

    def _part(self, batch: Batch) -> Sums:
        units = clipped_together(batch, self.clip)
        codes = [encode(column(batch, name), kind) for name, kind in self.domain.columns]
        groups = [self.groups(kind) for _, kind in self.domain.columns]
        if units is None:
            counts = [np.bincount(g, np.bincount(c, minlength=len(g))) for c, g in zip(codes, groups, strict=True)]
            return np.concatenate(counts).astype(np.int64) * GRID
        offsets = np.cumsum((0, *self.sizes[:-1]))
        index = np.concatenate([g[c] + offset for c, g, offset in zip(codes, groups, offsets, strict=True)])
        return clipped_counts(index, np.tile(units, len(codes)), size=self.size, clip=self.clip)

    def split(self, answer: NDArray[Any]) -> list[NDArray[Any]]:
        """The answer, cut into columns."""
        return list(np.split(answer, np.cumsum(self.sizes)[:-1]))

    def to_dict(self) -> dict[str, Any]:
        """Canonical plain form."""
        return {"kind": self.kind, "domain": self.domain.to_dict(), "stride": self.stride, "clip": self.clip}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Histogram:
        """The question that `to_dict` described."""
        return cls(Domain.from_dict(data["domain"]), int(data["stride"]), data["clip"])


@dataclass(frozen=True)
class CountByKey:
    """How many rows there are under each public key, each unit under at most ``keys_per_unit`` keys, ``rows_per_key`` each.

    Which keys of a unit with too many are kept depends on the unit's own keys alone, by a public hash with ``salt``.

    Args:
        column: where the key is.
        keys: the public keys; anything else counts under the last coordinate.
        keys_per_unit: L0 bound.
        rows_per_key: L∞ bound.
        salt: public; changes which keys are kept.
    """

    column: str
    keys: tuple[str, ...]
    keys_per_unit: int = 1
    rows_per_key: int = 1
    salt: str = ""
    kind: ClassVar[str] = "keys@1"

    def __post_init__(self) -> None:
        if not 1 <= self.keys_per_unit <= self.size or self.rows_per_key < 1:
            raise UsageError(f"Expected 1 <= keys_per_unit={self.keys_per_unit} <= {self.size} and rows_per_key={self.rows_per_key} >= 1.")

    @property
    def size(self) -> int:
        """Number of coordinates: the keys and «other»."""
        return len(self.keys) + 1

    def bounds(self, relation: Relation) -> Bounds:
        """By counting: L0 keys, L∞ rows each."""
        top = self.rows_per_key * GRID
        touched = min(self.size, self.keys_per_unit * relation.factor)
        length = math.ceil(math.sqrt(self.keys_per_unit) * top)
        return Bounds(touched, self.keys_per_unit * top * relation.factor, length * relation.factor, top)

    @cached_property
    def _rank(self) -> Index:
        """A public pseudo-random order of the keys."""
        hashed = [hashlib.sha256(f"{self.salt}\x00{key}".encode()).digest() for key in (*self.keys, "")]
        return np.argsort(np.argsort(np.array([int.from_bytes(h[:7], "big") for h in hashed])))

    def evaluate(self, records: RecordSource, cache: SessionCache) -> Sums:
        """int64 ``[keys + 1]``."""
        return _total(records, (self.column,), self.size, self._part)

    def _part(self, batch: Batch) -> Sums:
        codes = encode(column(batch, self.column), Category(self.keys)).astype(np.int64) - 1
        units = np.arange(batch.rows) if batch.units is None else batch.units
        known = codes >= 0
        pairs, counts = np.unique(units[known] * np.int64(self.size) + self._rank[codes[known]], return_counts=True)
        owner, rank = np.divmod(pairs, self.size)
        first = np.searchsorted(owner, owner, side="left")
        kept = np.arange(len(owner)) - first < self.keys_per_unit
        by_rank = np.bincount(rank[kept], np.minimum(counts[kept], self.rows_per_key) * float(GRID), minlength=self.size)
        return by_rank.astype(np.int64)[self._rank]

    def to_dict(self) -> dict[str, Any]:
        """Canonical plain form."""
        return {
            "kind": self.kind, "column": self.column, "keys": list(self.keys), "keys_per_unit": self.keys_per_unit,
            "rows_per_key": self.rows_per_key, "salt": self.salt,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> CountByKey:
        """The question that `to_dict` described."""
        return cls(data["column"], tuple(data["keys"]), int(data["keys_per_unit"]), int(data["rows_per_key"]), data["salt"])


def count_bounds(columns: int, size: int, *, clip: int | None, relation: Relation) -> Bounds:
    """Bounds of counts to which a row adds one in each of ``columns`` groups; a replaced row changes two counts in each."""
    if clip is not None:
        return Bounds.from_l2(clip, size=size, relation=relation)
    factor = relation.factor
    length = math.ceil(GRID * math.sqrt(columns * factor))
    return Bounds(min(size, columns * factor), GRID * columns * factor, length, GRID)


def clipped_together(batch: Batch, clip: int | None) -> Index | None:
    """The unit of each row, if units are clipped; a row without a unit is one."""
    if clip is None and batch.units is not None:
        raise UsageError("Expected a clip for records whose unit has several rows; pass clip, or use one row per unit.")
    return np.arange(batch.rows) if clip is not None and batch.units is None else batch.units
