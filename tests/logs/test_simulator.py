from __future__ import annotations

import datetime as dt
import errno
import ipaddress
import json
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import polars as pl
import pytest

from tacit.errors import StorageError, UsageError
from tacit.logs import EVENT_SCHEMA, LABEL_SCHEMA, Simulation, SimulationSpec, simulate


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return simulate(SimulationSpec.small(seed=11))


@pytest.fixture(scope="module")
def events(simulation: Simulation) -> pl.DataFrame:
    return pl.concat(simulation.events(labels=True))


def test_same_spec_same_events_and_other_seed_other_events(simulation: Simulation, events: pl.DataFrame) -> None:
    again = pl.concat(simulate(SimulationSpec.small(seed=11)).events(labels=True))
    assert again.equals(events)
    assert not pl.concat(simulate(SimulationSpec.small(seed=12)).events(labels=True)).equals(events)
    assert pl.concat(simulation.events(labels=True, batch_rows=997)).equals(events)


def test_batches_are_bounded_and_labels_come_only_on_request(simulation: Simulation) -> None:
    batches = list(simulation.events(batch_rows=1_000))
    assert max(batch.height for batch in batches) == 1_000
    assert all(dict(batch.schema) == EVENT_SCHEMA for batch in batches)
    labelled = next(simulation.events(labels=True))
    assert dict(labelled.schema) == EVENT_SCHEMA | LABEL_SCHEMA


def test_size_calendar_order_and_identity(simulation: Simulation, events: pl.DataFrame) -> None:
    spec = simulation.spec
    benign = events.filter(~pl.col("tacit.label.malicious")).height
    assert benign == pytest.approx(spec.users * spec.days * spec.events_per_user_day, rel=0.12)
    assert events["@timestamp"].is_sorted()
    assert events["@timestamp"].dt.date().unique().sort().to_list() == [spec.start + dt.timedelta(days=i) for i in range(spec.days)]
    assert events["event.id"].n_unique() == events.height
    assert events["user.name"].n_unique() == spec.users
    assert events["host.name"].n_unique() <= spec.hosts


def test_people_work_by_day_and_in_the_week_services_work_at_night(simulation: Simulation, events: pl.DataFrame) -> None:
    tagged = events.filter(~pl.col("tacit.label.malicious")).join(simulation.directory, on="user.name")
    hour, weekday = pl.col("@timestamp").dt.hour(), pl.col("@timestamp").dt.weekday()
    office = tagged.filter((pl.col("role") == "office") & (pl.col("site") == "north"))
    night = office.select((((hour >= 21) | (hour < 5)) & (weekday < 6)).sum() / (weekday < 6).sum()).item()
    weekend = office.select((weekday >= 6).mean()).item()
    assert 0.02 < night < 0.25
    assert 0.02 < weekend < 0.2
    backup = tagged.filter(pl.col("user.name").str.starts_with("svc-backup") & (pl.col("source.bytes") > 100_000_000))
    assert backup.height > 50
    assert backup.select((hour < 6).mean()).item() == 1.0
    monday = tagged.filter(pl.col("event.action") == "logon-failed").group_by(weekday.alias("day")).len().sort("day")
    assert monday["len"][0] > monday["len"][1:5].max()


def test_labels_agree_with_campaigns(simulation: Simulation, events: pl.DataFrame) -> None:
    bad = events.filter(pl.col("tacit.label.malicious"))
    assert events.filter(~pl.col("tacit.label.malicious"))["tacit.label.campaign"].null_count() == events.height - bad.height
    assert bad.height > 100
    assert len(simulation.campaigns) == simulation.spec.intrusions
    for campaign in simulation.campaigns:
        own = bad.filter(pl.col("tacit.label.campaign") == campaign.id)
        assert own["tacit.label.attack"].unique().to_list() == [campaign.kind]
        assert set(own["user.name"]) == set(campaign.victims)
        days = own["@timestamp"].dt.date()
        assert days.min() == campaign.first_day
        assert days.max() == campaign.last_day
        assert all(technique.startswith("T1") for technique in campaign.techniques)
    assert set(bad["tacit.label.campaign"]) == {campaign.id for campaign in simulation.campaigns}


def test_fields_belong_to_their_event(events: pl.DataFrame) -> None:
    dataset = pl.col("event.dataset")
    for name, where in {
        "dns.question.name": "dns",
        "url.domain": "proxy",
        "process.name": "process",
        "http.request.method": "proxy",
    }.items():
        assert events.filter(pl.col(name).is_not_null() != (dataset == where)).is_empty(), name
    moved = events.filter(pl.col("source.bytes").is_not_null())
    assert set(moved["event.dataset"]) == {"proxy", "firewall"}
    assert moved.filter(pl.col("network.bytes") != pl.col("source.bytes") + pl.col("destination.bytes")).is_empty()
    assert set(events["event.dataset"]) == {"auth", "dns", "proxy", "process", "firewall"}


