"""From lines to anonymised lines: what is read is treated, written, or put aside with the reason."""

from __future__ import annotations

import base64
import json
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol, Self

from tacit.errors import StorageError
from tacit.logs.anonymise import Anonymiser, Lines
from tacit.logs.formats import Event, HeadedFormat, LineFormat

LINES = 20_000
"""Lines treated at once from a file: more use the processor's cache worse."""


@dataclass
class Tally:
    """What happened to the records of a run."""

    read: int = 0
    written: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    """Records put aside, by reason."""
    unknown: Counter[str] = field(default_factory=Counter)
    """Fields left out because the policy does not name them, by path."""


class DeadLetters:
    """Records that could not be treated, as they came, with the reason: one JSON object per line, in a file that nobody else can read.

    Raises:
        StorageError: it cannot be written.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._file: IO[bytes] | None = None

    def open(self) -> IO[bytes]:
        """The file; made now if it is not there, so that a wrong name is noticed before anything is read."""
        if self._file is None:
            try:
                self._file = os.fdopen(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")
            except OSError as error:
                raise self._failed(error) from error
        return self._file

    def add(self, record: bytes, *, line: int, reason: str) -> None:
        """Keep one record."""
        try:
            self.open().write(letter(record, reason=reason, line=line).encode() + b"\n")
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> StorageError:
        return StorageError(f"Cannot write the dead letters {self._path}: {error.strerror}. Name another file with --dead-letters.")

    def flush(self) -> None:
        """Bring everything to the disk."""
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()


def letter(record: bytes, *, reason: str, line: int | None = None) -> str:
    """A dead letter as JSON: the record as it came, why it could not be treated, and which line it was if that is known.

    >>> letter(b"{", reason="no JSON", line=3)
    '{"line": 3, "reason": "no JSON", "record": "{"}'
    """
    try:
        content = {"record": record.decode("utf-8")}
    except UnicodeDecodeError:
        content = {"record_base64": base64.b64encode(record).decode("ascii")}
    return json.dumps(({} if line is None else {"line": line}) | {"reason": reason} | content)


class Letters(Protocol):
    """Where dead letters go."""

    def add(self, record: bytes, *, line: int, reason: str) -> None:
        """Keep one record."""

    def flush(self) -> None:
        """Make it durable."""


class Sink(Protocol):
    """Where treated events go."""

    def write(self, anonymiser: Anonymiser, events: Iterable[Event]) -> tuple[int, list[tuple[int, str]], Counter[str]]:
        """Treat and write a batch; returns how many were written, which were refused and why, and the unknown fields."""


class LinesSink:
    """JSON lines to a file or a pipe."""

    def __init__(self, file: IO[bytes], *, flush: bool = False) -> None:
        self._file, self._flush = file, flush

    def write(self, anonymiser: Anonymiser, events: Iterable[Event]) -> tuple[int, list[tuple[int, str]], Counter[str]]:
        """See `Sink`."""
        treated = anonymiser.block(events)
        self._file.write(treated.events[0])
        if self._flush:
            self._file.flush()
        return len(treated.places), treated.refused, treated.unknown


class FormatSink:
    """Lines in the format that was read. A header is treated as an event is, so that columns the policy does not name are not written.

    Earlier pseudonyms of an overlap have no place in such lines; they are written with JSON only.
    """

    def __init__(self, file: IO[bytes], form: LineFormat, *, flush: bool = False) -> None:
        self._file, self._form, self._flush = file, form, flush

    def write(self, anonymiser: Anonymiser, events: Iterable[Event]) -> tuple[int, list[tuple[int, str]], Counter[str]]:
        """See `Sink`."""
        treated = anonymiser.batch(events)
        form, head = self._form, []
        if isinstance(form, HeadedFormat):
            blank = anonymiser.batch([form.blank()]).events
            form.restrict(blank[0] if blank else ())
            lines = form.render(treated.events)
            head = form.head()
        else:
            lines = form.render(treated.events)
        if lines:
            self._file.write(b"\n".join([*head, *lines]) + b"\n")
        if self._flush:
            self._file.flush()
        return len(lines), treated.refused, treated.unknown


def run(batches: Iterable[list[bytes]], form: LineFormat, anonymiser: Anonymiser, *, sink: Sink, dead: Letters) -> Tally:
    """Treat everything, batch after batch.

    Args:
        batches: lines without their newlines.
        form: how they are written.
        anonymiser: policy and key.
        sink: where the events go.
        dead: where goes what cannot be read or is refused.
    """
    tally = Tally()
    for lines in batches:
        reader = Lines(lines, form)
        written, refused, unknown = sink.write(anonymiser, reader)
        for place, reason in [*reader.damaged, *((reader.places[place], reason) for place, reason in refused)]:
            dead.add(lines[place], line=tally.read + place + 1, reason=reason)
            tally.refused[reason] += 1
        tally.read += len(lines)
        tally.written += written
        tally.unknown.update(unknown)
    dead.flush()
    return tally


def learn(batches: Iterable[list[bytes]], form: LineFormat, anonymiser: Anonymiser, *, everywhere: bool = False) -> int:
    """A pass that only enters names into the dictionary; returns how many it holds. See `Anonymiser.learn`."""
    for lines in batches:
        anonymiser.learn(Lines(lines, form), everywhere=everywhere)
    return len(anonymiser.tools.identities)
