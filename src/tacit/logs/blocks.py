"""Coded events: one NumPy column per field, strings as codes into the pools. Everything is generated in this form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Block = dict[str, Array]

DAY_MS = 86_400_000
# field -> (type, value when the event has no such field)
FIELDS: dict[str, tuple[type[np.generic], int]] = {
    "time": (np.int32, 0),
    "event": (np.int8, 0),
    "user": (np.int32, 0),
    "host": (np.int32, 0),
    "source": (np.int32, 0),
    "target": (np.int32, 0),
    "port": (np.int32, 0),
    "program": (np.int32, 0),
    "query": (np.int32, 0),
    "domain": (np.int32, 0),
    "method": (np.int8, 0),
    "file": (np.int32, 0),
    "sent": (np.int64, -1),
    "received": (np.int64, -1),
    "campaign": (np.int32, -1),
}
LOGON, LOGON_FAILED, QUERY, QUERY_FAILED, REQUEST, PROCESS, ALLOWED, DENIED = range(1, 9)
GET, POST = 1, 2


def part(time: Array, event: int | Array, **fields: int | Array) -> Block:
    """Events that share a shape: one per ``time`` (ms of the day, kept inside the day); fields not given keep their default."""
    return {
        "time": np.clip(time, 0, DAY_MS - 1).astype(np.int32),
        "event": np.asarray(event),
        **{name: np.asarray(value) for name, value in fields.items()},
    }


def combine(parts: Sequence[Block]) -> Block:
    """All parts as one block in order of time (ties keep the order of the parts)."""
    sizes = [len(p["time"]) for p in parts]
    order = np.argsort(np.concatenate([p["time"] for p in parts]), kind="stable") if parts else np.zeros(0, np.intp)
    return {name: _column(parts, sizes, name)[order] for name in FIELDS}


def _column(parts: Sequence[Block], sizes: Sequence[int], name: str) -> Array:
    kind, default = FIELDS[name]
    out = np.full(sum(sizes), default, kind)
    begin = 0
    for piece, size in zip(parts, sizes, strict=True):
        if name in piece:
            out[begin : begin + size] = piece[name]
        begin += size
    return out


def cut(block: Block, begin: int, end: int) -> Block:
    """Rows ``begin`` to ``end`` of a block, without copying."""
    return {name: column[begin:end] for name, column in block.items()}
