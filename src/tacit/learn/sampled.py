"""Plans whose learning steps are about samples, or that carry their own count: the least noise is looked for, because it is no formula."""

from __future__ import annotations

import math
import secrets

from tacit.guard import FULL, Aggregator, Filter, Plan, PlanStep, Sampler, least_noise, mu_for, plan_cost
from tacit.guard.accounting import BRIDGE_SHARE
from tacit.learn.driver import Steps
from tacit.learn.spending import Outlay, selection_delta, step_of
from tacit.learn.training import LearnSpec, Preparation
from tacit.questions import GRID, UnitCount

COUNT_SHARE = 0.005
"""Of μ²: a count that is a step of the plan."""
MOST_FINE = 10
_PRECISION = 2e-4


def sampled_plan(spec: LearnSpec, aggregator: Aggregator, outlays: list[Outlay], *, rate: float) -> tuple[Plan, int]:
    """The plan with the least noise in its last kind of step, each of which is about a Poisson sample of this rate, and how fine its answers are.

    Where the policies admit one plan only, it begins with the count of units.

    Args:
        spec: what to learn.
        aggregator: one guard, or many.
        outlays: the steps; all but the last kind take their share of μ², as if nothing were sampled.
        rate: the share of the units that one answer of the last kind is about, on average.

    Raises:
        UsageError: if no noise fits.
    """
    mu, mechanism, run = mu_for(spec.budget), aggregator.noise, spec.run or secrets.token_hex(16)
    rule = Filter(spec.budget, aggregator.relation, aggregator.accounting.kind)
    others = [aggregator.count_cost] if aggregator.counts_units else []
    count = PlanStep(UnitCount.kind, 1, 1 / (mu * math.sqrt(COUNT_SHARE)), 1, l0=1, l2=GRID)
    before = [*([] if aggregator.counts_units else [count]), *(step_of(outlay, mu * mu, aggregator) for outlay in outlays[:-1])]
    sampler, last = Sampler.poisson(rate) if rate < 1 else FULL, step_of(outlays[-1], mu * mu, aggregator)

    def whole(noise: float, fine: int) -> Plan:
        step = PlanStep(last.kind, last.repeats, noise, last.cells, l0=last.l0, l2=last.l2 << fine, sampler=sampler)
        return Plan(
            spec.purpose, aggregator.unit, aggregator.relation, (*before, step), mechanism=mechanism,
            selection_delta=selection_delta(outlays, spec.budget), run=run,
        )

    fine = next((bits for bits in range(MOST_FINE) if _negligible(whole(_about(rate, last.repeats, mu), bits), spec)), MOST_FINE)
    return whole(least_noise(lambda noise: [*others, plan_cost(whole(noise, fine))], rule, _PRECISION), fine), fine


def counted(preparation: Preparation) -> Steps[None]:
    """The first step of a plan that carries its own count: from then on the preparation knows it."""
    (answer,) = yield 0, UnitCount()
    preparation.size, preparation.next_step = max(0, round(int(answer) / GRID)), 1


def _about(rate: float, steps: int, mu: float) -> float:
    """About the least noise multiplier that so many sampled answers need, from below (Dong, Roth & Su 2022, Corollary 5.5)."""
    return max(0.5, rate * math.sqrt(steps) / mu)


def _negligible(plan: Plan, spec: LearnSpec) -> bool:
    """Whether what Skellam noise costs beside the Gaussian that stands for it is less than half of what a scope keeps for it."""
    return plan_cost(plan).bridge_shift <= BRIDGE_SHARE * spec.budget.epsilon / 2
