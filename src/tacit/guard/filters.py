"""Whether one more plan fits, when every plan may depend on the answers to those before it.

>>> from tacit.guard.events import dp_accounting
>>> half = Cost(dp_accounting.GaussianDpEvent(6.0), 1 / 36)
>>> budget = Filter(Budget(epsilon=1.0, delta=1e-5))
>>> budget.admits([half, half]), budget.admits([half, half, half])
(True, False)
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import dp_accounting

from tacit.errors import Refused, UsageError
from tacit.guarantee import Budget, Relation
from tacit.guard.accounting import BRIDGE_FACTOR, BRIDGE_SHARE, EXTRAS_SHARE, RENYI_SHARE, Cost, gaussian_part, skellam_rdp
from tacit.guard.events import UNIFORM_VARIANCE, SkellamDpEvent, gaussian_mu_squared, leaves, pure_epsilon
from tacit.guard.gdp import gdp_delta, gdp_epsilon, gdp_mu
from tacit.guard.skellam import sampled_skellam_rdp
from tacit.guard.subsampling import fine_epsilon, pld_epsilon

KINDS = ("auto", "renyi", "single", "pure")


@dataclass(frozen=True, slots=True)
class Spent:
    """What a scope has used up.

    Args:
        epsilon: by the filter, at ``budget.delta``: the figure that decides.
        fixed_epsilon: what the same events would cost as one plan fixed beforehand (exact Gaussian curve, or PLD): never more.
        left: ε of the largest Gaussian plan that still fits; where only Laplace noise is admitted, of the largest such plan.
        mu_squared: Σ μ², or ``None`` if some event is not Gaussian.
        plans: how many charges.
        accountant: which filter decides.
    """

    epsilon: float
    fixed_epsilon: float
    left: float
    budget: Budget
    mu_squared: float | None
    plans: int
    accountant: str

    def to_dict(self) -> dict[str, Any]:
        """Plain form."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return fields | {"budget": {"epsilon": self.budget.epsilon, "delta": self.budget.delta}}


