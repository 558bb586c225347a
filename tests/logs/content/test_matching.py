from __future__ import annotations

import re
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("sigma", reason="pySigma is not installed; pip install tacit[logs]")

from tacit.errors import StorageError, UsageError
from tacit.logs.content import Rules, to_yaml
from tacit.logs.content.matching import pattern
from tacit.logs.content.reading import parse
from tacit.logs.content.tree import Wild

HEAD = "title: t\nlogsource: {product: any}\ndetection:\n"


def rules(detection: str, condition: str = "s") -> Rules:
    return Rules.parse(f"{HEAD}  s: {detection}\n  condition: {condition}\n", format="json")


def fires(detection: str, event: dict[str, Any]) -> bool:
    found = rules(detection)
    again = Rules.parse("\n".join(to_yaml(rule) for rule in found.rules), format="json")
    answers = {bool(found.match([event])), bool(again.match([event]))}
    assert len(answers) == 1, "written out, the rule means something else"
    return answers.pop()


@pytest.mark.parametrize(
    ("detection", "yes", "no"),
    [
        ("{a: Cmd.EXE}", {"a": "cmd.exe"}, {"a": "xcmd.exe"}),
        ("{a|endswith: '\\cmd.exe'}", {"a": "C:\\x\\CMD.exe"}, {"a": "C:\\x\\cmd.exe "}),
        ("{a|startswith: 'C:\\'}", {"a": "c:\\x"}, {"a": "xc:\\x"}),
        ("{a|contains: 'a*c'}", {"a": "xabbcx"}, {"a": "xcbax"}),
        ("{a: 'a?c'}", {"a": "abc"}, {"a": "ac"}),
        ("{a: 'a\\*c'}", {"a": "a*c"}, {"a": "abc"}),
        ("{a: 'a\\\\*c'}", {"a": "a\\bc"}, {"a": "abc"}),
        ("{a: 'a*b?'}", {"a": "ab..bx"}, {"a": "ab..b"}),
        ("{a: '*?b'}", {"a": "xb"}, {"a": "b"}),
        ("{a: '*'}", {"a": "anything"}, {"b": "x"}),
        ("{a: ''}", {"a": ""}, {"a": "x"}),
        ("{a: null}", {"b": 1}, {"a": "x"}),
        ("{a: null}", {"a": None}, {"a": ""}),
        ("{a|exists: true}", {"a": ""}, {"b": 1}),
        ("{a|exists: false}", {"b": 1}, {"a": 0}),
        ("{a: 4624}", {"a": "4624"}, {"a": 46240}),
        ("{a: 4624}", {"a": 4624.0}, {"a": True}),
        ("{a: '1'}", {"a": 1}, {"a": 10}),
        ("{a: true}", {"a": True}, {"a": "yes"}),
        ("{a: 'true'}", {"a": True}, {"a": False}),
        ("{a|contains|all: [x, y]}", {"a": "y.x"}, {"a": "x"}),
        ("{a: [x, y]}", {"a": "Y"}, {"a": "z"}),
        ("[{a: x}, {b: y}]", {"b": "y"}, {"a": "y"}),
        ("{a: x, b: y}", {"a": "x", "b": "y"}, {"a": "x"}),
        ("{a|cidr: 10.0.0.0/8}", {"a": "10.255.0.1"}, {"a": "11.0.0.1"}),
        ("{a|cidr: 10.0.0.0/8}", {"a": "::ffff:10.1.2.3"}, {"a": "10.0.0"}),
        ("{a|cidr: 'fe80::/10'}", {"a": "fe80::1%eth0"}, {"a": "2001:db8::1"}),
        ("{a|re: 'Ab+'}", {"a": "xAbbx"}, {"a": "xabbx"}),
        ("{a|re|i: 'ab+$'}", {"a": "xAB"}, {"a": "abx"}),
        ("{a|gt: 5}", {"a": "6"}, {"a": 5}),
        ("{a|lte: 5}", {"a": 5}, {"a": "x"}),
        ("{a|fieldref: b}", {"a": "X", "b": "x"}, {"a": "x"}),
        ("{a|fieldref|endswith: b}", {"a": "ax", "b": "x"}, {"a": "xa", "b": "x"}),
        ("{a|cased: Ab}", {"a": "Ab"}, {"a": "ab"}),
        ("{a|windash|contains: ' -x'}", {"a": "q /x"}, {"a": "q x"}),
        ("{a|base64offset|contains: 'hello'}", {"a": "..aGVsbG8..."}, {"a": "hello"}),
        ("{a|base64offset|contains: 'hello'}", {"a": "eGhlbGxvIQ=="}, {"a": "x"}),
        ("[needle, other]", {"q": {"deep": ["a NEEDLE b"]}}, {"q": "needl"}),
        ("{a.b: x}", {"a": {"b": "x"}}, {"a": "x"}),
        ("{a.b: x}", {"a.b": "x"}, {"a": {"c": "x"}}),
        ("{a.b.c: x}", {"a": {"b.c": ["y", "x"]}}, {"a": {"b": "x"}}),
        ("{a: y}", {"a": ["x", "Y"]}, {"a": []}),
    ],
)
def test_a_test_means_what_sigma_says(detection: str, yes: dict[str, Any], no: dict[str, Any]) -> None:
    assert fires(detection, yes)
    assert not fires(detection, no)


