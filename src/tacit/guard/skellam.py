"""Skellam noise for the accountant: its Rényi bound, and how closely it stands in for a rounded Gaussian.

Adding N(0, V) rounded to integers or Skellam noise of variance V + 1/12 is almost the same mechanism. Almost is bounded by a *ratio* inside
±12 standard deviations, where log(p/q) = (x⁴ − 6x² + 3) / 24V + O(x⁶ / V²), and by the tails outside. A ratio costs twice its logarithm in
ε; a total-variation distance would cost 1 + e^ε times itself in δ, thousands of times more at ε = 8.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tacit.errors import UsageError

REACH = 12.0  # standard deviations within which the ratio holds
LEAST_VARIANCE = 1e5  # below, the terms beyond the leading one are not covered by the margin
_RATIO = 900.0  # (12⁴ − 6·12² + 3) / 24 = 828.1, and 8 % for the terms beyond


def skellam_variance(sigma: float) -> float:
    """The variance at which Skellam noise stands in for a rounded Gaussian of standard deviation ``sigma``: σ² + 1/12."""
    return sigma * sigma + 1 / 12


def bridge_ratio(variance: float) -> float:
    """A bound on |log(p/q)| within ±12 standard deviations, p being Skellam of this variance, q the rounded Gaussian; infinite below 1e5.

    From the uniform expansion of e^-V I_k(V) (DLMF 10.41.3) against the midpoint expansion of the Gaussian's mass; the tests compare it with
    both distributions in 50-digit arithmetic.
    """
    return _RATIO / variance if variance >= LEAST_VARIANCE else math.inf


def bridge_tail(variance: float) -> float:
    """A bound on the probability of more than 12 standard deviations under either distribution (Chernoff: 2 exp(−x²/2 + x⁴/24V))."""
    if variance < LEAST_VARIANCE:
        return 1.0
    return 2 * math.exp(-(REACH**2) / 2 + REACH**4 / (24 * variance) + REACH / math.sqrt(variance))


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
