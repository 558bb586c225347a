"""Coded events as flat Elastic Common Schema columns (https://www.elastic.co/guide/en/ecs), and as JSON lines."""

from __future__ import annotations

import datetime as dt
import json
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from tacit.logs.blocks import Array, Block
from tacit.logs.enterprise import Pools

TIME = "@timestamp"
LABELS = ("tacit.label.malicious", "tacit.label.attack", "tacit.label.campaign")
# event code - 1 -> category, dataset, action, outcome, service
_EVENTS = (
    ("authentication", "auth", "logged-in", "success", "directory"),
    ("authentication", "auth", "logon-failed", "failure", "directory"),
    ("network", "dns", "dns-query", "success", "resolver"),
    ("network", "dns", "dns-query", "failure", "resolver"),
    ("web", "proxy", "http-request", "success", "web-proxy"),
    ("process", "process", "process-started", "success", "endpoint-sensor"),
    ("network", "firewall", "connection-allowed", "success", "edge-firewall"),
    ("network", "firewall", "connection-denied", "failure", "edge-firewall"),
)
_EVENT_FIELDS = ("event.category", "event.dataset", "event.action", "event.outcome", "service.name")
_METHODS = (None, "GET", "POST")
EVENT_SCHEMA: dict[str, Any] = {
    TIME: pl.Datetime("ms", "UTC"),
    "event.id": pl.String,
    "event.kind": pl.String,
    **dict.fromkeys(_EVENT_FIELDS, pl.String),
    "user.name": pl.String,
    "host.name": pl.String,
    "source.ip": pl.String,
    "destination.ip": pl.String,
    "destination.port": pl.Int32,
    "process.name": pl.String,
    "process.parent.name": pl.String,
    "process.command_line": pl.String,
    "dns.question.name": pl.String,
    "url.domain": pl.String,
    "http.request.method": pl.String,
    "file.name": pl.String,
    "source.bytes": pl.Int64,
    "destination.bytes": pl.Int64,
    "network.bytes": pl.Int64,
}
LABEL_SCHEMA: dict[str, Any] = {LABELS[0]: pl.Boolean, LABELS[1]: pl.String, LABELS[2]: pl.String}


def _fragment(fields: dict[str, object]) -> str:
    """The members of a JSON object with a leading comma, absent fields left out."""
    members = {name: value for name, value in fields.items() if value is not None}
    return "," + json.dumps(members, ensure_ascii=False, separators=(",", ":"))[1:-1] if members else ""


