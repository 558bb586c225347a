"""Events that nobody caused: what columns the tables of made-up events have, and how records drawn from them are written as events again.

The tables are those of `tacit.learn.fit_synthetic`. A record is one event: its values hang together, but events of one person do not, since nothing
that names anybody is a column.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tacit.domain import Category, ColumnType, Domain, Numeric
from tacit.errors import UsageError
from tacit.guarantee import PrivacyUnit
from tacit.logs.ecs import TIME

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
HOUR, WEEKDAY = "hour", "weekday"
_BYTES = ("source.bytes", "destination.bytes", "network.bytes")
_MOST_BYTES = 1e12
_PORT = "destination.port"
_CATEGORIES = (
    "authentication", "configuration", "database", "driver", "email", "file", "host", "iam", "intrusion_detection", "malware", "network", "package",
    "process", "registry", "session", "threat", "vulnerability", "web",
)
"""What ``event.category`` may say: https://www.elastic.co/guide/en/ecs/8.17/ecs-allowed-values-event-category.html."""
_METHODS = ("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE")
_PORTS = (
    20, 21, 22, 23, 25, 53, 67, 80, 88, 110, 111, 123, 135, 137, 138, 139, 143, 161, 389, 443, 445, 464, 465, 500, 514, 587, 636, 853, 873, 993, 995,
    1080, 1194, 1433, 1521, 1723, 2049, 2375, 3128, 3268, 3306, 3389, 4500, 5044, 5060, 5353, 5432, 5601, 5671, 5900, 5985, 5986, 6379, 6514, 6667,
    8000, 8080, 8088, 8443, 8888, 9000, 9092, 9200, 9300, 11211, 27017,
)
"""Ports that services are known by; any other is left out of made-up events."""
_LISTS = ("event.category",)
"""Fields that the Elastic Common Schema has as lists."""

EVENT_COLUMNS = (
    WEEKDAY, HOUR, "event.category", "event.dataset", "event.action", "event.outcome", "service.name", "process.name", "process.parent.name",
    "http.request.method", _PORT, *_BYTES,
)
"""What made-up events can hold: nothing that names a person, a machine or a page, and no text of many different values."""

WHOLE_COLUMNS = (HOUR, *_BYTES)


def event_domain(columns: Iterable[str] = EVENT_COLUMNS) -> Domain:
    """What is publicly known about these columns; texts are found by charged questions.

    >>> event_domain(["hour", "event.action"]).names
    ('hour',)
    """
    declared: dict[str, ColumnType] = {
        WEEKDAY: Category(WEEKDAYS), HOUR: Numeric(0, 23), "event.category": Category(_CATEGORIES), _PORT: Category(tuple(map(str, _PORTS))),
        "event.outcome": Category(("failure", "success", "unknown")), "http.request.method": Category(_METHODS),
        **dict.fromkeys(_BYTES, Numeric(0, _MOST_BYTES, smallest=1)),
    }
    return Domain(tuple((name, declared[name]) for name in columns if name in declared))


def event_table(frames: Iterable[pl.DataFrame], columns: Iterable[str] = EVENT_COLUMNS, *, keep: Iterable[str] = ()) -> pl.DataFrame:
    """Events as flat records, a column each; the time becomes an hour and a day of the week, a port a text.

    Args:
        frames: events with the columns of `tacit.logs.EVENT_SCHEMA`.
        columns: out of `EVENT_COLUMNS`.
        keep: further columns, for who counts as one and when.

    Raises:
        UsageError: a column is none of them.
    """
    columns = tuple(columns)
    unknown = [name for name in columns if name not in EVENT_COLUMNS]
    if unknown:
        raise UsageError(f"Expected columns out of {', '.join(EVENT_COLUMNS)}; got «{unknown[0]}».")
    made = {
        WEEKDAY: (pl.col(TIME).dt.weekday() - 1).replace_strict(dict(enumerate(WEEKDAYS)), return_dtype=pl.String),
        HOUR: pl.col(TIME).dt.hour().cast(pl.Float64), _PORT: pl.col(_PORT).cast(pl.String),
    }
    chosen = [made.get(name, pl.col(name)).alias(name) for name in columns]
    parts = [frame.select([pl.col(name) for name in keep if name not in columns] + chosen) for frame in frames]
    return pl.concat(parts) if parts else pl.DataFrame(schema=dict.fromkeys(columns, pl.String))


def one_of_each(table: pl.DataFrame, unit: PrivacyUnit) -> pl.DataFrame:
    """One event of each unit, such as of each account's day: what an attacker of a guarantee about units looks for."""
    if unit.column is None:
        return table
    windows = {"hour": "1h", "day": "1d", "week": "1w", "month": "1mo"}
    keys = [pl.col(unit.column), *([pl.col(TIME).dt.truncate(windows[unit.window])] if unit.window else [])]
    shuffled = table.filter(pl.col(unit.column).is_not_null()).sample(fraction=1.0, shuffle=True, seed=0)
    return shuffled.with_columns(pl.struct(keys).alias("_unit")).unique("_unit", keep="first", maintain_order=True).drop("_unit")


def made_up_events(columns: Mapping[str, NDArray[Any]], *, begin: dt.date, seed: int | None = None) -> Iterator[dict[str, Any]]:
    """Drawn records as events of the Elastic Common Schema, in order of time; each says that it is made up.

    Days are those of the week that begins at ``begin``; minutes and seconds mean nothing.

    >>> drawn = {"weekday": np.array(["tuesday"], object), "hour": np.array([3.0]), "event.action": np.array(["dns-query"], object)}
    >>> event = next(made_up_events(drawn, begin=dt.date(2026, 1, 5), seed=1))
    >>> event["@timestamp"][:13], event["event"], event["tacit"]
    ('2026-01-06T03', {'kind': 'event', 'action': 'dns-query'}, {'synthetic': True})
    """
    rows = len(next(iter(columns.values()), np.zeros(0)))
    rng = np.random.default_rng(seed)
    offset = {day: (place - begin.weekday()) % 7 for place, day in enumerate(WEEKDAYS)}
    days = [offset.get(day, 0) for day in columns[WEEKDAY]] if WEEKDAY in columns else rng.integers(0, 7, rows).tolist()
    hours = np.nan_to_num(columns[HOUR]) if HOUR in columns else rng.integers(0, 24, rows)
    seconds = np.asarray(days, np.int64) * 86_400 + hours.astype(np.int64) * 3_600 + rng.integers(0, 3_600, rows)
    midnight = dt.datetime(begin.year, begin.month, begin.day, tzinfo=dt.UTC)
    others = [name for name in columns if name not in (WEEKDAY, HOUR)]
    for row in np.argsort(seconds, kind="stable").tolist():
        event: dict[str, Any] = {TIME: f"{midnight + dt.timedelta(seconds=int(seconds[row])):%Y-%m-%dT%H:%M:%S}.000Z", "event": {"kind": "event"}}
        for name in others:
            value = _plain(name, columns[name][row])
            if value is not None:
                _put(event, name.split("."), value)
        event["tacit"] = {"synthetic": True}
        yield event


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, float | np.floating):  # in a column of texts: too few events had one for the tables to know that they are texts
        return int(value) if name in WHOLE_COLUMNS and np.isfinite(value) else None
    if name == _PORT and value is not None:
        return int(value) if str(value).isdigit() else None
    return [value] if name in _LISTS and value is not None else value


def _put(event: dict[str, Any], path: list[str], value: Any) -> None:
    for key in path[:-1]:
        event = event.setdefault(key, {})
    event[path[-1]] = value
