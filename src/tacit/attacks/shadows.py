"""Shadow models: what the target would have been with other members. Owner-side: they are trained on records and never released.

Shadows of a Tacit model share its public structure, so all of them are trained at once: every step is one product of a sparse matrix that
says where records lie with a dense one that has a column per shadow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import expit

from tacit.errors import UsageError
from tacit.learn.boosting import DAMPING, LARGEST, STEP
from tacit.learn.regression import Descent
from tacit.models import AdditiveModel, LinearModel
from tacit.questions.base import GRID
from tacit.questions.cells import unit_slices
from tacit.questions.losses import (
    HESSIAN_SCALE,
    MARGIN_UNIT,
    logistic_entries,
    logistic_starts,
    packed_logistic_table,
    unpack_sums,
)

_CHUNK = 4_096

Matrix = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Pool:
    """Records that shadows are trained on and judged by.

    Args:
        inputs: what a model sees of them: bins uint8 ``[features, records]`` of an additive model, or the design float32 ``[records, width]``
            of a linear one, in units of 1.
        labels: 0 or 1, ``[records]``.
        units: int64 ``[records]``, never decreasing; ``None`` if every record is a unit.
        clip: largest length of one unit's contribution, in natural units; needed with ``units``. Without them, of one record's gradient.
    """

    inputs: NDArray[Any]
    labels: NDArray[np.int64]
    units: NDArray[np.int64] | None = None
    clip: float | None = None

    def __post_init__(self) -> None:
        if self.units is not None and self.clip is None:
            raise UsageError("Expected a clip beside units: shadows of a model per unit are clipped as it was.")

    def chunks(self) -> Iterator[slice]:
        """Slices of a few thousand records that never split a unit."""
        return unit_slices(self.units, len(self.labels), _CHUNK)


def paired_membership(units: int, shadows: int, *, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Who is a member of which shadow: bool ``[units, shadows]``; shadows come in complementary pairs, so each unit is in exactly half.

    Raises:
        UsageError: if the number of shadows is odd or below two.
    """
    if shadows < 2 or shadows % 2:
        raise UsageError(f"Expected an even number of shadows, at least 2; got {shadows}.")
    half = rng.random((units, shadows // 2)) < 0.5
    return np.stack([half, ~half], axis=2).reshape(units, shadows)


def batched_shadows(
    model: AdditiveModel, pool: Pool, *, membership: NDArray[np.bool_], noise_multiplier: float | None, rng: np.random.Generator,
) -> Matrix:
    """Train all shadows of a two-class additive model at once.

    Args:
        model: the target; its bins and partitions are public.
        pool: the records, as bins.
        membership: bool ``[records, shadows]``; the same for all records of a unit.
        noise_multiplier: of the target's training; ``None`` for no noise.
        rng: of the shadows' own noise, which protects nobody and need not.

    Returns:
        Margins, float32 ``[records, shadows]``.

    Raises:
        UsageError: for more than two classes.
    """
    if model.loss != "logistic":
        raise UsageError("Expected a model of two classes; shadows of others are not built yet.")
    sigma = (noise_multiplier or 0.0) * (pool.clip or 1.0)
    training = _Training.of(pool, membership)
    for update in model.updates:
        gradient, hessian = training.sums(update.partition.cells(pool.inputs).astype(np.int32), update.partition.size)
        gradient += sigma * rng.standard_normal(gradient.shape, np.float32)
        hessian += sigma / HESSIAN_SCALE["logistic"] * rng.standard_normal(hessian.shape, np.float32)
        values = -STEP * gradient / (np.maximum(hessian, 0) + 1 + DAMPING["logistic"] * sigma)
        training.pending = np.rint(np.clip(values, -LARGEST, LARGEST) * MARGIN_UNIT).astype(np.int32)
    return training.finished()


@dataclass
class _Training:
    """All shadows of one training, by the tables that a guard's question reads.

    Everything is done chunk by chunk, so that it stays in the cache: last step's values are added to the margins, each margin leads to its
    entry (label and membership are in it), and one product sums gradients and hessians, packed in one number.
    """

    pool: Pool
    starts: NDArray[np.int32]
    margins: NDArray[np.int32]
    cells: NDArray[np.int32]
    gained: NDArray[np.int32]
    entries: NDArray[np.intp]
    packed: NDArray[np.float64]
    table: NDArray[np.float64]
    pending: NDArray[np.int32] | None = None

    @classmethod
    def of(cls, pool: Pool, membership: NDArray[np.bool_]) -> _Training:
        """All margins at zero; who is no member has entries of a table of zeros, beyond the table of the loss."""
        work = (max((rows.stop - rows.start for rows in pool.chunks()), default=0), membership.shape[1])
        table = packed_logistic_table()
        away = logistic_starts(np.array([2], np.int32)) - logistic_starts(np.array([0], np.int32))
        starts = logistic_starts(pool.labels.astype(np.int32))[:, None] + away * ~membership
        return cls(
            pool, starts, starts.copy(), np.zeros(len(starts), np.int32), np.empty(work, np.int32), np.empty(work, np.intp), np.empty(work),
            np.concatenate([table, np.zeros_like(table)]),
        )

    def finished(self) -> Matrix:
        """Margins of all records under all shadows, after all steps: float32 ``[records, shadows]``."""
        for rows in self.pool.chunks():
            self._advance(rows)
        self.pending = None
        return np.asarray((self.margins - self.starts) / np.float32(MARGIN_UNIT), np.float32)

    def sums(self, cells: NDArray[np.int32], size: int) -> tuple[Matrix, Matrix]:
        """Gradient and hessian sums of every shadow, in natural units: float32 ``[cells, shadows]`` each."""
        gradients, hessians = (np.zeros((size, self.margins.shape[1])) for _ in range(2))
        for rows in self.pool.chunks():
            self._advance(rows)
            packed, places = self._packed(rows), cells[rows]
            if self.pool.units is None or self.pool.clip is None:
                parts: tuple[NDArray[Any], ...] = unpack_sums(_onehot(places, size) @ packed)
            else:
                parts = _clipped(packed, self.pool.units[rows], places, size=size, clip=self.pool.clip * GRID)
            gradients += parts[0]
            hessians += parts[1]
        self.cells = cells
        scale = HESSIAN_SCALE["logistic"] * GRID
        return (gradients / GRID).astype(np.float32), (hessians / scale).astype(np.float32)

    def _advance(self, rows: slice) -> None:
        if self.pending is not None:
            gained = self.gained[: rows.stop - rows.start]
            self.pending.take(self.cells[rows], axis=0, out=gained, mode="clip")
            np.add(self.margins[rows], gained, out=self.margins[rows])

    def _packed(self, rows: slice) -> NDArray[np.float64]:
        """Gradient and hessian of members in one number, 0 for others: float64 ``[records, shadows]``."""
        count = rows.stop - rows.start
        entries = logistic_entries(self.margins[rows], work=self.gained[:count], out=self.entries[:count])
        return self.table.take(entries, out=self.packed[:count], mode="clip")


def _clipped(
    packed: NDArray[np.float64], units: NDArray[np.int64], cells: NDArray[np.int32], *, size: int, clip: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gradient and hessian sums, each unit's vector no longer than ``clip``: float64 ``[size, shadows]`` each."""
    owner = (units - units[0]).astype(np.int64)
    pairs, place = np.unique(owner * 256 + cells, return_inverse=True)
    gradient, hessian = unpack_sums(_onehot(place.astype(np.int32), len(pairs)) @ packed)
    who = (pairs // 256).astype(np.int32)
    squares = _onehot(who, int(who.max()) + 1) @ (gradient.astype(np.float64) ** 2 + hessian.astype(np.float64) ** 2)
    factors = np.minimum(1.0, clip / np.sqrt(np.maximum(squares, 1.0)))[who]
    where = _onehot((pairs % 256).astype(np.int32), size)
    return where @ (gradient * factors), where @ (hessian * factors)


def _onehot(places: NDArray[np.int32], size: int) -> Any:
    """Sparse ``[size, records]`` with a one where each record lies."""
    ones, ends = _one_each(len(places))
    return sparse.csc_array((ones, places, ends), shape=(size, len(places)))


@lru_cache(maxsize=8)
def _one_each(count: int) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    return np.ones(count), np.arange(count + 1, dtype=np.int32)


def batched_linear_shadows(
    model: LinearModel, pool: Pool, *, membership: NDArray[np.bool_], iterations: int, sigma: float, rng: np.random.Generator,
) -> Matrix:
    """Train all shadows of a two-class linear model at once.

    Args:
        model: the target.
        pool: the records, as the design.
        membership: bool ``[records, shadows]``.
        iterations: of the target's training.
        sigma: standard deviation of the target's noise on one coordinate of the gradient sum, in natural units.
        rng: of the shadows' own noise.

    Returns:
        Margins, float32 ``[records, shadows]``.

    Raises:
        UsageError: for more than two classes.
    """
    if model.loss != "logistic":
        raise UsageError("Expected a model of two classes; shadows of others are not built yet.")
    design, members = pool.inputs.astype(np.float32), membership.astype(np.float32)
    sizes = np.maximum(membership.sum(axis=0), 1.0)[:, None]
    shape = (membership.shape[1], design.shape[1])
    descent = Descent(shape, columns=len(model.domain.columns), iterations=iterations, noise=sigma / sizes)
    for step in range(iterations):
        total = np.zeros(descent.weights.shape)
        for rows in pool.chunks():
            p = expit(design[rows] @ descent.weights.T.astype(np.float32))
            slopes = (p - pool.labels[rows, None].astype(np.float32)) * members[rows]
            total += _linear_sums(pool, rows, design[rows], slopes=slopes)
        gradient = (total + sigma * rng.standard_normal(total.shape)) / sizes
        if step == 0 and pool.clip is None:
            descent.start(gradient, even=0.5)
        else:
            descent.move(gradient)
    return np.asarray(design @ descent.average.T, np.float32)


def _linear_sums(pool: Pool, rows: slice, design: Matrix, *, slopes: Matrix) -> NDArray[np.float64]:
    """Gradient sums ``[shadows, width]``, clipped per unit, or per row where no units are given."""
    if pool.units is None and pool.clip is not None:
        lengths = np.abs(slopes) * np.sqrt(np.einsum("ij,ij->i", design, design))[:, None]
        slopes = slopes * np.minimum(1.0, pool.clip / np.maximum(lengths, 1e-12))
    if pool.units is None or pool.clip is None:
        return np.asarray(slopes.T @ design, np.float64)
    owner = (pool.units[rows] - pool.units[rows][0]).astype(np.int32)
    starts = np.flatnonzero(np.diff(owner, prepend=-1))
    total = np.zeros((slopes.shape[1], design.shape[1]))
    for shadow in range(slopes.shape[1]):
        sums = np.add.reduceat(slopes[:, shadow, None] * design, starts, axis=0)
        lengths = np.sqrt(np.maximum(np.einsum("ij,ij->i", sums, sums), 1e-12))
        total[shadow] = (sums * np.minimum(1.0, pool.clip / lengths)[:, None]).sum(axis=0)
    return total


def sequential_shadows(train: Callable[[NDArray[np.bool_]], Callable[[], NDArray[np.float64]]], membership: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Shadows of any model, one after another.

    Args:
        train: given a mask of members ``[records]``, trains and returns a function that gives the margins of all records.
        membership: bool ``[records, shadows]``.

    Returns:
        Margins, float64 ``[records, shadows]``.
    """
    return np.stack([train(membership[:, shadow])() for shadow in range(membership.shape[1])], axis=1)


def by_unit(scores: NDArray[Any], units: NDArray[np.int64] | None) -> NDArray[Any]:
    """Scores of records added up per unit, along the first axis; the same where every record is one.

    >>> by_unit(np.array([1.0, 2.0, 5.0]), np.array([0, 0, 1])).tolist()
    [3.0, 5.0]
    """
    if units is None or not len(scores):
        return scores
    return np.asarray(np.add.reduceat(scores, np.flatnonzero(np.diff(units, prepend=-1)), axis=0))


