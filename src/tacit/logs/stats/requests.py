"""What may be requested of a log: public, frozen, checked before anything is charged."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from tacit.errors import UsageError
from tacit.questions import Condition, TimeAxis

METRICS = ("count", "units", "distinct", "histogram", "quantiles", "top")
"""Rows; units; different values; rows by ranges of a number; quantiles of a number; the commonest keys."""

AUTO: Literal["auto"] = "auto"
Amount: TypeAlias = int | Literal["auto"] | None

MOST_KEYS = 10_000
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}\Z")


@dataclass(frozen=True)
class PublicKeys:
    """A column whose values are publicly known: counts are released for each of them, and for no other.

    Args:
        column: the column.
        values: as text.
    """

    column: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class FoundKeys:
    """A column whose common values are found by a charged selection; rare ones are not released, and not counted.

    Args:
        column: the column. Several of one request are found as combinations.
    """

    column: str


@dataclass(frozen=True)
class TimeBins:
    """Bins of the calendar.

    Args:
        width: in seconds.
    """

    width: int


Key: TypeAlias = PublicKeys | FoundKeys | TimeBins


@dataclass(frozen=True)
class Bounds:
    """How much one unit may add: given, or «auto»: chosen by a charged histogram of what units add. None of them: ``rows`` is chosen.

    Args:
        cells: most cells; «auto»: as many as 95 % of the units do not exceed.
        each: most rows in one cell; «auto» likewise.
        rows: most rows (or different values) altogether; «auto»: where the expected error, of noise and of what is cut off, is least.
    """

    cells: Amount = None
    each: Amount = None
    rows: Amount = None

    def __post_init__(self) -> None:
        for name in ("cells", "each", "rows"):
            value = getattr(self, name)
            if not (value is None or value == AUTO or (isinstance(value, int) and not isinstance(value, bool) and value >= 1)):
                raise UsageError(f"Expected {name}={value!r} to be auto or an integer >= 1.")


@dataclass(frozen=True)
class Request:
    """One table to be released.

    Args:
        name: of the table and of its file.
        metric: one of `METRICS`.
        by: what is told apart.
        where: conditions that records have to pass, all of them.
        of: the columns whose values are counted, the number whose ranges or quantiles are asked for, or the keys of which the commonest are.
        edges: public edges of the ranges of a number.
        at: which quantiles.
        most: how many of the commonest keys, for each of ``by``.
        bounds: how much one unit may add.
        share: of the budget, in proportion to those of the other requests.
        bias: whether some of the share pays for an estimate of what the bounds cut off, where choosing them does not tell.

    Raises:
        UsageError: if parts are missing, or do not belong to the metric.
    """

    name: str
    metric: str
    by: tuple[Key, ...] = ()
    where: tuple[Condition, ...] = ()
    of: tuple[str, ...] = ()
    edges: tuple[float, ...] = ()
    at: tuple[float, ...] = ()
    most: int = 10
    bounds: Bounds = field(default_factory=Bounds)
    share: float = 1.0
    bias: bool = True

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise UsageError(f"Expected a metric out of {', '.join(METRICS)}; got {self.metric!r}.")
        if not _NAME.match(self.name):
            raise UsageError(f"Expected a name of up to 64 letters, digits, «.», «_», «-» that begins with a letter; got {self.name!r}.")
        if not (math.isfinite(self.share) and self.share > 0):
            raise UsageError(f"Expected share={self.share} of «{self.name}» > 0.")
        columns = [key.column for key in self.by if not isinstance(key, TimeBins)]
        if len(set(columns)) != len(columns) or sum(isinstance(key, TimeBins) for key in self.by) > 1:
            raise UsageError(f"Expected each column of by= once in «{self.name}», and one width of time at most.")
        if any(column == "@timestamp" or column.startswith("tacit.") for column in (*columns, *(self.of if self.metric == "top" else ()))):
            raise UsageError(f"Expected keys of «{self.name}» other than @timestamp and tacit.*, under which times and results are released.")
        self._require_of()
        self._require_bounds()

    def _require_of(self) -> None:
        numeric = self.metric in ("histogram", "quantiles")
        if (self.metric in ("distinct", "top") or numeric) != bool(self.of) or (numeric and len(self.of) != 1) or len(set(self.of)) != len(self.of):
            wanted = "the number to look at" if numeric else "columns" if self.metric in ("distinct", "top") else "nothing"
            raise UsageError(f"Expected of= to name {wanted} in «{self.name}», because it asks for {self.metric}.")
        if numeric != bool(self.edges):
            raise UsageError(f"Expected public edges of ranges for a histogram or quantiles, and there only; see «{self.name}».")
        if (self.metric == "quantiles") != bool(self.at) or any(not 0 < at < 1 for at in self.at):
            raise UsageError(f"Expected quantiles strictly between 0 and 1, such as 0.5, for quantiles and there only; see «{self.name}».")
        if self.metric == "top" and (not 1 <= self.most <= MOST_KEYS or set(self.of) & {key.column for key in self.by if isinstance(key, FoundKeys)}):
            raise UsageError(f"Expected between 1 and {MOST_KEYS:,} keys of a column that is not in by=; see «{self.name}».")

    def _require_bounds(self) -> None:
        if self.metric in ("units", "distinct") and self.bounds.each is not None:
            raise UsageError(f"Expected no each= in «{self.name}»: a unit or a value counts once.")
        if self.metric == "distinct" and self.bounds.cells is not None:
            raise UsageError(f"Expected rows= alone in «{self.name}»: the most values that one unit may contribute.")

    @property
    def chooses_rows(self) -> bool:
        """Whether the most rows of a unit have to be chosen: asked for, or not bounded by numbers that are given."""
        bounds = self.bounds
        capped = isinstance(bounds.cells, int) and (isinstance(bounds.each, int) or self.metric == "units")
        return bounds.rows == AUTO or (bounds.rows is None and not capped)

    @property
    def found(self) -> tuple[str, ...]:
        """Columns whose common values, in combination, are found by a charged selection."""
        columns = tuple(key.column for key in self.by if isinstance(key, FoundKeys))
        return (*columns, *self.of) if self.metric == "top" else columns

    @property
    def time(self) -> TimeBins | None:
        """The width of bins of time, if there are any."""
        return next((key for key in self.by if isinstance(key, TimeBins)), None)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that are read, without that of time, each once."""
        keys = [key.column for key in self.by if not isinstance(key, TimeBins)]
        return tuple(dict.fromkeys([*keys, *(test.column for test in self.where), *self.of]))