class EcsWriter:
    """Turns coded blocks into frames or JSON lines; holds every string once."""

    def __init__(self, pools: Pools, attacks: tuple[tuple[str, str], ...]) -> None:
        # Pool columns: block field, ECS fields, values per code.
        programs: list[tuple[object, ...]] = list(zip(pools.process, pools.parent, pools.command, strict=True))
        self._pools: list[tuple[str, tuple[str, ...], list[tuple[object, ...]]]] = [
            ("event", ("event.kind", *_EVENT_FIELDS), [(None,) * 6, *(("event", *row) for row in _EVENTS)]),
            ("user", ("user.name",), [(v,) for v in pools.user]),
            ("host", ("host.name",), [(v,) for v in pools.host]),
            ("source", ("source.ip",), [(v,) for v in pools.address]),
            ("target", ("destination.ip",), [(v,) for v in pools.address]),
            ("program", ("process.name", "process.parent.name", "process.command_line"), programs),
            ("query", ("dns.question.name",), [(v,) for v in pools.name]),
            ("domain", ("url.domain",), [(v,) for v in pools.name]),
            ("method", ("http.request.method",), [(v,) for v in _METHODS]),
            ("file", ("file.name",), [(v,) for v in pools.file]),
        ]
        self._strings = {
            f: pl.Series(f, [row[i] for row in values], pl.String) for _, names, values in self._pools for i, f in enumerate(names)
        }
        self._seconds = pl.Series("second", [f"{h:02d}:{m:02d}:{s:02d}" for h in range(24) for m in range(60) for s in range(60)])
        self._millis = pl.Series("milli", [f'.{i:03d}Z","event.id":"' for i in range(1000)])
        self._ports = pl.Series("port", ["", *(f',"destination.port":{i}' for i in range(1, 65_536))])
        rows: list[dict[str, object]] = [
            {LABELS[0]: False},
            *({LABELS[0]: True, LABELS[1]: kind, LABELS[2]: name} for kind, name in attacks),
        ]
        self._labels = {name: pl.Series(name, [row.get(name) for row in rows], LABEL_SCHEMA[name]) for name in LABELS}
        self._label_fragments = pl.Series("label", [_fragment(row) for row in rows])

    @cached_property
    def _fragments(self) -> list[tuple[str, pl.Series]]:
        return [
            (field, pl.Series(field, [_fragment(dict(zip(names, row, strict=True))) for row in values]))
            for field, names, values in self._pools
        ]

    def frame(self, block: Block, *, day: dt.date, first_id: int, labels: bool) -> pl.DataFrame:
        """One row per event with the columns of ``EVENT_SCHEMA`` (and ``LABEL_SCHEMA`` where asked for)."""
        midnight = int(dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC).timestamp()) * 1_000
        columns: dict[str, pl.Series] = {
            TIME: pl.Series(TIME, block["time"].astype(np.int64) + midnight).cast(pl.Datetime("ms")).dt.replace_time_zone("UTC"),
            "event.id": _ids(day, first_id, len(block["time"])),
            "destination.port": _absent("destination.port", block["port"], 0),
            "source.bytes": _absent("source.bytes", block["sent"], -1),
            "destination.bytes": _absent("destination.bytes", block["received"], -1),
        }
        columns["network.bytes"] = (columns["source.bytes"] + columns["destination.bytes"]).alias("network.bytes")
        for field, names, _ in self._pools:
            codes = _codes(block[field])
            columns.update({name: self._strings[name].gather(codes) for name in names})
        wanted = list(EVENT_SCHEMA)
        if labels:
            codes = _codes(block["campaign"] + 1)
            columns.update({name: series.gather(codes) for name, series in self._labels.items()})
            wanted += LABELS
        return pl.DataFrame([columns[name].alias(name) for name in wanted])

    def lines(self, block: Block, *, day: dt.date, first_id: int, labels: bool) -> bytes:
        """The same rows as JSON lines: absent fields are left out, order of members fixed, one newline after each event."""
        n = len(block["time"])
        pieces = [
            self._seconds.gather(_codes(block["time"] // 1_000)),
            self._millis.gather(_codes(block["time"] % 1_000)),
            _ids(day, first_id, n),
            pl.lit('"'),
        ]
        pieces += [series.gather(_codes(block[field])) for field, series in self._fragments]
        pieces += [self._ports.gather(_codes(block["port"])), *_traffic(block)]
        if labels:
            pieces.append(self._label_fragments.gather(_codes(block["campaign"] + 1)))
        line = pl.concat_str(
            [pl.lit(f'{{"{TIME}":"{day.isoformat()}T'), *(pl.lit(p) if isinstance(p, pl.Series) else p for p in pieces), pl.lit("}\n")],
            ignore_nulls=True,
        )
        return text_bytes(pl.select(line).to_series())


def _codes(column: Array) -> pl.Series:
    return pl.Series(column.astype(np.uint32))


def _absent(name: str, column: Array, marker: int) -> pl.Series:
    series = pl.Series(name, column)
    return series.set(series == marker, None)


def _ids(day: dt.date, first: int, n: int) -> pl.Series:
    """``event.id``: day and number within the day, unique over the simulation."""
    return pl.Series("event.id", np.arange(first, first + n, dtype=np.int64) + int(day.strftime("%Y%m%d")) * 10_000_000_000).cast(pl.String)


def _traffic(block: Block) -> list[Any]:
    sent, received = _absent("sent", block["sent"], -1), _absent("received", block["received"], -1)
    total = sent + received
    named = zip(("source.bytes", "destination.bytes", "network.bytes"), (sent, received, total), strict=True)
    return [pl.concat_str([pl.lit(f',"{name}":'), pl.lit(series.cast(pl.String))]) for name, series in named]


def text_bytes(lines: pl.Series) -> bytes:
    """The characters of all strings, one after the other, as Arrow already holds them."""
    column = lines.rechunk().to_arrow()
    if len(column) == 0:
        return b""
    wide = np.dtype(np.int64) if str(column.type) == "large_string" else np.dtype(np.int32)
    _, offsets, data = column.buffers()
    bounds = np.frombuffer(offsets, wide)[[column.offset, column.offset + len(column)]]
    return bytes(memoryview(data)[int(bounds[0]) : int(bounds[1])])
