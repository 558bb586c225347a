"""CSV and JSON lines: checked while they are read, every value kept as text, converted once into Parquet.

What a column *is* must not follow from what is in it, for one record could change it. So nothing here guesses types: a declared domain or
a charged question decides later what is a number.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import re
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv

from tacit.errors import DataError
from tacit.guard.records_formats import Field, ParquetReader, Unchanged, guarded, require_distinct, text_array
from tacit.guard.records_spool import ParquetSink, Spool

_BLOCK = 1 << 22
_LONGEST_HEADER = 1 << 20
_MOST_COLUMNS = 4096
_DELIMITERS = (",", ";", "\t", "|")
_ROW = "row"
"""A column that carries the rows of objects without keys."""
_SENTINEL = "\x1eend of records"
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


class _CheckedText(io.RawIOBase):
    """Behind `checked_text`; drops a byte-order mark."""

    def __init__(self, path: Path, *, tail: bytes = b"") -> None:
        self._path, self._tail, self._offset = path, tail, 0
        self._pending = b""
        file = path.open("rb")
        self._packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        self._file: Any = gzip.GzipFile(fileobj=file) if self._packed else file
        self._raw = file

    def readable(self) -> bool:
        """True."""
        return True

    def close(self) -> None:
        """Close the file."""
        self._raw.close()
        super().close()

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer`` with checked text."""
        view = memoryview(buffer).cast("B")
        data = self._next(len(view))
        view[: len(data)] = data
        return len(data)

    def _next(self, size: int) -> bytes:
        data = self._unpacked(size)
        if data:
            start = self._offset
            self._check(data)
            if start == 0 and data.startswith(codecs.BOM_UTF8):
                return data[3:] or self._next(size)
            return data
        self._check(b"", final=True)
        data, self._tail = self._tail[:size], self._tail[size:]
        return data

    def _unpacked(self, size: int) -> bytes:
        try:
            return bytes(self._file.read(size))
        except (EOFError, gzip.BadGzipFile, zlib.error):
            pass
        raise DataError(f"Expected complete gzip data; {self._path} is damaged or cut off. Test it with `gzip -t`, and copy it again.")

    def _check(self, data: bytes, *, final: bool = False) -> None:
        if self._offset == 0 and data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            raise DataError(f"Expected UTF-8 text; {self._path} is UTF-16. Convert it: iconv -f utf-16 -t utf-8.")
        at = data.find(b"\0")
        if at >= 0:
            raise DataError(f"Expected text; {self._path} has a NUL byte at {self._where(at)}. It is another format, UTF-16, or damaged.")
        if self._pending or final or not data.isascii():
            self._decode(data, final=final)
        self._offset += len(data)

    def _decode(self, data: bytes, *, final: bool) -> None:
        text = self._pending + data
        try:
            self._pending = text[codecs.utf_8_decode(text, "strict", final)[1] :]
            return
        except UnicodeDecodeError as error:
            where = self._where(error.start - len(self._pending))
        raise DataError(f"Expected UTF-8 text; {self._path} has something else at {where}. Convert it: iconv -f latin1 -t utf-8.")

    def _where(self, position: int) -> str:
        return f"byte {self._offset + position}" + (" of the unpacked text" if self._packed else "")


class _Blocks(io.BufferedReader):
    """Blocks that never end in a carriage return.

    Arrow's CSV reader drops a line feed at the start of a block after one, even between quotes: a value would depend on where it lies.
    """

    _held = b""

    def read(self, size: int | None = -1, /) -> bytes:
        """At most ``size`` bytes; fewer does not mean the end, none does."""
        data = self._held + super().read(size if size is None or size < 0 else max(1, size - len(self._held)))
        kept = data.rstrip(b"\r") or data
        self._held = data[len(kept) :]
        return kept


def checked_text(path: Path, *, tail: bytes = b"") -> io.BufferedReader:
    """The bytes of a text file, unpacked if they are gzip, then ``tail``; reading raises `DataError` where they are no clean UTF-8."""
    return _Blocks(_CheckedText(path, tail=tail), _BLOCK)


def convert(path: Path, *, format: str, spool: Spool) -> ParquetReader:
    """Convert a text file into Parquet files of text columns in ``spool``.

    Args:
        path: the file, gzip or not.
        format: ``csv``, ``tsv`` or ``jsonl``.
        spool: where to write.

    Raises:
        DataError: if the file is no clean text, or a record does not fit; says the line, nothing of what is in it.
        StorageError: if the disk is full.
    """
    unchanged = Unchanged.of([path])
    reader = _convert_json(path, spool) if format == "jsonl" else _convert_csv(path, spool, tabs=format == "tsv")
    unchanged.check()
    if not reader.rows:
        raise DataError(f"Expected records in {path}; there are none. Check that the export was complete.")
    return reader


