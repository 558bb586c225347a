"""What callers submit, and the lines and events of a batch of submissions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from tacit.logs.anonymise import Lines
from tacit.logs.formats import Damaged, Event, JsonLines, LineFormat

IDENTIFIER = "tacit.id"
_IDENTIFIER = IDENTIFIER.encode()


@dataclass(frozen=True)
class Receipt:
    """What became of a submission, once it is durable.

    Args:
        written: events that every outlet holds.
        refused: places of lines that were put aside, with the reason, in order. They are in the dead letters.
    """

    written: int
    refused: tuple[tuple[int, str], ...] = ()


@dataclass(eq=False)
class Work:
    """What one caller has submitted."""

    lines: Sequence[bytes]
    form: LineFormat
    size: int
    marks: Sequence[bytes] | None = None
    future: Future[Receipt] = field(default_factory=Future)
    refused: list[tuple[int, str]] = field(default_factory=list)
    written: int = 0


@dataclass
class Batch:
    """Events of a batch, with the submission and the line of each."""

    events: list[Event] = field(default_factory=list)
    works: list[Work] = field(default_factory=list)
    places: list[int] = field(default_factory=list)

    def refuse(self, event: int, reason: str) -> None:
        """Note with its submission that an event is put aside."""
        self.works[event].refused.append((self.places[event], reason))


@dataclass
class Unwrapped:
    """JSON lines out of records of another kind: which record each came from, and the records that hold none."""

    lines: list[bytes] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    damaged: list[Damaged] = field(default_factory=list)


@runtime_checkable
class Wrapping(Protocol):
    """A format whose records may hold JSON lines."""

    inner: LineFormat

    def unwrapped(self, records: Sequence[bytes]) -> Unwrapped | None:
        """What they hold; nothing if an event is more than its line, or is written otherwise."""


class Together(Lines):
    """The lines of several submissions as one batch; `of` gives them.

    Args:
        own: whether a field ``tacit.id`` is taken out of them.
    """

    def __init__(self, form: LineFormat, *, own: bool) -> None:
        super().__init__([], form)
        self._own = own
        self._origins: list[tuple[Work, int]] = []
        self._unread: list[tuple[Work, Damaged]] = []

    @classmethod
    def of(cls, works: Sequence[Work], *, own: bool) -> Together | None:
        """The lines of submissions, if all of them are JSON."""
        found: Together | None = None
        for work in works:
            inner = work.form.inner if isinstance(work.form, Wrapping) else work.form
            if not isinstance(inner, JsonLines) or (found is not None and not inner.reads_as(found.form)):
                return None
            held = work.form.unwrapped(work.lines) if isinstance(work.form, Wrapping) else Unwrapped(list(work.lines), list(range(len(work.lines))))
            if held is None:
                return None
            found = found or cls(inner, own=own)
            found._add(work, held)
        return found

    def some(self, places: Sequence[int]) -> Iterator[Event]:
        """See `Lines`."""
        for event in super().some(places):
            if self._own:
                event.pop(IDENTIFIER, None)
            yield event

    def batch(self) -> Batch:
        """Where every event came from, once they were read; damaged lines are noted with their submissions."""
        for work, damaged in self._unread:
            work.refused.append((damaged.line, damaged.reason))
        for place, reason in self.damaged:
            work, line = self._origins[place]
            work.refused.append((line, reason))
        origins = [self._origins[place] for place in self.places]
        return Batch([], [work for work, _ in origins], [line for _, line in origins])

    def _add(self, work: Work, held: Unwrapped) -> None:
        lines = [self._without(line) if _IDENTIFIER in line else line for line in held.lines] if self._own else held.lines
        self.lines += lines
        self._origins += [(work, place) for place in held.places]
        self._unread += [(work, damaged) for damaged in held.damaged]

    def _without(self, line: bytes) -> bytes:
        """A line without the identifier that it bears already, so that compiled code need not know of it."""
        events = self.form.parse([line]).events
        if not events or IDENTIFIER not in events[0]:
            return line
        return self.form.render([{name: value for name, value in events[0].items() if name != IDENTIFIER}])[0]


def read(works: Sequence[Work], *, own: bool) -> Batch:
    """The events of all submissions; damaged lines are noted with theirs.

    Args:
        works: the submissions.
        own: take out what already bears the names that are added.
    """
    batch = Batch()
    for work in works:
        parsed = work.form.parse(work.lines)
        if own:
            for event in parsed.events:
                event.pop(IDENTIFIER, None)
        batch.events += parsed.events
        batch.places += parsed.places
        batch.works += [work] * len(parsed.events)
        work.refused += [(damaged.line, damaged.reason) for damaged in parsed.damaged]
    return batch
