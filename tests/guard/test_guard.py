"""Charge first, answer second; refuse without a look at the records; count once; wait for the owner where the policy says so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tacit.errors import BudgetExceeded, OffPlan, PolicyViolation, Refused, StorageError, TacitError, UsageError
from tacit.guarantee import Budget, PrivacyUnit, Relation, Scope
from tacit.guard import Guard, Ledger, Limits, MemoryBooks, Plan, PlanStep, Policy, Records, plan_cost
from tacit.guard.approvals import Standing, approve, entries_of, propose, waiting
from tacit.questions import GRID, Batch, CellSums, Histogram, Profile, UnitCount
from tacit.randomness import SecureRandom

AUTH = Scope("auth")
USER = PrivacyUnit("user", "user")


@dataclass
class Watched:
    """Records that note what the ledger held when they were read."""

    books: Any
    rows: int = 1000
    unit: PrivacyUnit | None = None
    charges_when_read: list[int] = field(default_factory=list)

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[Batch]:
        self.charges_when_read.append(len(self.books.find("charge", AUTH)))
        yield Batch({"x": pa.array(np.arange(self.rows, dtype=float))}, self.rows, None if self.unit is None else np.arange(self.rows))


def policy(epsilon: float = 1.0, *, minimum: int = 100, approval: str = "automatic", unit: PrivacyUnit | None = None, **changes: Any) -> Policy:
    limits = Limits(minimum, approval=approval, questions=changes.pop("questions", None))
    return Policy("auth", unit or PrivacyUnit(), Relation.ADD_REMOVE, Budget(epsilon, 1e-6), limits=limits, **changes)


def plan(noise: float = 20.0, run: str = "r", *, kind: str = "count@1", cells: int = 1, repeats: int = 1, **changes: Any) -> Plan:
    step = PlanStep(kind, repeats, noise, cells, l0=1, l2=GRID)
    return Plan("train a detector", changes.pop("unit", PrivacyUnit()), changes.pop("relation", Relation.ADD_REMOVE), (step,), run=run, **changes)


def counted(units: int, books: Any | None = None) -> Any:
    """Books in which the noised count is known already."""
    books = MemoryBooks() if books is None else books
    books.record("count", AUTH, {"grid_count": units * GRID})
    return books


@pytest.fixture(params=["memory", "ledger"])
def books(request: pytest.FixtureRequest) -> Any:
    return MemoryBooks() if request.param == "memory" else Ledger.ephemeral()


# ------------------------------------------------------------------------------------------------- charge first, answer second


def test_the_whole_plan_is_charged_before_any_record_is_read(books: Any) -> None:
    records = Watched(books)
    guard = Guard(records, policy=policy(), ledger=books)
    bought = plan(repeats=3)
    session = guard.open(bought)
    assert [entry.body["plan_digest"] for entry in books.find("charge", AUTH)] == [guard.count_plan().digest, bought.digest]
    assert records.charges_when_read == [1], "the count was read after its own charge, and nothing else was"
    session.answer(0, UnitCount())
    session.answer(1, UnitCount())
    assert records.charges_when_read == [1, 2, 2]
    assert len(books.costs(AUTH)) == 2, "steps are not charged again, and unused ones not refunded"
    assert guard.last_charge is not None
    assert guard.last_charge.body["plan_digest"] == bought.digest


class Broken(MemoryBooks):
    """A disk that fails at every charge from the given one on."""

    works: int = 0

    def charge(self, scope: Scope, **given: Any) -> Any:
        if len(self.find("charge", scope)) >= self.works:
            raise StorageError("the disk is full. Nothing was written.")
        return super().charge(scope, **given)


@pytest.mark.parametrize("works", [0, 1])
def test_what_cannot_be_charged_is_not_answered(works: int) -> None:
    books = Broken()
    books.works = works
    records = Watched(books)
    guard = Guard(records, policy=policy(), ledger=books)
    with pytest.raises(StorageError):
        guard.open(plan())
    assert len(records.charges_when_read) == works, "only the count, if it was charged"
    assert len(books.find("charge", AUTH)) == works


class Forgetful(MemoryBooks):
    """A disk that fails when evidence is to be kept."""

    def record(self, kind: str, scope: Scope, body: dict[str, Any]) -> Any:
        raise StorageError("the disk is full. Nothing was written.")


def test_a_count_that_cannot_be_kept_is_not_released_and_stays_charged() -> None:
    books = Forgetful()
    with pytest.raises(StorageError):
        Guard(Watched(books), policy=policy(), ledger=books).size()
    assert len(books.costs(AUTH)) == 1


def test_a_refused_plan_is_not_charged_and_reads_nothing(books: Any) -> None:
    counted(1000, books)
    records = Watched(books)
    guard = Guard(records, policy=policy(questions=("count@1",)), ledger=books)
    head = books.head
    for refused, kind in (
        (plan(0.01), BudgetExceeded), (plan(kind="profile@1", cells=131), PolicyViolation), (plan(unit=USER), PolicyViolation),
        (plan(relation=Relation.REPLACE), PolicyViolation), (plan(mechanism="skellam", noise=0.01), BudgetExceeded),
    ):
        with pytest.raises(kind, match=r"^refused: "):
            guard.open(refused)
    with pytest.raises(UsageError, match="share"):
        guard.open(plan(), share=Fraction(1, 2))
    assert books.head == head
    assert not records.charges_when_read


def test_the_budget_is_spent_over_plans_and_then_it_is_gone(books: Any) -> None:
    counted(1000, books)
    guard = Guard(Watched(books), policy=policy(), ledger=books)
    opened = 0
    with pytest.raises(BudgetExceeded, match=r"is left"):  # noqa: PT012
        for _ in range(100):
            guard.open(plan(12.0, f"r{opened}"))
            opened += 1
    assert 5 < opened < 20
    rule = guard.policy.accounting
    assert rule.admits([plan_cost(plan(12.0))] * opened)
    assert not rule.admits([plan_cost(plan(12.0))] * (opened + 1))


def test_two_runs_of_one_plan_are_two_charges(books: Any) -> None:
    counted(1000, books)
    guard = Guard(Watched(books), policy=policy(), ledger=books)
    for _ in range(2):
        guard.open(plan())
    assert len(books.costs(AUTH)) == 2


# ---------------------------------------------------------------------------------------------------------- the noised count


def test_the_count_is_charged_once_for_a_scope_and_then_read(books: Any) -> None:
    records = Watched(books)
    guards = [Guard(records, policy=policy(), ledger=books) for _ in range(3)]
    sizes = [guard.size() for guard in guards for _ in range(3)]
    assert len(set(sizes)) == 1
    assert (len(books.costs(AUTH)), len(records.charges_when_read)) == (1, 1)


def test_another_window_is_counted_and_charged_anew() -> None:
    books = MemoryBooks()
    unit = PrivacyUnit("user-day", "user", "day")
    data = {"user": [f"u{i}" for i in range(40)], "time": ["2026-11-05"] * 30 + ["2026-12-05"] * 10}
    records = Records.open(data, unit=unit, time="time")
    renewing = Policy("auth", unit, Relation.ADD_REMOVE, Budget(1.0, 1e-6), window="month", limits=Limits(0))
    for month in (11, 12, 12):
        Guard(records, policy=renewing, ledger=books, today=lambda m=month: date(2026, m, 20)).size()
    assert [note.scope.window for note in books.notes if note.kind == "charge"] == ["2026-11", "2026-12"]


def test_the_count_costs_its_share_and_carries_its_noise() -> None:
    guard = Guard(Watched(MemoryBooks()), policy=policy(count_share=0.04), ledger=MemoryBooks())
    cost = plan_cost(guard.count_plan())
    whole = 1 / guard.policy.accounting.left([])
    assert guard.policy.accounting.epsilon([cost]) < 0.3 / whole
    sizes = [Guard(Watched(books := MemoryBooks(), 5_000), policy=policy(count_share=0.04), ledger=books).size() for _ in range(300)]
    sigma = 1 / (cost.mu_squared or 1.0) ** 0.5
    spread = float(np.std(sizes))
    assert abs(np.mean(sizes) - 5_000) < 6.2 * sigma / 300**0.5
    assert 0.7 * sigma < spread < 1.35 * sigma


def test_the_count_that_is_stated_is_the_one_that_was_charged() -> None:
    """A policy that changes afterwards changes what later plans cost, not what was paid."""
    books = MemoryBooks()
    before = Guard(Watched(books, 5_000), policy=policy(count_share=0.04), ledger=books)
    paid = before.count_cost
    before.size()
    after = Guard(Watched(books, 5_000), policy=policy(count_share=0.01), ledger=books)
    assert after.count_cost == before.count_cost == paid != plan_cost(after.count_plan())


def test_a_count_below_zero_is_none() -> None:
    guard = Guard(Watched(MemoryBooks()), policy=policy(), ledger=counted(-3))
    assert guard.size() == 0


@pytest.mark.parametrize(("units", "minimum", "answered"), [(100, 100, True), (99, 100, False), (1, 1, True), (0, 1, False), (0, 0, True)])
def test_the_minimum_is_held_against_the_noised_count(units: int, minimum: int, answered: bool) -> None:
    """Never against the records: here there are a million, and whatever the count said decides."""
    books = counted(units)
    records = Watched(books, 1_000_000)
    guard = Guard(records, policy=policy(minimum=minimum), ledger=books)
    if answered:
        guard.open(plan())
        return
    with pytest.raises(PolicyViolation, match=rf"^refused: .*at least {minimum} of «record»; the noised count is {units}\."):
        guard.open(plan())
    assert not records.charges_when_read
    assert not books.costs(AUTH)


# ------------------------------------------------------------------------------------- refusals depend on public things alone


class Hostile:
    """Records that fail whoever looks at them."""

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[Batch]:
        raise AssertionError("a refusal must not look")
        yield


def outcomes(records: Any, units: int) -> list[str]:
    """What happens to plans and questions of all kinds, up to the first that has to be answered."""
    books = counted(units)
    guard = Guard(records, policy=policy(questions=("count@1", "profile@1", "histogram@1")), ledger=books)
    said = []
    attempts = [plan(0.01), plan(kind="moments@1"), plan(unit=USER), plan(relation=Relation.REPLACE), *(plan(8.0, run) for run in "abcdefg")]
    for attempt in attempts:
        try:
            session = guard.open(attempt)
            for step, question in ((1, UnitCount()), (0, Profile(("x",))), (-1, UnitCount()), (7, UnitCount())):
                try:
                    session.answer(step, question)
                except OffPlan as refusal:
                    said.append(str(refusal))
        except TacitError as refusal:
            said.append(f"{type(refusal).__name__}: {refusal}")
    return said


def test_refusals_are_the_same_whatever_the_records_are() -> None:
    enough = [outcomes(records, 1000) for records in (Hostile(), Watched(MemoryBooks(), 0), Watched(MemoryBooks(), 10**6))]
    assert len(enough[0]) > 10
    assert all(found == enough[0] for found in enough)
    too_few = [outcomes(records, 10) for records in (Hostile(), Watched(MemoryBooks(), 10**6))]
    assert too_few[0] == too_few[1] != enough[0]


def test_an_answer_does_look() -> None:
    """The control: what the test above relies on is a source that is noticed."""
    session = Guard(Hostile(), policy=policy(), ledger=counted(1000)).open(plan())
    with pytest.raises(AssertionError, match="must not look"):
        session.answer(0, UnitCount())


def test_messages_carry_no_value_of_a_record() -> None:
    secret = "hunter2-s3cret"  # noqa: S105
    records = Records.open({"name": [secret] * 500, "x": [secret] * 500})
    guard = Guard(records, policy=policy(), ledger=counted(1000))
    session = guard.open(plan(kind="profile@1", cells=262, repeats=9))
    for question in (Profile(("nme",)), UnitCount(), Profile(("x", "name", secret[:0] + "absent"))):
        with pytest.raises(TacitError) as caught:
            session.answer(0, question)
        assert secret not in str(caught.value)


# -------------------------------------------------------------------------------------------------------- waiting for the owner


def waiting_guard(books: Any) -> Guard:
    return Guard(Watched(books), policy=policy(approval="owner"), ledger=counted(1000, books))


def test_a_plan_that_waits_is_proposed_and_costs_nothing(books: Any) -> None:
    guard = waiting_guard(books)
    bought = plan()
    with pytest.raises(Refused, match=rf"^refused: .*`tacit policy approve {bought.digest[:16]}`; then open the same plan \(the same run\) again"):
        guard.open(bought)
    (proposal,) = books.find("proposal", AUTH)
    assert proposal.body == {"plan_digest": bought.digest, "plan": bought.to_dict()}
    assert Plan.from_dict(proposal.body["plan"]) == bought
    assert not books.costs(AUTH)
    assert waiting(books, AUTH) == {bought.digest: bought}


def test_asking_again_proposes_once(books: Any) -> None:
    guard = waiting_guard(books)
    for _ in range(3):
        with pytest.raises(Refused):
            guard.open(plan())
    assert len(books.find("proposal", AUTH)) == 1


def test_an_approved_plan_is_charged_and_answered_once(books: Any) -> None:
    guard, bought = waiting_guard(books), plan()
    with pytest.raises(Refused):
        guard.open(bought)
    entry, found = approve(books, AUTH, bought.digest[:8])
    assert found == bought
    assert entry.body["plan_digest"] == bought.digest
    assert not waiting(books, AUTH)
    session = guard.open(bought)
    assert abs(session.answer(0, UnitCount())[0] / GRID - 1000) < 6.2 * 20
    assert len(books.costs(AUTH)) == 1
    with pytest.raises(Refused, match="waits for the owner"):
        guard.open(bought)
    assert len(books.costs(AUTH)) == 1, "one approval is good for one charge"
    assert waiting(books, AUTH) == {bought.digest: bought}
    approve(books, AUTH, bought.digest)
    guard.open(bought)
    assert len(books.costs(AUTH)) == 2


def test_an_approval_is_for_one_plan_and_one_scope(books: Any) -> None:
    guard, bought = waiting_guard(books), plan()
    with pytest.raises(Refused):
        guard.open(bought)
    approve(books, AUTH, bought.digest)
    for other in (plan(run="s"), plan(20.000001)):
        with pytest.raises(Refused, match="waits"):
            guard.open(other)
    propose(books, Scope("dns"), bought)
    with pytest.raises(UsageError, match="there is none"):
        approve(books, AUTH, bought.digest)
    guard.open(bought)


def test_an_approval_of_something_else_in_the_ledger_does_not_count(books: Any) -> None:
    guard, bought = waiting_guard(books), plan()
    for body in ({}, {"plan_digest": ""}, {"plan_digest": bought.digest[:16]}, {"plan": bought.digest}):
        books.record("approval", AUTH, body)
    books.record("approval", Scope("auth", "2026-11"), {"plan_digest": bought.digest})
    books.record("note", AUTH, {"plan_digest": bought.digest})
    with pytest.raises(Refused, match="waits"):
        guard.open(bought)


def test_the_budget_is_asked_before_the_owner(books: Any) -> None:
    guard = waiting_guard(books)
    with pytest.raises(BudgetExceeded):
        guard.open(plan(0.01))
    assert not books.find("proposal", AUTH)


def test_an_approved_plan_that_no_longer_fits_is_refused(books: Any) -> None:
    guard = waiting_guard(books)
    plans = [plan(6.0, run) for run in ("a", "b")]
    for bought in plans:
        with pytest.raises(Refused):
            guard.open(bought)
        approve(books, AUTH, bought.digest)
    guard.open(plans[0])
    with pytest.raises(BudgetExceeded):
        guard.open(plans[1])


def test_a_plan_that_was_charged_before_the_owner_wanted_to_be_asked_waits_too(books: Any) -> None:
    counted(1000, books)
    bought = plan()
    Guard(Watched(books), policy=policy(), ledger=books).open(bought)
    guard = Guard(Watched(books), policy=policy(approval="owner"), ledger=books)
    with pytest.raises(Refused, match="waits"):
        guard.open(bought)
    approve(books, AUTH, bought.digest)
    guard.open(bought)
    assert len(books.costs(AUTH)) == 2


def test_the_count_is_the_policys_own_plan_and_does_not_wait(books: Any) -> None:
    guard = Guard(Watched(books), policy=policy(approval="owner"), ledger=books)
    assert abs(guard.size() - 1000) < 400
    assert len(books.costs(AUTH)) == 1


@pytest.mark.parametrize("prefix", ["", "12345", "xyzxyz", "../../", "g" * 64])
def test_a_beginning_that_is_too_short_or_no_digest_is_refused(books: Any, prefix: str) -> None:
    propose(books, AUTH, plan())
    with pytest.raises(UsageError, match="at least 6 hexadecimal digits"):
        approve(books, AUTH, prefix)


def test_a_beginning_that_fits_no_plan_or_several_is_refused(books: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    propose(books, AUTH, plan())
    with pytest.raises(UsageError, match="there is none"):
        approve(books, AUTH, "000000" if not plan().digest.startswith("000000") else "111111")
    alike = {run: "abcdef" + str(i) * 58 for i, run in enumerate(("a", "b"))}
    for run, digest in alike.items():
        books.record("proposal", AUTH, {"plan_digest": digest, "plan": plan(run=run).to_dict()})
    with pytest.raises(UsageError, match="there is 2"):
        approve(books, AUTH, "abcdef")
    _, found = approve(books, AUTH, "ABCDEF0 ")
    assert found.run == "a"


def test_a_standing_counts_what_belongs_to_the_plan() -> None:
    books = MemoryBooks()
    for kind in ("proposal", "approval", "proposal"):
        books.record(kind, AUTH, {"plan_digest": "d", "plan": {}})
    books.record("charge", AUTH, {"plan_digest": "d", "approval": True})
    books.record("charge", AUTH, {"plan_digest": "d", "approval": False})
    books.record("approval", AUTH, {"plan_digest": "e"})
    assert Standing.of("d", entries_of(books, AUTH)) == Standing(2, 1, 1)


# ------------------------------------------------------------------------------------------------------------------ the rest


def test_a_test_seed_is_not_hidden() -> None:
    assert Guard(Hostile(), policy=policy(), ledger=MemoryBooks(), source=SecureRandom.for_testing(1)).deterministic
    assert not Guard(Hostile(), policy=policy(), ledger=MemoryBooks()).deterministic


def test_units_with_many_rows_are_clipped_by_every_question() -> None:
    records = Records.open({"user": ["a"] * 900 + [f"u{i}" for i in range(300)], "x": [1.0] * 1200}, unit=USER)
    guard = Guard(records, policy=policy(unit=USER), ledger=counted(300))
    step = PlanStep("profile@1", 2, 20.0, 131, l2=GRID)
    session = guard.open(Plan("t", USER, Relation.ADD_REMOVE, (step,), run="r"))
    with pytest.raises(OffPlan, match="clips each user"):
        session.answer(0, Profile(("x",)))
    answer = session.answer(0, Profile(("x",), clip=GRID))
    assert abs(answer.max() / GRID - 301) < 6.2 * 20, "the unit with 900 rows counts like any other"


def test_kinds_that_the_policy_leaves_open_are_all_answered() -> None:
    guard = Guard(Watched(MemoryBooks()), policy=policy(), ledger=counted(1000))
    for kind in (UnitCount.kind, Profile.kind, Histogram.kind, CellSums.kind):
        guard.require(plan(200.0, kind=kind, cells=131))
