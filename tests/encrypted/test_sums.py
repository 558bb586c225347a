from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tacit.crypto import SigningKey
from tacit.domain import Domain, Numeric
from tacit.encrypted import EncryptedSites, Evaluator, KeyHolder, SecretKey, SumPlan, contribute
from tacit.encrypted.survey import SUM_BITS
from tacit.errors import (
    DataError,
    MessageDamaged,
    OffPlan,
    PlanImpossible,
    Refused,
    Replayed,
    SignatureInvalid,
    TacitError,
    UsageError,
    WrongKey,
    WrongModel,
)
from tacit.guarantee import Budget, PrivacyUnit, Relation
from tacit.guard import Guard, Limits, MemoryBooks, Plan, PlanStep, Policy, Records
from tacit.questions import Moments

BUDGET = Budget(1.0, 1e-5)


class Study:
    """A sum with its parties."""

    def __init__(self, plan: SumPlan, names: str = "abcd") -> None:
        self.plan, self.key, self.evaluators = plan, SecretKey.generate(plan.parameters), SigningKey.generate()
        self.signing = {name: SigningKey.generate() for name in names}
        self.holder = KeyHolder(self.key, evaluator=self.evaluators.public)

    def evaluator(self) -> Evaluator:
        public = {name: key.public for name, key in self.signing.items()}
        return Evaluator(self.plan, key=self.key.public, contributors=public, signing=self.evaluators)

    def contribution(self, name: str, values: Any, plan: SumPlan | None = None) -> bytes:
        return contribute(plan or self.plan, np.asarray(values, np.int64), who=name, key=self.key.public, signing=self.signing[name])


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(bits=st.sampled_from([1, 10, 24, 40, 44]), size=st.sampled_from([1, 5, 2048, 2049, 5000]), seed=st.integers(0, 2**32))
def test_sums_are_exact_at_every_size_and_at_the_edges(bits: int, size: int, seed: int) -> None:
    plan = SumPlan("s", size, (1 << bits) - 1, 4, 3)
    study, rng = Study(plan), np.random.default_rng(seed)
    values = {name: rng.integers(-plan.bound, plan.bound + 1, size) for name in "abcd"}
    for own in values.values():
        own[0] = plan.bound
        own[-1] = -plan.bound if size > 1 else plan.bound
    evaluator = study.evaluator()
    for name, own in values.items():
        evaluator.add(study.contribution(name, own))
    assert np.array_equal(study.holder.open(plan, evaluator.total()), sum(values.values()))


def test_what_is_refused() -> None:
    plan = SumPlan("s", 3, 100, 4, 3)
    study = Study(plan)
    evaluator = study.evaluator()
    one = study.contribution("a", [1, 2, 3])
    for cut in (0, 30, 200, len(one) - 1):
        with pytest.raises(MessageDamaged):
            evaluator.add(one[:cut])
    for place in (-1, -100):
        changed = bytearray(one)
        changed[place] ^= 1
        with pytest.raises(SignatureInvalid):
            evaluator.add(bytes(changed))
    evaluator.add(one)
    with pytest.raises(Replayed, match="counts once"):
        evaluator.add(study.contribution("a", [4, 5, 6]))
    stranger = Study(plan, "z")
    with pytest.raises(WrongKey):
        evaluator.add(stranger.contribution("z", [1, 2, 3]))
    other = SumPlan("t", 3, 100, 4, 3)
    with pytest.raises(WrongModel):
        evaluator.add(study.contribution("b", [1, 2, 3], other))
    with pytest.raises(Refused, match="at least 3"):
        evaluator.total()
    for values in ([1, 2], [1, 2, 101], [1, 2, -101]):
        with pytest.raises(DataError):
            study.contribution("b", values)
    assert evaluator.added == ("a",)


