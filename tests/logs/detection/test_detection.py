from __future__ import annotations

import datetime as dt
import gzip
import http.server
import json
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import orjson
import polars as pl
import pytest
from click.testing import CliRunner

from tacit.cli.detect import detect
from tacit.errors import ConfigError, DataError, StorageError, UsageError
from tacit.logs import FEATURE_SCHEMA, SimulationSpec, simulate
from tacit.logs.anonymise import Anonymiser
from tacit.logs.detection import TECHNIQUES, Alert, Detector, Sighting, Windows, event_frames, labelled, to_ecs, to_ocsf
from tacit.logs.detection.detector import ABOUT
from tacit.logs.formats import by_name
from tacit.logs.keys import EpochKey
from tacit.logs.policies import SourcePolicy

FORM, WINDOWS = by_name("ecs"), Windows()
POLICY = """
version = 1
[dataset]
name = "soc"
[unit]
name = "user-day"
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
    """Three weeks of a small enterprise; the last week apart; a policy."""
    folder = tmp_path_factory.mktemp("detect")
    simulation = simulate(SimulationSpec(users=150, days=21, hosts=200, intrusions=40, seed=5))
    border = dt.datetime(2026, 1, 5, tzinfo=dt.UTC) + dt.timedelta(days=14)
    simulation.write_ndjson(folder / "all.ndjson", labels=True)
    with (folder / "all.ndjson").open("rb") as lines, (folder / "before.ndjson").open("wb") as before, (folder / "after.ndjson").open("wb") as after:
        for line in lines:
            (before if orjson.loads(line)["@timestamp"] < border.isoformat() else after).write(line)
    (folder / "tacit.toml").write_text(POLICY, encoding="utf-8")
    return folder


def invoke(*arguments: str | Path) -> str:
    result = CliRunner().invoke(detect, list(map(str, arguments)), standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.output


@pytest.fixture(scope="module")
def detector(place: Path) -> Path:
    out = invoke(
        "train", place / "before.ndjson", "--policy", place / "tacit.toml", "--budget", "8", "--unit", "user-day", "--alerts-per-day", "4",
        "--output", place / "detector",
    )
    assert "learned from labels" in out
    assert "per user-day" in out
    return place / "detector"


def test_alerts_keep_to_their_budget_and_find_what_was_planted(place: Path, detector: Path) -> None:
    invoke("run", place / "after.ndjson", "--detector", detector, "--output", place / "alerts.ndjson")
    alerts = [json.loads(line) for line in (place / "alerts.ndjson").read_text().splitlines()]
    assert max(Counter(alert["event"]["start"] for alert in alerts).values()) <= 4
    truth = WINDOWS.features(event_frames(place / "after.ndjson", FORM, labels=True))
    bad = {(row["user.name"], f"{row['window']:%Y-%m-%d}") for row in truth.filter("malicious").iter_rows(named=True)}
    hits = sum((alert["user"]["name"], alert["event"]["start"][:10]) in bad for alert in alerts)
    base = len(bad) / truth.height
    assert hits / len(alerts) > 3 * base
    assert all(alert["tacit"]["detection"]["evidence"][0]["weight"] > 0 for alert in alerts)
    assert {"kind", "risk_score", "start", "end"} <= set(alerts[0]["event"])


class Collector(http.server.BaseHTTPRequestHandler):
    """A ``_bulk`` endpoint that is too busy at first, and takes or refuses everything then."""

    busy, status = 2, 201
    documents: ClassVar[dict[str, Any]] = {}

    def do_POST(self) -> None:
        lines = gzip.decompress(self.rfile.read(int(self.headers["Content-Length"]))).splitlines()
        type(self).busy -= 1
        items = []
        for action, document in zip(lines[::2], lines[1::2], strict=True):
            identifier = json.loads(action)["create"]["_id"]
            items.append({"create": {"status": self.status, "error": {"type": "strict_mapping"}} if self.status >= 400 else {"status": self.status}})
            if self.busy < 0:
                self.documents[identifier] = json.loads(document)
        body = json.dumps({"errors": self.status >= 400, "items": items}).encode()
        self.send_response(503 if self.busy >= 0 else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[tuple[type[Collector], str]]:
    handler = type("Fresh", (Collector,), {"documents": {}})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield handler, f"bulk:http://127.0.0.1:{server.server_address[1]}/alerts"
        server.shutdown()


@pytest.mark.parametrize("shape", ["ecs", "ocsf"])
def test_alerts_go_out_through_the_outlets_of_events(
    place: Path, detector: Path, collector: tuple[type[Collector], str], monkeypatch: pytest.MonkeyPatch, shape: str,
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    server, outlet = collector
    command = ("run", place / "after.ndjson", "--detector", detector, "--alerts-per-day", "2", "--format", shape)
    shown = [json.loads(line) for line in invoke(*command).splitlines() if line.startswith("{")]
    said = invoke(*command, "--to", outlet, "--to", f"file:{place / shape}")
    assert "{" not in said
    wanted = {(alert["event"]["id"] if shape == "ecs" else alert["finding_info"]["uid"]): alert for alert in shown}
    assert {key: {**found, "tacit.id": key} for key, found in server.documents.items()} == server.documents
    assert [{**alert, "tacit.id": key} for key, alert in wanted.items()] == list(server.documents.values())
    assert [json.loads(line) for line in (place / shape).read_text().splitlines()] == list(server.documents.values())


def test_an_outlet_that_takes_no_alerts_ends_the_command(
    place: Path, detector: Path, collector: tuple[type[Collector], str], monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    server, outlet = collector
    server.status = 400
    command = ("run", place / "after.ndjson", "--detector", detector, "--output", place / "none.ndjson", "--to", outlet)
    with pytest.raises(StorageError, match=r"for good: 400 strict_mapping"):
        invoke(*command)
    server.busy = 1_000
    with pytest.raises(StorageError, match="answered 503"):
        invoke(*command)
    assert not (place / "none.ndjson").exists()
    with pytest.raises(UsageError, match="Expected --to file:PATH"):
        invoke(*command[:-1], "carrier-pigeon:coo")


def test_an_alert_is_the_same_whenever_it_is_made_and_reads_as_ocsf(place: Path, detector: Path) -> None:
    first = invoke("run", place / "after.ndjson", "--detector", detector, "--format", "ocsf", "--alerts-per-day", "1").splitlines()
    found = [json.loads(line) for line in first if line.startswith("{")]
    assert len(found) == len({one["finding_info"]["uid"] for one in found}) == 7
    assert {one["class_uid"] for one in found} == {2004}
    assert all(one["type_uid"] == 100 * one["class_uid"] + one["activity_id"] for one in found)
    again = invoke("run", place / "after.ndjson", "--detector", detector, "--format", "ocsf", "--alerts-per-day", "1").splitlines()
    assert first == again


def test_without_labels_it_learns_what_is_unusual(place: Path) -> None:
    plain = place / "plain.ndjson"
    plain.write_bytes(b"".join(
        orjson.dumps({name: value for name, value in orjson.loads(line).items() if not name.startswith("tacit.")}) + b"\n"
        for line in (place / "before.ndjson").read_bytes().splitlines()
    ))
    out = invoke("train", plain, "--policy", place / "tacit.toml", "--budget", "3", "--output", place / "unusual")
    assert "without labels" in out
    found = Detector.load(place / "unusual")
    assert found.scale == "rank"
    features = WINDOWS.features(event_frames(place / "after.ndjson", FORM))
    alerts = list(found.with_alerts(3).alerts(features))
    assert 0 < len(alerts) <= 21
    assert all(0.5 < alert.score <= 1 for alert in alerts)


def test_incidents_by_name_and_day_are_labels(place: Path) -> None:
    truth = WINDOWS.features(event_frames(place / "before.ndjson", FORM, labels=True))
    known = truth.filter("malicious").select("user.name", pl.col("window").dt.date().alias("date"))
    known.write_csv(place / "incidents.csv")
    again = labelled(truth, pl.read_csv(place / "incidents.csv"), WINDOWS)
    assert (again["malicious"] == truth["malicious"]).all()
    with pytest.raises(DataError, match="date"):
        labelled(truth, known.rename({"date": "day"}), WINDOWS)
    (place / "strange.csv").write_text("user.name,date\nnobody-here,2026-01-06\n")
    with pytest.raises(DataError, match="no window of"):
        invoke("train", place / "before.ndjson", "--policy", place / "tacit.toml", "--budget", "1", "--labels", place / "strange.csv",
               "--output", place / "none")
    assert not (place / "none").exists()


def test_pseudonyms_serve_as_well_as_names(place: Path) -> None:
    """Every feature of anonymised events is that of the events themselves, but for how names looked."""
    lines = (place / "before.ndjson").read_bytes().splitlines()[:30_000]
    anonymiser = Anonymiser(SourcePolicy.pack("ecs"), EpochKey.for_tests())
    treated = anonymiser.texts(FORM.parse(lines).events)
    (place / "hidden.ndjson").write_text("\n".join(treated.events), encoding="utf-8")
    (place / "plain30.ndjson").write_bytes(b"\n".join(lines))
    plain, hidden = (WINDOWS.features(event_frames(place / name, FORM)) for name in ("plain30.ndjson", "hidden.ndjson"))
    named = plain.with_columns(pl.col("user.name").map_elements(anonymiser.tools.names.user, return_dtype=pl.String)).sort("window", "user.name")
    hidden = hidden.sort("window", "user.name")
    different = {name for name in named.columns if not named[name].equals(hidden[name])}
    assert different <= {"dns_labels_random"}
    assert (hidden["dns_labels_random"] == 0).all()
    assert set(plain["user.name"]).isdisjoint(hidden["user.name"])


def test_events_read_alike_however_they_are_written(tmp_path: Path) -> None:
    flat = {"@timestamp": "2026-01-05T10:00:00.5Z", "user.name": "a", "event.category": "web", "source.bytes": 7, "url.domain": "x.example"}
    nested = {"@timestamp": "2026-01-05T11:00:00.500+01:00", "user": {"name": "a"}, "event": {"category": ["web"]}, "source": {"bytes": 7},
              "url": {"domain": "x.example"}}
    frames = []
    for name, content in (("flat.ndjson", flat), ("nested.ndjson", nested)):
        (tmp_path / name).write_text(json.dumps(content) + "\n")
        frames += list(event_frames(tmp_path / name, FORM))
    (tmp_path / "packed.ndjson.gz").write_bytes(gzip.compress(json.dumps(flat).encode()))
    frames += list(event_frames(tmp_path / "packed.ndjson.gz", FORM))
    pl.DataFrame(flat).write_parquet(tmp_path / "table.parquet")
    frames += list(event_frames(tmp_path / "table.parquet", FORM))
    assert all(frame.equals(frames[0]) for frame in frames[1:])
    assert frames[0]["@timestamp"][0] == dt.datetime(2026, 1, 5, 10, 0, 0, 500_000, tzinfo=dt.UTC)


@pytest.mark.parametrize(("content", "message"), [("{\n", "Line 1 is damaged"), ('{"@timestamp": "yesterday"}\n', "ISO 8601")])
def test_what_cannot_be_read_is_not_passed_over(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "events.ndjson").write_text(content)
    with pytest.raises(DataError, match=message):
        list(event_frames(tmp_path / "events.ndjson", FORM))


def test_a_detector_that_does_not_belong_together_is_refused(place: Path, detector: Path, tmp_path: Path) -> None:
    for name in ("model.tacit", ABOUT):
        (tmp_path / name).write_bytes((detector / name).read_bytes())
    about = json.loads((tmp_path / ABOUT).read_text())
    (tmp_path / ABOUT).write_text(json.dumps(about | {"model": "0" * 64}))
    with pytest.raises(ConfigError, match="another"):
        Detector.load(tmp_path)
    (tmp_path / ABOUT).write_text("{")
    with pytest.raises(ConfigError, match="damaged"):
        Detector.load(tmp_path)
    with pytest.raises(DataError, match="tacit detect train"):
        Detector.load(tmp_path / "nothing")
    with pytest.raises(UsageError, match="positive"):
        Detector.load(detector).with_alerts(0)
    with pytest.raises(UsageError, match="user-week"):
        invoke("train", place / "before.ndjson", "--policy", place / "tacit.toml", "--budget", "1", "--unit", "user-week", "--output", tmp_path / "x")


def test_techniques_are_of_known_features_and_tags_are_complete() -> None:
    assert set(TECHNIQUES) <= {spec.name for spec in FEATURE_SCHEMA}
    when = dt.datetime(2026, 1, 5, tzinfo=dt.UTC)
    technique = TECHNIQUES["logons_failed"]
    alert = Alert(Sighting("host.name", "ws-1", when, when + dt.timedelta(hours=6)), 0.95, "probability", 1, 5, "ab" * 32, "g", (), (technique,))
    ecs, ocsf = to_ecs(alert), to_ocsf(alert)
    assert ecs["host"] == {"name": "ws-1"}
    assert ecs["threat"]["technique"]["id"] == ["T1110"]
    assert ocsf["finding_info"]["attacks"][0]["technique"]["uid"] == "T1110"
    assert ocsf["severity_id"] == 4
    assert to_ecs(alert)["event"]["id"] == ocsf["finding_info"]["uid"]


RULE = """
title: Encoded command
id: 0d6f5f5c-2f5c-4a62-8a3c-3d1b0c6f9a01
level: high
tags: [attack.execution, attack.t1059.001, attack.g0001]
logsource: {product: windows, category: process_creation}
detection:
  selection: {Image|endswith: '\\powershell.exe', CommandLine|contains: ' -enc '}
  condition: selection
