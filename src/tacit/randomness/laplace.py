"""The Laplace distribution rounded to integers, sampled with integer arithmetic only.

round(L) for L ~ Laplace(t) is zero with probability 1 - exp(-1/2t); else its sign is a coin and its magnitude 1 + G, with G geometric:
P[G = g] = (1 - r) r^g, r = exp(-1/t). The digits of a geometric number are independent: with G = d0 + B d1 + B² d2 + ..., P[di = j] is
proportional to exp(-j B^i / t). So a table for each digit and one for the sign draw it, and nothing is approximated but the tables.
"""

from __future__ import annotations

import decimal
import math
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from tacit.errors import UsageError
from tacit.randomness.gaussian import CHUNK, Size, _shape
from tacit.randomness.source import SecureRandom
from tacit.randomness.tables import COLUMNS, AliasTable, ascending_table, symmetric_table

MIN_SCALE = 0.5
MAX_SCALE = 2.0**45
LAPLACE_DISTANCE = 2.0**-112
"""Largest total-variation distance of one sample: six tables of at most 2^-116 each, a tail below 2^-118 (docs/decisions/0011-log-statistics.md)."""

_REACH = 50  # widths of the last digit's table over the scale: exp(-4096 / 50) < 2^-118 lies beyond it
_CONTEXT = decimal.Context(prec=60, Emin=decimal.MIN_EMIN, Emax=decimal.MAX_EMAX, traps=[decimal.InvalidOperation, decimal.DivisionByZero])
_ONE = Decimal(1 << 160)


@dataclass(frozen=True, eq=False)
class Sampler:
    """The tables of one scale: sign (with zero), then digits of base 4,096, lowest first."""

    sign: AliasTable
    digits: tuple[AliasTable, ...]

    def fill(self, source: SecureRandom, out: npt.NDArray[np.int64]) -> None:
        """Fill ``out`` [n] in pieces that stay in the cache."""
        for start in range(0, len(out), CHUNK):
            piece = out[start : start + CHUNK]
            words = source.uint64((len(self.digits) + 1) * len(piece)).reshape(-1, len(piece))
            piece[:] = 0
            for table, row in zip(reversed(self.digits), words[1:], strict=True):
                piece *= COLUMNS
                piece += table.draw(row, source.uint64)
            piece += 1
            piece *= self.sign.draw(words[0], source.uint64)


@lru_cache(maxsize=64)
def sampler(scale: float) -> Sampler:
    """Build, or remember, the tables of ``scale``: public, they depend on nothing else."""
    digits = 1
    while scale > _REACH * COLUMNS ** (digits - 1):
        digits += 1
    exact = Fraction(scale)
    with decimal.localcontext(_CONTEXT):
        rate = Decimal(exact.denominator) / Decimal(exact.numerator)
        beside = (-rate / 2).exp()  # the chance of anything but zero
        sign = symmetric_table([int((1 - beside) * _ONE), int(beside * _ONE / 2)])
        tables = [ascending_table(_powers((-rate * COLUMNS**place).exp())) for place in range(digits)]
    return Sampler(sign, tuple(tables))


def _powers(ratio: Decimal) -> list[int]:
    """1, ratio, ratio², ... in units of 2^-160, one for each column of a table."""
    value, powers = Decimal(1), []
    for _ in range(COLUMNS):
        powers.append(int(value * _ONE))
        value *= ratio
    return powers


def rounded_laplace(source: SecureRandom, scale: float, size: Size) -> npt.NDArray[np.int64]:
    """Draw round(Laplace(scale)), rounded to the nearest integer, as int64 of shape ``size``.

    ``scale`` is in grid units, from 0.5 to 2^45. For integer x, round(x + L) = x + round(L): adding this noise to a sum on the grid *is* the
    continuous Laplace mechanism (Dwork, McSherry, Nissim & Smith 2006) followed by rounding, and inherits its guarantee by post-processing.

    >>> noise = rounded_laplace(SecureRandom.for_testing(1), 100.0, (2, 50_000))
    >>> noise.dtype, noise.shape, bool(99 < np.abs(noise).mean() < 101)
    (dtype('int64'), (2, 50000), True)

    Guarantees
        Each sample is within total-variation distance 2^-112 of the exact distribution, given uniform words.

    ===========================  ==========================================
    scale                        result
    ===========================  ==========================================
    0, negative, NaN, infinite   UsageError
    below 0.5                    UsageError: the grid is too coarse
    above 2^45                   UsageError: sums would near the end of int64
    size 0                       an empty array
    ===========================  ==========================================

    Raises:
        UsageError: ``scale`` or ``size`` is outside its range.
        EntropyError: no secure randomness.
    """
    if not MIN_SCALE <= scale <= MAX_SCALE:
        raise UsageError(
            f"Expected scale={scale} between {MIN_SCALE} and 2**45 grid units; refine the grid if it is smaller, coarsen it if it is larger"
        )
    out = np.empty(_shape(size), np.int64)
    sampler(float(scale)).fill(source, out.reshape(-1))
    return out


def laplace_deviation(scale: float) -> float:
    """Standard deviation of `rounded_laplace`: its square is cosh(s) / (2 sinh²(s)) with s = 1 / (2 scale).

    >>> round(laplace_deviation(1000.0) / 1000.0, 6)
    1.414214
    """
    half = 1 / (2 * scale)
    return math.sqrt(math.cosh(half) / (2 * math.sinh(half) ** 2))
