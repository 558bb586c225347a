from __future__ import annotations

import datetime as dt
import itertools
import math
import statistics
from collections import Counter, defaultdict
from typing import Any

import polars as pl
import pytest

from tacit.errors import DataError, UsageError
from tacit.logs import (
    EVENT_SCHEMA,
    FEATURE_SCHEMA,
    GROUP_SCHEMA,
    ROWS_PER_UNIT,
    Simulation,
    SimulationSpec,
    entity_window_features,
    simulate,
)
from tacit.logs.vocabulary import ADMIN_TOOLS, DOCUMENT_APPS, SHELLS

Row = dict[str, Any]
NUMBERS = [spec.name for spec in FEATURE_SCHEMA if spec.kind == "numeric"]


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return simulate(SimulationSpec.small(seed=21))


@pytest.fixture(scope="module")
def events(simulation: Simulation) -> pl.DataFrame:
    return pl.concat(simulation.events(labels=True))


@pytest.fixture(scope="module")
def table(events: pl.DataFrame, simulation: Simulation) -> pl.DataFrame:
    return entity_window_features(events, directory=simulation.directory)


def _entropy(text: str) -> float:
    return -sum(n / len(text) * math.log2(n / len(text)) for n in Counter(text).values())


def _outside(address: str | None) -> bool:
    return address is not None and not address.startswith("10.")


def _most(keys: list[Any]) -> int:
    return max(Counter(keys).values(), default=0)


def _hour(row: Row) -> int:
    return int(row["@timestamp"].hour)


def _night(row: Row) -> bool:
    return _hour(row) >= 20 or _hour(row) < 5


def _oracle_logons(rows: list[Row]) -> Row:
    auth = [r for r in rows if r["event.category"] == "authentication"]
    failed = [r for r in auth if r["event.outcome"] == "failure"]
    remote = [r for r in auth if r["destination.port"] in (22, 445, 3389, 5985, 5986)]
    return {
        "logons": len(auth) - len(failed),
        "logons_failed": len(failed),
        "logon_failure_ratio": len(failed) / len(auth) if auth else 0,
        "logons_failed_hour_max": _most([_hour(r) for r in failed]),
        "logon_hosts": len({r["host.name"] for r in auth}),
        "logons_failed_external": sum(_outside(r["source.ip"]) for r in failed),
        "logon_sources_external": len({r["source.ip"] for r in auth if _outside(r["source.ip"])}),
        "hosts_remote_admin": len({r["host.name"] for r in remote}),
    }


def _oracle_traffic(rows: list[Row]) -> Row:
    moved = [r for r in rows if r["source.bytes"] is not None]
    out, back = sum(r["source.bytes"] for r in moved), sum(r["destination.bytes"] for r in moved)
    places: Counter[str] = Counter()
    for r in moved:
        places[r["url.domain"] or r["destination.ip"]] += r["source.bytes"]
    return {
        "bytes_out": out,
        "bytes_in": back,
        "upload_ratio": out / (out + back) if out + back else 0,
        "upload_max": max((r["source.bytes"] for r in moved), default=0),
        "uploads_large": sum(r["source.bytes"] > 5_000_000 for r in moved),
        "upload_destination_max": max(places.values(), default=0),
        "bytes_out_night": sum(r["source.bytes"] for r in moved if _night(r)),
    }


def _oracle_web_and_dns(rows: list[Row]) -> Row:
    web = [r for r in rows if r["event.category"] == "web"]
    files = [r for r in web if r["file.name"] and r["http.request.method"] == "GET"]
    dns = [r for r in rows if r["dns.question.name"]]
    names = {r["dns.question.name"] for r in dns}
    first = {name.split(".")[0] for name in names}
    return {
        "web_requests": len(web),
        "web_domains": len({r["url.domain"] for r in web}),
        "files_downloaded": len(files),
        "files_hour_max": _most([_hour(r) for r in files]),
        "dns_queries": len(dns),
        "dns_failed_share": sum(r["event.outcome"] == "failure" for r in dns) / len(dns) if dns else 0,
        "dns_children_max": _most([tuple(name.split(".")[-2:]) for name in names]),
        "dns_labels_random": sum(len(n.split(".")[0]) >= 12 and _entropy(n.split(".")[0]) >= 2.8 for n in names) if first else 0,
    }


