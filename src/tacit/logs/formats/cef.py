"""CEF: events of security products, in a line of their own or behind a syslog header."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tacit.logs.formats.base import Event, TextLines, Unreadable, find_bare, once, plain, renamed, whole
from tacit.logs.formats.syslog import EitherSyslog

_CEF = re.compile(r"CEF:([0-9]+(?:\.[0-9]+)?)\|", re.ASCII)
_SHORT = re.compile(r"(<[0-9]{1,3}>1 \S+ \S+ )\Z", re.ASCII)
_KEY = re.compile(r"(?:\A| )([A-Za-z0-9_.\-\[\]]{1,256})=")
_NOT_KEY = re.compile(r"[^A-Za-z0-9_.\-\[\]]")
_HEADER = ("device_vendor", "device_product", "device_version", "device_event_class_id", "name", "severity")
_PIPES, _VALUES = re.compile(r"\\([\\|])"), re.compile(r"\\([\\=nr|])")
_READ = {"n": "\n", "r": "\r"}
_WRITE = str.maketrans({"\\": "\\\\", "=": "\\=", "\n": "\\n", "\r": "\\r", "\0": ""})
WRITE_HEADER = str.maketrans({"\\": "\\\\", "|": "\\|", "\n": " ", "\r": " ", "\0": ""})
"""How a header field is written."""
CEF_INTEGERS = frozenset({
    "cnt", "cn1", "cn2", "cn3", "destinationTranslatedPort", "deviceDirection", "dpid", "dpt", "dvcpid", "fsize", "flexNumber1",
    "flexNumber2", "in", "oldFileSize", "out", "sourceTranslatedPort", "spid", "spt", "type"
})
"""Keys to which the CEF dictionary gives an integer type."""


class Cef(TextLines):
    r"""ArcSight's Common Event Format, version 0 or 1.

    >>> event = Cef("cef").parse([b"Oct 11 22:14:15 gw CEF:0|Maker|Box|1.0|100|worm \\| stopped|10|src=10.0.0.1 spt=1232 msg=a \\= b"]).events[0]
    >>> event["syslog"]["hostname"], event["name"], event["extension"]
    ('gw', 'worm | stopped', {'src': '10.0.0.1', 'spt': 1232, 'msg': 'a = b'})

    Fields: version (an integer where it is one), device_vendor, device_product, device_version, device_event_class_id, name, severity, extension, and
    syslog where a header stands before. Keys with an integer type in the CEF dictionary are integers, all else is text.
    """

    def event_of(self, text: str) -> Event:
        """See `TextLines`."""
        found = _CEF.search(text)
        if found is None:
            raise Unreadable("no CEF header")
        event = header_of(text[: found.start()]) | {"version": whole(found[1])}
        values, place = cells(text, found.end(), len(_HEADER))
        event |= zip(_HEADER, values, strict=True)
        extension = text[place:].lstrip(" ")
        if extension:
            event["extension"] = once(_pairs(extension))
        return event

    def line_of(self, event: Event) -> str:
        """See `TextLines`."""
        head = "|".join(plain(event.get(name)).translate(WRITE_HEADER) for name in _HEADER)
        extension = event.get("extension")
        pairs = renamed(extension, _key) if type(extension) is dict else {} if extension is None else {"extension": extension}
        tail = " ".join(f"{key}={plain(value).translate(_WRITE)}" for key, value in pairs.items())
        return f"{header_text(event.get('syslog'), _CEF)}CEF:{_number(event.get('version'), '0')}|{head}|{tail}"


def header_of(text: str) -> Event:
    """What stands before the event proper, as syslog.

    Raises:
        Unreadable: it is none.
    """
    if not text:
        return {}
    short = _SHORT.fullmatch(text)
    try:
        return {"syslog": _EITHER.event_of(f"{text}- - - - " if short else text)}
    except Unreadable:
        raise Unreadable("text before it that is no syslog header") from None


def header_text(syslog: Any, mark: re.Pattern[str]) -> str:
    """The syslog header, with the space that ends it; nothing where there is none. What looks like the mark of the event proper is made unlike it."""
    if type(syslog) is not dict or not syslog:
        return ""
    if "message" not in syslog:
        syslog = syslog | {"message": ""}
    return mark.sub("|", _EITHER.line_of(syslog))


def cells(text: str, place: int, count: int) -> tuple[list[str], int]:
    """So many header fields, and where what follows begins; a last one may end the line."""
    values = []
    for number in range(count):
        end = find_bare(text, "|", place)
        if end < 0 and number < count - 1:
            raise Unreadable("a header with too few fields")
        value = text[place:end] if end >= 0 else text[place:]
        values.append(_PIPES.sub(r"\1", value) if "\\" in value else value)
        place = end + 1 if end >= 0 else len(text)
    return values, place


def _pairs(text: str) -> Iterator[tuple[str, Any]]:
    key, begin = None, 0
    for found in _KEY.finditer(text):
        if key is None and found.start():
            break
        if key is not None:
            yield key, _read(key, text[begin : found.start()])
        key, begin = found[1], found.end()
    if key is None:
        raise Unreadable("an extension that begins with no key")
    yield key, _read(key, text[begin:])


def _read(key: str, value: str) -> Any:
    if "\\" in value:
        return _VALUES.sub(_unescaped, value)
    return whole(value) if key in CEF_INTEGERS else value


def _unescaped(found: re.Match[str]) -> str:
    return _READ.get(found[1], found[1])


def _key(key: str) -> str:
    return _NOT_KEY.sub("_", key)[:256] or "_"


def _number(version: Any, default: str) -> str:
    text = plain(version)
    return text if re.fullmatch(r"[0-9]{1,9}(?:\.[0-9]{1,9})?", text, re.ASCII) else default


_EITHER = EitherSyslog("syslog")
