"""How far Skellam noise is from Gaussian noise: the bound that lets Gaussian accounting speak about Skellam sums."""

from __future__ import annotations

import math
from collections.abc import Iterable

from tacit.errors import UsageError

MIN_BRIDGE_VARIANCE = 16.0
_KAPPA = 4 / math.pi**2  # cos t - 1 <= -2 t^2 / pi^2 = -kappa t^2 / 2 on [-pi, pi]
_ROUNDING = 1 + 2.0**-40  # the closed form below takes a few hundred float64 operations

Monomial = tuple[float, int]  # coefficient, power of t


def skellam_gaussian_distance(variance: float) -> float:
    """Return an upper bound on the total-variation distance of Skellam(V) to the rounded Gaussian of variance V - 1/12.

    The bound is about ``0.0723 / V``, against a true distance of about ``0.0583 / V``. It is one sample's distance; N independent samples
    are within N times it.

    >>> 0.072e-6 < skellam_gaussian_distance(1e6) < 0.073e-6
    True

    Source: Parseval for the difference of the characteristic functions and for its derivative, and Cauchy-Schwarz with weight
    1 + x^2/a^2, which needs no truncation of tails; the steps are in docs/decisions/0002-noise.md.

    Raises:
        UsageError: ``variance`` is below 16 or not finite.
    """
    if not MIN_BRIDGE_VARIANCE <= variance < math.inf:
        raise UsageError(f"Expected variance={variance} >= {MIN_BRIDGE_VARIANCE:g} squared grid units; use a finer grid")
    v, a = float(variance), math.sqrt(variance)
    norm = math.hypot(*_leading(v, a)) + math.hypot(*_remainder(v, a)) + math.hypot(*_aliases(v, a))
    weight = math.pi * a / math.tanh(math.pi * a)
    return min(1.0, 0.5 * math.sqrt(weight / (2 * math.pi)) * norm * _ROUNDING)


def _leading(v: float, a: float) -> tuple[float, float]:
    """Norms of L = exp(-V t^2/2) V t^4/24 and of L'/a, whose cross term is kept."""
    moments = {power: _norm(power, v) ** 2 for power in (3, 4, 5)}
    slope = v**2 / 36 * moments[3] - v**3 / 72 * moments[4] + v**4 / 576 * moments[5]
    return v / 24 * _norm(4, v), math.sqrt(slope) / a


def _remainder(v: float, a: float) -> tuple[float, float]:
    """Norms of what is left of the characteristic functions' difference, and of its derivative over a."""
    value = _norms([(v / 720, 6), (1 / 2160, 4)], v) + _norms([(v**2 / 1152, 8)], _KAPPA * v)
    near = [(v**2 / 720, 7), (v / 2160 + v / 120, 5), (1 / 540, 3)]
    far = [(v**3 / 1152, 9), (v**2 / 144, 7)]
    return value, (_norms(near, v) + _norms(far, _KAPPA * v)) / a


def _aliases(v: float, a: float) -> tuple[float, float]:
    """Norms of the rounded Gaussian's periodic images on [-pi, pi], and of their derivative over a."""
    s2 = v - 1 / 12
    size = 4 * math.exp(-s2 * math.pi**2 / 2) * math.sqrt(2 * math.pi)
    return size, size * (s2 * math.pi + 1) / a


def _norms(terms: Iterable[Monomial], c: float) -> float:
    return sum(coefficient * _norm(power, c) for coefficient, power in terms)


def _norm(power: int, c: float) -> float:
    """L2 norm over the real line of t^power exp(-c t^2/2): sqrt(Gamma(power + 1/2) c^-(power + 1/2))."""
    return math.sqrt(math.gamma(power + 0.5) * c ** -(power + 0.5))
