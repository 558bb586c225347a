"""A few columns of records, grouped by unit in memory with texts as codes: what counts need, at a tenth of the cost of arranging everything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tacit.errors import UsageError
from tacit.guard.records_formats import Field, InMemory, ParquetReader, Reader, plain
from tacit.guard.records_units import UNIT, UnitKey, kept_rows, window_places
from tacit.questions.clock import filled, seconds
from tacit.questions.pairs import mixed, run_numbers, run_starts

MOST_BYTES = 384 << 20
"""Columns that take more than this are arranged on disk."""

_CHUNK = 1 << 20  # each piece has a dictionary of its own, which has to be joined with the others
_BITS = 63

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class CodedReader(InMemory):
    """Rows in the order of their units, in memory; texts are dictionaries."""

    def read(self, stored: Sequence[str], *, batch_rows: int) -> Iterator[pa.Table]:
        """See `Reader.read`; texts come as dictionaries."""
        chosen = self.table.select(list(stored))
        for start in range(0, self.rows, batch_rows):
            yield chosen.slice(start, batch_rows)


@dataclass(frozen=True)
class Narrowed:
    """Some columns of another reader."""

    reader: Reader
    fields: tuple[Field, ...]

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return self.reader.rows

    @property
    def size(self) -> int:
        """About how many bytes these columns take, if all are alike."""
        return self.reader.size * len(self.fields) // max(1, len(self.reader.fields))

    def read(self, stored: Sequence[str], *, batch_rows: int) -> Iterator[pa.Table]:
        """See `Reader.read`."""
        return self.reader.read(stored, batch_rows=batch_rows)


def coded(reader: Narrowed, key: UnitKey, *, limit: int | None) -> CodedReader | None:
    """The rows of ``reader``, those of one unit next to each other in their old order; `None` if they take more than `MOST_BYTES`.

    The same rows as `tacit.guard.records_units.arrange` keeps, in another order of units. The time of a windowed unit comes as seconds.

    Args:
        reader: the columns that will be asked for, and those of the key.
        key: what identifies the unit.
        limit: most rows of one unit, chosen by a hash of the unit's key and the row's place among the unit's rows.

    Raises:
        UsageError: unless ``limit`` is at least 1.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"Expected max_rows_per_unit={limit} >= 1.")
    table = _in_memory(reader)
    if table is None:
        return None
    when = None
    if key.time is not None:
        place = table.column_names.index(key.time.stored)
        when = seconds(table.column(place))
        table = table.set_column(place, key.time.stored, pa.array(when))
    order, units = _grouped(table.column(key.column.stored), when, key.window, limit)
    columns = [column.take(order) for column in table.columns]
    names = [f"c{index}" for index in range(len(columns))]
    fields = tuple(
        Field(field.name, name, "number" if field == key.time else field.kind) for field, name in zip(reader.fields, names, strict=True)
    )
    return CodedReader(pa.table([*columns, pa.array(units)], names=[*names, UNIT]), fields)


def _in_memory(reader: Narrowed) -> pa.Table | None:
    """All rows, each column in one piece, texts as one dictionary each."""
    stored = [field.stored for field in reader.fields]
    source = reader.reader
    tables = source.coded(stored, batch_rows=_CHUNK) if isinstance(source, ParquetReader) else source.read(stored, batch_rows=_CHUNK)
    pieces: list[list[pa.Array]] = [[] for _ in stored]
    size = 0
    for table in tables:
        for place, column in enumerate(table.columns):
            piece = _as_codes(column, pieces[place][-1] if pieces[place] else None)
            known = bool(pieces[place]) and pa.types.is_dictionary(piece.type) and piece.dictionary is pieces[place][-1].dictionary
            size += piece.indices.nbytes if known else piece.nbytes
            pieces[place].append(piece)
        if size > MOST_BYTES:
            return None
    return pa.table([_whole(arrays, field) for arrays, field in zip(pieces, reader.fields, strict=True)], names=stored)


