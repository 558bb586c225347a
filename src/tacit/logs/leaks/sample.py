"""A log before and after: the same records, side by side, one column for each field."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tacit.errors import DataError
from tacit.logs.anonymise.tree import Node, tree_of
from tacit.logs.formats import Event, by_name
from tacit.logs.formats import records as lines_of
from tacit.logs.policies import FieldRule, SourcePolicy
from tacit.logs.treatments.coarse import moment_of, seconds

RECORDS = 20_000
"""Records that are looked at unless another number is asked for."""

_DEEPEST, _MOST_PATHS = 20, 2_000
_ALIKE = 0.99
Column = list[Any]


@dataclass(frozen=True, eq=False)
class Sample:
    """The same records before and after. In the clear: for the owner alone.

    Args:
        policy: under which they were treated.
        rules: by path that occurs.
        original: a value per record and path; the first of a list.
        released: the same after treatment.
        text: what was released, as bytes.
        count: of records.
        events: before treatment, as they were read.
    """

    policy: SourcePolicy
    rules: dict[str, FieldRule]
    original: dict[str, Column]
    released: dict[str, Column]
    text: bytes
    count: int
    events: Sequence[Event]

    @classmethod
    def read(cls, original: str | Path, anonymised: str | Path, policy: SourcePolicy, *, records: int = RECORDS) -> Sample:
        """The first records of two files.

        Raises:
            DataError: if a file cannot be read, or the records are not the same ones.
        """
        form = by_name(policy.format)
        before = form.parse(_first(original, records)).events
        if str(anonymised).endswith(".parquet"):
            after = _parquet(anonymised, records)
            text = b"\n".join(json.dumps(event, ensure_ascii=False, default=str).encode() for event in after)
        else:
            lines = _first(anonymised, records)
            parsed = by_name("json").parse(lines)
            if parsed.damaged:
                raise DataError(f"Expected JSON lines, or a .parquet file, in {anonymised}; line {parsed.damaged[0].line + 1} is not.")
            after, text = parsed.events, b"\n".join(lines)
        return cls.of(before, after, policy, text=text)

    @classmethod
    def of(cls, before: Sequence[Event], after: Sequence[Event], policy: SourcePolicy, *, text: bytes | None = None) -> Sample:
        """From events in memory.

        Raises:
            DataError: if the records are not the same ones.
        """
        if not before or not after:
            raise DataError("Expected at least one readable record in both files; check their names, and the policy's format.")
        root, paths = tree_of(policy.fields), list(policy.fields.values())
        first, rules = _columns(before, root, paths)
        second, more = _columns(after, root, paths)
        rules |= more
        rows = _pairs(first, second, rules, (len(before), len(after)))
        aligned = [{path: [column[row] for row in side] for path, column in table.items()} for table, side in zip((first, second), rows, strict=True)]
        whole = text if text is not None else b"\n".join(json.dumps(event, ensure_ascii=False, default=str).encode() for event in after)
        sample = cls(policy, rules, aligned[0], aligned[1], whole, len(rows[0]), before)
        sample.check()
        return sample

    def check(self) -> None:
        """Whether what the policy keeps is the same on both sides.

        Raises:
            DataError: it is not.
        """
        kept = self.paths("keep")
        pairs = [(self.original[path], self.released[path]) for path in kept if path in self.original and path in self.released]
        there = same = 0
        for before, after in pairs:
            both = [(a, b) for a, b in zip(before, after, strict=True) if a is not None and b is not None]
            there, same = there + len(both), same + sum(str(a) == str(b) for a, b in both)
        if there and same / there < _ALIKE:
            raise DataError(
                f"Expected the same records in both files, in the same order; of the values that the policy keeps {same / there:.0%} agree. Pass the "
                "file that the output was made from, and the policy that it was made with."
            )

    def paths(self, *treatments: str) -> list[str]:
        """Paths with one of these treatments that were released, the fullest first."""
        found = [path for path, rule in self.rules.items() if rule.treatment in treatments and path in self.released]
        return sorted(found, key=lambda path: (self.released[path].count(None), path))

    def times(self, side: dict[str, Column]) -> NDArray[np.float64]:
        """When each record happened, in seconds; NaN where that cannot be read."""
        path = self.time
        return np.full(self.count, np.nan) if path is None or path not in side else np.array([seconds(value) for value in side[path]])

    @property
    def time(self) -> str | None:
        """The field of the time: the policy's, or the fullest that holds times."""
        if self.policy.time is not None and self.policy.time in self.original:
            return self.policy.time
        for path in sorted(self.original, key=lambda path: (self.original[path].count(None), path)):
            values = [value for value in self.original[path][:50] if isinstance(value, str)]
            if len(values) >= min(self.count, 50) / 2 and all(moment_of(value) is not None for value in values):
                return path
        return None


