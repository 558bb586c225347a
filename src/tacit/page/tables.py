"""A table as the macro that all pages share takes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table; the first cell names it."""

    cells: tuple[str, ...]
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table: caption, column heads and rows. A tight one stays a table on a phone, where others become cards."""

    caption: str
    heads: tuple[str, ...]
    rows: Sequence[Row]
    tight: bool = True
