"""Every format of text lines: round trips, nothing lost, nothing passed through, no crash and no hang."""

from __future__ import annotations

import time
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.logs.formats.samples import CHANGED, HEADS, LINES

from tacit.errors import UsageError
from tacit.logs.formats import JSON_NAMES, LONGEST, NAMES, HeadedFormat, LineFormat, Parsed, by_name, detect

TEXTS = sorted(LINES)
LIMIT = 6.0
"""Seconds that the worst line of a mebibyte may take on a slow and busy machine; what is quadratic takes minutes."""


def ready(name: str) -> LineFormat:
    """A format that has met its header."""
    form = by_name(name)
    form.parse(HEADS.get(name, []))
    return form


def again(form: LineFormat, events: list[Any]) -> Parsed:
    """What a new reader reads in what was written."""
    lines = form.render(events)
    assert len(lines) == len(events)
    head = form.head() if isinstance(form, HeadedFormat) else []
    return by_name(form.name).parse([*head, *lines])


def accounted(parsed: Parsed, count: int) -> None:
    """Each of so many lines is an event or damaged, once."""
    assert len(parsed.events) == len(parsed.places)
    assert sorted([*parsed.places, *(damaged.line for damaged in parsed.damaged)]) == list(range(count))


@pytest.mark.parametrize("name", TEXTS)
def test_lines_are_written_as_they_were_read(name: str) -> None:
    form = ready(name)
    parsed = form.parse(LINES[name])
    assert parsed.damaged == []
    assert form.render(parsed.events) == [CHANGED.get(line, line) for line in LINES[name]]
    assert again(ready(name), parsed.events).events == parsed.events


@pytest.mark.parametrize("name", TEXTS)
def test_events_are_what_json_can_hold(name: str) -> None:
    for event in ready(name).parse(LINES[name]).events:
        assert orjson.loads(orjson.dumps(event)) == event


@pytest.mark.parametrize("name", ["zeek", "csv"])
def test_headers_are_written_as_they_were_read(name: str) -> None:
    form = ready(name)
    assert isinstance(form, HeadedFormat)
    form.render(form.parse(LINES[name]).events)
    assert form.head() == HEADS[name]
    assert form.head() == []


ANY = st.text(st.characters(codec="utf-8"), max_size=60).map(str.encode) | st.binary(max_size=60)
PIECES = [
    b"<34>",
    b"1 ",
    b"- ",
    b"Oct 11 22:14:15 ",
    b"2026-10-11T22:14:15Z ",
    b"gate ",
    b"su[1]: ",
    b'[a b="',
    b'"]',
    b"\\",
    b'"',
    b"]",
    b"[",
    b" ",
    b"CEF:0|",
    b"LEEF:1.0|",
    b"LEEF:2.0|",
    b"|",
    b"^",
    b"x7C",
    b"a=b",
    b"=",
    b"\t",
    b"\n",
    b"\r",
    b"\0",
    b"\xff",
    b"\\x",
    b"\\xc3\\xbc",
    b"-",
    b"(empty)",
    b'10.0.0.1 - - [10/Oct/2026:13:55:36 +0200] "',
    b"GET / HTTP/1.1",
    b'" 200 5',
    b'" 200 - "-" "',
    b"[Sun Dec 04 04:47:44 2005] [error]",
    b"[client ",
    b"2026/10/11 12:00:00 [error] 7#7: ",
    b", client: ",
    b"type=EXECVE msg=audit(1.5:1): ",
    b"a0=",
    b"msg='",
    b"'",
    b"\x1d",
    b"41",
    b"0A00",
    b"(null)",
    b",",
    b"#fields",
    b"#types",
    b"#separator \\x09",
    b"1.5",
    b"T",
    b"\xc3\xbc",
    b"\xef\xbb\xbf",
    b"\xe2\x80\xa8",
    b"\x85",
    b"\x0c",
    b"key=",
    b"old ",
]
GRAMMAR = st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join)


@st.composite
def broken(draw: Any, name: str) -> bytes:
    """A line that once was well written."""
    line = draw(st.sampled_from(LINES[name]))
    begin, end = sorted((draw(st.integers(0, len(line))), draw(st.integers(0, len(line)))))
    return bytes(line[:begin] + draw(ANY | GRAMMAR) + line[end:])


@pytest.mark.parametrize("name", TEXTS)
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_every_line_is_an_event_or_damaged_and_is_read_back(name: str, data: st.DataObject) -> None:
    line = data.draw(broken(name) | GRAMMAR | ANY)
    form = ready(name)
    parsed = form.parse([line])
    if parsed.events or parsed.damaged:
        accounted(parsed, 1)
    else:
        assert not line.strip(b" \t\r\n") or line.startswith(b"#") or line.rstrip(b"\r\n") in HEADS.get(name, [])
    for event in parsed.events:
        orjson.dumps(event)
    read = again(form, parsed.events)
    assert read.damaged == []
    if line.decode("utf-8", "replace").isprintable():  # signs that do not print are written as each format can
        assert [_said(event) for event in read.events] == [_said(event) for event in parsed.events]


