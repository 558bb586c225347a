"""A public grid over records: which values of some columns, hours or ranges of a number are counted apart, and which records at all."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tacit.errors import UsageError
from tacit.questions.base import Batch
from tacit.questions.clock import calendar_places, filled, require_calendar
from tacit.questions.counts import column
from tacit.questions.encoding import numbers, texts

Index = NDArray[np.int64]
MOST_CELLS = 1 << 22
"""Cells of one grid."""

_TESTS = ("in", "not in", "<", "<=", ">", ">=")


@dataclass(frozen=True)
class KeyAxis:
    """Public values of one column, or public combinations of values of several; records with any other are not counted.

    Args:
        columns: the columns.
        values: one tuple per coordinate, with a text for each column. Numbers are compared as they are written: «443».
    """

    columns: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]
    kind: ClassVar[str] = "keys"

    def __post_init__(self) -> None:
        if not self.columns or len(set(self.columns)) != len(self.columns):
            raise UsageError("Expected at least one column of keys, each once.")
        if not self.values or any(len(key) != len(self.columns) for key in self.values) or len(set(self.values)) != len(self.values):
            raise UsageError(f"Expected public values for {', '.join(self.columns)}: at least one, each once, with a text for every column.")
        if any(not part or part != part.strip() for key in self.values for part in key):
            raise UsageError(f"Expected values of {', '.join(self.columns)} that are not empty and do not begin or end with a space.")
        if math.prod(len({key[place] for key in self.values}) for place in range(len(self.columns))) >= 1 << 62:
            raise UsageError(f"Expected fewer different values of {', '.join(self.columns)}.")

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return len(self.values)

    @cached_property
    def _words(self) -> tuple[pa.Array, ...]:
        """The different texts of each column, sorted."""
        return tuple(pa.array(sorted({key[place] for key in self.values}), pa.large_string()) for place in range(len(self.columns)))

    @cached_property
    def _order(self) -> tuple[Index, Index]:
        """Packed codes of the combinations, sorted, and the coordinate of each."""
        places = [{word: index for index, word in enumerate(words.to_pylist())} for words in self._words]
        packed = np.zeros(len(self.values), np.int64)
        for place, found in enumerate(places):
            packed = packed * len(found) + np.array([found[key[place]] for key in self.values])
        order = np.argsort(packed, kind="stable")
        return packed[order], order

    def codes(self, batch: Batch) -> Index:
        """The coordinate of each row, int64 ``[rows]``; -1 for none."""
        packed, known = np.zeros(batch.rows, np.int64), np.ones(batch.rows, bool)
        for name, words in zip(self.columns, self._words, strict=True):
            found = text_codes(column(batch, name), words)
            known &= found >= 0
            packed = packed * len(words) + found
        ranks, order = self._order
        if len(self.columns) == 1:
            return np.where(known, order.take(packed, mode="clip"), -1)
        at = np.minimum(np.searchsorted(ranks, packed), len(ranks) - 1)
        return np.where(known & (ranks[at] == packed), order[at], -1)

    def to_dict(self) -> dict[str, Any]:
        """Canonical plain form."""
        return {"kind": self.kind, "columns": list(self.columns), "values": [list(key) for key in self.values]}


@dataclass(frozen=True)
class TimeAxis:
    """Bins of a public calendar; records before and after it are not counted.

    Args:
        column: the column that says when: a time, ISO 8601 text, or seconds since 1970.
        begin: where the first bin begins, in whole seconds since 1970 (UTC).
        width: of a bin, in whole seconds.
        bins: how many there are.
    """

    column: str
    begin: int
    width: int
    bins: int
    kind: ClassVar[str] = "time"

    def __post_init__(self) -> None:
        require_calendar(begin=self.begin, width=self.width, bins=self.bins)
        if self.width < 1 or self.bins < 1:
            raise UsageError(f"Expected width={self.width} >= 1 and bins={self.bins} >= 1.")

    @property
    def columns(self) -> tuple[str, ...]:
        """The column that is read."""
        return (self.column,)

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return self.bins

    def codes(self, batch: Batch) -> Index:
        """The coordinate of each row, int64 ``[rows]``; -1 for none."""
        return calendar_places(column(batch, self.column), begin=self.begin, width=self.width, bins=self.bins)

    def to_dict(self) -> dict[str, Any]:
        """Canonical plain form."""
        return {"kind": self.kind, "column": self.column, "begin": self.begin, "width": self.width, "bins": self.bins}


@dataclass(frozen=True)
class ValueAxis:
    """Ranges of a number between public edges; a number beyond the outer edges counts in the outer range, what is no number nowhere.

    Args:
        column: the number.
        edges: increasing, finite; range i holds edges[i] and not edges[i + 1].
    """

    column: str
    edges: tuple[float, ...]
    kind: ClassVar[str] = "ranges"

    def __post_init__(self) -> None:
        steps = np.diff(self.edges) if len(self.edges) else np.zeros(0)
        if len(self.edges) < 2 or not all(map(math.isfinite, self.edges)) or not (steps > 0).all():
            raise UsageError(f"Expected at least two finite edges for «{self.column}», each above the one before.")

    @property
    def columns(self) -> tuple[str, ...]:
        """The column that is read."""
        return (self.column,)

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return len(self.edges) - 1

    def codes(self, batch: Batch) -> Index:
        """The coordinate of each row, int64 ``[rows]``; -1 for none."""
        found = numbers(column(batch, self.column))
        places = np.searchsorted(np.array(self.edges[1:-1]), found, side="right")
        return np.where(np.isnan(found), -1, places).astype(np.int64)

    def to_dict(self) -> dict[str, Any]:
        """Canonical plain form."""
        return {"kind": self.kind, "column": self.column, "edges": list(self.edges)}


Axis: TypeAlias = KeyAxis | TimeAxis | ValueAxis


@dataclass(frozen=True)
class Condition:
    """Which records are counted, by one column.

    Args:
        column: the column.
        test: «in» and «not in» compare texts, the others numbers.
        values: the texts. A missing value is in no list.
        limit: the number; what is no number passes no comparison.
    """

    column: str
    test: str
    values: tuple[str, ...] = ()
    limit: float | None = None

    def __post_init__(self) -> None:
        if self.test not in _TESTS:
            raise UsageError(f"Expected a condition out of {', '.join(_TESTS)}; got {self.test!r}.")
        if self.test.endswith("in") != bool(self.values) or self.test.endswith("in") != (self.limit is None):
            raise UsageError(f"Expected values for «in» and «not in», and a number for a comparison, in the condition on «{self.column}».")
        if self.limit is not None and not math.isfinite(self.limit):
            raise UsageError(f"Expected a finite number in the condition on «{self.column}»; got {self.limit}.")

    def holds(self, batch: Batch) -> NDArray[np.bool_]:
        """Whether each row passes, bool ``[rows]``."""
        values = column(batch, self.column)
        if self.limit is None:
            found = text_codes(values, pa.array(sorted(set(self.values)), pa.large_string())) >= 0
            return ~found if self.test == "not in" else found
        number = numbers(values)
        with np.errstate(invalid="ignore"):
            if self.test[0] == "<":
                return np.asarray(number <= self.limit if self.test == "<=" else number < self.limit)
            return np.asarray(number >= self.limit if self.test == ">=" else number > self.limit)

    def to_dict(self) -> dict[str, Any]:
        """Canonical plain form."""
        return {"column": self.column, "test": self.test, "values": list(self.values), "limit": self.limit}


@dataclass(frozen=True)
class Grid:
    """Cells: every combination of coordinates of the axes, the last axis running fastest. Without axes there is one cell.

    Args:
        axes: what is told apart.
        where: what all records in any cell pass.

    >>> grid = Grid((KeyAxis(("host",), (("a",), ("b",))), TimeAxis("at", 0, 3600, 24)), (Condition("outcome", "in", ("failure",)),))
    >>> grid.shape, grid.size, grid.columns
    ((2, 24), 48, ('host', 'at', 'outcome'))

    Raises:
        UsageError: if there are more than 4,194,304 cells.
    """

    axes: tuple[Axis, ...] = ()
    where: tuple[Condition, ...] = ()

    def __post_init__(self) -> None:
        if self.size > MOST_CELLS:
            raise UsageError(f"Expected at most {MOST_CELLS:,} cells; got {self.size:,}. Name fewer keys, wider bins or a shorter time.")

    @property
    def shape(self) -> tuple[int, ...]:
        """Coordinates of each axis."""
        return tuple(axis.size for axis in self.axes)

    @property
    def size(self) -> int:
        """Number of cells."""
        return math.prod(self.shape)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read, each once."""
        return tuple(dict.fromkeys([*(name for axis in self.axes for name in axis.columns), *(test.column for test in self.where)]))

    def places(self, batch: Batch) -> Index:
        """The cell of each row, int64 ``[rows]``; -1 for none."""
        inside = np.ones(batch.rows, bool)
        for condition in self.where:
            inside &= condition.holds(batch)
        places = np.zeros(batch.rows, np.int64)
        for axis in self.axes:
            codes = axis.codes(batch)
            inside &= codes >= 0
            places *= axis.size
            places += codes
        places[~inside] = -1
        return places

    def to_dict(self) -> dict[str, Any]:
        """Canonical plain form."""
        return {"axes": [axis.to_dict() for axis in self.axes], "where": [test.to_dict() for test in self.where]}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Grid:
        """The grid that `to_dict` described."""
        conditions = tuple(Condition(t["column"], t["test"], tuple(t["values"]), t["limit"]) for t in data["where"])
        return cls(tuple(_axis(axis) for axis in data["axes"]), conditions)


