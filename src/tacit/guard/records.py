"""The records that nobody may look at: opened from files, tables and frames, read in passes, never released."""

from __future__ import annotations

import difflib
import hashlib
import hmac
import itertools
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tacit.errors import DataError, UsageError
from tacit.guarantee import PrivacyUnit
from tacit.guard.records_coded import CodedReader, Narrowed, coded
from tacit.guard.records_formats import ArrowReader, Field, Kind, ParquetReader, Reader, TableReader, Unchanged, plain, table_of
from tacit.guard.records_spool import Spool
from tacit.guard.records_text import convert
from tacit.guard.records_units import UNIT, UnitKey, arrange, whole_units
from tacit.questions import Batch

Schema: TypeAlias = tuple[tuple[str, Kind], ...]

FORMATS = ("csv", "tsv", "jsonl", "parquet", "arrow")
"""What `Records.open` reads. CSV, TSV and JSON lines may be packed with gzip."""

_BY_SUFFIX = {
    ".csv": "csv", ".txt": "csv", ".data": "csv", ".tsv": "tsv", ".tab": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl",
    ".parquet": "parquet", ".pq": "parquet", ".arrow": "arrow", ".feather": "arrow", ".ipc": "arrow", ".arrows": "arrow",
}
_ALIASES = {"json": "jsonl", "ndjson": "jsonl", "feather": "arrow", "ipc": "arrow"}
_FOREIGN = {
    b"PK\x03\x04": "a zip archive or a spreadsheet", b"\x28\xb5\x2f\xfd": "packed with zstd", b"BZh": "packed with bzip2",
    b"\xfd7zXZ": "packed with xz", b"SQLite format 3": "an SQLite database", b"FEA1": "Feather version 1", b"\x89HDF": "HDF5",
    b"%PDF": "a PDF",
}
_HEAD = 4096
_CODED_ROWS = 1 << 17


