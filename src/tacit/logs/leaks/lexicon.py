"""A few hundred thousand words found in a text at once, as whole words, by NumPy alone.

A word here may have marks inside: it is one or more runs of letters and digits and what stands between them, such as an address. The sums of a
polynomial hash over the text give the hash of every such stretch by one subtraction (Karp & Rabin 1987); those that a table knows are hits, to be
compared byte by byte by whoever asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Hashes = NDArray[np.uint64]
Places = NDArray[np.intp]

_BASE = 0x9E3779B97F4A7C15  # odd, and so invertible modulo 2⁶⁴
_INVERSE = pow(_BASE, -1, 1 << 64)
_SPREAD = np.uint64(0xD6E8FEB86659FD93)
_FILTER_BITS = 22
_LOWER = np.arange(256, dtype=np.uint8)
_LOWER[65:91] += 32
_WORD = np.zeros(256, bool)
_WORD[[*range(48, 58), *range(65, 91), *range(97, 123), *range(128, 256)]] = True
_DIGIT, _HEX = np.zeros(256, bool), np.zeros(256, bool)
_DIGIT[48:58] = True
_HEX[[*range(48, 58), *range(65, 71), *range(97, 103)]] = True
_MARKS = bytes(np.flatnonzero(~_WORD).tolist())
_DOT, _COLON = ord("."), ord(":")


def lower(text: bytes) -> bytes:
    """From the first letter or digit to the last, letters of ASCII in lower case."""
    return text.lower().strip(_MARKS)


@dataclass(frozen=True, eq=False)
class Hits:
    """Stretches of a text whose hash is that of a word: numbers of words, and where they begin and end (``[hits]`` each)."""

    words: Places
    starts: Places
    ends: Places

    def only(self, chosen: NDArray[Any]) -> Hits:
        """Those at a mask or at places."""
        return Hits(self.words[chosen], self.starts[chosen], self.ends[chosen])

    def without(self, places: Places) -> Hits:
        """All but those at places."""
        rest = np.ones(len(self.words), bool)
        rest[places] = False
        return self.only(rest)


class Lexicon:
    """Words to look for.

    Args:
        words: as ``lower`` gives them; empty ones are never found.
        addresses: per word whether it is a network address, which must not be part of a longer one.
    """

    def __init__(self, words: Sequence[bytes], *, addresses: Sequence[bool]) -> None:
        self.words = words
        self._address = np.array(addresses, bool)
        self._powers, self._inverses = np.ones(1, np.uint64), np.ones(1, np.uint64)
        self._tables, firsts = self._hashed()
        self._first = np.zeros(1 << _FILTER_BITS, bool)
        self._first[_slot(firsts)] = True

    def hits(self, text: Bytes) -> Hits:
        """Where a text may hold words, in no particular order."""
        starts, ends = _runs(text)
        if not len(starts):
            return Hits(starts, starts, starts)
        self._grow(len(text))
        sums = np.zeros(len(text) + 1, np.uint64)
        np.cumsum(_LOWER[text] * self._powers[: len(text)], out=sums[1:])
        opened = np.flatnonzero(self._first[_slot((sums[ends] - sums[starts]) * self._inverses[starts])])
        found = [self._of_length(count, sums, starts, ends, opened) for count in self._tables]
        whole = Hits(*(np.concatenate([getattr(part, name) for part in found]) for name in ("words", "starts", "ends")))
        return whole.only(~self._address[whole.words] | _alone(text, whole))

    def _of_length(self, count: int, sums: Hashes, starts: Places, ends: Places, opened: Places) -> Hits:
        """Hits of words that consist of ``count`` runs."""
        hashes, numbers = self._tables[count]
        here = opened[: np.searchsorted(opened, len(starts) - count, side="right")]
        begin, end = starts[here], ends[here + (count - 1)]
        values = (sums[end] - sums[begin]) * self._inverses[begin]
        place = np.minimum(np.searchsorted(hashes, values), len(hashes) - 1)
        hit = np.flatnonzero(hashes[place] == values)
        return Hits(numbers[place[hit]], begin[hit], end[hit])

    def _grow(self, size: int) -> None:
        if size > len(self._powers):
            self._powers, self._inverses = (_powers(base, 2 * size) for base in (_BASE, _INVERSE))

    def _hashed(self) -> tuple[dict[int, tuple[Hashes, Places]], Hashes]:
        """By number of runs: sorted hashes and the words that have them; and hashes of all first runs."""
        text = np.frombuffer(b"\n".join(self.words) + b"\n", np.uint8)
        self._grow(len(text))
        sums = np.zeros(len(text) + 1, np.uint64)
        np.cumsum(text * self._powers[: len(text)], out=sums[1:])
        ends = np.flatnonzero(text == ord("\n"))
        begins = np.concatenate([[0], ends[:-1] + 1])
        starts, stops = _runs(text)
        counts = np.searchsorted(starts, ends) - np.searchsorted(starts, begins)
        values = (sums[ends] - sums[begins]) * self._inverses[begins]
        tables = {}
        for count in np.unique(counts[counts > 0]).tolist():
            numbers = np.flatnonzero(counts == count)
            order = numbers[np.argsort(values[numbers])]
            tables[count] = (values[order], order)
        first = np.searchsorted(starts, begins[counts > 0])
        return tables, (sums[stops[first]] - sums[starts[first]]) * self._inverses[starts[first]]


def _powers(base: int, size: int) -> Hashes:
    powers = np.full(size, base, np.uint64)
    powers[0] = 1
    return np.multiply.accumulate(powers)


def _slot(hashes: Hashes) -> Hashes:
    return hashes * _SPREAD >> np.uint64(64 - _FILTER_BITS)


def _runs(text: Bytes) -> tuple[Places, Places]:
    """Where runs of letters and digits begin and end; bytes of other alphabets count as letters."""
    word = np.zeros(len(text) + 2, bool)
    word[1:-1] = _WORD[text]
    edges = np.flatnonzero(word[1:] != word[:-1])
    return edges[::2], edges[1::2]


def _alone(text: Bytes, hits: Hits) -> NDArray[np.bool_]:
    """Whether no further part of an address follows or precedes: a dot and a digit, or a colon and a group of at most four hexadecimal digits."""
    padded = np.concatenate([np.zeros(6, np.uint8), text, np.zeros(6, np.uint8)])
    before, after = [padded[hits.starts + 5 - i] for i in range(6)], [padded[hits.ends + 6 + i] for i in range(6)]
    joined = np.zeros(len(hits.words), bool)
    for side in (before, after):
        joined |= (side[0] == _DOT) & _DIGIT[side[1]]
        group = np.cumprod([_HEX[byte] for byte in side[1:]], axis=0).sum(axis=0)
        beyond = np.choose(np.minimum(group, 4), side[1:])
        joined |= (side[0] == _COLON) & (group > 0) & (group < 5) & ~_WORD[beyond]
    return ~joined
