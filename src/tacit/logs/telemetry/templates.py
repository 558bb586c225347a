"""Texts of many events at once: each event has a template, and each placeholder one string per event."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tacit.logs.telemetry.draws import Codes
from tacit.logs.telemetry.words import Weighted

Rows = NDArray[np.intp]
Fill = Callable[[str, Rows], pl.Series]
"""From a placeholder's name and rows to one string per row."""
_PLACEHOLDER = re.compile(r"<([A-Za-z_]+)>")


@cache
def parts_of(template: str) -> tuple[tuple[str, bool], ...]:
    """Literal texts and names of placeholders, in order.

    >>> parts_of("for <user> at <src>")
    (('for ', False), ('user', True), (' at ', False), ('src', True))
    """
    pieces = _PLACEHOLDER.split(template)
    return tuple((piece, bool(place % 2)) for place, piece in enumerate(pieces) if piece)


def choose(weighted: Weighted, shares: NDArray[np.float64]) -> Codes:
    """Which template each event takes, by its share in [0, 1)."""
    weights = np.cumsum([weight for weight, _ in weighted])
    return np.searchsorted(weights / weights[-1], shares, side="right").clip(0, len(weighted) - 1)


class Texts:
    """A column in the making: groups of events are written one after the other.

    Args:
        events: how many.
        fill: what placeholders stand for.
    """

    def __init__(self, events: int, fill: Fill) -> None:
        self._fill = fill
        self._pieces: list[pl.Series] = []
        self._rows: list[Rows] = []
        self._events = events

    def write(self, rows: Rows, weighted: Weighted, shares: NDArray[np.float64]) -> None:
        """Give each of ``rows`` a text; ``shares`` has one entry per row."""
        chosen = choose(weighted, shares)
        for place, (_, template) in enumerate(weighted):
            here = rows[chosen == place]
            if len(here):
                self._pieces.append(self._one(template, here))
                self._rows.append(here)

    def _one(self, template: str, rows: Rows) -> pl.Series:
        parts = parts_of(template)
        if not any(named for _, named in parts):
            return pl.Series([template]).new_from_index(0, len(rows))
        return joined([self._fill(text, rows) if named else text for text, named in parts])

    def series(self) -> pl.Series:
        """The column; null where nothing was written."""
        if not self._pieces:
            return pl.Series([None], dtype=pl.String).new_from_index(0, self._events)
        texts = pl.concat([pl.Series([None], dtype=pl.String), *self._pieces])
        place = np.zeros(self._events, np.uint32)
        place[np.concatenate(self._rows)] = np.arange(1, len(texts), dtype=np.uint32)
        return texts.gather(pl.Series(place))


def joined(parts: Sequence[Any], *, ignore_nulls: bool = False) -> pl.Series:
    """Strings and series of strings, one after the other, row by row; null where one of them is null, unless nulls are ignored."""
    return pl.select(pl.concat_str([pl.lit(part) for part in parts], ignore_nulls=ignore_nulls)).to_series()
