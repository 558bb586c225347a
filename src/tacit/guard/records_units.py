"""Rows of one privacy unit together, out of core: spread over buckets by a hash of the unit, then arranged bucket by bucket."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tacit.errors import UsageError
from tacit.guard.records_formats import Field, ParquetReader, Reader, TableReader, Unchanged, guarded
from tacit.guard.records_spool import ParquetSink, Spool, storing
from tacit.questions.clock import seconds
from tacit.questions.pairs import mixed

UNIT = "unit"
"""Name under which an arranged reader stores the unit's index: dense, from 0, never decreasing. Its columns are stored as c0, c1, ..."""

WINDOWS = ("hour", "day", "week", "month")
"""Windows of time a privacy unit can have, in UTC; weeks begin on Monday."""

_BUCKET = 32 << 20
_MOST_BUCKETS = 256
_HOUR, _DAY = 3600.0, 86_400.0
_CHUNK = 1 << 16


@dataclass(frozen=True)
class UnitKey:
    """What identifies the unit of a row.

    Args:
        column: who it is about.
        time: for a windowed unit, when it happened.
        window: one of `WINDOWS`, or `None`.
    """

    column: Field
    time: Field | None = None
    window: str | None = None

    def __post_init__(self) -> None:
        if self.window is not None and self.window not in WINDOWS:
            raise UsageError(f"Expected the window of the privacy unit to be one of {', '.join(WINDOWS)}; got «{self.window}».")
        if (self.window is None) != (self.time is None):
            raise UsageError("Expected time= for a privacy unit with a window, and only there; name the column that says when.")

    @property
    def stored(self) -> list[str]:
        """The columns it is computed from."""
        return [self.column.stored] if self.time is None else list(dict.fromkeys([self.column.stored, self.time.stored]))

    def keys(self, table: pa.Table) -> pa.Array:
        """The unit of every row as text; null where the identity is missing or empty, or the time cannot be read.

        Identities are compared as they are written: «a» and «A» are two units.
        """
        who = table.column(self.column.stored).combine_chunks()
        if pa.types.is_floating(who.type):
            who = pc.if_else(pc.is_nan(who), None, who)
        who = who.cast(pa.large_string())
        who = pc.if_else(pc.equal(who, ""), None, who)
        if self.time is None or self.window is None:
            return who
        index = _window_index(seconds(table.column(self.time.stored).combine_chunks()), self.window)
        return pc.binary_join_element_wise(index.cast(pa.large_string()), who, pa.scalar("\x1f", pa.large_string()))


def _window_index(moments: NDArray[np.float64], window: str) -> pa.Array:
    index, known = window_places(moments, window)
    return pa.array(index, mask=~known)


def window_places(moments: NDArray[np.float64], window: str) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The number of the window that each moment lies in, and whether the moment is one."""
    known = np.abs(moments) < 1e11  # what is no number is not
    when = moments if known.all() else np.where(known, moments, 0.0)
    if window == "month":
        index = np.floor(when).astype(np.int64).astype("datetime64[s]").astype("datetime64[M]").astype(np.int64)
    else:
        length, shift = {"hour": (_HOUR, 0.0), "day": (_DAY, 0.0), "week": (7 * _DAY, 3 * _DAY)}[window]
        places = when + shift if shift else when
        places = places / length
        index = np.floor(places, out=places).astype(np.int64)
    return index, known


def arrange(reader: Reader, key: UnitKey, *, limit: int | None, spool: Spool | None) -> TableReader | ParquetReader:
    """The rows of ``reader`` with those of one unit next to each other, in their old order, and a column `UNIT`.

    Args:
        reader: the rows.
        key: what identifies the unit. Rows without a unit are left out: as one unit they would be a giant, as units of their own they would
            break the promise to whoever has several.
        limit: most rows of one unit; a hash of the unit's key and of the row's place among the unit's rows decides which stay.
        spool: where to write; `None` keeps the result in memory.

    Raises:
        UsageError: unless ``limit`` is at least 1.
        StorageError: if the disk is full.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"Expected max_rows_per_unit={limit} >= 1.")
    names = [field.stored for field in reader.fields if field.kind is not None]
    fields = tuple(Field(field.name, f"c{names.index(field.stored)}", field.kind) for field in reader.fields if field.kind is not None)
    if spool is None:
        table = next(_arranged([reader], key, limit=limit))
        return TableReader(table, fields)
    count = max(1, min(_MOST_BUCKETS, math.ceil(reader.size / _BUCKET)))
    buckets: Iterable[Reader] = [reader] if count == 1 else _spread(reader, key, count, spool)
    sink: ParquetSink | None = None
    for table in _arranged(buckets, key, limit=limit):
        if table.num_rows:
            sink = sink or ParquetSink(spool.path / "units.parquet", table.schema)
            sink.write(table)
    sink = sink or ParquetSink(spool.path / "units.parquet", _empty(fields).append_column(UNIT, pa.array([], pa.int64())).schema)
    sink.close()
    return ParquetReader((sink.path,), fields, sink.rows, sink.size, Unchanged.of([sink.path]), {})