class Records:
    """Records on the owner's side, as a source for questions. Never released, never serialised.

    >>> records = Records.open({"user": ["b", "a", "b"], "bytes": np.array([1.0, 2.0, 3.0])}, unit="user")
    >>> records.schema
    (('user', 'text'), ('bytes', 'number'))
    >>> [(batch.columns["bytes"].to_pylist(), batch.units.tolist()) for batch in records.batches(["bytes"])]
    [([1.0, 3.0, 2.0], [0, 0, 1])]

    Guarantees:
        Each record of the source yields the same values whatever the other records are: nothing is typed, scaled or encoded by looking
        at the data. With a privacy unit, the rows of one unit are contiguous within one batch, and which of them are kept depends on them
        alone. A pass over a file that changed since it was opened raises.

    Edge cases:

    =================================  ==============================================================================================
    CSV, TSV, JSON lines               every column is text; an empty CSV field is missing, a quoted empty one is empty text
    names of CSV, Parquet and Arrow    public: they stand in the header or footer, whatever the records are
    names of JSON lines                found in the records (`names_are_public` is false): a domain has to declare them
    missing or empty unit, no time     the row is left out, and contributes nothing
    a unit larger than a batch         its rows still come in one batch; bound the memory with ``max_rows_per_unit``
    blank lines of CSV and JSON        no records
    nested and binary columns          not in `schema`; asking for one raises `DataError`
    text that is not UTF-8             CSV and JSON: `DataError`; in Parquet and Arrow that value is missing
    ``key=value`` folder names         ignored; only what is in the files is read
    =================================  ==============================================================================================
    """

    def __init__(
        self, reader: Reader, *, unit: PrivacyUnit, batch_rows: int, origin: Unchanged | None = None, spool: Spool | None = None,
        time: str | None = None,
    ) -> None:
        self._reader, self._unit, self._batch_rows, self._origin, self._spool = reader, unit, batch_rows, origin, spool
        self._fields = {field.name: field for field in reader.fields}
        self._unusable: frozenset[str] = frozenset(field.name for field in reader.fields if field.kind is None)
        self._dropped = 0
        self._time = time
        self.names_are_public = True

    @classmethod
    def open(
        cls, source: Any, *, format: str | None = None, unit: str | PrivacyUnit | None = None, time: str | None = None,
        max_rows_per_unit: int | None = None, batch_rows: int = 65_536,
    ) -> Records:
        """Open a file, a folder of Parquet files, a table, a frame, a dict of arrays, or (matrix, names).

        Text files, and files with a unit, are first copied into a private temporary folder (mode 0700, below ``TMPDIR``), which `close`
        removes; tables and frames stay in memory. Nothing holds a whole file in memory.

        Args:
            source: a path, a `pyarrow.Table`, a pandas or polars frame, a mapping of names to arrays, or a pair of a matrix and its names.
            format: one of `FORMATS`; by default it follows from the file's name or first bytes.
            unit: the column that identifies the privacy unit, or a `PrivacyUnit`; by default every record is one.
            time: for a unit with a window, the column that says when: a time, ISO 8601 text, or seconds since 1970.
            max_rows_per_unit: keep at most this many rows of a unit, chosen by a hash that depends on this unit's rows alone.
            batch_rows: about how many rows a batch has.

        Raises:
            DataError: if the source cannot be read as what it should be; names no content.
            StorageError: if a temporary copy cannot be written; nothing is left of it.
            UsageError: if a parameter is out of range.
        """
        if batch_rows < 1:
            raise UsageError(f"Expected batch_rows={batch_rows} >= 1; 65536 is usual.")
        wanted = PrivacyUnit(unit, column=unit) if isinstance(unit, str) else unit or PrivacyUnit()
        limits = _Limits(wanted, time, max_rows_per_unit)
        if not isinstance(source, str | os.PathLike):
            reader = TableReader.of(table_of(source))
            return cls(limits.arranged(reader, None), unit=wanted, batch_rows=batch_rows, time=time)._noting(reader)
        path = Path(source)
        kind = _format_of(path, format)
        if kind in ("parquet", "arrow") and wanted.is_record:
            limits.refuse_if_set()
            opened = _opened(path, kind)
            return cls(opened, unit=wanted, batch_rows=batch_rows, origin=opened.unchanged)
        return cls._spooled(path, kind, limits=limits, batch_rows=batch_rows)

    @classmethod
    def open_columns(
        cls, source: Any, columns: Sequence[str], *, format: str | None = None, unit: PrivacyUnit | None = None, time: str | None = None,
        max_rows_per_unit: int | None = None,
    ) -> Records:
        """A few columns of what `open` opens, for questions that need no others: grouped by unit in memory where they fit in 384 MiB.

        The same rows under the same units. Texts come as Arrow dictionaries, and the time of a windowed unit as seconds since 1970. Where they do
        not fit they are arranged on disk as by `open`.

        >>> table = {"who": ["b", "a", "b"], "at": ["1970-01-02", "1970-01-02", "1970-01-02T01:00"], "size": [1, 2, 3], "more": [0, 0, 0]}
        >>> records = Records.open_columns(table, ["size"], unit=PrivacyUnit("user-day", "who", "day"), time="at")
        >>> records.names, [(batch.columns["size"].to_pylist(), batch.units.tolist()) for batch in records.batches(["size"])]
        (('who', 'at', 'size'), [([1, 3, 2], [0, 0, 1])])

        Args:
            source: as in `open`.
            columns: which ones will be asked for.
            format: as in `open`.
            unit: as in `open`.
            time: as in `open`.
            max_rows_per_unit: as in `open`.

        Raises:
            DataError: as `open`; also if a column is not there.
            StorageError: as `open`.
            UsageError: as `open`.
        """
        wanted = unit or PrivacyUnit()
        if wanted.is_record:
            records = cls.open(source, format=format, unit=wanted, time=time, max_rows_per_unit=max_rows_per_unit)
            records.require(columns)
            return records
        limits = _Limits(wanted, time, max_rows_per_unit, columns=tuple(columns))
        if isinstance(source, str | os.PathLike):
            path = Path(source)
            return cls._spooled(path, _format_of(path, format), limits=limits, batch_rows=_CODED_ROWS)
        reader = TableReader.of(table_of(source))
        return cls(limits.arranged(reader, None), unit=wanted, batch_rows=_CODED_ROWS, time=time)._noting(reader)

    @classmethod
    def _spooled(cls, path: Path, kind: str, *, limits: _Limits, batch_rows: int) -> Records:
        spool = Spool()
        try:
            is_text = kind in ("csv", "tsv", "jsonl")
            origin = Unchanged.of([path]) if is_text else None
            reader: Any = convert(path, format=kind, spool=spool) if is_text else _opened(path, kind)
            arranged = limits.arranged(reader, spool)
            if is_text and arranged is not reader:
                for part in reader.paths:
                    part.unlink(missing_ok=True)
            records = cls(
                arranged, unit=limits.unit, batch_rows=batch_rows, origin=origin or reader.unchanged, spool=spool, time=limits.time,
            )._noting(reader)
            records.names_are_public = kind != "jsonl"
        except BaseException:
            spool.close()
            raise
        return records

    def _noting(self, source: Reader) -> Records:
        self._unusable = frozenset(field.name for field in source.fields if field.kind is None)
        self._dropped = source.rows - self._rows
        return self

    @property
    def schema(self) -> Schema:
        """Names and physical kinds («number», «text», «bool») of the columns that can be used."""
        return tuple((field.name, field.kind) for field in self._fields.values() if field.kind is not None)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns that can be used."""
        return tuple(name for name, _ in self.schema)

    @property
    def unit(self) -> PrivacyUnit:
        """What rows are grouped by."""
        return self._unit

    @property
    def time(self) -> str | None:
        """The column that says when, for a unit with a window."""
        return self._time

    @property
    def _rows(self) -> int:
        """How many rows there are: private, for the owner's side."""
        return self._reader.rows

    @property
    def _grouped(self) -> bool:
        return not self._unit.is_record

    def require(self, columns: Sequence[str]) -> None:
        """Raise `DataError` unless all ``columns`` are there and can be used; suggests the closest names."""
        self._stored(columns)

    def _stored(self, columns: Sequence[str]) -> list[str]:
        return [_field(name, self._fields, self._unusable).stored for name in columns]

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[Batch]:
        """The records, batch by batch, with the named columns (all usable ones if ``None``); any number of passes, in the same order.

        Raises:
            DataError: if a column is not there or cannot be used, or if a file is damaged or has changed.
        """
        chosen = list(dict.fromkeys(self.names if columns is None else columns))
        return self._pass(chosen, self._stored(chosen))

    def _pass(self, names: list[str], stored: list[str]) -> Iterator[Batch]:
        if self._grouped:
            tables = self._reader.read([*stored, UNIT], batch_rows=self._batch_rows)
            for table in whole_units(tables, batch_rows=self._batch_rows):
                units = plain(table.column(UNIT)).to_numpy()
                yield Batch(_columns(table, names, coded=isinstance(self._reader, CodedReader)), table.num_rows, units - units[0])
        elif names:
            for table in self._reader.read(stored, batch_rows=self._batch_rows):
                if table.num_rows:
                    yield Batch(_columns(table, names), table.num_rows)
        else:
            for start in range(0, self._rows, self._batch_rows):
                yield Batch({}, min(self._batch_rows, self._rows - start))

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All records in memory, in the order of `batches`. Not released: for the owner's own measurements and attacks."""
        chosen = list(dict.fromkeys(self.names if columns is None else columns))
        pieces = [pa.table([batch.columns[name] for name in chosen], names=chosen) for batch in self.batches(chosen)]
        if pieces:
            return pa.concat_tables(pieces, promote_options="permissive")
        types = {"number": pa.float64(), "bool": pa.bool_()}
        return pa.table([pa.array([], types.get(dict(self.schema)[name], pa.string())) for name in chosen], names=chosen)

    def unit_index(self) -> NDArray[np.int64]:
        """The unit of every row of `table`, int64 ``[rows]``, dense from 0. Not released."""
        if not self._grouped:
            return np.arange(self._rows, dtype=np.int64)
        pieces = [plain(table.column(UNIT)).to_numpy() for table in self._reader.read([UNIT], batch_rows=self._batch_rows)]
        return np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.int64)

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64] | Sequence[int]) -> Records:
        """Some records of a table in memory, by a mask or by indices into `table`. Not released.

        With a privacy unit the rows stay sorted by unit.

        Raises:
            DataError: if the records are not in memory; use `table` first.
        """
        if not isinstance(self._reader, TableReader):
            raise DataError("Expected records in memory; these are read from a file. Take from Records.open(records.table()).")
        chosen = np.asarray(rows)
        if chosen.dtype == np.bool_ and len(chosen) != self._rows:
            raise UsageError(f"Expected one mask value per row; got {len(chosen)}.")
        chosen = np.flatnonzero(chosen) if chosen.dtype == np.bool_ else chosen.astype(np.int64)
        table = self._reader.table
        if self._grouped:
            chosen = np.sort(chosen)
            units = np.unique(table.column(UNIT).to_numpy()[chosen], return_inverse=True)[1].astype(np.int64)
            table = table.drop_columns([UNIT]).take(pa.array(chosen)).append_column(UNIT, pa.array(units))
        else:
            table = table.take(pa.array(chosen))
        return Records(TableReader(table, self._reader.fields), unit=self._unit, batch_rows=self._batch_rows, time=self._time)

    def split(self, fractions: Sequence[float], *, seed: int) -> tuple[Records, ...]:
        """Disjoint parts of a table in memory, by whole units, at random by ``seed``. Not released.

        Args:
            fractions: share of the units in each part; positive, at most 1 together.
            seed: for the shuffle, which protects nothing.
        """
        if not fractions or min(fractions) <= 0 or sum(fractions) > 1 + 1e-9:
            raise UsageError(f"Expected positive fractions that sum to at most 1; got {list(fractions)}.")
        units = self.unit_index()
        count = int(units[-1]) + 1 if len(units) else 0
        place = np.random.default_rng(seed).permutation(count)
        ends = np.rint(np.cumsum([0.0, *fractions]) * count).astype(np.int64)
        return tuple(self.take((place[units] >= low) & (place[units] < high)) for low, high in itertools.pairwise(ends))

    def fingerprint(self, key: bytes) -> str:
        """HMAC-SHA256 of the source, in hex: tells its owner whether these are the same records as before. Never released.

        Args:
            key: a secret; without one, whoever guesses the records could confirm the guess.
        """
        if len(key) < 16:
            raise UsageError(f"Expected a key of at least 16 bytes; got {len(key)}.")
        digest = hmac.new(key, digestmod=hashlib.sha256)
        if self._origin is not None:
            self._origin.check()
            for path, size, *_ in self._origin.states:
                digest.update(size.to_bytes(8, "big"))
                _update(digest, path)
        elif isinstance(self._reader, TableReader):
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, self._reader.table.schema) as stream:
                stream.write_table(self._reader.table.combine_chunks())
            digest.update(sink.getvalue())
        return digest.hexdigest()

    def close(self) -> None:
        """Remove the temporary copy, if there is one; the records can no longer be read then."""
        if self._spool is not None:
            self._spool.close()

    def __enter__(self) -> Records:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise UsageError("Records are never serialised. Open the source where they are needed.")

    def __repr__(self) -> str:
        return f"Records({len(self.names)} columns, unit {self._unit})"