def test_a_key_holder_opens_one_sum_of_a_plan_and_none_of_few() -> None:
    plan = SumPlan("s", 2, 100, 4, 3)
    study = Study(plan)
    first, second, few = study.evaluator(), study.evaluator(), study.evaluator()
    for name in "abc":
        first.add(study.contribution(name, [1, 1]))
    for name in "abcd":
        second.add(study.contribution(name, [1, 1]))
    assert study.holder.open(plan, first.total()).tolist() == [3, 3]
    with pytest.raises(Replayed, match="give a contributor away"):
        study.holder.open(plan, second.total())
    few._added.append("a")
    few.plan = SumPlan("s", 2, 100, 4, 3)
    with pytest.raises(Refused):
        few.total()
    forged = Evaluator(plan, key=study.key.public, contributors={}, signing=SigningKey.generate())
    forged._added.extend("abc")
    with pytest.raises(SignatureInvalid):
        KeyHolder(study.key, evaluator=study.evaluators.public).open(plan, forged.total())
    with pytest.raises(WrongKey):
        KeyHolder(SecretKey.generate(plan.parameters), evaluator=study.evaluators.public).open(plan, first.total())


def test_plans_that_cannot_be() -> None:
    with pytest.raises(UsageError, match="least"):
        SumPlan("s", 3, 100, 4, 1)
    with pytest.raises(PlanImpossible, match="wider"):
        SumPlan("s", 3, 1 << 50, 4, 3)
    plan = SumPlan("s", 1_000_000, 1 << 23, 10, 5)
    assert plan.bytes / plan.size < 16.1
    assert "together read every contribution" in plan.explain()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 400), st.binary(max_size=30))
def test_the_parser_raises_nothing_but_our_own_errors(begin: int, middle: bytes) -> None:
    message, evaluator = _fuzz()
    try:
        evaluator.add(message[:begin] + middle + message[begin + len(middle) :])
    except TacitError:
        pass
    else:
        assert message[begin : begin + len(middle)] == middle


@cache
def _fuzz() -> tuple[bytes, Evaluator]:
    study = Study(SumPlan("s", 3, 100, 4, 3))
    return study.contribution("a", [1, 2, 3]), study.evaluator()


DOMAIN = Domain.of(**{f"x{place}": Numeric(0.0, 10.0) for place in range(20)})


def sites(count: int, rows: int = 400) -> tuple[list[Guard], Any]:
    rng, guards, tables = np.random.default_rng(0), [], []
    for place in range(count):
        table = pa.table({name: rng.uniform(0, 10, rows) for name in DOMAIN.names})
        policy = Policy(f"site-{place}", budget=BUDGET, limits=Limits(0), unit=PrivacyUnit(), relation=Relation.ADD_REMOVE)
        guards.append(Guard(Records.open(table), policy=policy, ledger=MemoryBooks()))
        tables.append(table)
    return guards, pa.concat_tables(tables)


def test_moments_over_encrypted_uploads_are_the_sum_and_the_plans_noise() -> None:
    guards, whole = sites(4)
    question = Moments(DOMAIN, order=2)
    bounds = question.bounds(Relation.ADD_REMOVE)
    noise = 40.0
    step = PlanStep(question.kind, 60, noise, question.size, l0=bounds.l0, l2=bounds.l2)
    plan = Plan("moments", PrivacyUnit(), Relation.ADD_REMOVE, (step,), mechanism="skellam")
    conversation = EncryptedSites(guards, colluding=1).open(plan)
    exact = question.evaluate(Records.open(whole), {})  # type: ignore[arg-type]
    answers = np.array([conversation.ask(turn, question) for turn in range(60)])
    residuals = (answers - exact) / (noise * bounds.l2)
    expected = 4 / 3  # four sites, each a third of the variance
    count = residuals.size
    assert abs((residuals**2).mean() / expected - 1) < 6.5 * math.sqrt(2 / count), "the variance is another"
    assert 6.5 * math.sqrt(2 / count) < 0.0975, "the test must see noise that is 5 % short"
    guarantee, alone = conversation.guarantee, conversation.alone
    assert guarantee.trust.colluding == 1
    assert alone.epsilon > guarantee.epsilon
    with pytest.raises(OffPlan):
        conversation.select(0, None)  # type: ignore[arg-type]
    conversation.close()


def test_encrypted_sites_need_two_and_an_honest_one() -> None:
    guards, _ = sites(3)
    with pytest.raises(UsageError, match="2 to"):
        EncryptedSites(guards[:1])
    with pytest.raises(UsageError, match="honest"):
        EncryptedSites(guards, colluding=2)
    federation = EncryptedSites(guards, colluding=1)
    values = {site: np.array([(1 << SUM_BITS) // 3, -5]) for site in federation._sites}
    assert federation.add_up(values, name="edge").tolist() == [3 * ((1 << SUM_BITS) // 3), -15]
