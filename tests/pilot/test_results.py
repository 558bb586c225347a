from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.attacks import implied_bound
from tacit.errors import DataError, UsageError
from tacit.guarantee import Guarantee, PrivacyUnit, Relation, Scope, TrustModel
from tacit.page.numbers import budget, chance, decimal, of_hundred, percent, points, quantity
from tacit.pilot.results import Attack, Candidate, EvidenceBook, Measure, PilotResult, Rate, Recommendation, Threat

FINITE = st.floats(allow_nan=False, allow_infinity=False)
THREAT = Threat("somebody", "the curator")
NOT_FINITE = [math.nan, math.inf, -math.inf]


def test_a_result_survives_json(result: PilotResult) -> None:
    assert PilotResult.from_dict(json.loads(result.to_json())) == result


def test_a_result_without_anything_optional_survives_json(builder: ModuleType) -> None:
    book = EvidenceBook()
    meta = replace(builder.make_meta(book), alert=None, train_rows=None, seeds=())
    bare = PilotResult(meta, (Candidate("bare", "baseline"),), (), None, book.rows, THREAT)
    assert PilotResult.from_dict(json.loads(bare.to_json())) == bare


@given(value=FINITE, below=st.floats(0, 1e6), above=st.floats(0, 1e6), name=st.text(min_size=1))
def test_any_measure_and_any_name_survive_json(builder: ModuleType, value: float, below: float, above: float, name: str) -> None:
    book = EvidenceBook()
    meta = builder.make_meta(book)
    low, high = max(value - below, -1.7e308), min(value + above, 1.7e308)
    one = Measure(value, meta.data_ref, min(low, value), max(high, value))
    candidate = Candidate(name, "baseline", utility=replace(Candidate("x", "baseline").utility, auc=one))
    made = PilotResult(meta, (candidate,), (), None, book.rows, THREAT)
    assert PilotResult.from_dict(json.loads(made.to_json())) == made


