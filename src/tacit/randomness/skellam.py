"""The Skellam distribution: noise that several parties can share, because shares add up to Skellam noise again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from tacit.errors import UsageError
from tacit.randomness.gaussian import CHUNK, LARGEST_DISTANCE, Size, _shape, rounded_gaussian
from tacit.randomness.source import SecureRandom
from tacit.randomness.tables import ARITHMETIC_DISTANCE, ROUNDING_DISTANCE, AliasTable, skellam_masses, symmetric_table

MIN_VARIANCE = 2.0**-10
TABLE_VARIANCE = 2.0**15  # up to here one table holds 11 standard deviations
MAX_VARIANCE = 2.0**47
_WIDENING = 12.0  # proposal variance beyond the target's: acceptance is then greatest at 0 for |x| <= 12 standard deviations


@dataclass(frozen=True)
class Acceptance:
    """Turns a rounded Gaussian of slightly larger variance into a Skellam by rejecting about 6 in V samples."""

    variance: float
    sigma: float
    excess: float  # sigma^2 - variance, rounded once
    peak: float

    @classmethod
    def of(cls, variance: float) -> Acceptance:
        """Choose the proposal for ``variance``."""
        sigma = math.sqrt(variance + _WIDENING)
        excess = float(Fraction(sigma) ** 2 - Fraction(variance))
        return cls(variance, sigma, excess, float(log_ratio(np.zeros(1), variance, excess)[0]))

    def fill(self, source: SecureRandom, out: npt.NDArray[np.int64]) -> None:
        """Fill ``out`` [n]; what is rejected is drawn again."""
        pending = np.arange(len(out))
        while len(pending):
            drawn = rounded_gaussian(source, self.sigma, len(pending))
            out[pending] = drawn
            pending = pending[self._rejected(drawn, source.uint64(len(drawn)))]

    def _rejected(self, drawn: npt.NDArray[np.int64], words: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        # Words are compared with the probability of rejection, which is small, so that float64 resolves it; it is never above 240/V.
        doubtful = np.flatnonzero(words <= np.uint64(2.0**64 * 256 / self.variance))
        uniform = words[doubtful].astype(np.float64) * 2.0**-64
        rejection = -np.expm1(log_ratio(drawn[doubtful].astype(np.float64), self.variance, self.excess) - self.peak)
        return doubtful[uniform < rejection]


def log_ratio(x: npt.NDArray[np.float64], variance: float, excess: float) -> npt.NDArray[np.float64]:
    """Log of the Skellam mass over the rounded-Gaussian mass of variance ``variance + excess`` at x; variance >= 2^15, |x| <= 12 sigma.

    The Skellam mass exp(-V) I_x(V) is Debye's expansion (DLMF 10.41.3) with three terms; both masses are divided by the Gaussian density of
    variance V before anything is computed, so every summand is small and nothing cancels.
    """
    wide = variance + excess
    t2 = (x / variance) ** 2
    y2 = x * x / wide
    exponent = variance * t2 * t2 * (1 / 24 - t2 * (1 / 80 - t2 * (5 / 896 - t2 * (7 / 2304 - t2 * (945 / 506880)))))
    debye = exponent - 0.25 * np.log1p(t2) + np.log1p(_debye(t2, variance))
    cell = np.log1p((y2 - 1) / (24 * wide) + (y2 * y2 - 6 * y2 + 3) / (1920 * wide * wide))
    tilt = -0.5 * y2 * (excess / variance) + 0.5 * math.log1p(excess / variance)
    return np.asarray(debye - cell + tilt, np.float64)


def _debye(t2: npt.NDArray[np.float64], variance: float) -> npt.NDArray[np.float64]:
    """U_1(p)/x + U_2(p)/x^2 + U_3(p)/x^3 of DLMF 10.41.10, written with r = 1/sqrt(x^2 + V^2) and q = x^2 r^2."""
    r = 1 / (variance * np.sqrt(1 + t2))
    q = t2 / (1 + t2)
    # p = x / sqrt(x^2 + V^2), so p / x = r and p^2 = q.
    first = (3 - 5 * q) / 24
    second = (81 - q * (462 - 385 * q)) / 1152
    third = (30375 - q * (369603 - q * (765765 - 425425 * q))) / 414720
    return np.asarray(r * (first + r * (second + r * third)), np.float64)


@lru_cache(maxsize=64)
def _table(variance: float) -> AliasTable:
    return symmetric_table(skellam_masses(Fraction(variance)))


@lru_cache(maxsize=64)
def _acceptance(variance: float) -> Acceptance:
    return Acceptance.of(variance)


def skellam(source: SecureRandom, variance: float, size: Size) -> npt.NDArray[np.int64]:
    """Draw from Skellam(variance), the difference of two Poissons of mean ``variance / 2``, as int64 of shape ``size``.

    ``variance`` is in squared grid units, from 2^-10 to 2^47. k independent samples of ``variance / k`` sum to one of ``variance``. Up to
    2^15 the masses are tabulated (Miller's recurrence, integer thresholds); above, a rounded Gaussian is thinned by the masses' ratio.
    Mechanism: Agarwal, Kairouz, Liu 2021, arXiv:2110.04995.

    >>> noise = skellam(SecureRandom.for_testing(1), 1e6, 50_000)
    >>> noise.dtype, bool(0.97e6 < noise.var() < 1.03e6)
    (dtype('int64'), True)

    Guarantees
        Each sample is within total-variation distance ``skellam_distance(variance)`` (<= 2^-55) of the exact distribution, given uniform
        words. N samples add N * distance * (1 + e^epsilon) to delta. The argument is docs/decisions/0002-noise.md.

    Raises:
        UsageError: ``variance`` or ``size`` is outside its range.
        EntropyError: no secure randomness.
    """
    out = np.empty(_shape(size), np.int64)
    flat = out.reshape(-1)
    if _checked(variance) > TABLE_VARIANCE:
        for start in range(0, len(flat), CHUNK):
            _acceptance(float(variance)).fill(source, flat[start : start + CHUNK])
        return out
    table = _table(float(variance))
    for start in range(0, len(flat), CHUNK):
        flat[start : start + CHUNK] = table.draw(source.uint64(min(CHUNK, len(flat) - start)), source.uint64)
    return out


def skellam_distance(variance: float) -> float:
    """Return an upper bound on the total-variation distance of one sample of ``skellam`` to Skellam(variance).

    >>> skellam_distance(100.0) < 2**-65, skellam_distance(1e9) < 2**-62
    (True, True)

    Raises:
        UsageError: ``variance`` is outside its range.
    """
    if _checked(variance) <= TABLE_VARIANCE:
        return ROUNDING_DISTANCE + ARITHMETIC_DISTANCE
    return (2 * LARGEST_DISTANCE + _ratio_error(variance)) / (1 - 256 / variance)


def _ratio_error(variance: float) -> float:
    """Bound on the error of a probability of rejection: rounding, Debye's remainder, a word's resolution (docs/decisions/0002-noise.md)."""
    return 2.0**-42 / variance + 0.12 / variance**4 + 2.0**-64


def _checked(variance: float) -> float:
    if not MIN_VARIANCE <= variance <= MAX_VARIANCE:
        raise UsageError(f"Expected variance={variance} between 2**-10 and 2**47 squared grid units; refine or coarsen the grid")
    return float(variance)
