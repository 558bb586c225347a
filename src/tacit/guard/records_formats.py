"""Where records come from: physical types, Parquet and Arrow files, tables and frames, read a piece at a time."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tacit.errors import DataError, StorageError

Kind: TypeAlias = Literal["number", "text", "bool"]
T = TypeVar("T")

_LARGEST_TEXT = 1 << 30
_PAGE_BUFFER = 1 << 20
_INDEX = re.compile(r"__index_level_\d+__")
_PER_SECOND = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
_UNPRINTED = (pa.ArrowException, OSError, ValueError, TypeError, OverflowError, KeyError)


@dataclass(frozen=True, slots=True)
class Field:
    """A column as it is stored: ``name`` for people, ``stored`` in the file; ``kind`` is `None` where it cannot be used."""

    name: str
    stored: str
    kind: Kind | None


class Reader(Protocol):
    """Something that reads the same rows in the same order, as often as it is asked."""

    @property
    def fields(self) -> tuple[Field, ...]:
        """The columns, in order."""
        ...

    @property
    def rows(self) -> int:
        """How many rows there are. Private."""
        ...

    @property
    def size(self) -> int:
        """About how many bytes the rows take in memory."""
        ...

    def read(self, stored: Sequence[str], *, batch_rows: int) -> Iterator[pa.Table]:
        """The rows as tables with the named columns, of plain types."""
        ...


def kind_of(kind: pa.DataType) -> Kind | None:
    """What a physical Arrow type is to a question; `None` for nested and binary ones.

    >>> kind_of(pa.timestamp("us")), kind_of(pa.dictionary(pa.int8(), pa.string())), kind_of(pa.list_(pa.int8()))
    ('number', 'text', None)
    """
    types = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return kind_of(kind.storage_type)
    if types.is_dictionary(kind) or types.is_run_end_encoded(kind):
        return kind_of(kind.value_type)
    if types.is_boolean(kind):
        return "bool"
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind) or types.is_null(kind):
        return "text"
    plain = types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)
    moment = types.is_timestamp(kind) or types.is_date(kind) or types.is_time(kind) or types.is_duration(kind)
    return "number" if plain or moment else None


def plain(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    """A column as one array of integers, floats, booleans or valid UTF-8 text.

    Times become float64 seconds since 1970 (UTC where the type has no zone), decimals float64, dictionaries their values; text that is not
    UTF-8 becomes missing, value by value, so that no record can stop a question.

    >>> plain(pa.array([1500], pa.timestamp("ms"))).to_pylist()
    [1.5]
    """
    if isinstance(values, pa.ChunkedArray):
        values = values.chunk(0) if values.num_chunks == 1 else _joined(values)
    kind = values.type
    if isinstance(kind, pa.BaseExtensionType):
        return plain(values.storage)
    if pa.types.is_dictionary(kind):
        return plain(values.dictionary_decode())
    if pa.types.is_run_end_encoded(kind):
        return plain(pc.run_end_decode(values))
    if kind_of(kind) == "text":
        return _text(values)
    if pa.types.is_decimal(kind) or kind == pa.float16():
        return values.cast(pa.float64(), safe=False)
    return values if kind_of(kind) == "bool" or pa.types.is_integer(kind) or pa.types.is_floating(kind) else _seconds(values)


def _joined(values: pa.ChunkedArray) -> pa.Array:
    if pa.types.is_string(values.type) and values.nbytes > _LARGEST_TEXT:
        values = values.cast(pa.large_string())
    joined = values.combine_chunks()
    return pa.concat_arrays(joined.chunks) if isinstance(joined, pa.ChunkedArray) else joined


def _text(values: pa.Array) -> pa.Array:
    wanted = pa.string() if values.nbytes <= _LARGEST_TEXT else pa.large_string()
    text = values if values.type == wanted else values.cast(wanted, safe=False)
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        return _repaired(values, wanted)
    return text


def _repaired(values: pa.Array, wanted: pa.DataType) -> pa.Array:
    raw = values.cast(pa.large_binary(), safe=False)
    raw.validate(full=True)
    return pa.array([_decoded(value.as_py()) for value in raw], wanted)


def _decoded(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def _seconds(values: pa.Array) -> pa.Array:
    kind = values.type
    if pa.types.is_date32(kind):
        return pc.multiply(values.cast(pa.int32()).cast(pa.float64()), 86_400.0)
    per_second = 1e3 if pa.types.is_date64(kind) else _PER_SECOND[kind.unit]
    whole = values.cast(pa.int32()) if pa.types.is_time32(kind) else values.cast(pa.int64())
    return pc.divide(whole.cast(pa.float64(), safe=False), per_second)


def guarded(items: Iterable[T], problem: str) -> Iterator[T]:
    """Pass ``items`` on; a failure to read becomes a `DataError` with ``problem`` as its whole text, for libraries quote what they read."""
    iterator = iter(items)
    while True:
        failed = False
        try:
            item = next(iterator)
        except StopIteration:
            return
        except _UNPRINTED as error:
            _raise_if_storage(error)
            failed = True
        if failed:
            raise DataError(problem)
        yield item


def _raise_if_storage(error: BaseException) -> None:
    if isinstance(error, OSError) and error.errno in (errno.EIO, errno.EMFILE, errno.ENFILE):
        raise StorageError(f"Cannot read the records: {os.strerror(error.errno)}. Check the disk and the limits of open files.") from None


def fields_of(schema: pa.Schema, *, where: str) -> tuple[Field, ...]:
    """The columns of an Arrow schema; a nameless index that pandas stored is none.

    Raises:
        DataError: if there are none, or if two have one name.
    """
    require_distinct(schema.names, where=where)
    return tuple(Field(field.name, field.name, kind_of(field.type)) for field in schema if not _INDEX.fullmatch(field.name))


def require_distinct(names: Sequence[str], *, where: str) -> None:
    """Raise `DataError` unless there are names and they differ; names the positions, for a file without a header has records there."""
    if not names:
        raise DataError(f"Expected at least one column in {where}; got none.")
    first: dict[str, int] = {}
    for position, name in enumerate(names, 1):
        if name in first:
            raise DataError(f"Expected distinct column names in {where}; columns {first[name]} and {position} share one. Rename one.")
        first[name] = position


@dataclass(frozen=True)
class Unchanged:
    """Files as they were when they were opened: a pass over files that changed meanwhile would answer about other records."""

    states: tuple[tuple[Path, int, int, int], ...]

    @classmethod
    def of(cls, paths: Sequence[Path]) -> Unchanged:
        """Remember size, inode and time of modification."""
        return cls(tuple(cls._state(path) for path in paths))

    @staticmethod
    def _state(path: Path) -> tuple[Path, int, int, int]:
        state = path.stat()
        return path, state.st_size, state.st_ino, state.st_mtime_ns

    def check(self) -> None:
        """Raise `DataError` if a file changed or is gone."""
        for state in self.states:
            try:
                same = self._state(state[0]) == state
            except OSError:
                same = False
            if not same:
                raise DataError(f"Expected {state[0]} to stay as it was when it was opened; it changed or is gone. Open a copy.")


@dataclass(frozen=True)
class InMemory:
    """A table in memory, and its fields."""

    table: pa.Table
    fields: tuple[Field, ...]

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return int(self.table.num_rows)

    @property
    def size(self) -> int:
        """Bytes of the table."""
        return int(self.table.nbytes)


@dataclass(frozen=True)
class TableReader(InMemory):
    """A table in memory, of plain types."""

    @classmethod
    def of(cls, table: pa.Table) -> TableReader:
        """A reader of ``table`` as it is; types are made plain batch by batch."""
        return cls(table, fields_of(table.schema, where="the table"))

    def read(self, stored: Sequence[str], *, batch_rows: int) -> Iterator[pa.Table]:
        """See `Reader.read`."""
        chosen = self.table.select(list(stored))
        for start in range(0, self.rows, batch_rows):
            yield from guarded(_plain_tables([chosen.slice(start, batch_rows)]), "Expected columns of one type each; a value does not fit.")


def _plain_tables(pieces: Iterable[pa.Table | pa.RecordBatch]) -> Iterator[pa.Table]:
    for piece in pieces:
        yield pa.table([plain(column) for column in piece.columns], names=piece.schema.names)


@dataclass(frozen=True)
class ParquetReader:
    """One or more Parquet files with the same columns, read page by page.

    Args:
        paths: the files, in order.
        fields: their columns.
        rows: rows of all files.
        size: bytes in memory, about.
        unchanged: the files as they were.
        types: plain types of the columns, to which files that store them otherwise, or not at all, are brought.
    """

    paths: tuple[Path, ...]
    fields: tuple[Field, ...]
    rows: int
    size: int
    unchanged: Unchanged
    types: Mapping[str, pa.DataType]

    @classmethod
    def open(cls, paths: Sequence[Path]) -> ParquetReader:
        """Read the footers of ``paths``.

        Raises:
            DataError: if one is not Parquet, is cut off, or has other columns than the first.
        """
        schemas: list[pa.Schema] = []
        rows = size = 0
        for path in paths:
            footer, schema = _footer(path)
            fields_of(schema, where=str(path))
            schemas.append(schema)
            rows += footer.num_rows
            groups = (footer.row_group(index) for index in range(footer.num_row_groups))
            size += max(sum(group.total_byte_size for group in groups), footer.num_rows * footer.num_columns * 16)
        types = {name: _common([schema.field(name).type for schema in schemas], name) for name in _same_names(schemas)}
        fields = fields_of(pa.schema(list(types.items())), where=str(paths[0]))
        return cls(tuple(paths), fields, rows, size, Unchanged.of(paths), types)

    def read(self, stored: Sequence[str], *, batch_rows: int) -> Iterator[pa.Table]:
        """See `Reader.read`."""
        self.unchanged.check()
        for path in self.paths:
            problem = f"Expected a complete Parquet file; {path} is damaged or cut off. Write it again from its source."
            yield from guarded(self._pieces(path, stored, batch_rows), problem)
        self.unchanged.check()

    def coded(self, stored: Sequence[str], *, batch_rows: int) -> Iterator[pa.Table]:
        """As `read`, but texts come as the dictionaries that files store them by, as far as they do."""
        self.unchanged.check()
        for path in self.paths:
            problem = f"Expected a complete Parquet file; {path} is damaged or cut off. Write it again from its source."
            yield from guarded(self._pieces(path, stored, batch_rows, coded=True), problem)
        self.unchanged.check()

    def _pieces(self, path: Path, stored: Sequence[str], batch_rows: int, coded: bool = False) -> Iterator[pa.Table]:
        texts = [name for name in stored if coded and kind_of(self.types.get(name, pa.int8())) == "text"]
        # A buffer keeps whole column chunks of a large row group out of memory.
        with pq.ParquetFile(path, buffer_size=_PAGE_BUFFER, pre_buffer=False, read_dictionary=texts) as file:
            present = set(file.schema_arrow.names)
            for batch in file.iter_batches(batch_size=batch_rows, columns=[name for name in stored if name in present]):
                columns = [batch.column(name) if name in texts and name in present else self._column(batch, name, present) for name in stored]
                yield pa.table(columns, names=list(stored))

    def _column(self, batch: pa.RecordBatch, name: str, present: set[str]) -> pa.Array:
        wanted = self.types.get(name)
        values = plain(batch.column(name)) if name in present else pa.nulls(batch.num_rows, wanted)
        if wanted is None or values.type == wanted or kind_of(values.type) == kind_of(wanted) == "text":
            return values
        return values.cast(wanted, safe=False)


def _same_names(schemas: Sequence[pa.Schema]) -> list[str]:
    for position, schema in enumerate(schemas, 1):
        if set(schema.names) != set(schemas[0].names):
            raise DataError(f"Expected the Parquet files of a folder to have the same columns; number {position} differs from the first.")
    return list(schemas[0].names)


def _common(kinds: Sequence[pa.DataType], name: str) -> pa.DataType:
    """The plain type of a column that several files store; a column of nulls fits any."""
    told = list(dict.fromkeys(_plain_type(kind) for kind in kinds if not pa.types.is_null(kind)))
    if len(told) < 2:
        return told[0] if told else pa.string()
    if {kind_of(kind) for kind in told} != {"number"}:
        raise DataError(f"Expected column «{name}» to have one type in all files of the folder; it has {len(told)}. Convert it to one.")
    return pa.float64()


def _plain_type(kind: pa.DataType) -> pa.DataType:
    return kind if kind_of(kind) is None else plain(pa.nulls(0, kind)).type


def _footer(path: Path) -> tuple[pq.FileMetaData, pa.Schema]:
    problem = f"Expected a Parquet file; {path} is none, is damaged or cut off. Write it again, or pass format= for another format."

    def read() -> Iterator[tuple[pq.FileMetaData, pa.Schema]]:
        with pq.ParquetFile(path) as file:
            yield file.metadata, file.schema_arrow

    return next(guarded(read(), problem))


@dataclass(frozen=True)
class ArrowReader:
    """An Arrow IPC file or stream (Feather version 2 is the same)."""

    path: Path
    fields: tuple[Field, ...]
    rows: int
    size: int
    unchanged: Unchanged

    @classmethod
    def open(cls, path: Path) -> ArrowReader:
        """Read the schema of ``path``, and count its rows.

        Raises:
            DataError: if it is no Arrow file, or cut off.
        """
        schema = next(guarded((batch.schema for batch in _ipc_batches(path, first=True)), cls._problem(path)))
        fields = fields_of(schema, where=str(path))
        rows = sum(guarded((batch.num_rows for batch in _ipc_batches(path)), cls._problem(path)))
        return cls(path, fields, rows, max(path.stat().st_size, rows * len(fields) * 16), Unchanged.of([path]))

    @staticmethod
    def _problem(path: Path) -> str:
        return f"Expected a complete Arrow IPC file or stream; {path} is none, is damaged or cut off. Write it again, or use Parquet."

    def read(self, stored: Sequence[str], *, batch_rows: int) -> Iterator[pa.Table]:
        """See `Reader.read`."""
        self.unchanged.check()
        yield from guarded(_plain_tables(self._pieces(stored, batch_rows)), self._problem(self.path))
        self.unchanged.check()

    def _pieces(self, stored: Sequence[str], batch_rows: int) -> Iterator[pa.RecordBatch]:
        for batch in _ipc_batches(self.path, stored=stored):
            for start in range(0, batch.num_rows, batch_rows):
                yield batch.slice(start, batch_rows).select(list(stored))


def _ipc_batches(path: Path, *, stored: Sequence[str] | None = None, first: bool = False) -> Iterator[pa.RecordBatch]:
    """The batches; with ``first``, only an empty one that has the schema."""
    with pa.memory_map(str(path)) as source:
        is_file = source.read(6) == b"ARROW1"
        source.seek(0)
        opened = pa.ipc.open_file(source) if is_file else pa.ipc.open_stream(source)
        if first:
            yield pa.RecordBatch.from_pylist([], schema=opened.schema)
            return
        if not is_file:
            yield from opened
            return
        chosen = None if stored is None else [opened.schema.get_field_index(name) for name in stored]
        reader = pa.ipc.open_file(source, options=pa.ipc.IpcReadOptions(included_fields=chosen))
        for index in range(reader.num_record_batches):
            batch = reader.get_batch(index)
            batch.validate()
            yield batch


def table_of(source: Any) -> pa.Table:
    """A table, frame, mapping of arrays, or (matrix, names) as an Arrow table.

    The physical type of a column follows from its declared type: an object column of pandas or NumPy is text, whatever is in it.

    Raises:
        DataError: if ``source`` is none of these, or its columns differ in length.
    """
    wrong = "Expected columns of equal length and of plain types (numbers, text, bool, times); one cannot be read. Convert it first."
    return next(guarded(_tables(source), wrong))


def _tables(source: Any) -> Iterator[pa.Table]:
    if isinstance(source, pa.Table):
        yield source
    elif isinstance(source, pa.RecordBatch):
        yield pa.Table.from_batches([source])
    elif isinstance(source, Mapping):
        yield _from_columns([str(name) for name in source], list(source.values()))
    elif isinstance(source, tuple) and len(source) == 2:
        yield _from_matrix(*source)
    elif type(source).__module__.split(".")[0] == "pandas" and hasattr(source, "iloc"):
        yield _from_columns([str(name) for name in source.columns], [source.iloc[:, index] for index in range(source.shape[1])])
    elif hasattr(source, "__arrow_c_stream__"):
        yield pa.table(source)
    elif hasattr(source, "to_arrow"):
        yield pa.table(source.to_arrow())
    else:
        raise DataError(
            f"Expected a path, an Arrow table, a pandas or polars frame, a dict of arrays or (matrix, names); got {type(source).__name__}."
        )


def _from_matrix(matrix: Any, names: Any) -> pa.Table:
    values, labels = np.asarray(matrix), [str(name) for name in names]
    if values.ndim != 2 or values.shape[1] != len(labels):
        raise DataError(f"Expected a matrix of two dimensions with one name per column; got shape {values.shape} and {len(labels)} names.")
    return _from_columns(labels, [np.ascontiguousarray(values[:, index]) for index in range(values.shape[1])])


def _from_columns(names: list[str], columns: list[Any]) -> pa.Table:
    require_distinct(names, where="the table")
    arrays = [_array(column) for column in columns]
    lengths = {len(array) for array in arrays}
    if len(lengths) > 1:
        raise DataError(f"Expected columns of equal length; got {len(lengths)} different lengths.")
    return pa.table(arrays, names=names)


def _array(values: Any) -> pa.Array | pa.ChunkedArray:
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return values
    if isinstance(values, list | tuple):
        return _from_list(list(values))
    if str(getattr(values, "dtype", "")) == "object":
        return text_array([_as_text(value) for value in values])
    if isinstance(values, np.ndarray) and values.ndim != 1:
        raise DataError(f"Expected columns of one dimension; got an array of shape {values.shape}.")
    if hasattr(values, "to_arrow"):
        return values.to_arrow()
    return pa.array(values, from_pandas=True)


def _from_list(values: list[Any]) -> pa.Array:
    present = [value for value in values if value is not None]
    if all(isinstance(value, bool | np.bool_) for value in present):
        return pa.array(values, pa.bool_())
    if all(isinstance(value, int | np.integer) and not isinstance(value, bool) and abs(int(value)) < 1 << 63 for value in present):
        return pa.array(values, pa.int64())
    if all(isinstance(value, int | float | np.number) and not isinstance(value, bool) for value in present):
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    return text_array([_as_text(value) for value in values])


def _as_text(value: Any) -> str | None:
    """A value of a column without a physical type; what is nested, binary or missing is `None`."""
    if value is None or isinstance(value, bytes | bytearray | list | tuple | dict | set | np.ndarray):
        return None
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float | np.floating) and value != value):
        return None
    return str(value)


def text_array(values: Sequence[str | None]) -> pa.Array:
    """Text as Arrow; lone surrogates, which UTF-8 cannot say, become «?».

    >>> text_array(["a", None, chr(0xD800)]).to_pylist()
    ['a', None, '?']
    """
    try:
        return pa.array(values, pa.large_string())
    except UnicodeEncodeError:
        clean = [None if value is None else value.encode("utf-8", "replace").decode() for value in values]
        return pa.array(clean, pa.large_string())