class _Limits:
    """How rows are grouped into units."""

    def __init__(self, unit: PrivacyUnit, time: str | None, max_rows: int | None, *, columns: tuple[str, ...] | None = None) -> None:
        self.unit, self.time, self.max_rows, self.columns = unit, time, max_rows, columns

    def refuse_if_set(self) -> None:
        if self.time is not None or self.max_rows is not None:
            raise UsageError("Expected unit= together with time= or max_rows_per_unit=; without a unit every record is one.")

    def arranged(self, reader: Reader, spool: Spool | None) -> Reader:
        if self.unit.column is None:
            self.refuse_if_set()
            return reader
        fields = {field.name: field for field in reader.fields}
        unusable = frozenset(field.name for field in reader.fields if field.kind is None)
        column = _field(self.unit.column, fields, unusable)
        time = None if self.time is None else _field(self.time, fields, unusable)
        key = UnitKey(column, time, self.unit.window)
        if self.columns is None:
            return arrange(reader, key, limit=self.max_rows, spool=spool)
        wanted = [column, *([] if time is None else [time]), *(_field(name, fields, unusable) for name in self.columns)]
        narrowed = Narrowed(reader, tuple(dict.fromkeys(wanted)))
        return coded(narrowed, key, limit=self.max_rows) or arrange(narrowed, key, limit=self.max_rows, spool=spool)


