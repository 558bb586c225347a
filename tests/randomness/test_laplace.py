"""Rounded Laplace noise: the right one passes, 5 % wrong in scale or another shape does not; tables against 60 digits."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from scipy import stats

from tacit.errors import UsageError
from tacit.randomness import LAPLACE_DISTANCE, SecureRandom, laplace_deviation, rounded_gaussian, rounded_laplace
from tacit.randomness.laplace import MAX_SCALE, MIN_SCALE, sampler
from tacit.randomness.tables import COLUMNS, INDEX_BITS, TOTAL, AliasTable

N = 300_000
P = 1e-9
SCALES = [0.5, 1.0, 12.5, 50.0, 50.1, 1000.0, 81_920.0, 204_800.1, 2.0**33, 2.0**45]
Samples = np.ndarray


def beyond(scale: float, x: np.ndarray) -> np.ndarray:
    """P[round(L) > x] for whole x >= 0."""
    return np.exp(-(x + 0.5) / scale) / 2


def cells_p(samples: Samples, scale: float) -> float:
    """p-value of chi-square over cells of about equal chance on both sides of zero."""
    edges = np.unique(np.round(-scale * np.log(2 * (1 - np.linspace(0.5, 0.999, 40)))))
    edges = np.concatenate([-edges[::-1] - 1, edges])
    below = np.where(edges >= 0, 1 - beyond(scale, edges), beyond(scale, -edges - 1))
    chances = np.diff(np.concatenate([[0.0], below, [1.0]]))
    observed = np.bincount(np.searchsorted(edges, samples, side="left"), minlength=len(edges) + 1)
    keep = chances * len(samples) > 10
    expected = np.append(chances[keep], max(chances[~keep].sum(), 1e-12)) * len(samples)
    counted = np.append(observed[keep], observed[~keep].sum())
    if expected[-1] < 10:
        expected, counted = expected[:-1], counted[:-1]
    return float(stats.chi2.sf(((counted - expected) ** 2 / expected).sum(), len(expected) - 1))


def magnitude_p(samples: Samples, scale: float) -> float:
    """Two-sided p-value of the mean magnitude."""
    mean = math.exp(-0.5 / scale) / -math.expm1(-1 / scale)
    error = math.sqrt(laplace_deviation(scale) ** 2 - mean**2) / math.sqrt(len(samples))
    return float(2 * stats.norm.sf(abs(float(np.abs(samples).mean()) - mean) / error))


@pytest.mark.parametrize("scale", SCALES)
def test_it_fits_and_a_wrong_scale_does_not(scale: float) -> None:
    source = SecureRandom.for_testing(21)
    right = rounded_laplace(source, scale, N)
    assert cells_p(right, scale) > P
    assert magnitude_p(right, scale) > P
    for factor in (0.95, 1.05):
        if MIN_SCALE <= factor * scale <= MAX_SCALE:
            wrong = rounded_laplace(source, factor * scale, N)
            assert cells_p(wrong, scale) < P
            assert magnitude_p(wrong, scale) < P
    assert cells_p(np.zeros(N, np.int64), scale) < P


def test_gaussian_noise_of_the_same_deviation_is_told_apart() -> None:
    assert cells_p(rounded_gaussian(SecureRandom.for_testing(1), 1000.0 * 2**0.5, N), 1000.0) < P


def test_samples_are_independent_and_signs_are_fair() -> None:
    drawn = rounded_laplace(SecureRandom.for_testing(3), 81_920.0, N)
    signs, sizes = np.sign(drawn), (np.abs(drawn) > 81_920 * math.log(2)) * 2.0 - 1
    for values in (signs, sizes):
        assert abs(float(values.mean())) < 6.2 / math.sqrt(N)
        for lag in (1, 2, 3, 64, 16_384):
            assert abs(float(np.mean(values[:-lag] * values[lag:]))) < 6.2 / math.sqrt(N - lag)
    assert abs(float(np.mean(signs * sizes))) < 6.2 / math.sqrt(N)
    digits = np.abs(drawn)[drawn != 0] - 1  # the digits of base 4,096 know nothing of each other
    low, high = digits % COLUMNS, digits // COLUMNS
    assert abs(float(np.corrcoef(low, high)[0, 1])) < 6.2 / math.sqrt(N)


def chances(table: AliasTable, lowest: int) -> list[mpmath.mpf]:
    """Exact chances of a table's values, put together from its columns."""
    found = [0] * COLUMNS
    for column in range(COLUMNS):
        bound = (int(table.bounds[column]) << 64) + int(table.lower[column])
        own, other = (int(value) - lowest for value in table.values[2 * column : 2 * column + 2])
        start = column << (128 - INDEX_BITS)
        found[own] += bound - start
        found[other] += (1 << (128 - INDEX_BITS)) - (bound - start)
    assert sum(found) == TOTAL
    return [mpmath.mpf(value) / TOTAL for value in found]


@pytest.mark.parametrize("scale", [0.5, 7.3, 50.0, 81_920.0, 3.3e9, 2.0**45])
def test_every_table_is_within_its_distance(scale: float) -> None:
    with mpmath.workdps(60):
        tables, rate = sampler(scale), 1 / mpmath.mpf(scale)
        total = mpmath.exp(-rate * COLUMNS ** len(tables.digits))  # the tail beyond the last digit
        for place, table in enumerate(tables.digits):
            ratio = mpmath.exp(-rate * COLUMNS**place)
            whole = (1 - ratio**COLUMNS) / (1 - ratio)
            exact = [ratio**digit / whole for digit in range(COLUMNS)]
            total += mpmath.fsum(abs(a - b) for a, b in zip(chances(table, 0), exact, strict=True)) / 2
        zero = 1 - mpmath.exp(-rate / 2)
        sign = chances(tables.sign, -(COLUMNS // 2 - 1))
        middle = COLUMNS // 2 - 1
        total += (abs(sign[middle] - zero) + 2 * abs(sign[middle + 1] - (1 - zero) / 2)) / 2
        assert sign[middle - 1] == sign[middle + 1]
        assert total < LAPLACE_DISTANCE


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan, math.inf, 0.49, 2.0**45 * 1.01])
def test_a_scale_out_of_range_is_refused(scale: float) -> None:
    with pytest.raises(UsageError, match="scale"):
        rounded_laplace(SecureRandom.for_testing(0), scale, 3)


def test_sizes() -> None:
    source = SecureRandom.for_testing(0)
    assert rounded_laplace(source, 3.0, 0).shape == (0,)
    assert rounded_laplace(source, 3.0, (3, 5)).shape == (3, 5)
    with pytest.raises(UsageError, match="negative"):
        rounded_laplace(source, 3.0, -1)


@pytest.mark.parametrize("scale", [0.5, 3.0, 400.0])
def test_the_stated_deviation_is_the_sum_over_all_values(scale: float) -> None:
    x = np.arange(1, 40 * math.ceil(scale) + 40)
    masses = -np.expm1(-1 / scale) * np.exp(-(x - 0.5) / scale)
    assert laplace_deviation(scale) == pytest.approx(math.sqrt(float((masses * x.astype(float) ** 2).sum())), rel=1e-9)