"""


def test_rules_become_alerts_with_their_techniques(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "one.yml").write_text(RULE)
    program = "C:\\Windows\\System32\\WindowsPowerShell\\v1.0\\powershell.exe"
    bad = {"EventID": 1, "Channel": "Microsoft-Windows-Sysmon/Operational", "Computer": "ws-1", "User": "CORP\\anna", "Image": program,
           "CommandLine": "powershell -enc QQBBAA==", "UtcTime": "2026-01-05 10:00:00.123"}
    events = [bad | {"CommandLine": "powershell -v"}, bad]
    (tmp_path / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events) + "{\n")
    command = ("rules", tmp_path / "events.jsonl", "--rules", tmp_path / "rules", "--output", tmp_path / "alerts.jsonl")
    with pytest.raises(DataError, match=r"Line 3 of .* --dead-letters"):
        invoke(*command)
    assert not (tmp_path / "alerts.jsonl").exists()
    assert "1 alerts of 1 rules on 2 events" in invoke(*command, "--dead-letters", tmp_path / "dead.jsonl")
    alert = json.loads((tmp_path / "alerts.jsonl").read_text())
    assert alert["@timestamp"] == "2026-01-05T10:00:00.123Z"
    assert alert["threat"]["technique"]["id"] == ["T1059.001"]
    assert alert["threat"]["tactic"]["name"] == ["Execution"]
    assert (alert["user"]["name"], alert["host"]["name"], alert["event"]["severity"]) == ("CORP\\anna", "ws-1", 75)
    assert alert["tacit"]["event"] == bad
    invoke(*command, "--dead-letters", tmp_path / "dead.jsonl", "--format", "ocsf")
    finding = json.loads((tmp_path / "alerts.jsonl").read_text())
    assert finding["finding_info"]["attacks"][0]["technique"] == {"uid": "T1059.001"}
    assert (finding["class_uid"], finding["severity_id"], finding["finding_info"]["uid"]) == (2004, 4, alert["event"]["id"])


def test_a_folder_without_rules_is_told(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_text("{}\n")
    (tmp_path / "none").mkdir()
    with pytest.raises(UsageError, match="Expected Sigma rules"):
        invoke("rules", tmp_path / "events.jsonl", "--rules", tmp_path / "none")
