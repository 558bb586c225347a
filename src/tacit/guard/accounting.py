"""What a plan costs: its event, μ², and what integer samplers and key selection take beside it.

ε and δ are split once, before anything is seen, into a part for the noise and parts for the rest. Trading them against each other while
plans are chosen after seeing answers would not be covered by the composition theorems that the filter stands on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import dp_accounting

from tacit.errors import Refused, UsageError
from tacit.guarantee import Budget
from tacit.guard.events import SkellamDpEvent, event_from_dict, event_to_dict, gaussian_mu_squared
from tacit.guard.gdp import gdp_delta, gdp_epsilon, gdp_mu
from tacit.guard.plan import Plan, PlanStep
from tacit.guard.skellam import bridge_ratio, bridge_tail, skellam_rdp, skellam_variance
from tacit.guard.subsampling import Accounted, epsilon_for, noise_for

__all__ = [
    "EXTRAS_SHARE", "GAUSSIAN_SHARE", "RENYI_SHARE", "SAMPLER_DISTANCE", "Accounted", "Cost", "epsilon_for", "gaussian_part", "gdp_delta",
    "gdp_epsilon",
    "gdp_mu", "mu_for", "noise_for", "plan_cost", "plan_event", "skellam_rdp", "skellam_variance",
]

GAUSSIAN_SHARE = 0.85  # of δ: events that are Gaussian
RENYI_SHARE = 0.05  # of δ: kept for scopes in which some event is not
EXTRAS_SHARE = 0.10  # of δ: distances and tails of samplers, and key selection
BRIDGE_SHARE = 1e-3  # of ε: Skellam standing in for a rounded Gaussian
SAMPLER_DISTANCE = {"gaussian": 2.0**-50, "skellam": 2.0**-47}  # what `tacit.randomness` promises per sample, whatever the width


@dataclass(frozen=True, slots=True)
class Cost:
    """What one plan takes from its scope.

    Args:
        event: what the accountant is told.
        mu_squared: Σ μ² of the event, or ``None`` if not all of it is Gaussian.
        samples: in how many noise samples neighbours may differ.
        sampler_distance: Σ of the total-variation distances between what is drawn and the distributions the event names.
        bridge_ratio: Σ of |log(p/q)| between Skellam and the rounded Gaussian that stands for it in ``mu_squared``.
        bridge_tail: Σ of the probabilities outside the range where that ratio holds.
        selection_delta: δ of choosing keys above a threshold.
    """

    event: Any
    mu_squared: float | None
    samples: int = 0
    sampler_distance: float = 0.0
    bridge_ratio: float = 0.0
    bridge_tail: float = 0.0
    selection_delta: float = 0.0

    def __post_init__(self) -> None:
        for name in ("sampler_distance", "bridge_ratio", "bridge_tail", "selection_delta"):
            if not getattr(self, name) >= 0:
                raise UsageError(f"Expected {name}={getattr(self, name)} >= 0.")

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
        names = ("sampler_distance", "bridge_ratio", "bridge_tail", "selection_delta")
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
    return dp_accounting.ComposedDpEvent([dp_accounting.SelfComposedDpEvent(_step_event(step, plan.mechanism), step.repeats) for step in plan.steps])


def _step_event(step: PlanStep, mechanism: str) -> Any:
    if mechanism == "gaussian":
        return dp_accounting.GaussianDpEvent(step.noise_multiplier)
    if mechanism == "skellam":
        # A finer grid than the least one only helps: integers have l1 <= l2², and the bound falls as both grow with the noise.
        l1 = max(step.l2, min(math.sqrt(step.touched) * step.l2, step.l2**2))
        return SkellamDpEvent(float(l1), float(step.l2), skellam_variance(step.noise_multiplier * step.l2))
    raise Refused(f"unknown event: refuse. No accounting here for mechanism {mechanism!r}; use 'gaussian' or 'skellam'.")


def plan_cost(plan: Plan) -> Cost:
    """What the plan takes: its event, and the samplers' part for every sample in which neighbours may differ."""
    event = plan_event(plan)
    parts = [_sampler_cost(plan.mechanism, step.noise_multiplier * step.l2, step.repeats * step.touched) for step in plan.steps]
    distance, ratio, tail = (math.fsum(part[i] for part in parts) for i in range(3))
    return Cost(event, gaussian_mu_squared(event), plan.samples, distance, ratio, tail, plan.selection_delta)


def _sampler_cost(mechanism: str, sigma: float, count: int) -> tuple[float, float, float]:
    distance = count * SAMPLER_DISTANCE[mechanism]
    if mechanism == "gaussian":
        return distance, 0.0, 0.0
    variance = skellam_variance(sigma)
    return distance, count * bridge_ratio(variance), count * bridge_tail(variance)


def gaussian_part(budget: Budget) -> tuple[float, float]:
    """The (ε, δ) that Gaussian events may use up: what is left of the budget after the fixed shares of everything else.

    With Σ|log(p/q)| = η a mechanism that is (ε, δ)-DP with Gaussian noise is (ε + 2η, e^η δ)-DP with Skellam noise, plus tails.
    """
    return budget.epsilon * (1 - BRIDGE_SHARE), GAUSSIAN_SHARE * budget.delta * math.exp(-budget.epsilon * BRIDGE_SHARE / 2)


def mu_for(budget: Budget, *, samples: int = 0, mechanism: str = "gaussian", selection_delta: float = 0.0, sigma: float | None = None) -> float:
    """The largest μ one scope's budget can buy with Gaussian or Skellam noise, rounded down; split μ² between the parts of a plan.

    Args:
        budget: of the scope.
        samples: in how many noise samples neighbours may differ (``Plan.samples``).
        mechanism: ``"gaussian"`` or ``"skellam"``.
        selection_delta: δ of key selection.
        sigma: the least standard deviation of the noise in grid integers; needed to check ``"skellam"`` noise.

    Raises:
        UsageError: if samplers and selection do not fit in their share, with what would help.
    """
    known = mechanism == "gaussian" or sigma is not None
    distance, ratio, tail = _sampler_cost(mechanism, sigma or 0.0, samples) if known and samples else (0.0, 0.0, 0.0)
    extras = Cost(None, None, samples, distance, ratio, tail, selection_delta)
    room = EXTRAS_SHARE * budget.delta
    if extras.delta(budget.epsilon) > room:
        raise UsageError(
            f"Expected delta of samplers and selection={extras.delta(budget.epsilon):.3g} <= {room:.3g} ({EXTRAS_SHARE:.0%} of "
            f"delta={budget.delta:g}). Ask fewer coordinates, take a smaller selection_delta, a smaller epsilon or a larger delta."
        )
    if 2 * ratio > BRIDGE_SHARE * budget.epsilon:
        raise UsageError(f"Expected a finer grid (larger l2) for Skellam noise: {samples} samples of sigma={sigma:g} are too coarse.")
    return gdp_mu(*gaussian_part(budget))
