"""Lines of a format as the events they hold, read while they are taken."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tacit.logs.formats import Event, LineFormat

_TOGETHER = 512


class Lines:
    """The events of a batch of lines, read while they are taken; each is free again as soon as it was used.

    >>> from tacit.logs.formats import by_name
    >>> lines = Lines([b'{"a": 1}', b'{"a"', b'{"a": 2}'], by_name("json"))
    >>> list(lines), lines.places, lines.damaged
    ([{'a': 1}, {'a': 2}], [0, 2], [(1, 'not JSON')])

    Args:
        lines: without or with their newlines.
        form: how they are written.
    """

    def __init__(self, lines: list[bytes], form: LineFormat) -> None:
        self.lines, self.form = lines, form
        self.places: list[int] = []
        """Which line each event came from."""
        self.damaged: list[tuple[int, str]] = []
        """Lines that gave no event, with the reason."""

    def __iter__(self) -> Iterator[Event]:
        yield from self.some(range(len(self.lines)))

    def some(self, places: Sequence[int]) -> Iterator[Event]:
        """The events of some of the lines only."""
        for begin in range(0, len(places), _TOGETHER):
            own = places[begin : begin + _TOGETHER]
            parsed = self.form.parse([self.lines[place] for place in own])
            self.places += [own[place] for place in parsed.places]
            self.damaged += [(own[damaged.line], damaged.reason) for damaged in parsed.damaged]
            yield from parsed.events

    def forget(self) -> None:
        """As if nothing had been read yet."""
        self.places, self.damaged = [], []
