"""Bins from one noisy histogram: post-processing, so it costs nothing beyond the histogram.

A column's cuts are the quantiles of a density that is one third noisy mass, one third even over the octaves that visibly hold records and one
third even over all cells, so that tails keep cuts of their own. Heavy cells and spikes, such as «exactly zero», stand alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tacit.domain import Category, Domain, Numeric
from tacit.learn.discovery import simplex, total_of
from tacit.questions import GRID, Binning, Histogram

CUTS = 48
_SPIKE = 5.0
_LIVE = 3.0
_MOST_BINS = 254
_MOST_SPIKES = 80


def stride_for(size: int, sigma: float) -> int:
    """How many neighbouring codes to merge, so that cells are not much finer than the noise allows to see."""
    cells = 2.0 ** np.clip(np.rint(np.log2(max(size, 1) / max(sigma, 1e-9))), 7, 11)
    return int(max(1, round(1024 / cells)))


def binning_of(domain: Domain, question: Histogram | None, answer: NDArray[np.int64] | None, *, sigma: float, size: int) -> Binning:
    """Bins for every feature: categories one by one, numbers by their noisy histograms.

    Args:
        domain: all features.
        question: the histogram of the numeric ones, ``None`` if there are none.
        answer: its noisy answer in grid steps.
        sigma: standard deviation of its noise, in units.
        size: noised number of records; ignored where units have an unknown number of rows.
    """
    counts: dict[str, NDArray[np.float64]] = {}
    if question is not None and answer is not None:
        counts = dict(zip(question.domain.names, question.split(answer.astype(np.float64) / GRID), strict=True))
    tables = []
    for name, kind in domain.columns:
        if isinstance(kind, Category):
            tables.append(np.arange(kind.code_count, dtype=np.uint8))
        else:
            groups = question.groups(kind) if question is not None else np.arange(kind.code_count)
            known = None if question is None or question.clip is not None else size
            tables.append(_table(kind, groups, counts[name], sigma, total_of(counts[name][1:], size=known)))
    return Binning(domain, tuple(tables))


def _table(kind: Numeric, groups: NDArray[np.int64], counts: NDArray[np.float64], sigma: float, total: float) -> NDArray[np.uint8]:
    raw = counts[1:]
    cuts = _cuts(raw, simplex(raw, total) / total, _live(kind, groups, raw, sigma), sigma)
    starts = np.zeros(len(raw), np.int64)
    starts[cuts] = 1
    return np.concatenate([[0], 1 + np.cumsum(starts)])[groups].astype(np.uint8)


def _live(kind: Numeric, groups: NDArray[np.int64], raw: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """1 for cells in octaves that visibly hold records, 0 elsewhere; all 1 if none does."""
    lowest = np.concatenate([[min(kind.lower - kind.origin, 0.0) if kind.lower < kind.origin else 0.0], kind.edges])
    first = np.flatnonzero(np.diff(groups[1:], prepend=-1))
    edges = lowest[first]
    tiny = np.abs(edges) < 1e-30
    octave = np.where(tiny, 0, np.sign(edges) * (np.floor(np.log2(np.where(tiny, 1.0, np.abs(edges)))) + 2000))
    _, member = np.unique(octave, return_inverse=True)
    width = np.bincount(member)
    seen = np.bincount(member, raw) > _LIVE * sigma * np.sqrt(width)
    return seen[member].astype(np.float64) if seen.any() else np.ones(len(raw))


def _cuts(raw: NDArray[np.float64], mass: NDArray[np.float64], live: NDArray[np.float64], sigma: float) -> NDArray[np.int64]:
    """Cells that a new bin begins at."""
    size = len(raw)
    density = (mass + live / live.sum() + 1 / size) / 3
    quantiles = np.searchsorted(np.cumsum(density), np.arange(1, CUTS) / CUTS - 1e-9) + 1
    positive = np.maximum(raw, 0.0)
    neighbours = (np.append(0.0, positive[:-1]) + np.append(positive[1:], 0.0)) / 2
    spikes = np.flatnonzero((raw >= _SPIKE * sigma) & (raw > 3 * neighbours))
    heavy = np.flatnonzero(density >= 1 / CUTS)
    room = max(0, (_MOST_BINS - CUTS - 2 * len(heavy)) // 2)
    spikes = spikes[np.argsort(-raw[spikes])][: min(_MOST_SPIKES, room)]
    alone = np.union1d(heavy, spikes)
    cuts = np.unique(np.concatenate([quantiles, alone, alone + 1]))
    return cuts[(cuts > 0) & (cuts < size)]