def _whole(pieces: list[pa.Array], field: Field) -> pa.Array:
    if not pieces:
        kinds = {"number": pa.float64(), "bool": pa.bool_()}
        return pa.array([], kinds.get(field.kind or "text", pa.dictionary(pa.int32(), pa.large_string())))
    joined = pa.chunked_array(pieces)
    pieces.clear()
    whole = (joined.unify_dictionaries() if pa.types.is_dictionary(joined.type) else joined).combine_chunks()
    return pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole


def _as_codes(values: pa.ChunkedArray, before: pa.Array | None) -> pa.Array:
    """Text as a dictionary of valid UTF-8, the one of the piece ``before`` if it is the same; everything else as it is."""
    array = values.combine_chunks()
    array = array.chunk(0) if isinstance(array, pa.ChunkedArray) and array.num_chunks == 1 else array
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks)
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        array = array.dictionary_encode()
    if not pa.types.is_dictionary(array.type):
        return array
    words = plain(array.dictionary).cast(pa.large_string())
    codes = array.indices.cast(pa.int32())
    if words.null_count:
        known = words.drop_null()
        places = np.where(words.is_valid().to_numpy(zero_copy_only=False), np.cumsum(words.is_valid().to_numpy(zero_copy_only=False)) - 1, -1)
        codes = pa.array(np.append(places, -1)[codes.fill_null(len(words)).to_numpy()], pa.int32())
        codes, words = pc.if_else(pc.less(codes, 0), None, codes), known
    same = before is not None and before.dictionary.equals(words)
    return pa.DictionaryArray.from_arrays(codes, before.dictionary if before is not None and same else words)


def _grouped(who: pa.ChunkedArray, when: NDArray[np.float64] | None, window: str | None, limit: int | None) -> tuple[Integers, Integers]:
    """Which rows to take, unit by unit, and the unit's index of each; what has no unit is left out."""
    codes, names = _identities(who.combine_chunks())
    places, known = np.zeros(1, np.int64), codes >= 0
    if when is not None and window is not None:
        places, timed = window_places(when, window)
        known &= timed
    rows: Integers | None = None if known.all() else np.flatnonzero(known)
    if not known.any():
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    if rows is not None:
        codes, places = codes[rows], places[rows] if len(places) == len(known) else places
    places -= places.min()
    units, order = _sorted(codes, places)
    starts = run_starts(units)
    dense = run_numbers(starts, len(units))
    if limit is not None:
        hashes, at = np.asarray(pl.Series("who", names).hash().to_numpy(), np.uint64), order[starts]
        kept = kept_rows(dense, mixed(hashes[codes[at]] ^ mixed(np.broadcast_to(places, len(codes))[at].astype(np.uint64))), limit)
        order, dense = order[kept], dense[kept]
    return order if rows is None else rows[order], dense


def _sorted(codes: Integers, places: Integers) -> tuple[Integers, Integers]:
    """A number for each unit, increasing, and the place of each row in that order; rows of one unit stay in theirs.

    Unit and place share one integer, so that a plain sort does both.
    """
    span = int(places.max()) + 1
    if (int(codes.max()) + 1) * span >= 1 << (_BITS - 1):
        codes, places = (np.unique(values, return_inverse=True)[1].astype(np.int64) for values in (codes, places))
        span = int(places.max()) + 1
    units = codes * span
    units += places
    bits = len(units).bit_length()
    if int(units.max()).bit_length() + bits > _BITS:
        units = np.unique(units, return_inverse=True)[1].astype(np.int64)
    units <<= bits
    units |= np.arange(len(units))
    units.sort()
    order = units & ((1 << bits) - 1)
    units >>= bits
    return units, order


def _identities(who: pa.Array) -> tuple[Integers, pa.Array]:
    """The identity of each row as a code, -1 for none, and their texts: as `tacit.guard.records_units.UnitKey.keys` writes them."""
    values = who if pa.types.is_dictionary(who.type) else who.dictionary_encode()
    names = values.dictionary
    if pa.types.is_floating(names.type):
        names = pc.if_else(pc.is_nan(names), None, names)
    names = names.cast(pa.large_string())
    again = pc.if_else(pc.equal(names, ""), None, names).dictionary_encode()
    lookup = np.append(again.indices.fill_null(-1).to_numpy(zero_copy_only=False), -1).astype(np.int64)
    return lookup.take(filled(values, len(lookup) - 1)), again.dictionary
