"""Columns that compiled code has laid out in memory, as Arrow's arrays: no value becomes an object on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import pyarrow as pa

from tacit.logs.formats import json_library

_NOTHING, _TEXT, _INTEGER, _BOOLEAN = 0, 1, 2, 4
_TYPES = {_NOTHING: pa.null(), _TEXT: pa.string(), _INTEGER: pa.int64(), _BOOLEAN: pa.bool_()}
_SORTS = {pa.string(): str, pa.int64(): int, pa.bool_(): bool}

Values: TypeAlias = pa.Array | list[Any]
"""A value for each event: an array where all are of one kind, otherwise a list."""


def values_of(
    kind: int, *, lists: tuple[bytes | None, bytes] | None, slots: tuple[int, bytes | None, bytes] | None, data: bytes
) -> Values:
    """A column, or a list of its values where they are of several kinds.

    Args:
        kind: of the values.
        lists: which rows hold a list (a bit each; all, if nothing), and where each ends (int32, a zero before them).
        slots: how many values there are, which of them are none, and where each text ends.
        data: their bytes; JSON where they are of several kinds.
    """
    if slots is None:
        return list(json_library().loads(data))
    count, valid, ends = slots
    parts = [ends, data] if kind == _TEXT else [] if kind == _NOTHING else [data]
    found = pa.Array.from_buffers(_TYPES[kind], count, list(map(_buffer, [valid if kind else None, *parts])))
    if lists is None:
        return found
    present, last = lists
    return pa.Array.from_buffers(pa.list_(found.type), len(last) // 4 - 1, [_buffer(present), _buffer(last)], children=[found])


def spread(columns: Mapping[str, Values], more: Mapping[str, list[Any]], *, count: int, order: Sequence[int]) -> dict[str, Values]:
    """The columns of two groups of events as those of all.

    Args:
        columns: of the first events.
        more: of the others.
        count: how many the first are.
        order: which of all, the first before the others, comes when.
    """
    places, rest = pa.array(order, pa.int64()), len(order) - count
    paths = dict.fromkeys([*columns, *more])
    return {path: _both(columns.get(path, [None] * count), more.get(path, [None] * rest), places) for path in paths}


def _both(first: Values, second: list[Any], order: pa.Array) -> Values:
    if isinstance(first, pa.Array):
        if first.type in _SORTS and {type(value) for value in second} <= {_SORTS[first.type], type(None)}:
            try:
                joined: Values = pa.concat_arrays([first, pa.array(second, first.type)]).take(order)
                return joined
            except OverflowError:
                pass
        first = first.to_pylist()
    return list(map([*first, *second].__getitem__, order.to_pylist()))


def _buffer(data: bytes | None) -> pa.Buffer | None:
    return None if data is None else pa.py_buffer(data)