@dataclass(frozen=True, slots=True)
class Filter:
    """A privacy filter for one scope: the sum of everything admitted is (ε, δ)-DP, however plans were chosen.

    Args:
        budget: of the scope.
        relation: that every plan of the scope shares.
        kind: ``"auto"``: Gaussian where every event is, else Rényi; ``"renyi"``: Rényi from the start, with nearly all of δ, for scopes in
            which sampled plans are expected; ``"single"``: one plan for ever, fixed before anything is seen, by privacy-loss distributions and
            with nearly all of δ; ``"pure"``: Laplace noise only, of which ε adds up and takes no δ.

    Guarantees:
        Everything admitted is, together, (``budget.epsilon``, ``budget.delta``)-DP under fully adaptive composition.
        Gaussian part: Σ μ² never passes the μ² of (0.999 ε, 0.85 δ) (Smith & Thakurta 2022; Koskela, Tobaben & Honkela 2022).
        Rényi part: the divergence at one order, chosen from the budget alone, never passes what (ε, 0.05 δ) allows (Feldman & Zrnic 2021).
        The rest: (1 + e^ε) · distances + selection never pass 0.10 δ, Skellam's stand-in for Gaussian noise never 0.001 ε
        and never a factor e^0.005 on δ.
        ``"pure"``: Σ ε never passes ε (Rogers, Roth, Ullman & Vadhan 2016, §3), distances and selection never δ, which is left for nothing else.
        Runs that stay Gaussian are covered by the first bound, all others by the second, and δ adds up over the two sets of runs.

    ==========================================  ======================================
    an event nobody accounts for                raises `Refused`
    a sampled event under the relation replace  raises `Refused`
    ==========================================  ======================================
    """

    budget: Budget
    relation: Relation = Relation.ADD_REMOVE
    kind: str = "auto"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"Expected filter kind={self.kind!r} to be one of {', '.join(KINDS)}.")

    def admits(self, costs: Sequence[Cost]) -> bool:
        """Whether all of these together stay within the budget."""
        if self.kind == "pure":
            return self.epsilon(costs) <= self.budget.epsilon
        if self.kind == "single":
            return len(costs) == 1 and self._extras_fit(costs, bridged=True) and self._single(costs[0]) <= self.budget.epsilon
        return self._fits_gaussian(costs) or self._fits_renyi(costs)

    def spent(self, costs: Sequence[Cost]) -> Spent:
        """The state after these."""
        gaussian = self._is_gaussian(costs)
        mu_squared = _mu_squared(costs)
        named = {"single": "one plan, pld", "pure": "sum of epsilon"}
        name = named[self.kind] if self.kind in named else "gaussian filter" if gaussian else f"renyi filter, order {self._renyi_rule[0]}"
        return Spent(self.epsilon(costs), self.fixed_epsilon(costs), self.left(costs), self.budget, mu_squared, len(costs), name)

    def epsilon(self, costs: Sequence[Cost]) -> float:
        """ε at the budget's δ by the filter that decides; infinite if the samplers' share of δ is overspent."""
        if not costs:
            return 0.0
        if self.kind == "pure":
            return math.fsum(pure_epsilon(cost.event) for cost in costs) if self._extras_fit(costs, bridged=True) else math.inf
        if self.kind == "single":
            return self._single(costs[0]) if len(costs) == 1 and self._extras_fit(costs, bridged=True) else math.inf
        if self._is_gaussian(costs):
            return self._gaussian_epsilon(_mu_squared(costs) or 0.0)
        if not self._extras_fit(costs, bridged=False):
            return math.inf
        order, allowed = self._renyi_rule
        return max(0.0, self.budget.epsilon - allowed + self._renyi(costs, order))

    def left(self, costs: Sequence[Cost]) -> float:
        """ε of the largest Gaussian plan that still fits, by itself."""
        if self.kind == "single":
            return 0.0 if costs else self.budget.epsilon
        if self.kind == "pure":
            return max(0.0, self.budget.epsilon - self.epsilon(costs))
        if self._is_gaussian(costs):
            rest = gdp_mu(*gaussian_part(self.budget)) ** 2 - (_mu_squared(costs) or 0.0)
            return self._gaussian_epsilon(max(0.0, rest))
        return max(0.0, self.budget.epsilon - self.epsilon(costs))

    def extras_left(self, costs: Sequence[Cost]) -> float:
        """δ still free for samplers and key selection."""
        taken = math.fsum(cost.delta(self.budget.epsilon, bridged=self.kind != "renyi") for cost in costs)
        return max(0.0, self._extras_share * self.budget.delta - taken)

    def fixed_epsilon(self, costs: Sequence[Cost]) -> float:
        """ε at the budget's δ if all of these had been one plan fixed beforehand; exact for Gaussian events, else by PLD, rounded up.

        Where neither is known (events of ρ-zCDP), it is the filter's own figure.
        """
        if not costs or self.kind in ("single", "pure"):
            return self.epsilon(costs)
        mu_squared, upper = _mu_squared(costs), self.epsilon(costs)
        shift, factor = _bridges(costs)
        delta = (self.budget.delta - math.fsum(cost.delta(min(upper, 700.0)) for cost in costs)) * math.exp(-factor)
        if not math.isfinite(upper) or delta <= 0:
            return upper
        if mu_squared is not None:
            return min(upper, gdp_epsilon(math.sqrt(mu_squared), delta) + shift)
        event = dp_accounting.ComposedDpEvent([part for cost in costs for part in _as_gaussian(cost.event)])
        return min(upper, pld_epsilon(event, delta, self.relation, grid=1e-3) + shift)

    def stated_delta(self, costs: Sequence[Cost]) -> float:
        """δ to state beside `fixed_epsilon`: the budget's; where noise takes none, what samplers and selections of these take."""
        return math.fsum(cost.delta(self.budget.epsilon) for cost in costs) if self.kind == "pure" else self.budget.delta

    def estimate(self, costs: Sequence[Cost]) -> float:
        """`epsilon`, for one plan on a coarse grid: within about a thousandth of what is charged, ten times faster."""
        return self._single(costs[0], fast=True) if self.kind == "single" and len(costs) == 1 else self.epsilon(costs)

    def _single(self, cost: Cost, *, fast: bool = False) -> float:
        """ε of one plan, at the δ that is left beside what samplers of noise may take."""
        delta = (1 - EXTRAS_SHARE) * self.budget.delta * math.exp(-cost.bridge_factor)
        if not math.isfinite(cost.bridge_shift) or delta <= 0:
            return math.inf
        if cost.mu_squared is not None:
            return gdp_epsilon(math.sqrt(cost.mu_squared), delta) + cost.bridge_shift
        stand_in = dp_accounting.ComposedDpEvent(list(_as_gaussian(cost.event))) if cost.bridge_shift else cost.event
        return fine_epsilon(stand_in, delta, self.relation, fast=fast) + cost.bridge_shift

    @property
    def _renyi_rule(self) -> tuple[int, float]:
        share = RENYI_SHARE if self.kind == "auto" else 1 - EXTRAS_SHARE
        return _renyi_rule(self.budget.epsilon, share * self.budget.delta)

    def _gaussian_epsilon(self, mu_squared: float) -> float:
        _, delta = gaussian_part(self.budget)
        return gdp_epsilon(math.sqrt(mu_squared), delta) / (1 - BRIDGE_SHARE)

    def _is_gaussian(self, costs: Sequence[Cost]) -> bool:
        if self.kind != "auto" or _mu_squared(costs) is None or not self._extras_fit(costs, bridged=True):
            return False
        shift, factor = _bridges(costs)
        return shift <= BRIDGE_SHARE * self.budget.epsilon and factor <= BRIDGE_FACTOR

    @property
    def _extras_share(self) -> float:
        return 1.0 if self.kind == "pure" else EXTRAS_SHARE

    def _extras_fit(self, costs: Sequence[Cost], *, bridged: bool) -> bool:
        return math.fsum(cost.delta(self.budget.epsilon, bridged=bridged) for cost in costs) <= self._extras_share * self.budget.delta

    def _fits_gaussian(self, costs: Sequence[Cost]) -> bool:
        if not self._is_gaussian(costs):
            return False
        epsilon, delta = gaussian_part(self.budget)
        return gdp_delta(math.sqrt(_mu_squared(costs) or 0.0), epsilon) <= delta

    def _fits_renyi(self, costs: Sequence[Cost]) -> bool:
        order, allowed = self._renyi_rule
        return self._extras_fit(costs, bridged=False) and self._renyi(costs, order) <= allowed

    def _renyi(self, costs: Sequence[Cost], order: int) -> float:
        return math.fsum(count * self._renyi_of(leaf, order) for cost in costs for leaf, count in leaves(cost.event))

    def _renyi_of(self, leaf: Any, order: int) -> float:
        if isinstance(leaf, dp_accounting.GaussianDpEvent):
            return order / (2 * leaf.noise_multiplier**2) if leaf.noise_multiplier > 0 else math.inf
        if isinstance(leaf, SkellamDpEvent):
            return skellam_rdp([order], l1=leaf.l1, l2=leaf.l2, variance=leaf.variance - UNIFORM_VARIANCE)[0]
        if isinstance(leaf, dp_accounting.LaplaceDpEvent):
            return laplace_rdp(order, leaf.noise_multiplier)
        if isinstance(leaf, dp_accounting.PoissonSampledDpEvent) and isinstance(leaf.event, SkellamDpEvent):
            return _sampled_skellam(leaf, order, self.relation)
        return _sampled_renyi(leaf, order, self.relation)


