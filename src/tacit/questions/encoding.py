"""From Arrow values to public codes: what every question sees of a record."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tacit.domain import Category, ColumnType, Numeric, keys
from tacit.errors import UsageError

Codes = NDArray[np.uint16]
Labels = NDArray[np.int32]


def numbers(values: pa.Array) -> NDArray[np.float64]:
    """Any Arrow column as float64 ``[rows]``; what is no number is NaN.

    >>> numbers(pa.array(["1", " 2.5", "x", None])).tolist()
    [1.0, 2.5, nan, nan]
    """
    if pa.types.is_dictionary(values.type):
        return numbers(values.dictionary_decode())
    if pa.types.is_floating(values.type) or pa.types.is_integer(values.type):
        plain = values if values.null_count == 0 else values.cast(pa.float64()).fill_null(math.nan)
        return np.asarray(plain.to_numpy(zero_copy_only=False))
    if pa.types.is_boolean(values.type):
        return numbers(values.cast(pa.int8()))
    series = pl.from_arrow(pa.chunked_array([values.cast(pa.large_string())]))
    if not isinstance(series, pl.Series):  # pragma: no cover - from_arrow of one column is a series
        raise UsageError("Expected one column.")
    return np.asarray(series.str.strip_chars().cast(pl.Float64, strict=False).fill_null(math.nan).to_numpy(), np.float64)


def texts(values: pa.Array) -> pa.Array:
    """Any Arrow column as text: stripped, whole numbers without a fraction, booleans as true and false.

    >>> texts(pa.array([1.0, 2.5, None])).to_pylist()
    ['1', '2.5', None]
    """
    if pa.types.is_dictionary(values.type):
        return texts(values.dictionary_decode())
    if pa.types.is_floating(values.type):
        whole = pc.equal(values, pc.floor(values))
        small = pc.and_(whole, pc.less(pc.abs(values), 2.0**53))
        integers = pc.if_else(small, values, None).cast(pa.int64()).cast(pa.string())
        return pc.if_else(pc.is_nan(values), None, pc.coalesce(integers, values.cast(pa.string())))
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        stripped = pc.utf8_trim_whitespace(values)
        return pc.if_else(pc.equal(stripped, ""), None, stripped)
    return values.cast(pa.string())


def encode(values: pa.Array, kind: ColumnType) -> Codes:
    """The public code of every value: uint16 ``[rows]``, see `tacit.domain`.

    >>> encode(pa.array(["tcp", None, "gre"]), Category(("tcp", "udp"))).tolist()
    [1, 0, 3]
    """
    if isinstance(kind, Numeric):
        return kind.lookup.take(keys(numbers(values), origin=kind.origin))
    return _category_codes(values, kind)


def encode_bins(values: pa.Array, kind: ColumnType, table: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The coarse bin of every value: ``table`` maps codes to bins."""
    if isinstance(kind, Numeric):
        return table.take(kind.lookup).take(keys(numbers(values), origin=kind.origin))
    return table.take(_category_codes(values, kind))


def _category_codes(values: pa.Array, kind: Category) -> Codes:
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    as_text = texts(values)
    found = pc.index_in(as_text, value_set=pa.array(kind.values, type=as_text.type))
    codes = np.asarray(pc.fill_null(found, len(kind.values)).to_numpy(zero_copy_only=False)) + 1
    codes[np.asarray(as_text.is_null().to_numpy(zero_copy_only=False))] = 0
    return codes.astype(np.uint16)


@dataclass(frozen=True)
class Target:
    """What is predicted: one of public classes, or a number between public bounds.

    Args:
        column: the label's column.
        classes: the public classes, in order; empty for a number.
        positive: if set, the classes are «anything else» and this value; ``classes`` then names the two for people.
        bounds: lower and upper bound of a number; labels outside are clipped.
    """

    column: str
    classes: tuple[str, ...] = ()
    positive: str | None = None
    bounds: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if bool(self.classes) == bool(self.bounds):
            raise UsageError("Expected either the classes of the target or its bounds; pass one of them.")
        if self.classes and (len(self.classes) < 2 or len(set(self.classes)) != len(self.classes)):
            raise UsageError(f"Expected at least two different classes for the target «{self.column}»; a constant target cannot be learned.")
        if self.bounds and not (math.isfinite(self.bounds[0]) and math.isfinite(self.bounds[1]) and self.bounds[0] < self.bounds[1]):
            raise UsageError(f"Expected finite bounds of the target with lower < upper; got {self.bounds}.")

    @property
    def outputs(self) -> int:
        """Margins per record: one for two classes and for numbers, else one per class."""
        return len(self.classes) if len(self.classes) > 2 else 1

    def labels(self, values: pa.Array) -> Labels:
        """Class indices int32 ``[rows]``, -1 where the label is missing or unknown; such records contribute nothing.

        For a number: the label scaled to [-1, 1] in steps of 2^-12, and the smallest int32 where it is missing.
        """
        if self.bounds:
            return self._scaled(numbers(values))
        if self.positive is not None:
            as_text = texts(values)
            hit = pc.fill_null(pc.equal(as_text, self.positive), False).to_numpy(zero_copy_only=False)
            known = np.asarray(as_text.is_valid().to_numpy(zero_copy_only=False))
            return np.where(known, hit.astype(np.int32), -1).astype(np.int32)
        codes = _category_codes(values, Category(self.classes)).astype(np.int32) - 1
        return np.where(codes < len(self.classes), codes, -1).astype(np.int32)

    def _scaled(self, values: NDArray[np.float64]) -> Labels:
        lower, upper = self.bounds or (0.0, 1.0)
        scaled = np.rint((np.clip(values, lower, upper) - lower) / (upper - lower) * 2 * UNIT_LABEL) - UNIT_LABEL
        return np.where(np.isnan(scaled), NO_LABEL, np.nan_to_num(scaled)).astype(np.int32)

    def known(self, labels: Labels) -> NDArray[np.bool_]:
        """Which labels can be used."""
        return np.asarray(labels != NO_LABEL if self.bounds else labels >= 0)

    def to_dict(self) -> dict[str, Any]:
        """Plain form."""
        return {
            "column": self.column, "classes": list(self.classes), "positive": self.positive,
            "bounds": None if self.bounds is None else list(self.bounds),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Target:
        """The target that `to_dict` described."""
        bounds = None if data["bounds"] is None else (float(data["bounds"][0]), float(data["bounds"][1]))
        return cls(str(data["column"]), tuple(map(str, data["classes"])), data["positive"], bounds)


UNIT_LABEL = 1 << 12
NO_LABEL = np.iinfo(np.int32).min