def _said(event: dict[str, Any]) -> dict[str, Any]:
    """An event without the note on how auditd spelled its fields: what cannot be written bare again is quoted."""
    return {name: value for name, value in event.items() if name != "spelled"}


SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=12)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3), max_leaves=6)
NASTY = (
    "\n",
    "\0",
    "a\nb",
    '"',
    "\\",
    "|",
    "=",
    "]",
    "' ",
    ",",
    "\t",
    "-",
    "(empty)",
    "\x1d",
    "\u2028",
    "\x85",
    "\ud800",
    "CEF:0|a",
    "a b",
    "",
    "#fields\tx",
    "u-k7-0f",
    "\ufeff",
)


@pytest.mark.parametrize("name", TEXTS)
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_whatever_a_treatment_put_there_is_written_as_one_valid_line(name: str, data: st.DataObject) -> None:
    form = ready(name)
    event = dict(data.draw(st.sampled_from(form.parse(LINES[name]).events)))
    for _ in range(data.draw(st.integers(0, 3))):
        target = event
        key = data.draw(st.sampled_from(sorted(target)) | st.text(max_size=6))
        if isinstance(target.get(key), dict) and target[key] and data.draw(st.booleans()):
            target[key] = dict(target[key])
            target = target[key]
            key = data.draw(st.sampled_from(sorted(target)) | st.text(max_size=6))
        target[key] = data.draw(VALUES | st.sampled_from(NASTY))
    lines = form.render([event])
    head = form.head() if isinstance(form, HeadedFormat) else []
    assert all(sign not in line for line in [*head, *lines] for sign in (b"\n", b"\0"))
    parsed = by_name(name).parse([*head, *lines])
    assert parsed.damaged == []
    assert len(parsed.events) == 1 or not lines[0].strip()


