"""Bytes of connections cut into records: whatever the pieces, and whatever the sender means."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.logs.stages.listeners import Malformed, RelpStream, SyslogStream

LINES = st.lists(st.binary(min_size=1, max_size=20).filter(lambda line: line.rstrip(b"\r\n") == line and line), max_size=8)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts})
    return [data[begin:end] for begin, end in zip([0, *places], [*places, len(data)], strict=True)]


@settings(max_examples=300, deadline=None)
@given(LINES, st.lists(st.integers(0, 500)))
def test_counted_records_come_out_as_they_went_in(lines: list[bytes], cuts: list[int]) -> None:
    stream = SyslogStream()
    data = b"".join(b"%d %s" % (len(line), line) for line in lines)
    assert [item.line for piece in pieces(data, cuts) for item in stream.feed(piece)] == lines
    assert not stream.waiting


@settings(max_examples=300, deadline=None)
@given(LINES, st.lists(st.integers(0, 500)))
def test_lines_come_out_as_they_went_in(lines: list[bytes], cuts: list[int]) -> None:
    stream = SyslogStream()
    lines = [b"<1>" + line.replace(b"\n", b"").rstrip(b"\r") for line in lines]
    found = [item.line for piece in pieces(b"".join(line + b"\n" for line in lines[:-1]) + b"".join(lines[-1:]), cuts) for item in stream.feed(piece)]
    assert found + [item.line for item in stream.end()] == lines


@settings(max_examples=500, deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=6), st.sampled_from((SyslogStream, RelpStream)), st.booleans())
def test_nothing_but_malformed_is_ever_raised(data: list[bytes], kind: type[SyslogStream] | type[RelpStream], opened: bool) -> None:
    stream = kind(16)
    try:
        list(stream.feed(b"1 open 15 relp_version=0\n\n" if opened and kind is RelpStream else b""))
        for piece in data:
            for item in stream.feed(piece):
                assert item.line is None or len(item.line) <= 17
        list(stream.end())
    except Malformed:
        pass


@pytest.mark.parametrize("begin", [b"2026-10-11T22:14:15Z host app: text", b"19: text", b"{}", b"007 text"])
def test_a_line_that_begins_with_digits_is_no_count(begin: bytes) -> None:
    assert [item.line for item in SyslogStream().feed(begin + b"\nmore\n")] == [begin, b"more"]


@pytest.mark.parametrize("begin", [b"1000000000000 <1>a", b"5 abcde5x abcde", b"5 abcde0 ", b"5 abcde99999999999"])
def test_a_count_that_is_none_closes_the_connection(begin: bytes) -> None:
    with pytest.raises(Malformed):
        list(SyslogStream().feed(begin))


def test_a_huge_count_holds_nothing_beyond_the_longest_record() -> None:
    stream = SyslogStream(1000)
    assert list(stream.feed(b"999999999 ")) == []
    for _ in range(100):
        assert list(stream.feed(b"x" * 65536)) == []
    assert len(stream._held) == 1001


def test_a_counted_record_that_is_too_long_is_given_cut_and_the_next_is_whole() -> None:
    found = [item.line for item in SyslogStream(4).feed(b"9 123456789" + b"3 abc\n3 def")]
    assert found == [b"12345", b"abc", b"def"]


def test_an_endless_line_is_given_once_and_never_held() -> None:
    stream, given = SyslogStream(1000), []
    for _ in range(100):
        given += [item.line for item in stream.feed(b"x" * 65536)]
        assert len(stream._held) <= 1001
    assert given == [b"x" * 1001]
    assert [item.line for item in stream.feed(b"xx\nnext\n")] == [b"next"]


OPEN = b"1 open 51 relp_version=0\nrelp_software=x\ncommands=syslog,eventlog\n"
OPEN = b"1 open %d %s\n" % (len(OPEN[10:-1]), OPEN[10:-1])


@settings(max_examples=200, deadline=None)
@given(LINES, st.lists(st.integers(0, 800)))
def test_a_session_of_relp(lines: list[bytes], cuts: list[int]) -> None:
    stream = RelpStream()
    frames = b"".join(b"%d syslog %d %s\n" % (number, len(line), line) for number, line in enumerate(lines, 2))
    data = OPEN + frames + b"%d close 0\n" % (len(lines) + 2)
    items = [item for piece in pieces(data, cuts) for item in stream.feed(piece)]
    assert [item.line for item in items[1:-1]] == lines
    assert [item.number for item in items] == list(range(1, len(lines) + 3))
    assert items[0].reply.startswith(b"1 rsp ")
    assert b"\nrelp_version=0\n" in items[0].reply
    assert items[-1].last
    assert items[-1].reply.endswith(b"0 serverclose 0\n")


@pytest.mark.parametrize("data", [
    b"1 syslog 1 a\n", b"1 close 0\n", OPEN + OPEN, OPEN + b"2 syslog 3 abcd\n", OPEN + b"2 starttls 0\n", b"x open 1 a\n", b"1 open 99999999 a\n",
    b"1 open 1000000000000 a\n", b"1 open 14 relp_version=9\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + b"x" * 60, OPEN + b"\n\n",
])
def test_what_relp_does_not_know_closes_the_connection(data: bytes) -> None:
    with pytest.raises(Malformed):
        list(RelpStream().feed(data))


def test_a_frame_that_is_too_long_is_cut_and_the_next_is_whole() -> None:
    stream = RelpStream(4)
    items = list(stream.feed(OPEN + b"2 syslog 9 123456789\n3 syslog 3 abc\n"))
    assert [item.line for item in items[1:]] == [b"12345", b"abc"]
    assert stream.answer(items[1], "too long") == b"2 rsp 21 500 refused: too long\n"
    assert stream.answer(items[2], None) == b"3 rsp 6 200 OK\n"
