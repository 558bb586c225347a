"""JSON lines (RFC 8259, one object per line), whatever schema the objects follow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tacit.logs.formats.base import BREAK, DEEP, LONGEST, NOT_UTF8, NUL, Damaged, Event, Parsed, plain, too_long
from tacit.logs.formats.exact import Exact
from tacit.logs.formats.jsontext import library

_TOGETHER, _MOST_BYTES = 512, 256 << 10
"""Lines and bytes that are checked at once: what the processor's cache holds."""


class JsonLines:
    """Objects, one per line. What could be read in two ways is refused: a key that stands in an object twice, an integer beyond 64 bits.

    >>> found = JsonLines("json").parse([b'{"port": 443}', b'[1]', b'{"port": 44', b'{"user": "a", "user": "b"}'])
    >>> found.events, [(damaged.line, damaged.reason) for damaged in found.damaged]
    ([{'port': 443}], [(1, 'not an object'), (2, 'not JSON'), (3, 'a key that stands twice')])

    Fractions become the nearest 64-bit floating-point number, as in every JSON reader.

    Args:
        name: of the schema, for people.
        longest: bytes of a line; a longer one is damaged.
        exact: look for keys that stand twice and for integers that would be rounded. Without it the last of the values counts, and such integers
            become floating-point numbers; neither can be seen in what is written.

    Raises:
        MissingExtra: if orjson is not installed.
    """

    def __init__(self, name: str, *, longest: int = LONGEST, exact: bool = True) -> None:
        json = library()
        self.name, self.longest = name, longest
        self._load, self._dump, self._error = json.loads, json.dumps, json.JSONDecodeError
        self._exact = Exact() if exact else None

    def reads_as(self, other: object) -> bool:
        """Whether the other format finds the same in the same lines."""
        return isinstance(other, JsonLines) and (self.longest, self._exact is None) == (other.longest, other._exact is None)

    def parse(self, lines: Sequence[bytes]) -> Parsed:
        """See `LineFormat`; empty lines are passed over."""
        found = Parsed()
        for begin in range(0, len(lines), _TOGETHER):
            self._pieces(lines[begin : begin + _TOGETHER], begin, found)
        return found

    def render(self, events: Sequence[Event]) -> list[bytes]:
        """See `LineFormat`; without spaces."""
        try:
            return list(map(self._dump, events))
        except TypeError:
            return [plain(event).encode("utf-8", "replace") for event in events]

    def _pieces(self, lines: Sequence[bytes], begin: int, found: Parsed) -> None:
        half = len(lines) // 2
        if half and sum(map(len, lines)) > _MOST_BYTES:
            self._pieces(lines[:half], begin, found)
            self._pieces(lines[half:], begin + half, found)
        else:
            self._some(lines, begin, found)

    def _some(self, lines: Sequence[bytes], begin: int, found: Parsed) -> None:
        load, error, longest = self._load, self._error, self.longest
        events: list[Event] = []
        places: list[int] = []
        damaged: list[Damaged] = []
        for place, line in enumerate(lines):
            if len(line) > longest:
                damaged.append(Damaged(begin + place, too_long(longest).reason))
                continue
            try:
                event: Any = load(line)
            except error as wrong:
                if line.strip():
                    damaged.append(Damaged(begin + place, _reason(line, str(wrong))))
                continue
            if type(event) is dict:
                events.append(event)
                places.append(place)
            else:
                damaged.append(Damaged(begin + place, "not an object"))
        kept = lines if len(places) == len(lines) else [lines[place] for place in places]
        bad = self._exact.bad(kept, events) if self._exact is not None else {}
        if bad:
            damaged += [Damaged(begin + places[number], reason) for number, reason in bad.items()]
            damaged.sort(key=lambda one: one.line)
            events = [event for number, event in enumerate(events) if number not in bad]
            places = [place for number, place in enumerate(places) if number not in bad]
        found.events += events
        found.places += [begin + place for place in places]
        found.damaged += damaged


def _reason(line: bytes, complaint: str) -> str:
    """Why a JSON reader stopped; its own complaint is only looked at, never repeated."""
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return NOT_UTF8
    if b"\0" in line:
        return NUL
    if complaint.startswith("depth limit"):
        return DEEP
    if b"\n" in line.strip():
        return BREAK
    if complaint.startswith(("no low surrogate", "no high surrogate", "lone", "unexpected high", "unexpected low")):
        return "half of a surrogate pair"
    return "a number too large" if complaint.startswith("number is infinity") else "not JSON"