class _Bucket:
    """Rows whose units hash alike, in an Arrow file that is read once and then removed."""

    def __init__(self, path: Path, schema: pa.Schema, fields: tuple[Field, ...]) -> None:
        self.path, self.fields, self.rows, self.size = path, fields, 0, 0
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with storing(path.parent):
            self._file = pa.OSFile(str(path), "wb")
            self._writer = pa.ipc.new_file(self._file, schema, options=options)

    def write(self, table: pa.Table) -> None:
        self.rows += table.num_rows
        with storing(self.path.parent):
            self._writer.write_table(table)

    def close(self) -> None:
        with storing(self.path.parent):
            self._writer.close()
            self._file.close()

    def read(self, stored: Sequence[str], *, batch_rows: int) -> Iterator[pa.Table]:
        del batch_rows
        problem = f"Expected the temporary copy below {self.path.parent} to stay as it was written; it is damaged. Open the records again."
        yield from guarded(self._pieces(stored), problem)

    def _pieces(self, stored: Sequence[str]) -> Iterator[pa.Table]:
        with pa.OSFile(str(self.path), "rb") as file:
            schema = pa.ipc.open_file(file).schema
            options = pa.ipc.IpcReadOptions(included_fields=[schema.get_field_index(name) for name in stored])
            opened = pa.ipc.open_file(file, options=options)
            for index in range(opened.num_record_batches):
                yield pa.Table.from_batches([opened.get_batch(index)]).select(list(stored))


def _spread(reader: Reader, key: UnitKey, count: int, spool: Spool) -> Iterator[Reader]:
    """Write every row to the bucket its unit hashes to; yield them one by one, removing each when the next is asked for."""
    buckets: list[_Bucket] = []
    names = [field.stored for field in reader.fields if field.kind is not None]
    for table in reader.read(names, batch_rows=_CHUNK):
        if not buckets:
            buckets = [_Bucket(spool.path / f"bucket-{index}.arrow", table.schema, reader.fields) for index in range(count)]
        keys = key.keys(table)
        home = np.where(np.asarray(keys.is_valid()), _hashes(keys) % np.uint64(count), np.uint64(count))
        order = np.argsort(home, kind="stable")
        ends = np.searchsorted(home[order], np.arange(count + 1))
        sorted_table = table.take(pa.array(order[: ends[-1]]))
        for index, bucket in enumerate(buckets):
            if ends[index] < ends[index + 1]:
                bucket.write(sorted_table.slice(ends[index], ends[index + 1] - ends[index]))
    for bucket in buckets:
        bucket.close()
    for bucket in buckets:
        yield bucket
        bucket.path.unlink(missing_ok=True)


def _hashes(keys: pa.Array) -> NDArray[np.uint64]:
    return np.asarray(pl.Series("key", keys).hash().to_numpy(), dtype=np.uint64)


def _arranged(buckets: Iterable[Reader], key: UnitKey, *, limit: int | None) -> Iterator[pa.Table]:
    units = 0
    for bucket in buckets:
        pieces = [key.keys(piece) for piece in bucket.read(key.stored, batch_rows=_CHUNK)]
        order, local = order_by_unit(pa.chunked_array(pieces, pa.large_string()), limit=limit)
        table = _rows_in_order(bucket, order)
        yield table.append_column(UNIT, pa.array(local + units))
        units += int(local[-1]) + 1 if len(local) else 0


