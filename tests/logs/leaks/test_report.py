"""The leak report: finds what is there on simulated events, in the clear as in the treated, and refuses files that do not belong together."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from click.testing import CliRunner

from tacit.cli.logs_directory import directory_of
from tacit.cli.logs_leaks import leaks
from tacit.errors import DataError, StorageError, UsageError
from tacit.logs.anonymise import Anonymiser
from tacit.logs.keys import EpochKey
from tacit.logs.leaks import LEAK, NO_LEAK, NOT_TESTED, Exposure, LeakReport, Sample, leak_report
from tacit.logs.leaks.readable import identities_of
from tacit.logs.policies import SourcePolicy
from tacit.logs.stages import ParquetSink
from tacit.logs.telemetry import Telemetry, TelemetrySpec
from tacit.logs.treatments.coarse import seconds

ECS = SourcePolicy.pack("ecs")
NAMES = ("identities", "frequency.people", "frequency.machines", "frequency.addresses", "injection", "timing", "prefixes", "uniqueness")
Events = list[dict[str, Any]]


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Events:
    path = tmp_path_factory.mktemp("telemetry") / "events.jsonl"
    Telemetry(TelemetrySpec.thousand(seed=1)).write_ndjson(path)
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def changed(policy: SourcePolicy, **rules: Any) -> SourcePolicy:
    """The policy with other rules for some fields (``__`` is a dot, ``at`` the time)."""
    text = policy.to_yaml()
    for name, rule in rules.items():
        path = "'@timestamp'" if name == "at" else name.replace("__", ".")
        text, count = re.subn(rf"(?m)^  {re.escape(path)}:.*$(\n    .*$)*", f"  {path}: {rule}", text)
        assert count == 1, path
    return SourcePolicy.parse(text)


def treated(events: Events, policy: SourcePolicy = ECS, key: EpochKey | None = None) -> Events:
    anonymiser = Anonymiser(policy, key or EpochKey.for_tests())
    anonymiser.learn(events)
    return list(anonymiser.batch(events).events)


@pytest.fixture(scope="module")
def report(events: Events) -> LeakReport:
    return leak_report(Sample.of(events, treated(events), ECS))


def part(report: LeakReport, name: str) -> Exposure:
    return next(exposure for exposure in report.exposures if exposure.name == name)


def value(report: LeakReport, name: str) -> float:
    share = part(report, name).share
    assert share is not None
    return share.value


def test_every_attack_is_tried_and_says_what_it_assumed(report: LeakReport) -> None:
    assert tuple(exposure.name for exposure in report.exposures) == NAMES
    for exposure in report.exposures:
        assert exposure.verdict in (LEAK, NO_LEAK, NOT_TESTED)
        assert exposure.assumed
        assert exposure.found
        assert exposure.means
        assert bool(exposure.advice) == (exposure.verdict == LEAK) or exposure.name == "identities" or exposure.verdict == NOT_TESTED
        assert all(control.passed for control in exposure.controls)
        assert exposure.controls or exposure.name == "identities"


def test_names_cannot_be_read_but_people_can_be_found(report: LeakReport) -> None:
    assert part(report, "identities").verdict == NO_LEAK
    assert value(report, "injection") > 0.8
    assert value(report, "timing") > 0.8
    assert part(report, "prefixes").verdict == LEAK
    assert value(report, "uniqueness") > 0.5
    assert report.verdict == LEAK
    assert {exposure.name for exposure in report.at_least("high")} >= {"injection", "timing"}


def test_a_log_that_was_not_treated_reads_as_certain(events: Events) -> None:
    found = leak_report(Sample.of(events, events, ECS))
    assert value(found, "identities") > 0.95
    assert part(found, "identities").severity == "critical"
    for name in ("frequency.people", "frequency.machines", "injection", "timing", "prefixes"):
        assert value(found, name) == 1, name


def test_times_to_the_day_and_no_numbers_hide_targets(report: LeakReport, events: Events) -> None:
    numbers = dict.fromkeys(("source__port", "process__pid", "source__bytes", "destination__bytes"), "drop")
    policy = changed(ECS, at="{treatment: generalise, to: day}", **numbers)
    found = leak_report(Sample.of(events, treated(events, policy), policy))
    assert value(found, "timing") < 0.5
    assert value(found, "injection") < 0.5
    rows = {row[0] for table in part(report, "injection").tables for row in table.rows}
    assert "when 3 events were, if times were rounded to the hour" in rows
    assert "when 1 event was, and its «source.port»" in rows


def test_a_jitter_is_undone_by_order(events: Events) -> None:
    policy = changed(ECS, at="{treatment: jitter, seconds: 120}")
    rows = part(leak_report(Sample.of(events, treated(events, policy), policy)), "timing").tables[0].rows
    assert [row[0] for row in rows[:2]] == ["times as released", "times put back by the order of the records"]


def test_a_dropped_time_is_said_not_to_be_tested(events: Events) -> None:
    policy = changed(ECS, at="drop")
    found = leak_report(Sample.of(events, treated(events, policy), policy))
    assert part(found, "injection").verdict == part(found, "timing").verdict == NOT_TESTED
    assert "order of records was not attacked" in part(found, "timing").found


def test_a_name_that_is_left_in_a_text_is_found(events: Events) -> None:
    policy = changed(ECS, message="keep", process__command_line="keep")
    found = part(leak_report(Sample.of(events, treated(events, policy), policy)), "identities")
    assert found.verdict == LEAK
    assert found.share is not None
    assert found.share.hits > 5


def test_a_directory_adds_names(events: Events) -> None:
    after = treated(events)
    after[0] = {**after[0], "event": {**after[0]["event"], "action": "hello.hidden"}}
    before = [{**events[0], "event": {**events[0]["event"], "action": "hello.hidden"}}, *events[1:]]
    sample = Sample.of(before, after, ECS)
    assert part(leak_report(sample), "identities").verdict == NO_LEAK
    assert part(leak_report(sample, directory={"user": ["Hello.Hidden"]}), "identities").verdict == LEAK


def test_what_the_policy_leaves_on_purpose_is_no_identity() -> None:
    policy = SourcePolicy.parse("{version: 1, source: t, format: json, known: {accounts: [probe]}, fields: {u: user, ip: address}}")
    events = [{"u": "probe", "ip": "127.0.0.1"}, {"u": "SYSTEM", "ip": "10.0.0.1"}, {"u": "CORP\\Anna.Keller", "ip": "x"}, {"u": "-"}]
    found = identities_of(Sample.of(events, treated(events, policy), policy))
    assert "anna.keller" in found["user"]
    assert not {"probe", "system", "-"} & found["user"]
    assert found["ip"] == {"10.0.0.1"}


def test_no_value_stands_in_a_report(report: LeakReport, events: Events) -> None:
    values = {str(event[a][b]) for event in events for a, b in (("user", "name"), ("host", "name"), ("source", "ip")) if a in event and b in event[a]}
    texts = [report.render(form) for form in ("text", "short", "json", "html")]
    assert not [value for value in values if any(value in text for text in texts)]


def test_json_is_strict_and_stable(report: LeakReport, events: Events) -> None:
    def plain(found: LeakReport) -> Any:
        data = json.loads(found.to_json(), parse_constant=lambda name: pytest.fail(name))
        del data["seconds"]
        return data

    assert plain(report) == plain(leak_report(Sample.of(events, treated(events), ECS)))
    assert plain(report)["released"] is False


# Sides that belong together, and those that do not

def test_records_that_were_held_back_are_found_by_their_number(events: Events) -> None:
    after = treated(events)
    sample = Sample.of(events, after[::2], ECS)
    assert sample.count == len(after[::2])
    shuffled = [after[row] for row in np.random.default_rng(0).permutation(len(after))]
    again = Sample.of(events, shuffled, ECS)
    assert again.count == len(events)
    assert again.original["event.id"] == again.released["event.id"]


def without_numbers(events: Events) -> Events:
    return [{**event, "event": {key: value for key, value in event["event"].items() if key != "id"}} for event in events]


def test_other_records_are_refused(events: Events) -> None:
    policy = changed(ECS, event__id="drop")
    after = treated(events, policy)
    with pytest.raises(DataError, match="as many records"):
        Sample.of(events, after[:-1], policy)
    with pytest.raises(DataError, match="the same records"):
        Sample.of(events, after[::-1], policy)
    with pytest.raises(DataError, match="at least one"):
        Sample.of([], after, policy)


HOSTILE: tuple[Events, ...] = (
    [{"u": None}, {"u": []}, {"u": {}}],
    [{"u": "a"}, {"u": "a"}],
    [{"u": 1}, {"u": 2.5}, {"u": True}, {"u": "x\x00y"}],
    [{"t": "not a time", "u": "a"}, {"t": 1e300, "u": "b"}, {"t": -1e300, "u": "c"}],
    [{"t": "2026-01-05T00:00:00Z", "u": "anna", "k": k} for k in range(3)],
    [{"u": "a" * 100_000}, {"u": "b"}],
    [{"u": {"a": {"a": {"a": 1}}}, "k": list(range(500))}] * 3,
)


@pytest.mark.parametrize("events", HOSTILE)
def test_strange_records_end_in_a_report(events: Events) -> None:
    policy = SourcePolicy.parse("{version: 1, source: t, format: json, time: t, fields: {t: keep, u: user, k: keep, ip: address, h: host}}")
    report = leak_report(Sample.of(events, treated(events, policy), policy))
    assert report.verdict in (LEAK, NO_LEAK, NOT_TESTED)
    assert all(report.render(form) for form in ("text", "short", "json", "html"))


def test_times_of_every_kind_are_read() -> None:
    assert seconds("2026-01-05T00:00:01+01:00") == seconds("2026-01-04T23:00:01Z") == seconds(1_767_567_601_000)
    assert all(np.isnan(seconds(value)) for value in (None, True, "soon", ""))


# The command

@pytest.fixture
def files(events: Events, tmp_path: Path) -> tuple[Path, Path]:
    before, after = tmp_path / "before.jsonl", tmp_path / "after.jsonl"
    before.write_bytes(b"\n".join(map(orjson.dumps, events)))
    after.write_bytes(b"\n".join(map(orjson.dumps, treated(events))))
    return before, after


Run = Callable[..., Any]


def run(*arguments: object) -> Any:
    return CliRunner().invoke(leaks, list(map(str, arguments)), standalone_mode=False)


def test_the_command_writes_what_is_asked_for(files: tuple[Path, Path], tmp_path: Path) -> None:
    page, data = tmp_path / "leaks.html", tmp_path / "leaks.json"
    done = run(*files, "--policy", "pack:ecs", "--html", page, "--json", data, "--format", "short", "--fail-on", "high")
    assert done.exception is None
    assert done.return_value == 1
    assert done.stdout.startswith("leak found")
    assert json.loads(data.read_text(encoding="utf-8"))["records"] == 1_000
    text = page.read_text(encoding="utf-8")
    assert "<script" not in text
    assert "default-src 'none'" in text
    assert all(f'id="{name}"' in text for name in NAMES)
    assert run(*files, "--policy", "pack:ecs", "--records", 400, "--fail-on", "critical").return_value == 0


def test_the_command_reads_parquet(files: tuple[Path, Path], events: Events, tmp_path: Path) -> None:
    target = tmp_path / "after.parquet"
    with target.open("wb") as file:
        sink = ParquetSink(file, ECS)
        sink.write(Anonymiser(ECS, EpochKey.for_tests()), events)
        sink.close()
    lines, parquet = (json.loads(run(files[0], after, "--policy", "pack:ecs", "--format", "json").stdout) for after in (files[1], target))
    by_name = {exposure["attack"]: exposure for exposure in lines["exposures"]}
    for exposure in parquet["exposures"]:
        if exposure["attack"] in ("injection", "timing", "frequency.people"):
            assert exposure["figure"] == by_name[exposure["attack"]]["figure"]


def test_bad_files_are_refused_without_their_content(files: tuple[Path, Path], tmp_path: Path) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_bytes(b'{"user": "secret.name"\n')
    for arguments in ((files[0], bad), (bad, files[1]), (tmp_path / "none", files[1]), (files[0], tmp_path / "none.parquet")):
        done = run(*arguments, "--policy", "pack:ecs")
        assert isinstance(done.exception, DataError)
        assert "secret" not in str(done.exception)


def test_directories_are_read(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text("user,host\nanna,ws-1\nbert,\n", encoding="utf-8")
    assert directory_of(path) == {"user": {"anna", "bert"}, "email": set(), "host": {"ws-1"}}
    path.write_text("anna\n\nbert\n", encoding="utf-8")
    assert directory_of(path) == {"user": {"anna", "bert"}}
    path.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(UsageError, match="UTF-8"):
        directory_of(path)
    with pytest.raises(StorageError):
        directory_of(tmp_path / "none")


def test_a_report_is_saved_by_its_ending(report: LeakReport, tmp_path: Path) -> None:
    for ending in ("html", "json", "txt"):
        report.save(tmp_path / f"r.{ending}")
        assert (tmp_path / f"r.{ending}").stat().st_size > 500
    with pytest.raises(UsageError, match="ends in"):
        report.save(tmp_path / "r.pdf")
    with pytest.raises(UsageError, match="a form"):
        report.render("pdf")
    with pytest.raises(UsageError, match="a severity"):
        report.at_least("bad")
