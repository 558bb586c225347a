"""What callers of estimators pass, as plain columns and labels. Types follow from declared types, never from what the records hold."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, validate_data

from tacit.errors import DataError, UsageError
from tacit.guard.records_formats import table_of

_PLAIN_NAME = re.compile(r"[A-Za-z][\w .-]{0,39}")


class InvalidInput(DataError, ValueError):
    """Records or labels that no estimator can use; a `ValueError` too, because scikit-learn's tools expect one."""


def is_named(X: Any) -> bool:
    """Whether the columns have names: a frame, a table or a mapping, and no matrix."""
    if isinstance(X, Mapping | pa.Table | pa.RecordBatch):
        return not issparse(X)
    is_pandas = type(X).__module__.partition(".")[0] == "pandas"
    return hasattr(X, "columns") if is_pandas else hasattr(X, "__arrow_c_stream__")


def matrix_of(estimator: Any, X: Any, *, reset: bool) -> NDArray[Any]:
    """A matrix as scikit-learn checks it; numbers may be missing or infinite, for every such value has a public code.

    Raises:
        InvalidInput: if it has no two dimensions, no rows, or not the columns that were fitted.
    """
    with _without_values():
        return np.asarray(validate_data(estimator, X, reset=reset, dtype=None, ensure_all_finite=False))


@contextmanager
def _without_values() -> Iterator[None]:
    """scikit-learn's errors by their first lines, for the others may quote what was passed."""
    try:
        yield
    except ValueError as error:
        reason = str(error).partition("\n")[0].rstrip(":")
    else:
        return
    hint = ". Reshape your data: X.reshape(-1, 1) is one feature, X.reshape(1, -1) one record." if "Expected 2D" in reason else ""
    raise InvalidInput(reason + hint)


def table_from(X: Any, names: Sequence[str] | None = None) -> pa.Table:
    """Named columns, or a matrix and the names of its columns, as a table; an index of pandas is no column.

    Raises:
        DataError: if two columns share a name, or one cannot be read.
        InvalidInput: if there are no rows.
    """
    table = table_of(X if names is None else (X, names))
    if not table.num_rows:
        raise InvalidInput("Expected records in X; got 0 rows.")
    return table


def units_of(unit: Any, rows: int) -> pa.Array | pa.ChunkedArray:
    """Who each row is about.

    Raises:
        UsageError: if it is a name instead of values.
        InvalidInput: if it is not one value per row.
    """
    if isinstance(unit, str):
        raise UsageError("Expected unit to hold one value per row; got a text. Pass the column itself, and leave it out of X.")
    column = table_of({"unit": unit}).column(0)
    if len(column) != rows:
        raise InvalidInput(f"Expected one unit per row; got {len(column)} for {rows} rows.")
    return column


def unit_name(unit: Any) -> str | None:
    """What the guarantee calls a unit: the name of the series or column if it has a plain one, else «unit»; nothing if rows are units.

    >>> import pandas as pd
    >>> unit_name(pd.Series([1, 1, 2], name="customer")), unit_name([1, 1, 2]), unit_name(None)
    ('customer', 'unit', None)
    """
    if unit is None:
        return None
    name = getattr(unit, "name", None)
    return name if isinstance(name, str) and _PLAIN_NAME.fullmatch(name) else "unit"


@dataclass(frozen=True)
class LabelType:
    """The type that the caller's labels have, so that classes and predictions have it too.

    Args:
        dtype: of the labels themselves.
        boxed: whether they came in an array of objects.

    >>> LabelType(np.dtype(bool)).restore(("false", "true")).tolist(), LabelType(np.dtype(int)).restore(("2", "10")).tolist()
    ([False, True], [2, 10])
    """

    dtype: np.dtype[Any]
    boxed: bool = False

    def declared(self, classes: Sequence[Any]) -> tuple[str, ...]:
        """Declared classes as the text that labels are read as, in the order of the labels' type.

        Raises:
            UsageError: if a class cannot be of the labels' type, or occurs twice.
        """
        texts = [self._text(value) for value in classes]
        if len(set(texts)) != len(texts):
            raise UsageError(f"Expected classes that are all different; got classes={list(classes)!r}.")
        try:
            order = np.argsort(self.restore(texts), kind="stable")
        except ValueError:
            raise UsageError(f"Expected classes of the type that y has, {self.dtype}; got classes={list(classes)!r}.") from None
        return tuple(texts[place] for place in order)

    def _text(self, value: Any) -> str:
        number = isinstance(value, bool | int | float | np.bool_ | np.number) and math.isfinite(value)
        if number and value in (0, 1) and self.dtype.kind == "b":
            return "true" if value else "false"
        return str(int(value)) if number and value == int(value) and self.dtype.kind in "iuf" else str(value).strip()

    def restore(self, classes: Sequence[str]) -> NDArray[Any]:
        """Classes in the labels' type: ``[classes]``.

        Raises:
            ValueError: if one is no value of it.
        """
        if self.dtype.kind == "b":
            plain = np.array([("false", "true").index(name) for name in classes]).astype(bool)
        elif self.dtype.kind in "iu":
            plain = np.array([int(name) for name in classes]).astype(self.dtype)
        else:
            plain = np.array([float(name) for name in classes]).astype(self.dtype) if self.dtype.kind == "f" else np.array(list(classes))
        return plain.astype(object) if self.boxed else plain


def labels_of(estimator: Any, y: Any, rows: int, *, classify: bool) -> tuple[NDArray[Any], LabelType]:
    """Labels ``[rows]`` as plain numbers, truth values or text, and the type they came in.

    Raises:
        InvalidInput: if they are not one column of ``rows`` values, if one is missing, or are no classes although ``classify``.
    """
    plain = np.asarray(y) if isinstance(y, np.ndarray) or hasattr(y, "isna") else y
    if _lacks_some(plain) or (hasattr(y, "isna") and bool(np.asarray(y.isna()).any())):
        raise InvalidInput("Expected a label in every row; at least one of y is missing. Leave those rows out, or name them a class.")
    with _without_values():
        labels = validate_data(estimator, X="no_validation", y=plain, multi_output=False)
        check_consistent_length(range(rows), labels)
    boxed = labels.dtype == object
    if boxed:
        labels = np.array(labels.tolist())
    if labels.ndim != 1 or labels.dtype.kind not in "biufU":
        raise InvalidInput(f"Expected labels that are numbers, truth values or text; got {labels.dtype}. Convert y first.")
    if classify:
        with _without_values():
            check_classification_targets(labels)
    return labels, LabelType(labels.dtype, boxed)


def _lacks_some(labels: Any) -> bool:
    """Whether an array of objects holds something that says «missing» and is no number."""
    values = labels.ravel().tolist() if isinstance(labels, np.ndarray) and labels.dtype == object else []
    return any(value is None or type(value).__name__ in ("NAType", "NaTType") for value in values)
