"""Linkage attacks: each wins where there is something to link, reads as chance where names are dealt out anew, and refuses what makes no sense.

Limits are far from what was measured: under chance, k of n right guesses come with a probability of at most 1/k!, so that 15 of them say 1e-12.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.attacks.linkage import (
    Linked,
    Share,
    Trace,
    anonymity,
    attack_frequency,
    attack_injection,
    attack_prefixes,
    attack_timing,
    frequency_controls,
    in_order,
    injection_controls,
    octets_of,
    points_needed,
    prefix_controls,
    smallest_sets,
    timing_controls,
    uniqueness_controls,
)
from tacit.attacks.linkage.columns import Coded, close
from tacit.attacks.linkage.controls import dealt_anew
from tacit.errors import UsageError

PEOPLE, EVENTS = 120, 12_000
NEVER = 1e-9
Log = tuple[list[str], list[str], np.ndarray, list[str]]


@pytest.fixture(scope="module")
def log() -> Log:
    """Names, pseudonyms, times, and what happened: people differ in how often they appear and in what they do."""
    rng = np.random.default_rng(3)
    weights = rng.lognormal(0, 1.0, PEOPLE)
    who = rng.choice(PEOPLE, EVENTS, p=weights / weights.sum())
    habits = rng.dirichlet(np.full(20, 0.3), PEOPLE)
    what = (habits[who].cumsum(axis=1) > rng.random(EVENTS)[:, None]).argmax(axis=1)
    aliases = rng.permutation(PEOPLE)
    times = np.sort(rng.uniform(0, 3 * 86_400, EVENTS))
    return [f"name{i}" for i in who], [f"u-{aliases[i]}" for i in who], times, [str(kind) for kind in what]


def halves(log: Log) -> tuple[list[str], list[str], list[str], tuple[list[str], list[str]]]:
    names, pseudonyms, _, what = log
    middle = EVENTS // 2
    return names[:middle], pseudonyms[middle:], names[middle:], (what[:middle], what[middle:])


def by_chance(linked: Linked) -> bool:
    """Not more than guessing; `NEVER` wrong if it is guessing."""
    return linked.named.p_value > NEVER and all(share.p_value > NEVER for share in linked.top.values())


# Shares

def test_intervals_are_those_of_clopper_and_pearson() -> None:
    from scipy.stats import binomtest

    for hits, cases in ((0, 10), (3, 10), (10, 10), (57, 400)):
        expected = binomtest(hits, cases).proportion_ci(0.95)
        assert Share(hits, cases, 0.1).interval == pytest.approx((expected.low, expected.high), abs=1e-9)
        assert Share(hits, cases, 0.1).p_value == pytest.approx(binomtest(hits, cases, 0.1, alternative="greater").pvalue, abs=1e-12)


def test_uneven_weights_widen_an_interval() -> None:
    right = np.arange(100) % 2 == 0
    even, uneven = (Share.of(right, chance=0.01, weights=weights) for weights in (np.ones(100), 1.0 + 1_000 * (np.arange(100) < 2)))
    assert even.value == pytest.approx(0.5)
    assert even.cases == pytest.approx(100)
    assert uneven.cases < 3
    assert uneven.interval[1] - uneven.interval[0] > 3 * (even.interval[1] - even.interval[0])


def test_nothing_to_link_is_no_share() -> None:
    nothing = Share.of(np.zeros(0, bool), chance=0.5)
    assert (nothing.value, nothing.interval, nothing.beats_chance) == (0.0, (0.0, 1.0), False)


# Frequencies

def test_counts_of_the_same_events_are_matched_wholly() -> None:
    names = [f"n{i}" for i in range(30) for _ in range(3 * i + 1)]
    found = attack_frequency(names, [name.replace("n", "p") for name in names], truth=names)
    assert found.named.value == 1
    assert found.events.value == pytest.approx(1)
    assert found.rank == 1


def test_a_matching_by_rank_is_the_best_one_to_one_matching() -> None:
    rng = np.random.default_rng(0)
    known = [f"n{i}" for i, count in enumerate(rng.permutation(40) + 1) for _ in range(count * 5)]
    released = [f"p{i}" for i, count in enumerate(rng.permutation(40) + 1) for _ in range(count * 4)]
    ranks = {value: place for column in (known, released) for place, value in enumerate(sorted(set(column), key=column.count))}
    truth = [next(name for name in set(known) if ranks[name] == ranks[alias]) for alias in released]
    assert attack_frequency(known, released, truth=truth).named.value == 1


def test_habits_give_more_away_than_counts(log: Log) -> None:
    known, released, truth, context = halves(log)
    plain, full = attack_frequency(known, released, truth=truth), attack_frequency(known, released, truth=truth, context=context)
    assert plain.leaks
    assert full.named.hits > 2 * plain.named.hits
    assert full.named.value > 0.6
    assert full.top[10].value >= full.top[5].value >= full.top[1].value
    assert full.named.p_value < NEVER


def test_frequencies_pass_their_controls_and_names_dealt_anew_read_as_chance(log: Log) -> None:
    known, released, truth, context = halves(log)

    def attack(given: Any, true: Any) -> Linked:
        return attack_frequency(known, given, truth=true, context=context)

    anew, plain = frequency_controls(attack, truth, released)
    assert (anew.passed, plain.passed, plain.share.value) == (True, True, 1.0)
    assert all(by_chance(attack(released, dealt_anew(truth, seed=seed))) for seed in range(5))


def test_the_truth_is_only_used_to_score(log: Log) -> None:
    known, released, truth, context = halves(log)
    first = attack_frequency(known, released, truth=truth, context=context)
    second = attack_frequency(known, released, truth=dealt_anew(truth, seed=4), context=context)
    assert first.candidates == second.candidates
    assert first.named.hits > 10 * second.named.hits


def test_names_that_the_attacker_does_not_know_are_not_counted() -> None:
    found = attack_frequency(["a", "a", "b"], ["p", "p", "q", "r"], truth=["a", "a", "b", "stranger"])
    assert found.named.cases == 2
    assert found.details["known_to_the_attacker"] == 2


# Injection

@pytest.mark.parametrize(("width", "events", "least"), [(0.0, 1, 0.95), (60.0, 3, 0.9), (3_600.0, 10, 0.25)])
def test_caused_events_find_their_target(log: Log, width: float, events: int, least: float) -> None:
    names, pseudonyms, times, _ = log
    released = np.floor(times / width) * width if width else times
    found = attack_injection(Trace(names, times), Trace(pseudonyms, released), truth=names, events=events, tolerance=(width, 0.0))
    assert found.named.value > least
    assert found.named.p_value < NEVER
    assert 0.2 < found.events.value <= 1


def test_coarser_times_find_fewer_and_a_mark_finds_them_again(log: Log) -> None:
    names, pseudonyms, times, _ = log
    ports = [str(port) for port in np.random.default_rng(1).integers(1_024, 65_536, EVENTS)]
    day = np.floor(times / 86_400) * 86_400
    plain = attack_injection(Trace(names, times), Trace(pseudonyms, day), truth=names, events=1, tolerance=(86_400, 0))
    marked = attack_injection(Trace(names, times, ports), Trace(pseudonyms, day, ports), truth=names, events=1, tolerance=(86_400, 0))
    assert plain.named.value < 0.1
    assert marked.named.value > 0.8


def test_injection_passes_its_controls_and_names_dealt_anew_read_as_chance(log: Log) -> None:
    names, pseudonyms, times, _ = log

    def attack(given: Trace, true: Any) -> Linked:
        return attack_injection(Trace(names, times), given, truth=true, events=2)

    anew, plain = injection_controls(attack, Trace(pseudonyms, times), names)
    assert (anew.passed, plain.passed) == (True, True)
    assert all(by_chance(attack(Trace(pseudonyms, times), dealt_anew(names, seed=seed))) for seed in range(5))


def test_a_pseudonym_for_each_epoch_links_only_that_epoch(log: Log) -> None:
    names, pseudonyms, times, _ = log
    daily = [f"{alias}-{int(moment // 86_400)}" for alias, moment in zip(pseudonyms, times, strict=True)]
    found = attack_injection(Trace(names, times), Trace(daily, times), truth=names, events=1)
    assert found.named.value > 0.85
    assert 0.2 < found.events.value < 0.55


# Timing

def second_log(log: Log, sightings: int, *, clock: float, inexact: float, seed: int = 0) -> Trace:
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(EVENTS, sightings, replace=False))
    return Trace([log[0][row] for row in rows], log[2][rows] + clock + rng.normal(0, inexact, sightings))


@pytest.mark.parametrize("clock", [-211.0, 0.0, 137.0])
def test_a_second_log_is_laid_over_whatever_its_clock(log: Log, clock: float) -> None:
    names, pseudonyms, times, _ = log
    seen = second_log(log, 3_000, clock=clock, inexact=2.0)
    found = attack_timing(seen, Trace(pseudonyms, times), truth=names, tolerance=(5, 5), offset=300.0)
    assert abs(found.details["offset"] + clock) < 3
    assert found.named.value > 0.9
    assert found.rank == 1


def test_a_clock_that_is_further_off_than_was_thought_hides_everybody(log: Log) -> None:
    names, pseudonyms, times, _ = log
    seen = second_log(log, 3_000, clock=5_000.0, inexact=2.0)
    assert attack_timing(seen, Trace(pseudonyms, times), truth=names, tolerance=(5, 5), offset=300.0).named.value < 0.2


def test_timing_passes_its_controls_and_names_dealt_anew_read_as_chance(log: Log) -> None:
    names, pseudonyms, times, _ = log
    seen = second_log(log, 2_000, clock=50.0, inexact=2.0)

    def attack(given: Trace, true: Any) -> Linked:
        return attack_timing(seen, given, truth=true, tolerance=(5, 5), offset=100.0)

    anew, plain = timing_controls(attack, Trace(pseudonyms, times), names)
    assert (anew.passed, plain.passed) == (True, True)
    assert all(by_chance(attack(Trace(pseudonyms, times), dealt_anew(names, seed=seed))) for seed in range(5))


def test_the_order_of_records_undoes_a_jitter(log: Log) -> None:
    times = log[2]
    moved = times + np.random.default_rng(2).uniform(-300, 300, EVENTS)
    assert np.abs(in_order(moved) - times).mean() < 0.4 * np.abs(moved - times).mean()
    assert np.isnan(in_order(np.array([np.nan, 1.0]))[0])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 50), max_size=12), st.lists(st.floats(0, 50), max_size=12), st.floats(0, 5), st.floats(0, 5))
def test_pairs_close_in_time_are_all_pairs_close_in_time(marks: list[float], times: list[float], before: float, after: float) -> None:
    a, b = np.array(marks), np.array(times)
    found = {(int(m), int(e)) for ms, es in close(a, b, before=before, after=after) for m, e in zip(ms, es, strict=True)}
    # The same comparison as the search makes: rounding must not decide.
    assert found == {(m, e) for m in range(len(a)) for e in range(len(b)) if a[m] - before <= b[e] <= a[m] + after}


# Prefixes

def preserving(seed: int) -> Callable[[int], int]:
    """Prefix-preserving, by the definition: bit i is flipped by a function of the bits before it."""
    import hashlib

    def of(address: int) -> int:
        flips = [hashlib.sha256(f"{seed}|{i}|{address >> (32 - i)}".encode()).digest()[0] & 1 for i in range(32)]
        return address ^ int("".join(map(str, flips)), 2)

    return of


def as_octets(numbers: list[int]) -> np.ndarray:
    return np.frombuffer(b"".join(number.to_bytes(4, "big") for number in numbers), np.uint8).reshape(-1, 4)


def test_known_pairs_give_away_one_bit_more_than_is_shared() -> None:
    rng = np.random.default_rng(0)
    numbers = sorted({int(x) for x in rng.integers(0, 1 << 32, 400, dtype=np.uint64)})
    originals, pseudonyms = as_octets(numbers), as_octets(list(map(preserving(1), numbers)))
    order = np.random.default_rng(5).permutation(len(numbers))
    for pairs in (1, 8, 64):
        known, others = [numbers[i] for i in order[:pairs]], [numbers[i] for i in order[pairs:]]
        expected = np.mean([max(min(32 - (x ^ a).bit_length() + 1, 32) for a in known) for x in others])
        found = attack_prefixes(originals, pseudonyms, pairs=pairs, seed=5)
        assert found.claimed == found.right == pytest.approx(expected)


def test_more_pairs_give_more_away_and_pseudonyms_dealt_anew_nothing() -> None:
    rng = np.random.default_rng(0)
    hosts = zip(rng.integers(0, 30, 900), rng.integers(1, 255, 900), strict=True)
    numbers = sorted({(10 << 24) + (int(net) << 8) + int(host) for net, host in hosts})
    originals, pseudonyms = as_octets(numbers), as_octets(list(map(preserving(2), numbers)))
    few, many = (attack_prefixes(originals, pseudonyms, pairs=pairs) for pairs in (1, 64))
    assert many.right > few.right
    assert many.leaks
    assert many.networks.value > 0.8
    anew = attack_prefixes(originals, pseudonyms[np.random.default_rng(1).permutation(len(numbers))], pairs=64)
    assert abs(anew.right - anew.control) < 1.5
    assert anew.whole.value < 0.02
    assert all(control.passed for control in prefix_controls(originals, pseudonyms, pairs=16))


def test_addresses_that_were_never_replaced_are_read() -> None:
    originals = as_octets(list(range(1_000, 1_100)))
    assert attack_prefixes(originals, originals, pairs=1).whole.value == 1


def test_six_bytes_families_are_apart() -> None:
    found = octets_of(["10.0.0.1", "::1", "10.0.0.256", "x"])
    assert {length: places.tolist() for length, (places, _) in found.items()} == {4: [0], 16: [1]}


# Uniqueness

def test_groups_are_counted_as_a_naive_count_counts_them() -> None:
    rng = np.random.default_rng(0)
    columns = {"a": rng.integers(0, 6, 500).tolist(), "b": [None if x == 0 else int(x) for x in rng.integers(0, 7, 500)]}
    people = rng.integers(0, 40, 500).tolist()
    keys = list(zip(columns["a"], columns["b"], strict=True))
    crowd = [len({person for other, person in zip(keys, people, strict=True) if other == key}) for key in keys]
    found = anonymity(columns, units=people)
    assert found.unique.value == pytest.approx(np.mean([keys.count(key) == 1 for key in keys]))
    assert found.below == pytest.approx({k: np.mean([size < k for size in crowd]) for k in (2, 5, 10, 20, 50)})
    assert (found.smallest, found.median) == (min(crowd), np.median(crowd))
    assert found.single.value == pytest.approx(np.mean([size == 1 for size in crowd]))


def test_the_smallest_set_that_singles_out_is_found() -> None:
    rng = np.random.default_rng(0)
    serial, noise = np.arange(900), rng.integers(0, 3, 900)
    columns = {"day": (serial % 30).tolist(), "desk": (serial // 30).tolist(), "noise": noise.tolist(), "same": [1] * 900}
    (best, *_) = smallest_sets(columns, share=0.9)
    assert best.columns == ("day", "desk")
    assert best.unique.value == 1
    (worst, *_) = smallest_sets({"noise": columns["noise"], "same": columns["same"]}, share=0.9)
    assert worst.unique.value == 0


def test_uniqueness_controls_read_as_they_must() -> None:
    assert all(control.passed for control in uniqueness_controls(50))
    assert all(control.passed for control in uniqueness_controls(1))


def test_more_known_events_single_more_people_out(log: Log) -> None:
    names, _, times, what = log
    columns = {"hour": [int(moment // 3_600) for moment in times], "what": what}
    shares = [points_needed(columns, names, points=points).top[1].value for points in (1, 2, 4)]
    assert shares == sorted(shares)
    assert shares[-1] > 0.8
    anybody = points_needed({"same": ["x"] * EVENTS}, names, points=1)
    assert anybody.rank == PEOPLE
    assert anybody.named.p_value > NEVER


# Refusals

@pytest.mark.parametrize(
    "call",
    [
        lambda: attack_frequency([], ["p"], truth=["a"]),
        lambda: attack_frequency(["a"], ["p"], truth=[]),
        lambda: attack_frequency(["a"], ["p"], truth=["a"], context=(["x"], [])),
        lambda: Trace(["a"], np.zeros(2)),
        lambda: attack_injection(Trace(["a"], np.zeros(1)), Trace(["p"], np.zeros(1)), truth=["a"], events=2),
        lambda: attack_injection(Trace(["a"], np.array([math.nan])), Trace(["p"], np.zeros(1)), truth=["a"], events=1),
        lambda: attack_injection(Trace(["a"], np.zeros(1)), Trace(["p"], np.zeros(1)), truth=[], events=1),
        lambda: attack_timing(Trace([], np.zeros(0)), Trace(["p"], np.zeros(1)), truth=["a"]),
        lambda: attack_prefixes(np.zeros((3, 4), np.uint8), np.zeros((2, 4), np.uint8), pairs=1),
        lambda: attack_prefixes(np.zeros((3, 5), np.uint8), np.zeros((3, 5), np.uint8), pairs=1),
        lambda: attack_prefixes(np.zeros((3, 4), np.uint8), np.zeros((3, 4), np.uint8), pairs=3),
        lambda: anonymity({}),
        lambda: anonymity({"a": []}),
        lambda: anonymity({"a": [1], "b": [1, 2]}),
        lambda: points_needed({"a": [1, 2]}, ["x", "y"], points=2),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(call: Callable[[], object]) -> None:
    with pytest.raises(UsageError):
        call()


def test_missing_values_belong_to_nobody() -> None:
    coded = Coded.of([None, 1, 1.5, True, "1"])
    assert coded.codes.tolist() == [-1, 0, 1, 2, 0]
    found = attack_frequency(["a", None, "a", "b"], ["p", None, "p", "q"], truth=["a", None, "a", "b"])
    assert found.named.cases == 2
    timed = attack_timing(Trace(["a", None], np.array([1.0, math.nan])), Trace(["p", None], np.array([1.0, math.nan])), truth=["a", None])
    assert timed.named.cases == 1


def test_a_report_of_an_attack_holds_no_value(log: Log) -> None:
    names, pseudonyms, times, _ = log
    found = attack_injection(Trace(names, times), Trace(pseudonyms, times), truth=names)
    text = f"{found.to_dict()} {found}"
    assert not any(name in text for name in [*set(names), *set(pseudonyms)])
