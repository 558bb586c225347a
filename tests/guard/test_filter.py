"""Whether one more plan fits when plans may depend on earlier answers: exactly up to the budget, in any order, for any mixture."""

from __future__ import annotations

import math
from typing import Any

import dp_accounting
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.errors import Refused, UsageError
from tacit.guarantee import Budget, PrivacyUnit, Relation
from tacit.guard.accounting import (
    BRIDGE_FACTOR,
    BRIDGE_SHARE,
    EXTRAS_SHARE,
    RENYI_SHARE,
    Cost,
    gaussian_part,
    gdp_delta,
    gdp_epsilon,
    gdp_mu,
    plan_cost,
)
from tacit.guard.events import SkellamDpEvent
from tacit.guard.filters import Filter
from tacit.guard.plan import Plan, PlanStep

BUDGET = Budget(1.0, 1e-5)


def gaussian(mu_squared: float, **extra: Any) -> Cost:
    return Cost(dp_accounting.GaussianDpEvent(1 / math.sqrt(mu_squared)), mu_squared, **extra)


def sampled(rate: float = 0.01, noise: float = 1.0, steps: int = 1) -> Cost:
    event = dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.GaussianDpEvent(noise))
    return Cost(dp_accounting.SelfComposedDpEvent(event, steps), None)


def skellam(multiplier: float, l2: int = 4096, repeats: int = 1) -> Cost:
    return plan_cost(Plan("t", PrivacyUnit(), Relation.ADD_REMOVE, (PlanStep("cells@1", repeats, multiplier, 8, l0=2, l2=l2),), "skellam", run="r"))


def whole(budget: Budget = BUDGET) -> float:
    """All the μ² that a budget has."""
    return gdp_mu(*gaussian_part(budget)) ** 2


COST = st.one_of(
    st.floats(1e-6, 2e-2).map(gaussian),
    st.builds(sampled, st.sampled_from([0.001, 0.01, 0.05]), st.sampled_from([0.8, 1.0, 4.0]), st.integers(1, 20)),
    st.builds(skellam, st.sampled_from([10.0, 40.0, 200.0]), st.sampled_from([1, 64, 4096])),
    st.builds(gaussian, st.floats(1e-6, 1e-3), selection_delta=st.sampled_from([1e-7, 4e-7, 2e-6])),
)


# ----------------------------------------------------------------------------------------------------- exactly up to the budget


@pytest.mark.parametrize("epsilon", [0.05, 1.0, 8.0])
@pytest.mark.parametrize("parts", [1, 2, 7, 1000])
def test_it_admits_exactly_up_to_the_budget(epsilon: float, parts: int) -> None:
    budget = Budget(epsilon, 1e-6)
    rule, one = Filter(budget), gaussian(whole(budget) / parts)
    assert rule.admits([one] * parts)
    assert not rule.admits([one] * (parts + 1))
    assert not rule.admits([*[one] * (parts - 1), gaussian(whole(budget) / parts + 1e-7 * whole(budget))])


def test_what_it_ignores_would_overspend() -> None:
    """Each half fits alone; a filter that forgot earlier costs would admit them for ever."""
    half = gaussian(0.5 * whole())
    rule = Filter(BUDGET)
    assert rule.admits([half])
    assert rule.admits([half, half])
    assert not rule.admits([half, half, half])


def test_everything_admitted_is_within_epsilon_and_delta_together() -> None:
    """The Gaussian part at its largest, the Rényi part and the extras add up to no more than δ, at ε with the bridge's share in it."""
    spent = gaussian(whole())
    assert Filter(BUDGET).admits([spent])
    # With the most that stand-ins may add to ε and multiply δ by.
    gaussian_delta = math.exp(BRIDGE_FACTOR) * gdp_delta(math.sqrt(whole()), BUDGET.epsilon * (1 - BRIDGE_SHARE))
    assert gaussian_delta + (RENYI_SHARE + EXTRAS_SHARE) * BUDGET.delta <= BUDGET.delta * (1 + 1e-12)
    assert gaussian_delta >= 0.8499 * BUDGET.delta


def test_nothing_spent_is_nothing() -> None:
    state = Filter(BUDGET).spent([])
    assert (state.epsilon, state.fixed_epsilon, state.plans) == (0, 0, 0)
    assert state.left == pytest.approx(BUDGET.epsilon, rel=1e-6)
    assert state.left <= BUDGET.epsilon


def test_noise_that_is_none_never_fits() -> None:
    infinite = Cost(dp_accounting.GaussianDpEvent(0.0), math.inf)
    for kind in ("auto", "renyi"):
        assert not Filter(Budget(1000.0, 0.5), kind=kind).admits([infinite])


# ------------------------------------------------------------------------------------------------------------------ properties


