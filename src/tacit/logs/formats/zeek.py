r"""Zeek's own logs: values between tabs, with header lines (``#separator``, ``#fields``, ``#types``) that say what they are."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tacit.logs.formats.base import KEYS, LONGEST, MOST_KEYS, TWICE, Event, TextLines, Unreadable, plain, whole
from tacit.logs.formats.escapes import unescaped

_DOUBLE = re.compile(r"-?[0-9]{1,400}(?:\.[0-9]{1,400})?(?:[eE][+-]?[0-9]{1,3})?", re.ASCII)
_MANY = re.compile(r"(?:set|vector|table)\[([a-z]{1,16})\]")
_KIND, _PATH = re.compile(r"[a-z]{1,16}(?:\[[a-z]{1,16}\])?"), re.compile(r"[a-z0-9_]{1,64}")
_WHOLES, _DOUBLES = frozenset(("count", "int", "port")), frozenset(("double", "time", "interval"))
_COMMA, _EMPTY, _UNSET = ",", "(empty)", "-"
_SIXTHS = frozenset(("time", "interval"))
_WRONG = "a value of another type than its column"


@dataclass
class _Layout:
    """What header lines say."""

    separator: str = "\t"
    between: str = ","
    empty: str = "(empty)"
    unset: str = "-"
    path: str | None = None
    fields: tuple[str, ...] = ()
    types: tuple[str, ...] = ()


class ZeekTsv(TextLines):
    r"""Logs of Zeek in its own format.

    >>> zeek = ZeekTsv("zeek")
    >>> lines = [b"#separator \\x09", b"#fields\tts\tid.orig_p\tservice", b"#types\ttime\tport\tset[string]", b"1.5\t443\tssl,http", b"2.0\t80\t-"]
    >>> zeek.parse(lines).events
    [{'ts': 1.5, 'id.orig_p': 443, 'service': ['ssl', 'http']}, {'ts': 2.0, 'id.orig_p': 80}]

    Types are those of the header: count, int and port are integers, time, interval and double are floating-point numbers, bool is a truth value,
    set and vector are lists, all else is text. An unset field is absent, as in Zeek's JSON.

    It remembers the header from batch to batch, so one object reads one file, from its beginning. It writes with tabs, commas, ``(empty)`` and ``-``
    whatever the separators of what it read, and has a new header where events bring fields or types that the last one lacks, as Zeek's readers allow.
    """

    def __init__(self, name: str, *, longest: int = LONGEST) -> None:
        super().__init__(name, longest=longest)
        self._layout = _Layout()
        self._readers: list[Callable[[str], Any]] = []
        self._allowed: frozenset[str] | None = None
        self._written: tuple[tuple[str, ...], tuple[str, ...]] | None = None
        self._due: list[bytes] = []

    def event_of(self, text: str) -> Event | None:
        """See `TextLines`."""
        if text.startswith("#"):
            self._header(text)
            return None
        layout = self._layout
        if not self._readers:
            raise Unreadable("no #fields and #types before it")
        cells = text.split(layout.separator)
        if len(cells) != len(self._readers):
            raise Unreadable("more or fewer values than fields")
        unset = layout.unset
        return {name: read(cell) for name, read, cell in zip(layout.fields, self._readers, cells, strict=True) if cell != unset}

    def render(self, events: Sequence[Event]) -> list[bytes]:
        """See `LineFormat`."""
        flat = [dict(flattened(event)) for event in events]
        if not flat:
            return []
        columns = self._columns(flat)
        if columns != self._written:
            self._written = columns
            self._due = [line.encode("utf-8", "replace") for line in self._head(*columns)]
        return [self._line(event, *columns).encode("utf-8", "replace") for event in flat]

    def blank(self) -> Event:
        """See `HeadedFormat`."""
        return dict.fromkeys(self._layout.fields)

    def restrict(self, names: Iterable[str]) -> None:
        """See `HeadedFormat`."""
        self._allowed = frozenset(names)

    def head(self) -> list[bytes]:
        """See `HeadedFormat`."""
        due, self._due = self._due, []
        return due

    def _header(self, text: str) -> None:
        layout = self._layout
        if text.startswith("#separator "):
            self._readers, sign = [], unescaped(text[11:])
            if len(sign) != 1 or sign in "#\\\r\n" or sign.isalnum():
                raise Unreadable("no such separator")
            self._layout = _Layout(separator=sign)
            return
        name, _, value = text.partition(layout.separator)
        if name == "#fields" or name == "#types":
            self._names(name, tuple(value.split(layout.separator)))
        elif name in ("#set_separator", "#empty_field", "#unset_field"):
            setattr(layout, {"#set_separator": "between", "#empty_field": "empty", "#unset_field": "unset"}[name], unescaped(value) or ",")
        elif name == "#path":
            layout.path = value if _PATH.fullmatch(value) else None
        elif name not in ("#open", "#close"):
            raise Unreadable("an unknown header line")

    def _names(self, kind: str, names: tuple[str, ...]) -> None:
        layout, names = self._layout, tuple(map(unescaped, names))
        if kind == "#fields":
            layout.fields, layout.types, self._readers = (), (), []
            if len(names) > MOST_KEYS:
                raise Unreadable(KEYS)
            if len(set(names)) < len(names) or not all(names):
                raise Unreadable(TWICE)
            layout.fields = names
        elif len(names) != len(layout.fields):
            raise Unreadable("more or fewer types than fields")
        elif not all(_KIND.fullmatch(name) for name in names):
            raise Unreadable("a type that Zeek does not know")
        else:
            layout.types = names
            self._readers = [_reader(name, layout) for name in names]

    def _columns(self, events: list[Event]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The columns last written, if they hold all of these events; else those of the header that was read, with what they lack."""
        layout, allowed = self._layout, self._allowed
        read = {name: kind for name, kind in zip(layout.fields, layout.types, strict=False) if allowed is None or name in allowed}
        known = {} if self._written is None else dict(zip(*self._written, strict=True))
        if not read.keys() <= known.keys():
            known = dict(read)
        for name in dict.fromkeys(name for event in events for name in event):
            values = [event[name] for event in events if event.get(name) is not None]
            kind = known.get(name) or read.get(name)
            if kind is None or not all(_fits(value, kind) for value in values):
                known[name] = _inferred(values)
        return tuple(known), tuple(known.values())

    def _head(self, fields: tuple[str, ...], types: tuple[str, ...]) -> Iterator[str]:
        yield from ("#separator \\x09", f"#set_separator\t{_COMMA}", f"#empty_field\t{_EMPTY}", f"#unset_field\t{_UNSET}")
        if self._layout.path is not None:
            yield f"#path\t{self._layout.path}"
        yield "\t".join(("#fields", *(_escaped(name, "\t") for name in fields)))
        yield "\t".join(("#types", *types))

    def _line(self, event: Event, fields: Iterable[str], types: Iterable[str]) -> str:
        line = "\t".join(_cell(event.get(name), kind) for name, kind in zip(fields, types, strict=True))
        return "\\x23" + line[1:] if line.startswith("#") else line


