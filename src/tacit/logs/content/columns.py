"""The values of one field over a batch of events, each different one once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tacit.logs.content.sources import Source
from tacit.logs.formats import Event

Mask = NDArray[np.bool_]
_DEEPEST = 100


@dataclass(eq=False)
class Column:
    """A field's values as texts.

    Args:
        events: how many events there are.
        texts: different values.
        rows: for each value in the events, which event.
        codes: for each value in the events, which of ``texts``.
    """

    events: int
    texts: list[str]
    rows: NDArray[np.int64]
    codes: NDArray[np.int64]

    def __post_init__(self) -> None:
        self.lows = [text.lower() for text in self.texts]
        self._exact: dict[str, list[int]] | None = None

    @property
    def present(self) -> Mask:
        """Which events have any value."""
        return self.spread(np.ones(len(self.texts), bool))

    def equal(self, low: str) -> Mask:
        """Which texts are this one, in lower case."""
        if self._exact is None:
            self._exact = {}
            for place, text in enumerate(self.lows):
                self._exact.setdefault(text, []).append(place)
        found = np.zeros(len(self.texts), bool)
        found[self._exact.get(low, [])] = True
        return found

    def spread(self, hit: Mask) -> Mask:
        """From texts to events: those with at least one text that was hit."""
        found = np.zeros(self.events, bool)
        found[self.rows[hit[self.codes]]] = True
        return found

    def by_event(self) -> dict[int, list[int]]:
        """For each event with values, which texts."""
        found: dict[int, list[int]] = {}
        for row, code in zip(self.rows.tolist(), self.codes.tolist(), strict=True):
            found.setdefault(row, []).append(code)
        return found


class Columns:
    """The fields of a batch, made when they are asked for.

    Args:
        events: the batch.
        source: how fields are called in it.
    """

    def __init__(self, events: Sequence[Event], source: Source) -> None:
        self.events, self._source = events, source
        self._made: dict[str | None, Column] = {}
        self._labels: dict[tuple[str, int], list[int]] = {}
        for row, event in enumerate(events):
            self._labels.setdefault(source.label(event), []).append(row)

    def labels(self) -> dict[tuple[str, int], list[int]]:
        """Events by channel and number."""
        return self._labels

    def of(self, field: str | None) -> Column:
        """The column of a field of a rule; without one, of every value of every field."""
        if field not in self._made:
            self._made[field] = self._make(field)
        return self._made[field]

    def _make(self, field: str | None) -> Column:
        places = [_starts(place.split(".")) for place in self._source.places(field)] if field is not None else []
        known: dict[str, int] = {}
        rows, codes = [], []
        for row, event in enumerate(self.events):
            for value in _everything(event) if field is None else _first(event, places):
                rows.append(row)
                codes.append(known.setdefault(_text(value), len(known)))
        return Column(len(self.events), list(known), np.array(rows, np.int64), np.array(codes, np.int64))


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value)) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else str(value)


_Starts = list[tuple[str, list[str]]]


def _starts(path: list[str]) -> _Starts:
    """All ways to begin a path: a key, and what is left of the path below it."""
    return [(".".join(path[:length]), path[length:]) for length in range(1, len(path) + 1)]


def _first(event: Event, places: Sequence[_Starts]) -> list[Any]:
    for starts in places:
        for key, rest in starts:
            if key in event:
                value = event[key]
                found = [value] if not rest and isinstance(value, str) else list(_reached(value, rest))
                if found:
                    return found
    return []


def _reached(value: Any, path: Sequence[str]) -> Iterator[Any]:
    """All scalars at a path, written flat or nested; lists on the way are gone into."""
    if isinstance(value, list):
        for item in value:
            yield from _reached(item, path)
    elif not path:
        if value is not None and not isinstance(value, dict):
            yield value
    elif isinstance(value, dict):
        for length in range(1, len(path) + 1):
            key = ".".join(path[:length])
            if key in value:
                yield from _reached(value[key], path[length:])


def _everything(event: Event) -> Iterator[Any]:
    waiting: list[tuple[Any, int]] = [(event, 0)]
    while waiting:
        value, depth = waiting.pop()
        if isinstance(value, dict | list):
            if depth < _DEEPEST:
                waiting.extend((inner, depth + 1) for inner in (value.values() if isinstance(value, dict) else value))
        elif value is not None:
            yield value
