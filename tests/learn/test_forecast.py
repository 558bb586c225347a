"""Counts over time: what is released, what is expected next, and whether intervals hold what they promise."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tacit import Budget
from tacit.errors import BudgetExceeded, MissingExtra, UsageError
from tacit.federation import LocalFederation
from tacit.guarantee import Guarantee, PrivacyUnit, Relation, Scope, TrustModel
from tacit.guard import Guard, Limits, MemoryBooks, Policy, Records
from tacit.learn import CountForecaster, CountSpec, History, count_over_time, forecast
from tacit.learn.counting import bins_between, clip_among, moment, span
from tacit.learn.seasonal import periods_of
from tacit.models import CountSeries, Provenance
from tacit.questions import UnitLengths

HOUR, DAY, WEEK = 3_600, 86_400, 604_800
PROMISE = Guarantee(1.0, 1e-5, PrivacyUnit(), Relation.ADD_REMOVE, Scope("test"), TrustModel.curator(), "gdp")


def releases(counts: NDArray[Any], *, sigma: float, width: int = HOUR, begin: int = 0, names: tuple[str, ...] = ("all",)) -> CountSeries:
    return CountSeries(begin, width, names, np.asarray(counts, np.float64), sigma, 1.0, PROMISE, Provenance("plan"))


def rhythm(bins: int, *, seed: int, size: float = 200.0) -> NDArray[np.float64]:
    """Busy working hours, quiet nights and weekends, a level that drifts: exact counts ``[bins, 1]``."""
    rng = np.random.default_rng(seed)
    hour, day = np.arange(bins) % 24, np.arange(bins) // 24 % 7
    shape = (0.1 + np.exp(-((hour - 13) ** 2) / 18)) * np.where(day < 5, 1.0, 0.25)
    level = np.exp(np.cumsum(rng.normal(0, 0.003, bins)))
    return rng.poisson(size * shape * level).astype(np.float64)[:, None]


def users(count: int, days: int, *, seed: int = 0) -> dict[str, NDArray[Any]]:
    """Events of some users over some days, most of them by day; user 0 makes a hundred times as many."""
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(count), np.where(np.arange(count) == 0, 300 * days, 3 * days))
    at = rng.integers(0, days, len(owner)) * DAY + rng.choice([9, 10, 14], len(owner)) * HOUR + rng.integers(0, HOUR, len(owner))
    return {"at": at.astype(np.float64), "kind": rng.choice(["dns", "web"], len(owner)), "user": np.char.add("u", owner.astype(str))}


# ---------------------------------------------------------------------------------------------------------------------- counts


def test_counts_are_exact_but_for_the_noise_they_state() -> None:
    records = users(2_000, 20)
    calendar = {"time": "at", "begin": "1970-01-01", "end": "1970-01-21", "width": "1d"}
    found = CountForecaster(Budget(1, 1e-6), column="kind", keys=("dns", "web"), **calendar).fit(records)
    counts = found.counts_
    exact = np.stack([np.bincount((records["at"][records["kind"] == kind] // DAY).astype(int), minlength=20) for kind in ("dns", "web")], axis=1)
    scores = (counts.counts - exact) / counts.sigma
    assert (counts.bins, counts.names, counts.by, counts.width, counts.longest) == (20, ("dns", "web"), "kind", DAY, 1.0)
    assert np.abs(scores).max() < 6
    assert 0.5 < scores.std() < 1.6
    assert found.guarantee_.epsilon <= 1


def test_a_unit_with_very_many_rows_is_clipped_and_the_others_are_not() -> None:
    """User 0 has a hundred times the rows of the others; nothing declared how many rows there are."""
    records = users(4_000, 20)
    model = CountForecaster(Budget(1, 1e-6), time="at", begin="1970-01-01", end="1970-01-21").fit(
        {name: records[name] for name in ("at", "kind")}, unit=records["user"],
    )
    others = np.bincount((records["at"][records["user"] != "u0"] // HOUR).astype(int), minlength=480)
    assert 8 <= model.counts_.longest <= 23
    assert np.abs(model.counts_.counts[:, 0] - others).max() < 8 * model.counts_.sigma
    assert model.guarantee_.unit.name == "unit"


def test_a_declared_length_is_not_asked_for() -> None:
    records, books = users(500, 10), MemoryBooks()
    CountForecaster(Budget(1, 1e-6), time="at", begin="1970-01-01", end="1970-01-11", longest=9.0, ledger=books).fit(
        {"at": records["at"]}, unit=records["user"],
    )
    plans = [entry.body["plan"]["steps"] for entry in books.find("charge", Scope("fit"))]
    assert [step["kind"] for step in plans[-1]] == ["timecounts@1"]


@pytest.mark.parametrize(("longest", "clip"), [(0, 1.0), (4, 4.0), (39, 2**19)])
def test_the_clip_follows_the_lengths(longest: int, clip: float) -> None:
    counts = np.zeros(UnitLengths.size)
    counts[longest] = 10_000.0
    noise = np.random.default_rng(1).normal(0, 30, UnitLengths.size)
    assert clip_among(counts + noise, size=10_000, sigma=30.0) == pytest.approx(clip)


def test_noise_far_out_does_not_decide_about_the_clip() -> None:
    """A thousand histograms: most units up to length 8, one very long; hardly ever is the clip another."""
    counts = np.zeros(UnitLengths.size)
    counts[[2, 4, 6, 20]] = 1_000, 2_000, 999, 1
    rng = np.random.default_rng(0)
    found = [clip_among(counts + rng.normal(0, 27, UnitLengths.size), size=4_000, sigma=27.0) for _ in range(1_000)]
    assert np.mean(np.array(found) == 8.0) > 0.99


def test_several_sites_count_together() -> None:
    guards = []
    for site in range(3):
        policy = Policy(
            dataset=f"site {site}", unit=PrivacyUnit("user", column="user"), relation=Relation.ADD_REMOVE, budget=Budget(2, 1e-5),
            rows_per_unit=60, limits=Limits(minimum_units=0),
        )
        records = Records.open({name: list(values) for name, values in users(3_000, 10, seed=site).items()}, unit=policy.unit)
        guards.append(Guard(records, policy=policy, ledger=MemoryBooks()))
    spec = CountSpec("at", 0, DAY, 10, Budget(1, 1e-5), "kind", ("dns", "web"), longest=14.0)
    together = count_over_time(spec, LocalFederation(guards))
    exact = np.zeros((10, 2))
    for site in range(3):
        found = users(3_000, 10, seed=site)
        for place, kind in enumerate(("dns", "web")):
            exact[:, place] += np.bincount((found["at"][(found["kind"] == kind) & (found["user"] != "u0")] // DAY).astype(int), minlength=10)
    assert np.abs(together.counts - exact).max() < 7 * together.sigma + 0.02 * exact.max()
    assert together.guarantee.trust != TrustModel.curator()


def test_a_budget_pays_once() -> None:
    records, books = {"at": users(300, 5)["at"]}, MemoryBooks()
    model = CountForecaster(Budget(1, 1e-6), time="at", begin="1970-01-01", end="1970-01-06", ledger=books)
    model.fit(records)
    with pytest.raises(BudgetExceeded):
        model.fit(records)


@pytest.mark.parametrize(("change", "message"), [
    ({"begin": "soon"}, "2026-11-01"), ({"begin": "1971-01-01"}, "bins"), ({"width": "1 fortnight"}, "15min"), ({"longest": 0.5}, "longest"),
    ({"column": "kind"}, "column"), ({"time": "at", "keys": ("a",)}, "column"), ({"begin": "1970-01-01T00:00:00.5"}, "whole second"),
])  # fmt: skip
def test_a_wrong_parameter_is_not_worth_a_charge(change: dict[str, Any], message: str) -> None:
    books = MemoryBooks()
    with pytest.raises(UsageError, match=message):
        CountForecaster(Budget(1, 1e-6), **{"time": "at", "begin": "1970-01-01", "end": "1970-01-11", "ledger": books, **change}).fit(users(50, 5))
    assert not books.find("charge", Scope("fit"))


def test_widths_and_moments() -> None:
    assert [span(text) for text in ("30s", "15min", "15m", "2h", "1d", "1w")] == [30, 900, 900, 7_200, DAY, WEEK]
    assert moment("2026-11-01") == moment("2026-11-01T01:00:00+01:00") == 1_793_491_200
    assert bins_between(0, 7_300, 3_600) == 2


# -------------------------------------------------------------------------------------------------------------------- forecasts


@pytest.mark.parametrize(("sigma", "least", "most"), [(0.5, 0.82, 0.96), (25.0, 0.84, 0.96)])
def test_intervals_hold_what_they_promise(sigma: float, least: float, most: float) -> None:
    """Usual: 0.87 to 0.93 for both. Four series at a time, a week ahead of six."""
    exact = np.concatenate([rhythm(7 * 168, seed=seed) for seed in range(4)], axis=1)
    noisy = exact + np.round(np.random.default_rng(0).normal(0, sigma, exact.shape))
    found = forecast(releases(noisy[: 6 * 168], sigma=sigma, names=("a", "b", "c", "d")), 168)
    released = (noisy[6 * 168 :] >= found.released_lower) & (noisy[6 * 168 :] <= found.released_upper)
    held = (exact[6 * 168 :] >= found.lower) & (exact[6 * 168 :] <= found.upper)
    assert least < released.mean() < most
    assert least < held.mean() < most
    assert np.abs(found.expected - exact[6 * 168 :]).mean() < np.abs(noisy[5 * 168 : 6 * 168] - exact[6 * 168 :]).mean()
    assert (found.upper - found.lower < found.released_upper - found.released_lower).all()


def test_more_noise_means_wider_intervals() -> None:
    exact = rhythm(4 * 168, seed=1)
    widths = []
    for sigma in (1.0, 20.0, 80.0):
        noise = np.random.default_rng(1).normal(0, sigma, exact.shape)
        found = forecast(releases(exact + noise, sigma=sigma), 48)
        widths.append(float((found.released_upper - found.released_lower).mean()))
    assert widths[0] < widths[1] < widths[2]
    assert widths[2] > 2 * 1.5 * 80


def test_a_burst_in_a_later_release_is_found_and_a_usual_week_is_quiet() -> None:
    exact, rng = rhythm(7 * 168, seed=3), np.random.default_rng(3)
    noisy = exact + np.round(rng.normal(0, 10, exact.shape))
    later = noisy[6 * 168 :].copy()
    later[50] += 220.0
    history = releases(noisy[: 6 * 168], sigma=10.0)
    found = forecast(history, 168, coverage=0.999).outside(releases(later, sigma=10.0, begin=6 * WEEK))
    large = found["released"] - found["expected"] > 140
    assert found["time"][large].tolist() == [np.datetime64(6 * WEEK + 50 * HOUR, "s").item()]
    assert found["direction"][large].tolist() == ["more"]
    assert len(large) <= 4


def test_the_noise_of_a_later_release_is_its_own() -> None:
    history = releases(rhythm(4 * 168, seed=2) + np.random.default_rng(2).normal(0, 5, (4 * 168, 1)), sigma=5.0)
    same, more = forecast(history, 24), forecast(history, 24, sigma=50.0)
    assert np.array_equal(same.lower, more.lower)
    assert (more.released_upper > same.released_upper + 40).all()


def test_windows_are_put_together_and_what_lies_between_is_unknown() -> None:
    exact = rhythm(6 * 168, seed=4)
    parts = [releases(exact[: 2 * 168], sigma=1.0), releases(exact[3 * 168 :], sigma=2.0, begin=3 * WEEK)]
    history = History.of(parts[::-1])
    assert history.counts.shape == (6 * 168, 1)
    assert np.isnan(history.counts[2 * 168 : 3 * 168]).all()
    assert np.array_equal(history.counts[3 * 168 :], exact[3 * 168 :])
    assert history.sigma == 2.0
    found = forecast(parts, 24)
    assert found.begin == 6 * WEEK
    assert np.isfinite(found.columns()["released_upper"]).all()


@pytest.mark.parametrize(("change", "message"), [
    ({"begin": WEEK}, "overlap"), ({"begin": 2 * WEEK + 5}, "line up"), ({"begin": 2 * WEEK, "width": DAY}, "same width"),
    ({"names": ("other",)}, "same"),
])  # fmt: skip
def test_releases_that_do_not_belong_together_are_refused(change: dict[str, Any], message: str) -> None:
    first = releases(rhythm(2 * 168, seed=1), sigma=1.0)
    with pytest.raises(UsageError, match=message):
        History.of([first, dataclasses.replace(first, **change)])


@pytest.mark.parametrize(
    ("horizon", "coverage", "bins"), [(0, 0.9, 168), (True, 0.9, 168), (200_000, 0.9, 168), (5, 0.3, 168), (5, 1.0, 168), (5, 0.9, 19)],
)
def test_a_forecast_that_makes_no_sense_is_refused(horizon: int, coverage: float, bins: int) -> None:
    with pytest.raises(UsageError, match="Expected"):
        forecast(releases(rhythm(bins, seed=1), sigma=1.0), horizon, coverage=coverage)


@pytest.mark.parametrize(("width", "bins"), [(HOUR, 20), (HOUR, 100), (DAY, 40), (WEEK, 30), (7_000, 60)])
def test_short_and_odd_histories_are_forecast_too(width: int, bins: int) -> None:
    counts = np.random.default_rng(5).poisson(100, (bins, 1)) + 0.0
    found = forecast(releases(counts, sigma=3.0, width=width), 10)
    assert (np.abs(found.expected - 100) < 40).all()
    assert ((found.released_lower < 100) & (found.released_upper > 100)).all()
    assert periods_of(width, bins) == {(HOUR, 100): (24,), (DAY, 40): (7,)}.get((width, bins), ())


def test_all_zero_counts_stay_zero() -> None:
    found = forecast(releases(np.zeros((200, 1)), sigma=0.5), 24)
    assert (found.expected < 0.5).all()
    assert np.isfinite(found.released_upper).all()


def test_a_later_release_has_to_fit_the_forecast() -> None:
    found = forecast(releases(rhythm(168, seed=1), sigma=1.0), 24)
    for later in (releases(rhythm(24, seed=2), sigma=1.0), releases(rhythm(24, seed=2), sigma=1.0, begin=WEEK + 7),
                  releases(rhythm(24, seed=2), sigma=1.0, begin=WEEK, names=("other",)), releases(rhythm(24, seed=2), sigma=1.0, begin=3 * WEEK)):
        with pytest.raises(UsageError, match="later release"):
            found.outside(later)


def test_without_statsmodels_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "statsmodels.tsa.statespace.structural", None)
    with pytest.raises(MissingExtra, match=r"pip install 'tacit\[forecast\]'"):
        forecast(releases(rhythm(168, seed=1), sigma=1.0), 24)


def test_an_unfitted_forecaster_and_a_matrix_are_refused() -> None:
    with pytest.raises(UsageError, match="fit"):
        CountForecaster(Budget(1, 1e-6)).predict(3)
    with pytest.raises(UsageError, match="names"):
        CountForecaster(Budget(1, 1e-6), time="at", begin="1970-01-01", end="1970-01-11").fit(np.zeros((5, 2)))
