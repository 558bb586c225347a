from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.attacks import exact_interval, implied_bound
from tacit.errors import ConfigError
from tacit.guarantee import Guarantee, PrivacyUnit, Relation, Scope, TrustModel
from tacit.guard.policy import DEFAULT_GATES
from tacit.pilot.gates import Gates, _most_area, evaluate_gates
from tacit.pilot.results import FAIL, PASS, UNSETTLED, Attack, Candidate, Control, GateResult, Group, Measure, Rate, Utility

DELTA = 1e-5
STEP = 1e-6


def private(*, epsilon: float = 1.0, utility: Utility | None = None, attacks: tuple[Attack, ...] = (), groups: tuple[Group, ...] = ()) -> Candidate:
    return Candidate("mine", "private", epsilon, DELTA, guarantee_ref="L1", utility=utility or Utility(), attacks=attacks, groups=groups)


def plain(utility: Utility | None = None) -> Candidate:
    return Candidate("base", "baseline", utility=utility or Utility())


def measure(value: float, half: float = 0.0) -> Measure:
    return Measure(value, "M1", value - half, value + half)


def allowed(fpr: float, epsilon: float) -> float:
    bound = implied_bound(fpr, Guarantee(epsilon, DELTA, PrivacyUnit(), Relation.ADD_REMOVE, Scope("x"), TrustModel.curator(), "pld"))
    assert bound is not None
    return bound


def attack(
    hits: int, *, n: int = 3000, epsilon: float = 1.0, fpr: float = 0.01, resolvable: bool = True, control: bool | None = None, auc: float = 0.5,
    half: float = 0.02,
) -> Attack:
    low, high = exact_interval(hits, n)
    rate = Rate(fpr, Measure(hits / n, "M2", low, high), allowed(fpr, epsilon), resolvable)
    null = None if control is None else Control("shuffled", "about 0.50", Measure(0.5, "M2"), control)
    return Attack("LiRA", Measure(auc, "M2", auc - half, min(1.0, auc + half)), (rate,), 16, n, n, null)


def group(gap: float, *, half: float = 0.0, before: float = 0.0, resolvable: bool = True, value: str = "a") -> Group:
    return Group("team", value, 100, "Recall", measure(0.5), measure(gap, half), measure(before), measure(0.5), resolvable)


def gate(name: str, candidate: Candidate, baseline: Candidate | None = None, **gates: float) -> GateResult:
    return next(result for result in evaluate_gates(candidate, baseline, Gates(**gates)) if result.name == name)


# ------------------------------------------------------------ the policy


def test_the_defaults_are_those_of_the_policy() -> None:
    assert Gates() == Gates.from_mapping(DEFAULT_GATES)
    assert (Gates().auc_loss, Gates().recall_loss, Gates().attack_advantage, Gates().group_gap) == (0.02, 0.05, 0.02, 0.05)


@pytest.mark.parametrize("value", [-0.01, 1.01, math.nan, math.inf])
@pytest.mark.parametrize("name", ["auc_loss", "recall_loss", "attack_advantage", "group_gap"])
def test_a_gate_that_is_no_share_is_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=name):
        Gates.from_mapping({name: value})


@pytest.mark.parametrize("data", [{"aucloss": 0.1}, {"ref": 0.1}])
def test_an_unknown_gate_is_refused_by_name(data: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"got «{next(iter(data))}»"):
        Gates.from_mapping(data)


@pytest.mark.parametrize("value", [True, "0.1", None])
def test_a_gate_that_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match="number"):
        Gates.from_mapping({"auc_loss": value})


# ------------------------------------------------------------ utility


@pytest.mark.parametrize(("name", "field"), [("auc_loss", "auc"), ("recall_loss", "recall")])
@pytest.mark.parametrize(("loss", "status"), [(0.03, PASS), (0.03 + STEP, FAIL), (0.0, PASS), (-0.2, PASS), (0.5, FAIL)])
def test_a_loss_passes_up_to_the_threshold(name: str, field: str, loss: float, status: str) -> None:
    mine, theirs = Utility(**{field: Measure(0.8 - loss, "M1")}), Utility(**{field: Measure(0.8, "M2")})
    result = gate(name, private(utility=mine), plain(theirs), **{name: 0.03})
    assert result.status == status
    assert result.value == pytest.approx(loss)
    assert result.refs[:2] == ("M2", "M1")


def test_a_loss_says_whether_the_intervals_agree_and_both_values() -> None:
    clear = gate("auc_loss", private(utility=Utility(measure(0.90, 0.001))), plain(Utility(measure(0.905, 0.001))))
    tight = gate("auc_loss", private(utility=Utility(measure(0.90, 0.01))), plain(Utility(measure(0.915, 0.01))))
    assert (clear.status, clear.settled) == (PASS, True)
    assert (tight.status, tight.settled) == (PASS, False)
    assert tight.why == "loses 1.5 points (0.915 → 0.900); the policy accepts a loss of 2; the intervals allow either outcome"


