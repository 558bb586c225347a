r"""Whether JSON says one thing only: no key twice, no integer that a reader rounds, no NUL, not too deep, not too many keys.

A fast JSON reader keeps the last of two values of a key and turns an integer beyond 64 bits into a floating-point number, and says neither. To look
at every key again in Python costs as much as reading. Three steps, each for what the former cannot clear:

1. A batch that is written again byte for byte as it was read has neither: the writer never writes a key twice, nor an integer beyond 64 bits. Most
   shippers write as our writer does.
2. Otherwise the signs ``":`` are counted on both sides, spaces left out. Where no ``\u0022``, ``\u003a`` or ``\u0020`` stands in the text,
   each of them is the end of a key or part of a text, in what was read as in what is written; so there are fewer in what is written only if a key
   was dropped.
3. What is left is read by a slow and exact reader, line by line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from tacit.logs.formats.base import DEEP, DEEPEST, KEYS, LARGEST_INTEGER, MOST_KEYS, NUL, SMALLEST_INTEGER, Event, Unreadable, once
from tacit.logs.formats.jsontext import library

ROUNDED = "an integer beyond 64 bits"
_MOST_SMALL = 5 * MOST_KEYS
"""Bytes in which too many keys do not fit: a key takes five, ``"":0,``."""
_DIGITS = bytes.maketrans(b"0123456789", b"0" * 10)
_LONG = b"0" * 19
_LONG_NUMBER = re.compile(rb"(?<![0-9.eE+])[0-9]{19,}")
_SPACE = b" \t\r\n"
_CODES = (b"\\u0022", b"\\u0020", b"\\u003a", b"\\u003A")
_FEW = 8


class Exact:
    """The check, for batches of lines that a JSON reader took as objects.

    >>> Exact().bad([b'{"a":1}', b'{"a":1,"b":[{"c":1,"c":2}]}'], [{"a": 1}, {"a": 1, "b": [{"c": 2}]}])
    {1: 'a key that stands twice'}

    Raises:
        MissingExtra: if orjson is not installed.
    """

    def __init__(self) -> None:
        self._dump = library().dumps

    def bad(self, lines: Sequence[bytes], events: Sequence[Event]) -> dict[int, str]:
        """Which of the events are to be refused, and why."""
        if lines and lines[0][-1:].isspace():
            lines = [line.strip() for line in lines]
        found = _large(lines, events)
        if not found:
            return dict(self._search(lines, events, 0))
        kept = [number for number in range(len(lines)) if number not in found]
        inner = self._search([lines[number] for number in kept], [events[number] for number in kept], 0)
        return found | {kept[number]: reason for number, reason in inner}

    def _search(self, lines: Sequence[bytes], events: Sequence[Event], first: int) -> Iterator[tuple[int, str]]:
        """Half by half, so that one line that takes the slow reader does not take all others there."""
        if not events or self._same(lines, events):
            return
        if len(lines) <= _FEW:
            for number, line in enumerate(lines):
                if (reason := self._one(line, events[number])) is not None:
                    yield first + number, reason
            return
        half = len(lines) // 2
        yield from self._search(lines[:half], events[:half], first)
        yield from self._search(lines[half:], events[half:], first + half)

    def _same(self, lines: Sequence[bytes], events: Sequence[Event]) -> bool:
        """Whether the first two steps clear all of it."""
        text = b"[" + b",".join(lines) + b"]"
        codes = b"\\u00" in text
        if codes and b"\\u0000" in text:
            return False
        written = self._dump(events)
        if written == text:
            return True
        bare = text.translate(_DIGITS, _SPACE)
        if bare.count(b'":') != written.translate(None, _SPACE).count(b'":') or (codes and any(code in text for code in _CODES)):
            return False
        return _LONG not in bare or not _long_numbers(text)

    def _one(self, line: bytes, event: Event) -> str | None:
        line = line.strip()
        if b"\\u0000" not in line and self._dump(event) == line:
            return None
        return slowly(line)


def slowly(line: bytes) -> str | None:
    """Why an object is refused, as a slow and exact reader sees it."""
    try:
        value = json.loads(line, object_pairs_hook=once, parse_int=_integer)
    except Unreadable as error:
        return error.reason
    except (ValueError, RecursionError):
        return "not JSON"
    return NUL if any("\0" in text for text in _texts(value)) else None


def shape(value: Any) -> str | None:
    """Why an event is refused for its depth or its keys, if it is."""
    level, keys, depth = [value], 0, 0
    while level := [item for item in level if type(item) is dict or type(item) is list]:
        depth += 1
        keys += sum(len(item) for item in level if type(item) is dict)
        if depth > DEEPEST:
            return DEEP
        if keys > MOST_KEYS:
            return KEYS
        level = [inner for item in level for inner in (item.values() if type(item) is dict else item)]
    return None


def _large(lines: Sequence[bytes], events: Sequence[Event]) -> dict[int, str]:
    """Events with too many levels or keys; only those are looked at whose text has room for as many."""
    large = [number for number, line in enumerate(lines) if len(line) > _MOST_SMALL or line.count(b"{") + line.count(b"[") > DEEPEST]
    return {number: reason for number in large if (reason := shape(events[number])) is not None}


def _long_numbers(text: bytes) -> bool:
    """Whether an integer beyond 64 bits may stand in the text, which takes nineteen digits in a row."""
    return any(_too_large(text, found.start(), found.end()) for found in _LONG_NUMBER.finditer(text))


def _too_large(text: bytes, start: int, end: int) -> bool:
    """Whether a run of digits is an integer beyond 64 bits, unless it stands inside a text."""
    size, before = end - start, text[start - 1 : start]
    if before == b"-":
        return size > 19 or (size == 19 and text[start:end] > b"9223372036854775808")
    return before in b"[,: \t\r\n" and (size > 20 or (size == 20 and text[start:end] > b"18446744073709551615"))


def _integer(text: str) -> int:
    value = int(text) if len(text) <= 20 else LARGEST_INTEGER + 1
    if not SMALLEST_INTEGER <= value <= LARGEST_INTEGER:
        raise Unreadable(ROUNDED)
    return value


def _texts(value: Any) -> Iterator[str]:
    level = [value]
    while level:
        inner: list[Any] = []
        for item in level:
            if type(item) is dict:
                yield from item
                inner += item.values()
            elif type(item) is list:
                inner += item
            elif type(item) is str:
                yield item
        level = inner
