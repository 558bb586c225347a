"""From requests to released tables: one plan, charged once, then one conversation."""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tacit.errors import UsageError
from tacit.guarantee import Budget, Guarantee
from tacit.guard import Aggregator, Conversation, Plan, PlanStep, gdp_epsilon, mu_for, plan_cost
from tacit.guard.events import pure_epsilon
from tacit.guard.windows import UNIT_WINDOWS
from tacit.learn.driver import Steps, converse
from tacit.learn.training import evidence_of, provenance_of
from tacit.logs.stats.requests import Calendar, Request
from tacit.logs.stats.stages import Answered, Stage
from tacit.logs.stats.tables import Table, table_of
from tacit.models import Provenance
from tacit.questions import GRID, SelectKeys, Tally, TimeAxis

MONTH = 30
SELECTION_DELTA_SHARE = {"laplace": 0.02, "gaussian": 0.002}
"""Of the budget's δ, for the selections of one plan; Laplace noise leaves all of δ to them."""

_ROUNDING = 1 + 1e-12
_DAY = 86_400
_SECONDS = {"hour": 3_600, "day": _DAY, "week": _DAY, "month": _DAY}


@dataclass(frozen=True)
class Terms:
    """What a release may cost, and what it counts. Public.

    Args:
        budget: what all requests together may cost, with the noised number of units where the policy asks for one.
        calendar: the time that is counted, by every request; needed for bins of time.
        nonnegative: whether negative counts are set to zero afterwards, which makes small counts too large on average.
        purpose: what a person reads in the ledger.
        run: public name of the run; drawn afresh if ``None``.
    """

    budget: Budget
    calendar: Calendar | None = None
    nonnegative: bool = False
    purpose: str = "statistics of a log"
    run: str | None = None


@dataclass(frozen=True)
class Release:
    """Released tables, and what they promise together.

    Args:
        tables: in the order of the requests.
        guarantee: of all of them, for one privacy unit.
        epsilon_30: ε for 30 units of one person, such as their days of a month, at the same δ; ``None`` where units have no window, noise is
            shared by sites, or keys were selected (a key that one person alone has on 30 days may well be selected).
        provenance: the plan and the ledger's entry that paid.
        evidence: what was tested before the charge.
    """

    tables: tuple[Table, ...]
    guarantee: Guarantee
    epsilon_30: float | None
    provenance: Provenance
    evidence: tuple[dict[str, Any], ...]


def release(requests: Sequence[Request], aggregator: Aggregator, terms: Terms) -> Release:
    """Noisy tables of everything requested, for one charge.

    The noise follows from the policy: Laplace under ``filter = "pure"``, so that ε needs no δ; Gaussian, or shared by several sites, else.

    Raises:
        UsageError: for what cannot be asked; nothing is charged then.
        Refused: if the plan is refused; nothing is charged for it.
        DataError: if the records lack a column; ask them before, because the plan is charged by then.
    """
    stages = _stages(requests, aggregator, terms)
    plan = _planned(stages, aggregator, terms)
    conversation = aggregator.open(plan)

    def steps() -> Steps[list[Answered]]:
        first, found = 0, []
        for stage in stages:
            answered = yield from stage.run(plan, first)
            found.append(answered)
            first += len(stage.asked())
        return found

    try:
        answered = converse(steps(), conversation)
        tables = tuple(table_of(one, terms.nonnegative) for one in answered)
        return _released(tables, plan, conversation, aggregator)
    finally:
        conversation.close()


def _released(tables: tuple[Table, ...], plan: Plan, conversation: Conversation, aggregator: Aggregator) -> Release:
    guarantee = conversation.guarantee
    month = _month(tables, plan, guarantee, aggregator)
    return Release(tables, guarantee, month, provenance_of(plan, conversation, aggregator), evidence_of(aggregator, plan.mechanism))


def _stages(requests: Sequence[Request], aggregator: Aggregator, terms: Terms) -> list[Stage]:
    if not requests:
        raise UsageError("Expected at least one request; there is nothing to release.")
    names = [request.name for request in requests]
    if len(set(names)) != len(names):
        raise UsageError(f"Expected a name of its own for every table; got {', '.join(names)}.")
    return [Stage(request, terms.calendar, aggregator.noise, aggregator.unit) for request in requests]


def _planned(stages: Sequence[Stage], aggregator: Aggregator, terms: Terms) -> Plan:
    """All steps of all requests, whose cost with the noised count is the budget.

    Raises:
        UsageError: if the noised count takes more than half of it, or samplers and selection do not fit.
    """
    pure, counted = aggregator.noise == "laplace", aggregator.count_cost
    whole = terms.budget.epsilon if pure else mu_for(terms.budget) ** 2
    taken = pure_epsilon(counted.event) if pure else counted.mu_squared or 0.0
    if taken > whole / 2:
        raise UsageError(
            f"Expected a budget well above the cost of the noised count; epsilon={terms.budget.epsilon} is not. Raise it, or lower [privacy] "
            "count_share."
        )
    total = math.fsum(stage.request.share for stage in stages)
    steps = [
        _step(asked, (whole - taken) * asked.share * stage.request.share / total, aggregator) for stage in stages for asked in stage.asked()
    ]
    selects = any(step.kind == SelectKeys.kind for step in steps)
    plan = Plan(
        terms.purpose, aggregator.unit, aggregator.relation, tuple(steps), mechanism=aggregator.noise,
        selection_delta=SELECTION_DELTA_SHARE[aggregator.noise] * terms.budget.delta if selects else 0.0, run=terms.run or secrets.token_hex(16),
    )
    if not pure:
        mu_for(terms.budget, [counted, plan_cost(plan)])  # raises where samplers and selection do not fit beside the noise
    return plan


def _step(asked: Any, amount: float, aggregator: Aggregator) -> PlanStep:
    """The step that a part of ε (Laplace noise) or of μ² buys."""
    multiplier = _ROUNDING / amount if aggregator.noise == "laplace" else _ROUNDING / math.sqrt(amount)
    touched = min(asked.touched * aggregator.relation.factor, asked.cells)
    return PlanStep(asked.kind, 1, multiplier, asked.cells, l0=touched, l2=GRID)


def _month(tables: Sequence[Table], plan: Plan, guarantee: Guarantee, aggregator: Aggregator) -> float | None:
    """ε of 30 units in one release, for the group of them.

    Laplace noise: 30 ε. Gaussian noise: μ is 30 times as large where units can add to the same cells, √30 times where bins of time keep them apart.
    """
    if plan.unit.window is None or plan.selection_delta or plan.mechanism == "skellam" or not guarantee.holds:
        return None
    if plan.mechanism == "laplace":
        return MONTH * guarantee.epsilon
    apart = {index for index, table in enumerate(tables) if _keeps_apart(table, plan.unit.window)}
    squares, table = [MONTH**2 * (aggregator.count_cost.mu_squared or 0.0)], 0
    for step in plan.steps:
        counts = step.kind == Tally.kind
        squares.append((MONTH if counts and table in apart else MONTH**2) / step.noise_multiplier**2)
        table += counts or step.kind == "distinct@1"
    return gdp_epsilon(math.sqrt(math.fsum(squares)), guarantee.delta)


def _keeps_apart(table: Table, window: str) -> bool:
    """Whether no cell can hold rows of two windows of one person: bins of time that lie inside the window."""
    axes = [] if table.answered.question is None else list(table.answered.question.grid.axes)
    length = _SECONDS[window] if window in UNIT_WINDOWS else 1
    return any(isinstance(axis, TimeAxis) and length % axis.width == 0 and axis.begin % axis.width == 0 for axis in axes)
