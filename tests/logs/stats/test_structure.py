"""What follows from the shape of a request alone: which cells one unit can reach, and what need not be asked."""

from __future__ import annotations

import pytest

from tacit.guarantee import Budget, PrivacyUnit
from tacit.logs.stats import Bounds, Calendar, PublicKeys, Request, Terms, TimeBins, release
from tacit.logs.stats.stages import Stage

from .conftest import BEGIN, DAY, HOSTS, USER_DAY, Owner

BY_HOST = PublicKeys("host.name", HOSTS)
CALENDAR = Calendar("@timestamp", BEGIN, BEGIN + 3 * DAY)


@pytest.mark.parametrize(("unit", "by", "begin", "cells"), [
    (USER_DAY, (TimeBins(DAY),), 0, 1), (USER_DAY, (TimeBins(3_600),), 0, 24), (USER_DAY, (TimeBins(3 * DAY),), 0, 1), (USER_DAY, (BY_HOST,), 0, 12),
    (USER_DAY, (BY_HOST, TimeBins(DAY)), 0, 12), (USER_DAY, (TimeBins(DAY),), 3_600, 2), (USER_DAY, (TimeBins(3_600),), 1_800, 25),
    (PrivacyUnit("user-hour", "user.name", "hour"), (TimeBins(DAY),), 0, 1), (PrivacyUnit("user", "user.name"), (TimeBins(DAY),), 0, 3),
    (PrivacyUnit("user-week", "user.name", "week"), (TimeBins(DAY),), 0, 3),
])  # fmt: skip
def test_cells_that_a_unit_can_reach(unit: PrivacyUnit, by: tuple[object, ...], begin: int, cells: int) -> None:
    calendar = Calendar("@timestamp", BEGIN + begin, BEGIN + begin + 3 * DAY)
    stage = Stage(Request("n", "units", by), calendar, "laplace", unit)  # type: ignore[arg-type]
    assert stage._reachable(stage._grid(())) == cells
    assert stage.single is (cells == 1)


def test_what_a_units_own_day_decides_is_not_asked(owner: Owner) -> None:
    """A user's day lies in one day: units by day need no bound that is chosen, and lose nothing."""
    curator = owner()
    requests = [Request("n", "units", (TimeBins(DAY),)), Request("m", "units", (BY_HOST, TimeBins(DAY)))]
    found = release(requests, curator, Terms(Budget(20.0, 1e-6), CALENDAR))
    plan = curator.guard.ledger.find("charge", curator.guard.scope)[0].body["plan"]
    assert [step["kind"] for step in plan["steps"]] == ["tally@1", "contributions@1", "tally@1"]
    first, second = found.tables
    assert first.bounds == {"rows": 1}
    assert first.bias is not None
    assert first.bias["rows"] == first.bias["hidden_units"] == 0
    assert second.bounds["rows"] <= 12


def test_steps_follow_from_the_request() -> None:
    def kinds(request: Request, noise: str = "laplace") -> list[str]:
        return [asked.kind.partition("@")[0] for asked in Stage(request, CALENDAR, noise, USER_DAY).asked()]

    assert kinds(Request("n", "count", (BY_HOST,))) == ["contributions", "tally"]
    assert kinds(Request("n", "count", (BY_HOST,), bounds=Bounds(rows=3))) == ["tally", "contributions"]
    assert kinds(Request("n", "count", (BY_HOST,), bounds=Bounds(rows=3), bias=False)) == ["tally"]
    assert kinds(Request("n", "count", (BY_HOST,), bounds=Bounds(cells=3, each=1), bias=False), "gaussian") == ["tally"]
    assert kinds(Request("n", "count", (BY_HOST,), bounds=Bounds(cells="auto", each="auto"))) == [*["contributions"] * 3, "tally", "contributions"]
    assert kinds(Request("n", "top", of=("host.name",))) == ["select_keys", "contributions", "tally"]
    assert kinds(Request("n", "distinct", of=("host.name",))) == ["contributions", "distinct"]
    for request in (Request("n", "count"), Request("n", "top", of=("host.name",), bounds=Bounds(rows=2))):
        assert sum(asked.share for asked in Stage(request, CALENDAR, "gaussian", USER_DAY).asked()) == pytest.approx(1.0)


def test_the_calendar_bounds_every_request(owner: Owner) -> None:
    request = Request("n", "count", bounds=Bounds(rows=50))
    terms = (Terms(Budget(20.0, 1e-6)), Terms(Budget(20.0, 1e-6), Calendar("@timestamp", BEGIN, BEGIN + DAY)))
    whole, day = (release([request], owner(seed=1), each).tables[0] for each in terms)
    assert day.columns["tacit.value"][0] == pytest.approx(whole.columns["tacit.value"][0] / 3, rel=0.1)
    assert "@timestamp" not in day.columns
    assert day.describe()["calendar"] == {"column": "@timestamp", "begin": BEGIN, "end": BEGIN + DAY}
    assert whole.describe()["calendar"] is None