def test_a_gain_is_called_a_gain() -> None:
    result = gate("recall_loss", private(utility=Utility(recall=measure(0.9))), plain(Utility(recall=measure(0.885))))
    assert result.why.replace("\u00a0", " ") == "gains 1.5 points (88.5 % → 90.0 %); the policy accepts a loss of 5"


@pytest.mark.parametrize("baseline", [None, plain()])
def test_without_a_baseline_to_compare_with_a_loss_is_not_settled(baseline: Candidate | None) -> None:
    result = gate("auc_loss", private(utility=Utility(measure(0.9))), baseline)
    assert (result.status, result.settled, result.value) == (UNSETTLED, False, None)


def test_a_recall_gate_stands_only_where_recall_was_measured() -> None:
    names = [result.name for result in evaluate_gates(private(utility=Utility(measure(0.9))), plain(Utility(measure(0.9))), Gates())]
    assert names == ["auc_loss", "attack_bound", "attack_advantage"]
    assert gate("recall_loss", private(), plain(Utility(recall=measure(0.9)))).status == UNSETTLED


# ------------------------------------------------------------ no attack beats the guarantee


@pytest.mark.parametrize(("hits", "status"), [(0, PASS), (30, PASS), (82, PASS), (110, PASS), (160, UNSETTLED), (300, FAIL), (3000, FAIL)])
def test_an_attack_sets_off_the_alarm_only_beyond_chance(hits: int, status: str) -> None:
    assert gate("attack_bound", private(attacks=(attack(hits),))).status == status


def test_an_attack_between_limit_and_alarm_asks_for_a_repetition_and_blocks() -> None:
    result = gate("attack_bound", private(attacks=(attack(160),)))
    assert "may still be chance, so repeat the pilot" in result.why
    assert not result.settled


def test_a_value_above_the_limit_that_chance_explains_is_said_to_be_chance() -> None:
    epsilon = 0.1
    result = gate("attack_bound", private(epsilon=epsilon, attacks=(attack(36, epsilon=epsilon),)))
    assert result.status == PASS
    assert result.why.replace("\u00a0", " ") == (
        "at 1 % false alarms the attack recognised 1.2 % (0.8 to 1.7); the guarantee allows 1.1 %; so small a difference is chance"
    )


def test_an_attack_that_reaches_just_what_is_allowed_hardly_ever_sets_off_the_alarm() -> None:
    epsilon, n, runs = 0.5, 3000, 4000
    bound = allowed(0.01, epsilon)
    rng = np.random.default_rng(5)
    true_fpr = rng.beta(int(0.01 * n) + 1, n - int(0.01 * n), runs)  # what an empirical threshold at 1 % amounts to
    hits = rng.binomial(n, np.minimum(1.0, true_fpr / 0.01 * bound))  # the worst attacker: on the bound
    model = {int(count): private(epsilon=epsilon, attacks=(attack(int(count), epsilon=epsilon),)) for count in set(hits)}
    counted = {count: gate("attack_bound", candidate).status for count, candidate in model.items()}
    alarms = sum(counted[int(count)] == FAIL for count in hits)
    doubts = sum(counted[int(count)] != PASS for count in hits)
    assert alarms <= 20  # at most one in a thousand is allowed: 4 expected at the very most, 20 has p < 1e-8
    assert doubts <= 400  # at most one in twenty: 200 expected at the very most


def test_the_alarm_of_a_real_breach_is_not_missed() -> None:
    n, runs = 3000, 500
    rng = np.random.default_rng(6)
    hits = rng.binomial(n, 0.15, runs)  # fifteen in a hundred where 2.7 are allowed
    assert all(gate("attack_bound", private(attacks=(attack(int(count)),))).status == FAIL for count in set(hits))


def test_an_attack_whose_control_failed_neither_alarms_nor_reassures() -> None:
    result = gate("attack_bound", private(attacks=(attack(3000, control=False),)))
    assert (result.status, result.settled) == (UNSETTLED, False)
    assert "control" in result.why
    assert gate("attack_bound", private(attacks=(attack(3000, control=True),))).status == FAIL


def test_what_was_not_attacked_is_not_settled() -> None:
    result = gate("attack_bound", private())
    assert (result.status, result.why, result.refs) == (UNSETTLED, "not attacked", ("L1",))


@pytest.mark.parametrize(("auc", "half", "status"), [(0.5, 0.1, PASS), (0.78, 0.1, PASS), (0.8, 0.05, UNSETTLED), (0.9, 0.05, FAIL)])
def test_with_too_few_records_the_attack_is_judged_as_a_whole(auc: float, half: float, status: str) -> None:
    few = attack(3, n=80, resolvable=False, auc=auc, half=half)  # (1, 1e-5) allows an AUC of 0.731
    result = gate("attack_bound", private(attacks=(few,)))
    assert result.status == status
    assert "guarantee allows 0.73" in result.why


