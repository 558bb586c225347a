"""LEEF: events of security products as QRadar takes them, in a line of their own or behind a syslog header."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tacit.logs.formats.base import Event, TextLines, Unreadable, once, plain, renamed, whole
from tacit.logs.formats.cef import WRITE_HEADER, cells, header_of, header_text

_LEEF = re.compile(r"LEEF:([12]\.0)\|")
_NOT_ATTRIBUTE = re.compile(r"[=|\t\r\n]")
_LEEF_HEADER = ("vendor", "product", "product_version", "event_id")
_HEX = re.compile(r"0?x([0-9A-Fa-f]{1,4})")
LEEF_INTEGERS = frozenset({
    "sev", "srcPort", "dstPort", "srcPreNATPort", "dstPreNATPort", "srcPostNATPort", "dstPostNATPort", "srcBytes", "dstBytes", "totalBytes",
    "srcPackets", "dstPackets", "totalPackets"
})
"""Attributes that LEEF defines as integers."""


class Leef(TextLines):
    """IBM's Log Event Extended Format, version 1.0 or 2.0.

    >>> Leef("leef").parse([b"LEEF:2.0|Maker|Box|1.0|41|^|src=10.0.1.8^srcPort=81^usrName=anna"]).events[0]["attributes"]
    {'src': '10.0.1.8', 'srcPort': 81, 'usrName': 'anna'}

    Fields: version, vendor, product, product_version, event_id, delimiter (as written, in 2.0), attributes, and syslog where a header stands before.
    LEEF has no escapes in attributes, so a backslash there means itself.
    """

    def event_of(self, text: str) -> Event:
        """See `TextLines`."""
        found = _LEEF.search(text)
        if found is None:
            raise Unreadable("no LEEF header")
        event = header_of(text[: found.start()]) | {"version": found[1]}
        values, place = cells(text, found.end(), len(_LEEF_HEADER))
        event |= zip(_LEEF_HEADER, values, strict=True)
        if found[1] == "2.0":
            written = "|" if text.startswith("||", place) else text[place : max(text.find("|", place, place + 8), place)]
            if text.startswith("|", place + len(written)) and _delimiter(written) is not None:
                event["delimiter"], place = written, place + len(written) + 1
        delimiter = _delimiter(event.get("delimiter")) or "\t"
        attributes = once(_attributes(text[place:], delimiter))
        return event | {"attributes": attributes} if attributes else event

    def line_of(self, event: Event) -> str:
        """See `TextLines`."""
        written = event.get("delimiter")
        new = event.get("version") == "2.0" or (event.get("version") is None and written is not None)
        delimiter = _delimiter(written) if new else "\t"
        if delimiter is None:
            written, delimiter = None, "\t"
        head = "|".join(plain(event.get(name)).translate(WRITE_HEADER) for name in _LEEF_HEADER)
        given = event.get("attributes")
        fields = given if type(given) is dict else {} if given is None else {"attributes": given}
        pairs = renamed(fields, lambda key: _attribute(key, delimiter)).items()
        tail = delimiter.join(f"{key}={_value(value, delimiter)}" for key, value in pairs)
        middle = f"{written}|" if new and written is not None else ""
        return f"{header_text(event.get('syslog'), _LEEF)}LEEF:{'2.0' if new else '1.0'}|{head}|{middle}{tail}"


def _delimiter(written: Any) -> str | None:
    """The sign between attributes: as it stands, or its number in hexadecimal; a tab if nothing is said."""
    if written is None or written == "":
        return "\t"
    if type(written) is not str:
        return None
    found = _HEX.fullmatch(written)
    sign = chr(int(found[1], 16)) if found and len(written) > 1 else written
    return sign if len(sign) == 1 and sign not in "=\\\n\r\0" and not "\ud800" <= sign <= "\udfff" else None


def _attributes(text: str, delimiter: str) -> Iterator[tuple[str, Any]]:
    for piece in text.split(delimiter):
        if piece:
            key, equals, value = piece.partition("=")
            if not equals or not key or _NOT_ATTRIBUTE.search(key):
                raise Unreadable("an attribute without a key or a value")
            yield key, whole(value) if key in LEEF_INTEGERS else value


def _attribute(key: str, delimiter: str) -> str:
    return _NOT_ATTRIBUTE.sub("_", key).replace(delimiter, "_") or "_"


def _value(value: Any, delimiter: str) -> str:
    return plain(value).replace("\0", "").replace("\r", "\\r").replace("\n", "\\n").replace(delimiter, " ")