@settings(max_examples=40)
@given(st.lists(COST, min_size=1, max_size=8), st.sampled_from(["auto", "renyi"]), st.sampled_from([0.3, 1.0, 5.0]))
def test_admission_is_monotone_and_does_not_depend_on_the_order(costs: list[Cost], kind: str, epsilon: float) -> None:
    rule = Filter(Budget(epsilon, 1e-5), kind=kind)
    if rule.admits(costs):
        assert all(rule.admits(costs[:n]) for n in range(len(costs)))
        assert all(rule.admits(costs[:n] + costs[n + 1 :]) for n in range(len(costs)))
    assert rule.admits(costs) == rule.admits(costs[::-1])


@settings(max_examples=40)
@given(st.lists(COST, min_size=1, max_size=8), st.sampled_from(["auto", "renyi"]), st.sampled_from([0.3, 1.0, 5.0]))
def test_the_figure_that_is_shown_is_the_one_that_decides(costs: list[Cost], kind: str, epsilon: float) -> None:
    rule = Filter(Budget(epsilon, 1e-5), kind=kind)
    shown = rule.epsilon(costs)
    assert not rule.admits(costs) or shown <= epsilon * (1 + 1e-8)
    assert shown > epsilon * (1 - 1e-8) or rule.admits(costs)
    state = rule.spent(costs)
    assert state.epsilon == shown
    assert state.plans == len(costs)
    assert 0 <= state.left <= epsilon


@settings(max_examples=15)
@given(st.lists(COST, min_size=1, max_size=5), st.sampled_from(["auto", "renyi"]))
def test_fixed_beforehand_never_costs_more(costs: list[Cost], kind: str) -> None:
    rule = Filter(Budget(2.0, 1e-5), kind=kind)
    assert 0 <= rule.fixed_epsilon(costs) <= rule.epsilon(costs)


@settings(max_examples=30)
@given(st.lists(st.floats(1e-4, 0.02), min_size=1, max_size=10))
def test_what_is_left_is_exactly_what_still_fits(parts: list[float]) -> None:
    rule, costs = Filter(BUDGET), [gaussian(part) for part in parts]
    left = rule.left(costs)
    if not rule.admits(costs):
        assert left == 0
        return
    _, delta = gaussian_part(BUDGET)
    if left > 1e-3:
        assert rule.admits([*costs, gaussian(gdp_mu(left * (1 - BRIDGE_SHARE) * (1 - 1e-6), delta) ** 2)])
    assert not rule.admits([*costs, gaussian(gdp_mu((left + 1e-3) * (1 - BRIDGE_SHARE), delta) ** 2)])


# ----------------------------------------------------------------------------------------------------------- kinds of mixture


def test_a_sampled_plan_moves_the_scope_to_the_renyi_filter() -> None:
    rule = Filter(Budget(3.0, 1e-5))
    assert rule.spent([gaussian(0.01)]).accountant == "gaussian filter"
    mixed = rule.spent([gaussian(0.01), sampled(steps=100)])
    assert mixed.accountant.startswith("renyi filter")
    assert mixed.mu_squared is None
    assert mixed.epsilon > rule.epsilon([gaussian(0.01)])


def test_the_renyi_figure_is_never_below_what_dp_accounting_says_at_that_order() -> None:
    budget = Budget(3.0, 1e-5)
    costs = [gaussian(0.02), sampled(0.01, 1.0, 50), sampled(0.02, 2.0, 10)]
    rule = Filter(budget, kind="renyi")
    order = int(rule.spent(costs).accountant.rsplit(" ", 1)[1])
    theirs = dp_accounting.rdp.RdpAccountant([order]).compose(dp_accounting.ComposedDpEvent([cost.event for cost in costs]))
    at_its_delta = theirs.get_epsilon((1 - EXTRAS_SHARE) * budget.delta)
    assert rule.epsilon(costs) == pytest.approx(at_its_delta, rel=1e-6)
    assert rule.epsilon(costs) >= theirs.get_epsilon(budget.delta)


def test_a_renyi_scope_has_more_room_for_sampled_plans_and_less_for_gaussian_ones() -> None:
    auto, renyi = Filter(BUDGET), Filter(BUDGET, kind="renyi")
    most = max(steps for steps in range(1, 20_000, 50) if renyi.admits([sampled(0.02, 4.0, steps)]))
    assert 100 < most < 19_900
    assert not auto.admits([sampled(0.02, 4.0, most)])
    assert auto.admits([gaussian(whole())])
    assert not renyi.admits([gaussian(whole())])


def test_gaussian_plans_alone_still_count_once_a_sampled_plan_came() -> None:
    rule = Filter(Budget(3.0, 1e-5))
    most = gaussian(whole(Budget(3.0, 1e-5)))
    assert rule.admits([most])
    assert not rule.admits([most, sampled(steps=1)])
    assert not rule.admits([sampled(steps=1), most])