def test_conditions_count_their_selections() -> None:
    text = f"{HEAD}  s1: {{a: x}}\n  s2: {{b: x}}\n  f1: {{c: x}}\n  condition: "
    events = [{"a": "x"}, {"a": "x", "b": "x"}, {"a": "x", "b": "x", "c": "x"}, {}]
    expected = {
        "1 of s*": [0, 1, 2], "all of s*": [1, 2], "1 of them": [0, 1, 2], "all of them": [2], "all of s* and not 1 of f*": [1],
        "not (s1 or f1)": [3], "s1 and not s2": [0], "not s1 and not s2": [3], "not not s1": [0, 1, 2],
    }
    for condition, places in expected.items():
        found = Rules.parse(text + condition, format="json")
        assert found.match(events) == {"rule": places}, condition
        assert Rules.parse(to_yaml(found.rules[0]), format="json").match(events) == {"rule": places}, condition


PIECES = st.lists(st.sampled_from(["a", "b", "ab", Wild.ANY, Wild.ONE]), max_size=7)


@settings(max_examples=1_500, deadline=None)
@given(PIECES, st.text("ab", max_size=9))
def test_patterns_are_those_of_a_naive_expression(parts: list[str | Wild], text: str) -> None:
    expression = "".join(".*" if part is Wild.ANY else "." if part is Wild.ONE else re.escape(part) for part in parts)
    assert pattern(tuple(parts))(text) == (re.fullmatch(expression, text, re.DOTALL) is not None)


def test_no_text_makes_a_pattern_run_long() -> None:
    start = time.process_time()
    fits = pattern((Wild.ANY, "a", Wild.ANY, "a", Wild.ANY, "a", Wild.ANY, "a", Wild.ONE, "x", Wild.ANY, "c"))
    assert not fits("a" * 1_000_000)
    assert not rules("{a|re: '(a+)+$'}").match([{"a": "a" * 200_000 + "!"}])
    assert time.process_time() - start < 5


def test_windows_rules_see_only_their_events() -> None:
    source = "{product: windows, category: process_creation}"
    found = Rules.parse(f"title: t\nlogsource: {source}\ndetection: {{s: {{Image|endswith: '\\a.exe'}}, condition: s}}")
    sysmon = {"Channel": "Microsoft-Windows-Sysmon/Operational", "EventID": 1, "Image": "C:\\a.exe"}
    security = {"Channel": "Security", "EventID": "4688", "NewProcessName": "C:\\A.EXE"}
    nested = {"Event": {"System": {"Channel": "Security", "EventID": {"#text": 4688}}, "EventData": {"NewProcessName": "C:\\a.exe"}}}
    assert found.match([sysmon, security, nested, {**sysmon, "EventID": 3}, {**security, "Channel": "System"}, {}]) == {"rule": [0, 1, 2]}


@pytest.mark.parametrize(
    "text",
    [
        "", "- a\n- b", "title: t", "{", "title: t\nlogsource: {product: x}\ndetection: {s: {a: b}, condition: q}", "\0", "a: &a [*a]",
        "title: t\nlogsource: {product: x}\ndetection: {s: {a|nothing: b}, condition: s}", "x" * 2_000_000, "[" * 5_000,
        "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\ntitle: [*c,*c,*c,*c,*c,*c]",
    ],
)  # fmt: skip
def test_what_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="Expected"):
        parse(text)


def test_a_folder_with_broken_files_is_read_and_tells(tmp_path: Any) -> None:
    (tmp_path / "good.yml").write_text(f"{HEAD}  s: {{a: x}}\n  condition: s")
    (tmp_path / "bad.yml").write_bytes(b"\xff\xfe")
    (tmp_path / "worse.yaml").write_text("title: secretword")
    found = Rules.load(tmp_path, format="json", names={"a": "b"})
    assert len(found) == 1
    assert found.match([{"b": "x"}, {"a": "x"}]) == {"good": [0]}
    assert [name for name, _ in found.broken] == ["bad.yml", "worse.yaml"]
    assert "secretword" not in str(found.broken)
    with pytest.raises(StorageError, match="there is nothing"):
        Rules.load(tmp_path / "nowhere")


def test_an_expression_that_looks_around_is_refused() -> None:
    with pytest.raises(UsageError, match="SigmaRegularExpressionError"):
        rules("{a|re: '(?<!x)y'}")


@pytest.mark.parametrize("condition", [
    "(" * 3_000 + "s" + ")" * 3_000, "not " * 3_001 + "s", "(s or " * 800 + "s" + ")" * 800, "s and " * 2_000 + "s",
])  # fmt: skip
def test_a_condition_made_to_break_the_parser_is_read_or_refused(condition: str) -> None:
    try:
        found = rules("{a: x}", condition)
    except UsageError:
        return
    assert found.match([{"a": "x"}, {"a": "y"}]) == {"rule": [1 if condition.startswith("not") else 0]}
