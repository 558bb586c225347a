"""What became of a batch of events."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any


@dataclass(eq=False)
class Outcome:
    """What became of a batch.

    Args:
        places: which event of the batch each one was that passed.
        refused: places of events that were held back, with the reason.
        unknown: how often a field without a rule was left out, by path.
    """

    places: list[int]
    refused: list[tuple[int, str]]
    unknown: Counter[str]


@dataclass(eq=False)
class Treated(Outcome):
    """The same, event by event: `events` after treatment, or their JSON texts."""

    events: list[Any]


@dataclass(eq=False)
class Table(Outcome):
    """The same, column by column: for each path of `columns` a value per event, as a list or an array of Arrow."""

    columns: dict[str, Any]


def block_of(texts: list[str]) -> bytes:
    """Lines in one, each with a newline."""
    return ("\n".join(texts) + "\n").encode() if texts else b""
