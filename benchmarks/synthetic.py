"""Records made in pieces, so that ten million of them never have to fit in memory: 40 columns, counts and heavy tails among them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.datasets import Split

COLUMNS = 40
PIECE = 100_000
TEST_PIECE = 1 << 20
"""The piece that is held back, and far beyond any that is trained on."""

_BOUNDS = ((0.0, 1e6), (0.0, 1e3), (-8.0, 8.0))


def columns() -> tuple[dict[str, Any], ...]:
    """The public columns, in turn amounts, counts and plain numbers."""
    bounds = [_BOUNDS[i % 3] for i in range(COLUMNS)]
    return tuple({"name": f"c{i:02d}", "type": "number", "lower": low, "upper": high} for i, (low, high) in enumerate(bounds))


def piece(number: int, rows: int = PIECE) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The same rows for the same number: values float32 ``[columns, rows]`` and labels, about a third of them 1."""
    rng = np.random.default_rng([2309, number])
    hidden = rng.standard_normal((COLUMNS, rows), np.float32)
    odds = 1.2 * hidden[0] - hidden[1] + np.sin(2 * hidden[2]) + hidden[3] * hidden[4] + np.where(hidden[5] > 0, hidden[6], -hidden[7]) - 1.2
    labels = (rng.random(rows) < 1 / (1 + np.exp(-1.5 * odds))).astype(np.int64)
    values = hidden
    values[0::3] = np.minimum(np.exp(1.5 * values[0::3] + 3), _BOUNDS[0][1])
    values[1::3] = np.minimum(np.floor(np.exp(values[1::3] + 1)), _BOUNDS[1][1])
    return values, labels


def frame(values: NDArray[np.float32]) -> pl.DataFrame:
    """Values as named columns."""
    return pl.DataFrame({column["name"]: row for column, row in zip(columns(), values, strict=True)})


def split(rows: int) -> Split:
    """So many rows to train, in memory, and one more piece to test."""
    parts = [piece(number) for number in range(rows // PIECE)]
    values, labels = np.concatenate([part[0] for part in parts], axis=1), np.concatenate([part[1] for part in parts])
    test, y_test = piece(TEST_PIECE)
    return Split(frame(values), labels, frame(test), y_test, columns())


def write_parquet(path: Path, rows: int) -> None:
    """The same training rows as `split` in one Parquet file with a label column ``y``, a piece at a time."""
    schema = pa.schema([*((column["name"], pa.float32()) for column in columns()), ("y", pa.int64())])
    with pq.ParquetWriter(path, schema) as writer:
        for number in range(-(-rows // PIECE)):
            values, labels = piece(number)
            kept = min(PIECE, rows - number * PIECE)
            writer.write_table(pa.table([*(pa.array(row[:kept]) for row in values), pa.array(labels[:kept])], schema=schema))
