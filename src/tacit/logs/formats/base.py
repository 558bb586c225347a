"""What a format is: lines or files to events and back, with everything that cannot be read set apart and never passed through."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

Event = dict[str, Any]

LONGEST = 1 << 20
"""Bytes of the longest line that is read."""

DEEPEST = 100
"""Levels of objects and lists in the deepest event that is read."""

MOST_KEYS = 2_000
"""Keys of the largest event that is read, those of nested objects included."""

SMALLEST_INTEGER, LARGEST_INTEGER = -(1 << 63), (1 << 64) - 1
"""Integers that every part of the pipeline keeps exactly; beyond them JSON writers turn to floating point."""

_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,19}", re.ASCII)

TWICE = "a key that stands twice"
KEYS = f"more than {MOST_KEYS:,} keys"
DEEP = f"deeper than {DEEPEST} levels"
NUL = "holds a NUL"
BREAK = "a line break inside"
NOT_UTF8 = "not UTF-8"


def value_at(event: Any, path: Sequence[str]) -> Any:
    """What stands at a path, however it is spelled: flat, nested, or in between; ``None`` if nothing does.

    >>> [value_at(event, ["a", "b"]) for event in ({"a": {"b": 1}}, {"a.b": 2}, {"a": 3})]
    [1, 2, None]
    """
    if not path:
        return event
    for length in range(len(path), 0, -1):
        if isinstance(event, dict) and (key := ".".join(path[:length])) in event:
            found = value_at(event[key], path[length:])
            if found is not None:
                return found
    return None


@dataclass(frozen=True)
class Damaged:
    """A record that could not be read.

    Args:
        line: its place in the batch, from 0.
        reason: in public words, never its content.
    """

    line: int
    reason: str


@dataclass
class Parsed:
    """What a batch of records held. Every record but an empty line or a header is either an event or damaged.

    Args:
        events: in the order of the records.
        places: which record each event came from.
        damaged: records that gave no event.
    """

    events: list[Event] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    damaged: list[Damaged] = field(default_factory=list)


class Unreadable(Exception):
    """A record is not of its format. The reason is in public words, never its content."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class LineFormat(Protocol):
    """A format with one event per line."""

    name: str

    def parse(self, lines: Sequence[bytes]) -> Parsed:
        """Read lines (without or with their newline); never raises."""

    def render(self, events: Sequence[Event]) -> list[bytes]:
        """Write events, one line each, without newline."""


@runtime_checkable
class HeadedFormat(LineFormat, Protocol):
    """A format whose files begin with lines that say what the columns are. One object reads one file, from its beginning, and may write one."""

    def blank(self) -> Event:
        """An event with every column that was read, each ``None``: the header as an event, to be treated as one."""

    def restrict(self, names: Iterable[str]) -> None:
        """Write these columns of the header only, and such as events bring."""

    def head(self) -> list[bytes]:
        """The header lines that belong before what `render` wrote last; none where the file has them already."""


class TextLines:
    """What formats of text lines have in common: they refuse what is too long, no UTF-8, or holds NUL or a line break.

    A format gives `event_of` (which raises `Unreadable`) and `line_of`.

    Args:
        name: of the format.
        longest: bytes of a line; a longer one is damaged.
    """

    breaks = False
    """Whether a record may hold line breaks, as syslog over TCP with counted bytes may."""

    def __init__(self, name: str, *, longest: int = LONGEST) -> None:
        self.name, self._longest = name, longest

    def parse(self, lines: Sequence[bytes]) -> Parsed:
        """See `LineFormat`; empty lines are passed over."""
        found = Parsed()
        event_of, events, places, damaged = self.event_of, found.events, found.places, found.damaged
        for place, line in enumerate(lines):
            try:
                text = self._text(line)
                event = event_of(text) if text else None
            except Unreadable as error:
                damaged.append(Damaged(place, error.reason))
                continue
            if event is not None:
                events.append(event)
                places.append(place)
        return found

    def render(self, events: Sequence[Event]) -> list[bytes]:
        """See `LineFormat`; what the format has no place for is left out."""
        line_of = self.line_of
        return [line_of(event).encode("utf-8", "replace") for event in events]

    def event_of(self, text: str) -> Event | None:
        """The event of a line; nothing for a line that only describes others."""
        raise NotImplementedError

    def line_of(self, event: Event) -> str:
        """The line of an event."""
        raise NotImplementedError

    def _text(self, line: bytes) -> str:
        if len(line) > self._longest:
            raise too_long(self._longest)
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError:
            raise Unreadable(NOT_UTF8) from None
        text = text.rstrip("\r\n")
        if "\0" in text:
            raise Unreadable(NUL)
        if not self.breaks and ("\n" in text or "\r" in text):
            raise Unreadable(BREAK)
        return text if text.strip(" \t\r\n") else ""


def too_long(longest: int) -> Unreadable:
    """What is said of a line of more bytes than are read."""
    return Unreadable(f"longer than {longest:,} bytes")


def once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Pairs as an object.

    Raises:
        Unreadable: a key stands twice, or there are too many.
    """
    found: dict[str, Any] = {}
    for count, (key, value) in enumerate(pairs, 1):
        found[key] = value
        if len(found) < count:
            raise Unreadable(TWICE)
        if count > MOST_KEYS:
            raise Unreadable(KEYS)
    return found


def renamed(fields: Mapping[str, Any], name_of: Callable[[str], str]) -> dict[str, Any]:
    """Fields under the names that a format can write; of two that come to the same name the first is kept, as no format takes a name twice.

    >>> renamed({"a b": 1, "a_b": 2}, lambda name: name.replace(" ", "_"))
    {'a_b': 1}
    """
    found: dict[str, Any] = {}
    for name, value in fields.items():
        found.setdefault(name_of(name), value)
    return found


def whole(text: str) -> int | str:
    """An integer where the text is the one spelling of a 64-bit integer, else the text.

    >>> whole("443"), whole("0443"), whole("-0"), whole("99999999999999999999")
    (443, '0443', '-0', '99999999999999999999')
    """
    if _WHOLE.fullmatch(text):
        value = int(text)
        if SMALLEST_INTEGER <= value <= LARGEST_INTEGER:
            return value
    return text


def plain(value: Any, *, missing: str = "") -> str:
    """A value in a format that only has text: texts as they are, all else as JSON writes it."""
    if type(value) is str:
        return value
    if value is None:
        return missing
    if type(value) is int:
        return str(value)
    import json

    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def find_bare(text: str, sign: str, begin: int) -> int:
    r"""Where a sign next stands that no backslash escapes; -1 if nowhere. Each backslash is looked at once.

    >>> find_bare(r"a\|b|c", "|", 0), find_bare(r"a\\|", "|", 0), find_bare(r"\|", "|", 0)
    (4, 3, -1)
    """
    place, least = text.find(sign, begin), begin
    while place >= 0:
        first = place
        while first > least and text[first - 1] == "\\":
            first -= 1
        if (place - first) % 2 == 0:
            break
        place, least = text.find(sign, place + 1), place + 1
    return place
