"""Records in whatever shape the target takes them: counted, taken, joined, and turned into numbers for attacks that look at records alone."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
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


def numeric(X: Any) -> NDArray[np.float32]:
    """Records as numbers: float32 ``[records, features]`` with mean 0 and spread 1; texts by their common values, the missing as the mean."""
    parts = [_column(column) for column in _columns(X)]
    matrix = np.concatenate(parts, axis=1) if parts else np.zeros((rows_of(X), 0), np.float32)
    center = np.nanmean(np.where(np.isfinite(matrix), matrix, np.nan), axis=0) if len(matrix) else np.zeros(matrix.shape[1])
    matrix = np.where(np.isfinite(matrix), matrix, np.nan_to_num(center))
    spread = matrix.std(axis=0)
    return np.asarray((matrix - matrix.mean(axis=0)) / np.where(spread > 0, spread, 1.0), np.float32)


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


def _column(values: Any) -> NDArray[np.float32]:
    values = np.asarray(values)
    if values.dtype.kind in "biuf":
        return np.asarray(values.reshape(len(values), -1), np.float32)
    if values.dtype.kind in "mM":
        seconds = values.astype("datetime64[s]" if values.dtype.kind == "M" else "timedelta64[s]").astype(np.int64)
        return np.asarray(seconds, np.float32)[:, None]
    found, codes, counts = np.unique(values.astype(str), return_inverse=True, return_counts=True)
    common = np.argsort(-counts, kind="stable")[: _MOST_VALUES]
    place = np.full(len(found), -1)
    place[common] = np.arange(len(common))
    return np.asarray(place[codes][:, None] == np.arange(len(common)), np.float32)


def fingerprint(X: Any) -> str:
    """SHA-256 of the content, hex, so that shadows of other records are never taken for shadows of these."""
    seen = hashlib.sha256(str(type(X)).encode())
    for column in _columns(X):
        array = np.asarray(column)
        seen.update(f"{array.dtype}{array.shape}".encode())
        seen.update("\x00".join(array.astype(str)).encode() if array.dtype.kind in "OUS" else np.ascontiguousarray(array).tobytes())
    return seen.hexdigest()
