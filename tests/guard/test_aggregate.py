"""One curator behind the interface that learners drive: what it states about a plan, and books that last as long as the process."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tacit.crypto import canonical_bytes, from_canonical
from tacit.domain import Category, Domain
from tacit.errors import BudgetExceeded, NeedsContext, OffPlan, PolicyViolation
from tacit.guarantee import Budget, PrivacyUnit, Relation, Scope, TrustModel
from tacit.guard import Curator, Filter, Guard, Ledger, Limits, MemoryBooks, Plan, PlanStep, Policy, gdp_epsilon, plan_cost, stated
from tacit.questions import GRID, Batch, Binning, CellSums, Frame, Partition, Select, Target, UnitCount, Update
from tacit.randomness import SecureRandom

AUTH = Scope("auth")
BUDGET = Budget(1.0, 1e-6)


class Rows:
    """A hundred records."""

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[Batch]:
        yield Batch({"c": pa.array(["a"] * 90 + ["b"] * 10), "y": pa.array(["0", "1"] * 50)}, 100)


def plan(noise: float = 20.0, run: str = "r", *, kind: str = "count@1", cells: int = 1, repeats: int = 1, **changes: Any) -> Plan:
    step = PlanStep(kind, repeats, noise, cells, l0=1 if cells == 1 else 0, l2=GRID)
    return Plan("t", changes.pop("unit", PrivacyUnit()), changes.pop("relation", Relation.ADD_REMOVE), (step,), run=run, **changes)


def curator(books: Any | None = None, source: SecureRandom | None = None) -> Curator:
    policy = Policy("auth", PrivacyUnit(), Relation.ADD_REMOVE, BUDGET, limits=Limits(0), rows_per_unit=7)
    return Curator(Guard(Rows(), policy=policy, ledger=MemoryBooks() if books is None else books, source=source))


# ------------------------------------------------------------------------------------------------------------------- a curator


def test_a_curator_says_what_its_policy_says() -> None:
    found = curator()
    assert (found.mechanism, found.unit, found.relation, found.rows_per_unit, found.deterministic) == (
        "gaussian", PrivacyUnit(), Relation.ADD_REMOVE, 7, False,
    )
    assert found.count_cost == plan_cost(found.guard.count_plan())


def test_a_guarantee_covers_the_plan_and_the_count_it_used() -> None:
    found = curator()
    bought = plan(9.0, repeats=2)
    guarantee = found.open(bought).guarantee
    mu_squared = 2 / 81 + (found.count_cost.mu_squared or 0.0)
    assert guarantee.epsilon == pytest.approx(gdp_epsilon(math.sqrt(mu_squared), 1e-6), rel=1e-3)
    assert guarantee.epsilon >= gdp_epsilon(math.sqrt(mu_squared), 1e-6)
    assert (guarantee.delta, guarantee.unit, guarantee.relation, guarantee.scope) == (1e-6, PrivacyUnit(), Relation.ADD_REMOVE, AUTH)
    assert (guarantee.trust, guarantee.accountant) == (TrustModel.curator(), "gdp")
    assert guarantee.epsilon > found.guard.policy.accounting.fixed_epsilon([plan_cost(bought)])


def test_nothing_is_guaranteed_under_a_test_seed() -> None:
    guarantee = curator(source=SecureRandom.for_testing(3)).open(plan()).guarantee
    assert not guarantee.holds
    assert "no guarantee" in str(guarantee)


def test_skellam_is_named_as_the_accountants_other_ground() -> None:
    rule = Filter(BUDGET)
    found = stated(plan(mechanism="skellam"), others=(), rule=rule, scope=AUTH, trust=TrustModel.curator(), deterministic=False)
    assert found.accountant == "gdp over skellam"
    assert found.epsilon >= rule.fixed_epsilon([plan_cost(plan())])


def test_a_conversation_names_the_charge_that_paid_for_it() -> None:
    books = Ledger.ephemeral()
    found = curator(books)
    first = found.open(plan(run="a"))
    second = found.open(plan(run="b"))
    entries = {entry.body["plan"]["run"]: entry for entry in books.entries(kind="charge")}
    for run, conversation in (("a", first), ("b", second)):
        assert conversation.charge == (entries[run].sequence, entries[run].digest)


def test_a_conversation_answers_selects_and_ends() -> None:
    steps = (PlanStep("count@1", 1, 9.0, 1, l0=1, l2=GRID), PlanStep("select@1", 1, 9.0, 1 << 20, l0=1, l2=GRID))
    conversation = curator().open(Plan("t", PrivacyUnit(), Relation.ADD_REMOVE, steps, selection_delta=4e-8, run="r"))
    assert abs(conversation.ask(0, UnitCount())[0] / GRID - 100) < 6.2 * 9
    assert set(conversation.select(1, Select(("c",)))) == {"c"}
    conversation.close()
    with pytest.raises(OffPlan, match="closed"):
        conversation.ask(0, UnitCount())


def test_a_forgotten_model_is_supplied_once_and_only_if_there_is_one() -> None:
    binning = Binning(Domain.of(c=Category(("a", "b"))), (np.arange(4, dtype=np.uint8),))
    frame = Frame(Target("y", ("0", "1")), "logistic", binning)
    partition = Partition.of_feature(0, 4)
    update = Update(partition, np.full((4, 1), 4096, np.int32))
    question = CellSums(frame, update.after(frame.digest), (partition,))
    conversation = curator().open(plan(60.0, kind="cells@1", cells=8))
    with pytest.raises(NeedsContext):
        conversation.ask(0, question)
    assert conversation.ask(0, question, model=(frame, [update])).shape == (8,)


def test_a_model_that_is_not_the_one_asked_about_does_not_help() -> None:
    binning = Binning(Domain.of(c=Category(("a", "b"))), (np.arange(4, dtype=np.uint8),))
    frame = Frame(Target("y", ("0", "1")), "logistic", binning)
    question = CellSums(frame, b"\x05" * 32, (Partition.of_feature(0, 4),))
    with pytest.raises(NeedsContext):
        curator().open(plan(60.0, kind="cells@1", cells=8)).ask(0, question, model=(frame, []))


# --------------------------------------------------------------------------------------------------------- books in memory


def test_books_in_memory_decide_as_a_ledger_does() -> None:
    memory, ledger, rule = MemoryBooks(), Ledger.ephemeral(), Filter(BUDGET)
    for i in range(20):
        bought = plan(12.0, f"r{i}")
        admitted = []
        for books in (memory, ledger):
            try:
                books.charge(AUTH, plan=bought, cost=plan_cost(bought), rule=rule)
                admitted.append(True)
            except BudgetExceeded:
                admitted.append(False)
        assert admitted[0] == admitted[1]
    assert memory.costs(AUTH) == ledger.costs(AUTH)
    assert 5 < len(memory.costs(AUTH)) < 20
    for books in (memory, ledger):
        with pytest.raises(PolicyViolation, match="cannot be added"):
            books.charge(AUTH, plan=plan(90.0, unit=PrivacyUnit("user", "user")), cost=plan_cost(plan(90.0)), rule=rule)


def test_books_in_memory_are_chained() -> None:
    books = MemoryBooks()
    assert books.head == "0" * 64
    digests = [books.record("note", AUTH, {"n": n}).digest for n in (1, 2, 2)]
    assert len(set(digests)) == 3
    assert books.head == digests[-1]
    other = MemoryBooks()
    other.record("note", AUTH, {"n": 9})
    assert other.record("note", AUTH, {"n": 2}).digest != digests[1]


def test_what_books_in_memory_keep_could_be_kept_for_good() -> None:
    books = MemoryBooks()
    books.charge(AUTH, plan=plan(), cost=plan_cost(plan()), rule=Filter(BUDGET))
    (note,) = books.find("charge", AUTH)
    assert from_canonical(canonical_bytes(note.body)) == note.body
    assert Plan.from_dict(note.body["plan"]) == plan()
    assert not books.find("charge", Scope("auth", "2026-11"))
    assert not books.find("note", AUTH)
