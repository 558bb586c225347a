"""Events in, one row per account (or host) and window out; the columns, their bounds and the days are public."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from tacit.errors import DataError
from tacit.logs.ecs import EVENT_SCHEMA, LABEL_SCHEMA, LABELS, TIME
from tacit.logs.features import entity_window_features
from tacit.logs.formats import Event, LineFormat, records, value_at

ROWS = 50_000
TARGET = "malicious"
_TIMES = ("%Y-%m-%dT%H:%M:%S%.fZ", "%Y-%m-%dT%H:%M:%S%.f%:z", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f")


@dataclass(frozen=True)
class Windows:
    """What a row is about.

    Args:
        entity: ``user.name`` or ``host.name``.
        length: of a window: ``1d``, or hours that divide a day, such as ``6h``.
    """

    entity: str = "user.name"
    length: str = "1d"

    def features(self, frames: Iterable[pl.DataFrame]) -> pl.DataFrame:
        """See `tacit.logs.entity_window_features`; days must follow one another."""
        return entity_window_features(frames, entity=self.entity, window=self.length)

    @property
    def per_day(self) -> int:
        """How many windows a day has."""
        return 1 if self.length == "1d" else 24 // int(self.length[:-1])


def event_frames(path: str | Path, form: LineFormat, *, labels: bool = False) -> Iterator[pl.DataFrame]:
    """Events of a file as frames with the columns of ``EVENT_SCHEMA``, whatever else they hold; absent fields are null.

    Args:
        path: Parquet with a column per ECS path, or lines of the format, also packed (``.gz``, ``.zst``).
        form: of the lines.
        labels: also give the columns of ``LABEL_SCHEMA``.

    Raises:
        DataError: it cannot be read, or a line is damaged: detections must not pass over events in silence.
    """
    wanted = EVENT_SCHEMA | (LABEL_SCHEMA if labels else {})
    if str(path).endswith(".parquet"):
        yield from _parquet(path, wanted)
        return
    yield from _lines(records(path, lines=ROWS), form, wanted)


def labelled(features: pl.DataFrame, incidents: pl.DataFrame, windows: Windows) -> pl.DataFrame:
    """Features with the column ``malicious``: whether a list of incidents names the account and day of a row.

    Args:
        features: rows of `Windows.features`.
        incidents: columns of the entity's name (such as ``user.name``) and ``date``, a date or a text such as 2026-01-31.
        windows: what a row is about.

    Raises:
        DataError: a column is missing or is no date.
    """
    if not {windows.entity, "date"} <= set(incidents.columns):
        raise DataError(f"Expected incidents with the columns «{windows.entity}» and «date»; got {', '.join(incidents.columns)}.")
    date = pl.col("date")
    try:
        known = incidents.select(windows.entity, (date.str.to_date() if incidents.schema["date"] == pl.String else date.cast(pl.Date)).alias("_day"))
    except pl.exceptions.PolarsError:
        raise DataError("Expected a column «date» of dates such as 2026-01-31.") from None
    known = known.unique().with_columns(pl.lit(value=True).alias(TARGET))
    unlabelled = features.drop([name for name in (TARGET, "attack_kind") if name in features.columns])
    base = unlabelled.with_columns(pl.col("window").dt.date().alias("_day"))
    joined = base.join(known, on=[windows.entity, "_day"], how="left", maintain_order="left")
    return joined.drop("_day").with_columns(pl.col(TARGET).fill_null(value=False))


def _parquet(path: str | Path, wanted: dict[str, Any]) -> Iterator[pl.DataFrame]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names = [name for name in wanted if name in file.schema_arrow.names]
            for batch in file.iter_batches(batch_size=ROWS, columns=names):
                yield _typed(pl.DataFrame(pl.from_arrow(pa.Table.from_batches([batch]))), wanted)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"Cannot read {path} as Parquet; check the file.") from error


def _lines(parts: Iterable[list[bytes]], form: LineFormat, wanted: dict[str, Any]) -> Iterator[pl.DataFrame]:
    read = 0
    for lines in parts:
        parsed = form.parse(lines)
        if parsed.damaged:
            first = parsed.damaged[0]
            raise DataError(
                f"Line {read + first.line + 1:,} is damaged ({first.reason}). Put such lines aside first: tacit logs anonymise --dead-letters FILE."
            )
        read += len(lines)
        yield _typed(pl.DataFrame({name: pl.Series(name, _values(parsed.events, name), strict=False) for name in wanted}), wanted)


def _values(events: Sequence[Event], name: str) -> list[Any]:
    """The values at a path, written flat or nested; the first of a list."""
    found = [event.get(name) for event in events]
    path = name.split(".")
    if len(path) > 1:
        for place, event in enumerate(events):
            if found[place] is None and path[0] in event:
                found[place] = value_at(event, path)
    plain = (str, int, float, bool, type(None))
    return found if set(map(type, found)) <= set(plain) else list(map(_first, found))


def _first(value: Any) -> Any:
    if isinstance(value, list):
        value = value[0] if value else None
    return None if isinstance(value, dict | list) else value


def _typed(frame: pl.DataFrame, wanted: dict[str, Any]) -> pl.DataFrame:
    found = []
    for name, kind in wanted.items():
        if name not in frame.columns:
            found.append(pl.lit(None, dtype=kind).alias(name))
        elif name == TIME and frame.schema[name] == pl.String:
            read = [pl.col(name).str.to_datetime(form, time_unit="ms", time_zone="UTC", strict=False) for form in _TIMES]
            found.append(pl.coalesce(read).alias(name))
        elif isinstance(frame.schema[name], pl.List):
            found.append(pl.col(name).list.first().cast(kind, strict=False))
        else:
            found.append(pl.col(name).cast(kind, strict=False))
    table = frame.select(found)
    if frame.height and table[TIME].null_count() == frame.height:
        raise DataError(f"Expected events with «{TIME}» as ISO 8601 in UTC, such as 2026-01-31T12:00:00Z; no event has one that can be read.")
    return table.with_columns(pl.col(LABELS[0]).fill_null(value=False)) if LABELS[0] in table.columns else table
