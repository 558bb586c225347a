"""Lower bounds on ε from canaries: what a training run demonstrably leaked, each with what it assumes.

Canaries are examples that a fair coin put in or left out. The scores of those inside and outside bound ε from below: by counting errors (which holds
for any mechanism), or by the shape of a Gaussian mechanism's trade-off curve (which is much tighter, and an estimate under that assumption).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from scipy.stats import beta, binom, chi2

from tacit.errors import UsageError
from tacit.guard import gdp_epsilon

Scores = NDArray[np.float64]

_LEAST = 20
_MOST_EPSILON = 60.0
_GUESSES = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Shares of the canaries that are guessed about; the level is split over them, because the best is taken."""
_PRECISION = 1e-3


@dataclass(frozen=True)
class LowerBound:
    """A lower bound on ε.

    Args:
        name: of the method.
        epsilon: with probability ``level`` the true ε is not smaller, if the assumption holds.
        level: of confidence.
        assumption: in words.
        any_mechanism: whether it holds without knowing what the mechanism is; only such a bound contradicts a claim.
        source: of the method.
    """

    name: str
    epsilon: float
    level: float
    assumption: str
    any_mechanism: bool
    source: str

    def to_dict(self) -> dict[str, Any]:
        """Plain form."""
        return asdict(self)


def lower_bounds(inside: Scores, outside: Scores, delta: float, *, level: float = 0.95, seed: int = 0) -> tuple[LowerBound, ...]:
    """Every bound on one set of canaries, tightest assumption last.

    >>> rng = np.random.default_rng(0)
    >>> found = lower_bounds(rng.normal(4, 1, 500), rng.normal(0, 1, 500), 1e-5)
    >>> [bound.epsilon > 1.5 for bound in found]
    [True, True, True, True, True]

    Args:
        inside: scores of canaries that were in, larger for «in»: float64 ``[canaries]``.
        outside: of those that were not; about as many, as a fair coin makes them.
        delta: at which ε is bounded.
        level: of confidence in each bound.
        seed: of the split that the counting bound chooses its threshold on; protects nothing.

    Raises:
        UsageError: with fewer than 20 canaries on a side, or scores that are not numbers.
    """
    inside, outside = np.asarray(inside, np.float64), np.asarray(outside, np.float64)
    if min(len(inside), len(outside)) < _LEAST or not (np.isfinite(inside).all() and np.isfinite(outside).all()):
        raise UsageError(f"Expected finite scores of at least {_LEAST} canaries inside and outside; got {len(inside)} and {len(outside)}.")
    if not (0 < delta < 1 and 0.5 < level < 1):
        raise UsageError(f"Expected 0 < delta={delta} < 1 and 0.5 < level={level} < 1.")
    alpha = 1 - level
    independent, coins = "scores of different canaries are independent of each other", "a fair coin of its own put each canary in or out"
    gaussian = "the mechanism's trade-off curve is that of Gaussian noise"
    return (
        LowerBound("error counts", counted(inside, outside, delta, alpha=alpha, seed=seed), level, independent, True, "Nasr et al. 2021"),
        LowerBound("one run", one_run(inside, outside, delta, alpha=alpha), level, coins, True, "Steinke et al. 2023"),
        LowerBound("one run, Gaussian curve", one_run_gaussian(inside, outside, delta, alpha=alpha), level, f"{coins}; {gaussian}", False,
                   "Mahloujifar et al. 2025"),
        LowerBound("error counts, Gaussian curve", counted_gaussian(inside, outside, delta, alpha=alpha, seed=seed), level,
                   f"{independent}; {gaussian}", False, "Nasr et al. 2023"),
        LowerBound("Gaussian fit", fitted(inside, outside, delta, alpha=alpha), level,
                   f"{independent} and normal, with the same spread inside and outside; {gaussian}", False, "Andrew et al. 2024"),
    )


