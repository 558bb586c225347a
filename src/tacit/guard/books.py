"""A ledger that lasts as long as the process: for one-off fits that have no ledger of their own."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from tacit.crypto import canonical_bytes
from tacit.errors import BudgetExceeded
from tacit.guarantee import Scope
from tacit.guard.accounting import Cost
from tacit.guard.approvals import Standing, entries_of, require_alike, require_approved
from tacit.guard.filters import Filter
from tacit.guard.plan import Plan


@dataclass(frozen=True)
class Note:
    """An entry of `MemoryBooks`."""

    sequence: int
    digest: str
    kind: str
    scope: Scope
    body: dict[str, Any]
    cost: Cost | None = None


@dataclass
class MemoryBooks:
    """Charges and evidence in memory, chained by digest. Nothing outlives the process: a fit that has to be proved needs a `Ledger`."""

    notes: list[Note] = field(default_factory=list)

    @property
    def head(self) -> str:
        """Digest of the last entry, hex; of nothing, all zeros."""
        return self.notes[-1].digest if self.notes else "0" * 64

    def charge(self, scope: Scope, *, plan: Plan, cost: Cost, rule: Filter, until: date | None = None, approval: bool = False) -> Note:
        """Append the charge, or refuse.

        Raises:
            BudgetExceeded: if the rule does not admit it.
            PolicyViolation: if the scope is charged for another unit or relation.
            Refused: with ``approval``, if the owner did not approve the plan, or it was charged since.
        """
        self.require_room(scope, plan=plan, cost=cost, rule=rule)
        if approval:
            require_approved(Standing.of(plan.digest, entries_of(self, scope)), plan, scope)
        body = {"plan": plan.to_dict(), "plan_digest": plan.digest, "cost": cost.to_dict(), "approval": approval}
        return self._append("charge", scope, body, cost)

    def require_room(self, scope: Scope, *, plan: Plan, cost: Cost, rule: Filter) -> None:
        """Raise what `charge` would raise for the budget."""
        require_alike(self.find("charge", scope), plan, scope)
        before = self.costs(scope)
        if not rule.admits([*before, cost]):
            raise BudgetExceeded(
                f"refused: this plan costs epsilon={rule.epsilon([cost]):.3g} on «{scope.dataset}»; {rule.left(before):.3g} is left. "
                "Lower the budget."
            )

    def record(self, kind: str, scope: Scope, body: dict[str, Any]) -> Note:
        """Append evidence."""
        return self._append(kind, scope, body, None)

    def _append(self, kind: str, scope: Scope, body: dict[str, Any], cost: Cost | None) -> Note:
        text = canonical_bytes({"previous": self.head, "kind": kind, "dataset": scope.dataset, "window": scope.window, "body": body})
        note = Note(len(self.notes) + 1, hashlib.sha256(text).hexdigest(), kind, scope, body, cost)
        self.notes.append(note)
        return note

    def find(self, kind: str, scope: Scope) -> list[Note]:
        """Entries of a kind in a scope, oldest first."""
        return [note for note in self.notes if note.kind == kind and note.scope == scope]

    def costs(self, scope: Scope) -> list[Cost]:
        """Everything charged to a scope."""
        return [note.cost for note in self.notes if note.scope == scope and note.cost is not None]
