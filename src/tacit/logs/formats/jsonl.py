"""JSON lines (RFC 8259, one object per line), whatever schema the objects follow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tacit.logs.formats.base import LONGEST, Damaged, Event, Parsed
from tacit.logs.formats.jsontext import library


class JsonLines:
    """Objects, one per line. Of a key that stands in an object twice the last value counts; integers beyond 64 bits become floating-point numbers.

    >>> found = JsonLines("json").parse([b'{"port": 443}', b'[1]', b'{"port": 44'])
    >>> found.events, [(damaged.line, damaged.reason) for damaged in found.damaged]
    ([{'port': 443}], [(1, 'not an object'), (2, 'not JSON')])

    Args:
        name: of the schema, for people.
        longest: bytes of a line; a longer one is damaged.

    Raises:
        MissingExtra: if orjson is not installed.
    """

    def __init__(self, name: str, *, longest: int = LONGEST) -> None:
        json = library()
        self.name, self._longest = name, longest
        self._load, self._dump, self._error = json.loads, json.dumps, json.JSONDecodeError

    def parse(self, lines: Sequence[bytes]) -> Parsed:
        """See `LineFormat`; empty lines are passed over."""
        found = Parsed()
        load, error, longest, events, places = self._load, self._error, self._longest, found.events, found.places
        for place, line in enumerate(lines):
            if len(line) > longest:
                found.damaged.append(Damaged(place, f"longer than {longest:,} bytes"))
                continue
            try:
                event: Any = load(line)
            except error:
                if line.strip():
                    found.damaged.append(Damaged(place, _reason(line)))
                continue
            if type(event) is dict:
                events.append(event)
                places.append(place)
            else:
                found.damaged.append(Damaged(place, "not an object"))
        return found

    def render(self, events: Sequence[Event]) -> list[bytes]:
        """See `LineFormat`; without spaces."""
        return list(map(self._dump, events))


def _reason(line: bytes) -> str:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return "not UTF-8"
    return "not JSON"
