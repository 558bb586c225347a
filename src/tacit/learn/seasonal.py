"""A seasonal forecast of released counts, with intervals that include what the privacy noise adds. Needs the extra «forecast».

Everything here is post-processing of counts that were charged: it sees no record and costs nothing, however often it runs.

The model of one series, on a scale on which privacy noise and the chance of counts have one variance (generalised Anscombe transform; Starck, Murtagh
& Bijaoui 1998, §2.4): days and weeks as trigonometric terms, shrunk as past weeks say is best; what is left as a level that drifts and an
autoregression, in a state-space model of statsmodels whose observation noise is the known privacy noise. How wide an interval has to be is learned by
forecasting from many earlier moments: the errors' variance is that of the noise, which is known, plus what grows with the count, which is fitted; the
errors so scaled give the quantiles.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls
from scipy.stats import norm

from tacit.errors import MissingExtra, UsageError
from tacit.models import CountSeries

Floats = NDArray[np.float64]
Columns = dict[str, NDArray[Any]]
DAY, WEEK = 86_400, 604_800
LEAST_BINS = 20
_HALF_LIFE_PERIODS = 8
_MOST_HARMONICS = 24, 84  # of a day, of a week
_SHRINKING = (1.0, 10.0, 40.0, 160.0)
_LOOK_BACK_PERIODS = 6
_MOST_ORIGINS = 48
_OUTLIER = 3.0
_COMMON = 0.95


@dataclass(frozen=True)
class History:
    """Released counts of one or more calendars, in one line of bins; bins that no release covers are NaN.

    Args:
        begin: of the first bin, seconds since 1970.
        width: of a bin, seconds.
        names: of the series.
        counts: float64 ``[bins, series]``.
        sigma: noise of the last release; that of earlier ones is taken to be the same or less.
    """

    begin: int
    width: int
    names: tuple[str, ...]
    counts: Floats
    sigma: float

    @classmethod
    def of(cls, releases: CountSeries | Sequence[CountSeries]) -> History:
        """One history out of releases of windows that do not overlap, in any order.

        Raises:
            UsageError: if they count different things, overlap, or their bins do not line up.
        """
        parts = sorted([releases] if isinstance(releases, CountSeries) else releases, key=lambda part: part.begin)
        if not parts:
            raise UsageError("Expected at least one release of counts.")
        first, last = parts[0], parts[-1]
        if any((part.width, part.names, part.by) != (first.width, first.names, first.by) for part in parts):
            raise UsageError("Expected releases with the same series and the same width of bins. Forecast the others apart.")
        if any((part.begin - first.begin) % first.width for part in parts):
            raise UsageError("Expected releases whose bins line up; begin each window a whole number of bins after the others.")
        if any(after.begin < before.end for before, after in itertools.pairwise(parts)):
            raise UsageError("Expected windows that do not overlap; two releases cover the same time. Leave one of them out.")
        counts = np.full(((last.end - first.begin) // first.width, len(first.names)), np.nan)
        for part in parts:
            start = (part.begin - first.begin) // first.width
            counts[start : start + part.bins] = part.counts
        return cls(first.begin, first.width, first.names, counts, max(part.sigma for part in parts))


@dataclass(frozen=True)
class Forecast:
    """What is expected, bin by bin, and how far off it may be.

    Args:
        begin: of the first bin, seconds since 1970.
        width: of a bin, seconds.
        names: of the series.
        coverage: of the intervals.
        expected: float64 ``[bins, series]``.
        lower, upper: interval of the *exact* count, which nobody sees.
        released_lower, released_upper: interval of a *released* count, with its noise: what later releases are held against.
    """

    begin: int
    width: int
    names: tuple[str, ...]
    coverage: float
    expected: Floats
    lower: Floats
    upper: Floats
    released_lower: Floats
    released_upper: Floats

    @property
    def times(self) -> NDArray[np.datetime64]:
        """When each bin begins, UTC."""
        return (self.begin + self.width * np.arange(len(self.expected))).astype("datetime64[s]")

    def columns(self) -> Columns:
        """One row per bin and series, column by column, as every kind of frame takes it: time, series, expected, the two intervals."""
        bins, series = self.expected.shape
        found: Columns = {"time": np.repeat(self.times, series), "series": np.tile(np.array(self.names), bins)}
        for name in ("expected", "lower", "upper", "released_lower", "released_upper"):
            found[name] = getattr(self, name).ravel()
        return found

    def outside(self, later: CountSeries) -> Columns:
        """Bins of a later release that lie outside the interval of released counts, column by column: time, series, direction, released, expected.

        Raises:
            UsageError: if the release counts something else, does not line up, or lies elsewhere in time.
        """
        shift, off = divmod(later.begin - self.begin, self.width)
        if off or (later.width, later.names) != (self.width, self.names):
            raise UsageError("Expected a later release with the same series and bins as the forecast.")
        first, last = max(0, shift), min(len(self.expected), shift + later.bins)
        if first >= last:
            raise UsageError("Expected a later release within the time of the forecast; it lies elsewhere. Choose a longer horizon.")
        counts, here = later.counts[first - shift : last - shift], slice(first, last)
        low, high = counts < self.released_lower[here], counts > self.released_upper[here]
        rows, places = np.nonzero(low | high)
        return {
            "time": self.times[here][rows], "series": np.array(self.names)[places], "direction": np.where(high[rows, places], "more", "fewer"),
            "released": counts[rows, places], "expected": self.expected[here][rows, places],
        }


def forecast(history: CountSeries | Sequence[CountSeries], horizon: int, *, coverage: float = 0.9, sigma: float | None = None) -> Forecast:
    """Expected counts of the bins that follow, and their intervals.

    Args:
        history: one release, or those of several windows; at least three weeks of hours let a weekly rhythm be seen.
        horizon: how many bins ahead.
        coverage: share of bins that an interval should hold.
        sigma: noise of the release that will be held against the forecast; that of the history if ``None``.

    Raises:
        UsageError: if the horizon or the coverage makes no sense, or the history has fewer than 20 released bins.
        MissingExtra: without statsmodels.
    """
    if isinstance(horizon, bool) or not isinstance(horizon, int) or not 1 <= horizon <= 100_000:
        raise UsageError(f"Expected a horizon between 1 and 100,000 bins; got {horizon!r}.")
    if not 0.5 <= coverage <= 0.999:
        raise UsageError(f"Expected a coverage between 0.5 and 0.999; got {coverage!r}.")
    past = History.of(history)
    known = int(np.isfinite(past.counts[:, 0]).sum())
    if known < LEAST_BINS:
        raise UsageError(f"Expected at least {LEAST_BINS} released bins; got {known}. Count a longer time, or narrower bins.")
    parts = [_Series(past.counts[:, place], past.sigma, past.width).ahead(horizon, coverage, sigma or past.sigma) for place in range(len(past.names))]
    columns = [np.stack([part[place] for part in parts], axis=1) for place in range(5)]
    return Forecast(past.begin + past.width * len(past.counts), past.width, past.names, coverage, *columns)


def periods_of(width: int, bins: int) -> tuple[int, ...]:
    """Days and weeks, in bins, where bins divide them and at least three of them have passed.

    >>> periods_of(3_600, 1_344), periods_of(3_600, 100), periods_of(86_400, 60), periods_of(7_000, 1_000)
    ((24, 168), (24,), (7,), ())
    """
    return tuple(span // width for span in (DAY, WEEK) if not span % width and span // width >= 2 and bins >= 3 * (span // width))


class _Series:
    """One series of noisy counts and its model."""

    def __init__(self, counts: Floats, sigma: float, width: int) -> None:
        self.counts, self.variance = counts, sigma**2
        self.scaled = _scaled(counts, self.variance)
        self.periods = periods_of(width, len(counts))
        self.longest = max(self.periods, default=min(24, len(counts) // 4))

    def ahead(self, horizon: int, coverage: float, sigma: float) -> tuple[Floats, Floats, Floats, Floats, Floats]:
        """Expected count, interval of the exact one and of the released one: float64 ``[horizon]`` each."""
        season = _Season(len(self.counts) + horizon, self.periods, self._half_life)
        season.shrinking = self._best_shrinking(season)
        drift = _Drift(self.scaled - season.fitted(self.scaled), self._observation_noise())
        errors, expected, spread = self._past_errors(season, drift, horizon)
        growth = _growth(errors, expected, spread, self.variance)
        variance = self.variance * (1 + spread) + growth[0] * expected + growth[1] * expected**2
        scores = errors / np.sqrt(np.maximum(variance, 1e-12))
        low, high = _quantiles(scores, coverage)
        here = self._expected(season, drift, self.scaled, horizon)
        exact = self.variance * season.spread(len(self.counts), self.scaled, horizon) + growth[0] * here + growth[1] * here**2
        inner, outer = np.sqrt(exact), np.sqrt(exact + sigma**2)
        return here, np.maximum(here + low * inner, 0.0), np.maximum(here + high * inner, 0.0), here + low * outer, here + high * outer

    @property
    def _half_life(self) -> float:
        return float(_HALF_LIFE_PERIODS * self.longest)

    def _observation_noise(self) -> float:
        """Mean variance that the privacy noise has on the scale of the model."""
        level = np.maximum(np.nan_to_num(self.counts), 0.0)
        return float(np.mean(self.variance / (level + 3 / 8 + self.variance)))

    def _best_shrinking(self, season: _Season) -> float:
        """The amount that would have been best for the last periods, each forecast from what came before."""
        bins = len(self.counts)
        starts = [start for start in range(bins - 3 * self.longest, bins, self.longest) if start >= max(2 * self.longest, LEAST_BINS // 2)]
        losses = []
        for amount in _SHRINKING:
            season.shrinking = amount
            misses = [season.ahead(start, self.scaled, self.longest) - self._window(self.scaled, start, self.longest) for start in starts]
            losses.append(float(np.nanmean(np.concatenate(misses) ** 2)) if misses else 0.0)
        return _SHRINKING[int(np.argmin(losses))]

    def _window(self, values: Floats, start: int, length: int) -> Floats:
        """Values from ``start`` on, with NaN where there are none yet."""
        found = values[start : start + length]
        return np.concatenate([found, np.full(length - len(found), np.nan)])

    def _expected(self, season: _Season, drift: _Drift, past: Floats, horizon: int) -> Floats:
        rest = drift.ahead(past - season.fitted(past), horizon)
        return np.maximum(_counted(season.ahead(len(past), past, horizon) + rest, self.variance), 0.0)

    def _past_errors(self, season: _Season, drift: _Drift, horizon: int) -> tuple[Floats, Floats, Floats]:
        """Released less expected counts, the expected ones and the season's own uncertainty, over forecasts from earlier moments."""
        bins, rows = len(self.counts), []
        begin = max(bins - _LOOK_BACK_PERIODS * self.longest, min(3 * self.longest, bins // 2))
        step = max(min(self.periods, default=1), math.ceil((bins - begin) / _MOST_ORIGINS))
        reach = min(horizon, bins - begin)
        for start in range(begin, bins, step):
            length = min(reach, bins - start)
            past = self.scaled[:start]
            expected = self._expected(season, drift, past, length)
            rows.append((self.counts[start : start + length] - expected, expected, season.spread(start, past, length)))
        errors, expected, spread = (np.concatenate(column) for column in zip(*rows, strict=True))
        known = np.isfinite(errors)
        return errors[known], expected[known], spread[known]


class _Season:
    """Days and weeks as trigonometric terms, by ridge regression with weights that fade into the past.

    The pasts it is asked about are beginnings of one and the same series.
    """

    def __init__(self, bins: int, periods: tuple[int, ...], half_life: float) -> None:
        self.terms, self.half_life, self.shrinking = _trigonometric(bins, periods), half_life, 1.0
        self._last: tuple[tuple[int, float], Floats] = (0, 0.0), np.zeros((0, 0))

    def _solved(self, past: Floats) -> tuple[Floats, Floats]:
        """The matrix that makes coefficients of values, and the values it takes."""
        known = np.isfinite(past)
        key = (len(past), self.shrinking)
        if self._last[0] != key:
            rows = self.terms[: len(past)][known]
            weights = 0.5 ** ((len(past) - 1 - np.flatnonzero(known)) / self.half_life)
            penalty = np.full(rows.shape[1], self.shrinking)
            penalty[0] = 1e-6
            weighted = (rows * weights[:, None]).T
            self._last = key, np.asarray(np.linalg.solve(weighted @ rows + np.diag(penalty), weighted), np.float64)
        return self._last[1], past[known]

    def fitted(self, past: Floats) -> Floats:
        """The season of the past itself."""
        solved, values = self._solved(past)
        return np.asarray(self.terms[: len(past)] @ (solved @ values), np.float64)

    def ahead(self, start: int, past: Floats, length: int) -> Floats:
        """The season from ``start`` on, by what came before."""
        solved, values = self._solved(past[:start])
        return np.asarray(self.terms[start : start + length] @ (solved @ values), np.float64)

    def spread(self, start: int, past: Floats, length: int) -> Floats:
        """Variance of `ahead`, for values of variance one."""
        solved, _ = self._solved(past[:start])
        return np.asarray(((self.terms[start : start + length] @ solved) ** 2).sum(axis=1), np.float64)


class _Drift:
    """What the season leaves: a random walk and an autoregression under noise of a known variance, by statsmodels.

    Args:
        rest: of the whole history, which parameters are estimated from.
        noise: variance of the observation noise.
    """

    def __init__(self, rest: Floats, noise: float) -> None:
        self._model = _state_space()
        model = self._model(rest, level="llevel", autoregressive=1)
        with _quiet(), model.fix_params({"sigma2.irregular": max(noise, 1e-4)}):
            self._parameters = model.fit(disp=0, maxiter=100).params
        self._constant = not np.isfinite(self._parameters).all()

    def ahead(self, rest: Floats, length: int) -> Floats:
        """Its expected value after ``rest``."""
        if self._constant:
            return np.zeros(length)
        with _quiet():
            found = self._model(rest, level="llevel", autoregressive=1).filter(self._parameters).forecast(length)
        return np.asarray(found, np.float64)


def _quantiles(scores: Floats, coverage: float) -> tuple[float, float]:
    """The ends of the middle ``coverage`` of the scores; so far out that few scores lie there, at least those of a normal distribution."""
    low, high = np.quantile(scores, [(1 - coverage) / 2, (1 + coverage) / 2])
    if coverage > _COMMON:
        inner = np.quantile(scores, [0.05, 0.95])
        far = float(norm.isf((1 - coverage) / 2)) * float(inner[1] - inner[0]) / (2 * float(norm.isf(0.05)))
        low, high = min(low, -far), max(high, far)
    return float(low), float(high)


def _state_space() -> Any:
    try:
        from statsmodels.tsa.statespace.structural import UnobservedComponents
    except ImportError:
        raise MissingExtra("forecast", purpose="a forecast of counts") from None
    return UnobservedComponents


def _quiet() -> Any:
    """Statsmodels warns where a search ends early; the intervals are measured afterwards, whatever it found."""
    import warnings

    return warnings.catch_warnings(action="ignore")


def _trigonometric(bins: int, periods: tuple[int, ...]) -> Floats:
    """A constant, sines and cosines of the periods and their harmonics, each frequency once: float64 ``[bins, terms]``."""
    at, columns, seen = np.arange(bins), [np.ones(bins)], set()
    for period, most in zip(periods, _MOST_HARMONICS, strict=False):
        for harmonic in range(1, min(most, period // 2) + 1):
            frequency = round(harmonic / period, 12)
            if frequency not in seen:
                seen.add(frequency)
                angle = 2 * np.pi * at * harmonic / period
                columns += [np.cos(angle)] if 2 * harmonic == period else [np.cos(angle), np.sin(angle)]
    return np.stack(columns, axis=1)


def _scaled(counts: Floats, variance: float) -> Floats:
    return np.asarray(2 * np.sqrt(np.maximum(counts + 3 / 8 + variance, 0.0)), np.float64)


def _counted(scaled: Floats, variance: float) -> Floats:
    return np.asarray(np.maximum(scaled / 2, 0.0) ** 2 - 3 / 8 - variance, np.float64)


def _growth(errors: Floats, expected: Floats, spread: Floats, noise: float) -> Floats:
    """How the variance of exact counts around the expected ones grows with these and with their squares: two factors, not negative.

    Least squares of the squared errors beyond what noise explains, weighted by the variance that the round before found.
    """
    basis = np.column_stack([expected, expected**2])
    known = noise * (1 + spread)
    variance = np.full(len(errors), max(float(np.mean(errors**2)), 1e-9))
    factors = np.zeros(2)
    for _ in range(8):
        surplus = np.minimum(errors**2, _OUTLIER**2 * variance) - known
        factors, _ = nnls(basis / variance[:, None], surplus / variance)
        variance = np.maximum(basis @ factors + known, 1e-9)
    return np.asarray(factors, np.float64)