def _bridges(costs: Sequence[Cost]) -> tuple[float, float]:
    """What Skellam noise adds to a privacy loss, and the logarithm of what it multiplies δ by."""
    return math.fsum(cost.bridge_shift for cost in costs), math.fsum(cost.bridge_factor for cost in costs)


def _mu_squared(costs: Sequence[Cost]) -> float | None:
    parts = [cost.mu_squared for cost in costs]
    return None if any(part is None for part in parts) else math.fsum(part for part in parts if part is not None)


def _as_gaussian(event: Any) -> Iterator[Any]:
    """What a distribution of privacy loss can be made of: each part as it is, Skellam as the Gaussian it stands for."""
    for leaf, count in leaves(event):
        yield dp_accounting.SelfComposedDpEvent(_stand_in(leaf), count)


def _stand_in(leaf: Any) -> Any:
    if isinstance(leaf, dp_accounting.PoissonSampledDpEvent) and isinstance(leaf.event, SkellamDpEvent):
        return dp_accounting.PoissonSampledDpEvent(leaf.sampling_probability, _stand_in(leaf.event))
    mu_squared = gaussian_mu_squared(leaf)
    return leaf if mu_squared is None else dp_accounting.GaussianDpEvent(1 / math.sqrt(mu_squared))


@lru_cache(maxsize=256)
def _renyi_rule(epsilon: float, delta: float) -> tuple[int, float]:
    """The order at which a Gaussian mechanism may spend most, and the divergence (ε, δ) allows there.

    ε = ε_α + log(1 − 1/α) − log(δ α) / (α − 1) (Canonne, Kamath & Steinke 2020, Proposition 12).
    """
    largest = min(100_000, 8 + math.ceil(6 * -math.log(delta) / epsilon))
    allowed = {order: epsilon - math.log1p(-1 / order) + math.log(delta * order) / (order - 1) for order in range(2, largest)}
    best = max(allowed, key=lambda order: allowed[order] / order)
    return best, allowed[best]


