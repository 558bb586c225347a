"""How logs are written: formats of one event per line, read in batches and in bounded memory."""

from __future__ import annotations

from tacit.errors import UsageError
from tacit.logs.formats.base import LONGEST, Damaged, Event, LineFormat, Parsed
from tacit.logs.formats.jsonl import JsonLines
from tacit.logs.formats.jsontext import json_writer
from tacit.logs.formats.lines import batches, opened

NAMES = ("json", "ecs", "ocsf", "windows", "zeek-json", "suricata", "osquery")
"""Every format by name; all of these are JSON lines, under the name of their schema."""


def by_name(name: str) -> LineFormat:
    """The format of a name.

    Raises:
        UsageError: there is none.
    """
    if name not in NAMES:
        raise UsageError(f"Expected a format out of {', '.join(NAMES)}; got «{name}».")
    return JsonLines(name)


__all__ = ["LONGEST", "NAMES", "Damaged", "Event", "JsonLines", "LineFormat", "Parsed", "batches", "by_name", "json_writer", "opened"]
