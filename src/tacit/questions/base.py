"""What every question has in common: bounds of one unit's contribution, and the records it is evaluated on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, TypeAlias, runtime_checkable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tacit.errors import UsageError
from tacit.guarantee import Relation

Sums: TypeAlias = NDArray[np.int64]

GRID = 1 << 12
"""Grid steps per natural unit: a contribution of 1.0 is 4,096."""

_LARGEST_SUM = 1 << 62


@dataclass(frozen=True)
class Batch:
    """Some records. The rows of one privacy unit are contiguous and never split over two batches.

    Args:
        columns: one Arrow array of ``rows`` values per column name.
        rows: number of rows.
        units: int64 ``[rows]``, the unit's index within this batch, starting at 0 and never decreasing; ``None`` if every row is a unit.
    """

    columns: Mapping[str, pa.Array]
    rows: int
    units: NDArray[np.int64] | None = None


class RecordSource(Protocol):
    """Where records come from: any number of passes, the same order in each. Owner-side only."""

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[Batch]:
        """The records, batch by batch, with the named columns (all if ``None``)."""
        ...


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far one unit can move a sum, in grid integers, rounded up.

    Args:
        l0: number of coordinates it can change.
        l1: sum of the absolute changes.
        l2: Euclidean length of the change.
        linf: largest change of one coordinate.
    """

    l0: int
    l1: int
    l2: int
    linf: int

    def __post_init__(self) -> None:
        if min(self.l0, self.l1, self.l2, self.linf) < 1 or self.l1 > _LARGEST_SUM:
            raise UsageError(f"Expected bounds between 1 and 2^62; got {self}. Use a coarser grid or a smaller clip.")

    @classmethod
    def from_l2(cls, l2: float, *, size: int, relation: Relation) -> Bounds:
        """Bounds that follow from a Euclidean bound alone, for ``size`` coordinates, under ``relation``."""
        length = math.ceil(l2) * relation.factor
        return cls(size, math.ceil(math.sqrt(size) * length), length, length)


@dataclass
class SessionCache:
    """What a session remembers between questions: always recomputable, never serialised, never released."""

    slots: dict[str, Any] = field(default_factory=dict)

    def clear(self) -> None:
        """Forget everything."""
        self.slots.clear()


@dataclass(frozen=True, slots=True)
class Sample:
    """Which units one answer is about: drawn by the guard, once, and shown to nobody.

    Args:
        taken: bool ``[units]``, who is part of the sum.
        computed: bool ``[units]``, for whom work is done: everybody who is taken, and others, so that time hardly tells how many are.
    """

    taken: NDArray[np.bool_]
    computed: NDArray[np.bool_]


@runtime_checkable
class Question(Protocol):
    """A bounded sum over records, as frozen public data.

    Guarantees:
        For any two sets of records that are neighbours under ``relation``, the answers of `evaluate` differ by a vector within
        ``bounds(relation)``, whatever the records contain.
    """

    kind: ClassVar[str]

    @property
    def size(self) -> int:
        """Number of coordinates of the answer."""
        ...

    def bounds(self, relation: Relation) -> Bounds:
        """How far one unit can move the sum."""
        ...

    def evaluate(self, records: RecordSource, cache: SessionCache) -> Sums:
        """The exact sum, int64 ``[size]``; independent of the order of the records. Never released as it is."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Canonical plain form, which `tacit.questions.parse` reverses."""
        ...


def clip_to(vectors: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
    """Shorten each row of integers to a Euclidean length of at most ``limit``, by scaling towards zero.

    Args:
        vectors: int64 ``[units, size]``, magnitudes below 2^31.
        limit: largest length, in grid integers.

    Returns:
        int64 ``[units, size]``; every row's exact length is at most ``limit``, rows that were short enough are unchanged.

    >>> clip_to(np.array([[3, 4], [30, 40]]), 10).tolist()
    [[3, 4], [5, 7]]
    """
    squares = np.einsum("ij,ij->i", vectors.astype(np.float64), vectors.astype(np.float64))
    long = np.flatnonzero(squares > float(limit) * limit * (1 - 1e-12))
    if not len(long):
        return vectors
    clipped = vectors.copy()
    # Rounding towards zero only shortens; 1e-12 covers the float64 error of the square, the root and the product.
    factors = limit / np.sqrt(squares[long]) * (1 - 1e-12)
    clipped[long] = np.trunc(vectors[long] * np.minimum(factors, 1 - 1e-12)[:, None]).astype(np.int64)
    return clipped
