"""Plain columns as attacks need them: values as numbers, times in seconds, and which pairs of events are close in time."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tacit.errors import UsageError

Numbers = NDArray[np.int64]
Floats = NDArray[np.float64]
MOST_PAIRS = 4_000_000
"""Pairs of events that are held at once."""


@dataclass(frozen=True, eq=False)
class Coded:
    """A column as numbers of its different values; -1 where nothing stands.

    >>> found = Coded.of(["b", "a", None, "b"])
    >>> found.codes.tolist(), found.values, found.counts.tolist()
    ([0, 1, -1, 0], ('b', 'a'), [2, 1])
    """

    codes: Numbers
    values: tuple[str, ...]

    @classmethod
    def of(cls, column: Sequence[Any] | NDArray[Any]) -> Coded:
        """From values of any kind: they are compared as texts."""
        listed = column.tolist() if isinstance(column, np.ndarray) else column
        texts = [None if value is None else value if type(value) is str else str(value) for value in listed]
        coded = pa.array(texts, pa.string()).dictionary_encode()
        return cls(coded.indices.fill_null(-1).to_numpy().astype(np.int64), tuple(coded.dictionary.to_pylist()))

    @property
    def counts(self) -> Numbers:
        """How often each value stands there."""
        return np.bincount(self.codes[self.codes >= 0], minlength=len(self.values))

    def __len__(self) -> int:
        return len(self.codes)


@dataclass(frozen=True, eq=False)
class Trace:
    """Events as a column each: who (a name or a pseudonym), when (seconds, NaN where unknown), and a mark that both sides can read, such as a size.

    Raises:
        UsageError: if the columns are not of one length.
    """

    who: Sequence[Any]
    times: Floats
    marks: Sequence[Any] | None = None

    def __post_init__(self) -> None:
        lengths = {len(self.who), len(self.times), *(() if self.marks is None else (len(self.marks),))}
        if len(lengths) > 1:
            raise UsageError(f"Expected columns of one length; got {', '.join(map(str, sorted(lengths)))}.")

    def __len__(self) -> int:
        return len(self.who)


def owners(pseudonyms: Coded, names: Coded) -> Numbers:
    """Which name each pseudonym has: that of most of its events; -1 if they have none."""
    found = np.full(len(pseudonyms.values), -1, np.int64)
    both = (pseudonyms.codes >= 0) & (names.codes >= 0)
    if both.any():
        keys, counts = np.unique(pseudonyms.codes[both] * len(names.values) + names.codes[both], return_counts=True)
        order = np.argsort(counts, kind="stable")
        found[keys[order] // len(names.values)] = keys[order] % len(names.values)
    return found


def positions(values: Sequence[str], within: Sequence[str]) -> Numbers:
    """Where each value stands in another list; -1 if it does not."""
    place = {value: number for number, value in enumerate(within)}
    return np.array([place.get(value, -1) for value in values], np.int64)


def close(marks: Floats, times: Floats, *, before: float, after: float) -> Iterator[tuple[Numbers, Numbers]]:
    """Pairs (mark, event) with ``-before <= time of the event - time of the mark <= after``, a few million at a time.

    >>> [(a.tolist(), b.tolist()) for a, b in close(np.array([10.0]), np.array([1.0, 9.0, 12.0]), before=1, after=2)]
    [([0, 0], [1, 2])]
    """
    order = np.argsort(times, kind="stable")
    order = order[np.isfinite(times[order])]
    sorted_times, known = times[order], np.flatnonzero(np.isfinite(marks))
    lows = np.searchsorted(sorted_times, marks[known] - before, "left")
    sizes = np.searchsorted(sorted_times, marks[known] + after, "right") - lows
    ends = np.cumsum(sizes)
    begin = 0
    while begin < len(known):
        done = int(ends[begin - 1]) if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, done + MOST_PAIRS, "right")))
        part = sizes[begin:end]
        if part.sum():
            within = np.arange(int(part.sum())) - np.repeat(np.cumsum(part) - part, part)
            yield np.repeat(known[begin:end], part), order[np.repeat(lows[begin:end], part) + within]
        begin = end


def octets_of(addresses: Sequence[str]) -> dict[int, tuple[Numbers, NDArray[np.uint8]]]:
    """Addresses by length in bytes (4, 16): their places, and uint8 ``[addresses, length]``; what is no address is left out.

    >>> {length: (places.tolist(), octets.tolist()) for length, (places, octets) in octets_of(["192.0.2.1", "none"]).items()}
    {4: ([0], [[192, 0, 2, 1]])}
    """
    found: dict[int, tuple[list[int], list[bytes]]] = {}
    for place, text in enumerate(addresses):
        family = socket.AF_INET6 if ":" in text else socket.AF_INET
        try:
            packed = socket.inet_pton(family, text)
        except (OSError, ValueError):
            continue
        places, octets = found.setdefault(len(packed), ([], []))
        places.append(place)
        octets.append(packed)
    return {
        length: (np.array(places, np.int64), np.frombuffer(b"".join(octets), np.uint8).reshape(-1, length))
        for length, (places, octets) in found.items()
    }
