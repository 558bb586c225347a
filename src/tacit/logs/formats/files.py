"""Files that are no lines, read as lines of JSON: Windows event logs (``.evtx``) and Parquet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tacit.errors import DataError, MissingExtra
from tacit.logs.formats.jsontext import library
from tacit.logs.formats.lines import batches, opened

_DAMAGED = b"(a damaged record of an event log)"
"""Stands for a record that cannot be read: no format takes it, so that it is counted and put aside."""
SUFFIXES = (".evtx", ".parquet")


def records(path: str | Path, *, lines: int, waiting: bool = False) -> Iterator[list[bytes]]:
    """Lines of a file in lists of at most so many, whatever the file is; see `opened` and `batches` for files of lines.

    A record of an ``.evtx`` becomes what its XML says, below ``Event``; a row of a Parquet file an object of its columns that are not null.

    Raises:
        DataError: it cannot be read.
        MissingExtra: it is an event log, and no library for these is installed.
    """
    name = str(path)
    if name.endswith(".evtx"):
        yield from _evtx(name, lines)
    elif name.endswith(".parquet"):
        yield from _parquet(name, lines)
    else:
        with opened(path) as file:
            yield from batches(file, lines=lines, waiting=waiting)


def _evtx(name: str, lines: int) -> Iterator[list[bytes]]:
    try:
        from evtx import PyEvtxParser
    except ImportError:
        raise MissingExtra("logs", purpose="reading Windows event logs") from None
    try:
        source: Iterator[Any] = iter(PyEvtxParser(name).records_json())
    except (OSError, RuntimeError) as error:
        raise DataError(f"Cannot read {name} as a Windows event log; check the file.") from error
    found: list[bytes] = []
    for line in _each(source):
        found.append(line)
        if len(found) >= lines:
            yield found
            found = []
    if found:
        yield found


def _each(source: Iterator[Any]) -> Iterator[bytes]:
    """One line per record. A damaged chunk loses its records; those of others are read."""
    json = library()
    while True:
        try:
            record = next(source)
        except StopIteration:
            return
        except RuntimeError:
            yield _DAMAGED
            continue
        try:
            yield json.dumps(json.loads(record["data"]))
        except json.JSONDecodeError:
            yield _DAMAGED


def _parquet(name: str, lines: int) -> Iterator[list[bytes]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    json = library()
    try:
        with pq.ParquetFile(name) as file:
            for batch in file.iter_batches(batch_size=lines):
                rows = batch.to_pylist()
                yield [json.dumps({key: value for key, value in row.items() if value is not None}, default=_plain) for row in rows]
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"Cannot read {name} as Parquet; check the file.") from error


def _plain(value: Any) -> str:
    """Of values that JSON does not know: bytes as hexadecimal digits, anything else as it reads."""
    return value.hex() if isinstance(value, bytes) else str(value)