def _halves(scores: Scores, seed: int) -> tuple[Scores, Scores]:
    order = np.random.default_rng(seed).permutation(len(scores))
    return scores[order[: len(scores) // 2]], scores[order[len(scores) // 2 :]]


def _rates(inside: Scores, outside: Scores, threshold: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many of each side lie above each threshold."""
    sides = (np.sort(side) for side in (inside, outside))
    first, second = (len(side) - np.searchsorted(side, threshold, side="right") for side in sides)
    return first, second


def _low(hits: Any, trials: int, alpha: float) -> NDArray[np.float64]:
    return np.where(np.asarray(hits) > 0, beta.ppf(alpha, np.maximum(hits, 1), trials - np.asarray(hits) + 1), 0.0)


def _high(hits: Any, trials: int, alpha: float) -> NDArray[np.float64]:
    return np.where(np.asarray(hits) < trials, beta.ppf(1 - alpha, np.asarray(hits) + 1, np.maximum(trials - np.asarray(hits), 1)), 1.0)


def counted(inside: Scores, outside: Scores, delta: float, *, alpha: float, seed: int = 0) -> float:
    """ln((TPR - δ)/FPR), or the same of the complements, at exact ends of both rates; threshold and side are chosen on one half of the canaries."""
    def bound(first: Scores, second: Scores, place: NDArray[np.float64]) -> NDArray[np.float64]:
        above, wrong = _rates(first, second, place)
        tpr, fpr = _low(above, len(first), alpha / 2), _high(wrong, len(second), alpha / 2)
        tnr, fnr = _low(len(second) - wrong, len(second), alpha / 2), _high(len(first) - above, len(first), alpha / 2)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.stack([np.log(np.maximum(tpr - delta, 0) / fpr), np.log(np.maximum(tnr - delta, 0) / fnr)])

    return _on_the_other_half(bound, inside, outside, seed)


def counted_gaussian(inside: Scores, outside: Scores, delta: float, *, alpha: float, seed: int = 0) -> float:
    """μ = Φ⁻¹(TPR) - Φ⁻¹(FPR) at exact ends of both rates, and the ε of a μ-Gaussian mechanism."""
    def bound(first: Scores, second: Scores, place: NDArray[np.float64]) -> NDArray[np.float64]:
        above, wrong = _rates(first, second, place)
        return np.asarray(ndtri(_low(above, len(first), alpha / 2)) - ndtri(_high(wrong, len(second), alpha / 2)))[None, :]

    mu = _on_the_other_half(bound, inside, outside, seed)
    return gdp_epsilon(mu, delta) if mu > 0 else 0.0


Bound = Callable[[Scores, Scores, NDArray[np.float64]], NDArray[np.float64]]


def _on_the_other_half(bound: Bound, inside: Scores, outside: Scores, seed: int) -> float:
    """The bound on one half of the canaries, at the threshold that was best on the other; not below 0."""
    (choose_in, keep_in), (choose_out, keep_out) = _halves(inside, seed), _halves(outside, seed + 1)
    places = np.unique(np.concatenate([choose_in, choose_out]))
    found = np.nan_to_num(bound(choose_in, choose_out, places), nan=-np.inf, neginf=-np.inf, posinf=-np.inf)
    side, place = np.unravel_index(int(found.argmax()), found.shape)
    value = float(np.nan_to_num(bound(keep_in, keep_out, places[[place]])[side, 0], nan=0.0, neginf=0.0, posinf=0.0))
    return max(0.0, value)


# ------------------------------------------------------------------------------------------------------------------------- one run


def _guesses(inside: Scores, outside: Scores, share: float) -> tuple[int, int]:
    """How many guesses, and how many are right: the highest are called in and as many of the lowest out; ties are broken against the guesser."""
    total = len(inside) + len(outside)
    half = max(1, round(total * share / 2))
    half = min(half, total // 2)
    scores, member = np.concatenate([inside, outside]), np.repeat([True, False], [len(inside), len(outside)])
    highest = np.lexsort((member, -scores))[:half]
    lowest = np.lexsort((~member, scores))[:half]
    return 2 * half, int(member[highest].sum() + (~member[lowest]).sum())


def one_run(inside: Scores, outside: Scores, delta: float, *, alpha: float) -> float:
    """The largest ε under which so many right guesses would be too many (Steinke, Nasr & Jagielski 2023, theorem 5.2)."""
    total, level = len(inside) + len(outside), alpha / len(_GUESSES)
    best = 0.0
    for share in _GUESSES:
        made, right = _guesses(inside, outside, share)
        best = max(best, _largest(partial(_refutes, total, made, right, delta=delta, level=level)))
    return best


def _refutes(canaries: int, made: int, right: int, epsilon: float, *, delta: float, level: float) -> bool:
    return _too_many(canaries, made, right, epsilon, delta) <= level


def _too_many(canaries: int, made: int, right: int, epsilon: float, delta: float) -> float:
    """Chance of at least so many right guesses under (ε, δ)-DP."""
    p = 1 / (1 + math.exp(-epsilon))
    tail = float(binom.sf(right - 1, made, p))
    if delta == 0:
        return tail
    sums = np.cumsum(binom.pmf(np.arange(right - 1, -1, -1), made, p))
    return min(1.0, tail + 2 * canaries * delta * float((sums / np.arange(1, right + 1)).max(initial=0.0)))


def one_run_gaussian(inside: Scores, outside: Scores, delta: float, *, alpha: float) -> float:
    """The same under the trade-off curve of Gaussian noise (Mahloujifar, Melis & Chaudhuri 2025, algorithm 3): one number describes the curve."""
    total, level, best = len(inside) + len(outside), alpha / len(_GUESSES), 0.0
    for share in _GUESSES:
        made, right = _guesses(inside, outside, share)
        best = max(best, _largest(partial(_contradicted, total, made, right, level=level), most=12.0))
    return gdp_epsilon(best, delta) if best > 0 else 0.0


def _contradicted(canaries: int, made: int, right: int, mu: float, *, level: float) -> bool:
    """Whether so many right guesses are too many for a μ-Gaussian mechanism."""
    reached, hidden = level * right / canaries, level * (made - right) / canaries
    for place in range(right - 1, -1, -1):
        grown = max(hidden, float(ndtr(ndtri(min(reached, 1.0)) - mu)))
        reached += place / (made - place) * (grown - hidden)
        hidden = grown
        if reached + hidden > made / canaries:
            return True
    return reached + hidden > made / canaries


def _largest(refuted: Callable[[float], bool], *, most: float = _MOST_EPSILON) -> float:
    """The largest value that is refuted, to a thousandth; 0 if none is."""
    if not refuted(0.0):
        return 0.0
    low, high = 0.0, 1.0
    while refuted(high):
        low, high = high, 2 * high
        if low >= most:
            return low
    while high - low > _PRECISION:
        middle = (low + high) / 2
        low, high = (middle, high) if refuted(middle) else (low, middle)
    return low


def fitted(inside: Scores, outside: Scores, delta: float, *, alpha: float) -> float:
    """μ from means and spread: the low end of the difference over the high end of the deviation, half of the level for each."""
    spread = math.sqrt(float(inside.var(ddof=1)) / len(inside) + float(outside.var(ddof=1)) / len(outside))
    gap = float(inside.mean() - outside.mean()) - float(-ndtri(alpha / 2)) * spread
    freedom = len(outside) - 1
    deviation = math.sqrt(freedom * float(outside.var(ddof=1)) / float(chi2.ppf(alpha / 2, freedom)))
    return gdp_epsilon(gap / deviation, delta) if gap > 0 and deviation > 0 else 0.0