@given(epsilon=st.floats(0.01, 10), delta=st.floats(1e-9, 0.2))
def test_the_area_that_a_guarantee_allows_is_that_under_its_curve(epsilon: float, delta: float) -> None:
    promise = Guarantee(epsilon, delta, PrivacyUnit(), Relation.ADD_REMOVE, Scope("x"), TrustModel.curator(), "pld")
    kink = (1 - delta) / (math.exp(epsilon) + 1)  # so that the trapezia meet the corners
    grid = np.unique(np.concatenate([np.linspace(1e-9, 1 - 1e-9, 2001), [kink, max(1e-9, 1 - delta)]]))
    curve = [implied_bound(float(x), promise) for x in grid]
    mine = _most_area(Candidate("x", "private", epsilon, delta, guarantee_ref="L1"))
    assert mine == pytest.approx(np.trapezoid(curve, grid) if hasattr(np, "trapezoid") else np.trapz(curve, grid), abs=1e-6)


def test_any_rate_that_breaks_its_bound_is_found_among_sound_ones() -> None:
    sound, broken = attack(30), attack(400)
    result = gate("attack_bound", private(attacks=(sound, broken)))
    assert result.status == FAIL
    assert "recognised 13" in result.why


# ------------------------------------------------------------ attackers gain little


def test_a_small_epsilon_passes_by_proof_alone_even_if_nothing_could_be_measured() -> None:
    cap = allowed(0.01, 1.0) - 0.01
    for attacks in ((), (attack(2, n=80, resolvable=False),), (attack(30, control=False),)):
        assert gate("attack_advantage", private(attacks=attacks), attack_advantage=cap).status == PASS
        assert gate("attack_advantage", private(attacks=attacks), attack_advantage=cap - STEP).status == UNSETTLED


@pytest.mark.parametrize(("hits", "status"), [(30, PASS), (90, PASS), (91, FAIL), (2000, FAIL)])
def test_above_proof_the_measured_gain_decides(hits: int, status: str) -> None:
    result = gate("attack_advantage", private(epsilon=8, attacks=(attack(hits, epsilon=8),)), attack_advantage=0.02)
    assert result.status == status
    assert result.value == pytest.approx(hits / 3000 - 0.01)
    assert result.settled == (hits in {30, 2000})


def test_above_proof_an_attack_that_cannot_resolve_the_rate_settles_nothing() -> None:
    result = gate("attack_advantage", private(epsilon=8, attacks=(attack(0, n=80, epsilon=8, resolvable=False),)))
    assert (result.status, result.value) == (UNSETTLED, None)
    assert "too few records" in result.why


def test_above_proof_a_control_that_failed_settles_nothing() -> None:
    result = gate("attack_advantage", private(epsilon=8, attacks=(attack(30, epsilon=8, control=False),)))
    assert result.status == UNSETTLED
    assert "control" in result.why


def test_above_proof_what_was_not_attacked_is_not_settled() -> None:
    result = gate("attack_advantage", private(epsilon=8))
    assert result.status == UNSETTLED
    assert result.why.startswith("not attacked")


# ------------------------------------------------------------ groups


@pytest.mark.parametrize(("extra", "half", "status"), [
    (-0.3, 0.0, PASS), (0.0, 0.0, PASS), (0.05, 0.0, PASS), (0.05, 0.5, PASS), (0.05 + STEP, 0.0, FAIL), (0.2, 0.1, FAIL), (0.2, 0.16, UNSETTLED),
])
def test_a_group_fails_only_where_its_whole_interval_does(extra: float, half: float, status: str) -> None:
    assert gate("group_gap", private(groups=(group(extra, half=half),)), group_gap=0.05).status == status


def test_a_gap_that_was_there_without_privacy_is_not_held_against_it() -> None:
    assert gate("group_gap", private(groups=(group(0.3, before=0.28),))).status == PASS
    result = gate("group_gap", private(groups=(group(0.3, before=0.1),)))
    assert result.status == FAIL
    assert result.value == pytest.approx(0.2)
    assert result.why == (
        "most for team = a: 20 points further behind everybody than without privacy; the policy accepts 5"
    )


def test_the_more_groups_the_more_it_takes_to_fail_one() -> None:
    doubtful = group(0.2, half=0.13)
    many = tuple(group(0.0, value=str(i)) for i in range(20))
    assert gate("group_gap", private(groups=(doubtful,))).status == FAIL
    assert gate("group_gap", private(groups=(doubtful, *many))).status == UNSETTLED


def test_groups_too_small_to_tell_settle_nothing_and_absent_ones_make_no_gate() -> None:
    assert gate("group_gap", private(groups=(group(0.9, resolvable=False),))).status == UNSETTLED
    assert not [result for result in evaluate_gates(private(), plain(), Gates()) if result.name == "group_gap"]


def test_where_no_group_falls_behind_none_is_named() -> None:
    assert gate("group_gap", private(groups=(group(-0.1),))).why == "no group falls further behind than without privacy"


# ------------------------------------------------------------ all of them


def test_every_gate_names_the_policy_among_its_evidence() -> None:
    results = evaluate_gates(private(attacks=(attack(30),), groups=(group(0.1),)), plain(), Gates(ref="P9"))
    assert len(results) == 4
    assert all(result.refs[-1] == "P9" for result in results)
    assert all("" not in result.refs for result in results)