def _converted(sinks: Sequence[ParquetSink], names: Sequence[str], stored: Sequence[str], *, order: Sequence[int]) -> ParquetReader:
    for sink in sinks:
        sink.close()
    paths = tuple(sink.path for sink in sinks)
    fields = tuple(Field(names[index], stored[index], "text") for index in order)
    rows, size = sum(sink.rows for sink in sinks), sum(sink.size for sink in sinks)
    return ParquetReader(paths, fields, rows, size, Unchanged.of(paths), dict.fromkeys(stored, pa.string()))


@dataclass(frozen=True)
class _Header:
    names: tuple[str, ...]
    delimiter: str
    lines: int


def _convert_csv(path: Path, spool: Spool, *, tabs: bool) -> ParquetReader:
    with checked_text(path) as text:
        header = _read_header(text, path, tabs=tabs)
    stored = [f"c{index}" for index in range(len(header.names))]
    sink = ParquetSink(spool.path / "text-0.parquet", pa.schema([(name, pa.string()) for name in stored]))
    for batch in _csv_batches(path, header, stored):
        sink.write(pa.Table.from_batches([batch]))
    return _converted([sink], header.names, stored, order=range(len(stored)))


def _csv_batches(path: Path, header: _Header, stored: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """All records; a record appended to the text comes back as the last one, unless a quote was left open."""
    tail = f"\n{_SENTINEL}{header.delimiter * (len(stored) - 1)}\n".encode()
    ragged: list[bool] = []
    with checked_text(path, tail=tail) as text:
        _read_record(text, path)
        held: pa.RecordBatch | None = None
        for batch in guarded(_parsed(text, header, stored, ragged), _unreadable(path)):
            if ragged:
                break
            if held is not None:
                yield held
            held = batch if batch.num_rows else held
    if ragged or held is None or held.column(0)[-1].as_py() != _SENTINEL:
        raise _misfit(path, header)
    yield held.slice(0, held.num_rows - 1)


def _unreadable(path: Path) -> str:
    return f"Expected CSV in {path}; a record is longer than {_BLOCK >> 20} MiB, or a quote is left open. Check quotes and delimiter."


def _parsed(text: io.BufferedReader, header: _Header, stored: Sequence[str], ragged: list[bool]) -> Iterator[pa.RecordBatch]:
    def skip(_: Any) -> str:
        ragged.append(True)
        return "skip"

    yield from pa_csv.open_csv(
        text,
        read_options=pa_csv.ReadOptions(column_names=list(stored), block_size=_BLOCK),
        parse_options=pa_csv.ParseOptions(delimiter=header.delimiter, newlines_in_values=True, invalid_row_handler=skip),
        convert_options=pa_csv.ConvertOptions(
            column_types={name: pa.string() for name in stored}, null_values=[""],
            strings_can_be_null=True, quoted_strings_can_be_null=False,
        ),
    )


def _read_record(text: io.BufferedReader, path: Path) -> tuple[str, int]:
    """The first record that is not blank, quotes and all, and the lines up to its end."""
    record, lines = b"", 0
    while len(record) < _LONGEST_HEADER:
        line = text.readline(_LONGEST_HEADER)
        lines += 1
        if not line:
            break
        record += line
        if not record.strip(b"\r\n"):
            record = b""
        elif record.count(b'"') % 2 == 0:
            return record.decode(), lines
    if not record:
        raise DataError(f"Expected a header line and records; {path} is empty. Check that the export was complete.")
    raise DataError(f"Expected a header line of column names in {path}; a quote in it is left open, or it is longer than 1 MiB.")


def _read_header(text: io.BufferedReader, path: Path, *, tabs: bool) -> _Header:
    record, lines = _read_record(text, path)
    outside = re.sub(r'"[^"]*"', "", record)
    delimiter = "\t" if tabs else max(_DELIMITERS, key=lambda mark: (outside.count(mark), mark == ","))
    cells = next(csv.reader(io.StringIO(record, newline=""), delimiter=delimiter))
    names = tuple(name.strip() or f"column_{position}" for position, name in enumerate(cells, 1))
    _require_names(names, path)
    require_distinct(names, where=str(path))
    return _Header(names, delimiter, lines)


def _require_names(names: Sequence[str], path: Path) -> None:
    """Refuse a first line that is a record, for names are public and shown."""
    numbers = sum(_NUMBER.fullmatch(name) is not None for name in names)
    counted = [str(index) for index in range(len(names) + 1)]
    if numbers * 4 >= len(names) and list(names) not in (counted[:-1], counted[1:]):
        raise DataError(
            f"Expected column names in the first line of {path}; {numbers} of {len(names)} fields are numbers, as in a record. Add a "
            "line of names, or rename those that are numbers."
        )


def _misfit(path: Path, header: _Header) -> DataError:
    """Find the first record with a wrong number of fields, slowly; say its line and nothing of its content."""
    limit = csv.field_size_limit(sys.maxsize)
    try:
        with io.TextIOWrapper(checked_text(path), "utf-8", newline="") as text:
            return _located(text, path, header)
    finally:
        csv.field_size_limit(limit)


def _located(text: io.TextIOWrapper, path: Path, header: _Header) -> DataError:
    def lines() -> Iterator[str]:
        yield from text
        yield f"\n{_SENTINEL}\n"

    rows = csv.reader(lines(), delimiter=header.delimiter)
    start, fields, expected = 1, 0, len(header.names)
    for row in rows:
        fields = len(row)
        if any(_SENTINEL in cell for cell in row[-1:]) and row != [_SENTINEL]:
            return DataError(f"Expected every quote to be closed; {path} leaves one open in the record at line {start}. Correct it.")
        if row and fields != expected and row != [_SENTINEL]:
            return DataError(f"Expected {expected} fields in every record of {path}; line {start} has {fields}. Correct it.")
        start = rows.line_num + 1
    return DataError(f"Expected {expected} fields in every record of {path}; one has another number. Check its quotes and line ends.")


def _convert_json(path: Path, spool: Spool) -> ParquetReader:
    """Convert record by record; each time a new key turns up, a new file with one more column begins."""
    stored: dict[str, str] = {}
    sinks: list[ParquetSink] = []
    width = 0
    for records in filter(None, _json_records(path)):
        for record in records:
            for name in record:
                stored.setdefault(name, f"c{len(stored)}")
        if len(stored) > _MOST_COLUMNS:
            raise DataError(f"Expected at most {_MOST_COLUMNS} different keys in {path}; there are more. Keep the keys that matter.")
        if not sinks or len(stored) > width:
            width = len(stored)
            schema = pa.schema([*((name, pa.large_string()) for name in stored.values()), (_ROW, pa.bool_())])
            sinks.append(ParquetSink(spool.path / f"text-{len(sinks)}.parquet", schema))
        arrays = [text_array([record.get(name) for record in records]) for name in stored]
        sinks[-1].write(pa.table([*arrays, pa.nulls(len(records), pa.bool_())], schema=schema))
    names = list(stored)
    if not names and sinks:
        raise DataError(f"Expected JSON objects with keys in {path}; they are all empty. Check the export.")
    return _converted(sinks, names, list(stored.values()), order=sorted(range(len(names)), key=names.__getitem__))


def _json_records(path: Path) -> Iterator[list[dict[str, str | None]]]:
    decode = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str).decode
    number = 1
    with checked_text(path) as text:
        while lines := text.readlines(_BLOCK):
            yield [_record(line, decode, path, number + index) for index, line in enumerate(lines) if not line.isspace()]
            number += len(lines)


