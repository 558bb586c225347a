"""The compiled reader gives what the other readers give, byte for byte."""

from __future__ import annotations

import base64
import json
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pyarrow.parquet as pq
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tacit.logs.anonymise import Anonymiser, Lines
from tacit.logs.formats import by_name
from tacit.logs.keys import EpochKey
from tacit.logs.policies import SourcePolicy
from tacit.logs.stages import DeadLetters, ParquetSink, run
from tacit.logs.telemetry import Telemetry, TelemetrySpec

pytestmark = pytest.mark.usefixtures("compiled")

KEY = EpochKey.for_tests()
HOMES = "Users"
POLICY = """
version: 1
source: t
format: json
unknown: drop
fields: {
  user.name: user, user.email: email, host: host, ip: address, mac: mac, sid: sid, id: id, url: url, file: path, text: scrub, more.text: scrub,
  labels.*: scrub, people.*: user, deep.**: keep, gone: drop, time: {treatment: generalise, to: hour}, kept: keep, "a.b": keep, shape: template
}
"""
# Without shrinking: that takes minutes for batches of events.
FIXTURE = settings(max_examples=120, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
NAMES = (
    "anna.keller",
    "Bob",
    "zoë",
    "CORP\\anna.keller",
    "anna.keller@corp.example",
    "ws-17.corp.example",
    "ws-17",
    "bea-bach",
    "run",
    "u-k7-" + "0" * 20,
)
ODD = ("\u00e9", "\u2028", "\u00a0", "\u0085", "\U0001f600", "\x01", "\x1f", "\b", "\n", "\t", '"', "\\", "/", "\x7f", "%", "K", "\u212a")
FORMED = (
    "10.1.2.3",
    "10.1.2.3:443",
    "fe80::1%eth0",
    "2001:db8::17",
    "::ffff:10.1.2.3",
    "00:50:56:ab:cd:ef",
    "0050.56ab.cdef",
    "S-1-5-21-1-2-3-1104",
    "4111-1111-1111-1111",
    "1234-56781234-5.a",
    "4111111111111111",
    "srv.ws-17.corp.example:443",
    "a.pdf",
    "x.y.z",
    "1.a",
    "deadbeef.hex",
    "::",
    "a:b:c",
)
CONTEXTS = (
    "C:\\Users\\{}\\a.txt",
    "/home/{}/x",
    "user={} ",
    "password={}",
    "dir \\\\{}\\share",
    "--server {} ",
    "https://bob:{}@h.example/",
    "{}",
    "x_{}_y",
    "Failed password for invalid user {} from 10.9.8.7",
    "CORP\\{}",
    "rhost={}",
    "getaddrinfo for {} ",
    "connection from 10.9.8.7 ({})",
    "krbtgt/{}",
    "HTTP/{}",
    "cifs/{}:445",
    "{}$",
    "CORP\\{}$",
    "{}$@CORP.EXAMPLE",
    "Files\\{}",
    "({})",
    "{}{}",
    "Authorization: Bearer {}",
)
WORDS = st.sampled_from((*NAMES, *FORMED, *ODD)) | st.text(st.sampled_from("aAbn.-_:@%\\/ 0159é"), max_size=6)


def _hidden(word: str) -> st.SearchStrategy[str]:
    return st.sampled_from(
        (
            word,
            word.upper(),
            quote(word, safe=""),
            base64.b64encode(f"say {word} twice".encode()).decode(),
            base64.b64encode(word.encode("utf-16-le")).decode(),
            f"hello {word}".encode().hex(),
        )
    )


PIECES = st.builds(lambda context, word: context.replace("{}", word), st.sampled_from(CONTEXTS), WORDS.flatmap(_hidden))
TEXTS = st.lists(PIECES, max_size=4).map(" ".join) | st.lists(WORDS, max_size=3).map("".join)
URLS = st.builds(
    lambda scheme, host, port, path, query: f"{scheme}{host}{port}{path}{query}",
    st.sampled_from(("https://", "h+t-p.1://", "", "1ttp://", "://", "https:/", "x" * 40 + "://")),
    WORDS | st.sampled_from(("h.example", "[::1]", "b@h.example")),
    st.sampled_from(("", ":443", ":", ":123456", ":4x")),
    st.lists(WORDS, max_size=3).map(lambda words: "/" + "//".join(words)) | st.sampled_from(("", f"/{HOMES}/bob/x")),
    st.sampled_from(("", "?", "?a=1&b=22;c=333", "?x", "?kim.lee=1", "?=v", "?q=https://a.example/b?c=d", "?a=1#frag", "?&&a==b", "?9x=y")),
)
SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
STRINGS = TEXTS | st.sampled_from(NAMES + FORMED)


def _some(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return values | SCALARS | st.lists(values | SCALARS, max_size=3)


EVENTS = st.fixed_dictionaries(
    {},
    optional={
        "user": st.fixed_dictionaries({}, optional={"name": _some(STRINGS), "email": _some(STRINGS), "strange": SCALARS}),
        "user.name": _some(STRINGS),
        "host": _some(STRINGS),
        "ip": _some(st.sampled_from(FORMED)),
        "mac": _some(st.sampled_from(FORMED)),
        "sid": _some(st.sampled_from(FORMED)),
        "id": _some(STRINGS),
        "url": _some(URLS),
        "file": _some(TEXTS),
        "text": _some(TEXTS),
        "more": st.fixed_dictionaries({"text": TEXTS}),
        "labels": st.dictionaries(st.sampled_from(("anna.keller", "ws-17", "x", "y")), SCALARS, max_size=3),
        "people": st.dictionaries(st.sampled_from("xy"), STRINGS, max_size=2),
        "deep": st.dictionaries(
            st.sampled_from("ab"), st.recursive(SCALARS, lambda inner: st.dictionaries(st.sampled_from("ab"), inner, max_size=2)), max_size=2
        ),
        "gone": st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2)),
        "time": SCALARS | st.sampled_from(("2026-01-05T00:03:22.822Z",)),
        "kept": _some(SCALARS),
        "a": st.fixed_dictionaries({}, optional={"b": SCALARS}),
        "a.b": SCALARS,
        "shape": TEXTS,
        "unknown": st.recursive(SCALARS, lambda inner: st.dictionaries(st.sampled_from("ab"), inner, max_size=2)),
        "anna.keller": SCALARS,
    },
)


