"""A public domain from charged answers: what each column is, between which bounds its numbers lie, which texts are common."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from tacit.domain import Category, ColumnType, Domain, Numeric
from tacit.questions import GRID, Profile

MOST_VALUES = 60
_SEEN = 4.0
_CERTAIN = 1e-7
_NEAR = 3
_WIDE = 0.005


def simplex(values: NDArray[np.float64], total: float) -> NDArray[np.float64]:
    """The nearest non-negative vector with the given sum (Duchi et al. 2008): kills the noise in empty cells.

    >>> simplex(np.array([5.0, -1.0, 1.0]), 5.0).tolist()
    [4.5, 0.0, 0.5]
    """
    ordered = np.sort(values)[::-1]
    excess = (np.cumsum(ordered) - total) / np.arange(1, len(values) + 1)
    return np.asarray(np.maximum(values - excess[np.flatnonzero(ordered > excess)[-1]], 0.0))


def total_of(counts: NDArray[np.float64], *, size: int | None) -> float:
    """What counts of all records add up to: the noised number of records, or their own sum where units have an unknown number of rows."""
    return max(float(counts.sum()) if size is None else float(size), 1.0)


def texts_among(answer: NDArray[np.int64], columns: Sequence[str], *, size: int | None) -> tuple[str, ...]:
    """Which columns hold mostly text, by their noisy profiles."""
    found = []
    for name, counts in zip(columns, _profiles(answer), strict=True):
        mass = simplex(counts, total_of(counts, size=size))
        if mass[Profile.TEXT] > mass[Profile.TEXT + 1 :].sum():
            found.append(name)
    return tuple(found)


def found_domain(
    columns: Sequence[str], answer: NDArray[np.int64], common: Mapping[str, Sequence[str]], *, sigma: float, size: int | None,
) -> Domain:
    """The domain of some columns.

    Args:
        columns: as in the `Profile` question.
        answer: its noisy answer in grid steps.
        common: the selected values of the columns that hold text, most common first.
        sigma: standard deviation of the answer's noise, in units.
        size: noised number of records; ``None`` where only that of units is known.
    """
    kinds: list[tuple[str, ColumnType]] = []
    for name, counts in zip(columns, _profiles(answer), strict=True):
        kind = Category(tuple(common[name][:MOST_VALUES])) if name in common else _bounds(counts, sigma, size)
        kinds.append((name, kind))
    return Domain(tuple(kinds))


def _profiles(answer: NDArray[np.int64]) -> NDArray[np.float64]:
    return answer.reshape(-1, Profile.PER_COLUMN).astype(np.float64) / GRID


def _bounds(counts: NDArray[np.float64], sigma: float, size: int | None) -> Numeric:
    """Outer powers of two of the octaves that visibly hold values; one octave more where a rare outer one may hide under the noise."""
    seen = _visible(counts[2:], sigma) + 2 - Profile.ZERO
    if not len(seen) or not seen.any():
        return Numeric(0.0, 1.0)
    margin = 2.0 if _SEEN * sigma > _WIDE * total_of(counts, size=size) else 1.0
    lower, upper = _edge(int(seen.min()), outer=-1), _edge(int(seen.max()), outer=1)
    smallest = 2.0 ** (int(np.abs(seen[seen != 0]).min()) - 33)
    return Numeric(lower * (margin if lower < 0 else 1.0), upper * (margin if upper > 0 else 1.0), smallest)


def _visible(octaves: NDArray[np.float64], sigma: float) -> NDArray[np.int64]:
    """Places of the octaves that hold values: what stands out near others does, what stands out alone only if noise on so many cannot explain it.

    One octave far out, believed by mistake, would make bounds that leave the real values in a single cell.
    """
    places = np.flatnonzero(octaves > _SEEN * sigma)
    if not len(places):
        return places
    certain = octaves[places] > -float(ndtri(_CERTAIN / len(octaves))) * sigma
    body = places[certain | (places == np.argmax(octaves))]
    return np.asarray(places[np.abs(places[:, None] - body[None, :]).min(axis=1) <= _NEAR])


def _edge(octave: int, *, outer: int) -> float:
    """The end of a signed octave that lies further in direction ``outer``."""
    if octave == 0:
        return 0.0
    sign = int(math.copysign(1, octave))
    return sign * 2.0 ** (abs(octave) - 33 + (1 if sign == outer else 0))
