"""How logs are written: formats of one event per line or per record of a file, read in batches and in bounded memory, and written again."""

from __future__ import annotations

from tacit.logs.formats.base import LONGEST, Damaged, Event, HeadedFormat, LineFormat, Parsed, value_at
from tacit.logs.formats.files import records
from tacit.logs.formats.jsonl import JsonLines
from tacit.logs.formats.jsontext import json_writer, with_member
from tacit.logs.formats.jsontext import library as json_library
from tacit.logs.formats.lines import batches, opened
from tacit.logs.formats.named import JSON_NAMES, NAMES, by_name, detect

__all__ = [
    "JSON_NAMES", "LONGEST", "NAMES", "Damaged", "Event", "HeadedFormat", "JsonLines", "LineFormat", "Parsed", "batches", "by_name", "detect",
    "json_library", "json_writer", "opened", "records", "value_at", "with_member",
]
