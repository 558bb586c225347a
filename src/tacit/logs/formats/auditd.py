"""Records of the Linux audit daemon: ``type=SYSCALL msg=audit(1404170401.294:10): arch=c000003e ... comm="cat" exe=2F746D702F61``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tacit.logs.formats.base import KEYS, MOST_KEYS, Event, TextLines, Unreadable, once, plain, whole

_HEAD = re.compile(r"(?:node=(\S+) )?type=([A-Za-z0-9_\[\]]{1,64}) msg=audit\(([0-9]{1,20}\.[0-9]{1,9}):([0-9]{1,20})\): ?", re.ASCII)
_SPACE = re.compile(r"[\s\0]")
_TIME, _SERIAL = re.compile(r"[0-9]{1,20}\.[0-9]{1,9}", re.ASCII), re.compile(r"[0-9]{1,20}", re.ASCII)
_KEY = re.compile(r" ?((?:old |new )?[A-Za-z0-9_\-]{1,64})=")
_NEXT = re.compile(r" (?:old |new )?[A-Za-z0-9_\-]{1,64}=")
_END = re.compile(r" *(?:\Z|(?= (?:old |new )?[A-Za-z0-9_\-]{1,64}=))")
_CLOSING = {mark: re.compile(mark + r"(?= |\Z)") for mark in "\"'"}
_HEXADECIMAL = re.compile(r"(?:[0-9A-F]{2})+")
_ARGUMENT = re.compile(r"a[0-9]{1,4}(?:\[[0-9]{1,4}\])?")
_PERSON = re.compile(r"[A-Z]*[UG]ID")
_NEEDS_HEX = re.compile(r'[^!-~]|"')
_PLAIN = re.compile(r"[A-Za-z0-9_./:\-?,()+@#%*\[\]{}]+")
_NOT_KEY, _BREAK = re.compile(r"[^A-Za-z0-9_\-]"), re.compile(r"[\r\n\0\x1d]")
_NOTHING = ("(null)", "(none)", "?")
BARE, QUOTED, HEX, NESTED = "bare", "quoted", "hex", "nested"
WORDS, SPELLED, ENRICHED = "words", "spelled", "enriched"
_RESERVED = frozenset(("type", "node", "audit", WORDS, SPELLED, ENRICHED))
TEXTS = frozenset({
    "acct", "cgroup", "cmd", "comm", "cwd", "data", "dir", "exe", "file", "fp", "grp", "id_name", "key", "name", "new-disk", "ocomm",
    "old-disk", "path", "proctitle", "sw", "vm", "watch"
})
"""Fields with texts that others chose: the kernel puts them between quotation marks, or in hexadecimal where they hold more than plain signs."""


class Auditd(TextLines):
    """The audit daemon's records, raw or enriched.

    >>> event = Auditd("auditd").parse([b'type=PROCTITLE msg=audit(1604994496.155:92733): proctitle=617270002D61']).events[0]
    >>> event["type"], event["audit"], event["proctitle"]
    ('PROCTITLE', {'time': '1604994496.155', 'serial': 92733}, ['arp', '-a'])

    Fields: node, type, audit.time (as written), audit.serial (an integer), and those of the record, as text: numbers stay as they are written.
    Words before the first field are ``words``; ``msg='...'`` is nested. Hexadecimal texts are read; where NUL divides them they are lists. Fields not
    spelled as the kernel would spell them are named in ``spelled``, so that a line is written as it was read. What auditd adds for people (behind a
    group separator) is ``enriched``.
    """

    def event_of(self, text: str) -> Event:
        """See `TextLines`."""
        found = _HEAD.match(text)
        if found is None:
            raise Unreadable("no header of an audit record")
        raw, separator, enriched = text[found.end() :].partition("\x1d")
        spelled: dict[str, str] = {}
        head = {"type": found[2], "audit": {"time": found[3], "serial": whole(found[4])}}
        if found[1] is not None:
            head = {"node": found[1]} | head
        fields = once(_fields(raw, found[2] == "EXECVE", spelled))
        if not _RESERVED.isdisjoint(fields) and _RESERVED & fields.keys() != {WORDS}:
            raise Unreadable("a field named as another part of the record")
        event = head | fields
        if separator:
            event[ENRICHED] = once(_fields(enriched, False, spelled, ENRICHED + "."))
        if spelled:
            event[SPELLED] = spelled
        if len(event) + sum(len(value) for value in event.values() if type(value) is dict) > MOST_KEYS:
            raise Unreadable(KEYS)
        return event

    def line_of(self, event: Event) -> str:
        """See `TextLines`."""
        node, audit, how = event.get("node"), event.get("audit"), event.get(SPELLED)
        audit, how = (value if type(value) is dict else {} for value in (audit, how))
        time, serial = (shape.search(plain(audit.get(name))) for name, shape in (("time", _TIME), ("serial", _SERIAL)))
        line = "" if node is None else f"node={_SPACE.sub('_', plain(node)) or '_'} "
        kind = re.sub(r"[^A-Za-z0-9_\[\]]", "_", plain(event.get("type")))[:64] or "UNKNOWN"
        line += f"type={kind} msg=audit({time[0] if time else '0.000'}:{serial[0] if serial else '0'}): "
        fields = {name: value for name, value in event.items() if name == WORDS or name not in _RESERVED}
        line += _text(fields, how, kind == "EXECVE")
        enriched = event.get(ENRICHED)
        return f"{line}\x1d{_text(enriched, how, False, ENRICHED + '.')}" if type(enriched) is dict else line


def _fields(text: str, arguments: bool, spelled: dict[str, str], path: str = "") -> Iterator[tuple[str, Any]]:
    """The fields of a record; words that belong to no key stand with the value before them."""
    place, closings = 0, _Closings(text)
    if text.strip(" ") and _KEY.match(text) is None:
        following = _NEXT.search(text)
        place = following.start() if following else len(text)
        yield WORDS, text[:place]
    while (found := _KEY.match(text, place)) is not None:
        name = found[1]
        if name == WORDS:
            raise Unreadable("a field named as another part of the record")
        written, how, place = _written(text, found.end(), name, closings)
        value: Any = once(_fields(written, False, spelled, f"{path}{name}.")) if how == NESTED else _value(name, written, how, arguments)
        if how == BARE and value is not written:
            how = HEX
        if how != _usual(name, value, arguments):
            spelled[path + name] = how
        yield name, value


class _Closings:
    """Where quoted values may end: at a mark before a space or the end. The last answer is kept, so that hostile marks are looked at once."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._known: dict[str, tuple[int, int]] = {}

    def after(self, mark: str, place: int) -> int:
        """The first from a place on; -1 if there is none."""
        begin, end = self._known.get(mark, (0, -2))
        if begin <= place and (place <= end or end == -1):
            return end
        found = _CLOSING[mark].search(self._text, place)
        end = -1 if found is None else found.start()
        self._known[mark] = (place, end)
        return end


