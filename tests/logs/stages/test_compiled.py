"""The pipeline gives the same bytes, receipts, dead letters, metrics and vault whether compiled code reads its lines or not."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from tacit.logs.anonymise import Anonymiser, Lines
from tacit.logs.formats import JsonLines, LineFormat, Parsed, by_name
from tacit.logs.keys import EpochKey, Recorder
from tacit.logs.policies import SourcePolicy
from tacit.logs.stages import DeadLetters, Delivery, Limits, Metrics, Receipt
from tacit.logs.stages.web.splunk import Envelopes
from tacit.logs.telemetry import Telemetry, TelemetrySpec

pytestmark = pytest.mark.usefixtures("compiled")

KEY = EpochKey.for_tests()
FORM = JsonLines("json")
POLICY = "{version: 1, source: web, format: json, fields: {user: user, host: host, ip: address, n: keep, message: scrub, gone: drop, x.*: keep}}"
ODD = [
    b'{"user":"anna","n":1}', b'{"user":"anna","n":1}', b'{"n":2,"tacit.id":"000000000000000000000000"}',
    b'{"tacit.id":{"a":[1]},"n":3,"strange":1}',
    b'{"tacit\\u002eid":"1","n":4}',
    b'{"tacit":{"id":"2"},"n":5}', b'{"n":6,"message":"tacit.id of anna"}', b'{"tacit.id":1,"n":7,"tacit.id":2}',
    b'{"tacit.id":"7","n":1.50}', b'{"tacit.id":"7","n":1e400}', b'{"n":18446744073709551616,"tacit.id":1}', b'{"x":{"tacit.id":"kept"}}',
    b"", b"   ", b"[1]", b'{"n":', b'{"n":1,"n":2}', b'{"user":"\xff"}', b'{"user":"a\x00"}', b'{"user":"bob"}\r', b'{\n"user" : "bob",\n"n":8}',
    b"{}",
    b'{"user":"zo\\u00eb","message":"zo\xc3\xab was here from 10.1.2.3"}', b'{"n":-0}', b'{"message":"' + b"anna " * 20_000 + b'"}',
    b'{"x":{"anna":1,"y":2}}', b'{"gone":{"a":[{}]},"ip":"10.1.2.3"}', b'{"user":["anna","bob"],"host":"ws-17.corp.example"}', b'{"tacit.id":1}',
]


class Kept:
    """An outlet in memory, which refuses some events for ever."""

    name = "kept"

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    def deliver(self, texts: list[str]) -> list[tuple[int, str]]:
        self.batches.append(texts)
        return [(place, "too old") for place, text in enumerate(texts) if '"n":6' in text]

    def close(self) -> None:
        pass


@dataclass
class Submission:
    lines: Sequence[bytes]
    form: LineFormat = FORM
    marks: Sequence[bytes] | None = None


@dataclass
class Outcome:
    receipts: list[Receipt] = field(default_factory=list)
    batches: list[list[str]] = field(default_factory=list)
    dead: bytes = b""
    counted: list[str] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)


def delivered(folder: Path, submissions: list[Submission], anonymiser: Anonymiser, *, ids: bool = True) -> Outcome:
    """Everything that can be seen of a pipeline, after one batch of these submissions."""
    held, metrics, found = Kept(), Metrics(), Outcome()
    folder.mkdir()
    with DeadLetters(folder / "dead.jsonl") as dead:
        delivery = Delivery(anonymiser, [held], dead=dead, metrics=metrics, limits=Limits(most_events=1 << 20), ids=ids)
        with delivery._changed:  # one batch: nothing is gathered before everything is there, however slow the machine
            futures = [delivery.submit(one.lines, one.form, marks=one.marks) for one in submissions]
        found.receipts = [future.result(60) for future in futures]
        assert delivery.close(timeout=30)
    found.batches, found.names = held.batches, dict(anonymiser.tools.identities.items())
    found.dead = (folder / "dead.jsonl").read_bytes() if (folder / "dead.jsonl").exists() else b""
    text = metrics.text().decode()
    found.counted = [line for line in text.splitlines() if not line.startswith("#") and "seconds" not in line and "_created" not in line]
    return found


def both(folder: Path, submissions: list[Submission], policy: str | SourcePolicy = POLICY, **more: Any) -> Outcome:
    """The outcome, which is the same with compiled code and without."""
    rules = policy if isinstance(policy, SourcePolicy) else SourcePolicy.parse(policy)
    fast, slow = (Anonymiser(rules, KEY, compiled=compiled) for compiled in (True, False))
    assert (fast.compiled, slow.compiled) == (True, False)
    one, other = (delivered(folder / name, submissions, anonymiser, **more) for name, anonymiser in (("fast", fast), ("slow", slow)))
    assert one == other
    return one


@pytest.mark.parametrize("ids", [True, False])
@pytest.mark.parametrize("unknown", ["drop", "refuse"])
def test_odd_lines(tmp_path: Path, ids: bool, unknown: str) -> None:
    marks = [b"%d" % (number // 3) for number in range(len(ODD))]
    policy = POLICY.replace("source:", f"unknown: {unknown}, source:")
    found = both(tmp_path, [Submission(ODD, marks=marks), Submission(ODD), Submission(ODD[:3])], policy, ids=ids)
    assert found.dead.count(b"\n") > 10
    assert len(found.batches[0]) == sum(receipt.written for receipt in found.receipts) + found.dead.count(b"too old")


def test_line_by_line_is_as_one_batch_would_number_it(tmp_path: Path) -> None:
    both(tmp_path, [Submission([line]) for line in ODD])


def test_the_identifier_that_a_line_bears_is_replaced_and_not_counted(tmp_path: Path) -> None:
    found = both(tmp_path, [Submission([b'{"n":2,"tacit.id":"0"}', b'{"x":{"tacit.id":"1"}}'])])
    assert [len(re.findall('"tacit.id":"[0-9a-f]{24}"', text)) for text in found.batches[0]] == [1, 1]
    assert not [line for line in found.counted if line.startswith("tacit_fields_unknown_total") and not line.endswith(" 0.0")]


@pytest.mark.parametrize("about", [True, False])
def test_envelopes_of_the_collector(tmp_path: Path, about: bool) -> None:
    records = [
        b'{"event":{"user":"anna","n":1.5},"time":1,"host":"ws-17"}', b'{"event":"{\\"user\\":\\"bob\\",\\"n\\":3}"}',
        b'{"event":{"tacit.id":"1","n":6}}',
        b'{"event":17}', b'{"event":"  "}', b'{"event":"plain"}', b"{", b'{"host":"a"}', b'{"event":{}}',
        b'{"event":[1]}', b'{"event":{"user":"a","user":"b"}}',
    ]
    policy = POLICY.replace("n: keep", "n: keep, hec.time: keep, hec.host: host") if about else POLICY
    found = both(tmp_path, [Submission(records, Envelopes(FORM, about=about)), Submission(ODD)], policy)
    assert found.receipts[0].written == 4 if about else 5


def test_envelopes_whose_texts_are_of_another_format(tmp_path: Path) -> None:
    form = Envelopes(by_name("cef"), about=False)
    texts = [b'{"event":{"user":"anna","n":1}}', b'{"event":"CEF:0|a|b|1|2|x|3|suser=anna"}']
    for name, chosen in (("all", texts), ("objects", texts[:1])):
        (tmp_path / name).mkdir()
        both(tmp_path / name, [Submission(chosen, form), Submission(ODD[:2])])


def test_telemetry(tmp_path: Path) -> None:
    Telemetry(TelemetrySpec(events=2_000, simulation=TelemetrySpec.thousand(seed=5).simulation)).write_ndjson(tmp_path / "events")
    lines = (tmp_path / "events").read_bytes().splitlines()
    form = _Counting("ecs")
    parts = [lines[begin : begin + 300] for begin in range(0, len(lines), 300)]
    found = both(tmp_path, [Submission(part, form) for part in parts], SourcePolicy.pack("ecs"))
    assert len(found.batches[0]) == len(lines)
    assert form.parsed == len(lines)  # by the way without compiled code, and by no other


class _Counting(JsonLines):
    """Counts the lines that are read in Python."""

    parsed = 0

    def parse(self, lines: Sequence[bytes]) -> Parsed:
        self.parsed += len(lines)
        return super().parse(lines)


def test_an_event_that_cannot_be_treated_is_found_and_the_reader_goes_on(tmp_path: Path) -> None:
    outcomes = []
    for compiled in (True, False):
        anonymiser = Anonymiser(SourcePolicy.parse(POLICY), KEY, compiled=compiled)
        number = list(SourcePolicy.parse(POLICY).fields).index("host")
        anonymiser._treatments[number] = _Failing(anonymiser._treatments[number])  # type: ignore[assignment]
        anonymiser.restart()
        folder = tmp_path / str(compiled)
        folder.mkdir()
        lines = [b'{"host":"%s","user":"anna","n":%d}' % (host, number) for number, host in enumerate((b"a-1", b"evil", b"b-2"))]
        outcomes.append([delivered(folder / str(turn), [Submission(lines), Submission(lines[:1])], anonymiser) for turn in range(2)])
        assert anonymiser.compiled is compiled
    assert outcomes[0] == outcomes[1]
    assert [receipt.refused for receipt in outcomes[0][1].receipts] == [((1, "could not be treated (ZeroDivisionError)"),), ()]


class _Failing:
    """A treatment that one value breaks."""

    def __init__(self, treatment: Any) -> None:
        self._treatment = treatment

    def __getattr__(self, name: str) -> Any:
        return getattr(self._treatment, name)

    def many(self, values: list[Any], rows: Any = None) -> list[Any]:
        if "evil" in values:
            raise ZeroDivisionError
        return list(self._treatment.many(values))


class Noted:
    """What a vault is told."""

    def __init__(self) -> None:
        self.named: set[tuple[str, str, str]] = set()
        self.flushed = 0

    def note(self, *named: str) -> None:
        self.named.add(named)  # type: ignore[arg-type]

    def flush(self) -> int:
        self.flushed += 1
        return 0


def test_the_vault_learns_the_same(tmp_path: Path) -> None:
    told = []
    for compiled in (True, False):
        told.append(Noted())
        anonymiser = Anonymiser(SourcePolicy.parse(POLICY), KEY, compiled=compiled, recorder=cast(Recorder, told[-1]))
        delivered(tmp_path / str(compiled), [Submission(ODD), Submission(ODD)], anonymiser)
    assert told[0].named == told[1].named
    assert told[0].named
    assert told[0].flushed == told[1].flushed


def test_a_pipe_gives_what_a_batch_gives(tmp_path: Path) -> None:
    lines = [line for line in ODD if line.strip() and b"\n" not in line]
    blocks = [Anonymiser(SourcePolicy.parse(POLICY), KEY, compiled=compiled).block(Lines(lines, FORM)).events[0] for compiled in (True, False)]
    assert blocks[0] == blocks[1]
    assert all(json.loads(line) is not None for line in blocks[0].splitlines())
