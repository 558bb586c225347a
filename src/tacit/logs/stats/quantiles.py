"""Quantiles of a number from noisy counts in public ranges, coarse and fine, with an interval that the noise allows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SURE = 1.96
"""Standard deviations to either side of an interval of 95 %."""


@dataclass(frozen=True)
class Quantiles:
    """Values and their intervals, each float64 ``[groups, quantiles]``; NaN where noise leaves nothing to be said."""

    value: Floats
    lower: Floats
    upper: Floats


def consistent(fine: Floats, coarse: Floats, block: int) -> Floats:
    """Fine counts ``[groups, ranges]`` that agree with coarse ones of ``block`` neighbours, in the way that has least variance.

    A sum of n fine counts and the coarse count of the same noise are weighted 1 : n, and the difference is spread evenly (Hay, Rastogi, Miklau &
    Suciu 2010, §4).

    >>> consistent(np.array([[1.0, 2.0, 6.0]]), np.array([[6.0, 6.0]]), 2).tolist()
    [[2.0, 3.0, 6.0]]
    """
    starts = np.arange(0, fine.shape[-1], block)
    sizes = np.diff(np.append(starts, fine.shape[-1]))
    sums = np.add.reduceat(fine, starts, axis=-1)
    change = (sizes * coarse + sums) / (sizes + 1) - sums
    return np.asarray(fine + np.repeat(change / sizes, sizes, axis=-1))


def prefix_variances(ranges: int, block: int | None) -> Floats:
    """Variance of the sum of the first 0, 1, ... consistent counts, for noise of variance 1: float64 ``[ranges + 1]``."""
    if block is None:
        return np.arange(ranges + 1, dtype=np.float64)
    found, done = [0.0], 0.0
    for start in range(0, ranges, block):
        size = min(block, ranges - start)
        whole = size / (size + 1)
        part = np.arange(1, size + 1)
        found += (done + part * (1 - part / size) + (part / size) ** 2 * whole).tolist()
        done += whole
    return np.array(found)


def suffix_variances(ranges: int, block: int | None) -> Floats:
    """The same for the sum of all counts but the first 0, 1, ..."""
    before = prefix_variances(ranges, block)
    if block is None:
        return before[::-1]
    sizes = np.array([min(block, ranges - start) for start in range(0, ranges, block)])
    whole = sizes / (sizes + 1)
    inside = np.concatenate([np.arange(size) for size in sizes])
    left = np.repeat(sizes, sizes) - inside
    n = np.repeat(sizes, sizes)
    behind = np.repeat(whole.sum() - np.cumsum(whole), sizes)
    return np.append(behind + left * (1 - left / n) + (left / n) ** 2 * np.repeat(whole, sizes), 0.0)


def quantiles(counts: Floats, edges: Floats, at: Floats, *, sigma: float, block: int | None) -> Quantiles:
    """Quantiles of groups.

    Args:
        counts: noisy, consistent, ``[groups, ranges]``.
        edges: of the ranges, ``[ranges + 1]``.
        at: which quantiles, ``[quantiles]``.
        sigma: standard deviation of the noise of each count that was released.
        block: neighbours in a coarse count; ``None`` if there were none.
    """
    sums = np.concatenate([np.zeros((len(counts), 1)), np.cumsum(counts, axis=-1)], axis=-1)
    variances = prefix_variances(counts.shape[-1], block) * sigma**2
    after = suffix_variances(counts.shape[-1], block) * sigma**2
    total = sums[:, -1]
    shape = (len(counts), len(at))
    value, lower, upper = (np.full(shape, np.nan) for _ in range(3))
    known = total > 2 * SURE * np.sqrt(variances[-1])
    for place, share in enumerate(at):
        ahead = sums - share * total[:, None]
        spread = SURE * np.sqrt(np.maximum(0.0, (1 - share) * variances + share * after - share * (1 - share) * variances[-1]))
        value[:, place] = np.where(known, _crossing(np.maximum.accumulate(ahead, axis=-1), edges), np.nan)
        first, last = np.argmax(ahead + spread >= 0, axis=-1), ahead.shape[-1] - np.argmax((ahead - spread < 0)[:, ::-1], axis=-1)
        lower[:, place] = np.where(known, edges[np.maximum(first - 1, 0)], np.nan)
        upper[:, place] = np.where(known, edges[np.minimum(last, len(edges) - 1)], np.nan)
    return Quantiles(value, lower, upper)


def _crossing(ahead: Floats, edges: Floats) -> Floats:
    """Where rising values ``[groups, edges]`` pass zero, in between two edges linearly."""
    place = np.clip(np.argmax(ahead >= 0, axis=-1), 1, len(edges) - 1)
    rows = np.arange(len(ahead))
    before, after = ahead[rows, place - 1], ahead[rows, place]
    share = np.clip(np.divide(-before, after - before, out=np.zeros(len(ahead)), where=after > before), 0.0, 1.0)
    return np.asarray(edges[place - 1] + share * (edges[place] - edges[place - 1]))