def _cell(value: Any, kind: str) -> str:
    if value is None:
        return _UNSET
    many = _MANY.fullmatch(kind)
    if many is None:
        return _EMPTY if value == "" else _one(value, kind, "\t")
    items = value if type(value) is list else [value]
    if not items:
        return _EMPTY
    cell = _COMMA.join(_UNSET if item is None else _one(item, many[1], "\t,") if item != "" else _EMPTY for item in items)
    return f"\\x{ord(cell[0]):02x}{cell[1:]}" if cell in (_EMPTY, _UNSET) and items != [None] else cell


def _one(value: Any, kind: str, signs: str) -> str:
    if kind == "bool" and type(value) is bool:
        return "T" if value else "F"
    if kind in _DOUBLES and type(value) is float:
        return _double(value, kind)
    text = plain(value)
    return f"\\x{ord(text[0]):02x}{text[1:]}" if text in (_UNSET, _EMPTY) else _escaped(text, signs)


def _escaped(text: str, signs: str) -> str:
    return "".join(_escape(sign) if sign < " " or sign in signs or sign in "\\\x7f" else sign for sign in text) if _unsafe(text, signs) else text


def flattened(event: Event, before: str = "") -> Iterator[tuple[str, Any]]:
    """The fields of an event under their paths.

    >>> dict(flattened({"id": {"orig_h": "10.0.0.1"}, "uid": "C1"}))
    {'id.orig_h': '10.0.0.1', 'uid': 'C1'}
    """
    for name, value in event.items():
        if type(value) is dict and value:
            yield from flattened(value, f"{before}{name}.")
        elif before + name:
            yield before + name, value


def _reader(kind: str, layout: _Layout) -> Callable[[str], Any]:
    many = _MANY.fullmatch(kind)
    if many is None:
        return _single(kind, layout)
    single, empty, between, unset = _single(many[1], layout), layout.empty, layout.between, layout.unset

    def read(cell: str) -> list[Any]:
        return [] if cell == empty else [None if item == unset else single(item) for item in cell.split(between)]

    return read


def _single(kind: str, layout: _Layout) -> Callable[[str], Any]:
    empty = layout.empty
    if kind in _WHOLES:
        return _read_whole
    if kind in _DOUBLES:
        return _read_double
    if kind == "bool":
        return _read_bool
    return lambda cell: "" if cell == empty else unescaped(cell)


def _read_whole(cell: str) -> int:
    value = whole(cell)
    if type(value) is not int:
        raise Unreadable(_WRONG)
    return value


def _read_double(cell: str) -> float:
    if not _DOUBLE.fullmatch(cell) or not math.isfinite(value := float(cell)):
        raise Unreadable(_WRONG)
    return value


def _read_bool(cell: str) -> bool:
    if cell not in ("T", "F"):
        raise Unreadable(_WRONG)
    return cell == "T"


def _double(value: float, kind: str) -> str:
    if not math.isfinite(value):
        return "0.0"
    text = f"{value:.6f}" if kind in _SIXTHS else repr(value)
    return text if float(text) == value and "e" not in text else format(Decimal(repr(value)), "f")


def _fits(value: Any, kind: str) -> bool:
    many = _MANY.fullmatch(kind)
    if many is not None:
        return type(value) is list and all(item is None or _fits(item, many[1]) for item in value)
    if kind in _WHOLES:
        return type(value) is int and (value >= 0 or kind == "int")
    if kind in _DOUBLES:
        return type(value) is float and math.isfinite(value)
    return type(value) is (bool if kind == "bool" else str)


def _inferred(values: list[Any]) -> str:
    """The narrowest type that holds all values."""
    kinds = {type(value) for value in values}
    if kinds == {list}:
        inner = _inferred([item for value in values for item in value if item is not None])
        return "vector[string]" if "[" in inner else f"vector[{inner}]"
    if kinds == {bool}:
        return "bool"
    if kinds == {int}:
        return "int" if min(values) < 0 else "count"
    return "double" if kinds == {float} else "string"


def _unsafe(text: str, signs: str) -> bool:
    return not text.isprintable() or "\\" in text or any(sign in text for sign in signs)


def _escape(sign: str) -> str:
    return "\\\\" if sign == "\\" else "".join(f"\\x{byte:02x}" for byte in sign.encode("utf-8", "replace"))
