"""Statistical tests with power: right noise passes at p >= 1e-9, noise 5 % wrong in scale and missing noise do not."""

from __future__ import annotations

import math
from collections.abc import Callable

import mpmath
import numpy as np
import numpy.typing as npt
import pytest
from scipy import special, stats

from tacit.errors import UsageError
from tacit.randomness import (
    SecureRandom,
    rounded_gaussian,
    rounded_gaussian_distance,
    skellam,
    skellam_distance,
    skellam_gaussian_distance,
)
from tacit.randomness.gaussian import MAX_SIGMA, MIN_SIGMA
from tacit.randomness.skellam import Acceptance, _ratio_error, log_ratio

N = 300_000
P = 1e-9
Samples = npt.NDArray[np.int64]
SIGMAS = [0.5, 1.0, 12.5, 213.0, 1000.0, 30_000.0, 2.0**20, 2.0**33, 2.0**45]
VARIANCES = [0.5, 4.0, 1000.0, 2.0**15, 40_000.0, 1e6, 1e9, 1e14]


def gaussian_cdf(sigma: float) -> Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]:
    return lambda x: special.ndtr((x + 0.5) / sigma)


def skellam_cdf(variance: float) -> Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]:
    if variance > 1e5:  # closer to the rounded Gaussian than 300,000 samples can tell
        return gaussian_cdf(math.sqrt(variance - 1 / 12))
    reach = int(12 * math.sqrt(variance)) + 30
    cumulated = np.cumsum(special.ive(np.abs(np.arange(-reach, reach + 1)), variance))
    return lambda x: cumulated[np.clip(x, -reach, reach).astype(np.int64) + reach]


def cells_p(samples: Samples, cdf: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]], scale: float) -> float:
    """p-value of chi-square over at most 80 cells of the exact distribution."""
    edges = np.unique(np.round(np.linspace(-3.6, 3.6, 79) * scale))
    probabilities = np.diff(np.concatenate([[0.0], cdf(edges), [1.0]]))
    observed = np.bincount(np.searchsorted(edges, samples, side="left"), minlength=len(edges) + 1)
    keep = probabilities * len(samples) > 10
    expected = np.append(probabilities[keep], max(probabilities[~keep].sum(), 1e-12)) * len(samples)
    counted = np.append(observed[keep], observed[~keep].sum())
    if expected[-1] < 10:
        expected, counted = expected[:-1], counted[:-1]
    return float(stats.chi2.sf(((counted - expected) ** 2 / expected).sum(), len(expected) - 1))


def variance_p(samples: Samples, variance: float, kurtosis: float) -> float:
    """Two-sided p-value of the mean square, whose standard error the known kurtosis gives."""
    observed = float(np.mean(samples.astype(np.float64) ** 2))
    error = variance * math.sqrt((kurtosis - 1) / len(samples))
    return float(2 * stats.norm.sf(abs(observed - variance) / error))


def rounded_moments(sigma: float) -> tuple[float, float]:
    if sigma > 20:
        return sigma**2 + 1 / 12, 3.0
    x = np.arange(-400, 401)
    p = special.ndtr((x + 0.5) / sigma) - special.ndtr((x - 0.5) / sigma)
    variance = float((p * x**2).sum())
    return variance, float((p * x.astype(float) ** 4).sum()) / variance**2


@pytest.mark.parametrize("sigma", SIGMAS)
def test_rounded_gaussian_fits_and_wrong_scale_does_not(sigma: float) -> None:
    source = SecureRandom.for_testing(11)
    variance, kurtosis = rounded_moments(sigma)
    right = rounded_gaussian(source, sigma, N)
    assert cells_p(right, gaussian_cdf(sigma), sigma) > P
    assert variance_p(right, variance, kurtosis) > P
    for factor in (0.95, 1.05):
        if not MIN_SIGMA <= factor * sigma <= MAX_SIGMA:
            continue
        wrong = rounded_gaussian(source, factor * sigma, N)
        assert cells_p(wrong, gaussian_cdf(sigma), sigma) < P
        assert variance_p(wrong, variance, kurtosis) < P
    dropped = np.zeros(N, np.int64)
    assert cells_p(dropped, gaussian_cdf(sigma), sigma) < P
    assert variance_p(dropped, variance, kurtosis) < P


