"""Survival curves: the life table exactly without noise, and intervals that cover the truth with it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tacit import Budget, PrivacyUnit, Relation
from tacit.errors import UsageError
from tacit.federation import GroupedFederation, LocalFederation, Parties
from tacit.guard import Aggregator, Curator, Guard, Limits, MemoryBooks, Policy
from tacit.learn import SurvivalCurve, SurvivalSpec, fit_survival
from tacit.learn.survival import curve_of
from tacit.questions import Batch, SessionCache

BUDGET = Budget(1.0, 1e-5)
TRUTH, LEAVING, SPANS = 12.0, 20.0, 12


class Rows:
    """Columns as records; ``who`` owns them, if it is there."""

    def __init__(self, columns: dict[str, Any]) -> None:
        self.columns = columns

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[Batch]:
        owners = self.columns.get("who")
        arrays = {name: pa.array(values) for name, values in self.columns.items() if name != "who"}
        yield Batch(arrays, len(self.columns["time"]), None if owners is None else np.asarray(owners, np.int64))


def patients(count: int, *, seed: int, scale: float = TRUTH) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    until, left = rng.exponential(scale, count), rng.exponential(LEAVING, count)
    return {"time": np.minimum(until, left).tolist(), "died": ["1" if one <= other else "0" for one, other in zip(until, left, strict=True)]}


def guard_of(columns: dict[str, Any], *, budget: Budget = BUDGET) -> Guard:
    return Guard(Rows(columns), ledger=MemoryBooks(), policy=Policy(
        "clinic", unit=PrivacyUnit("patient"), relation=Relation.ADD_REMOVE, budget=budget, limits=Limits(0),
    ))  # fmt: skip


def spec(**changes: Any) -> SurvivalSpec:
    given: dict[str, Any] = {"duration": "time", "event": "died", "width": 1.0, "spans": SPANS, "budget": BUDGET, **changes}
    return SurvivalSpec(**given)


def life_table(columns: dict[str, Any]) -> list[float]:
    """By hand, span by span."""
    found, share = [], 1.0
    for span in range(SPANS):
        risk = [(time, died) for time, died in zip(columns["time"], columns["died"], strict=True) if time >= span]
        inside = [(time, died) for time, died in risk if time < span + 1]
        events, left = sum(died == "1" for _, died in inside), sum(died == "0" for _, died in inside)
        share *= 1 - events / (len(risk) - left / 2)
        found.append(share)
    return found


def test_without_noise_it_is_the_life_table() -> None:
    columns = patients(3_000, seed=1)
    counts = np.zeros((2, SPANS + 1))
    for time, died in zip(columns["time"], columns["died"], strict=True):
        counts[0 if died == "1" else 1, min(int(time), SPANS)] += 1
    curve = curve_of(counts, "", width=1.0, sigma=1e-9, level=0.95)
    np.testing.assert_allclose(curve.survival, life_table(columns), atol=1e-12)
    np.testing.assert_allclose(curve.survival, np.exp(-np.arange(1, SPANS + 1) / TRUTH), atol=0.05)
    assert curve.determined.all()


def test_the_interval_without_noise_is_greenwoods() -> None:
    counts = np.array([[10.0, 20.0, 0.0], [0.0, 0.0, 70.0]])
    curve = curve_of(counts, "", width=1.0, sigma=1e-9, level=0.95)
    variance = 10 / (100 * 90) + 20 / (90 * 70)
    assert curve.low[1] == pytest.approx(0.7 * math.exp(-1.959964 * math.sqrt(variance)), rel=1e-6)
    assert curve.high[1] == pytest.approx(0.7 * math.exp(1.959964 * math.sqrt(variance)), rel=1e-6)


def one_curve(aggregator: Aggregator) -> SurvivalCurve:
    found = fit_survival(spec(), aggregator)
    assert found.guarantee.epsilon <= BUDGET.epsilon
    return found.curves[0]


def four_sites(columns: dict[str, Any]) -> list[Guard]:
    return [guard_of({name: values[site::4] for name, values in columns.items()}) for site in range(4)]


@pytest.mark.parametrize("masked", [False, True], ids=["curator", "four sites"])
def test_the_interval_covers_the_truth_with_noise(masked: bool) -> None:
    """At 300 patients noise is the larger part: an interval of chance alone, or of the plan's noise where sites add twice that, is found out."""
    truth, covered, short = np.exp(-np.arange(1, SPANS + 1) / TRUTH), 0, 0
    runs = 150
    for run in range(runs):
        columns = patients(300, seed=run)
        aggregator = LocalFederation(four_sites(columns), parties=Parties.of(4)) if masked else Curator(guard_of(columns))
        curve = one_curve(aggregator)
        where = int(np.flatnonzero(curve.determined)[-1]) // 2
        covered += bool(curve.low[where] <= truth[where] <= curve.high[where])
        chance = (curve.survival[where] - curve.low[where]) / (3.0 if masked else 4.0)
        short += bool(abs(curve.survival[where] - truth[where]) <= chance)
        assert (np.diff(curve.survival) <= 0).all()
        assert (curve.low <= curve.survival + 1e-12).all()
        assert (curve.survival <= curve.high + 1e-12).all()
    assert covered >= 0.8 * runs  # 95 % expected; 80 % or less has probability below 1e-9
    assert short <= 0.8 * runs, "a third of the interval is not enough"


