"""Telemetry as nested JSON lines of the Elastic Common Schema: absent fields are left out, what ECS normalises to lists is a list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from tacit.logs.ecs import LABELS

_PLAIN, _NUMBER, _TEXT, _LIST = range(4)  # a string without characters to escape, a number, any string, a list of one plain string
# object -> its members: (column, text before the value, kind, text after it); the first is there whenever the object is.
_Member = tuple[str, str, int, str]
GROUPS: dict[str, tuple[_Member, ...]] = {
    "event": (
        ("event.id", "id", _PLAIN, ""),
        ("event.kind", "kind", _PLAIN, ""),
        ("event.category", "category", _LIST, ""),
        ("event.type", "type", _LIST, ""),
        ("event.action", "action", _PLAIN, ""),
        ("event.outcome", "outcome", _PLAIN, ""),
        ("event.code", "code", _PLAIN, ""),
    ),
    "host": (
        ("host.name", "name", _PLAIN, ""),
        ("host.mac", "mac", _LIST, ""),
        ("host.os.type", 'os":{"type', _PLAIN, ""),
        ("host.os.name", "name", _PLAIN, "}"),  # there whenever the type is
    ),
    "user": (
        ("user.name", "name", _PLAIN, ""),
        ("user.domain", "domain", _PLAIN, ""),
        ("user.email", "email", _PLAIN, ""),
        ("user.id", "id", _PLAIN, ""),
    ),
    "source": (
        ("source.ip", "ip", _PLAIN, ""),
        ("source.port", "port", _NUMBER, ""),
        ("source.mac", "mac", _PLAIN, ""),
        ("source.bytes", "bytes", _NUMBER, ""),
    ),
    "destination": (
        ("destination.ip", "ip", _PLAIN, ""),
        ("destination.port", "port", _NUMBER, ""),
        ("destination.bytes", "bytes", _NUMBER, ""),
    ),
    "process": (
        ("process.name", "name", _PLAIN, ""),
        ("process.executable", "executable", _TEXT, ""),
        ("process.pid", "pid", _NUMBER, ""),
        ("process.command_line", "command_line", _TEXT, ""),
        ("process.parent.name", 'parent":{"name', _PLAIN, "}"),
        ("process.hash.sha256", 'hash":{"sha256', _PLAIN, "}"),
    ),
    "url": (("url.full", "full", _PLAIN, ""), ("url.domain", "domain", _PLAIN, "")),
    "http": (
        ("http.request.method", 'request":{"method', _PLAIN, "}"),
        ("http.response.status_code", 'response":{"status_code', _NUMBER, "}"),
    ),
    "dns": (("dns.question.name", 'question":{"name', _PLAIN, "}"),),
    "file": (("file.path", "path", _TEXT, ""), ("file.name", "name", _PLAIN, "")),
}


def escaped(texts: pl.Series) -> pl.Series:
    """Strings as they stand between the quotes of JSON (RFC 8259, section 7); control characters do not occur in telemetry."""
    return texts.str.replace_all("\\", "\\\\", literal=True).str.replace_all('"', '\\"', literal=True)


def _member(columns: dict[str, pl.Series], member: _Member, *, first: bool) -> Any:
    name, key, kind, after = member
    column = columns[name]
    before = f'{"" if first else ","}"{key}":'
    if kind == _NUMBER:
        return pl.concat_str([pl.lit(before), pl.lit(column.cast(pl.String)), pl.lit(after)])
    opening, closing = ('["', '"]') if kind == _LIST else ('"', '"')
    value = escaped(column) if kind == _TEXT else column
    return pl.concat_str([pl.lit(before + opening), pl.lit(value), pl.lit(closing + after)])


def _group(columns: dict[str, pl.Series], name: str) -> Any:
    first, *others = GROUPS[name]
    parts = [_member(columns, member, first=False).fill_null("") for member in others]
    extra = [_addresses(columns)] if name == "host" else []
    return pl.concat_str([pl.lit(f',"{name}":{{'), _member(columns, first, first=True), *parts, *extra, pl.lit("}")]).fill_null("")


def _addresses(columns: dict[str, pl.Series]) -> Any:
    """``host.ip``: one address, or two."""
    second = pl.concat_str([pl.lit('","'), pl.lit(columns["host.ipv6"])]).fill_null("")
    return pl.concat_str([pl.lit(',"ip":["'), pl.lit(columns["host.ip"]), second, pl.lit('"]')]).fill_null("")


def _labels(columns: dict[str, pl.Series]) -> Sequence[Any]:
    parts = []
    for name in LABELS[1:]:
        key = name.rpartition(".")[2]
        parts.append(pl.concat_str([pl.lit(f',"{key}":"'), pl.lit(columns[name]), pl.lit('"')]).fill_null(""))
    flag = pl.lit(columns[LABELS[0]].cast(pl.String))
    return [pl.concat_str([pl.lit(',"tacit":{"label":{"malicious":'), flag, *parts, pl.lit("}}")])]


def lines_of(columns: dict[str, pl.Series], *, labels: bool) -> pl.Series:
    """One line per event, each with its newline."""
    message = pl.concat_str([pl.lit(',"message":"'), pl.lit(escaped(columns["message"])), pl.lit('"')]).fill_null("")
    stamp = [pl.lit('{"@timestamp":"'), pl.lit(columns["@timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%S.%3fZ")), pl.lit('"')]
    parts = [*stamp, *(_group(columns, name) for name in GROUPS), message, *(_labels(columns) if labels else [])]
    return pl.select(pl.concat_str([*parts, pl.lit("}\n")])).to_series()
