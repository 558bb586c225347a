"""Uniqueness: which columns, taken together, single out an event or a person; how many look alike (Sweeney 2002; de Montjoye et al. 2013)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tacit.attacks.linkage.columns import Coded, Numbers
from tacit.attacks.linkage.shares import Linked, Share
from tacit.errors import UsageError

STEPS = (1, 2, 5, 10, 20, 50)
"""Sizes of groups from which the distribution of k is told."""

Columns = Mapping[str, Sequence[Any]]
_MOST_SETS = 2_000


@dataclass(frozen=True)
class Anonymity:
    """How many look alike in some columns. Owner-side: measured on records, not released.

    Args:
        columns: that were taken together.
        rows: with a value in at least one of them.
        unique: share of the rows that are alone; its chance is what columns reach that have nothing to do with each other.
        single: share of the rows whose group belongs to one person; the same as ``unique`` where no person is known.
        below: by k of `STEPS`: share of the rows in groups of fewer than k rows (or people, where they are known).
        smallest: size of the smallest group.
        median: size of the group of the median row.
    """

    columns: tuple[str, ...]
    rows: int
    unique: Share
    single: Share
    below: Mapping[int, float]
    smallest: int
    median: float

    def to_dict(self) -> dict[str, Any]:
        """Plain form; no value is in it."""
        return {
            "columns": list(self.columns), "rows": self.rows, "unique": self.unique.to_dict(), "single": self.single.to_dict(),
            "share_below_k": {str(k): share for k, share in self.below.items()}, "smallest_k": self.smallest, "median_k": self.median,
            "released": False,
        }


def anonymity(columns: Columns, *, units: Sequence[Any] | None = None, seed: int = 0) -> Anonymity:
    """Group rows by all columns, and say how large the groups are.

    Uniqueness is that of these rows: among more rows fewer are unique.

    Args:
        columns: taken together; a missing value is a value of its own.
        units: whose each row is; groups are then counted in people.
        seed: shuffles the columns for the baseline.

    Raises:
        UsageError: without columns or rows, or if they differ in length.
    """
    coded = _coded(columns, units)
    rng = np.random.default_rng(seed)
    people = None if units is None else Coded.of(units).codes
    groups = _groups(list(coded.values()))
    apart = _groups([rng.permutation(codes) for codes in coded.values()])
    return _anonymity(tuple(columns), groups, people, chances=(_alone(apart, None), _alone(apart, people)))


def smallest_sets(
    columns: Columns, *, units: Sequence[Any] | None = None, share: float = 0.5, most: int = 3, count: int = 5, seed: int = 0
) -> tuple[Anonymity, ...]:
    """The smallest sets of columns that make at least this share of rows unique (or theirs alone, where people are known), the worst first.

    All sets of one column are tried, then of two, and so on; the first size at which a set suffices is the answer. If none does, the worst of the
    largest size are given, so that there is always something to read.

    Raises:
        UsageError: see `anonymity`.
    """
    coded = _coded(columns, units)
    people = None if units is None else Coded.of(units).codes
    found: list[tuple[float, tuple[str, ...]]] = []
    for size in range(1, min(most, len(coded)) + 1):
        found = []
        for names in list(combinations(coded, size))[:_MOST_SETS]:
            groups = _groups([coded[name] for name in names])
            found.append((_alone(groups, people), names))
        found.sort(key=lambda item: (-item[0], item[1]))
        if found[0][0] >= share:
            found = [item for item in found if item[0] >= share]
            break
    return tuple(anonymity({name: columns[name] for name in names}, units=units, seed=seed) for _, names in found[:count])


def points_needed(columns: Columns, units: Sequence[Any], *, points: int, targets: int = 500, seed: int = 0) -> Linked:
    """How often so many events of somebody, known by these columns, are those of nobody else.

    Args:
        columns: what the attacker knows of an event.
        units: whose each row is.
        points: how many events he knows.
        targets: people tried, at most.
        seed: draws them and their events.

    Returns:
        Shares of the people of whom as many different events are there; the guess is drawn from everybody whom all of the events fit.

    Raises:
        UsageError: see `anonymity`; or if nobody has so many.
    """
    rng = np.random.default_rng(seed)
    groups = _groups(list(_coded(columns, units).values()))
    who = Coded.of(units)
    pairs = np.unique(np.stack([who.codes, groups])[:, who.codes >= 0], axis=1)
    by_group = pairs[:, np.argsort(pairs[1], kind="stable")]
    first = np.searchsorted(by_group[1], np.arange(int(groups.max()) + 2), "left")
    edges = np.searchsorted(pairs[0], np.arange(len(who.values) + 1), "left")
    chosen = [person for person in rng.permutation(len(who.values)) if edges[person + 1] - edges[person] >= points][:targets]
    if not chosen:
        raise UsageError(f"Expected somebody with at least {points} different events; pass more rows, or fewer points.")
    fits = np.zeros(len(chosen), np.int64)
    for place, person in enumerate(chosen):
        own = rng.choice(pairs[1, edges[person] : edges[person + 1]], points, replace=False)
        crowds = [by_group[0, first[group] : first[group + 1]] for group in own]
        left = crowds[0]
        for crowd in crowds[1:]:
            left = np.intersect1d(left, crowd, assume_unique=True)
        fits[place] = len(left)
    right = rng.random(len(chosen)) < 1 / fits
    size, events = len(who.values), who.counts[np.array(chosen)]
    return Linked(
        f"{points} known event{'' if points == 1 else 's'}", f"{', '.join(columns)} of {points} event{'' if points == 1 else 's'} of each target",
        Share.of(right, chance=1 / size), Share.of(right, chance=1 / size, weights=events),
        {k: Share.of(fits <= k, chance=min(1.0, k / size)) for k in (1, 5, 10) if k < max(size, 2)}, float(np.median(fits)), size,
        {"targets": len(chosen), "people_whom_they_fit": float(np.median(fits))},
    )  # fmt: skip


def _coded(columns: Columns, units: Sequence[Any] | None) -> dict[str, Numbers]:
    lengths = {len(column) for column in columns.values()} | (set() if units is None else {len(units)})
    if not columns or len(lengths) != 1 or not max(lengths):
        raise UsageError("Expected at least one column and one row, and columns of one length.")
    return {name: Coded.of(column).codes + 1 for name, column in columns.items()}


def _groups(columns: Sequence[Numbers]) -> Numbers:
    """The group of each row, numbered from 0."""
    found = np.unique(columns[0], return_inverse=True)[1]
    for column in columns[1:]:
        found = np.unique(found * (int(column.max()) + 1) + column, return_inverse=True)[1]
    return np.asarray(found, np.int64)


def _sizes(groups: Numbers) -> Numbers:
    return np.bincount(groups)[groups]


def _crowds(groups: Numbers, people: Numbers) -> Numbers:
    """How many different people each row's group has."""
    pairs = np.unique(groups * (int(people.max()) + 2) + people + 1)
    return np.bincount(pairs // (int(people.max()) + 2))[groups]


def _alone(groups: Numbers, people: Numbers | None) -> float:
    """Share of rows that are unique, or whose group is one person's."""
    sizes = _sizes(groups) if people is None else _crowds(groups, people)
    return float((sizes == 1).mean())


def _anonymity(names: tuple[str, ...], groups: Numbers, people: Numbers | None, *, chances: tuple[float, float]) -> Anonymity:
    sizes = _sizes(groups)
    crowd: NDArray[np.int64] = sizes if people is None else _crowds(groups, people)
    unique = Share.of(sizes == 1, chance=chances[0])
    single = unique if people is None else _by_person(crowd == 1, people, chances[1])
    return Anonymity(
        names, len(groups), unique, single, {k: float((crowd < k).mean()) for k in STEPS if k > 1}, int(crowd.min()), float(np.median(crowd)),
    )  # fmt: skip


def _by_person(single: NDArray[np.bool_], people: Numbers, chance: float) -> Share:
    """A share of rows whose interval knows that rows of one person go together: as many cases as people of equal weight would be."""
    counts = np.bincount(people + 1).astype(np.float64)
    effective = float(counts.sum() ** 2 / (counts**2).sum())
    return Share(float(single.mean()) * effective, effective, chance)