def _record(line: bytes, decode: Callable[[str], Any], path: Path, number: int) -> dict[str, str | None]:
    problem = "is no JSON"
    try:
        value = decode(line.decode())
        if isinstance(value, dict):
            simple = b"\\u" not in line and "" not in value and all(type(cell) is str for cell in value.values())
            return value if simple else _flat(value)
        problem = "is no object"
    except RecursionError:
        problem = "is nested too deeply"
    except ValueError:
        pass
    hints = {b"[": "Turn an array into lines with `jq -c '.[]'`.", b"{": "Turn objects of many lines into lines with `jq -c .`."}
    hint = hints[line[:1]] if line[:1] == b"[" or line.strip() == b"{" else "Correct or remove that line."
    raise DataError(f"Expected one JSON object per line; line {number} of {path} {problem}. {hint}")


def _flat(value: dict[str, Any], prefix: str = "") -> dict[str, str | None]:
    """Nested objects by dotted names, numbers in their exact text, a list of one scalar as that scalar, other lists as JSON."""
    flat: dict[str, str | None] = {}
    for key, cell in value.items():
        name = prefix + (key.encode("utf-8", "replace").decode() or "column")
        if isinstance(cell, list) and len(cell) == 1 and not isinstance(cell[0], dict | list):
            cell = cell[0]
        if isinstance(cell, dict):
            flat.update(_flat(cell, f"{name}."))
        else:
            flat[name] = _scalar(cell)
    return flat


def _scalar(cell: Any) -> str | None:
    if cell is None or isinstance(cell, str):
        return cell
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return json.dumps(cell, ensure_ascii=False, separators=(",", ":"))
