"""From a noisy histogram of what units add: where to bound them, and how much that cuts off."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from tacit.logs.stats.noise import Noise
from tacit.questions.contributions import MOST_RATIO, QUARTERS, edges
from tacit.questions.tally import MOST_ROWS

Floats = NDArray[np.float64]

USUAL = 0.95
"""Share of the units that a bound found as a quantile leaves whole."""

SURE = 1.959964
_CHANCE, _SIGMAS = 1e-6, 4.75
_LITTLE = 0.02
_NEAR, _LIKELY = 4.0, 2.5


@dataclass(frozen=True)
class Cut:
    """What a bound cuts off, as far as noise lets one tell.

    Args:
        rows: how many rows (units, values) are missing from all cells together.
        deviation: standard deviation of that figure.
        whole: share of the units that are counted in full; ``None`` where it was not asked.
        hidden: how many more units there may be at most (97.5 %) that are so large that they did not stand out; what they lose is not in ``rows``.
        above: how large: rows, or length, or rows lost.
    """

    rows: float
    deviation: float
    whole: float | None = None
    hidden: float = 0.0
    above: float = 0.0


def amounts() -> Floats:
    """The middle of each coordinate of a histogram of contributions, float64 ``[size]``; the last stands for its lower end."""
    upper = edges().astype(np.float64)
    return np.append(np.concatenate([upper[:1], (upper[:-1] + 1 + upper[1:]) / 2]), upper[-1])


def visible(counts: Floats, noise: Noise) -> int:
    """How many coordinates a bound is chosen by: all the others together are taken for empty.

    Up to the last that stands out of the noise, alone or with its neighbours; and beyond that, near it, up to what is likely.
    """
    return 1 + _likely_beyond(_last_seen(counts, noise), counts, noise)


def counted(counts: Floats, noise: Noise) -> int:
    """How many coordinates a loss is estimated by: what is visible, and more, as long as what noise adds there is little of all that is.

    So few units with much are not overlooked, unless so few that they must not show.
    """
    seen = visible(counts, noise)
    total = float(amounts()[:seen] @ np.maximum(counts[:seen], 0.0))
    return max(seen, int(np.searchsorted(amounts(), _LITTLE * total / noise.deviation)))


def _last_seen(counts: Floats, noise: Noise) -> int:
    """The end of the last run of 1, 2, 4, ... coordinates whose sum noise cannot explain, and of which no part is such a run itself."""
    certain, wide = noise.beyond(_CHANCE), _SIGMAS * noise.deviation
    sums = np.concatenate([[0.0], np.cumsum(counts)])
    taken, last = np.zeros(len(counts), bool), 0
    for length in (1, 2, 4, 8, 16):
        starts = np.arange(len(counts) - length + 1)
        whole = sums[length:] - sums[:-length] > wide * math.sqrt(length) + certain - wide
        parted = np.concatenate([[0], np.cumsum(taken)])
        fresh = starts[whole & (parted[length:] - parted[:-length] == 0)]
        last = max(last, int(fresh.max()) + length - 1) if len(fresh) else last
        for start in fresh:
            taken[start : start + length] = True
    return last


def _likely_beyond(last: int, counts: Floats, noise: Noise) -> int:
    """The end of the counts, if what follows on ``last`` within a factor of four is likely more than noise, and so on: a mistake costs little."""
    while True:
        end = int(np.searchsorted(amounts(), _NEAR * max(1.0, float(amounts()[last])), side="right"))
        runs = np.cumsum(counts[last + 1 : end])
        if not len(runs):
            return last
        scores = runs / (noise.deviation * np.sqrt(np.arange(1, len(runs) + 1)))
        if scores.max() < _LIKELY:
            return last
        last += 1 + int(np.argmax(scores))


def _cut(counts: Floats, noise: Noise, over: Floats, whole: float | None = None) -> Cut:
    """The cut, where a unit of each coordinate loses ``over`` rows."""
    seen = counted(counts, noise)
    rows, spread = float(over[:seen] @ counts[:seen]), noise.deviation * float(np.sqrt((over[:seen] ** 2).sum()))
    rest = counts[seen:]
    hidden = max(0.0, float(rest.sum()) + SURE * noise.deviation * math.sqrt(len(rest)))
    return Cut(max(0.0, rows), spread, whole, hidden, float(edges()[seen - 1]))


def over_rows(bound: float) -> Floats:
    """What a unit of each coordinate of a histogram of rows loses."""
    return np.asarray(np.maximum(amounts() - bound, 0.0))


def over_length(bound: float) -> Floats:
    """What a count of 1 in each coordinate of a histogram of lengths stands for, lost in rows."""
    return np.asarray(MOST_RATIO * np.maximum(amounts() / QUARTERS - bound, 0.0))


def lost_above(counts: Floats, noise: Noise, bound: float) -> Cut:
    """Rows above ``bound`` per unit, from a histogram of rows per unit.

    >>> counts = np.zeros(len(edges()) + 1)
    >>> counts[[3, 10]] = 900, 100
    >>> cut = lost_above(counts, Noise("gaussian", 1.0), 5)
    >>> round(cut.rows), round(cut.deviation), round(cut.whole, 2), round(cut.hidden), cut.above
    (650, 99, 0.9, 12, 64.0)
    """
    over, seen = over_rows(bound), counted(counts, noise)
    short = float(counts[:seen][over[:seen] > 0].sum()) / max(float(counts[:seen].sum()), 1.0)
    return _cut(counts, noise, over, min(1.0, max(0.0, 1 - short)))


def lost_beyond(ratios: Floats, noise: Noise, length: float) -> Cut:
    """Rows lost where units' counts are shortened to ``length`` rows, from the histogram of lengths, which says ratios of rows to length."""
    found = _cut(ratios, noise, over_length(length))
    return replace(found, hidden=found.hidden * MOST_RATIO, above=found.above / QUARTERS)