def _written(event: dict[str, Any], how: str) -> bytes:
    if how == "spaced":
        return json.dumps(event).encode()
    line = orjson.dumps(event, option=orjson.OPT_INDENT_2).replace(b"\n", b"\t") if how == "tabs" else orjson.dumps(event)
    if how == "doubled":
        return line[:-1] + b',"kept":1,"kept":2}' if len(line) > 2 else line
    return {
        "cut": line[:-1],
        "behind": line + b" {}",
        "blank": b"  ",
        "bytes": line[:-1] + b"\xff}",
        "list": b"[1]",
        "number": line[:-1] + b',"kept":-0}',
    }.get(how, line)


LINES = st.builds(
    _written, EVENTS, st.sampled_from(("plain",) * 8 + ("spaced", "tabs", "doubled", "cut", "behind", "blank", "bytes", "list", "number"))
)
BATCHES = st.lists(st.lists(LINES, max_size=8), min_size=1, max_size=4)


def same(first: tuple[Any, ...], second: tuple[Any, ...]) -> None:
    """Part by part, so that a failure shows where."""
    for one, other in zip(first[0], second[0], strict=True):
        assert one == other
    assert first[1:] == second[1:]


def outcome(anonymiser: Anonymiser, lines: list[bytes]) -> tuple[Any, ...]:
    read = Lines(lines, by_name("json"))
    treated = anonymiser.texts(read)
    return treated.events, treated.places, treated.refused, +treated.unknown, read.places, sorted(read.damaged)


@FIXTURE
@given(BATCHES, st.booleans())
def test_batch_after_batch_gives_what_the_other_reader_gives(batches: list[list[bytes]], refuse: bool) -> None:
    policy = SourcePolicy.parse(POLICY.replace("unknown: drop", f"unknown: {'refuse' if refuse else 'drop'}"))
    fast, slow = Anonymiser(policy, KEY), Anonymiser(policy, KEY, compiled=False)
    for lines in batches:
        same(outcome(fast, lines), outcome(slow, lines))
    assert dict(fast.tools.identities.items()) == dict(slow.tools.identities.items())


def columns(anonymiser: Anonymiser, lines: list[bytes]) -> tuple[Any, ...]:
    read = Lines(lines, by_name("json"))
    table = anonymiser.arrays(read)
    found = {path: values if isinstance(values, list) else values.to_pylist() for path, values in table.columns.items()}
    kinds = {path: list(map(type, values)) for path, values in found.items()}
    return found, kinds, table.places, table.refused, +table.unknown, read.places, sorted(read.damaged)


