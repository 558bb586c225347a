"""Treatments that look beyond one value: whose it is, when it was, how many others have it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from tacit.errors import ConfigError
from tacit.logs.treatments.base import SECOND, Rows, Scalar
from tacit.logs.treatments.coarse import moment_of
from tacit.logs.treatments.pseudonyms import Key, Pseudonyms
from tacit.randomness import SecureRandom, rounded_laplace

RARE = "[rare]"
_MOST = 500_000


class Jitter:
    """Moves times by up to ``seconds`` either way, and never changes the order of one entity's events.

    Each entity has a curve of its own: knots every ``4 * seconds``, each moved by a keyed pseudorandom amount, straight lines between. Its slope is
    at least a half, so order stays and intervals change by at most half; the same time of the same entity is always moved alike.

    Raises:
        ConfigError: for no positive number of seconds.
    """

    stage, stable, alone = SECOND, False, False

    def __init__(self, key: Key, seconds: float) -> None:
        if not (seconds > 0 and math.isfinite(seconds)):
            raise ConfigError(f"Expected a positive number of seconds to move times by; got {seconds}.")
        self._curves, self._seconds = Pseudonyms(key, "jitter", "t"), float(seconds)

    def many(self, values: Sequence[Scalar], rows: Rows | None = None) -> Sequence[Scalar]:
        """What is no time becomes nothing."""
        entities: Sequence[Scalar] = rows.entity if rows is not None else [None] * len(values)
        return [self._one(value, str(entity)) for value, entity in zip(values, entities, strict=True)]

    def _one(self, value: Scalar, entity: str) -> Scalar:
        if isinstance(value, bool) or value is None:
            return None
        if isinstance(value, int | float):
            unit = 1_000 if abs(value) > 1e11 else 1
            moved = (value / unit + self._shift(value / unit, entity)) * unit
            return round(moved) if isinstance(value, int) else moved
        moment = moment_of(value)
        if moment is None:
            return None
        moved_to = (moment + timedelta(seconds=self._shift(moment.timestamp(), entity))).astimezone(UTC)
        return moved_to.isoformat(timespec="milliseconds" if value.find(".") > 0 else "seconds").replace("+00:00", "Z")

    def _shift(self, seconds: float, entity: str) -> float:
        spacing = 4 * self._seconds
        knot = math.floor(seconds / spacing)
        left, right = (self._knot(entity, place) for place in (knot, knot + 1))
        share = seconds / spacing - knot
        return left + (right - left) * share

    def _knot(self, entity: str, place: int) -> float:
        return (self._curves.number(f"{entity}\0{place}", 53) / 2**52 - 1) * self._seconds


class Suppress:
    """Hides a value until so many different units have had it; what was seen before counts.

    Raises:
        ConfigError: for fewer than two units.
    """

    stage, stable, alone = SECOND, False, False

    def __init__(self, units: int) -> None:
        if units < 2:
            raise ConfigError(f"Expected at least 2 units of which a value must be known; got {units}.")
        self._units = units
        self._seen: dict[Scalar, set[int] | None] = {}

    def many(self, values: Sequence[Scalar], rows: Rows | None = None) -> Sequence[Scalar]:
        """Values in the order of the events; ``[rare]`` stands for a hidden one (nothing, for numbers)."""
        units: Sequence[Scalar] = rows.unit if rows is not None else [None] * len(values)
        return [self._one(value, unit) for value, unit in zip(values, units, strict=True)]

    def _one(self, value: Scalar, unit: Scalar) -> Scalar:
        if value not in self._seen:
            if len(self._seen) >= _MOST:
                self._seen.clear()
            self._seen[value] = set()
        seen = self._seen[value]
        if seen is not None:
            if unit is not None:
                seen.add(hash(unit))
            if len(seen) < self._units:
                return RARE if isinstance(value, str) else None
            self._seen[value] = None
        return value


class Randomise:
    """Local differential privacy: the value itself is noised, before anybody sees it.

    Categories by k-ary randomised response (Kairouz, Bonawitz & Ramage 2016): the value stays with probability e^ε / (e^ε + k - 1), else it is one
    of the others, all alike. Whole numbers by Laplace noise of scale (high - low) / ε on the clipped value, rounded to whole numbers, which is
    post-processing.

    Guarantees:
        ε per event, local, replace relation. A unit with m events a day has m ε for the day; after ``events_per_day`` events of one unit on one
        day its values are left out, so that a user-day costs at most ``events_per_day`` times ε.

    Raises:
        ConfigError: for options that do not fit together.
    """

    stage, stable, alone = SECOND, False, False

    def __init__(
        self, epsilon: float, *, categories: Sequence[Scalar] = (), low: int | None = None, high: int | None = None, events_per_day: int = 100,
    ) -> None:
        if not (0 < epsilon <= 20) or events_per_day < 1:
            raise ConfigError(f"Expected 0 < epsilon={epsilon} <= 20 and events_per_day={events_per_day} >= 1.")
        if bool(categories) == (low is not None or high is not None):
            raise ConfigError("Expected either «categories», or «low» and «high», for the treatment «randomise».")
        if not categories and (low is None or high is None or low >= high):
            raise ConfigError("Expected «low» below «high» for the treatment «randomise».")
        if categories and (len(set(categories)) != len(categories) or len(categories) < 2):
            raise ConfigError("Expected at least two different categories for the treatment «randomise».")
        self.epsilon, self.events_per_day = float(epsilon), events_per_day
        self._categories, self._low, self._high = tuple(categories), low or 0, high or 0
        self._places = {value: place for place, value in enumerate(self._categories)}
        self._noise = SecureRandom()
        self._counts: dict[tuple[Scalar, str], int] = {}

    def many(self, values: Sequence[Scalar], rows: Rows | None = None) -> Sequence[Scalar]:
        """What is in no category counts as the first; what is no number as ``low``."""
        noised = self._responses(values) if self._categories else self._numbers(values)
        return [value if self._allowed(rows, place) else None for place, value in enumerate(noised)]

    def _allowed(self, rows: Rows | None, place: int) -> bool:
        if rows is None or rows.unit[place] is None:
            return False
        day = day_of(rows.time[place])
        if day is None:
            return False
        key = (rows.unit[place], day)
        if len(self._counts) > _MOST:
            # A unit whose count is forgotten could exceed its bound: nothing more is released for days that were being counted.
            return key in self._counts and self._more(key)
        return self._more(key)

    def _more(self, key: tuple[Scalar, str]) -> bool:
        self._counts[key] = self._counts.get(key, 0) + 1
        return self._counts[key] <= self.events_per_day

    def _responses(self, values: Sequence[Scalar]) -> list[Scalar]:
        k = len(self._categories)
        stay = math.exp(self.epsilon) / (math.exp(self.epsilon) + k - 1)
        places = np.array([self._places.get(value, 0) for value in values], np.int64)
        words = self._noise.uint64(2 * len(values)).reshape(2, -1)
        # A threshold of 64 bits rounded towards the middle: never more likely to stay than the guarantee says.
        moves = words[0] >= np.uint64(math.floor(stay * 2**64 * (1 - 2**-40)))
        others = (words[1] % np.uint64(k - 1)).astype(np.int64)
        found = np.where(moves, others + (others >= places), places)
        return [self._categories[place] for place in found]

    def _numbers(self, values: Sequence[Scalar]) -> list[Scalar]:
        clipped = np.array([min(max(_whole(value, self._low), self._low), self._high) for value in values], np.int64)
        noise = rounded_laplace(self._noise, scale=max(0.5, (self._high - self._low) / self.epsilon), size=len(values))
        return [int(value) for value in clipped + noise]


def _whole(value: Scalar, low: int) -> int:
    try:
        return int(float(value))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return low


def day_of(time: Scalar) -> str | None:
    """The day (UTC) of a time as events hold it: a text of ISO 8601, or seconds or milliseconds since 1970. ``None`` if it says none."""
    if isinstance(time, bool) or time is None:
        return None
    try:
        if isinstance(time, int | float):
            return datetime.fromtimestamp(time / (1_000 if abs(time) > 1e11 else 1), UTC).date().isoformat()
        moment = moment_of(time)
    except (OverflowError, ValueError, OSError):
        return None
    return None if moment is None else moment.astimezone(UTC).date().isoformat()
