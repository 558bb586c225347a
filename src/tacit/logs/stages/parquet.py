"""Anonymised events as a Parquet file: one column per path of the policy."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from itertools import chain
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from tacit.logs.anonymise import Anonymiser, Values
from tacit.logs.formats import Event
from tacit.logs.policies import SourcePolicy

_ROWS, _BYTES = 100_000, 64 << 20
"""Of a group of rows: smaller ones are written more slowly, larger ones need more memory."""
WRONG_TYPE = "a value of another type than its column"


class ParquetSink:
    """Columns with the types of the first batch that fills them; what does not fit is refused, record and all.

    Columns are the paths that the policy names; what only a pattern names (``labels.*``) stands together in the column ``other`` as JSON text.

    Args:
        file: to write.
        policy: of the source; its statement is kept in the file's metadata.
    """

    def __init__(self, file: IO[bytes], policy: SourcePolicy) -> None:
        self._file, self._policy = file, policy
        self._named = [path for path, rule in policy.fields.items() if "*" not in path and rule.treatment != "drop"]
        self._writer: pq.ParquetWriter | None = None
        self._schema: pa.Schema | None = None
        self._waiting: list[pa.Table] = []

    def write(self, anonymiser: Anonymiser, events: Iterable[Event]) -> tuple[int, list[tuple[int, str]], Counter[str]]:
        """See `Sink`."""
        found = anonymiser.arrays(events)
        columns = {path: found.columns.get(path) for path in self._named}
        others = {path: values for path, values in found.columns.items() if path not in columns}
        schema = self._schema or self._first(columns)
        arrays, wrong = [], set()
        for field in schema:
            values = _joined(others, len(found.places)) if field.name == "other" else columns[field.name]
            array, bad = _array(values, field.type, len(found.places))
            arrays.append(array)
            wrong |= bad
        table = pa.Table.from_arrays(arrays, schema=schema)
        if wrong:
            table = table.filter(pa.array([place not in wrong for place in range(len(found.places))]))
        self._waiting.append(table)
        if sum(part.num_rows for part in self._waiting) >= _ROWS or sum(part.nbytes for part in self._waiting) >= _BYTES:
            self._write()
        return table.num_rows, [*found.refused, *((found.places[place], WRONG_TYPE) for place in sorted(wrong))], found.unknown

    def close(self) -> None:
        """Finish the file, also if it holds no event."""
        self._write()
        if self._writer is not None:
            self._writer.close()

    def _write(self) -> None:
        """What waits goes out as a group of rows."""
        schema = self._schema or self._first(dict.fromkeys(self._named))
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._file, schema, compression="zstd")
        if self._waiting:
            self._writer.write_table(pa.concat_tables(self._waiting))
            self._waiting.clear()

    def _first(self, columns: dict[str, Values | None]) -> pa.Schema:
        fields = [pa.field(path, _type(values)) for path, values in columns.items()]
        statement = {path: promise for path, _, promise, _ in self._policy.statement()}
        self._schema = pa.schema([*fields, pa.field("other", pa.string())], metadata={"tacit.fields": json.dumps(statement, ensure_ascii=False)})
        return self._schema


def _type(values: Values | None) -> pa.DataType:
    if isinstance(values, pa.Array):
        return pa.string() if values.type == pa.null() else values.type
    types = {type(value) for value in values or () if value is not None}
    if types == {list}:
        inner = {type(item) for value in values or () if value is not None for item in value} - {type(None)}
        return pa.list_(pa.int64() if inner == {int} else pa.string())
    if types == {bool}:
        return pa.bool_()
    if types == {int}:
        return pa.int64()
    return pa.float64() if types and types <= {int, float} else pa.string()


def _array(values: Values | None, kind: pa.DataType, count: int) -> tuple[pa.Array, set[int]]:
    """The column, and the places of values that do not fit."""
    if values is None:
        return pa.nulls(count, kind), set()
    if isinstance(values, pa.Array):
        if values.type == kind:
            return values, set()
        values = values.to_pylist()
    if not _loses(values, kind):
        try:
            return pa.array(values, kind), set()
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
            pass
    kept: list[Any] = []
    bad: set[int] = set()
    for place, value in enumerate(values):
        fitted = _fitted(value, kind)
        kept.append(fitted)
        if value is not None and fitted is None:
            bad.add(place)
    return pa.array(kept, kind), bad


def _loses(values: Iterable[Any], kind: pa.DataType) -> bool:
    """Whether Arrow would cut a fraction off, or make a number of a truth value, without a word."""
    if pa.types.is_list(kind):
        return _loses(chain.from_iterable(value for value in values if isinstance(value, list)), kind.value_type)
    if pa.types.is_integer(kind):
        return any(type(value) is float and not value.is_integer() for value in values)
    return pa.types.is_floating(kind) and any(type(value) is bool for value in values)


def _fitted(value: Any, kind: pa.DataType) -> Any:
    """A value as its column wants it, where nothing is lost by that: one for a list of one, JSON for a text."""
    if pa.types.is_list(kind) and not isinstance(value, list):
        value = [value]
    if pa.types.is_string(kind) and isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    if _loses([value], kind):
        return None
    try:
        pa.array([value], kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return None
    return value


def _joined(columns: dict[str, Values], count: int) -> list[str | None] | None:
    if not columns:
        return None
    plain = {path: values.to_pylist() if isinstance(values, pa.Array) else values for path, values in sorted(columns.items())}
    rows = ({path: values[row] for path, values in plain.items() if values[row] is not None} for row in range(count))
    return [json.dumps(row, ensure_ascii=False) if row else None for row in rows]

