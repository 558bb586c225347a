"""Skellam noise for the accountant: its Rényi bound, and how closely it stands in for a rounded Gaussian.

Adding N(0, V) rounded to integers or Skellam noise of variance V + 1/12 is almost the same mechanism. With p and q the two distributions:

- the *privacy loss* of a shift differs by at most the shift's L1 length times `bridge_slope`, within ±12 standard deviations: it costs ε;
- the *probability* of any set of N samples differs by at most a factor e^`bridge_factor`: it multiplies δ;
- what lies outside has at most the probability `bridge_tail`: it costs 1 + e^ε times itself in δ.

So (ε, δ)-DP with Gaussian noise is (ε + Δ₁ · slope, e^factor δ)-DP with Skellam noise, plus tails; docs/decisions/0004-skellam-bridge.md has the
proof. A total-variation distance instead would cost 1 + e^ε times itself in δ, thousands of times more at ε = 8.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import gammaln, logsumexp

from tacit.errors import UsageError

REACH = 12.0  # standard deviations within which noise is compared
LEAST_VARIANCE = 1e5  # below, the terms beyond the leading one are not covered by the margins
CONCENTRATION = 60.0  # a factor larger than `bridge_factor` has probability e^-60
_RATIO = 900.0  # (12⁴ − 6·12² + 3) / 24 = 828.1, and 8 % for the terms beyond
_SQUARE = 1 / 20  # Var(z⁴ − 6z² + 3) / 24² = 1/24, and 20 %
_MEAN = 1 / 40  # half of that, and 20 %
_MARGIN = 1.05
_ROUNDING = 1e-12  # of logarithms of Γ and their sums, for each order


def skellam_variance(sigma: float) -> float:
    """The variance at which Skellam noise stands in for a rounded Gaussian of standard deviation ``sigma``: σ² + 1/12."""
    return sigma * sigma + 1 / 12


def bridge_ratio(variance: float) -> float:
    """A bound on |log(p/q)| within ±12 standard deviations, p being Skellam of this variance, q the rounded Gaussian; infinite below 1e5.

    From the uniform expansion of e^-V I_k(V) (DLMF 10.41.3) against the midpoint expansion of the Gaussian's mass: log(p/q) =
    (z⁴ − 6z² + 3) / 24V + O(z⁶/V²) at z standard deviations. The tests compare it with both distributions in 50-digit arithmetic.
    """
    return _RATIO / variance if variance >= LEAST_VARIANCE else math.inf


def bridge_factor(count: int, variance: float) -> float:
    """A bound on log(p/q) of ``count`` samples together, exceeded with probability at most e^-60 under p (beside the tails).

    The logarithms are independent, at most `bridge_ratio` each, of mean at most 1/40V² and variance at most 1/20V²: Bernstein's inequality
    (Boucheron, Lugosi & Massart 2013, corollary 2.11), or the plain sum where that is less.
    """
    if variance < LEAST_VARIANCE:
        return math.inf
    third = bridge_ratio(variance) * CONCENTRATION / 3
    spread = third + math.sqrt(third * third + 2 * count * _SQUARE / variance**2 * CONCENTRATION)
    return min(count * bridge_ratio(variance), count * _MEAN / variance**2 + spread)


def bridge_slope(variance: float, *, shift: float) -> float:
    """A bound on how much log(p(x) / p(x − 1)) differs from log(q(x) / q(x − 1)), for noise within ±12 standard deviations and ``shift`` more.

    With r standard deviations in all it is (r³/6 + r) / V^1.5: log(I_k(V) / I_{k+1}(V)) lies between arsinh((k + ½)/V) and that plus (k + 1)/V²
    (Amos 1974, inequalities 9 and 16), arsinh u >= u − u³/6, and a rounded Gaussian of variance V − 1/12 falls by (k + ½)/V up to O(k³/V⁴).
    """
    if variance < LEAST_VARIANCE:
        return math.inf
    reach = REACH + shift
    return _MARGIN * (reach**3 / 6 + reach) / math.pow(variance, 1.5)


def bridge_tail(variance: float) -> float:
    """A bound on the probability of more than 12 standard deviations under either distribution (Chernoff: 2 exp(−x²/2 + x⁴/24V))."""
    if variance < LEAST_VARIANCE:
        return 1.0
    return 2 * math.exp(-(REACH**2) / 2 + REACH**4 / (24 * variance) + REACH / math.sqrt(variance))


def sampled_skellam_rdp(order: int, rate: float, *, l1: float, l2: float, variance: float) -> float:
    """Rényi divergence bound of one Skellam release about a Poisson sample of this rate, at an integer order >= 2, in both directions.

    E over p of ((1 − q) + q p'/p)^α is Σ_k C(α, k) (1 − q)^(α − k) q^k E[(p'/p)^k]: 1 for k = 0 and 1, at most exp((k − 1) ε(k)) beyond, with ε of
    `skellam_rdp`. The other direction is no larger, because z -> Δ − z maps p and p' onto each other (Mironov, Talwar & Zhang 2019, arXiv
    1908.10530, Theorem 5): docs/decisions/0021-sampled-skellam.md.

    Raises:
        UsageError: for an order that is not an integer >= 2, or a rate outside (0, 1].
    """
    if not 0 < rate <= 1:
        raise UsageError(f"Expected 0 < rate={rate} <= 1.")
    (whole,) = skellam_rdp([order], l1=l1, l2=l2, variance=variance)
    if rate == 1:
        return whole
    k = np.arange(order + 1)
    below = skellam_rdp(range(2, order + 1), l1=l1, l2=l2, variance=variance)
    moments = np.concatenate([np.zeros(2), np.arange(1, order) * np.array(below)])
    chosen = gammaln(order + 1) - gammaln(k + 1) - gammaln(order - k + 1)
    sampled = logsumexp(chosen + (order - k) * math.log1p(-rate) + k * math.log(rate) + moments)
    return min(whole, max(0.0, float(sampled) + order * _ROUNDING) / (order - 1))


def skellam_rdp(orders: Sequence[int], *, l1: float, l2: float, variance: float) -> list[float]:
    """Rényi divergence bounds of one Skellam release at integer orders >= 2.

    ε(α) <= α Δ₂² / 2V + min(((2α − 1) Δ₂² + 6 Δ₁) / 4V², 3 Δ₁ / 2V) (Agarwal, Kairouz & Liu 2021, arXiv 2110.04995, Corollary 3.6).

    Raises:
        UsageError: for an order that is not an integer >= 2; the theorem says nothing about those.
    """
    if any(order != int(order) or order < 2 for order in orders):
        raise UsageError("Expected integer orders >= 2: the Skellam bound is proved for no others.")
    return [
        order * l2**2 / (2 * variance) + min(((2 * order - 1) * l2**2 + 6 * l1) / (4 * variance**2), 3 * l1 / (2 * variance))
        for order in orders
    ]