def test_groups_get_a_curve_each_and_are_told_apart() -> None:
    few, many = patients(2_000, seed=1, scale=4.0), patients(2_000, seed=2, scale=20.0)
    columns = {name: [*few[name], *many[name]] for name in few} | {"arm": ["a"] * 2_000 + ["b"] * 2_000}
    found = fit_survival(spec(by="arm", groups=("a", "b")), Curator(guard_of(columns)))
    assert [curve.group for curve in found.curves] == ["a", "b"]
    assert found.curves[0].high[5] < found.curves[1].low[5]


def test_a_patient_with_many_rows_counts_once() -> None:
    columns = {"time": [0.5] * 50 + [3.0], "died": ["1"] * 51, "who": [0] * 50 + [1]}
    unit = PrivacyUnit("patient", column="who")
    policy = Policy("clinic", unit=unit, relation=Relation.ADD_REMOVE, budget=BUDGET, limits=Limits(0), rows_per_unit=10)
    question = spec().question()
    assert question.evaluate(Rows(columns), SessionCache()).sum() == 2 * 4096
    found = fit_survival(spec(), Curator(Guard(Rows(columns), policy=policy, ledger=MemoryBooks())))
    assert found.guarantee.unit.name == "patient"


def test_where_too_few_are_left_the_curve_says_so() -> None:
    curve = one_curve(Curator(guard_of(patients(40, seed=1))))
    assert not curve.determined.all()
    first = int(np.argmin(curve.determined))
    assert (curve.low[first:] == 0).all()
    assert len(set(curve.survival[first:])) == 1


def test_groups_of_sites_widen_the_interval() -> None:
    columns = patients(3_000, seed=3)
    nine = [guard_of({name: values[site::9] for name, values in columns.items()}) for site in range(9)]
    groups = GroupedFederation([LocalFederation(nine[start : start + 3], parties=Parties.of(3)) for start in (0, 3, 6)])
    wide = fit_survival(spec(), groups)
    plain = fit_survival(spec(), LocalFederation(four_sites(columns), parties=Parties.of(4)))
    assert wide.sigma > 1.3 * plain.sigma


@pytest.mark.parametrize(("changes", "message"), [
    ({"width": 0.0}, "width=0.0 > 0"), ({"spans": 0}, "spans=0"), ({"spans": 5_000}, "spans=5000"), ({"by": "arm"}, "column together"),
])
def test_what_is_no_calendar_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        spec(**changes)
    with pytest.raises(UsageError, match="level=1"):
        fit_survival(spec(), Curator(guard_of(patients(10, seed=1))), level=1)
