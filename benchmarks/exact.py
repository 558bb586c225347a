"""An aggregator without noise and clipping, so that a learner can be compared with itself without privacy. For benchmarks alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from tacit.errors import OffPlan
from tacit.guarantee import Budget, Guarantee, PrivacyUnit, Relation, Scope, TrustModel
from tacit.guard import Cost, Plan, PlanStep, Records, plan_cost
from tacit.learn import BoostingShape, LearnSpec, fit_boosted, spending, training
from tacit.models import AdditiveModel
from tacit.questions import GRID, Frame, Question, Select, SessionCache, UnitCount, Update
from tacit.questions.base import Sums

PLENTY = Budget(20.0, 1e-5)
"""More than anyone would spend; what noise the plan still announces is taken out of it."""


def fit_exactly(spec: LearnSpec, records: Records, shape: BoostingShape | None = None) -> AdditiveModel:
    """Boosting without noise: it is told that there is none, so that it does not damp its steps either."""

    def silent(*arguments: Any, **options: Any) -> Plan:
        plan = spending.planned(*arguments, **options)
        return replace(plan, steps=tuple(replace(step, noise_multiplier=step.noise_multiplier * 1e-6) for step in plan.steps))

    with patch.object(training, "planned", silent):
        return fit_boosted(replace(spec, budget=PLENTY), Exact(records), shape)


class Exact:
    """Answers every question about records, each a unit of its own, exactly. Nothing it says is private."""

    mechanism, unit, relation, rows_per_unit, deterministic = "gaussian", PrivacyUnit(), Relation.ADD_REMOVE, 1, True

    def __init__(self, records: Records) -> None:
        self._records = records

    @property
    def count_cost(self) -> Cost:
        """Nothing to speak of."""
        return plan_cost(Plan("a count", self.unit, self.relation, (PlanStep(UnitCount.kind, 1, 1e6, 1),), run="exact"))

    def size(self) -> int:
        """The number of records."""
        return int(UnitCount().evaluate(self._records, SessionCache())[0]) // GRID

    def open(self, plan: Plan) -> ExactConversation:
        """Without a charge."""
        return ExactConversation(self._records)


class ExactConversation:
    """Questions and exact answers."""

    guarantee = Guarantee(float("inf"), 1e-5, PrivacyUnit(), Relation.ADD_REMOVE, Scope("exact"), TrustModel.curator(), "none")
    charge = (0, "")

    def __init__(self, records: Records) -> None:
        self._records, self._cache = records, SessionCache()

    def ask(self, step: int, question: Question, *, model: tuple[Frame, Sequence[Update]] | None = None) -> Sums:
        """The exact sum."""
        return question.evaluate(self._records, self._cache)

    def select(self, step: int, question: Select) -> dict[str, tuple[str, ...]]:
        """Not needed: domains are declared in benchmarks."""
        raise OffPlan("Expected a declared domain.")

    def close(self) -> None:
        """Nothing to end."""
