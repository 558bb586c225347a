"""Who adds up the answers: one guard, or many. A learner cannot tell, except by asking."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

from tacit.errors import NeedsContext
from tacit.guarantee import Guarantee, PrivacyUnit, Relation, Scope, TrustModel
from tacit.guard.accounting import Cost, plan_cost
from tacit.guard.filters import Filter
from tacit.guard.guard import Guard
from tacit.guard.plan import Plan
from tacit.guard.session import Session
from tacit.questions import Frame, Question, Select, SelectKeys, Update
from tacit.questions.base import Sums


class Conversation(Protocol):
    """A charged plan being answered."""

    def ask(self, step: int, question: Question, *, model: tuple[Frame, Sequence[Update]] | None = None) -> Sums:
        """The noisy sum over all records; ``model`` is supplied to guards that have forgotten it."""
        ...

    def select(self, step: int, question: Select | SelectKeys) -> dict[str, tuple[str, ...]]:
        """The common values of some columns; one curator only."""
        ...

    @property
    def guarantee(self) -> Guarantee:
        """What everything released in this conversation guarantees, together with the noised count it used."""
        ...

    @property
    def charge(self) -> tuple[int, str]:
        """Sequence number and digest (hex) of the ledger entry that paid for it."""
        ...

    def close(self) -> None:
        """End it."""
        ...


class Aggregator(Protocol):
    """What a learner is driven by."""

    mechanism: str

    @property
    def noise(self) -> str:
        """Which noise a plan must have to be admitted: the mechanism's own, or «laplace» where nothing else is."""
        ...

    @property
    def unit(self) -> PrivacyUnit:
        """Who is protected."""
        ...

    @property
    def relation(self) -> Relation:
        """The neighbouring relation."""
        ...

    @property
    def rows_per_unit(self) -> int:
        """Public assumption on how many rows a unit has."""
        ...

    @property
    def count_cost(self) -> Cost:
        """What the noised count costs, once."""
        ...

    @property
    def counts_units(self) -> bool:
        """Whether `size` can be asked beside a plan; else the count is a step of it."""
        ...

    @property
    def accounting(self) -> Filter:
        """The filter that decides about plans."""
        ...

    @property
    def deterministic(self) -> bool:
        """Whether noise comes from a test seed."""
        ...

    def size(self) -> int:
        """The noised number of units."""
        ...

    def open(self, plan: Plan) -> Conversation:
        """Charge the whole plan, once, with everyone; or raise."""
        ...


def stated(plan: Plan, *, others: Sequence[Cost], rule: Filter, scope: Scope, trust: TrustModel, deterministic: bool) -> Guarantee:
    """The guarantee of one plan and what it was built on, at the policy's δ (where ε needs none: at their own); none under a test seed."""
    costs = [*(cost for cost in others if cost != Cost.nothing()), plan_cost(plan)]
    epsilon = math.inf if deterministic else rule.fixed_epsilon(costs)
    gaussian = all(cost.mu_squared is not None for cost in costs)
    exact = ("gdp" if gaussian else "pld") + (" over skellam" if plan.mechanism == "skellam" else "")
    exact = "sum of epsilon" if rule.kind == "pure" else exact
    accountant = "test seed" if deterministic else exact
    return Guarantee(epsilon, rule.stated_delta(costs), plan.unit, plan.relation, scope, trust, accountant)


def charge_of(guard: Guard) -> tuple[int, str]:
    """Sequence number and digest (hex) of the guard's last charge."""
    entry = guard.last_charge
    return (entry.sequence, entry.digest) if entry is not None else (0, "")


class Curator:
    """One guard that sees all records and adds all the noise."""

    mechanism = "gaussian"

    def __init__(self, guard: Guard) -> None:
        self.guard = guard

    @property
    def noise(self) -> str:
        """Which noise a plan must have: the policy's filter decides."""
        return "laplace" if self.guard.policy.filter == "pure" else self.mechanism

    @property
    def unit(self) -> PrivacyUnit:
        """Who is protected."""
        return self.guard.policy.unit

    @property
    def relation(self) -> Relation:
        """The neighbouring relation."""
        return self.guard.policy.relation

    @property
    def rows_per_unit(self) -> int:
        """Public assumption on how many rows a unit has."""
        return self.guard.policy.rows_per_unit

    @property
    def count_cost(self) -> Cost:
        """What the noised count costs, once."""
        return self.guard.count_cost

    @property
    def counts_units(self) -> bool:
        """Whether `size` can be asked beside a plan."""
        return self.guard.policy.counts_units

    @property
    def accounting(self) -> Filter:
        """The filter that decides about plans."""
        return self.guard.policy.accounting

    @property
    def deterministic(self) -> bool:
        """Whether noise comes from a test seed."""
        return self.guard.deterministic

    @property
    def _others(self) -> list[Cost]:
        return [self.count_cost] if self.guard.policy.counts_units else []

    def size(self) -> int:
        """The noised number of units."""
        return self.guard.size()

    def open(self, plan: Plan) -> CuratorConversation:
        """Charge the whole plan, or raise."""
        return CuratorConversation(self.guard, plan, self.guard.open(plan), others=self._others)


class CuratorConversation:
    """A conversation with one guard."""

    def __init__(self, guard: Guard, plan: Plan, session: Session, *, others: Sequence[Cost]) -> None:
        self._guard, self._plan, self._session, self._others = guard, plan, session, others
        self._charge = charge_of(guard)

    def ask(self, step: int, question: Question, *, model: tuple[Frame, Sequence[Update]] | None = None) -> Sums:
        """The noisy sum."""
        return answer_with(self._session, step, question, model=model)

    def select(self, step: int, question: Select | SelectKeys) -> dict[str, tuple[str, ...]]:
        """The common values of some columns."""
        return self._session.select(step, question)

    @property
    def guard(self) -> Guard:
        """Whose records they are."""
        return self._guard

    @property
    def plan(self) -> Plan:
        """What was charged."""
        return self._plan

    @property
    def session(self) -> Session:
        """The charged session: networks take their steps from it."""
        return self._session

    @property
    def guarantee(self) -> Guarantee:
        """See `Conversation`."""
        return stated(
            self._plan, others=self._others, rule=self._guard.policy.accounting, scope=self._guard.scope, trust=TrustModel.curator(),
            deterministic=self._guard.deterministic,
        )

    @property
    def charge(self) -> tuple[int, str]:
        """See `Conversation`."""
        return self._charge

    def close(self) -> None:
        """End the session."""
        self._session.close()


def answer_with(session: Session, step: int, question: Question, *, model: tuple[Frame, Sequence[Update]] | None) -> Sums:
    """Ask a session, supplying the public model once if it has forgotten."""
    try:
        return session.answer(step, question)
    except NeedsContext:
        if model is None:
            raise
        session.supply(*model)
        return session.answer(step, question)
