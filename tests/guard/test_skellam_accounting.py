"""Skellam noise: its Rényi bound against the true divergence, and how closely it stands in for a rounded Gaussian, in 50 digits."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import mpmath
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import ive, logsumexp

from tacit.errors import UsageError
from tacit.guarantee import Budget
from tacit.guard.accounting import Cost, gdp_delta
from tacit.guard.events import SkellamDpEvent
from tacit.guard.filters import Filter
from tacit.guard.skellam import (
    CONCENTRATION,
    LEAST_VARIANCE,
    REACH,
    bridge_factor,
    bridge_ratio,
    bridge_slope,
    bridge_tail,
    skellam_rdp,
    skellam_variance,
)


def log_masses(variance: float, reach: int) -> NDArray[np.float64]:
    """log P[X = x] for x in -reach..reach, as the difference of two Poissons of mean V/2: e^-V I_|x|(V)."""
    side = np.log(ive(np.arange(reach + 1), variance))
    return np.concatenate([side[:0:-1], side])


def true_renyi(order: int, shifts: list[int], variance: float) -> float:
    """The divergence of a shifted vector is the sum over its coordinates, which are independent."""
    p = log_masses(variance, 150 if variance < 100 else 400)
    total = 0.0
    for shift in shifts:
        moved, still = p[: len(p) - shift], p[shift:]
        total += max(logsumexp(order * a + (1 - order) * b) for a, b in ((moved, still), (still, moved))) / (order - 1)
    return float(total)


@pytest.mark.parametrize("variance", [4.0, 25.0, 100.0, 400.0])
@pytest.mark.parametrize("order", [2, 3, 8, 16])
@pytest.mark.parametrize("shifts", [[1], [2], [5], [1, 1, 1, 1], [3, 0, 1]])
def test_the_renyi_bound_is_never_below_the_true_divergence(variance: float, order: int, shifts: list[int]) -> None:
    l1, l2 = float(sum(shifts)), math.sqrt(sum(s * s for s in shifts))
    bound = skellam_rdp([order], l1=l1, l2=l2, variance=variance)[0]
    truth = true_renyi(order, shifts, variance)
    assert truth <= bound * (1 + 1e-9)
    if variance >= 100:
        assert bound <= 1.5 * truth, "a bound that is far too loose would hide a wrong one"


def test_the_bound_tends_to_the_gaussian_one() -> None:
    fine = skellam_rdp([2, 10], l1=4096.0, l2=4096.0, variance=(10 * 4096.0) ** 2)
    assert fine == pytest.approx([2 / 200, 10 / 200], rel=1e-3)
    assert all(bound > order / 200 for bound, order in zip(fine, (2, 10), strict=True))


@pytest.mark.parametrize("order", [1, 1.5, 0, -2, 2.000001])
def test_the_theorem_says_nothing_about_other_orders(order: Any) -> None:
    with pytest.raises(UsageError, match="integer orders"):
        skellam_rdp([order], l1=1.0, l2=1.0, variance=10.0)


# --------------------------------------------------------------------------------- the bridge to the rounded Gaussian, exactly


@cache
def skellam_masses(variance: int, reach: int) -> list[Any]:
    """e^-V I_k(V) for k = 0..reach in 50 digits, by Miller's downward recurrence, normalised by I_0 + 2 Σ I_k = e^V (DLMF 10.35.5)."""
    with mpmath.workdps(50):
        begin = reach + 14 * math.isqrt(variance) + 200
        above, value, values = mpmath.mpf(0), mpmath.mpf(10) ** -45, []
        total = mpmath.mpf(0)
        for k in range(begin, 0, -1):
            total += 2 * value
            if k <= reach:
                values.append(value)
            above, value = value, above + 2 * k * value / variance
        values.append(value)
        total += value
        return [value / total for value in reversed(values)]


def rounded_gaussian_mass(k: int, sigma: Any) -> Any:
    low, high = (mpmath.mpf(k) - 0.5) / sigma, (mpmath.mpf(k) + 0.5) / sigma
    return (mpmath.erfc(low / mpmath.sqrt(2)) - mpmath.erfc(high / mpmath.sqrt(2))) / 2


