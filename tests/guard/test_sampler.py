from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.signal import lfilter

from tacit import Budget, PrivacyUnit, Relation
from tacit.errors import OffPlan, UsageError
from tacit.guard import Correlation, Filter, MemoryBooks, Plan, PlanStep, Sampler, plan_cost
from tacit.guard.guard import Guard
from tacit.guard.policy import Limits, Policy
from tacit.questions import UnitCount

RECORD = PrivacyUnit()


def plan(sampler: Sampler, *, steps: int = 100, noise: float = 1.0, relation: Relation = Relation.ADD_REMOVE, **rest: object) -> Plan:
    return Plan("train", RECORD, relation, (PlanStep("network@1", steps, noise, 1000, sampler=sampler, **rest),), run="r")  # type: ignore[arg-type]


def test_plans_without_samplers_are_written_as_they_always_were() -> None:
    steps = (PlanStep("histogram@1", 1, 30.0, 1024), PlanStep("cells@1", 200, 60.0, 128, l0=2))
    old = Plan("bins and trees", RECORD, Relation.ADD_REMOVE, steps, run="r")
    assert old.to_dict()["steps"][0] == {"kind": "histogram@1", "repeats": 1, "noise_multiplier": 30.0, "cells": 1024, "l0": 0, "l2": 1}
    assert old.to_dict()["sampler"] == "full"


@pytest.mark.parametrize("step", [
    PlanStep("network@1", 100, 1.0, 1000, sampler=Sampler.poisson(0.01)),
    PlanStep("network@1", 100, 1.0, 1000, sampler=Sampler.cyclic(0.1, cycle=8), correlation=Correlation.banded(8, 100)),
    PlanStep("network@1", 100, 1.0, 1000, sampler=Sampler.passes(25), correlation=Correlation.tree(25, steps=100)),
])
def test_plans_come_back_as_they_were(step: PlanStep) -> None:
    whole = Plan("train", RECORD, Relation.ADD_REMOVE, (step,), run="r")
    again = Plan.from_dict(whole.to_dict())
    assert again == whole
    assert again.digest == whole.digest


def test_rates_are_rounded_up_to_what_a_word_decides() -> None:
    rate = Sampler.poisson(0.01).rate
    assert rate >= 0.01
    assert rate * 2**32 == int(rate * 2**32)
    with pytest.raises(UsageError, match="2\\^-32"):
        Sampler("poisson", 0.01)


