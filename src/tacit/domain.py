"""Public knowledge about records: which columns there are, their bounds and their categories.

A domain is declared, or found by charged questions; it is never read off the data. It lays a *public grid* over each column, so that
every value has a public code: a number falls into a cell of a grid that depends on the bounds alone, a text into its place in a list.

>>> domain = Domain.of(bytes_out=Numeric(0, 1e9), protocol=Category(("tcp", "udp")))
>>> domain.column("protocol").code_count
4
>>> Domain.from_toml(domain.to_toml()) == domain
True
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from tacit.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MISSING = 0
"""The code of a missing value, in every column."""

KEYS = 1 << 16
"""How many keys a number can have: the upper half of its float32 pattern (sign, exponent, seven bits of mantissa)."""

_FINE_OCTAVES = 3
_COARSE_CELLS = 32
_OCTAVES_BELOW_ONE = 10
_LARGEST = 2.0**120
_MOST_CATEGORIES = 250


@dataclass(frozen=True)
class Numeric:
    """A number between public bounds; values outside are clipped, anything that is no number is missing.

    The grid is made of floating-point cells around a public origin: 128 per octave in the three largest octaves, 32 per octave below, one
    for exactly zero and one per sign for what is smaller than ``smallest``. Linear and heavy-tailed columns are both resolved without a
    scale to choose. The origin is zero where the bounds contain it or lie close to it, else the bound nearer to zero. Codes: 0 missing,
    then the cells upwards.

    Args:
        lower: the smallest value that is told apart.
        upper: the largest.
        smallest: the smallest magnitude above zero that matters; by default a thousandth of one, or of the larger bound if that is less.

    Raises:
        ConfigError: unless lower < upper, both finite and below 2^120 in magnitude, and smallest > 0 if given.
    """

    lower: float
    upper: float
    smallest: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "lower", float(self.lower))
        object.__setattr__(self, "upper", float(self.upper))
        if not (math.isfinite(self.lower) and math.isfinite(self.upper) and self.lower < self.upper):
            raise ConfigError(f"Expected finite bounds with lower={self.lower} < upper={self.upper}; declare the column's public range.")
        if max(abs(self.lower), abs(self.upper)) > _LARGEST:
            raise ConfigError(f"Expected bounds below 2^120 in magnitude; got {self.lower} and {self.upper}. Choose a larger unit of measure.")
        if self.smallest is not None and not (math.isfinite(self.smallest) and self.smallest > 0):
            raise ConfigError(f"Expected smallest={self.smallest} > 0; it is the smallest magnitude above zero that matters.")

    @cached_property
    def origin(self) -> float:
        """The public point that cells are finest around."""
        width = self.upper - self.lower
        if self.lower > width / 8:
            return self.lower
        return self.upper if -self.upper > width / 8 else 0.0

    @cached_property
    def lookup(self) -> NDArray[np.uint16]:
        """The code of every key, uint16 ``[65536]``: ``lookup[keys(values)]`` encodes a column in one gather."""
        import numpy as np

        low, high = self.lower - self.origin, self.upper - self.origin
        largest = max(abs(low), abs(high))
        smallest = min(self.smallest or min(1.0, largest) * 2.0**-_OCTAVES_BELOW_ONE, largest / 2)
        ends = _cell(_parts(np.abs(np.array([low, high]))), smallest, largest) * np.sign([low, high]).astype(np.int64)
        cell = np.minimum(_cell(_key_parts(), smallest, largest), np.abs(ends).max())
        signed = np.clip(np.concatenate([cell, -cell]), ends[0], ends[1])
        present = np.zeros(ends[1] - ends[0] + 1, bool)
        present[signed[_known()] - ends[0]] = True
        codes = np.cumsum(present)[signed - ends[0]]
        return np.where(_known(), codes, MISSING).astype(np.uint16)

    @cached_property
    def code_count(self) -> int:
        """How many codes there are, missing included."""
        return int(self.lookup.max()) + 1

    @cached_property
    def edges(self) -> NDArray[np.float64]:
        """Smallest float32 offset from the origin of each cell but the first, float64 ``[code_count - 2]``, increasing."""
        import numpy as np

        keys = np.arange(KEYS, dtype=np.uint32)
        inner = np.where(keys & 0x8000, (keys << 16) | 0xFFFF, keys << 16).astype(np.uint32)
        with np.errstate(invalid="ignore"):
            lowest = inner.view(np.float32).astype(np.float64)
        lowest[(keys & 0x7FFF) > 0x7F80] = np.nan
        lowest[keys == 0xFF80] = -np.inf
        known = ~np.isnan(lowest)
        edges = np.full(self.code_count, np.inf)
        np.minimum.at(edges, self.lookup[known], lowest[known])
        return edges[2:]

    def merged(self, stride: int) -> NDArray[np.int64]:
        """A group for every code, int64 ``[code_count]``: up to ``stride`` neighbours within an octave; missing and zero stay alone.

        Groups end where octaves do, so that 0, 1, 2, 4, ... are told apart however coarse the groups are.

        >>> import numpy as np
        >>> kind = Numeric(-4, 4, smallest=1)
        >>> kind.merged(64)[kind.lookup[keys(np.arange(-2.0, 3.0))]].tolist()
        [3, 5, 7, 9, 11]
        """
        return _merged(self, stride)

    def to_dict(self) -> dict[str, Any]:
        """Plain form."""
        bounds = {"type": "number", "lower": self.lower, "upper": self.upper}
        return bounds if self.smallest is None else {**bounds, "smallest": self.smallest}


@dataclass(frozen=True)
class Category:
    """A text out of a public list. Codes: 0 missing, 1..k the values in order, k+1 anything else.

    Raises:
        ConfigError: if a value occurs twice, is empty, or if there are more than 250.
    """

    values: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(str(v) for v in self.values))
        if len(set(self.values)) != len(self.values) or "" in self.values:
            raise ConfigError("Expected categories that are all different and not empty.")
        if len(self.values) > _MOST_CATEGORIES:
            raise ConfigError(f"Expected at most {_MOST_CATEGORIES} categories; got {len(self.values)}. Keep the common ones: the rest is «other».")

    @property
    def code_count(self) -> int:
        """How many codes there are, missing and other included."""
        return len(self.values) + 2

    def to_dict(self) -> dict[str, Any]:
        """Plain form."""
        return {"type": "category", "values": list(self.values)}


ColumnType: TypeAlias = Numeric | Category


@dataclass(frozen=True)
class Domain:
    """The public columns of a data set, in order.

    Raises:
        ConfigError: if a column name occurs twice.
    """

    columns: tuple[tuple[str, ColumnType], ...]

    def __post_init__(self) -> None:
        if len({name for name, _ in self.columns}) != len(self.columns):
            raise ConfigError("Expected column names that are all different.")

    @classmethod
    def of(cls, **columns: ColumnType) -> Domain:
        """A domain written as keyword arguments."""
        return cls(tuple(columns.items()))

    @property
    def names(self) -> tuple[str, ...]:
        """The column names, in order."""
        return tuple(name for name, _ in self.columns)

    def column(self, name: str) -> ColumnType:
        """The type of one column.

        Raises:
            ConfigError: if there is no such column.
        """
        for known, kind in self.columns:
            if known == name:
                return kind
        raise ConfigError(f"Expected a column of the domain; got «{name}». Known: {', '.join(self.names[:12])}.")

    def select(self, names: Iterable[str]) -> Domain:
        """The named columns alone, in the order given."""
        return Domain(tuple((name, self.column(name)) for name in names))

    def without(self, *names: str) -> Domain:
        """All columns but the named ones."""
        return Domain(tuple((name, kind) for name, kind in self.columns if name not in names))

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the plain form: what a plan, a model and a ledger entry refer to."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(b"tacit.domain\x00" + text.encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Plain form; `from_dict` reverses it."""
        return {"columns": [{"name": name, **kind.to_dict()} for name, kind in self.columns]}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Domain:
        """The domain that `to_dict` described.

        Raises:
            ConfigError: if a column has no name, an unknown type, or lacks what its type needs.
        """
        try:
            return cls(tuple((str(item["name"]), _column_from(item)) for item in data["columns"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"Expected columns with name, type and bounds or values; {type(error).__name__} at {error}.") from None

    def to_toml(self) -> str:
        """A file a person can edit: one ``[[columns]]`` table per column."""
        return "\n".join(["# The public domain: bounds and categories that may be known to everyone.", *map(_toml_table, self.to_dict()["columns"])])

    @classmethod
    def from_toml(cls, text: str) -> Domain:
        """The domain in a TOML text.

        Raises:
            ConfigError: if it is no TOML or no domain.
        """
        try:
            return cls.from_dict(tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"Expected TOML with [[columns]] tables; {error}.") from None

    @classmethod
    def load(cls, path: str | Path) -> Domain:
        """The domain in a file.

        Raises:
            ConfigError: if the file cannot be read or is no domain.
        """
        try:
            return cls.from_toml(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"Expected a domain file at «{path}»; {type(error).__name__}. Write one with Domain.save.") from None

    def save(self, path: str | Path) -> None:
        """Write the TOML form."""
        Path(path).write_text(self.to_toml(), encoding="utf-8")


@lru_cache(maxsize=512)
def _merged(kind: Numeric, stride: int) -> NDArray[np.int64]:
    import numpy as np

    lowest = np.concatenate([[min(kind.lower - kind.origin, 0.0)], kind.edges])
    zero = int(kind.lookup[0]) - 1
    with np.errstate(divide="ignore"):
        octaves = np.where(lowest < 0, -1.0, 1.0) * (np.floor(np.log2(np.abs(lowest))) + 2_000)
    octaves[zero] = 0.0
    starts = np.flatnonzero(np.diff(octaves, prepend=np.nan) != 0)
    place = np.arange(len(octaves)) - np.repeat(starts, np.diff(np.append(starts, len(octaves))))
    return np.concatenate([[0], np.cumsum(place % stride == 0)])


def keys(values: NDArray[Any], *, origin: float = 0.0) -> NDArray[np.uint16]:
    """The key of each number: the upper half of the float32 pattern of its offset from ``origin``.

    >>> import numpy as np
    >>> keys(np.array([0.0, 1.0, 1.004])).tolist()
    [0, 16256, 16256]
    """
    import numpy as np

    with np.errstate(over="ignore"):
        offsets = (values - origin if origin else values).astype(np.float32, copy=False)
    return np.ascontiguousarray(offsets).view(np.uint16)[1::2] if sys.byteorder == "little" else np.ascontiguousarray(offsets).view(np.uint16)[::2]


Parts: TypeAlias = "tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]"
"""Magnitudes, their octaves, and where in it they lie (0 to 1)."""


def _parts(magnitude: NDArray[np.float64]) -> Parts:
    import numpy as np

    positive = np.maximum(magnitude, np.finfo(np.float32).tiny)
    exponent = np.floor(np.log2(positive))
    exponent -= 2.0**exponent > positive
    return magnitude, exponent, positive / 2.0**exponent - 1


@cache
def _key_parts() -> Parts:
    """Of the keys of positive numbers; infinity and what is no number count as 2^128."""
    import numpy as np

    patterns = np.arange(KEYS // 2, dtype=np.uint32) << 16
    with np.errstate(invalid="ignore"):
        values = patterns.view(np.float32).astype(np.float64)
    return _parts(np.where(values < np.inf, values, 2.0**128))


@cache
def _known() -> NDArray[np.bool_]:
    """Which keys are those of numbers, infinities included: bool ``[65536]``."""
    import numpy as np

    return (np.arange(KEYS) & 0x7FFF) <= 0x7F80


def _cell(parts: Parts, smallest: float, largest: float) -> NDArray[np.int64]:
    """0 for zero, 1 below ``smallest``, then upwards: 32 cells per octave, 128 in the largest three. Exact on key values."""
    import numpy as np

    magnitude, exponent, fraction = parts
    fine = exponent > math.floor(math.log2(largest)) - _FINE_OCTAVES
    inside = np.where(fine, np.floor(fraction * 128), np.floor(fraction * _COARSE_CELLS) * (128 // _COARSE_CELLS))
    cell = (exponent - math.floor(math.log2(smallest))) * 128 + inside + 2
    return np.where(magnitude == 0, 0, np.where(magnitude < smallest, 1, np.maximum(cell, 1))).astype(np.int64)


def _column_from(item: dict[str, Any]) -> ColumnType:
    kind = item["type"]
    if kind == "number":
        return Numeric(float(item["lower"]), float(item["upper"]), None if item.get("smallest") is None else float(item["smallest"]))
    if kind == "category":
        return Category(tuple(str(value) for value in item["values"]))
    raise ConfigError(f"Expected type «number» or «category» for column «{item['name']}»; got «{kind}».")


def _toml_table(item: dict[str, Any]) -> str:
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in item.items()]
    return "\n[[columns]]\n" + "\n".join(lines) + "\n"