def _written(text: str, place: int, name: str, closings: _Closings) -> tuple[str, str, int]:
    """A value as written, how it is spelled, and where what follows begins."""
    mark = text[place : place + 1]
    if mark == '"' or (mark == "'" and name == "msg"):
        end = closings.after(mark, place + 1)
        after = _END.match(text, end + 1) if end >= 0 else None
        if after is not None:
            return text[place + 1 : end], QUOTED if mark == '"' else NESTED, after.end()
    following = _NEXT.search(text, place)
    end = following.start() if following else len(text)
    return text[place:end].rstrip(" "), BARE, end


def _value(name: str, written: str, how: str, arguments: bool) -> Any:
    """A value; the very same text where nothing had to be read."""
    if how != BARE or not _holds_text(name, arguments) or not _HEXADECIMAL.fullmatch(written):
        return written
    try:
        text = bytes.fromhex(written).decode("utf-8")
    except UnicodeDecodeError:
        return written
    return text.split("\0") if "\0" in text else text


def _holds_text(name: str, arguments: bool) -> bool:
    return name in TEXTS or (arguments and _ARGUMENT.fullmatch(name) is not None)


def _usual(name: str, value: Any, arguments: bool) -> str:
    """How a value is spelled where nothing else is said."""
    if type(value) is dict:
        return NESTED
    if not _holds_text(name, arguments):
        return QUOTED if _PERSON.fullmatch(name) else BARE
    text = _joined(value)
    if text in _NOTHING:
        return BARE
    return HEX if _NEEDS_HEX.search(text) else QUOTED


def _joined(value: Any) -> str:
    return "\0".join(map(plain, value)) if type(value) is list else plain(value)


def _text(fields: Event, how: Event, arguments: bool, path: str = "") -> str:
    """Fields as they stand in a record."""
    pieces: list[str] = []
    written: dict[str, str] = {}
    words = fields.get(WORDS)
    if words is not None:
        words = _BREAK.sub(" ", plain(words))
        pieces.append(words.replace("=", "_") if _KEY.match(words) or _NEXT.search(words) else words)
    for name, value in fields.items():
        if name != WORDS and value is not None:
            piece = _pair(name, value, how, arguments, path)
            written.setdefault(piece.partition("=")[0], piece)
    return " ".join([*pieces, *written.values()])


def _pair(name: str, value: Any, how: Event, arguments: bool, path: str) -> str:
    old, space, rest = name.partition(" ")
    key = f"{old} {_NOT_KEY.sub('_', rest)[:64]}" if space and old in ("old", "new") and rest else _NOT_KEY.sub("_", name)[:64] or "_"
    usual = _usual(name, value, arguments)
    if usual == NESTED:
        inner = _text(value, how, False, f"{path}{name}.")
        if key == "msg":
            return "msg='" + (inner.replace("'", "_") if "' " in inner else inner) + "'"
        value, usual = plain(value), BARE
    for form in (how.get(path + name), usual, HEX, QUOTED, BARE):
        written = _spelled(key, value, form, arguments)
        if written is not None:
            return f"{key}={written}"
    return key + '="' + _BREAK.sub(" ", plain(value)).replace('"', "'").replace("=", ":") + '"'


def _spelled(key: str, value: Any, form: Any, arguments: bool) -> str | None:
    """A value in one spelling; none if it would not be read back so."""
    text = _joined(value)
    if form == HEX:
        return text.encode("utf-8", "replace").hex().upper() if text and _holds_text(key, arguments) else None
    if type(value) is list or form not in (BARE, QUOTED):
        return None
    written = f'"{text}"' if form == QUOTED else text
    if form == QUOTED and _PLAIN.fullmatch(text):
        return written
    if _BREAK.search(text):
        return None
    for after in ("", " a=b"):
        line = f"{key}={written}{after}"
        found, how, end = _written(line, len(key) + 1, key, _Closings(line))
        if how != form or line[end:] != after or (_value(key, found, how, arguments) != text):
            return None
    return written
