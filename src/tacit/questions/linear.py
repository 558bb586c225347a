"""Questions of linear models: the clipped gradient sum, and first and second moments, over a public design matrix."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tacit.domain import Domain, Numeric
from tacit.errors import DataError, UsageError
from tacit.guarantee import Relation
from tacit.questions.base import GRID, Batch, Bounds, RecordSource, SessionCache, Sums, clip_to
from tacit.questions.blocks import BlockStore
from tacit.questions.cells import unit_slices
from tacit.questions.encoding import Target, encode, numbers
from tacit.questions.losses import (
    logistic_entries,
    logistic_starts,
    logistic_tables,
    softmax_terms,
    squared_length,
    squared_terms,
)
from tacit.questions.structure import pack, unpack

DESIGN_UNIT = 1 << 10
"""Steps per 1.0 of a design column, whose values lie in [-1, 1]."""

_STEPS = tuple(1 << power for power in range(DESIGN_UNIT.bit_length()))
_ROWS = 8_192
_NUMBERS = 1 << 22  # of all rows at once, 32 MiB
_LOG_ABOVE = 50.0


def design_names(domain: Domain) -> tuple[str, ...]:
    """The columns of the design: the intercept, one per number, one per category value and one for «other»."""
    names = ["(intercept)"]
    for name, kind in domain.columns:
        names += [name] if isinstance(kind, Numeric) else [f"{name}={value}" for value in (*kind.values, "(other)")]
    return tuple(names)


def design(columns: Mapping[str, pa.Array], rows: int, domain: Domain, *, logs: bool = True) -> NDArray[np.int16]:
    """Records as a matrix of fixed-point numbers in [-1, 1], 1,024 steps to one: int16 ``[rows, width]``.

    A number is scaled by its public bounds, with ``logs`` through log(1 + x) if they reach from zero or above to more than 50. A missing value
    is zero.

    Guarantees:
        A row's length is at most √(1 + columns) times DESIGN_UNIT, whatever it holds.

    Raises:
        DataError: if a column of the domain is absent.
    """
    matrix = np.zeros((rows, len(design_names(domain))), np.int16)
    matrix[:, 0] = DESIGN_UNIT
    place = 1
    for name, kind in domain.columns:
        if name not in columns:
            raise DataError(f"Expected a column «{name}»; the records do not have it. Check the file against the domain.")
        if isinstance(kind, Numeric):
            matrix[:, place] = _scaled(numbers(columns[name]), kind, logs=logs)
            place += 1
        else:
            codes = encode(columns[name], kind).astype(np.int64) - 1
            known = np.flatnonzero(codes >= 0)
            matrix[known, place + codes[known]] = DESIGN_UNIT
            place += len(kind.values) + 1
    return matrix


def _scaled(values: NDArray[np.float64], kind: Numeric, *, logs: bool) -> NDArray[np.int16]:
    clipped = np.clip(values, kind.lower, kind.upper)
    lower, upper = kind.lower, kind.upper
    if logs and lower >= 0 and upper > _LOG_ABOVE:
        clipped, lower, upper = np.log1p(clipped), math.log1p(lower), math.log1p(upper)
    position = (clipped - lower) / (upper - lower) * 2 - 1
    return np.asarray(np.rint(np.clip(np.nan_to_num(position), -1, 1) * DESIGN_UNIT), np.int16)


@dataclass(frozen=True, eq=False)
class LinearGradient:
    """The sum of a linear model's loss gradients at public weights.

    Args:
        target: what is predicted.
        loss: logistic, softmax or squared.
        domain: the features.
        weights: int32 ``[outputs, width]``, in margin steps per 1.0 of the design.
        clip: largest length of one unit's gradient in answer steps; ``None`` if every row is a unit, and none is clipped.
        step: steps of GRID · DESIGN_UNIT to one answer step: 1, or up to DESIGN_UNIT where sites share noise and every bit travels.

    Guarantees:
        One row's gradient has length at most (1, √2 or 1 by loss) · √(1 + columns), and 1 + columns places per output that are not zero. With
        longer answer steps each row is rounded to them before it is clipped and added up, and at most half a step too long in each place.

    Raises:
        UsageError: if ``step`` is no power of two up to DESIGN_UNIT.
    """

    target: Target
    loss: str
    domain: Domain
    weights: NDArray[np.int32]
    clip: int | None = None
    step: int = 1
    kind: ClassVar[str] = "linear@1"

    def __post_init__(self) -> None:
        if isinstance(self.step, bool) or self.step not in _STEPS:
            raise UsageError(f"Expected step={self.step!r} to be a power of two from 1 to {DESIGN_UNIT}.")

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return self.target.outputs * len(design_names(self.domain))

    def bounds(self, relation: Relation) -> Bounds:
        """See the class."""
        if self.clip is not None:
            return Bounds.from_l2(self.clip, size=self.size, relation=relation)
        parts = 1 + len(self.domain.columns)
        touched = self.target.outputs * parts
        rounding = 0.0 if self.step == 1 else 0.5 * math.sqrt(touched)
        length = GRID * DESIGN_UNIT / self.step * math.sqrt(squared_length(self.loss, hessian=False) * parts) + rounding
        return Bounds.from_l2(length, size=min(self.size, touched * relation.factor), relation=relation)

    def evaluate(self, records: RecordSource, cache: SessionCache) -> Sums:
        """int64 ``[outputs * width]``."""
        slot = f"linear:{self.domain.digest}:{sorted(self.target.to_dict().items())}"
        if slot not in cache.slots:
            cache.slots[slot] = _Designed.of(records, self.domain, self.target)
        total = np.zeros(self.size, np.int64)
        for matrix, labels, units in cache.slots[slot].chunks():
            total += self._rows(matrix.astype(np.float64), labels, units)
        return total

    def _rows(self, matrix: NDArray[np.float64], labels: NDArray[np.int32], units: NDArray[np.int64] | None) -> Sums:
        gradient = self._gradient(matrix, labels)
        if self.clip is None:
            _require_rows_are_units(units)
            if self.step == 1:
                return np.asarray(gradient.T @ matrix, np.int64).ravel()
        total = np.zeros(self.size, np.int64)
        for rows in unit_slices(units, len(labels), max(64, min(_ROWS, _NUMBERS // self.size))):
            total += self._products(gradient[rows], matrix[rows], None if units is None else units[rows])
        return total

    def _products(self, gradient: NDArray[np.float64], matrix: NDArray[np.float64], units: NDArray[np.int64] | None) -> Sums:
        """Row by row: what is rounded or clipped cannot be one matrix product."""
        vectors = (gradient[:, :, None] * matrix[:, None, :]).reshape(len(matrix), self.size)
        if self.step > 1:
            vectors = np.rint(vectors / self.step)
        if self.clip is None:
            return np.asarray(vectors.sum(axis=0), np.int64)
        return _clipped_units(vectors, np.arange(len(matrix)) if units is None else units, self.clip)

    def _gradient(self, matrix: NDArray[np.float64], labels: NDArray[np.int32]) -> NDArray[np.float64]:
        """Whole numbers ``[rows, outputs]``: products and sums stay below 2^53, so float64 is exact."""
        margins = (np.rint(matrix @ self.weights.T.astype(np.float64)) / DESIGN_UNIT).clip(-(1 << 30), 1 << 30).astype(np.int32)
        if self.loss == "softmax":
            return softmax_terms(margins, labels)[0]
        flat = np.ascontiguousarray(margins[:, 0])
        if self.loss == "squared":
            return squared_terms(flat, labels)[0][:, None]
        entries = logistic_entries(flat + logistic_starts(labels), work=np.empty(len(flat), np.int32), out=np.empty(len(flat), np.intp))
        return logistic_tables()[0].take(entries, mode="clip")[:, None]

    def to_dict(self) -> dict[str, Any]:
        """Canonical plain form."""
        plain = {
            "kind": self.kind, "target": self.target.to_dict(), "loss": self.loss, "domain": self.domain.to_dict(),
            "weights": pack(self.weights), "clip": self.clip,
        }
        return plain if self.step == 1 else {**plain, "step": self.step}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> LinearGradient:
        """The question that `to_dict` described."""
        target = Target.from_dict(data["target"])
        weights = unpack(data["weights"], "int32").reshape(target.outputs, -1)
        return cls(target, str(data["loss"]), Domain.from_dict(data["domain"]), weights, data["clip"], int(data.get("step", 1)))


@dataclass
class _Designed:
    """What a session remembers of a linear training: the records with usable labels, as rows of the design."""

    width: int
    blocks: BlockStore
    labels: list[NDArray[np.int32]]
    units: list[NDArray[np.int64] | None]

    @classmethod
    def of(cls, records: RecordSource, domain: Domain, target: Target) -> _Designed:
        """Read the records once."""
        made = cls(len(design_names(domain)), BlockStore(), [], [])
        for batch in records.batches((*domain.names, target.column)):
            for rows in unit_slices(batch.units, batch.rows, _ROWS):
                part = _slice(batch, rows)
                labels = target.labels(part.columns[target.column])
                known = np.flatnonzero(target.known(labels))
                made.blocks.append(design(part.columns, part.rows, domain)[known].view(np.uint8))
                made.labels.append(labels[known])
                made.units.append(None if part.units is None else part.units[known])
        return made

    def chunks(self) -> Iterator[tuple[NDArray[np.int16], NDArray[np.int32], NDArray[np.int64] | None]]:
        """Some rows at a time: the design, labels and units."""
        for block, labels, units in zip(self.blocks, self.labels, self.units, strict=True):
            yield block.view(np.int16).reshape(-1, self.width), labels, units


@dataclass(frozen=True)
class Moments:
    """Sums of the design and, for order 2, of all its products; with a target, its scaled label is the last column.

    The answer is the upper triangle (row by row) of the sum of x xᵀ for order 2, the sum of x for order 1, in steps of GRID (order 1:
    GRID / DESIGN_UNIT per design step, order 2: one step per product of design steps divided by 256). Without ``logs`` the design is linear in
    every number, so that means and covariances are those of the numbers themselves.

    Guarantees:
        One row has length at most √columns' (order 1) or columns' (order 2), with columns' = 1 + columns + (1 if there is a target).
    """

    domain: Domain
    order: int = 1
    target: Target | None = None
    clip: int | None = None
    logs: bool = True
    kind: ClassVar[str] = "moments@1"
    UNIT: ClassVar[int] = GRID

    def __post_init__(self) -> None:
        if self.order not in (1, 2) or (self.target is not None and not self.target.bounds and len(self.target.classes) != 2):
            raise UsageError(f"Expected order 1 or 2 and a target that is a number or has two classes; got order={self.order}.")

    @cached_property
    def width(self) -> int:
        """Columns of the design, with the target."""
        return len(design_names(self.domain)) + (self.target is not None)

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return self.width if self.order == 1 else self.width * (self.width + 1) // 2

    def bounds(self, relation: Relation) -> Bounds:
        """See the class; a rounded product is at most half a step too long in each coordinate."""
        if self.clip is not None:
            return Bounds.from_l2(self.clip, size=self.size, relation=relation)
        parts = 1 + len(self.domain.columns) + (self.target is not None)
        touched = parts if self.order == 1 else parts * (parts + 1) // 2
        length = math.sqrt(parts) if self.order == 1 else float(parts)
        return Bounds.from_l2(length * GRID + 0.5 * math.sqrt(touched), size=min(self.size, touched * relation.factor), relation=relation)

    def evaluate(self, records: RecordSource, cache: SessionCache) -> Sums:
        """int64 ``[size]``."""
        total = np.zeros(self.size, np.int64)
        names = self.domain.names if self.target is None else (*self.domain.names, self.target.column)
        at_once = max(64, min(_ROWS, _NUMBERS // self.size))
        for batch in records.batches(names):
            for rows in unit_slices(batch.units, batch.rows, at_once):
                total += self._rows(_slice(batch, rows))
        return total

    def _rows(self, batch: Batch) -> Sums:
        matrix = design(batch.columns, batch.rows, self.domain, logs=self.logs).astype(np.int64)
        units = batch.units
        if self.target is not None:
            labels = self.target.labels(batch.columns[self.target.column])
            known = np.flatnonzero(self.target.known(labels))
            scaled = labels[known] // 4 if self.target.bounds else (2 * labels[known] - 1) * DESIGN_UNIT
            matrix = np.column_stack([matrix[known], scaled])
            units = None if units is None else units[known]
        vectors = self._vectors(matrix)
        if self.clip is None:
            _require_rows_are_units(batch.units)
            return np.asarray(vectors.sum(axis=0), np.int64)
        return _clipped_units(vectors.astype(np.float64), np.arange(len(vectors)) if units is None else units, self.clip)

    def _vectors(self, matrix: NDArray[np.int64]) -> NDArray[np.int64]:
        if self.order == 1:
            return matrix * (GRID // DESIGN_UNIT)
        first, second = np.triu_indices(self.width)
        step = DESIGN_UNIT * DESIGN_UNIT // GRID
        return np.asarray((matrix[:, first] * matrix[:, second] + step // 2) // step)

    def to_dict(self) -> dict[str, Any]:
        """Canonical plain form."""
        target = None if self.target is None else self.target.to_dict()
        plain = {"kind": self.kind, "domain": self.domain.to_dict(), "order": self.order, "target": target, "clip": self.clip}
        return plain if self.logs else {**plain, "logs": False}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Moments:
        """The question that `to_dict` described."""
        target = None if data["target"] is None else Target.from_dict(data["target"])
        return cls(Domain.from_dict(data["domain"]), int(data["order"]), target, data["clip"], bool(data.get("logs", True)))


def _require_rows_are_units(units: NDArray[np.int64] | None) -> None:
    if units is not None:
        raise UsageError("Expected a clip for records whose unit has several rows; pass clip, or use one row per unit.")


def _slice(batch: Batch, rows: slice) -> Batch:
    count = rows.stop - rows.start
    columns = {name: values.slice(rows.start, count) for name, values in batch.columns.items()}
    return Batch(columns, count, None if batch.units is None else batch.units[rows])


def _clipped_units(vectors: NDArray[np.float64], units: NDArray[np.int64], clip: int) -> Sums:
    """Whole-number rows ``[rows, size]`` added up per unit, clipped, and summed."""
    if not len(units):
        return np.zeros(vectors.shape[1], np.int64)
    starts = np.flatnonzero(np.diff(units, prepend=-1))
    return np.asarray(clip_to(np.add.reduceat(vectors, starts, axis=0).astype(np.int64), clip).sum(axis=0), np.int64)


