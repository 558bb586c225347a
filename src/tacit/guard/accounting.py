"""What a plan costs: its event, μ², and what integer samplers and key selection take beside it.

ε and δ are split once, before anything is seen, into a part for the noise and parts for the rest. Trading them against each other while
plans are chosen after seeing answers would not be covered by the composition theorems that the filter stands on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dp_accounting

from tacit.errors import Refused, UsageError
from tacit.guarantee import Budget
from tacit.guard.events import SkellamDpEvent, event_from_dict, event_to_dict, gaussian_mu_squared
from tacit.guard.gdp import gdp_delta, gdp_epsilon, gdp_mu
from tacit.guard.plan import LOCAL_KINDS, Plan, PlanStep, is_sampled
from tacit.guard.skellam import CONCENTRATION, bridge_factor, bridge_slope, bridge_tail, skellam_rdp, skellam_variance
from tacit.guard.subsampling import Accounted, epsilon_for, noise_for
from tacit.randomness import LAPLACE_DISTANCE, skellam_distance
from tacit.randomness.gaussian import LARGEST_DISTANCE
from tacit.randomness.skellam import MAX_VARIANCE, TABLE_VARIANCE

__all__ = [
    "Accounted", "BRIDGE_FACTOR", "BRIDGE_SHARE", "Cost", "EXTRAS_SHARE", "GAUSSIAN_SHARE", "MOST_SITES", "RENYI_SHARE",
    "epsilon_for", "gaussian_part", "gdp_delta", "gdp_epsilon", "gdp_mu", "mu_for", "noise_for", "plan_cost", "plan_event", "sampler_distance",
    "skellam_rdp", "skellam_variance",
]

GAUSSIAN_SHARE = 0.85  # of δ: events that are Gaussian
RENYI_SHARE = 0.05  # of δ: kept for scopes in which some event is not
EXTRAS_SHARE = 0.10  # of δ: distances and tails of samplers, and key selection
BRIDGE_SHARE = 1e-3  # of ε: Skellam standing in for a rounded Gaussian
BRIDGE_FACTOR = 5e-3  # the same, as the logarithm of a factor on δ
EXACT_DISTANCE = 2.0**-128  # noise whose rounding is decided by up to 256 bits
MOST_SITES = 64  # whose shares of Skellam noise are charged for their distances


@dataclass(frozen=True, slots=True)
class Cost:
    """What one plan takes from its scope.

    Args:
        event: what the accountant is told.
        mu_squared: Σ μ² of the event, or ``None`` if not all of it is Gaussian.
        samples: in how many noise samples neighbours may differ.
        sampler_distance: Σ of the total-variation distances between what is drawn and the distributions the event names.
        bridge_shift: how much larger a privacy loss with Skellam noise can be than with the rounded Gaussian that stands for it.
        bridge_factor: logarithm of how much likelier Skellam noise can make anything.
        bridge_tail: Σ of the probabilities outside the range where these hold.
        selection_delta: δ of choosing keys above a threshold.
    """

    event: Any
    mu_squared: float | None
    samples: int = 0
    sampler_distance: float = 0.0
    bridge_shift: float = 0.0
    bridge_factor: float = 0.0
    bridge_tail: float = 0.0
    selection_delta: float = 0.0

    def __post_init__(self) -> None:
        for name in ("sampler_distance", "bridge_shift", "bridge_factor", "bridge_tail", "selection_delta"):
            if not getattr(self, name) >= 0:
                raise UsageError(f"Expected {name}={getattr(self, name)} >= 0.")

    @classmethod
    def nothing(cls) -> Cost:
        """What is not asked costs nothing."""
        return cls(dp_accounting.NoOpDpEvent(), 0.0)

    def delta(self, epsilon: float, *, bridged: bool = True) -> float:
        """The δ beside the event's own: (1 + e^ε) · distance + selection.

        If M is within total variation d of M' on both of two neighbours and M' is (ε, δ)-DP, then
        P[M(D) in S] <= e^ε P[M(D') in S] + δ + (1 + e^ε) d. Where Skellam is accounted as itself (not ``bridged``), its tails are not charged.
        """
        distance = self.sampler_distance + (self.bridge_tail if bridged else 0.0)
        if distance == 0:
            return self.selection_delta
        return self.selection_delta + distance * (1 + math.exp(epsilon)) if epsilon < 700 else math.inf

    def to_dict(self) -> dict[str, Any]:
        """Plain form for a ledger entry; `from_dict` reverses it."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return {name: _finite(value) for name, value in fields.items()} | {"event": event_to_dict(self.event)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Cost:
        """The cost that `to_dict` described; μ² is computed anew from the event."""
        event = event_from_dict(data["event"])
        names = ("sampler_distance", "bridge_shift", "bridge_factor", "bridge_tail", "selection_delta")
        rest = {name: math.inf if data[name] is None else float(data[name]) for name in names}
        return cls(event, gaussian_mu_squared(event), int(data["samples"]), **rest)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and math.isinf(value) else value


def plan_event(plan: Plan) -> Any:
    """The `dp_accounting.DpEvent` of a whole plan.

    Raises:
        Refused: for a sampler or mechanism whose event is not known.
    """
    if plan.sampler != "full":
        raise Refused(f"unknown event: refuse. No accounting here for sampler {plan.sampler!r}; use 'full'.")
    return dp_accounting.ComposedDpEvent(
        [dp_accounting.SelfComposedDpEvent(_step_event(step, plan.mechanism), participations(step)) for step in plan.steps]
    )


def participations(step: PlanStep) -> int:
    """In how many answers one unit can take part: one per cycle."""
    return -(-step.repeats // step.sampler.cycle)


def _step_event(step: PlanStep, mechanism: str) -> Any:
    if mechanism == "gaussian":
        noise, sampler = dp_accounting.GaussianDpEvent(step.noise_multiplier), step.sampler
        if sampler.kind in ("full", "passes"):
            return noise
        if sampler.kind in ("poisson", "cyclic_poisson"):
            return dp_accounting.PoissonSampledDpEvent(sampler.rate, noise)
        if sampler.kind == "truncated_poisson":
            return dp_accounting.TruncatedSubsampledGaussianDpEvent(sampler.records, sampler.rate, sampler.cap, step.noise_multiplier)
    if mechanism == "laplace":
        # A vector's loss is no larger than that of one coordinate that moves by the whole L1 bound: docs/decisions/0011-log-statistics.md.
        return dp_accounting.LaplaceDpEvent(step.noise_multiplier)
    if mechanism == "skellam":
        # A finer grid than the least one only helps: the bound falls as shift and noise grow together.
        shared = SkellamDpEvent(float(_l1(step)), float(step.l2), skellam_variance(step.noise_multiplier * step.l2))
        return dp_accounting.PoissonSampledDpEvent(step.sampler.rate, shared) if is_sampled(step) else shared
    raise Refused(f"unknown event: refuse. No accounting here for mechanism {mechanism!r}; use 'gaussian', 'laplace' or 'skellam'.")


def plan_cost(plan: Plan) -> Cost:
    """What the plan takes: its event, and the samplers' part for every sample in which neighbours may differ."""
    event = plan_event(plan)
    bridges = [_bridge(step) for step in plan.steps] if plan.mechanism == "skellam" else []
    shift, factor, tail = (math.fsum(bridge[i] for bridge in bridges) for i in range(3))
    return Cost(
        event, gaussian_mu_squared(event), plan.samples, math.fsum(_sampled(step, plan.mechanism) for step in plan.steps), shift, factor, tail,
        plan.selection_delta,
    )


def _sampled(step: PlanStep, mechanism: str) -> float:
    if mechanism == "gaussian":
        return step.repeats * step.touched * (EXACT_DISTANCE if step.kind in LOCAL_KINDS else LARGEST_DISTANCE)
    if mechanism == "laplace":
        return step.repeats * step.touched * LAPLACE_DISTANCE
    return step.repeats * step.touched * sampler_distance(skellam_variance(step.noise_multiplier * step.l2))


def sampler_distance(variance: float) -> float:
    """What a sum of at most `MOST_SITES` shares of Skellam noise is away from Skellam(variance), however many sites there are.

    The bound on a share falls as its variance grows, so that it is taken at the smallest share, or at the smallest that is not drawn from a
    table (those are closer).
    """
    share = min(max(variance / MOST_SITES, math.nextafter(TABLE_VARIANCE, math.inf)), MAX_VARIANCE)
    return MOST_SITES * skellam_distance(share)


def _bridge(step: PlanStep) -> tuple[float, float, float]:
    """Shift, factor and tail of all answers of a step whose Skellam noise stands in for a rounded Gaussian."""
    variance, count = skellam_variance(step.noise_multiplier * step.l2), step.repeats * step.touched
    shift = step.repeats * _l1(step) * bridge_slope(variance, shift=1 / step.noise_multiplier)
    return shift, bridge_factor(count, variance), min(1.0, count * bridge_tail(variance) + math.exp(-CONCENTRATION))


def _l1(step: PlanStep) -> float:
    """L1 bound that follows from the L2 bound: by the number of coordinates, or because integers have l1 <= l2²."""
    return max(step.l2, min(math.sqrt(step.touched) * step.l2, step.l2**2))


def gaussian_part(budget: Budget) -> tuple[float, float]:
    """The (ε, δ) that Gaussian events may use up: what is left of the budget after the fixed shares of everything else.

    What is (ε, δ)-DP with Gaussian noise is (ε + shift, e^factor δ)-DP with the Skellam noise that stands for it, plus tails.
    """
    return budget.epsilon * (1 - BRIDGE_SHARE), GAUSSIAN_SHARE * budget.delta * math.exp(-BRIDGE_FACTOR)


def mu_for(budget: Budget, extras: Sequence[Cost] = ()) -> float:
    """The largest μ one scope's budget can buy with Gaussian or Skellam noise, rounded down; split μ² between the parts of a plan.

    Args:
        budget: of the scope.
        extras: plans whose samplers and selections have to fit beside it.

    Raises:
        UsageError: if they do not fit in their share, with what would help.
    """
    room, taken = EXTRAS_SHARE * budget.delta, math.fsum(cost.delta(budget.epsilon) for cost in extras)
    shift, factor = (math.fsum(getattr(cost, name) for cost in extras) for name in ("bridge_shift", "bridge_factor"))
    if shift > BRIDGE_SHARE * budget.epsilon or factor > BRIDGE_FACTOR:
        samples = sum(cost.samples for cost in extras)
        raise UsageError(f"Expected a finer grid (larger l2) for Skellam noise: {samples} samples are too coarse to be accounted as Gaussian.")
    if taken > room:
        raise UsageError(
            f"Expected delta of samplers and selection={taken:.3g} <= {room:.3g} ({EXTRAS_SHARE:.0%} of delta={budget.delta:g}). "
            "Ask fewer coordinates, take a smaller selection_delta, a smaller epsilon or a larger delta."
        )
    return gdp_mu(*gaussian_part(budget))
