"""CSV (RFC 4180): values between commas, semicolons, tabs or bars, under a header line that names them."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

from tacit.logs.formats.base import KEYS, LONGEST, MOST_KEYS, TWICE, Event, TextLines, Unreadable, plain, whole
from tacit.logs.formats.zeek import flattened

_DELIMITERS = ",;\t|"
_NUMBER = re.compile(r"-?[0-9]{1,17}\.[0-9]{1,17}", re.ASCII)
_BREAKS = str.maketrans({"\n": " ", "\r": " ", "\0": " "})
_BOM = "\ufeff"
_NO_HEADER, _OPEN = "below a header that cannot be read", "a value that goes on in the next line"


class Csv(TextLines):
    """CSV whose first line names the columns.

    >>> found = Csv("csv").parse([b"user,port,share", b'"Keller, Anna",443,0.5', b"bob,,007"])
    >>> found.events
    [{'user': 'Keller, Anna', 'port': 443, 'share': 0.5}, {'user': 'bob', 'port': None, 'share': '007'}]

    What is the one spelling of an integer of 64 bits or of a floating-point number is a number, an empty value is ``None``, all else is text. The
    sign between values is found in the header. A column without a name is called by its place, ``column_1``. A line equal to the header is a header
    again.

    One object reads one file, from its beginning, and may write one. A value with a line break inside is refused, with all the lines it stands in: a
    line that began in the middle of a value would put values under wrong names.
    """

    def __init__(self, name: str, *, longest: int = LONGEST) -> None:
        super().__init__(name, longest=longest)
        self._line, self._delimiter = "", ","
        self._columns: tuple[str, ...] | None = None
        self._open = False
        self._allowed: frozenset[str] | None = None
        self._written: tuple[str, ...] | None = None
        self._due: list[bytes] = []

    def event_of(self, text: str) -> Event | None:
        """See `TextLines`."""
        if self._columns is None:
            self._header(text.removeprefix(_BOM))
            return None
        if self._open:
            self._open = text.count('"') % 2 == 0
            raise Unreadable(_OPEN)
        if text == self._line:
            return None
        columns = self._columns
        cells = self._cells(text)
        if not columns:
            raise Unreadable(_NO_HEADER)
        if len(cells) != len(columns):
            raise Unreadable("more or fewer values than columns")
        return dict(zip(columns, map(_read, cells), strict=True))

    def render(self, events: Sequence[Event]) -> list[bytes]:
        """See `LineFormat`; once the header is written, what has no column is left out."""
        flat = [dict(flattened(event)) for event in events]
        if not flat:
            return []
        if self._written is None:
            read = [name for name in self._columns or () if self._allowed is None or name in self._allowed]
            self._written = tuple(dict.fromkeys(read or [name for event in flat for name in event])) or ("empty",)
            self._due = [self._row(self._written)]
        columns = self._written
        return [self._row([plain(event.get(name)) for name in columns]) for event in flat]

    def blank(self) -> Event:
        """See `HeadedFormat`."""
        return dict.fromkeys(self._columns or ())

    def restrict(self, names: Iterable[str]) -> None:
        """See `HeadedFormat`."""
        self._allowed = frozenset(names)

    def head(self) -> list[bytes]:
        """See `HeadedFormat`."""
        due, self._due = self._due, []
        return due

    def _text(self, line: bytes) -> str:
        """A line that is no text may be the header, or begin or end a value as well as another."""
        try:
            return super()._text(line)
        except Unreadable:
            if self._columns is None:
                self._columns = ()
            self._open ^= line.count(b'"') % 2 == 1
            raise

    def _header(self, text: str) -> None:
        self._line, self._columns = text, ()
        outside = re.sub(r'"[^"]*"', "", text)
        self._delimiter = max(_DELIMITERS, key=outside.count)
        names = tuple(name or f"column_{place}" for place, name in enumerate(self._cells(text), 1))
        if len(names) > MOST_KEYS:
            raise Unreadable(KEYS)
        if len(set(names)) < len(names):
            raise Unreadable(TWICE)
        self._columns = names

    def _cells(self, text: str) -> list[str]:
        try:
            return next(csv.reader([text], delimiter=self._delimiter, strict=True))
        except csv.Error:
            pass
        self._open = text.count('"') % 2 == 1
        raise Unreadable(_OPEN if self._open else "values between quotation marks that are no CSV")

    def _row(self, cells: Sequence[str]) -> bytes:
        if len(cells) == 1 and not cells[0].strip():
            return b'""'
        return self._delimiter.join(map(self._quoted, cells)).encode("utf-8", "replace")

    def _quoted(self, cell: str) -> str:
        cell = cell.translate(_BREAKS)
        if '"' in cell or self._delimiter in cell or cell != cell.strip() or cell.startswith(_BOM):
            return '"' + cell.replace('"', '""') + '"'
        return cell


def _read(cell: str) -> Any:
    if not cell:
        return None
    if _NUMBER.fullmatch(cell):
        value = float(cell)
        return value if repr(value) == cell and math.isfinite(value) else cell
    return whole(cell)
