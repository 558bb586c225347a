"""What single units have in which cells: the step between records and a bounded sum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Index = NDArray[np.int64]
Hashes = NDArray[np.uint64]

_TIE_BITS = 12


def mixed(values: Hashes) -> Hashes:
    """The finaliser of SplitMix64 (Steele, Lea & Flood 2014, figure 16)."""
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


@dataclass(frozen=True)
class Pairs:
    """Units and the cells they have rows in, one after the other; those of one unit next to each other.

    Args:
        starts: where each unit begins, int64 ``[units]``.
        owner: the unit of each pair, dense from 0, int64 ``[pairs]``.
        place: the cell, int64 ``[pairs]``.
        count: rows of the unit in that cell, int64 ``[pairs]``.
    """

    starts: Index
    owner: Index
    place: Index
    count: Index

    @classmethod
    def of(cls, places: Index, units: Index, size: int) -> Pairs:
        """Pairs of rows: their cells (-1 for none), their units, and the number of cells."""
        seen = places >= 0
        keys = units * np.int64(size) + places
        if not seen.all():
            keys = keys[seen]
        keys.sort()
        different, count = runs(keys)
        return cls.grouped(*np.divmod(different, size), count)

    @classmethod
    def grouped(cls, unit: Index, place: Index, count: Index) -> Pairs:
        """Pairs whose units, of any numbering, never decrease."""
        if not len(unit):
            return cls(unit, unit, place, count)
        starts = run_starts(unit)
        return cls(starts, run_numbers(starts, len(unit)), place, count)

    def with_counts(self, count: Index) -> Pairs:
        """The same pairs with other counts."""
        return Pairs(self.starts, self.owner, self.place, count)

    def totals(self, values: Index) -> Index:
        """Sums of ``values`` over the pairs of each unit, int64 ``[units]``."""
        return np.add.reduceat(values, self.starts) if len(self.starts) else values[:0]

    def sums(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The same for numbers that are not whole."""
        return np.add.reduceat(values, self.starts) if len(self.starts) else values[:0]

    @property
    def sizes(self) -> Index:
        """How many pairs each unit has, int64 ``[units]``."""
        return np.diff(np.append(self.starts, len(self.owner)))

    def largest(self, most: int) -> Pairs:
        """At most ``most`` pairs of each unit: those with most rows.

        Of equal ones, which stay depends on the unit's own pairs alone, and differs from unit to unit.
        """
        many = self.sizes > most
        if not many.any():
            return self
        mine = np.flatnonzero(many[self.owner])
        owner, place, count = self.owner[mine], self.place[mine].astype(np.uint64), self.count[mine]
        starts = np.searchsorted(owner, np.flatnonzero(many))
        own = np.add.reduceat(mixed(place ^ mixed(count.astype(np.uint64))), starts)
        ties = mixed(place ^ np.repeat(own, np.diff(np.append(starts, len(mine)))))
        rank = np.arange(len(mine)) - np.repeat(starts, np.diff(np.append(starts, len(mine))))
        keep = np.ones(len(self.owner), bool)
        keep[mine[_ranked(owner, count, ties)[rank >= most]]] = False
        return Pairs.grouped(self.owner[keep], self.place[keep], self.count[keep])


def _ranked(owner: Index, count: Index, ties: Hashes) -> Index:
    """The order by owner, then by falling count, then by ties, then as they are: in one integer each, where they fit."""
    largest, bits = int(count.max()), len(owner).bit_length()
    counts, spare = largest.bit_length(), 64 - int(owner.max()).bit_length() - bits
    if spare - counts < _TIE_BITS:
        return np.lexsort((ties, -count, owner))
    keys = owner.astype(np.uint64) << np.uint64(spare + bits)
    keys |= (largest - count).astype(np.uint64) << np.uint64(spare + bits - counts)
    keys |= ties >> np.uint64(64 - spare + counts) << np.uint64(bits)
    keys |= np.arange(len(owner), dtype=np.uint64)
    keys.sort()
    return (keys & np.uint64((1 << bits) - 1)).astype(np.int64)


def run_starts(values: Index) -> Index:
    """Where runs of equal neighbours begin.

    >>> run_starts(np.array([7, 7, 3, 3, 3])).tolist()
    [0, 2]
    """
    if not len(values):
        return np.zeros(0, np.int64)
    first = np.empty(len(values), bool)
    first[0] = True
    np.not_equal(values[1:], values[:-1], out=first[1:])
    return np.flatnonzero(first)


def run_numbers(starts: Index, length: int) -> Index:
    """The number of the run that each of ``length`` values is in, from 0."""
    return np.repeat(np.arange(len(starts)), np.diff(np.append(starts, length)))


def runs(keys: Index) -> tuple[Index, Index]:
    """The different values of sorted ``keys``, and how often each occurs."""
    at = run_starts(keys)
    return keys[at], np.diff(np.append(at, len(keys)))
