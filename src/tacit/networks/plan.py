"""One frozen plan for a training run: sampler, clipping, noise and what is charged cannot be changed apart from each other."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from tacit.errors import UsageError
from tacit.guarantee import Budget, PrivacyUnit, Relation
from tacit.guard import Correlation, Cost, Filter, Plan, PlanStep, Sampler, least_noise, plan_cost

KIND = "network@1"
_LARGEST = 1 << 31
_FINE = 2e-4


@dataclass(frozen=True, slots=True)
class AdaptiveClip:
    """A clipping bound that follows a quantile of the gradient norms (Andrew et al. 2021, arXiv:1905.03871).

    Each answer also counts, with noise, how many units stay within the bound; the bound is then multiplied by exp(-rate · (share - quantile)).

    Args:
        quantile: share of the units that are to stay within the bound.
        rate: how fast it follows.
        noise: standard deviation of the count; a twentieth of the expected batch if ``None``.

    Guarantees:
        Gradient sum (over the bound: sensitivity 1) and count of ±1/2 (sensitivity 1/2) are one Gaussian answer of the planned multiplier z: 1/z² =
        1/z_g² + 1/(2 noise)², where z_g is what is left for the gradient. So it costs no more than a fixed bound, and a little accuracy.
    """

    quantile: float = 0.5
    rate: float = 0.2
    noise: float | None = None

    def __post_init__(self) -> None:
        if not (0 < self.quantile < 1 and 0 < self.rate < 10 and (self.noise is None or 0 < self.noise < math.inf)):
            raise UsageError(f"Expected 0 < quantile={self.quantile} < 1, 0 < rate={self.rate} < 10 and noise={self.noise} > 0.")

    def count_noise(self, expected_batch: int) -> float:
        """Standard deviation of the count's noise."""
        return expected_batch / 20 if self.noise is None else self.noise

    def gradient_multiplier(self, multiplier: float, expected_batch: int) -> float:
        """What is left for the gradient of a whole answer's noise multiplier.

        >>> round(AdaptiveClip(noise=10.0).gradient_multiplier(1.0, 100), 4)
        1.0013

        Raises:
            UsageError: if the count alone takes more than the answer has.
        """
        left = multiplier**-2 - (2 * self.count_noise(expected_batch)) ** -2
        if left <= 0:
            least = multiplier / 2
            got = self.count_noise(expected_batch)
            raise UsageError(f"Expected a count noise above {least:.3g}, half the noise multiplier; got {got:.3g}. Raise it.")
        return float(left**-0.5)


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """How a network is trained, fixed and public before any record is seen.

    Args:
        budget: what the run may cost.
        steps: answers, one per optimiser step.
        sampler: who takes part in each.
        expected_batch: the public number that sums are divided by; never counted in the data.
        noise_multiplier: σ over the clipping bound (and over `Correlation.sensitivity`).
        clip: the largest gradient norm of a unit.
        correlation: of the noise; ``None`` for independent noise.
        adaptive: lets the clipping bound follow a quantile, beginning at ``clip``; ``None`` for a fixed bound.
        unit: who is protected.
        rows_per_unit: rows that every unit has in the data, padding included.
        relation: the neighbouring relation.
        run: public name of the run; two runs are two charges.

    >>> plan = TrainingPlan.for_budget(Budget(3.0, 1e-5), units=10_000, batch=250, steps=100)
    >>> plan.expected_batch, round(plan.sampler.rate, 3), 0.5 < plan.noise_multiplier < 2
    (250, 0.025, True)
    """

    budget: Budget
    steps: int
    sampler: Sampler
    expected_batch: int
    noise_multiplier: float
    clip: float = 1.0
    correlation: Correlation | None = None
    adaptive: AdaptiveClip | None = None
    unit: PrivacyUnit = field(default_factory=PrivacyUnit)
    rows_per_unit: int = 1
    relation: Relation = Relation.ADD_REMOVE
    run: str = field(default_factory=lambda: secrets.token_hex(16))

    def __post_init__(self) -> None:
        for name in ("steps", "expected_batch", "rows_per_unit"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise UsageError(f"Expected {name}={value!r} to be an integer >= 1, chosen beforehand and not counted in the data.")
        if not 0 < self.clip < math.inf:
            raise UsageError(f"Expected clip={self.clip} > 0 and finite; 1.0 is a common choice.")
        if self.adaptive is not None and self.correlation is not None:
            raise UsageError("Expected a fixed clipping bound with correlated noise: its answers must have one scale. Leave adaptive out.")
        self.charged(1)  # raises for what does not go together

    @classmethod
    def for_budget(
        cls, budget: Budget, *, units: int, batch: int, steps: int, noise: str = "independent", **rest: object,
    ) -> TrainingPlan:
        """The plan with the least noise that the budget allows.

        Args:
            budget: what the run may cost.
            units: about how many units there are, as a public number: a declaration or a noised count. It sets the sampling rate, and does not have
                to be exact; what is guaranteed does not depend on it, except with ``truncated=True``, where it is the public true number.
            batch: the expected batch.
            steps: optimiser steps.
            noise: ``"independent"``, ``"banded"`` (as many bands as help most), ``"banded:8"``, or ``"tree"``.
            rest: ``clip``, ``adaptive``, ``unit``, ``rows_per_unit``, ``relation``, ``run``; ``truncated=True`` for fixed shapes under zero-out.

        Raises:
            UsageError: for parameters out of range.
        """
        truncated = bool(rest.pop("truncated", False))
        if not 0 < batch <= units:
            raise UsageError(f"Expected 0 < batch={batch} <= units={units}.")
        given = {"budget": budget, "steps": steps, "expected_batch": batch, "noise_multiplier": 1.0} | rest
        share = batch / units

        def shaped(bands: int) -> TrainingPlan:
            if bands > 1:
                sampler, correlation = Sampler.cyclic(min(1.0, share * bands), cycle=bands), Correlation.banded(bands, steps)
                return cls(sampler=sampler, correlation=correlation, **given)  # type: ignore[arg-type]
            sampler = Sampler.truncated(share, records=units) if truncated else Sampler.poisson(share)
            return cls(sampler=sampler, **given)  # type: ignore[arg-type]

        if noise == "tree":
            length = min(steps, math.ceil(units / batch))
            tree = cls(sampler=Sampler.passes(length), correlation=Correlation.tree(length, steps=steps), **given)  # type: ignore[arg-type]
            return tree.calibrated()
        bands = _bands(noise, steps, share, shaped)
        return shaped(bands).calibrated()

    def charged(self, coordinates: int) -> Plan:
        """What the ledger is asked to charge, for a model of so many parameters."""
        step = PlanStep(KIND, self.steps, self.noise_multiplier, coordinates, sampler=self.sampler, correlation=self.correlation)
        return Plan("train a network", self.unit, self.relation, (step,), run=self.run)

    def calibrated(self, *, precision: float = _FINE) -> TrainingPlan:
        """The same plan with the least noise multiplier that fits the budget, to ``precision`` of itself, rounded up."""

        def costs(noise: float) -> list[Cost]:
            return [plan_cost(replace(self, noise_multiplier=noise).charged(_LARGEST))]

        return replace(self, noise_multiplier=least_noise(costs, self.rule, precision))

    @property
    def rule(self) -> Filter:
        """The filter that admits this plan and no other."""
        return Filter(self.budget, self.relation, "single")

    @property
    def epsilon(self) -> float:
        """What the plan costs at the budget's δ."""
        return self.rule.epsilon([plan_cost(self.charged(_LARGEST))])


def _bands(noise: str, steps: int, share: float, shaped: Callable[[int], TrainingPlan]) -> int:
    if noise == "independent":
        return 1
    name, _, number = noise.partition(":")
    if name != "banded" or (number and not number.isdigit()):
        raise UsageError(f"Expected noise={noise!r} to be independent, banded, banded:N or tree.")
    if number:
        return int(number)
    tried: dict[int, float] = {}
    for bands in (1, 2, 4, 8, 16, 32):
        if bands > steps or bands * share > 1:
            break
        plan = shaped(bands).calibrated(precision=2e-2)
        tried[bands] = Correlation.banded(bands, steps).error * plan.noise_multiplier
        if bands > 1 and tried[bands] > tried[bands // 2]:
            break
    return min(tried, key=lambda b: tried[b])