def _field(name: str, fields: dict[str, Field], unusable: frozenset[str]) -> Field:
    if name in unusable:
        raise DataError(f"Expected a column of numbers, text or bool; «{name}» is nested or binary. Flatten it before.")
    if name in fields:
        return fields[name]
    near = difflib.get_close_matches(str(name), fields, n=3, cutoff=0.5) or [
        known for known in fields if known.casefold() == str(name).strip().casefold()
    ]
    hint = f"Did you mean {', '.join(f'«{known}»' for known in near)}?" if near else _listed(list(fields))
    raise DataError(f"Expected a column of the records; there is no «{name}». {hint}")


def _listed(names: list[str]) -> str:
    shown = ", ".join(f"«{name}»" for name in names[:10])
    return f"There are {shown}" + (f" and {len(names) - 10} more." if len(names) > 10 else ".")


def _columns(table: pa.Table, names: list[str], *, coded: bool = False) -> dict[str, pa.Array]:
    columns = dict(zip(names, table.columns, strict=False))
    return {name: column.combine_chunks() if coded and pa.types.is_dictionary(column.type) else plain(column) for name, column in columns.items()}


def _update(digest: hmac.HMAC, path: Path) -> None:
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)


def _opened(path: Path, kind: str) -> ParquetReader | ArrowReader:
    reader = ParquetReader.open(_parts(path)) if kind == "parquet" else ArrowReader.open(path)
    if not reader.rows:
        raise DataError(f"Expected records in {path}; there are none. Check that the export was complete.")
    return reader


