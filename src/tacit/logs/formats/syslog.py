"""Syslog of RFC 5424, and lines that are either that or the older syslog."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tacit.logs.formats.base import KEYS, LONGEST, MOST_KEYS, Event, TextLines, Unreadable, find_bare, once, plain, renamed
from tacit.logs.formats.bsd import BsdSyslog, message_text, parts_of, priority_text, word_of

_HEAD = re.compile(r"<([0-9]{1,3})>([1-9][0-9]{0,1}) (\S+) (\S+) (\S+) (\S+) (\S+) ", re.ASCII)
_NEW = re.compile(r"<[0-9]{1,3}>[1-9][0-9]? ", re.ASCII)
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:Z|[+-][0-9]{2}:[0-9]{2})", re.ASCII)
_ELEMENT, _PARAMETER = re.compile(r'\[([^ =\]"]{1,255})'), re.compile(r' ([^ =\]"]{1,255})="')
_ESCAPED, _TO_ESCAPE, _NOT_NAME = re.compile(r'\\(["\\\]])'), re.compile(r'(["\\\]])'), re.compile(r'[ \n\0=\]"]')
_FIELDS = ("hostname", "appname", "procid", "msgid")
_BOM = "\ufeff"


class Syslog(TextLines):
    """Syslog of RFC 5424.

    >>> Syslog("rfc5424").parse([b'<34>1 2026-10-11T22:14:15.003Z gate su - ID47 [origin ip="10.0.0.1"] refused']).events[0]["structured_data"]
    {'origin': {'ip': '10.0.0.1'}}

    Fields: priority, facility, severity and version (integers), timestamp, hostname, appname, procid, msgid, structured_data (element, parameter;
    a parameter that stands more than once is a list), message, and message_bom where the message says that it is UTF-8. What is ``-`` is absent.
    """

    breaks = True

    def event_of(self, text: str) -> Event:
        """See `TextLines`."""
        found = _HEAD.match(text)
        if found is None:
            raise Unreadable("no header of RFC 5424")
        event = parts_of(int(found[1])) | {"version": int(found[2])}
        if found[3] != "-":
            if not _TIME.fullmatch(found[3]):
                raise Unreadable("a time that RFC 3339 does not know")
            event["timestamp"] = found[3]
        for name, value in zip(_FIELDS, found.group(4, 5, 6, 7), strict=True):
            if value != "-":
                event[name] = value
        return event | self._data(text, found.end())

    def line_of(self, event: Event) -> str:
        """See `TextLines`."""
        version = event.get("version")
        version = version if type(version) is int and 1 <= version <= 99 else 1
        time = event.get("timestamp")
        words = " ".join("-" if (value := event.get(name)) is None else word_of(value) for name in _FIELDS)
        words = f"{time if type(time) is str and _TIME.fullmatch(time) else '-'} {words}"
        line = f"{priority_text(event, '<13>')}{version} {words} {data_text(event.get('structured_data'))}"
        message = event.get("message")
        if message is None:
            return line
        return f"{line} {_BOM if event.get('message_bom') is True else ''}{message_text(message)}"

    def _data(self, text: str, place: int) -> Event:
        event: Event = {}
        if text.startswith("-", place):
            place += 1
        else:
            elements: list[tuple[str, Any]] = []
            while text.startswith("[", place):
                name, parameters, place = _element(text, place)
                elements.append((name, parameters))
            if not elements:
                raise Unreadable("no structured data")
            if sum(1 + len(parameters) for _, parameters in elements) > MOST_KEYS:
                raise Unreadable(KEYS)
            event["structured_data"] = once(elements)
        if place == len(text):
            return event
        if text[place] != " ":
            raise Unreadable("no space before the message")
        message = text[place + 1 :]
        return event | ({"message": message[1:], "message_bom": True} if message.startswith(_BOM) else {"message": message})


class EitherSyslog(TextLines):
    """Lines each of which is syslog of RFC 5424 or of RFC 3164, as a listener meets them. What begins as the one is never read as the other."""

    breaks = True

    def __init__(self, name: str, *, longest: int = LONGEST) -> None:
        super().__init__(name, longest=longest)
        self._new, self._old = Syslog(name), BsdSyslog(name)

    def event_of(self, text: str) -> Event:
        """See `TextLines`."""
        return (self._new if _NEW.match(text) else self._old).event_of(text)

    def line_of(self, event: Event) -> str:
        """See `TextLines`."""
        new = any(name in event for name in ("version", "msgid", "structured_data"))
        return (self._new if new else self._old).line_of(event)


def data_text(data: Any) -> str:
    """Structured data as RFC 5424 writes it; ``-`` for none."""
    if type(data) is not dict or not data:
        return "-"
    return "".join(_element_text(name, parameters) for name, parameters in renamed(data, _name).items())


def _element(text: str, place: int) -> tuple[str, dict[str, Any], int]:
    """One element of structured data, and where what follows begins."""
    found = _ELEMENT.match(text, place)
    if found is None:
        raise Unreadable("structured data without a name")
    name, place = found[1], found.end()
    parameters: dict[str, Any] = {}
    while (found := _PARAMETER.match(text, place)) is not None:
        end = find_bare(text, '"', found.end())
        if end < 0:
            raise Unreadable("a value that never ends")
        value = text[found.end() : end]
        value = _ESCAPED.sub(r"\1", value) if "\\" in value else value
        former = parameters.setdefault(found[1], value)
        if former is not value:
            parameters[found[1]] = former = former if type(former) is list else [former]
            former.append(value)
        place = end + 1
    if not text.startswith("]", place):
        raise Unreadable("structured data that never ends")
    return name, parameters, place + 1


def _element_text(name: str, parameters: Any) -> str:
    pairs = renamed(parameters, _name) if type(parameters) is dict else {"value": parameters}
    return f"[{name}{''.join(_pair_texts(pairs.items()))}]"


def _pair_texts(pairs: Any) -> Iterator[str]:
    for key, values in pairs:
        for value in values if type(values) is list else [values]:
            yield f' {key}="{_TO_ESCAPE.sub(_escape, message_text(value))}"'


def _escape(found: re.Match[str]) -> str:
    return "\\" + found[1]


def _name(text: str) -> str:
    return _NOT_NAME.sub("_", plain(text))[:255] or "_"