def _oracle_beacons(rows: list[Row]) -> Row:
    contacts: dict[tuple[str, ...], list[dt.datetime]] = defaultdict(list)
    for r in rows:
        if r["event.category"] == "web":
            contacts["web", r["url.domain"]].append(r["@timestamp"])
        if r["dns.question.name"]:
            contacts["dns", *r["dns.question.name"].split(".")[-2:]].append(r["@timestamp"])
    jitters = []
    for times in contacts.values():
        if len(times) >= 6:
            times.sort()
            gaps = [(b - a) / dt.timedelta(milliseconds=1) for a, b in itertools.pairwise(times)]
            middle = statistics.median(gaps)
            jitter = 1.4826 * statistics.median(abs(g - middle) for g in gaps) / middle if middle else 2.0
            jitters.append((jitter, len(times)))
    steady = [count for jitter, count in jitters if jitter < 0.3]
    return {
        "contacts_max": max(map(len, contacts.values()), default=0),
        "beacon_jitter": min(2.0, min(jitters)[0]) if jitters else 2.0,
        "beacon_destinations": len(steady),
        "beacon_contacts_max": max(steady, default=0),
    }


def _oracle_machine(rows: list[Row]) -> Row:
    runs = [r for r in rows if r["event.category"] == "process"]
    counts = Counter(r["process.name"] for r in runs)
    wall = [r for r in rows if r["event.action"].startswith("connection-")]
    denied = [r for r in wall if r["event.action"] == "connection-denied"]
    hours = Counter(_hour(r) for r in rows)
    return {
        "events": len(rows),
        "active_hours": len(hours),
        "night_share": sum(map(_night, rows)) / len(rows),
        "quiet_hour_share": sum(n for n in hours.values() if n < 0.03 * len(rows)) / len(rows),
        "processes": len(runs),
        "processes_distinct": len(counts),
        "processes_once_share": sum(n == 1 for n in counts.values()) / len(runs) if runs else 0,
        "admin_tools": sum(counts[name] for name in ADMIN_TOOLS),
        "shells": sum(counts[name] for name in SHELLS),
        "shells_from_documents": sum(r["process.name"] in SHELLS and r["process.parent.name"] in DOCUMENT_APPS for r in runs),
        "firewall_denied": len(denied),
        "ports": len({r["destination.port"] for r in wall}),
        "peers_denied": len({r["destination.ip"] for r in denied}),
    }


def oracle(rows: list[Row]) -> Row:
    parts = (_oracle_logons, _oracle_traffic, _oracle_web_and_dns, _oracle_beacons, _oracle_machine)
    return {name: value for part in parts for name, value in part(rows).items()}


def test_every_feature_equals_a_naive_computation(events: pl.DataFrame, table: pl.DataFrame) -> None:
    units: dict[tuple[str, dt.date], list[Row]] = defaultdict(list)
    for row in events.iter_rows(named=True):
        units[row["user.name"], row["@timestamp"].date()].append(row)
    assert table.height == len(units)
    for got in table.iter_rows(named=True):
        rows = units[got["user.name"], got["window"].date()]
        expected = oracle(rows)
        assert set(expected) == set(NUMBERS)
        assert {name: got[name] for name in NUMBERS} == pytest.approx(expected, rel=1e-9, abs=1e-12)
        assert got["weekday"] == got["window"].strftime("%a").lower()
        attacks = Counter(r["tacit.label.attack"] for r in rows if r["tacit.label.malicious"])
        assert got["malicious"] == bool(attacks)
        assert got["attack_kind"] == (max(sorted(attacks), key=attacks.__getitem__) if attacks else "none")


def test_table_follows_the_public_schema(table: pl.DataFrame) -> None:
    names = [spec.name for spec in FEATURE_SCHEMA]
    groups = [spec.name for spec in GROUP_SCHEMA]
    assert table.columns == ["user.name", "window", *names, "malicious", "attack_kind", *groups]
    assert 25 <= len(names) <= 45
    assert len(set(names)) == len(names)
    assert table.select("user.name", "window").is_duplicated().sum() + 1 == ROWS_PER_UNIT
    for spec in (*FEATURE_SCHEMA, *GROUP_SCHEMA):
        column = table[spec.name]
        assert column.null_count() == 0
        assert spec.meaning.endswith(".")
        if spec.kind == "category":
            assert set(column) <= set(spec.categories)
        else:
            assert column.dtype == pl.Float64
            assert spec.lower <= column.min() <= column.max() <= spec.upper
            assert column.n_unique() > 1, spec.name


