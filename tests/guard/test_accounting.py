"""What a plan costs: the exact Gaussian curve, its rounding, the samplers' share of delta, and events that nobody accounts for."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import dp_accounting
import mpmath
import pytest
from dp_accounting.pld import privacy_loss_mechanism
from hypothesis import example, given
from hypothesis import strategies as st

from tacit.errors import Refused, UsageError
from tacit.guarantee import Budget, PrivacyUnit, Relation
from tacit.guard.accounting import (
    EXTRAS_SHARE,
    GAUSSIAN_SHARE,
    MOST_SITES,
    RENYI_SHARE,
    Cost,
    gaussian_part,
    gdp_delta,
    gdp_epsilon,
    gdp_mu,
    mu_for,
    plan_cost,
    plan_event,
    sampler_distance,
)
from tacit.guard.events import SkellamDpEvent, event_from_dict, event_to_dict, gaussian_mu_squared
from tacit.guard.filters import Filter
from tacit.guard.plan import Plan, PlanStep
from tacit.randomness import rounded_gaussian_distance, skellam_distance

LOG_MU = st.floats(math.log(1e-3), math.log(100.0))
EPSILON = st.floats(0.0, 60.0)


def exact_delta(mu: float, epsilon: float) -> Any:
    """Balle & Wang 2018, theorem 8, in 60 digits."""
    with mpmath.workdps(60):
        m, e = mpmath.mpf(mu), mpmath.mpf(epsilon)
        return mpmath.ncdf(m / 2 - e / m) - mpmath.exp(e) * mpmath.ncdf(-m / 2 - e / m)


def plan(*steps: PlanStep, mechanism: str = "gaussian", selection_delta: float = 0.0, relation: Relation = Relation.ADD_REMOVE) -> Plan:
    return Plan("a test", PrivacyUnit(), relation, steps, mechanism=mechanism, selection_delta=selection_delta, run="r")


# ------------------------------------------------------------------------------------------------------- the Gaussian curve


@given(LOG_MU, EPSILON)
@example(math.log(100.0), 5000.0)
@example(math.log(1e-3), 1e-3)
@example(math.log(1.0), 0.0)
def test_delta_is_never_below_the_truth_and_hardly_above(log_mu: float, epsilon: float) -> None:
    mu = math.exp(log_mu)
    truth, got = exact_delta(mu, epsilon), gdp_delta(mu, epsilon)
    assert got >= truth or truth < 1e-300
    assert got <= truth * (1 + 1e-8) + 1e-13


@given(LOG_MU, st.floats(-14.0, -0.1))
def test_epsilon_is_the_smallest_that_is_enough(log_mu: float, log_delta: float) -> None:
    mu, delta = math.exp(log_mu), 10**log_delta
    epsilon = gdp_epsilon(mu, delta)
    assert exact_delta(mu, epsilon) <= delta
    assert epsilon == 0 or exact_delta(mu, epsilon * (1 - 1e-7)) > delta * (1 - 1e-9)


@given(st.floats(1e-3, 50.0), st.floats(-14.0, -0.5))
def test_mu_is_the_largest_that_is_allowed(epsilon: float, log_delta: float) -> None:
    delta = 10**log_delta
    mu = gdp_mu(epsilon, delta)
    assert exact_delta(mu, epsilon) <= delta
    assert exact_delta(mu * (1 + 2e-8), epsilon) > delta


@pytest.mark.parametrize(("mu", "epsilon"), [(0.3, 0.5), (1.0, 1.0), (1.0, 4.0), (3.0, 8.0), (0.05, 0.2)])
def test_dp_accounting_agrees_about_one_gaussian_answer(mu: float, epsilon: float) -> None:
    theirs = privacy_loss_mechanism.GaussianPrivacyLoss(1 / mu).get_delta_for_epsilon(epsilon)
    assert gdp_delta(mu, epsilon) == pytest.approx(theirs, rel=1e-7)


@pytest.mark.parametrize("parts", [[6.0], [3.0, 4.0, 12.0], [10.0] * 25])
def test_composition_agrees_with_privacy_loss_distributions(parts: list[float]) -> None:
    event = dp_accounting.ComposedDpEvent([dp_accounting.GaussianDpEvent(sigma) for sigma in parts])
    mu_squared = gaussian_mu_squared(event)
    assert mu_squared == pytest.approx(sum(1 / sigma**2 for sigma in parts), rel=1e-12)
    accountant = dp_accounting.pld.PLDAccountant(value_discretization_interval=1e-4).compose(event)
    ours = gdp_epsilon(math.sqrt(mu_squared), 1e-6)
    assert ours <= accountant.get_epsilon(1e-6) <= ours + 1e-3
    renyi = dp_accounting.rdp.RdpAccountant([1.5, 2, 4, 8, 16, 32, 64, 128, 256]).compose(event)
    assert ours < renyi.get_epsilon(1e-6)


def test_the_ends_of_the_curve() -> None:
    assert gdp_delta(0.0, 0.0) == 0
    assert gdp_delta(math.inf, 3.0) == 1
    assert gdp_delta(1.0, math.inf) == 0
    assert gdp_epsilon(0.0, 1e-9) == 0
    assert gdp_epsilon(math.inf, 1e-9) == math.inf
    assert gdp_epsilon(1e-6, 1e-5) == 0


@pytest.mark.parametrize("call", [
    lambda: gdp_delta(-1.0, 1.0), lambda: gdp_delta(math.nan, 1.0), lambda: gdp_delta(1.0, -0.1), lambda: gdp_epsilon(1.0, 0.0),
    lambda: gdp_epsilon(1.0, 1.0), lambda: gdp_mu(0.0, 1e-6), lambda: gdp_mu(math.inf, 1e-6), lambda: gdp_mu(math.nan, 1e-6),
    lambda: gdp_mu(1.0, 2.0),
])
def test_numbers_that_mean_nothing_are_refused(call: Any) -> None:
    with pytest.raises(UsageError, match="Expected"):
        call()


# ------------------------------------------------------------------------------------------------------------ costs of plans


def test_a_plan_costs_what_its_steps_compose_to() -> None:
    cost = plan_cost(plan(PlanStep("histogram@1", 1, 30.0, 1024), PlanStep("cells@1", 200, 60.0, 128, l0=2)))
    assert cost.mu_squared == pytest.approx(1 / 900 + 200 / 3600, rel=1e-12)
    assert cost.samples == 1024 + 200 * 2
    assert cost.sampler_distance == cost.samples * 2.0**-65
    assert (cost.bridge_shift, cost.bridge_factor, cost.bridge_tail, cost.selection_delta) == (0, 0, 0, 0)


def test_repeats_cost_as_much_as_steps_written_out() -> None:
    short = plan_cost(plan(PlanStep("cells@1", 7, 9.0, 16, l0=3)))
    long = plan_cost(plan(*[PlanStep("cells@1", 1, 9.0, 16, l0=3)] * 7))
    assert short.mu_squared == pytest.approx(long.mu_squared, rel=1e-14)
    assert (short.samples, short.sampler_distance) == (long.samples, pytest.approx(long.sampler_distance))
    step = PlanStep("cells@1", 7, 9.0, 16, l0=3, l2=4096)
    short, long = (plan_cost(plan(*steps, mechanism="skellam")) for steps in ((step,), [replace(step, repeats=1)] * 7))
    assert short.bridge_shift == pytest.approx(long.bridge_shift, rel=1e-12)
    assert 0 < short.bridge_factor <= long.bridge_factor
    assert short.bridge_tail <= long.bridge_tail


def test_skellam_costs_a_little_more_than_the_gaussian_it_stands_for() -> None:
    step = PlanStep("cells@1", 10, 5.0, 64, l0=2, l2=4096)
    gaussian, skellam = plan_cost(plan(step)), plan_cost(plan(step, mechanism="skellam"))
    assert skellam.mu_squared == pytest.approx(gaussian.mu_squared, rel=1e-12)
    assert skellam.sampler_distance == pytest.approx(20 * sampler_distance((5.0 * 4096) ** 2 + 1 / 12))
    assert 0 < skellam.bridge_shift < 1e-3
    assert 0 < skellam.bridge_factor < 1e-3
    assert 0 < skellam.bridge_tail < 1e-25


def test_a_coarse_grid_makes_no_bridge() -> None:
    cost = plan_cost(plan(PlanStep("cells@1", 1, 5.0, 64, l2=1), mechanism="skellam"))
    assert cost.bridge_shift == cost.bridge_factor == math.inf


@pytest.mark.parametrize("sigma", [0.5, 1.0, 17.3, 213.0, 214.0, 4096.0, 1e6, 1e9, 2.0**45])
def test_the_charged_distance_covers_what_the_gaussian_sampler_states(sigma: float) -> None:
    assert rounded_gaussian_distance(sigma) <= plan_cost(plan(PlanStep("cells@1", 1, sigma, 1))).sampler_distance


@pytest.mark.parametrize("variance", [2.0**-10, 1.0, 2.0**15, 2.0**15 + 1, 1e6, 1e10, 2.0**47])
def test_the_charged_distance_covers_what_the_skellam_sampler_states(variance: float) -> None:
    assert all(sites * skellam_distance(max(variance / sites, 2.0**-10)) <= sampler_distance(variance) for sites in range(1, MOST_SITES + 1))
    assert sampler_distance(variance) < 2.0**-49


def test_a_distance_costs_once_for_each_neighbour() -> None:
    cost = Cost(None, None, 10, sampler_distance=1e-9, bridge_tail=2e-9, selection_delta=1e-8)
    assert cost.delta(2.0) == pytest.approx(1e-8 + 3e-9 * (1 + math.exp(2.0)))
    assert cost.delta(2.0, bridged=False) == pytest.approx(1e-8 + 1e-9 * (1 + math.exp(2.0)))
    assert cost.delta(800.0) == math.inf
    assert Cost(None, None, selection_delta=1e-8).delta(800.0) == 1e-8


def test_the_shares_of_delta_are_the_whole_of_it() -> None:
    assert pytest.approx(1.0) == GAUSSIAN_SHARE + RENYI_SHARE + EXTRAS_SHARE
    epsilon, delta = gaussian_part(Budget(2.0, 1e-5))
    assert epsilon < 2.0
    assert delta < GAUSSIAN_SHARE * 1e-5


@pytest.mark.parametrize("name", ["sampler_distance", "bridge_shift", "bridge_factor", "bridge_tail", "selection_delta"])
@pytest.mark.parametrize("value", [-1e-9, math.nan])
def test_a_negative_cost_does_not_exist(name: str, value: float) -> None:
    with pytest.raises(UsageError, match=name):
        Cost(None, None, **{name: value})


@pytest.mark.parametrize("mechanism", ["gaussian", "skellam"])
@pytest.mark.parametrize("l2", [1, 4096])
def test_a_cost_survives_the_ledger(mechanism: str, l2: int) -> None:
    cost = plan_cost(plan(PlanStep("cells@1", 3, 7.25, 64, l0=2, l2=l2), mechanism=mechanism, selection_delta=1e-9))
    again = Cost.from_dict(cost.to_dict())
    assert again == cost
    assert all(value is None or not isinstance(value, float) or math.isfinite(value) for value in cost.to_dict().values())


def test_the_ledger_is_not_believed_about_mu() -> None:
    """μ² is computed from the event; a forged figure beside it changes nothing."""
    cost = plan_cost(plan(PlanStep("cells@1", 3, 7.0, 64)))
    assert Cost.from_dict({**cost.to_dict(), "mu_squared": 1e-9}).mu_squared == cost.mu_squared


# ------------------------------------------------------------------------------------------------------- what a budget buys


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 8.0])
@pytest.mark.parametrize("mechanism", ["gaussian", "skellam"])
def test_a_budget_buys_exactly_the_plan_that_it_pays_for(epsilon: float, mechanism: str) -> None:
    budget, repeats = Budget(epsilon, 1e-5), 50
    mu = mu_for(budget)

    def costs(scale: float) -> list[Cost]:
        step = PlanStep("cells@1", repeats, math.sqrt(repeats) / (mu * scale), 64, l0=2, l2=1 << 20)
        return [plan_cost(plan(step, mechanism=mechanism))]

    assert mu_for(budget, costs(1.0)) == mu
    assert Filter(budget).admits(costs(1.0))
    assert not Filter(budget).admits(costs(1 + 1e-6))


def test_noise_samples_and_selection_must_fit_in_their_share() -> None:
    with pytest.raises(UsageError, match="Ask fewer coordinates"):
        mu_for(Budget(1.0, 1e-9), [plan_cost(plan(PlanStep("cells@1", 1, 9.0, 1 << 40)))])
    with pytest.raises(UsageError, match="selection_delta"):
        mu_for(Budget(1.0, 1e-9), [Cost(None, None, selection_delta=2e-10)])
    small = Cost(None, None, selection_delta=0.45e-10)
    assert mu_for(Budget(1.0, 1e-9), [small, small]) == mu_for(Budget(1.0, 1e-9))


def test_skellam_noise_on_a_coarse_grid_buys_nothing() -> None:
    with pytest.raises(UsageError, match="finer grid"):
        mu_for(Budget(1.0, 1e-5), [plan_cost(plan(PlanStep("cells@1", 100, 4.0, 64, l2=100), mechanism="skellam"))])
    with pytest.raises(UsageError, match="finer grid"):
        mu_for(Budget(1.0, 1e-5), [plan_cost(plan(PlanStep("cells@1", 1, 10.0, 64), mechanism="skellam"))])


# ------------------------------------------------------------------------------------------- what nobody accounts for: refuse


class StrangeEvent(dp_accounting.DpEvent):
    """An event of somebody else's."""


