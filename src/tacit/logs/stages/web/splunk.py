"""Splunk's HTTP Event Collector: envelopes in a body, their events as a format, and the collector's own answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tacit.logs.formats import Damaged, Event, JsonLines, LineFormat, Parsed
from tacit.logs.formats.jsontext import library
from tacit.logs.stages.submissions import Unwrapped
from tacit.web import BodyError

TEXTS = {
    0: "Success", 2: "Token is required", 3: "Invalid authorization", 4: "Invalid token", 5: "No data", 6: "Invalid data format",
    8: "Internal server error", 9: "Server is busy", 12: "Event field is required", 13: "Event field cannot be blank", 14: "ACK is disabled",
    17: "HEC is healthy", 18: "HEC is unhealthy, queues are full", 23: "Server is shutting down", 24: "Request entity too large",
}
_NO_EVENT = "not an event of the collector"
_ABOUT = ("time", "host", "source", "sourcetype", "index")


class HecError(BodyError):
    """A body that the collector refuses; ``code`` is its own number for it, ``number`` the event's."""

    def __init__(self, code: int, number: int | None = None) -> None:
        super().__init__(400, TEXTS[code])
        self.code, self.number = code, number


def answer(code: int, *, number: int | None = None) -> bytes:
    """What the collector says.

    >>> answer(6, number=2)
    b'{"text": "Invalid data format", "code": 6, "invalid-event-number": 2}'
    """
    return json.dumps({"text": TEXTS[code], "code": code} | ({} if number is None else {"invalid-event-number": number})).encode()


def envelopes(body: bytes) -> list[bytes]:
    """The objects of a body, one after another, with or without space between them, or in one list.

    >>> envelopes(b'{"event":"a"}{"event":"b"}')
    [b'{"event":"a"}', b'{"event":"b"}']

    Raises:
        HecError: there is none, or one is wrong; nothing is taken then.
    """
    found = _by_lines(body)
    if found is None:
        found = _by_scanning(body)
    if not found:
        raise HecError(5)
    return found


def _by_lines(body: bytes) -> list[bytes] | None:
    """The usual case: an object per line. ``None`` if it is another."""
    load = library().loads
    lines = [line for line in body.split(b"\n") if line and not line.isspace()]
    for number, line in enumerate(lines):
        try:
            found = load(line)
        except ValueError:
            return None
        if type(found) is not dict:
            return None
        _check(found, number)
    return lines


def _by_scanning(body: bytes) -> list[bytes]:
    scan = json.JSONDecoder().raw_decode
    found: list[bytes] = []
    place = 0
    try:
        text = body.decode()
        while (place := _next(text, place)) < len(text):
            value, end = scan(text, place)
            for item in value if type(value) is list and not found else [value]:
                if type(item) is not dict:
                    raise HecError(6, len(found))
                _check(item, len(found))
                found.append(text[place:end].encode() if item is value else json.dumps(item).encode())
            place = end
    except (ValueError, RecursionError):
        raise HecError(6, len(found)) from None
    return found


def _next(text: str, place: int) -> int:
    while place < len(text) and text[place] in " \t\r\n":
        place += 1
    return place


def _check(envelope: dict[str, Any], number: int) -> None:
    if "event" not in envelope or envelope["event"] is None:
        raise HecError(12, number)
    if envelope["event"] == "":
        raise HecError(13, number)


class Envelopes:
    """The format of envelopes: an event that is an object is the event; one that is a text is a line of the policy's own format.

    Args:
        form: of the policy.
        about: whether what the envelope says (time, host, source, sourcetype, index, fields) goes with the event, as ``hec.time`` and so on.
    """

    name = "hec"

    def __init__(self, form: LineFormat, *, about: bool) -> None:
        self._form, self._about = form, about
        self.inner: LineFormat = form if isinstance(form, JsonLines) else JsonLines("hec")

    def parse(self, lines: Sequence[bytes]) -> Parsed:
        """See `LineFormat`."""
        json = library()
        heads: dict[int, dict[str, Any]] = {}
        inner: dict[bool, tuple[list[int], list[bytes]]] = {True: ([], []), False: ([], [])}
        found = Parsed()
        for place, line in enumerate(lines):
            try:
                heads[place] = json.loads(line)
                event = heads[place]["event"]
                whole = type(event) is dict
                content = json.dumps(event) if whole else event.encode()
            except (ValueError, KeyError, TypeError, AttributeError):
                found.damaged.append(Damaged(place, _NO_EVENT))
                continue
            inner[whole][0].append(place)
            inner[whole][1].append(content)
        events: list[tuple[int, Event]] = []
        for whole, (places, contents) in inner.items():
            parsed = (self.inner if whole else self._form).parse(contents)
            found.damaged += [Damaged(places[damaged.line], damaged.reason) for damaged in parsed.damaged]
            found.damaged += [Damaged(place, "blank") for place, content in zip(places, contents, strict=True) if not content.strip()]
            events += [(places[place], event) for place, event in zip(parsed.places, parsed.events, strict=True)]
        for place, event in sorted(events, key=lambda pair: pair[0]):
            found.places.append(place)
            found.events.append(event | {"hec": _head(heads[place])} if self._about else event)
        return found

    def unwrapped(self, records: Sequence[bytes]) -> Unwrapped | None:
        """See `Wrapping`: not where what the envelope says goes with the event, or an event is a text in another format than JSON."""
        json = library()
        found = Unwrapped()
        for place, record in enumerate(records):
            try:
                event = json.loads(record)["event"]
                content = json.dumps(event) if (whole := type(event) is dict) else event.encode()
            except (ValueError, KeyError, TypeError, AttributeError):
                found.damaged.append(Damaged(place, _NO_EVENT))
                continue
            if self._about or (not whole and self._form is not self.inner):
                return None
            if not content.strip():
                found.damaged.append(Damaged(place, "blank"))
                continue
            found.lines.append(content)
            found.places.append(place)
        return found

    def render(self, events: Sequence[Event]) -> list[bytes]:
        """See `LineFormat`."""
        return [bytes(library().dumps({"event": event})) for event in events]


def _head(envelope: dict[str, Any]) -> dict[str, Any]:
    head = {name: envelope[name] for name in _ABOUT if type(envelope.get(name)) in (str, int, float)}
    return head | ({"fields": envelope["fields"]} if type(envelope.get("fields")) is dict else {})