def test_names_and_addresses_are_reserved_ones(events: pl.DataFrame) -> None:
    nets = ("10.0.0.0/8", "198.18.0.0/15", "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")
    allowed = [ipaddress.ip_network(net) for net in nets]
    for column in ("source.ip", "destination.ip"):
        for text in events[column].drop_nulls().unique():
            assert any(ipaddress.ip_address(text) in net for net in allowed)
    for column in ("url.domain", "dns.question.name"):
        assert events[column].drop_nulls().unique().str.contains(r"^[a-z0-9-]+(\.[a-z0-9-]+)*\.(example|test)$").all()


def test_attackers_use_nothing_that_nobody_else_uses_for_most_kinds(events: pl.DataFrame) -> None:
    """A detector must not win by a name alone: programs and ports of intrusions also occur in ordinary work."""
    bad, good = (events.filter(pl.col("tacit.label.malicious") == flag) for flag in (True, False))
    for column in ("process.name", "event.action", "http.request.method"):
        assert set(bad[column].drop_nulls()) <= set(good[column].drop_nulls()), column


def test_ndjson_and_parquet_hold_the_frames_with_their_types(simulation: Simulation, events: pl.DataFrame, tmp_path: Path) -> None:
    for labels in (False, True):
        expected = events if labels else events.drop(list(LABEL_SCHEMA))
        assert simulation.write_parquet(tmp_path / "e.parquet", labels=labels) == events.height
        assert pl.read_parquet(tmp_path / "e.parquet").equals(expected)
        assert simulation.write_ndjson(tmp_path / "e.ndjson", labels=labels) == events.height
        text = {name: kind for name, kind in expected.schema.items() if name != "@timestamp"}
        parsed = pl.read_ndjson(tmp_path / "e.ndjson", schema={"@timestamp": pl.String, **text})
        stamps = parsed["@timestamp"].str.to_datetime("%Y-%m-%dT%H:%M:%S%.3fZ", time_unit="ms", time_zone="UTC")
        assert parsed.with_columns(stamps).equals(expected)
    with (tmp_path / "e.ndjson").open(encoding="utf-8") as file:
        for line, row in zip(file, events.iter_rows(named=True), strict=True):
            record = json.loads(line)
            stamp = record.pop("@timestamp")
            assert dt.datetime.fromisoformat(stamp) == row.pop("@timestamp")
            assert record == {name: value for name, value in row.items() if value is not None}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["e.ndjson", "e.parquet"]


@pytest.mark.parametrize("writer", ["write_ndjson", "write_parquet"])
@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_an_interrupted_write_leaves_what_was_there(
    writer: str, failure: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulation = simulate(SimulationSpec.small(seed=3))
    target = tmp_path / "events"
    target.write_text("before")
    calls = 0
    method = "lines" if writer == "write_ndjson" else "frame"
    original = getattr(simulation._ecs, method)

    def failing(*args: object, **kwargs: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise failure
        return original(*args, **kwargs)

    monkeypatch.setattr(simulation._ecs, method, failing)
    with pytest.raises(StorageError if isinstance(failure, OSError) else KeyboardInterrupt):
        getattr(simulation, writer)(target)
    assert calls == 3
    assert target.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["events"]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="folder"):
        simulate(SimulationSpec.small(seed=3)).write_ndjson(tmp_path / "absent" / "x")


def test_accounts_beyond_one_block_are_all_simulated(monkeypatch: pytest.MonkeyPatch, simulation: Simulation) -> None:
    monkeypatch.setattr("tacit.logs.simulator._BLOCK_EVENTS", 1_200)
    blocks = pl.concat(simulation.events(labels=True))
    assert blocks["user.name"].n_unique() == simulation.spec.users
    assert blocks["event.id"].n_unique() == blocks.height
    assert set(blocks["tacit.label.campaign"].drop_nulls()) == {campaign.id for campaign in simulation.campaigns}


@pytest.mark.parametrize(
    "change",
    [
        {"users": 3},
        {"days": 0},
        {"hosts": 100},
        {"seed": -1},
        {"seed": True},
        {"intrusions": 1.5},
        {"events_per_user_day": 1},
        {"start": "2026-01-05"},
    ],
)
def test_a_spec_says_what_is_wrong_with_it(change: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=next(iter(change))):
        replace(SimulationSpec.small(seed=1), **change)  # type: ignore[arg-type]


def test_spec_is_frozen_and_needs_a_seed(simulation: Simulation) -> None:
    with pytest.raises(FrozenInstanceError):
        simulation.spec.users = 5  # type: ignore[misc]
    with pytest.raises(TypeError):
        SimulationSpec.pilot()  # type: ignore[call-arg]
    with pytest.raises(UsageError, match="batch_rows"):
        next(simulation.events(batch_rows=0))


def test_directory_names_every_account_once(simulation: Simulation) -> None:
    directory = simulation.directory
    assert directory.height == directory["user.name"].n_unique() == simulation.spec.users
    assert set(directory["role"]) == {"office", "developer", "administrator", "service"}
