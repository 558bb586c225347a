"""The guard: the owner's records behind a policy and a ledger. Charge first, answer second."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from fractions import Fraction
from typing import Any, Protocol

from tacit.errors import PolicyViolation, Refused
from tacit.guarantee import Scope
from tacit.guard.accounting import Cost, mu_for, plan_cost
from tacit.guard.filters import Filter
from tacit.guard.plan import Plan, PlanStep
from tacit.guard.policy import Policy
from tacit.guard.session import Session
from tacit.questions import GRID, RecordSource, UnitCount
from tacit.randomness import SecureRandom


class Charged(Protocol):
    """An entry that a ledger appended."""

    @property
    def sequence(self) -> int:
        """Its place in the ledger, from 1."""
        ...

    @property
    def digest(self) -> str:
        """Its digest, hex: the ledger's head right after it."""
        ...

    @property
    def body(self) -> dict[str, Any]:
        """What it says."""
        ...


class Books(Protocol):
    """What the guard needs of a ledger."""

    def charge(self, scope: Scope, *, plan: Plan, cost: Cost, rule: Filter, until: date | None = None) -> Charged:
        """Append a charge durably if the rule admits it together with everything charged to the scope; else raise."""
        ...

    def record(self, kind: str, scope: Scope, body: dict[str, Any]) -> Charged:
        """Append evidence durably."""
        ...

    def find(self, kind: str, scope: Scope) -> Sequence[Charged]:
        """Entries of a kind in a scope, oldest first."""
        ...

    def costs(self, scope: Scope) -> Sequence[Cost]:
        """Everything charged to a scope."""
        ...

    @property
    def head(self) -> str:
        """Digest of the last entry, hex."""
        ...


class Guard:
    """Answers planned questions about records, within a policy, after charging them.

    Args:
        records: the owner's records.
        policy: what is allowed.
        ledger: where charges are kept.
        source: where noise comes from; by default the operating system's entropy.
        today: the date that decides about the budget window.

    Guarantees:
        The charge for a whole plan is durable before `open` returns, so a crash costs budget and never privacy. What is refused, and why,
        depends on the policy, the ledger, the plan and released noisy counts; never on the records.
    """

    def __init__(
        self, records: RecordSource, *, policy: Policy, ledger: Books, source: SecureRandom | None = None,
        today: Callable[[], date] = lambda: datetime.now(UTC).date(),
    ) -> None:
        self._records, self._source = records, source or SecureRandom()
        self.policy, self.ledger = policy, ledger
        self.scope = policy.scope(today())
        self.last_charge: Charged | None = None

    @property
    def deterministic(self) -> bool:
        """Whether noise comes from a test seed, so that nothing is guaranteed."""
        return self._source.deterministic

    def open(self, plan: Plan, *, share: Fraction = Fraction(1)) -> Session:
        """Charge the plan and open the session that answers it.

        Raises:
            Refused: if policy, minimum number of units, approval or budget say no; then nothing is charged for the plan.
            StorageError: if the ledger cannot be written; then nothing is answered.
        """
        self.policy.require(plan)
        self._require_minimum(plan)
        self._require_approval(plan)
        return self._charged_session(plan, share)

    def _charged_session(self, plan: Plan, share: Fraction) -> Session:
        session = Session(plan, self._records, source=self._source, share=share)
        self.last_charge = self.ledger.charge(self.scope, plan=plan, cost=plan_cost(plan), rule=self.policy.accounting)
        return session

    def size(self) -> int:
        """The noised number of units of this data set and window, in whole units; charged once, then read from the ledger.

        Raises:
            Refused: if the budget does not allow it.
        """
        released = self.ledger.find("count", self.scope) or [self._release_count()]
        return max(0, round(int(released[0].body["grid_count"]) / GRID))

    def _release_count(self) -> Charged:
        plan = self.count_plan()
        answer = self._charged_session(plan, Fraction(1)).answer(0, UnitCount())
        return self.ledger.record("count", self.scope, {"grid_count": int(answer[0]), "plan": plan.digest})

    def count_plan(self) -> Plan:
        """The plan of the one noised count: a fixed share of the policy's budget."""
        mu = mu_for(self.policy.budget, samples=1) * self.policy.count_share**0.5
        return Plan(
            "noised number of units, shared by everything", self.policy.unit, self.policy.relation,
            (PlanStep(UnitCount.kind, 1, 1 / mu, 1, l0=1, l2=GRID),), run=f"count:{self.scope.dataset}:{self.scope.window}",
        )

    def _require_minimum(self, plan: Plan) -> None:
        minimum, size = self.policy.limits.minimum_units, self.size()
        if size < minimum:
            raise PolicyViolation(
                f"refused: the policy asks for at least {minimum} of «{plan.unit}»; the noised count is {size}. Add data, or ask the owner to "
                "lower [limits] minimum_units."
            )

    def _require_approval(self, plan: Plan) -> None:
        if self.policy.limits.approval == "automatic":
            return
        if not any(entry.body.get("plan") == plan.digest for entry in self.ledger.find("approval", self.scope)):
            raise Refused(
                f"refused: every plan on «{self.scope.dataset}» waits for the owner. Ask for an approval of plan {plan.digest[:16]}, "
                "then open the same plan again."
            )
