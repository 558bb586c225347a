"""Exact (ε, δ) of Gaussian noise, in both directions, with a stated rounding.

μ is the shift between neighbours in units of the noise's standard deviation; independent or adaptively chosen Gaussian answers compose to
μ² = Σ μᵢ² (Dong, Roth & Su 2022, "Gaussian differential privacy", Corollary 3.3).

>>> round(gdp_epsilon(1.0, 1e-5), 4)
4.3772
>>> gdp_mu(1.0, 1e-5) < 0.2681 and gdp_epsilon(gdp_mu(1.0, 1e-5), 1e-5) <= 1.0
True
"""

from __future__ import annotations

import math

from scipy.special import log_ndtr

from tacit.errors import UsageError

_ULP = 2.0**-52
_MU_MARGIN = 1e-9  # what gdp_mu stays below the exact solution: sums over many thousand steps must still fit after they are rounded


def gdp_delta(mu: float, epsilon: float) -> float:
    """The smallest δ at which a μ-Gaussian mechanism is (ε, δ)-DP, rounded up.

    δ = Φ(−ε/μ + μ/2) − e^ε Φ(−ε/μ − μ/2) (Balle & Wang 2018, Theorem 8; Dong et al. 2022, Corollary 2.13), evaluated from logarithms of Φ.

    ==========  =========================================
    ``mu=0``    0: nothing is released
    ``mu=inf``  1: no noise
    ==========  =========================================

    Raises:
        UsageError: if ``mu`` or ``epsilon`` is negative or not a number.
    """
    if not (mu >= 0 and epsilon >= 0):
        raise UsageError(f"Expected mu={mu} >= 0 and epsilon={epsilon} >= 0.")
    if mu == 0 or epsilon == math.inf:
        return 0.0
    if mu == math.inf or epsilon / mu == math.inf:
        return 1.0 if mu == math.inf else 0.0
    centre = epsilon / mu
    first, tail = float(log_ndtr(mu / 2 - centre)), float(log_ndtr(-mu / 2 - centre))
    second = min(epsilon + tail, first)
    error = 4 * _ULP * (abs(first) + abs(tail) + epsilon + 1)
    return min(1.0, math.exp(first) * (-math.expm1(second - first) + error))


def gdp_epsilon(mu: float, delta: float) -> float:
    """The smallest ε at which a μ-Gaussian mechanism is (ε, δ)-DP, rounded up by at most 1e-12 of itself.

    Raises:
        UsageError: if ``mu`` is negative or ``delta`` is not strictly between 0 and 1.
    """
    _require_delta(delta)
    if gdp_delta(mu, 0.0) <= delta:
        return 0.0
    if mu == math.inf:
        return math.inf
    low, high = 0.0, mu * (mu / 2 + math.sqrt(-2 * math.log(delta)))  # ρ-zCDP, ρ = μ²/2 (Bun & Steinke 2016, Proposition 1.3)
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if gdp_delta(mu, middle) <= delta else (middle, high)
    return high


def gdp_mu(epsilon: float, delta: float) -> float:
    """The largest μ that is (ε, δ)-DP, rounded down by 1e-9 of itself.

    Raises:
        UsageError: if ``epsilon`` is not positive and finite, or ``delta`` is not strictly between 0 and 1.
    """
    _require_delta(delta)
    if not 0 < epsilon < math.inf:
        raise UsageError(f"Expected epsilon={epsilon} > 0 and finite.")
    low, high = 0.0, 1.0
    while gdp_delta(high, epsilon) <= delta:
        low, high = high, 2 * high
    while high - low > 1e-13 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if gdp_delta(middle, epsilon) <= delta else (low, middle)
    return low * (1 - _MU_MARGIN)


def _require_delta(delta: float) -> None:
    if not 0 < delta < 1:
        raise UsageError(f"Expected 0 < delta={delta} < 1; use well below one over the number of units, such as 1e-6.")
