from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

pytest.importorskip("sigma", reason="pySigma is not installed; pip install tacit[logs]")

from tacit.cli.logs_sigma import sigma_check
from tacit.logs.content import Rules
from tacit.logs.keys import Keyring

RULE = """title: {title}
logsource: {{product: windows, service: security}}
detection:
  s: {detection}
  condition: s
"""
EVENTS = [
    {"Channel": "Security", "EventID": 4624, "TargetUserName": "anna.keller", "WorkstationName": "DC01", "IpAddress": "10.1.2.3"},
    {"Channel": "Security", "EventID": 4624, "TargetUserName": "ben.maier", "WorkstationName": "WS-7", "IpAddress": "10.9.2.3"},
]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    Keyring.create(tmp_path / "keys", tenant="test")
    folder = tmp_path / "rules"
    folder.mkdir()
    rules = {
        "works": "{EventID: 4624, TargetUserName: anna.keller}", "weaker": "{EventID: 4624, TargetUserName|contains: nna}",
        "lost": "{WorkstationName|re: '^DC.*'}", "network": "{IpAddress|cidr: 10.1.0.0/16}",
    }  # fmt: skip
    for name, detection in rules.items():
        (folder / f"{name}.yml").write_text(RULE.format(title=f"The {name} one", detection=detection))
    (folder / "broken.yml").write_text("title: secretword\n")
    (tmp_path / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in EVENTS) + "damaged\n")
    return tmp_path


def run(place: Path, *more: str) -> tuple[int, str]:
    found = CliRunner().invoke(sigma_check, [str(place / "rules"), "--policy", "pack:windows", "--keys", str(place / "keys"), *more])
    assert found.exception is None or isinstance(found.exception, SystemExit)
    return found.exit_code, found.output


def test_the_table_says_what_works_and_why_not(place: Path) -> None:
    status, output = run(place)
    assert status == 0
    assert "2 works, 1 weaker, 1 lost, 0 elsewhere, 1 files not read" in output
    assert "WorkstationName: a regular expression over pseudonyms" in output
    assert "The works one" not in output
    assert "The works one" in run(place, "--all")[1]
    assert "anna" not in output
    assert "secretword" not in output
    assert run(place, "--fail-on", "lost")[0] == 1


def test_events_are_tried_before_and_after_and_everything_is_reported(place: Path) -> None:
    report, folder = place / "report.json", place / "out"
    (place / "list.txt").write_text("type,value\nuser,anna.keller\ncidr,10.9.0.0/16\n")
    more = ("--events", str(place / "events.jsonl"), "--json", str(report), "--output", str(folder), "--indicators", str(place / "list.txt"))
    status, output = run(place, *more)
    assert status == 0
    assert "hits: 4 before, 2 of them after, 0 new ones" in output
    body = json.loads(report.read_text())
    hits = {rule["title"]: rule.get("hits") for rule in body["rules"]}
    assert hits["The works one"] == {"before": 1, "kept": 1, "new": 0}
    assert hits["The lost one"] == hits["The weaker one"] == {"before": 1, "kept": 0, "new": 0}
    assert len(Rules.load(folder)) == 3
    assert "anna.keller" not in "".join(file.read_text() for file in folder.iterdir())
    assert [entry["type"] for entry in body["indicators"]["translated"]] == ["user", "cidr"]


def test_fields_may_be_called_otherwise(place: Path) -> None:
    (place / "names.yml").write_text("TargetUserName: SubjectUserName\n")
    assert "SubjectUserName: a part of a name" in run(place, "--fields", str(place / "names.yml"))[1]
    (place / "names.yml").write_text("[1, 2]\n")
    arguments = [str(place / "rules"), "--policy", "pack:windows", "--keys", str(place / "keys"), "--fields", str(place / "names.yml")]
    found = CliRunner().invoke(sigma_check, arguments)
    assert "mapping of names" in str(found.exception)
