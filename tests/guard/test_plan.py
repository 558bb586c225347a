"""A plan: frozen, public, complete before any record is seen; one text, one digest."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.errors import OffPlan, UsageError
from tacit.guarantee import PrivacyUnit, Relation
from tacit.guard.plan import Plan, PlanStep

STEP = PlanStep("cells@1", 3, 5.0, 64, l0=2, l2=4096)
STEPS = st.builds(
    PlanStep, st.sampled_from(["cells@1", "histogram@1", "x_9@12"]), st.integers(1, 500), st.floats(1e-3, 1e6), st.integers(1, 1 << 30),
    l0=st.integers(0, 1 << 31), l2=st.integers(1, 1 << 40),
)
PLANS = st.builds(
    Plan, st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip),
    st.builds(PrivacyUnit, st.just("user"), st.sampled_from([None, "user"]), st.sampled_from([None, "day"])), st.sampled_from(Relation),
    st.lists(STEPS, min_size=1, max_size=5).map(tuple), st.sampled_from(["gaussian", "skellam"]), selection_delta=st.floats(0, 0.5),
    run=st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
)


def plan(**changes: Any) -> Plan:
    given: dict[str, Any] = {"purpose": "a test", "unit": PrivacyUnit(), "relation": Relation.ADD_REMOVE, "steps": (STEP,), "run": "r", **changes}
    return Plan(**given)


@given(PLANS)
def test_a_plan_survives_its_plain_form(found: Plan) -> None:
    again = Plan.from_dict(found.to_dict())
    assert again == found
    assert again.digest == found.digest


@pytest.mark.parametrize("changes", [
    {"purpose": "another"}, {"unit": PrivacyUnit("user", "user")}, {"relation": Relation.REPLACE}, {"steps": (STEP, STEP)}, {"mechanism": "skellam"},
    {"selection_delta": 1e-9}, {"run": "s"}, {"steps": (dataclasses.replace(STEP, noise_multiplier=5.000001),)},
    {"steps": (dataclasses.replace(STEP, repeats=4),)}, {"steps": (dataclasses.replace(STEP, l0=3),)},
])
def test_whatever_differs_shows_in_the_digest(changes: dict[str, Any]) -> None:
    assert plan(**changes).digest != plan().digest
    assert plan().digest == plan().digest


def test_two_runs_of_the_same_steps_are_two_plans() -> None:
    first, second = (Plan("a test", PrivacyUnit(), Relation.ADD_REMOVE, (STEP,)) for _ in range(2))
    assert first.digest != second.digest


def test_a_plan_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan().run = "other"  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        STEP.noise_multiplier = 0.1  # type: ignore[misc]


def test_steps_are_numbered_over_all_repeats() -> None:
    found = plan(steps=(PlanStep("histogram@1", 2, 3.0, 8), PlanStep("cells@1", 3, 4.0, 16, l0=20)))
    assert [found.step(i).kind for i in range(5)] == ["histogram@1"] * 2 + ["cells@1"] * 3
    assert (found.total_steps, found.samples, found.kinds) == (5, 2 * 8 + 3 * 16, ("histogram@1", "cells@1"))
    for index in (-1, 5, 1000):
        with pytest.raises(OffPlan, match="from 0 to 4"):
            found.step(index)


@pytest.mark.parametrize(("changes", "message"), [
    ({"kind": "Cells"}, "kind"), ({"kind": "cells@0"}, "kind"), ({"kind": "cells@1\n"}, "kind"), ({"noise_multiplier": 0.0}, "noise_multiplier"),
    ({"noise_multiplier": float("nan")}, "noise_multiplier"), ({"noise_multiplier": float("inf")}, "noise_multiplier"),
    ({"noise_multiplier": -1.0}, "noise_multiplier"), ({"repeats": 0}, "repeats"), ({"repeats": True}, "repeats"), ({"repeats": 1.0}, "repeats"),
    ({"cells": 0}, "cells"), ({"l0": -1}, "l0"), ({"l2": 0}, "l2"),
])
def test_a_step_that_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        dataclasses.replace(STEP, **changes)


@pytest.mark.parametrize(("changes", "message"), [
    ({"purpose": "  "}, "purpose"), ({"steps": ()}, "steps|PlanStep"), ({"steps": [STEP]}, "tuple"), ({"mechanism": "cauchy"}, "mechanism"),
    ({"sampler": "poisson"}, "sampler"), ({"selection_delta": 1.0}, "selection_delta"), ({"selection_delta": -0.1}, "selection_delta"),
    ({"selection_delta": float("nan")}, "selection_delta"), ({"run": ""}, "run"),
])
def test_a_plan_that_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plan(**changes)


@pytest.mark.parametrize("damage", [
    {"steps": None}, {"steps": [3]}, {"steps": [{}]}, {"unit": {}, "extra": 1}, {"unit": 3}, {"relation": "sideways"}, {"purpose": 5},
    {"sampler": "x"}, {"selection_delta": "much"}, {"unknown": 1},
])
def test_a_damaged_plain_form_is_refused(damage: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="Expected"):
        Plan.from_dict({**plan().to_dict(), **damage})


def test_a_plain_form_that_lacks_a_field_is_refused() -> None:
    for name in ("purpose", "unit", "relation", "steps"):
        data = plan().to_dict()
        del data[name]
        with pytest.raises(UsageError, match="Expected a plan"):
            Plan.from_dict(data)
