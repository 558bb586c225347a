"""From Arrow values to moments: what every room takes a time to be."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from tacit.errors import UsageError


def seconds(values: pa.Array) -> NDArray[np.float64]:
    """Times as float64 seconds since 1970, UTC; NaN where a value is no time.

    Text is ISO 8601 (without a zone: UTC) or a number. Numbers are seconds, or by their size milli-, micro- or nanoseconds.

    >>> seconds(pa.array(["1970-01-02", "1970-01-01T01:00:00.5+01:00", "1500000000000", "soon"])).tolist()
    [86400.0, 0.5, 1500000000.0, nan]
    """
    if pa.types.is_dictionary(values.type):
        whole = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
        each = np.append(seconds(whole.dictionary), math.nan)
        return np.asarray(each.take(filled(whole, len(each) - 1)))
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        return _scaled(_from_text(values))
    return _scaled(values.cast(pa.float64(), safe=False).fill_null(math.nan).to_numpy(zero_copy_only=False))


def require_calendar(*, begin: int, width: int, bins: int) -> None:
    """Refuse a calendar that is not given in whole seconds.

    Raises:
        UsageError: one of the three is no whole number.
    """
    if any(isinstance(value, bool) or not isinstance(value, int) for value in (begin, width, bins)):
        raise UsageError("Expected begin, width and bins to be whole numbers: seconds since 1970, seconds, and how many bins.")


def calendar_places(values: pa.Array, *, begin: int, width: int, bins: int) -> NDArray[np.int64]:
    """The bin of each time, int64 ``[rows]``; -1 for what is no time, or before or after the calendar."""
    places = (seconds(values) - begin) / width
    with np.errstate(invalid="ignore"):
        inside = (places >= 0) & (places < bins)
    return np.where(inside, np.where(inside, places, 0).astype(np.int64), -1)


def filled(values: pa.DictionaryArray, missing: int) -> NDArray[np.int32]:
    """The codes of a dictionary's values, ``missing`` where there is none."""
    indices = values.indices if values.indices.null_count == 0 else values.indices.fill_null(missing)
    return np.asarray(indices.to_numpy(zero_copy_only=False))


def _scaled(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    # 1e11 seconds are 3,000 years after 1970: larger magnitudes are finer units.
    if len(numbers) and numbers.min() > -1e11 and numbers.max() < 1e11:
        return numbers
    size = np.abs(numbers)
    divisor = np.select([size >= 1e17, size >= 1e14, size >= 1e11], [1e9, 1e6, 1e3], 1.0)
    return np.where(np.isfinite(numbers), numbers / divisor, math.nan)


def _from_text(values: pa.Array) -> NDArray[np.float64]:
    series = pl.Series("time", values.cast(pa.large_string())).str.strip_chars()
    text = series.str.replace(r"^(\d{4}-\d\d-\d\d) ", "${1}T").str.replace("[zZ]$", "+00:00")
    moment = pl.col("time").str
    zoned = moment.to_datetime("%Y-%m-%dT%H:%M:%S%.f%z", strict=False, time_unit="us").dt.epoch("us")
    local = moment.to_datetime("%Y-%m-%dT%H:%M:%S%.f", strict=False, time_unit="us").dt.epoch("us")
    minutes = moment.to_datetime("%Y-%m-%dT%H:%M", strict=False, time_unit="us").dt.epoch("us")
    days = moment.to_datetime("%Y-%m-%d", strict=False, time_unit="us").dt.epoch("us")
    known = pl.coalesce(zoned, local, minutes, days).cast(pl.Float64) / 1e6
    frame = pl.DataFrame({"time": text}).select(pl.coalesce(known, pl.col("time").cast(pl.Float64, strict=False)))
    return np.asarray(frame.to_series().fill_null(math.nan).to_numpy())