@pytest.mark.parametrize("variance", VARIANCES)
def test_skellam_fits_and_wrong_scale_does_not(variance: float) -> None:
    source, cdf, scale = SecureRandom.for_testing(12), skellam_cdf(variance), math.sqrt(variance)
    right = skellam(source, variance, N)
    assert cells_p(right, cdf, scale) > P
    assert variance_p(right, variance, 3 + 1 / variance) > P
    for factor in (0.95**2, 1.05**2):
        wrong = skellam(source, variance * factor, N)
        assert cells_p(wrong, cdf, scale) < P
        assert variance_p(wrong, variance, 3 + 1 / variance) < P
    assert cells_p(np.zeros(N, np.int64), cdf, scale) < P


def test_a_skellam_is_not_taken_for_a_rounded_gaussian_of_the_same_variance() -> None:
    samples = skellam(SecureRandom.for_testing(2), 4.0, N)
    assert cells_p(samples, gaussian_cdf(math.sqrt(4 - 1 / 12)), 2.0) < P


@pytest.mark.parametrize("draw", [lambda s: rounded_gaussian(s, 5000.0, N), lambda s: skellam(s, 1e6, N)], ids=["gaussian", "skellam"])
def test_shape_of_the_tails_and_independence(draw: Callable[[SecureRandom], Samples]) -> None:
    z = draw(SecureRandom.for_testing(13)).astype(np.float64)
    z /= z.std()
    assert abs(float(z.mean())) < 6.2 / math.sqrt(N)
    assert abs(float(np.mean(z**3))) < 6.2 * math.sqrt(15 / N)
    assert abs(float(np.mean(z**4)) - 3) < 6.2 * math.sqrt(96 / N)
    for lag in (1, 2, 3, 64, 16_384):
        assert abs(float(np.mean(z[:-lag] * z[lag:]))) < 6.2 / math.sqrt(N - lag)
    assert 4.2 < float(np.abs(z).max()) < 7


@pytest.mark.parametrize(("variance", "shares"), [(1000.0, 4), (200_000.0, 4), (1e6, 10)])
def test_shares_of_skellam_sum_to_skellam(variance: float, shares: int) -> None:
    source = SecureRandom.for_testing(14)
    total = sum(skellam(source, variance / shares, N) for _ in range(shares))
    assert cells_p(np.asarray(total), skellam_cdf(variance), math.sqrt(variance)) > P
    short = sum(skellam(source, variance / shares, N) for _ in range(shares - 1))
    assert cells_p(np.asarray(short), skellam_cdf(variance), math.sqrt(variance)) < P


def test_levels_are_drawn_independently() -> None:
    """Low and high digits of a two-level sample have no correlation; one shared word would show."""
    x = rounded_gaussian(SecureRandom.for_testing(15), 20_000.0, N)
    high = np.round(x / 94)
    low = (x - 94 * high).astype(np.float64)
    assert abs(np.corrcoef(low, high)[0, 1]) < 6.2 / math.sqrt(N)
    assert abs(np.corrcoef(np.abs(low), np.abs(high))[0, 1]) < 6.2 / math.sqrt(N)


@pytest.mark.parametrize("size", [0, 1, (0, 3), (2, 3), (16_385,), np.int64(4)])
def test_sizes(size: int | tuple[int, ...]) -> None:
    source = SecureRandom()
    expected = np.empty(size).shape
    for drawn in (rounded_gaussian(source, 1000.0, size), skellam(source, 5.0, size), skellam(source, 1e6, size)):
        assert drawn.shape == expected
        assert drawn.dtype == np.int64


def test_the_seed_fixes_the_noise_and_the_source_advances() -> None:
    source = SecureRandom.for_testing(3)
    first = rounded_gaussian(source, 1000.0, 20_000)
    assert np.array_equal(first, rounded_gaussian(SecureRandom.for_testing(3), 1000.0, 20_000))
    assert not np.array_equal(first, rounded_gaussian(source, 1000.0, 20_000))