@pytest.mark.parametrize(("make", "words"), [
    (lambda: plan(Sampler.truncated(0.1, records=1000)), "zero-out"),
    (lambda: plan(Sampler.poisson(0.1), relation=Relation.REPLACE), "replace"),
    (lambda: plan(Sampler.poisson(0.1), correlation=Correlation.banded(4, 100)), "cyclic_poisson"),
    (lambda: plan(Sampler.cyclic(0.1, cycle=3), correlation=Correlation.banded(4, 100)), "cycle >= 4"),
    (lambda: plan(Sampler.passes(20), correlation=Correlation.tree(25, steps=100)), "the tree's"),
    (lambda: plan(Sampler.cyclic(0.1, cycle=4), correlation=Correlation.banded(4, 50)), "repeats"),
    (lambda: Sampler("weighted"), "weighted"), (lambda: Sampler("poisson", 0.5, cap=3), "records and cap"),
    (lambda: Correlation("x", 1, 1), "banded"),
])
def test_what_no_accountant_covers_is_refused_by_name(make: object, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        make()  # type: ignore[operator]


def test_sampled_plans_cost_what_is_known_of_them() -> None:
    rule = Filter(Budget(20.0, 1e-5 / 0.9), Relation.ADD_REMOVE, "single")
    known = rule.estimate([plan_cost(plan(Sampler.poisson(0.01), steps=10_000))])
    assert known == pytest.approx(6.1910, rel=1e-3)


def test_cutting_a_sample_six_deviations_above_its_mean_costs_next_to_nothing() -> None:
    whole, cut = (
        Filter(Budget(20.0, 1e-5), relation, "single").estimate([plan_cost(plan(sampler, steps=200, relation=relation))])
        for sampler, relation in ((Sampler.poisson(0.01), Relation.ADD_REMOVE), (Sampler.truncated(0.01, records=50_000), Relation.ZERO_OUT))
    )
    assert whole == pytest.approx(cut, rel=2e-3)


def test_a_cycle_is_one_participation() -> None:
    event = plan_cost(plan(Sampler.cyclic(0.1, cycle=8), correlation=Correlation.banded(8, 100))).event
    assert event.events[0].count == math.ceil(100 / 8)


def test_one_plan_for_ever() -> None:
    rule = Filter(Budget(10.0, 1e-5), Relation.ADD_REMOVE, "single")
    cost = plan_cost(plan(Sampler.poisson(0.01), steps=10))
    assert rule.admits([cost])
    assert not rule.admits([cost, cost])
    assert rule.left([]) == 10.0
    assert rule.left([cost]) == 0.0
    assert rule.spent([cost]).accountant == "one plan, pld"


def guard() -> Guard:
    budget, limits = Budget(10.0, 1e-5), Limits(minimum_units=0)
    policy = Policy(dataset="d", unit=RECORD, relation=Relation.ADD_REMOVE, budget=budget, filter="single", limits=limits)

    class Nothing:
        def batches(self, columns: object = None) -> object:
            return iter(())

    return Guard(Nothing(), policy=policy, ledger=MemoryBooks())  # type: ignore[arg-type]


def test_sampled_steps_answer_no_questions_and_are_taken_once_in_order() -> None:
    owner = guard()
    session = owner.open(Plan("t", RECORD, Relation.ADD_REMOVE, (
        PlanStep(UnitCount.kind, 2, 9.0, 1, l0=1, sampler=Sampler.poisson(0.5)), PlanStep("network@1", 2, 9.0, 10, sampler=Sampler.poisson(0.5)),
    )))
    with pytest.raises(OffPlan, match="sampled"):
        session.answer(0, UnitCount())
    with pytest.raises(OffPlan, match="charged"):
        session.take(2, kind="count@1", size=1)
    with pytest.raises(OffPlan, match="cells"):
        session.take(2, kind="network@1", size=11)
    assert session.take(2, kind="network@1", size=10).noise_multiplier == 9.0
    with pytest.raises(OffPlan):
        session.take(2, kind="network@1", size=10)
    with pytest.raises(UsageError, match="second charge"):
        owner.size()


@pytest.mark.parametrize("bands", [1, 2, 5, 16])
def test_banded_errors_and_lengths_are_those_of_the_matrices(bands: int) -> None:
    steps = 60
    found = Correlation.banded(bands, steps)
    c = np.zeros((steps, steps))
    for lag, value in enumerate(found.coefficients):
        c += value * np.eye(steps, k=-lag)
    assert found.coefficients[0] == 1
    assert all(value * 2**20 == round(value * 2**20) for value in found.coefficients)
    assert np.linalg.norm(c, axis=0).max() == pytest.approx(found.sensitivity, rel=1e-9)
    gram = c.T @ c
    assert all(gram[i, j] == 0 for i in range(steps) for j in range(steps) if abs(i - j) >= bands)
    sums = np.tril(np.ones((steps, steps))) @ np.linalg.inv(c)
    assert np.sqrt(np.square(sums).sum() / steps) * found.sensitivity == pytest.approx(found.error, rel=1e-9)
    assert lfilter([1.0], found.coefficients, np.eye(1, steps)[0])[0] == 1


@pytest.mark.parametrize("length", [1, 2, 7, 16, 21])
def test_a_record_touches_no_more_nodes_than_the_tree_is_charged_for(length: int) -> None:
    most = 0
    for place in range(1, length + 1):
        ends = [(end, end & -end) for end in range(1, length + 1)]
        most = max(most, sum(end - size < place <= end for end, size in ends))
    assert math.sqrt(most) <= Correlation.tree(length, steps=length).sensitivity


def test_bands_help_more_the_larger_the_budget() -> None:
    plain = Correlation.banded(1, 1000).error
    assert Correlation.banded(16, 1000).error < 0.35 * plain