def test_fine_skellam_is_gaussian_and_coarse_skellam_is_not() -> None:
    rule = Filter(BUDGET)
    assert rule.spent([skellam(40.0)]).accountant == "gaussian filter"
    assert rule.epsilon([skellam(40.0)]) == pytest.approx(rule.epsilon([gaussian(1 / 1600)]), rel=1e-6)
    coarse = skellam(40.0, l2=1)
    assert rule.spent([coarse]).accountant.startswith("renyi filter")
    assert rule.admits([coarse])


def test_stand_ins_use_up_the_bridge_and_then_the_gaussian_figure_is_gone() -> None:
    one = skellam(500.0, l2=64, repeats=10)
    few = int(min(BRIDGE_SHARE * BUDGET.epsilon / one.bridge_shift, BRIDGE_FACTOR / one.bridge_factor))
    rule = Filter(BUDGET)
    assert few > 2
    assert rule.spent([one] * few).accountant == "gaussian filter"
    assert rule.spent([one] * (few + 1)).accountant.startswith("renyi filter")


@pytest.mark.parametrize("cost", [
    Cost(dp_accounting.ComposedDpEvent([SkellamDpEvent(64.0, 64.0, 1e6), dp_accounting.LaplaceDpEvent(20.0)]), None),
    Cost(dp_accounting.ZCDpEvent(0.01), None),
    Cost(dp_accounting.LaplaceDpEvent(20.0), None),
], ids=["skellam with laplace", "zcdp", "laplace"])
def test_other_events_have_both_figures(cost: Cost) -> None:
    rule = Filter(BUDGET)
    assert 0 < rule.fixed_epsilon([cost]) <= rule.epsilon([cost]) < math.inf


def test_laplace_alone_is_accounted_as_tightly_as_it_is() -> None:
    """Pure ε = 1/20, whatever δ; fixed beforehand the distribution of privacy loss knows it."""
    assert Filter(BUDGET).fixed_epsilon([Cost(dp_accounting.LaplaceDpEvent(20.0), None)]) == pytest.approx(0.05, abs=2e-3)


def test_a_sampled_event_under_replace_is_refused() -> None:
    with pytest.raises(Refused, match="replace"):
        Filter(BUDGET, Relation.REPLACE).admits([sampled(noise=4.0)])
    assert Filter(BUDGET, Relation.ZERO_OUT).admits([sampled(noise=4.0)])


def test_a_sampled_event_that_no_renyi_bound_covers_is_refused() -> None:
    with pytest.raises(Refused, match="unknown event"):
        Filter(BUDGET).admits([Cost(dp_accounting.TruncatedSubsampledGaussianDpEvent(1000, 0.01, 20, 1.5), None)])


# ------------------------------------------------------------------------------------------------- the share of everything else


@pytest.mark.parametrize("kind", ["auto", "renyi"])
def test_selections_share_a_tenth_of_delta(kind: str) -> None:
    rule, one = Filter(BUDGET, kind=kind), gaussian(1e-4, selection_delta=0.04 * BUDGET.delta)
    assert rule.admits([one, one])
    assert not rule.admits([one, one, one])
    assert rule.epsilon([one, one, one]) == math.inf
    assert rule.extras_left([one, one]) == pytest.approx(0.02 * BUDGET.delta, rel=1e-6)
    assert rule.extras_left([one] * 3) == 0


def test_the_distance_of_samplers_is_charged_with_its_factor() -> None:
    room = EXTRAS_SHARE * BUDGET.delta / (1 + math.exp(BUDGET.epsilon))
    rule = Filter(BUDGET)
    assert rule.admits([gaussian(1e-4, sampler_distance=room * (1 - 1e-9))])
    assert not rule.admits([gaussian(1e-4, sampler_distance=room * (1 + 1e-9))])


def test_extras_make_the_fixed_figure_larger() -> None:
    plain, extra = gaussian(0.01), gaussian(0.01, selection_delta=0.09 * BUDGET.delta)
    rule = Filter(BUDGET)
    assert rule.fixed_epsilon([plain]) == pytest.approx(gdp_epsilon(0.1, BUDGET.delta), rel=1e-9)
    assert rule.fixed_epsilon([extra]) > rule.fixed_epsilon([plain])
    assert rule.fixed_epsilon([extra]) == pytest.approx(gdp_epsilon(0.1, 0.91 * BUDGET.delta), rel=1e-6)


def test_a_filter_of_no_kind_is_refused() -> None:
    with pytest.raises(UsageError, match="auto, renyi"):
        Filter(BUDGET, kind="hopeful")


def test_the_state_is_plain_data() -> None:
    state = Filter(BUDGET).spent([gaussian(0.01)]).to_dict()
    assert state["budget"] == {"epsilon": 1.0, "delta": 1e-5}
    assert set(state) == {"epsilon", "fixed_epsilon", "left", "budget", "mu_squared", "plans", "accountant"}
