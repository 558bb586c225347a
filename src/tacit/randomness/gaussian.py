"""The Gaussian distribution rounded to integers, sampled with integer arithmetic only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from tacit.errors import UsageError
from tacit.randomness.source import SecureRandom
from tacit.randomness.tables import ARITHMETIC_DISTANCE, REACH, ROUNDING_DISTANCE, AliasTable, gaussian_masses, rounded_masses, symmetric_table

MIN_SIGMA = 0.5
MAX_SIGMA = 2.0**45
CHUNK = 1 << 14
LARGEST_DISTANCE = 2.0**-65  # of `rounded_gaussian_distance`, for any sigma
_TABLE_SIGMA = (REACH + 0.5) / 9.6  # the widest a table can be: 9.6 standard deviations to either side
_SPACING = 1.75  # least standard deviation of a level in steps of the next: the lattice then shows by less than 2^-80

Size = int | tuple[int, ...]


@dataclass(frozen=True)
class Levels:
    """sigma^2 = variance * (1 + k^2 + k^4 + ...): ``count`` samples of one variance, weighted 1, k, k^2, ..."""

    variance: Fraction
    factor: int
    count: int

    @classmethod
    def of(cls, sigma: float) -> Levels:
        """Choose the fewest levels whose tables hold 9.6 standard deviations, then the smallest factor."""
        for count in range(1, 9):
            for factor in range(2, int(_TABLE_SIGMA / _SPACING) + 1):
                scale = sum(factor ** (2 * level) for level in range(count))
                if sigma <= _TABLE_SIGMA * math.sqrt(scale):
                    return cls(Fraction(sigma) ** 2 / scale, factor, count)
        raise UsageError(f"Expected sigma={sigma} <= {MAX_SIGMA}; use a coarser grid")

    def lattice_distance(self) -> float:
        """Bound on the distance due to the upper levels being lattice points: the Poisson-summation terms of each level."""
        s2, k, total = float(self.variance), self.factor, 0.0
        for level in range(1, self.count):
            below = s2 * sum(k ** (2 * (i - level)) for i in range(level))  # variance so far, in steps of this level squared
            total += 4 * math.exp(-2 * math.pi**2 * below * s2 / (below + s2)) + 4 * math.exp(-2 * math.pi**2 * s2)
        return total

    def table_distance(self) -> float:
        """Bound on the distance of one table: mass rounded to multiples of 2^-128, and the tail beyond its reach."""
        return ROUNDING_DISTANCE + 2 * math.erfc((REACH - 0.5) / math.sqrt(2 * float(self.variance))) + ARITHMETIC_DISTANCE


class Sampler:
    """The tables of one sigma."""

    def __init__(self, levels: Levels) -> None:
        self.levels = levels
        self.lowest = symmetric_table(rounded_masses(levels.variance))
        self.upper: AliasTable | None = symmetric_table(gaussian_masses(levels.variance)) if levels.count > 1 else None

    def fill(self, source: SecureRandom, out: npt.NDArray[np.int64]) -> None:
        """Fill ``out`` [n] in pieces that stay in the cache."""
        for start in range(0, len(out), CHUNK):
            piece = out[start : start + CHUNK]
            words = source.uint64(self.levels.count * len(piece)).reshape(self.levels.count, len(piece))
            piece[:] = 0
            if self.upper is not None:
                for row in words[1:]:
                    piece += self.upper.draw(row, source.uint64)
                    piece *= self.levels.factor
            piece += self.lowest.draw(words[0], source.uint64)


@lru_cache(maxsize=64)
def sampler(sigma: float) -> Sampler:
    """Build, or remember, the tables of ``sigma``: public, they depend on nothing else."""
    return Sampler(Levels.of(sigma))


def rounded_gaussian(source: SecureRandom, sigma: float, size: Size) -> npt.NDArray[np.int64]:
    """Draw round(N(0, sigma^2)), the Gaussian rounded to the nearest integer, as int64 of shape ``size``.

    ``sigma`` is in grid units, from 0.5 to 2^45. For integer x, round(x + N) = x + round(N): adding this noise to a sum on the grid *is*
    the continuous Gaussian mechanism followed by rounding, and inherits its guarantee unchanged (post-processing). No floating-point number
    touches the sum or the noise (Mironov 2012, doi:10.1145/2382196.2382264; Casacuberta et al. 2022, arXiv:2207.10635).

    >>> noise = rounded_gaussian(SecureRandom.for_testing(1), 100.0, (2, 50_000))
    >>> noise.dtype, noise.shape, bool(99 < noise.std() < 101)
    (dtype('int64'), (2, 50000), True)

    Guarantees
        Each sample is within total-variation distance ``rounded_gaussian_distance(sigma)`` (<= 2^-65) of the exact distribution, given
        uniform words. N samples add N * distance * (1 + e^epsilon) to delta. The proof is docs/decisions/0002-noise.md.

    ===========================  ==========================================
    sigma                        result
    ===========================  ==========================================
    0, negative, NaN, infinite   UsageError
    below 0.5                    UsageError: the grid is too coarse
    above 2^45                   UsageError: sums would near the end of int64
    size 0                       an empty array
    ===========================  ==========================================

    Raises:
        UsageError: ``sigma`` or ``size`` is outside its range.
        EntropyError: no secure randomness.
    """
    out = np.empty(_shape(size), np.int64)
    sampler(_checked(sigma)).fill(source, out.reshape(-1))
    return out


@lru_cache(maxsize=1024)
def rounded_gaussian_distance(sigma: float) -> float:
    """Return an upper bound on the total-variation distance of one sample of ``rounded_gaussian`` to round(N(0, sigma^2)).

    >>> rounded_gaussian_distance(1000.0) < 2**-65
    True

    Raises:
        UsageError: ``sigma`` is outside its range.
    """
    levels = Levels.of(_checked(sigma))
    return (levels.count * levels.table_distance() + levels.lattice_distance()) * (1 + 2.0**-40)


def _checked(sigma: float) -> float:
    if not MIN_SIGMA <= sigma <= MAX_SIGMA:
        raise UsageError(
            f"Expected sigma={sigma} between {MIN_SIGMA} and 2**45 grid units; refine the grid if it is smaller, coarsen it if it is larger"
        )
    return float(sigma)


def _shape(size: Size) -> tuple[int, ...]:
    shape = (size,) if isinstance(size, int | np.integer) else tuple(size)
    if any(n < 0 for n in shape):
        raise UsageError(f"Expected size={size} without negative numbers; pass the number of samples or a shape")
    return tuple(int(n) for n in shape)