HOSTILE = {
    "long": b"a" * (10 << 20),
    "nul": b"a\0b",
    "no utf-8": b"\xff\xfe",
    "backslashes": b"\\" * LONGEST,
    "quotes": b'"' * LONGEST,
    "spaces": b" " * (LONGEST - 1) + b"x",
    "escaped quotes": b'\\"' * (LONGEST // 2),
    "escaped bars": b"\\|" * (LONGEST // 2),
    "pairs": b"a=b " * (LONGEST // 4),
    "brackets": b"[" * LONGEST,
    "closing": b"]" * LONGEST,
    "equals": b"=" * LONGEST,
    "bars": b"|" * LONGEST,
    "commas": b"," * LONGEST,
    "tabs": b"\t" * LONGEST,
    "digits": b"1" * LONGEST,
    "hex": b"41" * (LONGEST // 2),
    "apostrophes": b"' " * (LONGEST // 2),
    "escapes": b"\\xc3\\xbc" * (LONGEST // 8),
    "minus": b"- " * (LONGEST // 2),
    "deep": b'{"a":' * 1_000 + b"1" + b"}" * 1_000,
    "many keys": b" ".join(b"k%d=v" % number for number in range(10_000)),
    "same key": b"a=1 " * 3,
    "clients": b", client: x" * (LONGEST // 11),
    "msg": b"msg='" * (LONGEST // 5),
    "olds": b"old " * (LONGEST // 4),
}
BEGINNINGS = [
    b"",
    b"<34>1 - - - - - ",
    b'<34>1 - - - - - [a b="',
    b"<34>1 - - - - - [a",
    b"Oct 11 22:14:15 ",
    b"Oct 11 22:14:15 gate CEF:0|",
    b"CEF:0|a|b|c|d|e|f|k=",
    b"CEF:0|a|b|c|d|e|f|",
    b"LEEF:2.0|a|b|c|d|",
    b"LEEF:1.0|a|b|c|d|",
    b'10.0.0.1 - - [10/Oct/2026:13:55:36 +0200] "',
    b'1 - - [10/Oct/2026:13:55:36 +0200] "GET / HTTP/1.1" 200 5 "',
    b"[Sun Dec 04 04:47:44 2005] [error] ",
    b"2026/10/11 12:00:00 [error] 7#7: ",
    b"2026/10/11 12:00:00 [error] 7#7: x, client: ",
    b"type=EXECVE msg=audit(1.5:1): ",
    b"type=EXECVE msg=audit(1.5:1): a0=",
    b"type=X msg=audit(1.5:1): msg='",
    b'type=X msg=audit(1.5:1): a="',
    b"type=X msg=audit(1.5:1): a=b\x1d",
    b"#fields\t",
    b"#types\t",
    b'"',
]


@pytest.mark.parametrize("bait", sorted(HOSTILE))
@pytest.mark.parametrize("name", [*TEXTS, "json"])
def test_hostile_lines_are_answered_in_time(name: str, bait: str) -> None:
    own = [begin for begin in BEGINNINGS if name != "json" and detect([begin + b"x"]) in (name, None)] or [b""]
    for begin in own:
        form = ready(name)
        line = (begin + HOSTILE[bait])[: LONGEST if bait != "long" else None]
        start = time.perf_counter()
        parsed = form.parse([line])
        form.render(parsed.events)
        spent = time.perf_counter() - start
        assert spent < LIMIT, f"{begin!r}: {spent:.1f} s"
        if bait in ("long", "nul", "no utf-8"):
            assert [damaged.line for damaged in parsed.damaged] == [0]


@pytest.mark.parametrize(
    ("name", "line", "reason"),
    [
        ("syslog", b'<34>1 - - - - - [a b="1"][a c="2"] m', "stands twice"),
        ("syslog", b"<192>1 - - - - - -", "priority above"),
        ("syslog", b"hello", "neither"),
        ("syslog", b"<34>1 11:00 - - - - -", "RFC 3339"),
        ("syslog", b'<34>1 - - - - - [a b="1', "never ends"),
        ("cef", b"CEF:0|a|b|c|d|e|f|a=1 a=2", "stands twice"),
        ("cef", b"CEF:0|a|b", "too few"),
        ("cef", b"anna CEF:0|a|b|c|d|e|f|", "no syslog header"),
        ("cef", b"CEF:0|a|b|c|d|e|f|" + b" ".join(b"k%d=v" % number for number in range(2_001)), "2,000 keys"),
        ("leef", b"LEEF:1.0|a|b|c|d|a=1\ta=2", "stands twice"),
        ("leef", b"LEEF:1.0|a|b|c|d|anna", "without a key"),
        ("leef", b"CEF:0|a", "no LEEF"),
        ("apache", b"anna", "no time"),
        ("apache", b'1 - - [10/Oct/2026:13:55:36 +0200] "GET', "never ends"),
        ("nginx", b"[x] anna", "no header"),
        ("auditd", b"type=X msg=audit(1.5:1): a=1 a=2", "stands twice"),
        ("auditd", b"type=X a=1", "no header"),
        ("auditd", b"type=X msg=audit(1.5:1): spelled=1", "another part"),
        ("zeek", b"1.0\tC", "more or fewer"),
        ("zeek", b"x\tC1\t10.0.0.1\t443\tssl\t0.25\tT\t-\t-", "another type"),
        ("zeek", b"#anna", "unknown header"),
        ("csv", b"a,b", "more or fewer"),
        ("csv", b'a,"b', "goes on"),
        ("csv", b'a,"b"c,d,e,f,g', "no CSV"),
    ],
)
def test_what_is_wrong_is_said_without_the_line(name: str, line: bytes, reason: str) -> None:
    damaged = ready(name).parse([line]).damaged
    assert len(damaged) == 1
    assert reason in damaged[0].reason
    assert "anna" not in damaged[0].reason


@pytest.mark.parametrize("name", ["zeek", "csv"])
def test_below_a_header_that_cannot_be_read_nothing_is(name: str) -> None:
    lines = [b"\xffa,b", b"1,2", b"a,b", b"3,4"] if name == "csv" else [b"#fields\ta\ta", b"#types\tstring\tstring", b"1\t2"]
    parsed = by_name(name).parse(lines)
    accounted(parsed, len(lines))
    assert parsed.events == []


def test_a_value_with_a_line_break_does_not_move_values_under_wrong_names() -> None:
    form = by_name("csv")
    parsed = form.parse([b"note,user", b'"a', b'b",anna', b"x,anna", b'"\xff', b'c,d",anna', b"y,bob"])
    assert [event["note"] for event in parsed.events] == ["x", "y"]
    assert [damaged.line for damaged in parsed.damaged] == [1, 2, 4, 5]


def test_zeek_writes_a_new_header_when_columns_come() -> None:
    form = ready("zeek")
    form.render([{"ts": 1.5, "uid": "a"}])
    assert form.head()
    form.render([{"ts": 2.5, "uid": "b"}])
    assert form.head() == []
    form.render([{"ts": 2.5, "uid": 7, "more": 1.5}])
    assert b"more" in form.head()[-2]


def test_restricted_columns_are_not_written() -> None:
    for name in ("zeek", "csv"):
        form = ready(name)
        assert isinstance(form, HeadedFormat)
        blank = form.blank()
        assert len(blank) > 5
        form.restrict(list(blank)[:2])
        form.render([dict.fromkeys(list(blank)[:2])])
        assert [sign for sign in list(blank)[2:] if sign.encode() in b"\n".join(form.head()).replace(b"#types", b"")] == []


@example(lines=[b"<34>1 x"])
@settings(max_examples=100, deadline=None)
@given(lines=st.lists(GRAMMAR | ANY, max_size=4))
def test_detection_never_raises(lines: list[bytes]) -> None:
    assert detect(lines) in (None, *NAMES)


def test_formats_are_found_by_name_and_by_their_lines() -> None:
    for name in TEXTS:
        assert detect([*HEADS.get(name, []), *LINES[name]]) == ("apache" if name == "nginx" else name)
    assert set(NAMES) == {*JSON_NAMES, *TEXTS}
    with pytest.raises(UsageError, match="Expected a format out of"):
        by_name("xml")