def lost_in_all(counts: Floats, noise: Noise) -> Cut:
    """Rows lost, from a histogram of just that."""
    total = max(float(counts[: counted(counts, noise)].sum()), 1.0)
    return _cut(counts, noise, amounts(), min(1.0, max(0.0, float(counts[0]) / total)))


def usual(counts: Floats, noise: Noise) -> int:
    """The amount that a share `USUAL` of the units do not exceed.

    >>> counts = np.zeros(len(edges()) + 1)
    >>> counts[[1, 2, 7]] = 700, 290, 10
    >>> usual(counts, Noise("gaussian", 0.1))
    2
    """
    seen = visible(counts, noise)
    above = np.cumsum(counts[:seen][::-1])[::-1]
    allowed = (1 - USUAL) * max(float(above[0]), 0.0)
    enough = np.flatnonzero(np.append(above[1:], 0.0) <= allowed)
    return max(1, int(edges()[min(int(enough[0]), len(edges()) - 1)]))


def best(counts: Floats, noise: Noise, *, by_length: bool, most: int, error: Callable[[float, float], float]) -> tuple[float, Cut]:
    """The bound with the least expected error, and what it cuts.

    Args:
        counts: noisy histogram, of rows per unit or of lengths.
        noise: of each count.
        by_length: which of the two; bounds are then lengths in rows.
        most: the largest bound that is of use.
        error: what to expect of a bound, and of the rows that it cuts off in all: of these as many as noise does not explain.
    """
    seen, over = visible(counts, noise), over_length if by_length else over_rows
    candidates = edges()[1 : max(2, min(seen, len(edges())))] / (QUARTERS if by_length else 1)
    candidates = np.unique(np.clip(candidates, 1, min(most, MOST_ROWS))).tolist()
    losses = [over(bound)[:seen] for bound in candidates]
    certain = [max(0.0, float(each @ counts[:seen]) - noise.deviation * float(np.linalg.norm(each))) for each in losses]
    bound = candidates[int(np.argmin([error(bound, lost) for bound, lost in zip(candidates, certain, strict=True)]))]
    return bound, lost_beyond(counts, noise, bound) if by_length else lost_above(counts, noise, bound)


def expected_error(scale: float, bias: float, mechanism: str) -> float:
    """The mean of |noise - bias|: exact for Laplace noise of ``scale``, for Gaussian noise of that deviation.

    >>> round(expected_error(20.0, 0.0, "laplace"), 6), round(expected_error(1.0, 0.0, "gaussian"), 6)
    (20.0, 0.797885)
    """
    if mechanism == "laplace":
        return bias + scale * math.exp(-bias / scale)
    inner = bias / (scale * math.sqrt(2))
    return scale * math.sqrt(2 / math.pi) * math.exp(-inner * inner) + bias * float(erf(inner))
