"""What a charge asks of the entries before it, budget aside: the same unit and relation, and the owner's approval where plans wait for it.

A plan that waits is *proposed* in the ledger and *approved* there; one approval is good for one charge.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tacit.errors import PolicyViolation, Refused, UsageError
from tacit.guarantee import Scope
from tacit.guard.plan import Plan

PROPOSAL, APPROVAL, CHARGE = "proposal", "approval", "charge"
SHOWN = 16
_LEAST_PREFIX = 6


class Noted(Protocol):
    """An entry, as far as it is looked at here."""

    @property
    def sequence(self) -> int:
        """Its place in the ledger."""
        ...

    @property
    def kind(self) -> str:
        """What it is."""
        ...

    @property
    def body(self) -> dict[str, Any]:
        """What it says."""
        ...


class Notebook(Protocol):
    """What is needed of a ledger."""

    def find(self, kind: str, scope: Scope) -> Sequence[Noted]:
        """Entries of a kind in a scope, oldest first."""
        ...

    def record(self, kind: str, scope: Scope, body: dict[str, Any]) -> Noted:
        """Append evidence durably."""
        ...


@dataclass(frozen=True, slots=True)
class Standing:
    """How often one plan was proposed, approved, and charged on an approval, in a scope."""

    proposals: int
    approvals: int
    charges: int

    @classmethod
    def of(cls, digest: str, entries: Iterable[Noted]) -> Standing:
        """Counted over the entries of a scope."""
        mine = [entry for entry in entries if entry.body.get("plan_digest") == digest]
        kinds = [entry.kind for entry in mine if entry.kind != CHARGE or entry.body.get("approval")]
        return cls(kinds.count(PROPOSAL), kinds.count(APPROVAL), kinds.count(CHARGE))

    @property
    def is_approved(self) -> bool:
        """Whether an approval has not been used yet."""
        return self.approvals > self.charges

    @property
    def is_waiting(self) -> bool:
        """Whether a proposal has not been approved yet."""
        return self.proposals > self.approvals


def entries_of(books: Notebook, scope: Scope) -> list[Noted]:
    """Everything in a scope that standings depend on."""
    return [entry for kind in (PROPOSAL, APPROVAL, CHARGE) for entry in books.find(kind, scope)]


def require_approved(standing: Standing, plan: Plan, scope: Scope) -> None:
    """Raise `Refused`, naming the command that helps, unless the owner approved the plan and that approval is not used up."""
    if not standing.is_approved:
        raise Refused(
            f"refused: every plan on «{scope.dataset}» waits for the owner. This one is proposed in the ledger: the owner says yes with "
            f"`tacit policy approve {plan.digest[:SHOWN]}`; then open the same plan (the same run) again."
        )


def require_alike(charges: Sequence[Noted], plan: Plan, scope: Scope) -> None:
    """Raise `PolicyViolation` unless the plan protects the same unit under the same relation as what the scope was charged for."""
    if not charges:
        return
    before, now = charges[0].body["plan"], plan.to_dict()
    if before["unit"] != now["unit"] or before["relation"] != now["relation"]:
        raise PolicyViolation(
            f"refused: {scope} is charged per {before['unit']['name']}, {before['relation']}; this plan is per {plan.unit}, {plan.relation}. Such "
            "costs cannot be added. Keep the unit and relation, or give the records another data set name and a budget of their own."
        )


def propose(books: Notebook, scope: Scope, plan: Plan) -> None:
    """Leave the plan in the ledger for the owner to see, unless it waits there already or is approved. Nothing is charged."""
    standing = Standing.of(plan.digest, entries_of(books, scope))
    if not (standing.is_approved or standing.is_waiting):
        books.record(PROPOSAL, scope, {"plan_digest": plan.digest, "plan": plan.to_dict()})


def waiting(books: Notebook, scope: Scope) -> dict[str, Plan]:
    """Plans that wait for the owner in a scope, by digest, oldest first."""
    entries = entries_of(books, scope)
    proposed = {str(entry.body["plan_digest"]): entry.body["plan"] for entry in entries if entry.kind == PROPOSAL}
    return {digest: Plan.from_dict(plan) for digest, plan in proposed.items() if Standing.of(digest, entries).is_waiting}


def approve(books: Notebook, scope: Scope, prefix: str) -> tuple[Noted, Plan]:
    """Record the owner's approval of the one waiting plan whose digest begins with ``prefix``: good for one charge.

    Raises:
        UsageError: if no waiting plan or more than one begins like that, or the prefix is shorter than six digits.
    """
    sought = prefix.strip().lower()
    if len(sought) < _LEAST_PREFIX or set(sought) - set("0123456789abcdef"):
        raise UsageError(f"Expected at least {_LEAST_PREFIX} hexadecimal digits of a plan's digest, as `tacit policy show` lists them.")
    plans = waiting(books, scope)
    found = [digest for digest in plans if digest.startswith(sought)]
    if len(found) != 1:
        count = "none" if not found else str(len(found))
        raise UsageError(f"Expected one waiting plan on {scope} whose digest begins with {sought[:64]}; there is {count}. See `tacit policy show`.")
    return books.record(APPROVAL, scope, {"plan_digest": found[0]}), plans[found[0]]