@FIXTURE
@given(BATCHES, st.booleans())
def test_columns_hold_what_the_other_reader_gives(batches: list[list[bytes]], refuse: bool) -> None:
    policy = SourcePolicy.parse(POLICY.replace("unknown: drop", f"unknown: {'refuse' if refuse else 'drop'}"))
    fast, slow = Anonymiser(policy, KEY), Anonymiser(policy, KEY, compiled=False)
    for lines in batches:
        assert columns(fast, lines) == columns(slow, lines)
        same(outcome(fast, lines), outcome(slow, lines))


@pytest.mark.parametrize(
    "lines",
    [
        [b'{"deep":{"a":1}}', b'{"deep":2}'],
        [b'{"deep":{"a":1}}', b'{"deep":0.5}'],
        [b'{"deep":{"a":0.5}}', b'{"deep":null}'],
        [b'{"user":{"name":"a"},"user.name":"b"}'],
        [b'{"user":{"name":"a"}}', b'{"user.name":"b"}'],
        [b'{"user.name":"b","x":0.5}', b'{"user":{"name":"a"}}'],
        [b'{"kept":[1,2]}', b'{"kept":null}', b'{"kept":[]}', b"{}", b'{"kept":[null,3]}'],
        [b'{"kept":["a\\n",""]}', b'{"kept":[]}'],
        [b'{"kept":[true]}', b'{"kept":[]}'],
        [b'{"kept":[1,"a"]}', b'{"kept":"b"}', b'{"kept":[2]}'],
        [b'{"kept":true}', b'{"kept":false}', b"{}"] * 5,
        [b'{"kept":1}', b'{"kept":0.5}', b'{"kept":2}'],
        [b'{"kept":-1}', b'{"kept":123456789012345678901234}', b'{"kept":2}'],
        [b'{"id":1}', b'{"id":"a"}', b'{"id":18446744073709551615}'],
        [b'{"text":"bob"}', b'{"text":["bob",null,7]}', b'{"text":7}'],
        [b'{"":{"":1},"deep":{"":{"a":1}}}', b'{"kept":"x"}'],
        [b'{"kept":"a', b'{"kept":"b"}', b'{"kept":0.5}', b'{"new":1}'],
    ],
)
def test_columns_of_odd_batches(lines: list[bytes]) -> None:
    for unknown in ("drop", "refuse"):
        policy = SourcePolicy.parse(POLICY.replace("unknown: drop", f"unknown: {unknown}"))
        fast, slow = Anonymiser(policy, KEY), Anonymiser(policy, KEY, compiled=False)
        assert columns(fast, lines) == columns(slow, lines)
        assert columns(fast, lines[::-1]) == columns(slow, lines[::-1])


def test_a_parquet_file_is_the_same_with_and_without(tmp_path: Path) -> None:
    lines = _telemetry(tmp_path / "events.jsonl")
    odd = [b'{"source":{"port":0.5},"user":{"name":"igor.bauer"}}', b"{bad", b'{"source":{"port":"http"},"labels":{"a":1}}']
    parts = [[*lines[begin : begin + 700], *(odd if begin else [])] for begin in range(0, len(lines), 700)]
    tables = []
    for compiled in (True, False):
        path, policy = tmp_path / f"{compiled}.parquet", SourcePolicy.pack("ecs")
        with path.open("wb") as file, DeadLetters(tmp_path / f"{compiled}.dead") as dead:
            sink = ParquetSink(file, policy)
            run(parts, by_name("ecs"), Anonymiser(policy, KEY, compiled=compiled), sink=sink, dead=dead)
            sink.close()
        tables.append(pq.read_table(path))
    assert tables[0].schema.equals(tables[1].schema, check_metadata=True)
    assert tables[0].equals(tables[1])
    assert tables[0].num_rows == len(lines)
    assert (tmp_path / "True.dead").read_bytes() == (tmp_path / "False.dead").read_bytes()


def test_columns_of_one_kind_come_as_arrays(tmp_path: Path) -> None:
    anonymiser = Anonymiser(SourcePolicy.pack("ecs"), KEY)
    table = anonymiser.arrays(Lines(_telemetry(tmp_path / "events.jsonl"), by_name("ecs")))
    assert not [path for path, values in table.columns.items() if isinstance(values, list)]


