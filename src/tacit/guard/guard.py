"""The guard: the owner's records behind a policy and a ledger. Charge first, answer second."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from fractions import Fraction
from typing import Any, Protocol

from tacit.errors import PolicyViolation, UsageError
from tacit.guarantee import Scope
from tacit.guard.accounting import Cost, mu_for, plan_cost
from tacit.guard.approvals import Standing, entries_of, propose, require_approved
from tacit.guard.filters import Filter
from tacit.guard.plan import LOCAL_KINDS, Plan, PlanStep
from tacit.guard.policy import Policy
from tacit.guard.rehearsal import rehearse_answers
from tacit.guard.session import Session
from tacit.guard.sources import paid_for
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
    def kind(self) -> str:
        """What it is."""
        ...

    @property
    def body(self) -> dict[str, Any]:
        """What it says."""
        ...


class Books(Protocol):
    """What the guard needs of a ledger."""

    def charge(
        self, scope: Scope, *, plan: Plan, cost: Cost, rule: Filter, until: date | None = None, approval: bool = False,
    ) -> Charged:
        """Append a charge durably if the rule admits it together with everything charged to the scope; else raise.

        With ``approval`` only if the owner approved the plan once more often than it was charged.
        """
        ...

    def require_room(self, scope: Scope, *, plan: Plan, cost: Cost, rule: Filter) -> None:
        """Raise what `charge` would raise for the budget; append nothing."""
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
        today: the date that decides about the budget window; the records of that window alone are seen.

    Guarantees:
        The charge for a whole plan is durable before `open` returns, so a crash costs budget and never privacy. What is refused, and why,
        depends on the policy, the ledger, the plan and released noisy counts; never on the records.

    Raises:
        UsageError: if the records are not grouped by the policy's unit, or the budget renews and they have no time.
    """

    def __init__(
        self, records: RecordSource, *, policy: Policy, ledger: Books, source: SecureRandom | None = None,
        today: Callable[[], date] = lambda: datetime.now(UTC).date(),
    ) -> None:
        self._source = source or SecureRandom()
        self.policy, self.ledger = policy, ledger
        self.scope = policy.scope(today())
        self._records = paid_for(records, unit=policy.unit, window=self.scope.window)
        self.last_charge: Charged | None = None

    @property
    def deterministic(self) -> bool:
        """Whether noise comes from a test seed, so that nothing is guaranteed."""
        return self._source.deterministic

    def open(self, plan: Plan, *, share: Fraction = Fraction(1)) -> Session:
        """Charge the plan and open the session that answers it.

        Raises:
            Refused: if policy, minimum number of units, approval or budget say no; then nothing is charged for the plan.
            VerificationError: if answers to made-up records are not what plans promise (tested once per process); then nothing is charged at all.
            StorageError: if the ledger cannot be written; then nothing is answered.
        """
        self.require(plan)
        return self._charged_session(plan, share, approval=self._waits)

    def require(self, plan: Plan) -> None:
        """Raise what `open` would, without charging the plan. A plan that waits for the owner is left in the ledger as a proposal."""
        self.policy.require(plan)
        self._require_minimum(plan)
        self.ledger.require_room(self.scope, plan=plan, cost=plan_cost(plan), rule=self.policy.accounting)
        if self._waits:
            propose(self.ledger, self.scope, plan)
            require_approved(Standing.of(plan.digest, entries_of(self.ledger, self.scope)), plan, self.scope)

    @property
    def _waits(self) -> bool:
        return self.policy.limits.approval != "automatic"

    def _charged_session(self, plan: Plan, share: Fraction, *, approval: bool) -> Session:
        rehearse_answers(plan.mechanism, plan.relation)
        session = Session(plan, self._records, source=self._source, share=share)
        self.last_charge = self.ledger.charge(
            self.scope, plan=plan, cost=plan_cost(plan), rule=self.policy.accounting, approval=approval,
        )
        return session

    def resume(self, plan: Plan) -> Session:
        """A session for a plan that this scope has charged already: for runs that were stopped. Nothing is charged.

        Whoever resumes has to begin after everything that may have been answered; see `tacit.networks.checkpoint`.

        Raises:
            PolicyViolation: if the plan was never charged here, or asks questions: only local steps are resumed.
        """
        charged = any(entry.body.get("plan_digest") == plan.digest for entry in self.ledger.find("charge", self.scope))
        if not charged or not set(plan.kinds) <= set(LOCAL_KINDS):
            raise PolicyViolation("refused: only a plan of local steps that this ledger has charged can be resumed. Open it first.")
        return Session(plan, self._records, source=self._source)

    def rejoin(self, run: str, *, share: Fraction, begin: int) -> tuple[Plan, Session]:
        """A session for the shared plan of a run that this scope has charged already: for a site that was stopped. Nothing is charged.

        Args:
            run: its public name.
            share: as for `open`.
            begin: the first step that was certainly not answered: everything before it stays unanswered.

        Raises:
            PolicyViolation: if no plan of that run with shared noise was charged here.
        """
        charged = [entry for entry in self.ledger.find("charge", self.scope) if entry.body.get("plan", {}).get("run") == run]
        if len(charged) != 1 or charged[0].body["plan"]["mechanism"] != "skellam":
            raise PolicyViolation("refused: only a plan of many sites that this ledger has charged once can be joined again. Start a new run.")
        self.last_charge = charged[0]
        plan = Plan.from_dict(charged[0].body["plan"])
        return plan, Session(plan, self._records, source=self._source, share=share, begin=begin)

    def size(self) -> int:
        """The noised number of units of this data set and window, in whole units; charged once, then read from the ledger.

        It is the policy's own plan: the owner approved it by setting ``count_share``.

        Raises:
            Refused: if the budget does not allow it.
        """
        if not self.policy.counts_units:
            raise UsageError(
                "Expected no noised count beside a single plan, or under pure ε without minimum_units: it would be a second charge. Make the count a "
                "step of the plan."
            )
        released = self.ledger.find("count", self.scope) or [self._release_count()]
        return max(0, round(int(released[0].body["grid_count"]) / GRID))

    def _release_count(self) -> Charged:
        plan = self.count_plan()
        answer = self._charged_session(plan, Fraction(1), approval=False).answer(0, UnitCount())
        return self.ledger.record("count", self.scope, {"grid_count": int(answer[0]), "plan": plan.digest, "cost": plan_cost(plan).to_dict()})

    @property
    def count_cost(self) -> Cost:
        """What the noised count was charged, or will be by this policy."""
        if not self.policy.counts_units:
            return Cost.nothing()
        released = self.ledger.find("count", self.scope)
        charged = released[0].body.get("cost") if released else None
        return Cost.from_dict(charged) if charged else plan_cost(self.count_plan())

    def count_plan(self) -> Plan:
        """The plan of the one noised count: a fixed share of the policy's budget."""
        pure, share = self.policy.filter == "pure", self.policy.count_share
        noise = 1 / (self.policy.budget.epsilon * share) if pure else 1 / (mu_for(self.policy.budget) * share**0.5)
        return Plan(
            "noised number of units, shared by everything", self.policy.unit, self.policy.relation,
            (PlanStep(UnitCount.kind, 1, noise, 1, l0=1, l2=GRID),), mechanism="laplace" if pure else "gaussian",
            run=f"count:{self.scope.dataset}:{self.scope.window}",
        )

    def _require_minimum(self, plan: Plan) -> None:
        if not self.policy.counts_units:
            return
        minimum, size = self.policy.limits.minimum_units, self.size()
        if size < minimum:
            raise PolicyViolation(
                f"refused: the policy asks for at least {minimum} of «{plan.unit}»; the noised count is {size}. Add data, or ask the owner to "
                "lower [limits] minimum_units."
            )