def order_by_unit(keys: pa.ChunkedArray, *, limit: int | None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which rows to take, unit by unit, and the unit's index of each: two int64 arrays of equal length.

    >>> order, units = order_by_unit(pa.chunked_array([["b", "a", None, "b"]], pa.large_string()), limit=None)
    >>> order.tolist(), units.tolist()
    ([0, 3, 1], [0, 0, 1])
    """
    joined = keys.combine_chunks()
    joined = pa.concat_arrays(joined.chunks) if isinstance(joined, pa.ChunkedArray) else joined
    encoded = joined.dictionary_encode()
    codes = encoded.indices.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
    rows = np.flatnonzero(codes >= 0)
    order = rows[np.argsort(codes[rows], kind="stable")]
    units = codes[order]
    if limit is None or not len(units):
        return order, units
    kept = kept_rows(units, _hashes(encoded.dictionary), limit)
    return order[kept], units[kept]


def kept_rows(units: NDArray[np.int64], hashes: NDArray[np.uint64], limit: int) -> NDArray[np.bool_]:
    """The ``limit`` rows of each unit whose hash of (unit, place within the unit) is smallest."""
    starts = np.searchsorted(units, np.arange(units[-1] + 1))
    place = np.arange(len(units)) - starts[units]
    score = mixed(hashes[units] ^ mixed(place.astype(np.uint64)))
    ranked = np.lexsort((score, units))
    kept = np.zeros(len(units), dtype=bool)
    kept[ranked[place < limit]] = True
    return kept


def _rows_in_order(bucket: Reader, order: NDArray[np.int64]) -> pa.Table:
    """The rows that stay, in their new order; what is dropped is never held."""
    names = [field.stored for field in bucket.fields if field.kind is not None]
    keep = np.zeros(bucket.rows, dtype=bool)
    keep[order] = True
    place = np.cumsum(keep) - 1
    pieces, at = [], 0
    for piece in bucket.read(names, batch_rows=_CHUNK):
        pieces.append(_wide(piece.filter(pa.array(keep[at : at + piece.num_rows]))))
        at += piece.num_rows
    if not pieces:
        return _empty([field for field in bucket.fields if field.kind is not None]).rename_columns(_columns(len(names)))
    whole = pa.concat_tables(pieces).rename_columns(_columns(len(names)))
    return whole.take(pa.array(place[order]))


def _columns(count: int) -> list[str]:
    return [f"c{index}" for index in range(count)]


def _empty(fields: Sequence[Field]) -> pa.Table:
    types = {"number": pa.float64(), "bool": pa.bool_(), "text": pa.large_string()}
    return pa.table([pa.array([], types[field.kind or "text"]) for field in fields], names=[field.stored for field in fields])


def _wide(table: pa.Table) -> pa.Table:
    """Text with 64-bit offsets: joined pieces may be larger than 2 GiB."""
    texts = {index for index, field in enumerate(table.schema) if pa.types.is_string(field.type)}
    columns = [column.cast(pa.large_string()) if index in texts else column for index, column in enumerate(table.columns)]
    return pa.table(columns, names=table.schema.names)


def whole_units(tables: Iterator[pa.Table], *, batch_rows: int) -> Iterator[pa.Table]:
    """Tables of about ``batch_rows`` rows, cut only between units; a unit with more rows comes in one piece."""
    ready: list[pa.Table] = []
    open_unit: list[pa.Table] = []
    current, rows = -1, 0
    for table in tables:
        units = table.column(UNIT).to_numpy()
        if not len(units):
            continue
        cut = int(np.searchsorted(units, units[-1]))
        if cut == 0 and units[-1] == current:
            open_unit.append(table)
            continue
        ready += [*open_unit, table.slice(0, cut)]
        rows = sum(piece.num_rows for piece in ready)
        open_unit, current = [table.slice(cut)], int(units[-1])
        if 2 * rows >= batch_rows:
            yield pa.concat_tables(ready)
            ready = []
    if ready or open_unit:
        yield pa.concat_tables([*ready, *open_unit])
