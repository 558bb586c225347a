"""How a training budget is split over its questions, as one plan that is fixed before any record is seen.

Shares are of μ², because Gaussian answers compose by adding it (Dong, Roth & Su 2022, corollary 3.3).
"""

from __future__ import annotations

import math
import secrets
from dataclasses import dataclass

from tacit.errors import UsageError
from tacit.guarantee import Budget
from tacit.guard import Aggregator, Plan, PlanStep, mu_for, plan_cost
from tacit.questions import GRID, CellSums, DenseGradient, Histogram, LinearGradient, Moments, Profile, Select

PROFILE_SHARE = 0.02
SELECT_SHARE = 0.02
HISTOGRAM_SHARE = 0.03
SELECTION_DELTA_SHARE = 0.01
MOST_CODES = 6_000
MOST_SELECTED = 32


@dataclass(frozen=True)
class Outlay:
    """One kind of step before noise is known: its share of μ² and the size of its answers."""

    kind: str
    repeats: int
    share: float
    cells: int
    l0: int
    l2: int


def preparation(*, undeclared: int, binned: int) -> list[Outlay]:
    """The steps that find a domain and bins: a profile and a selection of undeclared columns, a histogram of binned ones."""
    steps = []
    if undeclared:
        steps.append(Outlay(Profile.kind, 1, PROFILE_SHARE, Profile.PER_COLUMN * undeclared, undeclared, GRID))
        steps.append(Outlay(Select.kind, 1, SELECT_SHARE, 1 << 30, undeclared, GRID))
    if binned:
        steps.append(Outlay(Histogram.kind, 1, HISTOGRAM_SHARE, MOST_CODES * binned, binned, GRID))
    return steps


def with_rest(steps: list[Outlay], kind: str, *, repeats: int, cells: int, l0: int = 0, l2: int = GRID) -> list[Outlay]:
    """The steps, and equal shares of everything that is left for ``repeats`` answers of one more kind."""
    if kind not in (CellSums.kind, LinearGradient.kind, Moments.kind, DenseGradient.kind):
        raise UsageError(f"Expected a kind that learns; got «{kind}».")
    return [*steps, Outlay(kind, repeats, 1 - sum(step.share for step in steps), cells, l0, l2)]


def planned(steps: list[Outlay], *, budget: Budget, aggregator: Aggregator, purpose: str, run: str | None = None) -> Plan:
    """The plan whose cost, with the noised count, is the budget.

    Raises:
        UsageError: if the noised count alone takes more than half of it, or samplers and selection do not fit.
    """
    mu, counted = mu_for(budget), aggregator.count_cost.mu_squared or 0.0
    if counted > mu * mu / 2:
        raise UsageError(
            f"Expected a budget well above the cost of the noised count; epsilon={budget.epsilon} is not. Raise it, or lower [privacy] count_share."
        )
    plan = Plan(
        purpose, aggregator.unit, aggregator.relation, tuple(step_of(step, mu * mu - counted, aggregator) for step in steps),
        mechanism=aggregator.mechanism, selection_delta=selection_delta(steps, budget), run=run or secrets.token_hex(16),
    )
    mu_for(budget, [aggregator.count_cost, plan_cost(plan)])  # raises where samplers and selection do not fit beside the noise
    return plan


def selection_delta(steps: list[Outlay], budget: Budget) -> float:
    """What choosing keys takes of δ: nothing where no step does."""
    return SELECTION_DELTA_SHARE * budget.delta if any(step.kind == Select.kind for step in steps) else 0.0


def step_of(outlay: Outlay, mu_squared: float, aggregator: Aggregator) -> PlanStep:
    """The step that an outlay's share of μ² buys."""
    each = mu_squared * outlay.share / outlay.repeats
    one_row = aggregator.unit.is_record
    touched = outlay.l0 * aggregator.relation.factor if one_row else 0
    if outlay.kind == Select.kind:
        touched = outlay.l0 * aggregator.relation.factor * values_per_unit(aggregator)
    l2 = outlay.l2 if one_row or outlay.kind == Select.kind else unit_clip(aggregator, float(outlay.l2)) or outlay.l2
    return PlanStep(outlay.kind, outlay.repeats, 1 / math.sqrt(each), outlay.cells, l0=min(touched, outlay.cells), l2=l2)


def values_per_unit(aggregator: Aggregator) -> int:
    """How many values of one text column a unit may contribute to their selection."""
    return 1 if aggregator.unit.is_record else MOST_SELECTED


def unit_clip(aggregator: Aggregator, length: float) -> int | None:
    """Where to clip a unit's vector, if its rows have length at most ``length``: √rows times that, as if rows were unrelated."""
    if aggregator.unit.is_record:
        return None
    return math.ceil(length * math.sqrt(aggregator.rows_per_unit))
