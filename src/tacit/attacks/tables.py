"""Records in whatever shape the target takes them: counted, taken, joined, and turned into numbers for attacks that look at records alone."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tacit.errors import DataError

_MOST_VALUES = 40


def as_table(X: Any) -> Any:
    """``X``, or a matrix where it is a plain sequence, or a text column."""
    if isinstance(X, (list, tuple)):
        return np.asarray(X, dtype=object) if X and isinstance(X[0], str) else np.asarray(X)
    if hasattr(X, "__dataframe__") or isinstance(X, pa.Table) or hasattr(X, "shape"):
        return X
    raise DataError(f"Expected records as a matrix, a table, a frame, a tensor or a list; got {type(X).__name__}.")


def rows_of(X: Any) -> int:
    """How many records."""
    return int(X.num_rows) if isinstance(X, pa.Table) else int(X.shape[0])


def take(X: Any, places: NDArray[np.intp]) -> Any:
    """Some records, in the order of ``places``."""
    if isinstance(X, pa.Table):
        return X.take(pa.array(places))
    if hasattr(X, "iloc"):
        return X.iloc[places]
    if type(X).__module__.startswith("torch"):
        import torch

        return X[torch.from_numpy(places)]
    return X[places]


def stack(first: Any, second: Any) -> Any:
    """Both, one after the other.

    Raises:
        DataError: if they are not of one kind, or their columns differ.
    """
    if type(first) is not type(second):
        raise DataError(f"Expected members and others in the same shape; got {type(first).__name__} and {type(second).__name__}.")
    _require_like(first, second)
    if isinstance(first, pa.Table):
        return pa.concat_tables([first, second], promote_options="permissive")
    if hasattr(first, "iloc"):
        import pandas as pd

        return pd.concat([first, second], ignore_index=True)
    if type(first).__module__.startswith("polars"):
        import polars as pl

        return pl.concat([first, second], how="vertical_relaxed")
    if type(first).__module__.startswith("torch"):
        import torch

        return torch.cat([first, second])
    if type(first).__module__.startswith("scipy.sparse"):
        from scipy import sparse

        return sparse.vstack([first, second], format="csr")
    return np.concatenate([first, second])


def _require_like(first: Any, second: Any) -> None:
    names = [list(table.column_names) if isinstance(table, pa.Table) else list(getattr(table, "columns", [])) for table in (first, second)]
    if names[0] != names[1]:
        odd = sorted({str(name) for name in names[0]} ^ {str(name) for name in names[1]})
        raise DataError(f"Expected members and others with the same columns; only one of them has {', '.join(odd[:5]) or 'this order'}.")
    shapes = [tuple(getattr(table, "shape", ()))[1:] for table in (first, second)]
    if shapes[0] != shapes[1]:
        raise DataError(f"Expected members and others with the same columns; their shapes are {shapes[0]} and {shapes[1]} per record.")


@dataclass(frozen=True, eq=False)
class Encoder:
    """How records become numbers, learned from some and the same for all others.

    Args:
        values: per column its common texts; ``None`` for numbers and times.
        center: mean of every feature.
        spread: its deviation, 1 where there is none.
    """

    values: tuple[NDArray[Any] | None, ...]
    center: NDArray[np.float64]
    spread: NDArray[np.float64]

    @classmethod
    def of(cls, X: Any) -> Encoder:
        """Learned from these records."""
        columns = [np.asarray(column) for column in _columns(X)]
        values = tuple(_common(column) for column in columns)
        matrix = _raw(columns, values, rows_of(X))
        known = np.where(np.isfinite(matrix), matrix, np.nan)
        with warnings.catch_warnings(action="ignore"):
            center = np.nan_to_num(np.nanmean(known, axis=0)) if len(matrix) else np.zeros(matrix.shape[1])
        spread = np.where(np.isfinite(matrix), matrix, center).std(axis=0) if len(matrix) else np.ones(matrix.shape[1])
        return cls(values, np.asarray(center, np.float64), np.asarray(np.where(spread > 0, spread, 1.0), np.float64))

    def __call__(self, X: Any) -> NDArray[np.float32]:
        """Records as numbers: float32 ``[records, features]``; the missing as the mean, texts that are not common as zeros."""
        matrix = _raw([np.asarray(column) for column in _columns(X)], self.values, rows_of(X))
        return np.asarray((np.where(np.isfinite(matrix), matrix, self.center) - self.center) / self.spread, np.float32)


def numeric(X: Any) -> NDArray[np.float32]:
    """Records as numbers: float32 ``[records, features]`` with mean 0 and spread 1; texts by their common values, the missing as the mean."""
    return Encoder.of(X)(X)


def _columns(X: Any) -> Sequence[Any]:
    if isinstance(X, pa.Table):
        return [column.to_numpy(zero_copy_only=False) for column in X.columns]
    if hasattr(X, "columns"):
        return [X[name].to_numpy() for name in X.columns]
    if hasattr(X, "toarray"):
        X = X.toarray()
    matrix = X.detach().cpu().numpy() if hasattr(X, "detach") else np.asarray(X)
    matrix = matrix.reshape(len(matrix), -1)
    return list(matrix.T) if matrix.dtype.kind in "OUS" else [matrix]


def _raw(columns: Sequence[NDArray[Any]], values: Sequence[NDArray[Any] | None], rows: int) -> NDArray[np.float32]:
    parts = [_column(column, common) for column, common in zip(columns, values, strict=True)]
    return np.concatenate(parts, axis=1) if parts else np.zeros((rows, 0), np.float32)


def _common(column: NDArray[Any]) -> NDArray[Any] | None:
    """The most frequent texts of a column; ``None`` if it holds numbers or times."""
    if column.dtype.kind in "biufmM":
        return None
    found, counts = np.unique(column.astype(str), return_counts=True)
    return np.asarray(found[np.argsort(-counts, kind="stable")[:_MOST_VALUES]])


def _column(values: NDArray[Any], common: NDArray[Any] | None) -> NDArray[np.float32]:
    if common is not None:
        return np.asarray(values.astype(str)[:, None] == common, np.float32)
    if values.dtype.kind in "mM":
        seconds = values.astype("datetime64[s]" if values.dtype.kind == "M" else "timedelta64[s]").astype(np.int64)
        return np.asarray(seconds, np.float32)[:, None]
    return np.asarray(values.reshape(len(values), -1), np.float32)


def fingerprint(X: Any) -> str:
    """SHA-256 of the content, hex, so that shadows of other records are never taken for shadows of these."""
    seen = hashlib.sha256(str(type(X)).encode())
    for column in _columns(X):
        array = np.asarray(column)
        seen.update(f"{array.dtype}{array.shape}".encode())
        seen.update("\x00".join(array.astype(str)).encode() if array.dtype.kind in "OUS" else np.ascontiguousarray(array).tobytes())
    return seen.hexdigest()
