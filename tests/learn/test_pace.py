"""With loud noise a linear model takes fewer steps and clips; with quiet noise it is what it always was."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score
from tests.learn.conftest import InMemory, easy, guard_of, spec_of

from tacit import Budget
from tacit.domain import Category, Domain, Numeric
from tacit.errors import UsageError
from tacit.federation import LocalFederation, Parties
from tacit.guard import Curator, plan_cost
from tacit.learn import fit_linear
from tacit.learn.regression import FEWEST, ITERATIONS, Pace, usual_length
from tacit.questions import GRID, LinearGradient, SessionCache, Target
from tacit.questions.linear import DESIGN_UNIT, design

LOUD, QUIET = Budget(0.5, 1e-3), Budget(8.0, 1e-5)


def questions_of(budget: Budget, *, rows: int, task: str = "two classes", **changes: Any) -> list[LinearGradient]:
    aggregator = InMemory.of(easy(rows), count=rows, **changes)
    fit_linear(spec_of(task, budget=budget), aggregator)
    assert sum(step.repeats for step in aggregator.plans[0].steps) == len(aggregator.asked)
    return [question for _, question in aggregator.asked]


def test_quiet_noise_changes_nothing() -> None:
    asked = questions_of(QUIET, rows=20_000)
    assert len(asked) == ITERATIONS
    assert {(question.clip, question.step) for question in asked} == {(None, 1)}


@pytest.mark.parametrize(("task", "first"), [("two classes", 0.5), ("three classes", np.sqrt(2 / 3))])
def test_loud_noise_means_fewer_steps_and_a_clip_at_the_usual_length(task: str, first: float) -> None:
    asked = questions_of(LOUD, rows=300, task=task)
    assert FEWEST <= len(asked) < ITERATIONS
    clip = asked[0].clip
    assert clip is not None
    assert clip / (GRID * DESIGN_UNIT) == pytest.approx(first * np.sqrt(1 + 3 / 3 + 1), rel=1e-6)


def test_units_with_several_rows_keep_their_clip() -> None:
    by = easy(1_000)
    aggregator = Curator(guard_of(by, budget=LOUD, by="user"))
    opened: list[Any] = []
    original = aggregator.open
    aggregator.open = lambda plan: opened.append(plan) or original(plan)  # type: ignore[method-assign,func-returns-value]
    fit_linear(spec_of("two classes", budget=LOUD), aggregator)
    assert opened[0].steps[0].l2 >= GRID * DESIGN_UNIT
    assert opened[0].total_steps < ITERATIONS


def test_the_clip_is_of_single_rows_exactly() -> None:
    """What the question clips, against the same in floating point."""
    data = {name: pa.array(values) for name, values in easy(400).items()}
    domain, target = spec_of("two classes").domain, Target("label", ("good", "bad"))
    assert domain is not None
    weights = np.full((1, 8), 3_000, np.int32)
    guard = guard_of(easy(400), budget=QUIET)
    clip = round(0.7 * GRID)
    answer = LinearGradient(target, "logistic", domain, weights, clip, DESIGN_UNIT).evaluate(guard._records, SessionCache())
    matrix = design(data, 400, domain) / DESIGN_UNIT
    slopes = 1 / (1 + np.exp(-(matrix @ weights[0] / 4_096))) - (np.array(data["label"]) == "bad")
    gradient = slopes[:, None] * matrix
    factor = np.minimum(1, 0.7 / np.linalg.norm(gradient, axis=1))
    assert 20 < (factor < 1).sum() < 380, "the test needs rows on both sides"
    np.testing.assert_allclose(answer / GRID, (factor[:, None] * gradient).sum(axis=0), atol=400 * 2 / GRID)


def test_few_records_with_loud_noise_are_learned_better_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = easy(4_000, seed=9)
    table, bad = pa.table({name: pa.array(column) for name, column in fresh.items()}), fresh["label"] == "bad"

    def quality(budget: Budget) -> float:
        found = []
        for seed in range(60):
            model = fit_linear(spec_of("two classes", budget=budget), Curator(guard_of(easy(300, seed=seed), budget=budget)))
            found.append(roc_auc_score(bad, model.margins(table)[:, 0]))
        return statistics.fmean(found)

    budget = Budget(0.3, 1e-3)
    paced = quality(budget)
    monkeypatch.setattr(Pace, "at", classmethod(lambda cls, *_args, **_given: cls(ITERATIONS, False)))
    assert paced > 0.77  # usual: 0.817, its standard error 0.003
    assert paced > quality(budget) + 0.02  # usual: 0.642, its standard error 0.021


def test_sites_share_the_noise_of_a_linear_model_in_steps_that_fit_32_bits() -> None:
    data = easy(600)
    parts = [{name: column[site::4] for name, column in data.items()} for site in range(4)]
    sites = [guard_of(part, budget=LOUD) for part in parts]
    federation = LocalFederation(sites, parties=Parties.of(4))
    opened: list[Any] = []
    original = federation.open
    federation.open = lambda plan: opened.append(plan) or original(plan)  # type: ignore[method-assign,func-returns-value]
    fit_linear(spec_of("two classes", budget=LOUD), federation)
    step = opened[0].steps[-1]
    widest = 600 * GRID + 12 * 2 * step.noise_multiplier * step.l2
    assert widest < 2**31
    assert plan_cost(opened[0]).bridge_shift < 1e-3 * LOUD.epsilon


def test_a_step_of_answers_is_a_power_of_two() -> None:
    weights = np.zeros((1, 2), np.int32)
    for wrong in (0, 3, 2048, -1, True):
        with pytest.raises(UsageError, match="power of two"):
            LinearGradient(Target("y", ("0", "1")), "logistic", Domain.of(x=Numeric(0, 1)), weights, None, wrong)


@pytest.mark.parametrize("kinds", [[], [None], [Numeric(0, 1)], [Category(("a",)), Numeric(0, 1), None]])
def test_a_usual_record_is_no_longer_than_the_longest(kinds: list[Any]) -> None:
    measure: Callable[..., float] = usual_length
    assert 0.5 <= measure("logistic", kinds) <= 0.5 * np.sqrt(1 + len(kinds))
