"""What ε is this? Noisy sums over Poisson samples (DP-SGD and its kin), by privacy-loss distributions, with Rényi as a cross-check.

The convention is `dp_accounting`'s: ``noise_multiplier`` is the noise's standard deviation over one record's largest norm, whatever the
relation.

>>> exact = epsilon_for(sampling_rate=1.0, noise_multiplier=10.0, steps=100, delta=1e-5)
>>> exact.accountant, round(exact.epsilon, 3)
('exact Gaussian', 4.377)
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import dp_accounting

from tacit.errors import UsageError
from tacit.guarantee import Relation
from tacit.guard.events import event_from_dict, event_to_dict
from tacit.guard.gdp import gdp_epsilon, gdp_mu

_FINE, _FAST = 1e-4, 1e-3
_LEAST_NOISE = 1 / 4  # below, little is hidden, and distributions of privacy loss grow to millions of cells
_RENYI_ORDERS = tuple(1 + x / 10 for x in range(1, 100)) + tuple(range(11, 64)) + (72, 96, 128, 192, 256, 512, 1024)


@dataclass(frozen=True, slots=True)
class Accounted:
    """An answer with everything it depends on. ``renyi_epsilon`` is a second, looser bound, ``None`` where the relation has none."""

    epsilon: float
    delta: float
    sampling_rate: float
    noise_multiplier: float
    steps: int
    relation: Relation
    accountant: str
    renyi_epsilon: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain form."""
        return {name: getattr(self, name) for name in self.__slots__} | {"relation": self.relation.value}


def epsilon_for(
    *, sampling_rate: float, noise_multiplier: float, steps: int, delta: float, relation: Relation = Relation.ADD_REMOVE, fast: bool = False,
) -> Accounted:
    """The ε of ``steps`` Gaussian sums, each over a Poisson sample of rate ``sampling_rate``; never below the exact value.

    Privacy-loss distributions on a grid of 1e-4 (``fast``: 1e-3), connect-the-dots (Doroshenko et al. 2022); exact where nothing is sampled.

    Raises:
        UsageError: for parameters out of range.
    """
    _check(sampling_rate, steps, delta)
    if not (math.isfinite(noise_multiplier) and noise_multiplier > 0):
        raise UsageError(f"Expected noise_multiplier={noise_multiplier} > 0 and finite.")
    event = _event(sampling_rate, noise_multiplier, steps)
    epsilon, accountant = _tightest(event, sampling_rate, delta, relation, fast=fast)
    renyi = None if relation is Relation.REPLACE else renyi_epsilon(event, delta, relation)
    return Accounted(epsilon, delta, sampling_rate, noise_multiplier, steps, relation, accountant, renyi)


def noise_for(
    *, epsilon: float, sampling_rate: float, steps: int, delta: float, relation: Relation = Relation.ADD_REMOVE, fast: bool = False,
) -> Accounted:
    """The least noise multiplier (to 1e-4 of itself, rounded up) whose ε does not exceed ``epsilon``, and the ε it has.

    Where records are sampled it looks no lower than 1/4: a record may take part so rarely that δ alone covers it.

    Raises:
        UsageError: for parameters out of range.
    """
    _check(sampling_rate, steps, delta)
    high = relation.factor * math.sqrt(steps) / gdp_mu(epsilon, delta) * 1.001  # sampling never costs more than asking everybody

    def fits(noise: float, fast: bool) -> bool:
        event = _event(sampling_rate, noise, steps)
        return _tightest(event, sampling_rate, delta, relation, fast=fast)[0] <= epsilon

    given: dict[str, Any] = {"sampling_rate": sampling_rate, "steps": steps, "delta": delta, "relation": relation, "fast": fast}
    if sampling_rate < 1 and fits(_LEAST_NOISE, fast):
        return epsilon_for(noise_multiplier=_LEAST_NOISE, **given)
    low = high / 2
    while fits(low, True):
        low, high = low / 2, low
    low, high = narrow(lambda noise: fits(noise, True), low=low, high=high, precision=1e-4 if fast else 2e-3)
    if not fast:
        low, high = narrow(lambda noise: fits(noise, False), low=low * 0.99, high=high, precision=1e-4)
    return epsilon_for(noise_multiplier=high, **given)


def narrow(fits: Callable[[float], bool], *, low: float, high: float, precision: float) -> tuple[float, float]:
    """Bisect a noise multiplier on a logarithmic scale: ``low`` does not fit, ``high`` does, and they end within ``precision`` of each other."""
    while high > low * (1 + precision):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if fits(middle) else (middle, high)
    return low, high


def _check(sampling_rate: float, steps: int, delta: float) -> None:
    if not 0 < sampling_rate <= 1:
        raise UsageError(f"Expected 0 < sampling_rate={sampling_rate} <= 1; it is the expected batch over the public number of records.")
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise UsageError(f"Expected steps={steps!r} to be an integer >= 1.")
    if not 0 < delta < 1:
        raise UsageError(f"Expected 0 < delta={delta} < 1; use well below one over the number of units, such as 1e-6.")


def _event(sampling_rate: float, noise_multiplier: float, steps: int) -> Any:
    one = dp_accounting.PoissonSampledDpEvent(sampling_rate, dp_accounting.GaussianDpEvent(noise_multiplier))
    return dp_accounting.SelfComposedDpEvent(one, steps)


def _tightest(event: Any, sampling_rate: float, delta: float, relation: Relation, *, fast: bool) -> tuple[float, str]:
    if sampling_rate == 1:
        noise = event.event.event.noise_multiplier
        return gdp_epsilon(relation.factor * math.sqrt(event.count) / noise, delta), "exact Gaussian"
    return pld_epsilon(event, delta, relation, grid=_FAST if fast else _FINE), "pld"


def pld_epsilon(event: Any, delta: float, relation: Relation, *, grid: float = _FINE) -> float:
    """ε by composed privacy-loss distributions, rounded to ``grid`` upwards; infinite for an event that has none."""
    accountant = dp_accounting.pld.PLDAccountant(_relation(relation), value_discretization_interval=grid)
    return float(accountant.compose(event).get_epsilon(delta)) if accountant.supports(event) else math.inf


def fine_epsilon(event: Any, delta: float, relation: Relation, *, fast: bool = False) -> float:
    """`pld_epsilon` on the grid that charges are made on, remembered: a plan is asked for its cost several times."""
    return _remembered(json.dumps(event_to_dict(event), sort_keys=True), delta, relation, _FAST if fast else _FINE)


@lru_cache(maxsize=256)
def _remembered(event: str, delta: float, relation: Relation, grid: float) -> float:
    return pld_epsilon(event_from_dict(json.loads(event)), delta, relation, grid=grid)


def renyi_epsilon(event: Any, delta: float, relation: Relation) -> float:
    """ε by Rényi divergences (Mironov 2017; conversion of Canonne, Kamath & Steinke 2020, Proposition 12)."""
    return float(dp_accounting.rdp.RdpAccountant(_RENYI_ORDERS, _relation(relation)).compose(event).get_epsilon(delta))


def _relation(relation: Relation) -> Any:
    names = {Relation.ADD_REMOVE: "ADD_OR_REMOVE_ONE", Relation.REPLACE: "REPLACE_ONE", Relation.ZERO_OUT: "REPLACE_SPECIAL"}
    return dp_accounting.NeighboringRelation[names[relation]]