def _axis(data: dict[str, Any]) -> Axis:
    if data["kind"] == KeyAxis.kind:
        return KeyAxis(tuple(data["columns"]), tuple(tuple(key) for key in data["values"]))
    if data["kind"] == TimeAxis.kind:
        return TimeAxis(data["column"], data["begin"], data["width"], data["bins"])
    if data["kind"] == ValueAxis.kind:
        return ValueAxis(data["column"], tuple(float(edge) for edge in data["edges"]))
    raise UsageError(f"Expected an axis out of keys, time, ranges; got «{data['kind']}».")


def text_codes(values: pa.Array, words: pa.Array) -> Index:
    """The place of each value, as text, among ``words`` (large strings): int64 ``[rows]``, -1 where it is not there.

    >>> text_codes(pa.array([443, 80, None]), pa.array(["80", "443"], pa.large_string())).tolist()
    [1, 0, -1]
    """
    if pa.types.is_dictionary(values.type):
        values = _compact(values)
        each = np.append(text_codes(values.dictionary, words), -1)
        return np.asarray(each.take(filled(values, len(each) - 1)))
    found = pc.index_in(texts(values).cast(pa.large_string()), value_set=words)
    return np.asarray(found.fill_null(-1).to_numpy(zero_copy_only=False)).astype(np.int64)


def text_dictionary(batch: Batch, name: str) -> tuple[Index, pa.Array]:
    """A column as codes int64 ``[rows]``, -1 where it is missing or empty, and the different texts that they stand for (large strings)."""
    values = column(batch, name)
    coded = _compact(values) if pa.types.is_dictionary(values.type) else texts(values).cast(pa.large_string()).dictionary_encode()
    again = texts(coded.dictionary).cast(pa.large_string()).dictionary_encode()
    each = np.append(again.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64), -1)
    return np.asarray(each.take(filled(coded, len(each) - 1))), again.dictionary


def _compact(values: pa.DictionaryArray) -> pa.DictionaryArray:
    """The same values; where a dictionary is larger than the batch, with those words alone that the batch has."""
    if len(values.dictionary) <= len(values):
        return values
    used, codes = np.unique(filled(values, -1), return_inverse=True)
    words = values.dictionary.take(pa.array(used, mask=used < 0))
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), words)
