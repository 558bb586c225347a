"""`tacit account`: what epsilon a noise means and which noise an epsilon needs, against exact values and a second accountant."""

from __future__ import annotations

import math
from typing import Any

import mpmath
import pytest

from tacit.errors import UsageError
from tacit.guarantee import Relation
from tacit.guard.accounting import Accounted, epsilon_for, noise_for


def one_sampled_answer(epsilon: float, rate: float, noise: float) -> Any:
    """Exact δ of one Poisson-sampled Gaussian answer under removal: q · δ_Gauss(log(1 + (e^ε - 1)/q)), in 50 digits."""
    with mpmath.workdps(50):
        e = mpmath.log(1 + mpmath.expm1(mpmath.mpf(epsilon)) / rate)
        mu = 1 / mpmath.mpf(noise)
        return rate * (mpmath.ncdf(mu / 2 - e / mu) - mpmath.exp(e) * mpmath.ncdf(-mu / 2 - e / mu))


@pytest.mark.parametrize(("rate", "noise"), [(0.5, 1.0), (0.1, 0.8), (0.01, 1.2), (0.9, 3.0)])
@pytest.mark.parametrize("fast", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_one_sampled_answer_is_accounted_exactly_and_rounded_up(rate: float, noise: float, fast: bool) -> None:
    delta = 1e-6
    found = epsilon_for(sampling_rate=rate, noise_multiplier=noise, steps=1, delta=delta, fast=fast)
    grid = 1e-3 if fast else 1e-4
    assert found.accountant == "pld"
    assert one_sampled_answer(found.epsilon, rate, noise) <= delta
    assert one_sampled_answer(max(0.0, found.epsilon - 2 * grid), rate, noise) > delta or found.epsilon <= 2 * grid


@pytest.mark.parametrize("steps", [1, 30, 500])
@pytest.mark.parametrize(("rate", "noise"), [(0.02, 1.0), (0.3, 4.0), (1.0, 20.0)])
def test_the_second_opinion_is_looser(steps: int, rate: float, noise: float) -> None:
    found = epsilon_for(sampling_rate=rate, noise_multiplier=noise, steps=steps, delta=1e-5, fast=True)
    assert found.renyi_epsilon is not None
    assert found.epsilon < found.renyi_epsilon


def test_the_published_figure_of_dp_sgd() -> None:
    """Abadi et al. 2016, section 5: q = 0.01, σ = 4, 10,000 steps, δ = 1e-5 give ε = 1.26 by moments; it is less by distributions."""
    found = epsilon_for(sampling_rate=0.01, noise_multiplier=4.0, steps=10_000, delta=1e-5, fast=True)
    assert 0.9 < found.epsilon < 1.26


def test_where_nothing_is_sampled_the_gaussian_curve_is_exact() -> None:
    found = epsilon_for(sampling_rate=1.0, noise_multiplier=10.0, steps=100, delta=1e-5)
    assert (found.accountant, round(found.epsilon, 4)) == ("exact Gaussian", 4.3772)
    nearly = epsilon_for(sampling_rate=1 - 1e-9, noise_multiplier=10.0, steps=100, delta=1e-5, fast=True)
    assert nearly.epsilon == pytest.approx(found.epsilon, rel=1e-3)


def test_replacing_a_record_moves_a_sum_twice_as_far() -> None:
    twice = epsilon_for(sampling_rate=1.0, noise_multiplier=10.0, steps=20, delta=1e-5, relation=Relation.REPLACE)
    once = epsilon_for(sampling_rate=1.0, noise_multiplier=5.0, steps=20, delta=1e-5)
    assert twice.epsilon == pytest.approx(once.epsilon, rel=1e-12)
    assert twice.renyi_epsilon is None
    sampled = [epsilon_for(sampling_rate=0.05, noise_multiplier=2.0, steps=20, delta=1e-5, relation=r, fast=True).epsilon for r in Relation]
    assert sampled[1] > 1.5 * sampled[0]
    assert sampled[2] == pytest.approx(sampled[0], rel=1e-3)


@pytest.mark.parametrize("change", [
    {"noise_multiplier": 1.2}, {"steps": 50}, {"sampling_rate": 0.01}, {"delta": 1e-4},
])
def test_epsilon_falls_with_noise_and_delta_and_rises_with_steps_and_rate(change: dict[str, Any]) -> None:
    base: dict[str, Any] = {"sampling_rate": 0.02, "noise_multiplier": 1.0, "steps": 100, "delta": 1e-5, "fast": True}
    assert epsilon_for(**{**base, **change}).epsilon < epsilon_for(**base).epsilon


@pytest.mark.parametrize(("epsilon", "rate", "steps", "relation"), [
    (1.0, 1.0, 100, Relation.ADD_REMOVE), (0.5, 0.1, 10, Relation.ZERO_OUT), (2.0, 1.0, 7, Relation.REPLACE),
    pytest.param(3.0, 0.02, 200, Relation.ADD_REMOVE, marks=pytest.mark.slow), pytest.param(2.0, 0.05, 20, Relation.REPLACE, marks=pytest.mark.slow),
])
def test_the_two_questions_are_inverse(epsilon: float, rate: float, steps: int, relation: Relation) -> None:
    given: dict[str, Any] = {"sampling_rate": rate, "steps": steps, "delta": 1e-5, "relation": relation, "fast": True}
    found = noise_for(epsilon=epsilon, **given)
    assert found.epsilon <= epsilon
    assert epsilon_for(noise_multiplier=found.noise_multiplier, **given).epsilon == found.epsilon
    assert epsilon_for(noise_multiplier=found.noise_multiplier * (1 - 2e-4), **given).epsilon > epsilon


@pytest.mark.slow
def test_the_fine_answer_is_at_least_as_good_as_the_fast_one() -> None:
    given: dict[str, Any] = {"epsilon": 1.0, "sampling_rate": 0.02, "steps": 50, "delta": 1e-5}
    fine, fast = noise_for(**given), noise_for(**given, fast=True)
    assert fine.epsilon <= 1.0
    assert fine.noise_multiplier <= fast.noise_multiplier * (1 + 1e-3)


def test_a_chance_below_delta_needs_no_noise_and_the_search_ends() -> None:
    found = noise_for(epsilon=1.0, sampling_rate=1e-7, steps=1, delta=1e-5, fast=True)
    assert found.noise_multiplier == 0.25
    assert found.epsilon == 0


@pytest.mark.parametrize("change", [
    {"sampling_rate": 0.0}, {"sampling_rate": 1.1}, {"sampling_rate": math.nan}, {"steps": 0}, {"steps": 1.5}, {"steps": True}, {"delta": 0.0},
    {"delta": 1.0}, {"noise_multiplier": 0.0}, {"noise_multiplier": math.inf}, {"noise_multiplier": math.nan},
])
def test_parameters_out_of_range_are_named(change: dict[str, Any]) -> None:
    given: dict[str, Any] = {"sampling_rate": 0.1, "noise_multiplier": 1.0, "steps": 1, "delta": 1e-5, **change}
    with pytest.raises(UsageError, match=f"Expected .*{next(iter(change))}"):
        epsilon_for(**given)


@pytest.mark.parametrize("epsilon", [0.0, -1.0, math.inf, math.nan])
def test_an_epsilon_that_is_no_target_is_refused(epsilon: float) -> None:
    with pytest.raises(UsageError, match="epsilon"):
        noise_for(epsilon=epsilon, sampling_rate=1.0, steps=1, delta=1e-5)


def test_an_answer_says_what_it_depends_on() -> None:
    found = Accounted(1.0, 1e-5, 0.1, 2.0, 3, Relation.REPLACE, "pld", None)
    assert found.to_dict() == {
        "epsilon": 1.0, "delta": 1e-5, "sampling_rate": 0.1, "noise_multiplier": 2.0, "steps": 3, "relation": "replace", "accountant": "pld",
        "renyi_epsilon": None,
    }
