"""The public structure of an additive model: bins per feature, and partitions of the records made from them."""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tacit.domain import Domain, Numeric, keys
from tacit.errors import DataError, UsageError
from tacit.questions.encoding import encode, numbers

Cells = NDArray[np.uint8]
Table = NDArray[np.uint8]

MOST_CELLS = 256


def pack(array: NDArray[Any]) -> str:
    """An integer array as base64 text of its little-endian bytes."""
    return b64encode(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()).decode()


def unpack(text: str, dtype: str) -> NDArray[Any]:
    """The array that `pack` described."""
    return np.frombuffer(b64decode(text, validate=True), dtype=np.dtype(dtype).newbyteorder("<")).astype(dtype)


@dataclass(frozen=True, eq=False)
class Binning:
    """At most 256 bins per feature, made of neighbouring codes of its public grid (or of single categories).

    Args:
        domain: the features, in order.
        tables: per feature the bin of every code, uint8 ``[code_count]``.

    Raises:
        UsageError: if a table does not fit its feature.
    """

    domain: Domain
    tables: tuple[Table, ...]

    def __post_init__(self) -> None:
        fits = [len(table) == kind.code_count for table, (_, kind) in zip(self.tables, self.domain.columns, strict=False)]
        if len(self.tables) != len(self.domain.columns) or not all(fits):
            raise UsageError(f"Expected one table per feature with one bin per code; got {len(self.tables)} for {len(self.domain.columns)}.")

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """Number of bins of each feature."""
        return tuple(int(table.max()) + 1 for table in self.tables)

    @cached_property
    def _by_key(self) -> tuple[Table | None, ...]:
        columns = zip(self.tables, self.domain.columns, strict=True)
        return tuple(table[kind.lookup] if isinstance(kind, Numeric) else None for table, (_, kind) in columns)

    def bins(self, columns: Any, rows: int) -> Cells:
        """The bins of some records: uint8 ``[features, rows]``.

        Args:
            columns: mapping from column name to Arrow array.
            rows: number of records.

        Raises:
            DataError: if a feature is not among the columns.
        """
        bins = np.empty((len(self.tables), rows), np.uint8)
        for index, (name, kind) in enumerate(self.domain.columns):
            if name not in columns:
                raise DataError(f"Expected a column «{name}»; the records do not have it. Check the file against the domain.")
            by_key = self._by_key[index]
            if by_key is not None and isinstance(kind, Numeric):
                by_key.take(keys(numbers(columns[name]), origin=kind.origin), out=bins[index], mode="clip")
            else:
                self.tables[index].take(encode(columns[name], kind), out=bins[index], mode="clip")
        return bins

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of domain and tables."""
        state = hashlib.sha256(b"tacit.binning\x00" + self.domain.digest.encode())
        for table in self.tables:
            state.update(len(table).to_bytes(4, "little") + table.tobytes())
        return state.digest()

    def to_dict(self) -> dict[str, Any]:
        """Plain form."""
        return {"domain": self.domain.to_dict(), "tables": [pack(table) for table in self.tables]}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Binning:
        """The binning that `to_dict` described."""
        return cls(Domain.from_dict(data["domain"]), tuple(unpack(text, "uint8") for text in data["tables"]))


@dataclass(frozen=True, eq=False)
class Partition:
    """Puts each record in exactly one of at most 256 cells: the cell is the sum of one table entry per level.

    The bins of one feature are a partition with one level; a random oblivious tree of depth D has D levels whose tables hold 0 and 2^k.

    Args:
        features: the feature of each level.
        tables: per level the addend of every bin, uint8 ``[bins of the feature]``.
        size: number of cells.
    """

    features: tuple[int, ...]
    tables: tuple[Table, ...]
    size: int

    def __post_init__(self) -> None:
        largest = sum(int(table.max()) for table in self.tables)
        if not (1 <= self.size <= MOST_CELLS) or largest >= self.size or len(self.features) != len(self.tables):
            raise UsageError(f"Expected between 1 and {MOST_CELLS} cells that cover every sum of addends; got size={self.size}, sums to {largest}.")

    @classmethod
    def of_feature(cls, feature: int, bins: int) -> Partition:
        """The bins of one feature."""
        return cls((feature,), (np.arange(bins, dtype=np.uint8),), bins)

    @classmethod
    def oblivious(cls, features: Iterable[int], sides: Iterable[NDArray[np.bool_]]) -> Partition:
        """A tree whose level k sends a record right if ``sides[k][bin]``; 2^depth cells."""
        tables = tuple((side.astype(np.int64) << level).astype(np.uint8) for level, side in enumerate(sides))
        return cls(tuple(int(f) for f in features), tables, 1 << len(tables))

    @cached_property
    def _thresholds(self) -> tuple[int | None, ...]:
        """Per level the bin from which on the addend is 2^level, where the level is such a step."""
        return tuple(_step(table, 1 << level) for level, table in enumerate(self.tables))

    def cells(self, bins: Cells, out: Cells | None = None, work: Cells | None = None) -> Cells:
        """The cell of every record: uint8 ``[rows]`` from bins uint8 ``[features, rows]``."""
        rows = bins.shape[1]
        cells = np.empty(rows, np.uint8) if out is None else out
        if len(self.tables) == 1:
            return np.take(self.tables[0], bins[self.features[0]], out=cells, mode="clip")
        side = np.empty(rows, np.uint8) if work is None else work
        cells[:] = 0
        for level in range(len(self.tables) - 1, -1, -1):
            self._add_level(level, bins, cells, side)
        return cells

    def _add_level(self, level: int, bins: Cells, cells: Cells, side: Cells) -> None:
        column, threshold = bins[self.features[level]], self._thresholds[level]
        if self._is_tree:
            np.add(cells, cells, out=cells)
        if self._is_tree and threshold is not None:
            np.greater_equal(column, np.uint8(threshold), out=side.view(np.bool_))
        else:
            np.take(self._sides[level], column, out=side, mode="clip")
        np.add(cells, side, out=cells)

    @cached_property
    def _is_tree(self) -> bool:
        """Whether level k adds 0 or 2^k: then cells are built by doubling, the last level first."""
        return all(not (table & ~np.uint8(1 << level)).any() for level, table in enumerate(self.tables))

    @cached_property
    def _sides(self) -> tuple[Table, ...]:
        return tuple((table > 0).astype(np.uint8) for table in self.tables) if self._is_tree else self.tables

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the levels."""
        state = hashlib.sha256(b"tacit.partition\x00" + self.size.to_bytes(2, "little"))
        for feature, table in zip(self.features, self.tables, strict=True):
            state.update(feature.to_bytes(4, "little") + len(table).to_bytes(4, "little") + table.tobytes())
        return state.digest()

    def to_dict(self) -> dict[str, Any]:
        """Plain form."""
        return {"features": list(self.features), "tables": [pack(table) for table in self.tables], "size": self.size}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Partition:
        """The partition that `to_dict` described."""
        return cls(tuple(int(f) for f in data["features"]), tuple(unpack(t, "uint8") for t in data["tables"]), int(data["size"]))


def _step(table: Table, height: int) -> int | None:
    """Where a table rises from zero to ``height`` and stays there; ``None`` if it does anything else."""
    places = np.flatnonzero(table[1:] != table[:-1])
    if len(places) != 1 or table[0] != 0 or table[-1] != height:
        return None
    return int(places[0]) + 1
