"""JSON lines: what could be read in two ways is refused, and nothing else is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.logs.formats import JsonLines
from tacit.logs.formats.exact import slowly

SCALAR = st.sampled_from(
    [
        '"a"',
        '"a\\":b"',
        '"\\u0022:"',
        '"\\"\\u003a"',
        '"\\"\\u0020:"',
        '"\\" :"',
        '"x : y"',
        "1",
        "-1",
        "18446744073709551615",
        "18446744073709551616",
        "-9223372036854775809",
        "123456789012345678901234567890",
        '"123456789012345678901234567890"',
        "1.5e3",
        "12345678901234567890.5",
        "true",
        "null",
    ]
)
KEY = st.sampled_from(['"a"', '"b"', '"a\\":"', '"\\u0061"', '"\\u0022:"', '""', '"c d"'])
SPACE = st.sampled_from(["", "", " ", "\t", "  "])


@st.composite
def objects(draw: Any, depth: int = 0) -> str:
    pairs = []
    for _ in range(draw(st.integers(0, 4))):
        value = draw(SCALAR if depth > 1 else SCALAR | objects(depth + 1) | objects(depth + 1).map(lambda inner: f"[{inner}, 1]"))
        pairs.append(f"{draw(SPACE)}{draw(KEY)}{draw(SPACE)}:{draw(SPACE)}{value}{draw(SPACE)}")
    return "{" + ",".join(pairs) + "}"


@settings(max_examples=200, deadline=None)
@given(st.lists(objects(), min_size=1, max_size=12))
def test_exactly_what_a_slow_reader_refuses_is_refused(texts: list[str]) -> None:
    lines = [text.encode() for text in texts]
    found = JsonLines("json").parse(lines)
    assert {damaged.line: damaged.reason for damaged in found.damaged} == {n: why for n, line in enumerate(lines) if (why := slowly(line))}
    assert [json.loads(lines[place]) for place in found.places] == found.events


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"u":1,"u":2,"x" :3}', "stands twice"),
        (b'{"a":{"b":1,"b":1}}', "stands twice"),
        (b'{"n":18446744073709551616}', "64 bits"),
        (b'{"n":[-9223372036854775809]}', "64 bits"),
        (b'{"a":"\\u0000"}', "NUL"),
        (b'{"a":' * 1_000 + b"1" + b"}" * 1_000, "levels"),
        (b'{"a":' * 101 + b"1" + b"}" * 101, "levels"),
        (b"{" + b",".join(b'"k%d":1' % n for n in range(2_001)) + b"}", "keys"),
        (b'{"a":"\xff"}', "UTF-8"),
        (b'{"a":1e999}', "large"),
        (b'{"a":"' + b"x" * (10 << 20) + b'"}', "longer"),
    ],
)
def test_what_is_refused_is_refused_among_others(line: bytes, reason: str) -> None:
    others = [b'{"k": %d, "t": "a: b"}' % number for number in range(700)]
    found = JsonLines("json").parse([*others, line, *others])
    assert [damaged.line for damaged in found.damaged] == [700]
    assert reason in found.damaged[0].reason
    assert len(found.events) == 1_400
