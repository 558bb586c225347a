"""Columns of a Parquet file hold what the events held, or the event is put aside."""

from __future__ import annotations

import io

import orjson
import pyarrow.parquet as pq
import pytest

from tacit.logs.anonymise import Anonymiser, Lines
from tacit.logs.formats import by_name
from tacit.logs.keys import EpochKey
from tacit.logs.policies import SourcePolicy
from tacit.logs.stages import ParquetSink

POLICY = SourcePolicy.parse("{version: 1, source: t, format: json, fields: {kept: keep}}")


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        (1, 0.5, [1]),
        (1, 2.0, [1, 2]),
        (0.5, True, [0.5]),
        ([1], [2, 0.5], [[1]]),
        (1, True, [1]),
        ("a", [1], ["a", "[1]"]),
        ([1], 2, [[1], [2]]),
        (None, "a", [None, "a"]),
    ],
)
def test_a_later_value_is_kept_as_it_is_or_put_aside(compiled: bool, first: object, second: object, kept: list[object]) -> None:
    file, anonymiser = io.BytesIO(), Anonymiser(POLICY, EpochKey.for_tests(), compiled=compiled)
    sink, refused = ParquetSink(file, POLICY), []
    for value in (first, second):
        refused += sink.write(anonymiser, Lines([orjson.dumps({"kept": value})], by_name("json")))[1]
    sink.close()
    assert pq.read_table(file)["kept"].to_pylist() == kept
    assert len(refused) == 2 - len(kept)