UNKNOWN = [
    dp_accounting.UnsupportedDpEvent(), dp_accounting.NonPrivateDpEvent(), StrangeEvent(), "no event",
    dp_accounting.ComposedDpEvent([dp_accounting.GaussianDpEvent(1.0), dp_accounting.NonPrivateDpEvent()]),
    dp_accounting.SelfComposedDpEvent(dp_accounting.UnsupportedDpEvent(), 3),
]


@pytest.mark.parametrize("event", UNKNOWN, ids=lambda event: type(event).__name__)
def test_an_unknown_event_is_refused_and_never_free(event: Any) -> None:
    with pytest.raises(Refused, match="unknown event"):
        Filter(Budget(1.0, 1e-5)).admits([Cost(event, None)])
    with pytest.raises(Refused, match="unknown event"):
        event_to_dict(event)


@pytest.mark.parametrize("data", [
    {}, {"type": "magic"}, {"type": 3}, {"type": "gaussian"}, {"type": "gaussian", "noise_multiplier": 1.0, "discount": 0.5},
    {"type": "composed", "events": [{"type": "later"}]},
])
def test_an_event_of_a_later_version_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(Refused, match="unknown event"):
        event_from_dict(data)


@pytest.mark.parametrize("event", [
    dp_accounting.NoOpDpEvent(), dp_accounting.LaplaceDpEvent(2.0), dp_accounting.ZCDpEvent(0.1), SkellamDpEvent(3.0, 2.0, 50.0),
    dp_accounting.SelfComposedDpEvent(dp_accounting.PoissonSampledDpEvent(0.01, dp_accounting.GaussianDpEvent(1.1)), 100),
    dp_accounting.ComposedDpEvent([dp_accounting.GaussianDpEvent(1.0), dp_accounting.LaplaceDpEvent(2.0)]),
    dp_accounting.TruncatedSubsampledGaussianDpEvent(1000, 0.01, 20, 1.5),
], ids=lambda event: type(event).__name__)
def test_an_event_survives_the_ledger(event: Any) -> None:
    assert event_from_dict(event_to_dict(event)) == event


