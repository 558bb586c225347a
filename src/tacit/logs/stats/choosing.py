"""From a noisy histogram of what units add: where to bound them, and how much that cuts off."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from tacit.logs.stats.noise import Noise
from tacit.questions.contributions import MOST_RATIO, QUARTERS, edges
from tacit.questions.tally import MOST_ROWS

Floats = NDArray[np.float64]

USUAL = 0.95
"""Share of the units that a bound found as a quantile leaves whole."""

_CHANCE = 1e-7
_LITTLE = 0.02


@dataclass(frozen=True)
class Cut:
    """What a bound cuts off, as far as noise lets one tell.

    Args:
        rows: how many rows (units, values) are missing from all cells together.
        deviation: standard deviation of that figure.
        whole: share of the units that are counted in full; ``None`` where it was not asked.
    """

    rows: float
    deviation: float
    whole: float | None = None


def amounts() -> Floats:
    """The middle of each coordinate of a histogram of contributions, float64 ``[size]``; the last stands for its lower end."""
    upper = edges().astype(np.float64)
    return np.append(np.concatenate([upper[:1], (upper[:-1] + 1 + upper[1:]) / 2]), upper[-1])


def visible(counts: Floats, noise: Noise) -> int:
    """How many coordinates are used of a histogram: all the others together are taken for empty.

    Up to the last whose count, or that of all from it on, stands out of the noise; and further, as long as what noise alone would add there is little
    of all that is seen. So few units with much are not overlooked, unless there are so few that they must not show.
    """
    tails = np.cumsum(counts[::-1])[::-1]
    many = np.sqrt(np.arange(len(counts), 0, -1))
    certain = noise.beyond(_CHANCE)
    found = np.flatnonzero((counts > certain) | (tails > certain * many))
    seen = int(found[-1]) + 1 if len(found) else 0
    total = float(amounts()[:seen] @ np.maximum(counts[:seen], 0.0))
    return max(seen, int(np.searchsorted(amounts(), _LITTLE * total / noise.deviation)))


def lost_above(counts: Floats, noise: Noise, bound: float) -> Cut:
    """Rows above ``bound`` per unit, from a histogram of rows per unit.

    >>> counts = np.zeros(len(edges()) + 1)
    >>> counts[[3, 10]] = 900, 100
    >>> cut = lost_above(counts, Noise("gaussian", 1.0), 5)
    >>> round(cut.rows), round(cut.deviation), round(cut.whole, 2)
    (650, 99, 0.9)
    """
    seen = visible(counts, noise)
    over = np.maximum(amounts()[:seen] - bound, 0.0)
    total = max(float(counts[:seen].sum()), 1.0)
    short = float(counts[:seen][over > 0].sum())
    return Cut(max(0.0, float(over @ counts[:seen])), noise.deviation * float(np.sqrt((over**2).sum())), min(1.0, max(0.0, 1 - short / total)))


def lost_beyond(ratios: Floats, noise: Noise, length: float) -> Cut:
    """Rows lost where units' counts are shortened to ``length`` rows, from the histogram of lengths, which says ratios of rows to length."""
    seen = visible(ratios, noise)
    over = MOST_RATIO * np.maximum(amounts()[:seen] / QUARTERS - length, 0.0)
    return Cut(max(0.0, float(over @ ratios[:seen])), noise.deviation * float(np.sqrt((over**2).sum())))


def lost_in_all(counts: Floats, noise: Noise) -> Cut:
    """Rows lost, from a histogram of just that."""
    seen = visible(counts, noise)
    total = max(float(counts[:seen].sum()), 1.0)
    return Cut(
        max(0.0, float(amounts()[:seen] @ counts[:seen])), noise.deviation * float(np.sqrt((amounts()[:seen] ** 2).sum())),
        min(1.0, max(0.0, float(counts[:1].sum()) / total)),
    )


def usual(counts: Floats, noise: Noise) -> int:
    """The amount that a share `USUAL` of the units do not exceed.

    >>> counts = np.zeros(len(edges()) + 1)
    >>> counts[[1, 2, 7]] = 700, 290, 10
    >>> usual(counts, Noise("gaussian", 0.1))
    2
    """
    seen = max(1, visible(counts, noise))
    above = np.cumsum(counts[:seen][::-1])[::-1]
    allowed = (1 - USUAL) * max(float(above[0]), 0.0)
    enough = np.flatnonzero(np.append(above[1:], 0.0) <= allowed)
    return max(1, int(edges()[min(int(enough[0]), len(edges()) - 1)]))


def best(counts: Floats, noise: Noise, *, by_length: bool, error: Callable[[float, float], float]) -> tuple[float, Cut]:
    """The bound with the least expected error, and what it cuts.

    Args:
        counts: noisy histogram, of rows per unit or of lengths.
        noise: of each count.
        by_length: which of the two; bounds are then lengths in rows.
        error: what to expect of a bound, and of the rows that it cuts off in all.
    """
    seen = max(2, visible(counts, noise))
    candidates = edges()[1 : min(seen, len(edges()))] / (QUARTERS if by_length else 1)
    candidates = np.unique(np.clip(candidates, 1, MOST_ROWS))
    cuts = [(lost_beyond if by_length else lost_above)(counts, noise, float(bound)) for bound in candidates]
    errors = [error(float(bound), cut.rows) for bound, cut in zip(candidates, cuts, strict=True)]
    place = int(np.argmin(errors))
    return float(candidates[place]), cuts[place]


def expected_error(scale: float, bias: float, mechanism: str) -> float:
    """The mean of |noise - bias|: exact for Laplace noise of ``scale``, for Gaussian noise of that deviation.

    >>> round(expected_error(20.0, 0.0, "laplace"), 6), round(expected_error(1.0, 0.0, "gaussian"), 6)
    (20.0, 0.797885)
    """
    if mechanism == "laplace":
        return bias + scale * math.exp(-bias / scale)
    inner = bias / (scale * math.sqrt(2))
    return scale * math.sqrt(2 / math.pi) * math.exp(-inner * inner) + bias * float(erf(inner))
