from __future__ import annotations

import dataclasses
import random
import re
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.errors import UsageError
from tacit.page.numbers import decimal
from tacit.pilot.report import for_release, render_html
from tacit.pilot.results import Measure, NoisedValue, PilotResult


def test_a_release_holds_none_of_the_measured_numbers(result: PilotResult, builder: ModuleType) -> None:
    released = for_release(result)
    shown = released.to_json() + render_html(released)
    numbers = {number for m in builder.measures(result) for number in (m.value, m.low, m.high) if number is not None}
    telling = {number for number in numbers if len(repr(number)) >= 8}
    assert len(telling) > 150
    for number in telling:
        assert repr(number) not in shown
    tokens = set(re.findall(r"\d[\d.,]*\d", builder.read_page(render_html(released)).text))
    known = {"0.732", "0.100"}  # ε over thirty days, which is public
    assert not tokens & ({decimal(number) for number in telling if 0.01 < number < 0.9985} - known)


def test_the_same_search_finds_them_on_the_owners_side(result: PilotResult, builder: ModuleType) -> None:
    text = builder.read_page(render_html(result)).text
    for candidate in result.candidates:
        assert repr(candidate.utility.auc.value) in result.to_json()
        assert decimal(candidate.utility.auc.value) in text


def scrambled(value: Any, rng: random.Random) -> Any:
    """The same result with every measured number, count, group and outcome drawn anew."""
    if isinstance(value, Measure):
        low, middle, high = sorted(rng.random() for _ in range(3))
        return Measure(middle, value.ref, low, high)
    if isinstance(value, tuple):
        return tuple(scrambled(item, rng) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{item.name: scrambled(getattr(value, item.name), rng) for item in dataclasses.fields(value)})
    return value


def other_records(result: PilotResult, rng: random.Random) -> PilotResult:
    """What the same pilot would have found on other records: all that may depend on them differs."""
    def changed(candidate: Any) -> Any:
        new = replace(candidate, **{name: scrambled(getattr(candidate, name), rng) for name in ("utility", "cost", "attacks", "encrypted")})
        groups = tuple(replace(scrambled(g, rng), value=f"team {rng.randrange(10**6)}", n=rng.randrange(10**6)) for g in candidate.groups)
        attacks = tuple(replace(a, members=rng.randrange(1, 10**6), nonmembers=rng.randrange(1, 10**6)) for a in new.attacks)
        return replace(new, groups=groups[: rng.randrange(len(groups) + 1)], attacks=attacks[: rng.randrange(len(attacks) + 1)])

    numbers = {name: rng.randrange(10**6) for name in ("train_rows", "test_rows", "test_positives")}
    rows = tuple(
        replace(row, source=f"{rng.randrange(10**6)} held-out rows") if row.kind == "measurement" else row for row in result.evidence
    )
    return replace(
        result, meta=replace(result.meta, **numbers, seeds=(rng.randrange(10**6),), split=f"{rng.random()} held out"), evidence=rows,
        candidates=tuple(map(changed, result.candidates)), gates=scrambled(result.gates, rng)[: rng.randrange(9)], recommendation=None,
        warnings=(f"{rng.randrange(10**6)} rows look alike",),
    )


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32))
def test_what_is_released_does_not_depend_on_what_was_measured(builder: ModuleType, seed: int) -> None:
    result = builder.make_result()
    other = other_records(result, random.Random(seed))
    assert other != result
    assert for_release(other).to_json() == for_release(result).to_json()
    assert render_html(other, release=True) == render_html(result, release=True)


def test_a_changed_guarantee_or_noised_value_does_show_in_a_release(result: PilotResult) -> None:
    first = result.noised[0]
    assert for_release(replace(result, noised=(replace(first, value=first.value + 1),))) != for_release(result)
    assert for_release(replace(result, meta=replace(result.meta, delta=1e-7))) != for_release(result)


def test_a_value_that_was_not_charged_is_not_released(result: PilotResult) -> None:
    measured = next(row.id for row in result.evidence if row.kind == "measurement")
    with pytest.raises(UsageError, match=f"ledger entry behind everything released; {measured}"):
        for_release(replace(result, noised=(NoisedValue("number of rows", 2000.0, measured),)))


def test_a_guarantee_that_was_not_charged_is_not_released(result: PilotResult) -> None:
    policy = next(row.id for row in result.evidence if row.kind == "policy")
    broken = tuple(replace(c, guarantee_ref=policy) if c.is_private else c for c in result.candidates)
    with pytest.raises(UsageError, match=policy):
        for_release(replace(result, candidates=broken))


def test_a_release_leaves_out_the_baseline_the_choice_and_who_was_compared(result: PilotResult) -> None:
    released = for_release(result)
    page = render_html(released)
    assert released.released
    assert released.recommendation is None
    assert released.baseline is None
    assert not released.gates
    assert not released.warnings
    for word in ("finance", "Basel", "Baseline", "closest", "pilot/assessment.db", "overfit", "the last 2 of 7 days"):
        assert word not in page
        assert word not in released.to_json()


def test_a_release_says_what_it_is_and_what_it_leaves_out(result: PilotResult, builder: ModuleType) -> None:
    text = builder.read_page(render_html(result, release=True)).text
    assert "Release version" in text
    assert "Owner-side" not in text
    for line in for_release(result).omitted:
        assert line in text
    for candidate in result.candidates:
        assert (candidate.guarantee in text) == candidate.is_private


def test_a_release_of_a_release_is_the_same_page(result: PilotResult) -> None:
    released = for_release(result)
    assert render_html(released, release=True) == render_html(released) == render_html(result, release=True)


def test_a_release_can_be_read_again(result: PilotResult) -> None:
    released = for_release(result)
    assert PilotResult.from_dict(released.to_dict()) == released