@pytest.mark.parametrize("variance", [100_000, 250_000])
def test_the_ratio_covers_both_distributions_within_twelve_deviations(variance: int) -> None:
    reach = math.floor(REACH * math.sqrt(variance))
    masses = skellam_masses(variance, reach)
    with mpmath.workdps(50):
        sigma = mpmath.sqrt(variance - mpmath.mpf(1) / 12)
        places = sorted({0, 1, reach - 1, reach, *range(0, reach, reach // 60)})
        worst = max(abs(mpmath.log(masses[k] / rounded_gaussian_mass(k, sigma))) for k in places)
    assert worst <= bridge_ratio(variance)
    assert bridge_ratio(variance) < 1.2 * worst, "the margin is for what lies beyond the leading term, not for an error"


@pytest.mark.parametrize("variance", [100_000, 250_000])
@pytest.mark.parametrize("shift", [0.02, 0.5, 2.0])
def test_the_slope_covers_every_step_within_its_reach(variance: int, shift: float) -> None:
    """How differently the two distributions fall from one integer to the next: what a privacy loss is made of."""
    reach = math.floor((REACH + shift) * math.sqrt(variance))
    masses = skellam_masses(variance, reach + 1)
    with mpmath.workdps(50):
        sigma = mpmath.sqrt(variance - mpmath.mpf(1) / 12)
        places = sorted({0, 1, reach - 1, reach, *range(0, reach, reach // 40)})
        worst = max(
            abs(mpmath.log(masses[k + 1] / masses[k]) - mpmath.log(rounded_gaussian_mass(k + 1, sigma) / rounded_gaussian_mass(k, sigma)))
            for k in places
        )
    assert worst <= bridge_slope(variance, shift=shift)
    assert bridge_slope(variance, shift=shift) < 1.2 * worst


@pytest.mark.parametrize("variance", [100_000, 250_000])
def test_the_factor_rests_on_the_true_mean_and_variance_of_the_logarithm(variance: int) -> None:
    reach = math.floor(REACH * math.sqrt(variance))
    masses = skellam_masses(variance, reach)
    with mpmath.workdps(30):
        sigma = mpmath.sqrt(variance - mpmath.mpf(1) / 12)
        places = range(0, reach, 9)
        logs = [(masses[k] * (1 if k == 0 else 2), mpmath.log(masses[k] / rounded_gaussian_mass(k, sigma))) for k in places]
        whole = mpmath.fsum(mass for mass, _ in logs)
        mean = float(mpmath.fsum(mass * log for mass, log in logs) / whole)
        square = float(mpmath.fsum(mass * log * log for mass, log in logs) / whole)
    assert 0 < mean <= 1 / (40 * variance**2)
    assert 1 / (30 * variance**2) < square <= 1 / (20 * variance**2)


def test_the_factor_of_many_samples_grows_with_their_root() -> None:
    assert bridge_factor(1, 1e9) == bridge_ratio(1e9)
    few, many = bridge_factor(10**10, 1e9), bridge_factor(10**12, 1e9)
    assert 8 < many / few < 11
    assert bridge_factor(10**6, 1e9) < 1e-3 * 10**6 * bridge_ratio(1e9)
    draws = np.random.default_rng(1).standard_normal((400, 2_000))
    sums = ((draws**4 - 6 * draws**2 + 3) / (24 * 1e9)).sum(axis=1)
    assert np.abs(sums).max() < bridge_factor(2_000, 1e9), f"none of 400 sums may pass a bound that one in e^{CONCENTRATION} passes"


def test_the_tail_covers_both_distributions_beyond_twelve_deviations() -> None:
    variance = 100_000
    reach = math.floor(REACH * math.sqrt(variance))
    with mpmath.workdps(50):
        skellam = 2 * mpmath.fsum(skellam_masses(variance, 2 * reach)[reach + 1 :])
        gaussian = mpmath.erfc((reach + mpmath.mpf(1) / 2) / mpmath.sqrt(2 * (variance - mpmath.mpf(1) / 12)))
    assert 0 < max(skellam, gaussian) <= bridge_tail(variance)
    assert bridge_tail(variance) < 1e-30


@pytest.mark.parametrize("variance", [0.5, 100.0, LEAST_VARIANCE * (1 - 1e-12)])
def test_below_the_least_variance_there_is_no_bridge(variance: float) -> None:
    assert bridge_ratio(variance) == bridge_factor(1, variance) == bridge_slope(variance, shift=0.1) == math.inf
    assert bridge_tail(variance) == 1


def test_the_variance_of_the_stand_in_makes_up_for_rounding() -> None:
    """Rounding a Gaussian adds the variance of a uniform on [-1/2, 1/2]."""
    sigma = 3.0
    masses = [float(rounded_gaussian_mass(k, mpmath.mpf(sigma))) for k in range(60)]
    assert 2 * sum(k * k * mass for k, mass in enumerate(masses)) == pytest.approx(skellam_variance(sigma), rel=1e-9)


# -------------------------------------------------------------------------- what is charged against what true Skellam leaks


def true_delta(epsilon: float, shift: int, variance: float, reach: int) -> float:
    """Σ max(0, p(x) - e^ε p(x - shift)) over one shifted coordinate."""
    p = log_masses(variance, reach)
    return float(np.maximum(np.exp(p[shift:]) - np.exp(epsilon + p[: len(p) - shift]), 0).sum())


@pytest.mark.parametrize("shift", [100, 300, 1000])
@pytest.mark.parametrize("epsilon", [0.1, 0.5, 2.0])
def test_gaussian_accounting_of_one_fine_skellam_answer_holds_for_true_skellam(shift: int, epsilon: float) -> None:
    """(ε, δ) with the stand-in is (ε + Δ₁ · slope, e^factor δ) with Skellam, plus tails on both sides."""
    variance = 1e5
    more = shift * bridge_slope(variance, shift=shift / math.sqrt(variance))
    factor, tail = bridge_factor(1, variance), bridge_tail(variance)
    mu = math.sqrt(SkellamDpEvent(shift, shift, variance).gaussian_mu_squared)
    promised = math.exp(factor) * gdp_delta(mu, epsilon) + (1 + math.exp(epsilon + more)) * tail
    assert true_delta(epsilon + more, shift, variance, 9000) <= promised + 1e-13
    assert true_delta(epsilon, shift, variance, 9000) > 0.5 * gdp_delta(mu, epsilon)


@pytest.mark.parametrize(("shift", "variance"), [(1, 25.0), (2, 100.0), (5, 400.0), (1, 4.0)])
def test_renyi_accounting_of_a_coarse_skellam_answer_holds_for_true_skellam(shift: int, variance: float) -> None:
    rule = Filter(Budget(8.0, 1e-5), kind="renyi")
    cost = [Cost(SkellamDpEvent(shift, shift, variance), SkellamDpEvent(shift, shift, variance).gaussian_mu_squared, bridge_shift=math.inf)]
    epsilon = rule.epsilon(cost)
    assert math.isfinite(epsilon)
    assert true_delta(epsilon, shift, variance, 150) <= 1e-5
