"""Alias tables with integer thresholds: distributions on [-2047, 2047] whose probabilities are exact multiples of 2^-128.

Everything here is decimal or fixed-point integer arithmetic: no libm, no floating point, the same tables on every platform.
"""

from __future__ import annotations

import decimal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import numpy as np
import numpy.typing as npt

INDEX_BITS = 12
COLUMNS = 1 << INDEX_BITS
REACH = COLUMNS // 2 - 1
TOTAL = 1 << 128
ROUNDING_DISTANCE = 2.0**-117  # half of COLUMNS cells, each rounded by at most 2^-128 (centre included): docs/decisions/0002-noise.md
ARITHMETIC_DISTANCE = 2.0**-70  # fixed point and series, summed over all cells
_CAPACITY = TOTAL >> INDEX_BITS
_SHIFT = np.uint64(64 - INDEX_BITS)
_WORD = (1 << 64) - 1
_POINT = 128
_ONE = 1 << _POINT
_VANISHING = 1 << 28  # 2^-100
_NEGLIGIBLE = Decimal("1e-30")
_MILLER_START = 700  # steps beyond REACH at which the recurrence starts
_CONTEXT = decimal.Context(prec=45, Emin=decimal.MIN_EMIN, Emax=decimal.MAX_EMAX, traps=[decimal.InvalidOperation, decimal.DivisionByZero])


@dataclass(frozen=True, eq=False)
class AliasTable:
    """Walker's alias method (1977) in integers: of a 128-bit word, 12 bits choose a column and 116 bits choose inside it.

    The lower half of a word is drawn where the upper half does not decide: once in 2^52 samples.
    """

    bounds: npt.NDArray[np.uint64]  # [COLUMNS] upper halves: words below belong to the column's own value
    lower: npt.NDArray[np.uint64]  # [COLUMNS] lower halves
    values: npt.NDArray[np.int64]  # [2 * COLUMNS] own value and alias, side by side

    def draw(self, words: npt.NDArray[np.uint64], more: Callable[[int], npt.NDArray[np.uint64]]) -> npt.NDArray[np.int64]:
        """Turn uniform ``words`` [n] into samples [n]; ``more`` gives further uniform words."""
        column = (words >> _SHIFT).view(np.int64)
        bound = self.bounds.take(column)
        beyond = words >= bound
        if (words == bound).any():
            tied = np.flatnonzero(words == bound)
            beyond[tied] = more(len(tied)) >= self.lower.take(column[tied])
        column += column
        column += beyond
        return self.values.take(column)


def symmetric_table(masses: Sequence[int]) -> AliasTable:
    """Build the table of a symmetric distribution from its masses at 0, 1, 2, ... on any common scale."""
    return _alias(symmetric_weights(masses))