@dataclass(frozen=True)
class Calendar:
    """The time that is counted, in bins or as a whole: public, never read off the records.

    Args:
        column: that says when.
        begin: seconds since 1970 (UTC).
        end: the first moment that no longer counts.
    """

    column: str
    begin: int
    end: int

    def __post_init__(self) -> None:
        if self.end <= self.begin:
            raise UsageError("Expected the calendar to end after it begins.")

    def axis(self, width: int) -> TimeAxis:
        """Its bins of ``width`` seconds.

        Raises:
            UsageError: unless the calendar is a whole number of them.
        """
        whole, rest = divmod(self.end - self.begin, width)
        if rest:
            raise UsageError(f"Expected a calendar of whole bins of {width} seconds; {rest} seconds are left over. Choose other dates.")
        return TimeAxis(self.column, self.begin, width, whole)


def log_edges(lower: float, upper: float, bins: int) -> tuple[float, ...]:
    """Edges whose ranges widen in proportion, from ``lower`` > 0; from 0 where that is the lower bound, with 1 as the first edge above.

    >>> log_edges(0, 1000, 4)
    (0.0, 1.0, 10.0, 100.0, 1000.0)

    Raises:
        UsageError: unless 0 <= lower < upper, and upper > 1 where lower is 0.
    """
    start = lower or 1.0
    steps = bins - (lower == 0)
    if not (0 <= lower < upper and start < upper and math.isfinite(upper)) or steps < 1:
        raise UsageError(f"Expected ranges of a number that is not negative, with lower={lower} < upper={upper}; pass linear ranges instead.")
    inner = tuple(float(f"{start * (upper / start) ** (step / steps):.6g}") for step in range(steps + 1))
    return (0.0, *inner) if lower == 0 else inner


def even_edges(lower: float, upper: float, bins: int) -> tuple[float, ...]:
    """Edges of equally wide ranges.

    >>> even_edges(0, 10, 4)
    (0.0, 2.5, 5.0, 7.5, 10.0)

    Raises:
        UsageError: unless lower < upper and bins >= 1.
    """
    if not (math.isfinite(lower) and math.isfinite(upper) and lower < upper) or bins < 1:
        raise UsageError(f"Expected lower={lower} < upper={upper}, both finite, and bins={bins} >= 1.")
    return tuple(lower + (upper - lower) * step / bins for step in range(bins + 1))