def places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Where a plain result names evidence: every ``ref``, and every entry of ``refs``."""
    found: list[tuple[str | int, ...]] = []
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        inside = (*path, key)
        if isinstance(item, str) and (str(key).endswith("ref") or (path and path[-1] == "refs")) and item:
            found.append(inside)
        found += places(item, inside)
    return found


def test_no_number_can_point_at_evidence_that_is_not_there(builder: ModuleType) -> None:
    plain = builder.make_result((builder.SPECS[0], builder.SPECS[3])).to_dict()
    spots = places(plain)
    assert len(spots) > 100
    for spot in spots:
        inner: Any = plain
        for key in spot[:-1]:
            inner = inner[key]
        kept, inner[spot[-1]] = inner[spot[-1]], "M999"
        with pytest.raises(UsageError, match="M999"):
            PilotResult.from_dict(plain)
        inner[spot[-1]] = kept


def test_a_measure_needs_evidence_even_if_it_names_none(result: PilotResult) -> None:
    first = result.candidates[0]
    bare = replace(first, utility=replace(first.utility, auc=Measure(0.5, "")))
    with pytest.raises(UsageError, match="evidence row for every number"):
        replace(result, candidates=(bare, *result.candidates[1:]))


def test_a_guarantee_needs_the_ledger_entry_that_paid_for_it() -> None:
    with pytest.raises(UsageError, match="guarantee_ref"):
        Candidate("x", "private", 1.0, 1e-5)


@pytest.mark.parametrize(("epsilon", "delta"), [(1.0, None), (None, 1e-5)])
def test_an_epsilon_never_stands_alone(epsilon: float | None, delta: float | None) -> None:
    with pytest.raises(UsageError, match="together"):
        Candidate("x", "private", epsilon, delta, guarantee_ref="L1")


@pytest.mark.parametrize(("epsilon", "budget"), [(1.01, 1.0), (None, 1.0)])
def test_a_guarantee_stays_within_its_budget(epsilon: float | None, budget: float) -> None:
    with pytest.raises(UsageError, match="within budget=1"):
        Candidate("x", "private", epsilon, None if epsilon is None else 1e-5, guarantee_ref="L1", budget=budget)


def test_the_budget_asked_for_is_the_first_figure_and_the_guarantee_the_second() -> None:
    assert Candidate("x", "private", 0.988375, 1e-5, guarantee_ref="L1", budget=1.0).asked == 1.0
    assert Candidate("x", "private", 0.988375, 1e-5, guarantee_ref="L1").asked == 0.988375
    assert Candidate("x", "baseline").asked is None


@pytest.mark.parametrize("bad", NOT_FINITE)
def test_a_measure_is_finite(bad: float) -> None:
    for ends in ((bad, None, None), (0.5, bad, 0.6), (0.5, 0.4, bad)):
        with pytest.raises(UsageError, match="finite"):
            Measure(ends[0], "M1", ends[1], ends[2])


@pytest.mark.parametrize("bad", NOT_FINITE)
def test_no_number_of_a_result_is_infinite(result: PilotResult, bad: float) -> None:
    with pytest.raises(UsageError, match="finite"):
        replace(result, meta=replace(result.meta, delta=bad))
    with pytest.raises(UsageError, match="finite"):
        replace(result, gates=(replace(result.gates[0], threshold=bad), *result.gates[1:]))


@pytest.mark.parametrize(("low", "high"), [(0.4, None), (None, 0.6), (0.55, 0.6), (0.4, 0.45)])
def test_an_interval_has_two_ends_around_its_value(low: float | None, high: float | None) -> None:
    with pytest.raises(UsageError, match="interval"):
        Measure(0.5, "M1", low, high)


@pytest.mark.parametrize("bound", [-0.1, 1.1, math.nan])
def test_a_bound_on_a_rate_is_a_share(bound: float) -> None:
    with pytest.raises(UsageError, match="bound"):
        Rate(0.01, Measure(0.02, "M1"), bound)


def test_names_and_evidence_ids_are_unique(result: PilotResult) -> None:
    with pytest.raises(UsageError, match="candidate names"):
        replace(result, candidates=(*result.candidates, result.candidates[0]))
    with pytest.raises(UsageError, match="evidence ids"):
        replace(result, evidence=(*result.evidence, result.evidence[0]))


@pytest.mark.parametrize("field", ["candidate", "closest"])
def test_only_a_candidate_that_was_compared_can_be_recommended(result: PilotResult, field: str) -> None:
    assert isinstance(result.recommendation, Recommendation)
    changed: dict[str, Any] = {field: "nobody"}
    with pytest.raises(UsageError, match="one of the candidates; got «nobody»"):
        replace(result, recommendation=replace(result.recommendation, **changed))


def test_the_page_is_about_the_recommended_model_or_the_closest(builder: ModuleType) -> None:
    passed = builder.make_result()
    failed = builder.make_result(gates=builder.Gates(auc_loss=0.0, recall_loss=0.0))
    assert passed.subject is passed.chosen is not None
    assert failed.chosen is None
    assert failed.subject is not None
    assert failed.subject.name == failed.recommendation.closest


WRONG: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "another schema": lambda plain: plain | {"schema": "tacit.pilot/0"},
    "no schema": lambda plain: {key: value for key, value in plain.items() if key != "schema"},
    "an unknown field": lambda plain: plain | {"surprise": 1},
    "a missing field": lambda plain: {key: value for key, value in plain.items() if key != "meta"},
    "a word for a number": lambda plain: plain | {"meta": plain["meta"] | {"delta": "small"}},
    "a switch for a count": lambda plain: plain | {"meta": plain["meta"] | {"features": True}},
    "a number for a switch": lambda plain: plain | {"released": 1},
    "a word for a list": lambda plain: plain | {"candidates": "none"},
    "a list for an object": lambda plain: plain | {"threat": []},
    "a missing inner field": lambda plain: plain | {"threat": {"attacker": "x"}},
}


@pytest.mark.parametrize("case", WRONG)
def test_a_file_that_is_no_pilot_result_is_refused(result: PilotResult, case: str) -> None:
    with pytest.raises(DataError):
        PilotResult.from_dict(WRONG[case](result.to_dict()))


@pytest.mark.parametrize("other", [None, 3, "text", []])
def test_what_is_no_object_is_refused(other: Any) -> None:
    with pytest.raises(DataError, match="schema"):
        PilotResult.from_dict(other)


def test_evidence_is_numbered_by_kind() -> None:
    book = EvidenceBook()
    ids = [book.measured("a", "b"), book.charged("c", entry=4), book.measured("d", "e"), book.policy("f", "g"), book.charged("h", entry=5)]
    assert ids == ["M1", "L1", "M2", "P1", "L2"]
    assert [row.id for row in book.rows] == ids


@given(epsilon=st.floats(0.01, 12), delta=st.floats(1e-9, 0.1), fpr=st.floats(1e-4, 0.5))
def test_what_the_guarantee_allows_is_what_the_attacks_say(epsilon: float, delta: float, fpr: float) -> None:
    promise = Guarantee(epsilon, delta, PrivacyUnit(), Relation.ADD_REMOVE, Scope("x"), TrustModel.curator(), "pld")
    mine = Candidate("x", "private", epsilon, delta, guarantee_ref="L1").cap(fpr)
    assert mine == pytest.approx(implied_bound(fpr, promise), rel=1e-12)


def test_a_tighter_bound_of_an_attack_counts_and_no_guarantee_allows_anything() -> None:
    rate = Rate(0.01, Measure(0.01, "M1"), 0.015)
    attack = Attack("a", Measure(0.5, "M1"), (rate,), 2, 10, 10)
    assert Candidate("x", "private", 1.0, 1e-5, guarantee_ref="L1", attacks=(attack,)).cap(0.01) == 0.015
    assert Candidate("x", "baseline").cap(0.01) is None


def test_the_strongest_attack_that_can_be_resolved_counts() -> None:
    def attack(value: float, resolvable: bool) -> Attack:
        return Attack("a", Measure(0.5, "M1"), (Rate(0.01, Measure(value, "M1"), None, resolvable),), 2, 10, 10)

    mine = Candidate("x", "baseline", attacks=(attack(0.9, False), attack(0.02, True), attack(0.03, True)))
    rate = mine.rate(0.01)
    assert rate is not None
    assert rate.tpr.value == 0.03
    assert mine.rate(0.2) is None


@given(st.floats(1e-6, 1e6))
def test_a_budget_is_never_shown_smaller_than_it_is(epsilon: float) -> None:
    shown = float(budget(epsilon))
    assert epsilon <= shown <= epsilon * 1.0101


@pytest.mark.parametrize("epsilon", [0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 8, 10, 15])
def test_a_round_budget_is_shown_as_it_was_asked_for(epsilon: float) -> None:
    assert budget(epsilon) == f"{epsilon:g}"


@given(st.floats(1e-12, 1.0))
def test_a_chance_is_never_shown_smaller_than_it_is(probability: float) -> None:
    assert 1 / float(chance(probability).removeprefix("1 in ").replace(",", "")) >= probability * (1 - 1e-5)


@given(st.floats(-1, 1))
def test_no_number_is_shown_with_the_noise_of_its_floating_point(share: float) -> None:
    for write in (percent, of_hundred, points, decimal, quantity):
        digits = "".join(letter for letter in write(share) if letter.isdigit())
        assert len(digits) <= 6


def test_every_dataclass_of_a_result_is_frozen(result: PilotResult) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.released = True  # type: ignore[misc]