def ascending_table(masses: Sequence[int]) -> AliasTable:
    """Build the table of a distribution on 0, 1, ..., COLUMNS - 1 from its masses, of which the first is not the smallest, on any common scale."""
    whole = sum(masses)
    rest = [(mass * TOTAL + whole // 2) // whole for mass in masses[1:]]
    return _alias([TOTAL - sum(rest), *rest], lowest=0)


def symmetric_weights(masses: Sequence[int]) -> list[int]:
    """Round masses at 0, 1, 2, ... to COLUMNS integers that sum to 2^128, for the values -REACH to REACH and one that never occurs.

    >>> weights = symmetric_weights([5, 3])
    >>> sum(weights) == TOTAL, len(weights) == COLUMNS, [round(w / TOTAL * 11) for w in weights[REACH - 1 : REACH + 3]]
    (True, True, [3, 5, 3, 0])
    """
    whole = masses[0] + 2 * sum(masses[1:])
    half = whole // 2
    side = [(mass * TOTAL + half) // whole for mass in masses[1 : REACH + 1]]
    side += [0] * (REACH - len(side))
    return [*reversed(side), TOTAL - 2 * sum(side), *side, 0]


def _alias(weights: Sequence[int], *, lowest: int = -REACH) -> AliasTable:
    left, other = list(weights), list(range(COLUMNS))
    small = [i for i in range(COLUMNS) if left[i] < _CAPACITY]
    large = [i for i in range(COLUMNS) if left[i] >= _CAPACITY]
    while small:
        i, j = small.pop(), large[-1]
        other[i] = j
        left[j] -= _CAPACITY - left[i]
        if left[j] < _CAPACITY:
            small.append(large.pop())
    for i in large:
        left[i] = 0  # a full column: both values are its own
    bounds = [i * _CAPACITY + share for i, share in enumerate(left)]
    values = np.stack([np.arange(COLUMNS), np.array(other, np.int64)], axis=1).ravel() + lowest
    return AliasTable(np.array([bound >> 64 for bound in bounds], np.uint64), np.array([bound & _WORD for bound in bounds], np.uint64), values)


def gaussian_masses(variance: Fraction) -> list[int]:
    """exp(-x^2 / 2v) in units of 2^-128 for x = 0, 1, ... up to REACH or to where it vanishes; each within 2^-90."""
    with decimal.localcontext(_CONTEXT):
        ratio = _fixed((-1 / (2 * _decimal(variance))).exp())
    square, value, values = ratio * ratio >> _POINT, _ONE, [_ONE]
    while len(values) <= REACH and value >= _VANISHING:
        value = value * ratio >> _POINT
        ratio = ratio * square >> _POINT
        values.append(value)
    return values


def rounded_masses(variance: Fraction) -> list[int]:
    """The integrals of exp(-u^2 / 2v) over [x - 1/2, x + 1/2] for x = 0, 1, ... in units of 2^-128: a Gaussian rounded to integers.

    exp(-(x+u)^2/2v) = exp(-x^2/2v) exp(-au) exp(-u^2/2v) with a = x/v; the odd part in u vanishes, so the integral is
    exp(-x^2/2v) times a power series in a^2, which is summed until its terms are below 1e-30. Its variable is scaled to [0, 1].
    """
    points = gaussian_masses(variance)
    last = len(points) - 1
    with decimal.localcontext(_CONTEXT):
        v = _decimal(variance)
        series = [_fixed(coefficient) for coefficient in _cell_series(v, last / v)]
    return [value * _horner(series, (x * x << _POINT) // (last * last)) >> _POINT for x, value in enumerate(points)]


def _cell_series(v: Decimal, largest: Decimal) -> list[Decimal]:
    """Coefficients of the even powers of a/largest in the integral of exp(-au - u^2/2v) over [-1/2, 1/2], for a up to ``largest``."""
    series, size, i = [], Decimal(1), 0  # size: (largest/2)^2i / (2i)!
    while size > _NEGLIGIBLE:
        series.append(size * _moment(v, i))
        i += 1
        size *= largest * largest / (8 * i * (2 * i - 1))
    return series


def _moment(v: Decimal, i: int) -> Decimal:
    """Integral of w^2i exp(-w^2/8v) over [0, 1], by the power series of the exponential."""
    term, total, j = Decimal(1), Decimal(0), 0
    while abs(term) > _NEGLIGIBLE:
        total += term / (2 * (i + j) + 1)
        j += 1
        term *= -1 / (8 * v * j)
    return total


def _horner(series: Sequence[int], point: int) -> int:
    value = series[-1]
    for coefficient in series[-2::-1]:
        value = (value * point >> _POINT) + coefficient
    return value


def skellam_masses(variance: Fraction) -> list[int]:
    """I_x(v) / I_0(v) for x = 0, 1, ..., REACH in units of 2^-128, by Miller's downward recurrence (DLMF 10.74(iv))."""
    with decimal.localcontext(_CONTEXT):
        inverse, above, value = 2 / _decimal(variance), Decimal(0), Decimal(1)
        values = []
        for x in range(REACH + _MILLER_START, 0, -1):
            above, value = value, above + x * inverse * value
            if x <= REACH + 1:
                values.append(value)
        unit = _ONE / value
        return [int(value * unit) for value in reversed(values)]


def _fixed(value: Decimal) -> int:
    return int(value * _ONE)


def _decimal(value: Fraction) -> Decimal:
    return Decimal(value.numerator) / Decimal(value.denominator)
