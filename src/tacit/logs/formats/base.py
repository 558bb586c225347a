"""What a format is: lines to events and back, with everything that cannot be read set apart and never passed through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

Event = dict[str, Any]

LONGEST = 1 << 20
"""Bytes of the longest line that is read."""


@dataclass(frozen=True)
class Damaged:
    """A line that could not be read.

    Args:
        line: its place in the batch, from 0.
        reason: in public words, never its content.
    """

    line: int
    reason: str


@dataclass
class Parsed:
    """What a batch of lines held.

    Args:
        events: in the order of the lines.
        places: which line each event came from.
        damaged: lines that gave no event.
    """

    events: list[Event] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    damaged: list[Damaged] = field(default_factory=list)


class LineFormat(Protocol):
    """A format with one event per line."""

    name: str

    def parse(self, lines: Sequence[bytes]) -> Parsed:
        """Read lines (without or with their newline); never raises."""

    def render(self, events: Sequence[Event]) -> list[bytes]:
        """Write events, one line each, without newline."""