@pytest.mark.parametrize("sigma", [0.0, -1.0, 0.49, 2.0**45 * 1.01, math.nan, math.inf])
def test_sigma_outside_its_range_is_refused(sigma: float) -> None:
    with pytest.raises(UsageError, match="sigma="):
        rounded_gaussian(SecureRandom(), sigma, 1)
    with pytest.raises(UsageError, match="sigma="):
        rounded_gaussian_distance(sigma)


@pytest.mark.parametrize("variance", [0.0, -1.0, 2.0**-11, 2.0**48, math.nan, math.inf])
def test_variance_outside_its_range_is_refused(variance: float) -> None:
    for call in (lambda: skellam(SecureRandom(), variance, 1), lambda: skellam_distance(variance)):
        with pytest.raises(UsageError, match="variance="):
            call()
    if not 16 <= variance < math.inf:
        with pytest.raises(UsageError, match="variance="):
            skellam_gaussian_distance(variance)


def test_a_negative_size_is_refused() -> None:
    for call in (rounded_gaussian, skellam):
        with pytest.raises(UsageError, match="size="):
            call(SecureRandom(), 100.0, (2, -1))


@pytest.mark.parametrize("sigma", SIGMAS)
def test_the_stated_distance_is_small(sigma: float) -> None:
    assert 2.0**-71 < rounded_gaussian_distance(sigma) < 2.0**-65


@pytest.mark.parametrize("variance", VARIANCES)
def test_the_stated_skellam_distance_is_small(variance: float) -> None:
    assert 2.0**-71 < skellam_distance(variance) < (2.0**-62 if variance > 1e8 else 2.0**-55)


@pytest.mark.parametrize(("variance", "steps"), [(2.0**15 + 1, 10), (4e4, 2)])
def test_the_acceptance_ratio_against_forty_digits(variance: float, steps: int) -> None:
    """The weighted error of the ratio is far below what ``skellam_distance`` charges for it, and the ratio never exceeds its peak."""
    made = Acceptance.of(variance)
    with mpmath.workdps(40):
        v, sigma = mpmath.mpf(variance), mpmath.mpf(made.sigma)
        for z in np.linspace(0, 11, steps):
            x = round(z * math.sqrt(variance))
            mass = mpmath.besseli(x, v, maxterms=10**7) * mpmath.exp(-v)
            edge = [mpmath.erfc((x + h) / (sigma * mpmath.sqrt(2))) / 2 for h in (mpmath.mpf("-0.5"), mpmath.mpf("0.5"))]
            got = float(log_ratio(np.array([float(x)]), variance, made.excess)[0])
            error = abs(float(mpmath.log(mass / (edge[0] - edge[1])) - got))
            assert error * math.exp(-z * z / 2) * (1 + z) < _ratio_error(variance)
            assert -240 / variance < got - made.peak <= 0


@pytest.mark.parametrize("variance", [16.0, 50.0, 1e2, 1e3, 1e4, 1e5])
def test_the_bridge_is_above_the_true_distance_and_not_far(variance: float) -> None:
    x = np.arange(-int(14 * math.sqrt(variance)) - 40, 1.0)
    sigma = math.sqrt(variance - 1 / 12)
    left = special.ive(np.abs(x), variance)
    right = special.ndtr((x + 0.5) / sigma) - special.ndtr((x - 0.5) / sigma)
    difference = np.abs(left - right)
    true = 0.5 * float(2 * difference[:-1].sum() + difference[-1])
    assert true < skellam_gaussian_distance(variance) < (10 if variance >= 50 else 15) * true


def test_the_bridge_falls_as_one_over_the_variance() -> None:
    values = [v * skellam_gaussian_distance(v) for v in (1e3, 1e6, 1e9, 1e14)]
    assert values == sorted(values, reverse=True)
    assert 0.0722 < values[-1] < 0.0725
