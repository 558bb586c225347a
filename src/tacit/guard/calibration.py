"""The least noise that a budget allows, for plans whose cost is no formula."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from tacit.errors import UsageError
from tacit.guard.accounting import Cost
from tacit.guard.filters import Filter
from tacit.guard.subsampling import narrow

_COARSE, _FINE = 3e-3, 2e-4


def least_noise(costs: Callable[[float], Sequence[Cost]], rule: Filter, precision: float) -> float:
    """The least noise multiplier whose cost the rule admits, rounded up; looked for on a coarse grid first.

    Raises:
        UsageError: if no noise below 2^20 fits.
    """

    def roughly(noise: float) -> bool:
        return rule.estimate(costs(noise)) <= rule.budget.epsilon

    low, high = 0.25, 1.0
    while not roughly(high):
        low, high = high, high * 2
        if high > 2**20:
            raise UsageError("Expected a budget that some noise fits; this one is too small for so many steps. Raise epsilon or delta.")
    if high == 1.0 and rule.admits(costs(low)):
        return low
    low, high = narrow(roughly, low=low, high=high, precision=max(precision, _COARSE))
    if precision > _COARSE:
        return high
    slope = math.log(rule.estimate(costs(high * 0.98)) / rule.estimate(costs(high * 1.02))) / math.log(1.02 / 0.98)
    return _settled(lambda noise: rule.epsilon(costs(noise)), high, rule.budget.epsilon, slope)


def _settled(epsilon: Callable[[float], float], noise: float, wanted: float, slope: float) -> float:
    """From a noise multiplier that nearly fits to one that does and hardly wastes any: ε falls with about the power ``slope`` of the noise."""
    for _ in range(8):
        found = epsilon(noise)
        if wanted * (1 - 1e-3) <= found <= wanted:
            break
        noise *= (found / wanted) ** (1 / slope) * (1 + _FINE)
    while epsilon(noise) > wanted:
        noise *= 1 + _COARSE
    return noise