def test_only_gaussian_events_have_a_mu() -> None:
    gaussian, laplace = dp_accounting.GaussianDpEvent(2.0), dp_accounting.LaplaceDpEvent(2.0)
    assert gaussian_mu_squared(dp_accounting.NoOpDpEvent()) == 0
    assert gaussian_mu_squared(dp_accounting.GaussianDpEvent(0.0)) == math.inf
    assert gaussian_mu_squared(dp_accounting.ComposedDpEvent([gaussian, laplace])) is None
    assert gaussian_mu_squared(dp_accounting.PoissonSampledDpEvent(0.5, gaussian)) is None
    assert gaussian_mu_squared(SkellamDpEvent(8.0, 4.0, 64 + 1 / 12)) == pytest.approx(0.25)


@pytest.mark.parametrize(("l1", "l2", "variance"), [
    (1.0, 2.0, 5.0), (-1.0, -1.0, 5.0), (2.0, 1.0, 1 / 12), (2.0, 1.0, math.nan), (math.inf, 1.0, 5.0),
])
def test_an_impossible_skellam_event_is_refused(l1: float, l2: float, variance: float) -> None:
    with pytest.raises(UsageError, match="variance"):
        SkellamDpEvent(l1, l2, variance)


@pytest.mark.parametrize(("field", "value"), [("sampler", "poisson"), ("mechanism", "cauchy")])
def test_a_plan_with_an_unknown_sampler_or_mechanism_has_no_cost(field: str, value: str) -> None:
    doctored = replace(plan(PlanStep("cells@1", 1, 5.0, 4)))
    object.__setattr__(doctored, field, value)
    with pytest.raises(Refused, match="unknown event"):
        plan_event(doctored)
    with pytest.raises(Refused, match="unknown event"):
        plan_cost(doctored)