@FIXTURE
@given(st.lists(st.lists(STRINGS | TEXTS, max_size=6), min_size=1, max_size=4))
def test_texts_are_searched_as_by_the_other_searcher(batches: list[list[str]]) -> None:
    policy = SourcePolicy.parse("{version: 1, source: t, format: json, fields: {user: user, host: host, text: scrub}}")
    fast, slow = Anonymiser(policy, KEY), Anonymiser(policy, KEY, compiled=False)
    for texts in batches:
        events = [{"user": text.split(" ")[0], "host": "ws-17.corp.example", "text": text} for text in texts]
        lines = [orjson.dumps(event) for event in events]
        same(outcome(fast, lines), outcome(slow, lines))


@FIXTURE
@given(st.lists(st.lists(URLS, max_size=6), min_size=1, max_size=3))
def test_urls_are_treated_as_elsewhere(batches: list[list[str]]) -> None:
    policy = SourcePolicy.parse("{version: 1, source: t, format: json, fields: {user: user, url: url}}")
    fast, slow = Anonymiser(policy, KEY), Anonymiser(policy, KEY, compiled=False)
    for urls in batches:
        lines = [orjson.dumps({"user": "kim.lee", "url": url}) for url in urls]
        same(outcome(fast, lines), outcome(slow, lines))


def _telemetry(path: Path, events: int = 3_000) -> list[bytes]:
    Telemetry(TelemetrySpec(events=events, simulation=TelemetrySpec.thousand(seed=5).simulation)).write_ndjson(path)
    return path.read_bytes().splitlines()


def test_telemetry_learned_first_or_not_gives_the_same_files(tmp_path: Path) -> None:
    lines = _telemetry(tmp_path / "events.jsonl")
    for learn in (False, True):
        blocks = []
        for compiled in (True, False):
            anonymiser = Anonymiser(SourcePolicy.pack("ecs"), KEY, compiled=compiled)
            if learn:
                anonymiser.learn(Lines(lines, by_name("ecs")))
            parts = [lines[begin : begin + 700] for begin in range(0, len(lines), 700)]
            blocks.append(b"".join(anonymiser.block(Lines(part, by_name("ecs"))).events[0] for part in parts))
        assert blocks[0] == blocks[1]
        assert blocks[0].count(b"\n") == len(lines)


def test_a_block_that_is_kept_stays_as_it_is(tmp_path: Path) -> None:
    lines = _telemetry(tmp_path / "events.jsonl", 600)
    anonymiser = Anonymiser(SourcePolicy.pack("ecs"), KEY)
    first = anonymiser.block(Lines(lines, by_name("ecs"))).events[0]
    copy = bytes(first)
    for _ in range(2):
        assert bytes(anonymiser.block(Lines(lines[:1], by_name("ecs"))).events[0]) == copy[: copy.index(b"\n") + 1]
    again = bytes(anonymiser.block(Lines(lines, by_name("ecs"))).events[0])
    assert first == copy == again


def test_compiled_code_reads_the_most_of_it(tmp_path: Path) -> None:
    lines = _telemetry(tmp_path / "events.jsonl", 1_000)
    anonymiser = Anonymiser(SourcePolicy.pack("ecs"), KEY)
    native = anonymiser._native
    assert native is not None
    assert native.scan(lines, lambda key: False) == []


