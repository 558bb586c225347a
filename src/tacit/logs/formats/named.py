"""Every format by its name, and a guess at the name by what the first lines look like."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tacit.errors import UsageError
from tacit.logs.formats.auditd import Auditd
from tacit.logs.formats.base import LineFormat
from tacit.logs.formats.cef import Cef
from tacit.logs.formats.jsonl import JsonLines
from tacit.logs.formats.leef import Leef
from tacit.logs.formats.syslog import EitherSyslog
from tacit.logs.formats.table import Csv
from tacit.logs.formats.web import WebServer
from tacit.logs.formats.zeek import ZeekTsv

JSON_NAMES = ("json", "ecs", "ocsf", "windows", "zeek-json", "suricata", "osquery")
"""JSON lines, under the name of their schema."""

_TEXTS: dict[str, Callable[[str], LineFormat]] = {
    "syslog": EitherSyslog, "cef": Cef, "leef": Leef, "apache": WebServer, "nginx": WebServer, "auditd": Auditd, "zeek": ZeekTsv, "csv": Csv,
}
NAMES = (*JSON_NAMES, *_TEXTS)
"""Every format of lines by name."""

_ENOUGH = 0.8
"""The share of lines that a format must read to be taken for theirs."""

_GUESSES = ("json", "zeek", "auditd", "cef", "leef", "apache", "syslog", "csv")


def by_name(name: str) -> LineFormat:
    """The format of a name. One object reads one file: formats with a header line remember it.

    Raises:
        UsageError: there is none.
    """
    if name in JSON_NAMES:
        return JsonLines(name)
    if name not in _TEXTS:
        raise UsageError(f"Expected a format out of {', '.join(NAMES)}; got «{name}».")
    return _TEXTS[name](name)


def detect(lines: Sequence[bytes]) -> str | None:
    """The name of the first format, from the strictest to the loosest, that reads at least four fifths of the lines; ``None`` if none does.

    >>> detect([b'{"a": 1}']), detect([b"<34>Oct 11 22:14:15 gate su: failed"]), detect([b"LEEF:1.0|a|b|1|x|src=10.0.0.1"]), detect([b"?"])
    ('json', 'syslog', 'leef', None)
    """
    lines = [line for line in lines if line.strip()]
    for name in _GUESSES:
        if name == "csv" and not (lines and b"," in lines[0]):
            continue  # any text is a table of one column
        found = by_name(name).parse(lines)
        if found.events and len(found.damaged) <= (1 - _ENOUGH) * len(lines):
            return name
    return None
