from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from tacit.cli.detect import detect
from tacit.errors import DataError, UsageError
from tacit.guard import Ledger

pytest.importorskip("statsmodels")

BEGIN = dt.datetime(2026, 1, 5, tzinfo=dt.UTC)
BURST, SILENCE = BEGIN + dt.timedelta(days=22, hours=3), BEGIN + dt.timedelta(days=23, hours=12)
POLICY = """
version = 1
[dataset]
name = "soc"
[unit]
name = "user-day"
column = "user.name"
window = "day"
rows = 10
[privacy]
epsilon = 20
delta = 1e-5
[limits]
minimum_units = 10
[ledger]
url = "ledger.db"
"""


def _events() -> list[str]:
    """25 days of 600 accounts with a rhythm of days; a burst in one hour of servers, and a silence of clients at noon."""
    rng = np.random.default_rng(1)
    lines = []
    for hour in range(25 * 24):
        moment = BEGIN + dt.timedelta(hours=hour)
        for kind, level in (("server", 80), ("client", 80)):
            busy = level * (1 + 0.6 * np.sin(2 * np.pi * (hour % 24) / 24))
            if kind == "server" and moment == BURST:
                busy *= 6
            if kind == "client" and moment == SILENCE:
                busy = 0
            for who in rng.integers(0, 300, rng.poisson(busy)):
                time = moment + dt.timedelta(seconds=int(rng.integers(0, 3_600)))
                lines.append(json.dumps({
                    "@timestamp": f"{time:%Y-%m-%dT%H:%M:%SZ}", "user": {"name": f"{kind[0]}{who}"}, "event": {"category": ["network"]},
                    "host": {"name": f"{kind}-{who}"},
                }))
    return lines


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("counts")
    (folder / "events.ndjson").write_text("\n".join(_events()) + "\n")
    (folder / "tacit.toml").write_text(POLICY, encoding="utf-8")
    rows = [f"{kind}-{who},{kind}" for kind in ("server", "client") for who in range(300)]
    (folder / "classes.csv").write_text("host.name,class\n" + "\n".join(rows) + "\n")
    common = (folder / "events.ndjson", "--policy", folder / "tacit.toml", "--budget", "4", "--classes", folder / "classes.csv")
    values = ("--value", "server", "--value", "client")
    invoke("count", *common, *values, "--from", "2026-01-05", "--to", "2026-01-26", "--output", folder / "before.tacit")
    invoke("count", *common, "--like", folder / "before.tacit", "--to", "2026-01-30", "--output", folder / "later.tacit")
    return folder


def invoke(*arguments: str | Path) -> str:
    result = CliRunner().invoke(detect, list(map(str, arguments)), standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return str(result.stdout)


def test_a_burst_and_a_silence_are_alerts_and_little_else(place: Path) -> None:
    alerts = [json.loads(line) for line in invoke("forecast", place / "later.tacit", place / "before.tacit").splitlines()]
    found = {(alert["tacit"]["forecast"]["series"], alert["event"]["start"], alert["tacit"]["forecast"]["direction"]) for alert in alerts}
    assert ("server", f"{BURST:%Y-%m-%dT%H:%M:%S}.000Z", "more") in found
    assert ("client", f"{SILENCE:%Y-%m-%dT%H:%M:%S}.000Z", "fewer") in found
    assert len(alerts) <= 8  # of 192 counts
    assert all(alert["event"]["kind"] == "alert" and "user" not in alert for alert in alerts)
    assert len({alert["event"]["id"] for alert in alerts}) == len(alerts)
    burst = next(alert for alert in alerts if alert["tacit"]["forecast"]["series"] == "server" and alert["event"]["severity"] == 75)
    assert "per user-day" in burst["tacit"]["forecast"]["guarantee"]


def test_a_budget_of_alerts_keeps_the_farthest(place: Path) -> None:
    text = invoke("forecast", place / "later.tacit", place / "before.tacit", "--alerts-per-day", "0.25", "--coverage", "0.6", "--format", "ocsf")
    (finding,) = map(json.loads, text.splitlines())
    assert finding["class_uid"] == 2004
    assert finding["start_time"] == int(BURST.timestamp() * 1_000)
    assert finding["finding_info"]["analytic"]["type_id"] == 3
    assert finding["unmapped"]["tacit"]["distance"] > 2


def test_counting_is_charged_and_forecasting_is_not(place: Path) -> None:
    before = len(list(Ledger.open(place / "ledger.db").entries()))
    invoke("forecast", place / "later.tacit", place / "before.tacit", "--output", place / "alerts.ndjson")
    assert (place / "alerts.ndjson").stat().st_size > 0
    assert len(list(Ledger.open(place / "ledger.db").entries())) == before >= 4


def test_what_does_not_fit_is_said(place: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="end after the history"):
        invoke("forecast", place / "before.tacit", place / "later.tacit")
    with pytest.raises(UsageError, match="alerts_per_day"):
        invoke("forecast", place / "later.tacit", place / "before.tacit", "--alerts-per-day", "0")
    pl.DataFrame({"host.name": ["a", "a"], "class": ["x", "y"]}).write_csv(tmp_path / "twice.csv")
    common = (place / "events.ndjson", "--policy", place / "tacit.toml", "--budget", "1", "--from", "2026-01-05", "--to", "2026-01-06")
    with pytest.raises(DataError, match="once"):
        invoke("count", *common, "--classes", tmp_path / "twice.csv", "--value", "x", "--output", tmp_path / "x.tacit")
    with pytest.raises(UsageError, match="such as user"):
        invoke("count", *common, "--by", "host.ip", "--value", "x", "--output", tmp_path / "x.tacit")
