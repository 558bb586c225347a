from __future__ import annotations

import datetime as dt
import importlib.util
import json
from pathlib import Path

import numpy as np
import orjson
import polars as pl
import pytest
from click.testing import CliRunner

from tacit.cli.logs_synthetic import synthetic
from tacit.domain import Category
from tacit.errors import DataError, UsageError
from tacit.guarantee import PrivacyUnit
from tacit.guard import Ledger
from tacit.logs import EVENT_SCHEMA, SimulationSpec, simulate
from tacit.logs.detection import event_frames
from tacit.logs.formats import by_name
from tacit.logs.synthetic import EVENT_COLUMNS, WEEKDAYS, event_domain, event_table, made_up_events, one_of_each

BORDER = dt.datetime(2026, 1, 8, tzinfo=dt.UTC)
POLICY = """
version = 1
[dataset]
name = "soc"
[unit]
name = "user-day"
column = "user.name"
window = "day"
rows = 30
[privacy]
epsilon = 20
delta = 1e-5
[limits]
minimum_units = 10
[ledger]
url = "ledger.db"
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six days of a small enterprise, in two halves; a policy."""
    folder = tmp_path_factory.mktemp("events")
    simulate(SimulationSpec(users=120, days=6, hosts=150, intrusions=2, seed=5, events_per_user_day=20.0)).write_ndjson(folder / "all")
    with (folder / "all").open("rb") as lines, (folder / "a.ndjson").open("wb") as before, (folder / "b.ndjson").open("wb") as after:
        for line in lines:
            (before if orjson.loads(line)["@timestamp"] < BORDER.isoformat() else after).write(line)
    (folder / "tacit.toml").write_text(POLICY, encoding="utf-8")
    return folder


def _invoke(*arguments: str | Path) -> str:
    result = CliRunner().invoke(synthetic, list(map(str, arguments)), standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.output


def test_a_table_of_events_names_nobody(place: Path) -> None:
    table = event_table(event_frames(place / "a.ndjson", by_name("ecs")))
    assert table.columns == list(EVENT_COLUMNS)
    raw = [json.loads(line) for line in (place / "a.ndjson").read_text().splitlines()]
    names = {value for event in raw for key in ("user.name", "host.name", "source.ip") if (value := event.get(key))}
    assert len(names) > 100
    texts = {value for column in table.select(pl.col(pl.String)) for value in column.unique().drop_nulls()}
    assert not names & texts
    first = dt.datetime.fromisoformat(raw[0]["@timestamp"])
    assert table.row(0)[:2] == (WEEKDAYS[first.weekday()], first.hour)
    assert table.height == len(raw)
    with pytest.raises(UsageError, match=r"user\.name"):
        event_table([], ["user.name"])


def test_no_event_and_no_such_column_are_said(place: Path) -> None:
    (place / "empty.ndjson").write_text("")
    with pytest.raises(DataError, match="Expected events"):
        _invoke("fit", place / "empty.ndjson", "--budget", "1", "--policy", place / "tacit.toml", "--output", place / "none.tacit")
    with pytest.raises(UsageError, match=r"host\.name"):
        _invoke(
            "fit", place / "a.ndjson", "--budget", "1", "--policy", place / "tacit.toml", "--column", "host.name", "--output", place / "none.tacit"
        )
    assert not (place / "none.tacit").exists()


def test_one_event_of_each_unit(place: Path) -> None:
    table = event_table(event_frames(place / "a.ndjson", by_name("ecs")), keep=["user.name", "@timestamp"])
    days = table.drop_nulls("user.name").select("user.name", pl.col("@timestamp").dt.date()).unique()
    assert one_of_each(table, PrivacyUnit("user-day", "user.name", "day")).height == days.height > 200
    assert one_of_each(table, PrivacyUnit("user", "user.name")).height == days["user.name"].n_unique()
    assert one_of_each(table, PrivacyUnit()).height == table.height


def test_records_become_events_in_order_that_can_be_read_again(tmp_path: Path) -> None:
    drawn = {
        "weekday": np.array(["sunday", "monday", None], object), "hour": np.array([23.0, 0.0, np.nan]),
        "event.category": np.array(["web", "network", "process"], object), "destination.port": np.array(["443", "(other)", None], object),
        "source.bytes": np.array([10.0, np.nan, 3.0]), "process.name": np.array([0.5, np.nan, np.nan]),
    }
    events = list(made_up_events(drawn, begin=dt.date(2026, 1, 7), seed=3))
    assert [event["@timestamp"] for event in events] == sorted(event["@timestamp"] for event in events)
    sunday = next(event for event in events if event["event"]["category"] == ["web"])
    assert sunday["@timestamp"].startswith("2026-01-11T23:")
    assert sunday["destination"] == {"port": 443}
    assert sunday["source"] == {"bytes": 10}
    assert all("process" not in event for event in events)
    monday = next(event for event in events if event["event"]["category"] == ["network"])
    assert monday["@timestamp"].startswith("2026-01-12T00:")
    assert "destination" not in monday
    (tmp_path / "made.ndjson").write_text("".join(json.dumps(event) + "\n" for event in events))
    (frame,) = event_frames(tmp_path / "made.ndjson", by_name("ecs"))
    assert sorted(frame["event.category"]) == ["network", "process", "web"]
    assert set(frame.columns) == set(EVENT_SCHEMA)


def test_what_is_declared_is_public() -> None:
    domain = event_domain()
    assert "process.name" not in domain.names
    assert isinstance(domain.column("destination.port"), Category)


@pytest.mark.slow
def test_made_up_events_are_charged_and_resemble_the_real_ones(place: Path) -> None:
    if importlib.util.find_spec("mbi") is None:
        pytest.skip("needs mbi: pip install 'tacit[synthetic]'")
    columns = ("hour", "event.category", "event.action", "event.outcome", "destination.port", "source.bytes")
    chosen = [word for name in columns for word in ("--column", name)]
    told = _invoke("fit", place / "a.ndjson", "--budget", "8", "--policy", place / "tacit.toml", *chosen, "--output", place / "e.tacit")
    assert "per user-day" in told
    assert any("make up events" in str(entry.body) for entry in Ledger.open(place / "ledger.db").entries())
    _invoke("sample", place / "e.tacit", "--rows", "5000", "--seed", "1", "--from", "2026-03-02", "--output", place / "made.ndjson")
    made = [json.loads(line) for line in (place / "made.ndjson").read_text().splitlines()]
    assert len(made) == 5_000
    assert all(event["tacit"] == {"synthetic": True} and event["@timestamp"].startswith("2026-03-0") for event in made)
    assert not any("user" in event or "host" in event for event in made)
    dns = [event for event in made if event["event"].get("action") == "dns-query"]
    assert len(dns) > 500
    assert sum(event.get("destination", {}).get("port") == 53 for event in dns) > 0.8 * len(dns)
    checked = json.loads(_invoke(
        "check", place / "e.tacit", "--data", place / "a.ndjson", "--against", place / "b.ndjson", "--policy", place / "tacit.toml", "--rows", "5000",
        "--about", "event.outcome", "--format", "json",
    ))
    assert checked["single"] < checked["single_real"] + 0.1
    assert checked["auc"] > 0.6
    assert [attack["verdict"] for attack in checked["attacks"]] != ["inconsistent with the claim"] * 2
