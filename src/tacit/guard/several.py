"""What all aggregators of several guards in one process have in common: policies that agree, and all or nothing when a plan is opened."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from tacit.errors import Refused, UsageError
from tacit.guarantee import PrivacyUnit, Relation
from tacit.guard.accounting import MOST_SITES, Cost
from tacit.guard.aggregate import charge_of
from tacit.guard.filters import Filter
from tacit.guard.guard import Guard
from tacit.guard.plan import Plan
from tacit.guard.session import Session


class SeveralGuards:
    """Guards whose noise adds up.

    Args:
        guards: at least two, about different records, with policies that agree on unit, relation, rows per unit and budget's δ.

    Raises:
        UsageError: if there are fewer than two, more than 64, or their policies disagree.
    """

    mechanism = "skellam"

    def __init__(self, guards: Sequence[Guard]) -> None:
        if not 2 <= len(guards) <= MOST_SITES:
            raise UsageError(
                f"Expected 2 to {MOST_SITES} guards, for whose shares of noise the accountant charges; got {len(guards)}. For one, use Curator."
            )
        terms = {(g.policy.unit, g.policy.relation, g.policy.rows_per_unit, g.policy.budget.delta) for g in guards}
        if len(terms) != 1:
            raise UsageError("Expected policies that agree on unit, relation, rows per unit and delta; these do not. Align them first.")
        self.guards = tuple(guards)

    @property
    def noise(self) -> str:
        """Which noise a plan must have."""
        return self.mechanism

    @property
    def unit(self) -> PrivacyUnit:
        """Who is protected: a unit at one site."""
        return self.guards[0].policy.unit

    @property
    def relation(self) -> Relation:
        """The neighbouring relation."""
        return self.guards[0].policy.relation

    @property
    def rows_per_unit(self) -> int:
        """Public assumption on how many rows a unit has."""
        return self.guards[0].policy.rows_per_unit

    @property
    def count_cost(self) -> Cost:
        """The dearest of the guards' noised counts: one unit lies at one site."""
        return max((guard.count_cost for guard in self.guards), key=lambda cost: cost.mu_squared or 0.0)

    @property
    def counts_units(self) -> bool:
        """Whether `size` can be asked beside a plan."""
        return all(guard.policy.counts_units for guard in self.guards)

    @property
    def accounting(self) -> Filter:
        """The filter that decides about plans: the first guard's. One that keeps its budget otherwise refuses before anything is charged."""
        return self.guards[0].policy.accounting

    @property
    def deterministic(self) -> bool:
        """Whether any guard's noise comes from a test seed."""
        return any(guard.deterministic for guard in self.guards)

    def size(self) -> int:
        """The sum of the guards' noised counts."""
        return sum(guard.size() for guard in self.guards)

    def require(self, plan: Plan) -> None:
        """Ask all guards whether they would refuse; nothing is charged.

        Raises:
            Refused: what the first guard that refuses says, after all have been asked.
        """
        refusals: list[Refused] = []
        for guard in self.guards:
            try:
                guard.require(plan)
            except Refused as refusal:
                refusals.append(refusal)
        if refusals:
            raise refusals[0]

    def opened(self, plan: Plan, share: Fraction) -> tuple[list[Session], tuple[int, str]]:
        """Charge the whole plan with every guard, after all of them have been asked whether they would refuse.

        If one refuses all the same, because something else was charged meanwhile, those before it stay charged and nothing is answered.

        Returns a session for each, and the first guard's entry.

        Raises:
            Refused: what the first guard that refuses says; nothing is charged then.
        """
        self.require(plan)
        return [guard.open(plan, share=share) for guard in self.guards], charge_of(self.guards[0])