def test_removing_one_unit_changes_exactly_its_row(events: pl.DataFrame, table: pl.DataFrame, simulation: Simulation) -> None:
    for index in (0, table.height // 2, table["malicious"].arg_max()):
        user, day = table["user.name"][index], table["window"][index]
        rest = events.filter((pl.col("user.name") != user) | (pl.col("@timestamp").dt.truncate("1d") != day))
        assert rest.height < events.height
        without = entity_window_features(rest, directory=simulation.directory)
        assert without.equals(table.filter((pl.col("user.name") != user) | (pl.col("window") != day)))


def test_replacing_one_unit_changes_no_other_row(events: pl.DataFrame, table: pl.DataFrame, simulation: Simulation) -> None:
    user, day = table["user.name"][5], table["window"][5]
    own = (pl.col("user.name") == user) & (pl.col("@timestamp").dt.truncate("1d") == day)
    noise = pl.when(own).then(pl.lit(10**13)).otherwise("source.bytes").alias("source.bytes")
    name = pl.when(own).then(pl.lit("x" * 63 + ".zz.test")).otherwise("dns.question.name").alias("dns.question.name")
    changed = entity_window_features(events.with_columns(noise, name), directory=simulation.directory)
    keep = (pl.col("user.name") != user) | (pl.col("window") != day)
    assert changed.filter(keep).equals(table.filter(keep))
    assert not changed.equals(table)
    assert changed.filter(~keep)["bytes_out"].item() == 1e12


def test_frames_batches_and_lazy_frames_agree(events: pl.DataFrame, table: pl.DataFrame, simulation: Simulation) -> None:
    for form in (simulation.events(labels=True, batch_rows=3_001), events.lazy(), events.sample(fraction=1, shuffle=True, seed=1)):
        assert entity_window_features(form, directory=simulation.directory).equals(table)


def test_batches_out_of_order_are_refused_and_short_lateness_is_not(
    events: pl.DataFrame, table: pl.DataFrame, simulation: Simulation
) -> None:
    days = [piece for _, piece in events.group_by(pl.col("@timestamp").dt.date(), maintain_order=True)]
    late = [pl.concat([days[0], days[1][:5]]), days[1][5:50], *days[2:]]
    late[1] = pl.concat([late[1], days[1][50:]])
    assert entity_window_features(late, directory=simulation.directory).equals(table)
    with pytest.raises(DataError, match="goes back"):
        entity_window_features([days[0], days[2], days[3], days[1]])


def test_hosts_and_shorter_windows(events: pl.DataFrame) -> None:
    hosts = entity_window_features(events.filter(pl.col("@timestamp").dt.day() == 6), entity="host.name", window="6h")
    assert hosts.columns[:2] == ["host.name", "window"]
    assert set(hosts["window"].dt.hour()) == {0, 6, 12, 18}
    assert hosts["events"].sum() == events.filter((pl.col("@timestamp").dt.day() == 6) & pl.col("host.name").is_not_null()).height


def test_no_events_and_no_labels(events: pl.DataFrame) -> None:
    empty = entity_window_features(pl.DataFrame(schema=EVENT_SCHEMA))
    assert empty.height == 0
    assert entity_window_features([]).columns == empty.columns
    plain = entity_window_features(events.drop("tacit.label.malicious", "tacit.label.attack", "tacit.label.campaign")[:2_000])
    assert "malicious" not in plain.columns
    assert dict(plain.schema) == dict(empty.schema)
    nobody = events[:50].with_columns(pl.lit(None, pl.String).alias("user.name"))
    assert entity_window_features(nobody).height == 0


def test_wrong_input_is_named(events: pl.DataFrame, simulation: Simulation) -> None:
    with pytest.raises(UsageError, match="entity"):
        entity_window_features(events, entity="source.ip")
    with pytest.raises(UsageError, match="window"):
        entity_window_features(events, window="5h")
    with pytest.raises(DataError, match=r"dns\.question\.name"):
        entity_window_features(events.drop("dns.question.name"))
    with pytest.raises(DataError, match="time stamp"):
        entity_window_features(events.with_columns(pl.col("@timestamp").cast(pl.String)))
    with pytest.raises(DataError, match="directory"):
        entity_window_features(events, directory=pl.concat([simulation.directory, simulation.directory]))