def _first(path: str | Path, records: int) -> list[bytes]:
    found: list[bytes] = []
    for batch in lines_of(path, lines=min(records, RECORDS)):
        found += batch
        if len(found) >= records:
            break
    return found[:records]


def _parquet(path: str | Path, records: int) -> list[Event]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    found: list[Event] = []
    try:
        for batch in pq.ParquetFile(path).iter_batches(batch_size=min(records, RECORDS)):
            found += batch.to_pylist()
            if len(found) >= records:
                break
    except (OSError, pa.ArrowException):
        raise DataError(f"Cannot read {path} as a Parquet file. Check the name.") from None
    return [_row(row) for row in found[:records]]


def _row(row: dict[str, Any]) -> Event:
    """A row as an event: without what is missing, and with what stands together in «other»."""
    other = row.pop("other", None)
    try:
        more = json.loads(other) if isinstance(other, str) else {}
    except ValueError:
        more = {}
    return {key: value for key, value in {**row, **(more if isinstance(more, dict) else {})}.items() if value is not None}


def _columns(events: Sequence[Event], root: Node, rules: list[FieldRule]) -> tuple[dict[str, Column], dict[str, FieldRule]]:
    """A column for each path that the policy names."""
    columns: dict[str, Column] = {}
    found: dict[str, FieldRule] = {}
    for row, event in enumerate(events):
        for path, rule, value in _leaves(event, root, "", 0):
            if path not in columns:
                if len(columns) >= _MOST_PATHS:
                    continue
                columns[path], found[path] = [None] * len(events), rules[rule]
            if columns[path][row] is None:
                columns[path][row] = value
    return columns, found


def _leaves(value: Any, node: Node, path: str, depth: int) -> Iterator[tuple[str, int, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items() if depth < _DEEPEST else ():
            child = node.child(key)
            if child is not None:
                yield from _leaves(inner, child, f"{path}.{key}" if path else key, depth + 1)
    elif isinstance(value, list):
        for inner in value[:50] if depth < _DEEPEST else ():
            yield from _leaves(inner, node, path, depth + 1)
    elif value is not None and node.rule is not None:
        yield path, node.rule, value
    elif value is not None and node.below is not None:
        yield path, node.below, value


def _pairs(
    before: dict[str, Column], after: dict[str, Column], rules: dict[str, FieldRule], counts: tuple[int, int]
) -> tuple[list[int], list[int]]:
    """Rows of both sides that are one record: by a kept value that no other record has, or by their order."""
    for path, rule in rules.items():
        if rule.treatment == "keep" and path in before and path in after:
            first, second = _places(before[path]), _places(after[path])
            if first is not None and second is not None:
                both = [value for value in first if value in second]
                if len(both) >= _ALIKE * min(counts):
                    return [first[value] for value in both], [second[value] for value in both]
    if counts[0] != counts[1]:
        raise DataError(
            f"Expected as many records in both files, because no field that the policy keeps numbers them; got {counts[0]:,} and {counts[1]:,}. Pass "
            "the file that the output was made from, without its dead letters."
        )
    return list(range(counts[0])), list(range(counts[1]))


def _places(column: Column) -> dict[str, int] | None:
    """Where each value stands; ``None`` unless all are there and different."""
    found = {str(value): row for row, value in enumerate(column) if value is not None}
    return found if len(found) == len(column) else None