def laplace_rdp(order: int, noise_multiplier: float) -> float:
    """Rényi divergence of Laplace noise whose scale is ``noise_multiplier`` times the L1 bound, whatever the relation (Mironov 2017, table II).

    It is convex in the shift and zero at none, so that no vector of shifts with the same sum exceeds it.
    """
    if noise_multiplier <= 0:
        return math.inf
    epsilon = 1 / noise_multiplier
    far = (order - 1) * epsilon + math.log(order / (2 * order - 1))
    near = -order * epsilon + math.log((order - 1) / (2 * order - 1))
    return (far + math.log1p(math.exp(near - far))) / (order - 1)


@lru_cache(maxsize=4096)
def _sampled_skellam(leaf: Any, order: int, relation: Relation) -> float:
    if relation is Relation.REPLACE:
        raise Refused("unknown event: refuse. A sampled Skellam answer has no Rényi bound under replace; plan under add/remove or zero-out.")
    noise = leaf.event
    return sampled_skellam_rdp(order, leaf.sampling_probability, l1=noise.l1, l2=noise.l2, variance=noise.variance - UNIFORM_VARIANCE)


@lru_cache(maxsize=4096)
def _sampled_renyi(leaf: Any, order: int, relation: Relation) -> float:
    if relation is Relation.REPLACE:
        raise Refused(f"unknown event: refuse. {type(leaf).__name__} has no Rényi bound under replace; plan under add/remove or zero-out.")
    name = "ADD_OR_REMOVE_ONE" if relation is Relation.ADD_REMOVE else "REPLACE_SPECIAL"
    accountant = dp_accounting.rdp.RdpAccountant([order], dp_accounting.NeighboringRelation[name])
    if not accountant.supports(leaf):
        raise Refused(f"unknown event: refuse. No Rényi bound is known for {type(leaf).__name__}; plan with Gaussian or Skellam noise.")
    return float(accountant.compose(leaf).rdp[0])