def _parts(path: Path) -> list[Path]:
    """A Parquet file, or those of a folder, sorted; hidden ones and those that begin with an underscore are metadata."""
    if not path.is_dir():
        return [path]
    with _reachable(path):
        next(path.iterdir(), None)
    found = (part for suffix in ("*.parquet", "*.pq") for part in path.rglob(suffix) if part.is_file())
    parts = sorted(part for part in found if not any(name[0] in "._" for name in part.relative_to(path).parts))
    if not parts:
        raise DataError(f"Expected Parquet files in the folder {path}; there are none. Pass one file, or a folder of *.parquet.")
    for part in parts:
        _head(part)
    return parts


def _format_of(path: Path, declared: str | None) -> str:
    """The format of a file, by declaration, first bytes or name, in this order; they may not contradict each other."""
    if declared is not None and _ALIASES.get(declared, declared) not in FORMATS:
        raise DataError(f"Expected format to be one of {', '.join(FORMATS)}; got «{declared}».")
    wanted = None if declared is None else _ALIASES.get(declared, declared)
    with _reachable(path):
        is_folder = stat.S_ISDIR(path.stat().st_mode)
    if is_folder:
        if wanted not in (None, "parquet"):
            raise DataError(f"Expected a file of format {wanted}; {path} is a folder. Only Parquet is read from a folder.")
        return "parquet"
    head = _head(path)
    found = _by_content(head, path)
    suffixes = [suffix.lower() for suffix in path.suffixes]
    named = _BY_SUFFIX.get(next((suffix for suffix in reversed(suffixes) if suffix != ".gz"), ""))
    chosen = wanted or found or named or ("jsonl" if head.lstrip()[:1] == b"{" else None)
    if chosen is None:
        raise DataError(f"Expected a file with a known ending; {path.name} has none. Pass format=, one of {', '.join(FORMATS)}.")
    if found and found != chosen:
        raise DataError(f"Expected {path} to be {chosen}; its first bytes are those of {found}. Pass format='{found}' or leave it out.")
    return chosen


def _by_content(head: bytes, path: Path) -> str | None:
    if not head:
        raise DataError(f"Expected records in {path}; the file is empty. Check that the export was complete.")
    foreign = next((what for magic, what in _FOREIGN.items() if head.startswith(magic)), None)
    if foreign:
        raise DataError(f"Expected one of {', '.join(FORMATS)}; {path} is {foreign}. Unpack it, or export it as CSV or Parquet.")
    return "parquet" if head.startswith(b"PAR1") else "arrow" if head.startswith(b"ARROW1") else None


def _head(path: Path) -> bytes:
    with _reachable(path):
        if not stat.S_ISREG(path.stat().st_mode):
            raise DataError(f"Expected a regular file at {path}; it is a device or a pipe. Save it to a file first.")
        with path.open("rb") as file:
            return file.read(_HEAD)


@contextmanager
def _reachable(path: Path) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise DataError(f"Expected a file or folder at {path}; there is none. Check the path.") from None
    except OSError as error:
        raise DataError(f"Expected a file that can be read; {path}: {os.strerror(error.errno or 0)}. Check its permissions.") from None