@pytest.mark.parametrize(
    "line",
    [
        b'{"text":"' + b"anna " * 2_000_000 + b'"}',
        b"{" + b",".join(b'"k%d":1' % number for number in range(10_000)) + b"}",
        b'{"deep":' + b'{"a":' * 1_000 + b"1" + b"}" * 1_001,
        b'{"deep":' + b"[" * 1_000 + b"]" * 1_000 + b"}",
        b'{"user":{"name":"a","name":"b"}}',
        b'{"text":"\xff\xfe"}',
        b'{"text":"\xed\xa0\x80"}',
        b'{"text":"a\x00b"}',
        b'{"text":"\\u0000"}',
        b'{"text":"\\ud800"}',
        b'{"text":"' + b"a@" * 5_000 + b'"}',
        b'{"text":"' + b"\\\\" * 9_000 + b'"}',
        b'{"text":"abc',
        b'{"text":"abc\\',
        b'{"text',
        b"{",
        b'{"kept":',
        b'{"kept":-',
        b'{"kept":1',
        b'{"kept":tru',
        b'{"kept":1e5}',
        b'{"kept":123456789012345678901234}',
        b'{"kept":01}',
        b'{"kept":[1,]}',
        b'{"kept":[1',
        b'{"kept":1,}',
        b"{,}",
        b'{"kept" 1}',
        b'{"user":[{"name":"anna"}]}',
        b'{"user":"anna"}',
        b'{"user":null}',
        b'{"host":{"a":1}}',
        b'{"text":[]}',
        b'{"text":[["anna"]]}',
        b'{"a.b":1,"a":{"b":2}}',
    ],
)
def test_hostile_lines_fare_as_elsewhere(line: bytes) -> None:
    policy, good = SourcePolicy.parse(POLICY), b'{"user":{"name":"anna"},"text":"anna again"}'
    fast, slow = Anonymiser(policy, KEY), Anonymiser(policy, KEY, compiled=False)
    for lines in ([good, line, good], [line], [good]):
        same(outcome(fast, lines), outcome(slow, lines))


def test_machines_that_only_a_text_announces_are_hidden_here_too() -> None:
    policy = SourcePolicy.parse("{version: 1, source: t, format: json, fields: {text: scrub}}")
    texts = ("x rhost=fern.example.net", "connection from 10.9.8.7 (far-1.user.example)", "krbtgt/acme", "cifs/nashua", "WEC$", "a utica$@DM.EXAMPLE")
    lines = [orjson.dumps({"text": text}) for text in texts]
    fast = outcome(Anonymiser(policy, KEY), lines)
    same(fast, outcome(Anonymiser(policy, KEY, compiled=False), lines))
    written = " ".join(fast[0]).lower()
    assert not any(name in written for name in ("fern", "far-1", "acme", "nashua", "wec", "utica", "dm."))


def test_a_name_without_letters_fares_as_elsewhere() -> None:
    policy = SourcePolicy.parse("{version: 1, source: t, format: json, fields: {user: user, text: scrub}}")
    fast, slow = Anonymiser(policy, KEY), Anonymiser(policy, KEY, compiled=False)
    lines = [orjson.dumps({"user": "._\U0001f600", "text": "._\U0001f600 x"}), b'{"user":"---","text":"--- -"}']
    same(outcome(fast, lines), outcome(slow, lines))


def test_memory_is_given_back_and_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = SourcePolicy.parse("{version: 1, source: t, format: json, fields: {id: id, text: scrub, l.*: keep}}")
    fast, slow = Anonymiser(policy, KEY), Anonymiser(policy, KEY, compiled=False)
    for begin in range(0, 450_000, 50_000):
        lines = [b'{"id":"%d","text":"run %d of x%d"}' % (number, number, number) for number in range(begin, begin + 50_000)]
        fast.texts(Lines(lines, by_name("json")))
    last = [b'{"id":"7","text":"run 7 of x7"}', *(b'{"l":{"k%d":1}}' % number for number in range(30_000))]
    same(outcome(fast, last), outcome(slow, last))
    assert outcome(fast, last[:2]) == outcome(slow, last[:2])


def test_a_fault_in_a_treatment_leaves_nothing_half_done() -> None:
    policy = SourcePolicy.parse("{version: 1, source: t, format: json, fields: {id: id, text: scrub}}")
    anonymiser, line = Anonymiser(policy, KEY), [b'{"id":"x","text":"mail a.b@c.example"}']
    broken = anonymiser.tools.scrubber.tokens
    anonymiser.tools.scrubber.tokens = lambda tokens: 1 / 0  # type: ignore[method-assign,assignment,return-value]
    with pytest.raises(ZeroDivisionError):
        anonymiser.texts(Lines(line, by_name("json")))
    anonymiser.tools.scrubber.tokens = broken  # type: ignore[method-assign]
    assert outcome(anonymiser, line) == outcome(Anonymiser(policy, KEY, compiled=False), line)


def test_without_the_compiled_reader_everything_works() -> None:
    anonymiser = Anonymiser(SourcePolicy.parse(POLICY), KEY, compiled=False)
    assert anonymiser._native is None
    assert Counter(anonymiser.texts(Lines([b'{"kept":1,"new":2}'], by_name("json"))).unknown) == Counter({"new": 1})
