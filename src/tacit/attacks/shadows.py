"""Shadow models: what the target would have been with other members. Owner-side: they are trained on records and never released."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from tacit.errors import UsageError
from tacit.learn.boosting import DAMPING, LARGEST, STEP
from tacit.models import AdditiveModel

_CHUNK = 2_048

Matrix = NDArray[np.float32]


def paired_membership(records: int, shadows: int, *, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Who is a member of which shadow: bool ``[records, shadows]``; shadows come in complementary pairs, so each record is in exactly half.

    Raises:
        UsageError: if the number of shadows is odd or below two.
    """
    if shadows < 2 or shadows % 2:
        raise UsageError(f"Expected an even number of shadows, at least 2; got {shadows}.")
    half = rng.random((records, shadows // 2)) < 0.5
    return np.stack([half, ~half], axis=2).reshape(records, shadows)


def batched_shadows(
    model: AdditiveModel, bins: NDArray[np.uint8], labels: NDArray[np.int64], *, membership: NDArray[np.bool_], noise_multiplier: float | None,
    rng: np.random.Generator,
) -> Matrix:
    """Train all shadows of a two-class model at once: they share its public structure, so each block is one sparse product for all.

    Args:
        model: the target; its bins and partitions are public.
        bins: of the pool, uint8 ``[features, records]`` (``model.frame.binning.bins``).
        labels: 0 or 1, ``[records]``.
        membership: bool ``[records, shadows]``.
        noise_multiplier: of the target's training; ``None`` for no noise.
        rng: of the shadows' own noise, which protects nobody and need not.

    Returns:
        Margins, float32 ``[records, shadows]``.

    Raises:
        UsageError: for more than two classes.
    """
    if model.loss != "logistic":
        raise UsageError("Expected a model of two classes; shadows of others are not built yet.")
    sigma = noise_multiplier or 0.0
    members = membership.astype(np.float32)
    margins = np.zeros(membership.shape, np.float32)
    signs = (2 * labels - 1).astype(np.float32)[:, None]
    for update in model.updates:
        cells = update.partition.cells(bins)
        gradient, hessian = _cell_sums(cells, margins, signs=signs, members=members, size=update.partition.size)
        gradient += sigma * rng.standard_normal(gradient.shape, np.float32)
        hessian += sigma / 3.3 * rng.standard_normal(hessian.shape, np.float32)
        values = -STEP * gradient / (np.maximum(hessian, 0) + 1 + DAMPING["logistic"] * sigma)
        values = np.clip(values, -LARGEST, LARGEST).astype(np.float32)
        for start in range(0, len(cells), _CHUNK):
            rows = slice(start, start + _CHUNK)
            margins[rows] += values.take(cells[rows], axis=0)
    return margins


def _cell_sums(cells: NDArray[np.uint8], margins: Matrix, *, signs: Matrix, members: Matrix, size: int) -> tuple[Matrix, Matrix]:
    """Gradient and hessian sums of every shadow: float32 ``[cells, shadows]`` each."""
    shadows = margins.shape[1]
    total = np.zeros((size, 2 * shadows), np.float32)
    terms = np.empty((_CHUNK, 2 * shadows), np.float32)
    for start in range(0, len(cells), _CHUNK):
        rows = slice(start, start + _CHUNK)
        count = len(cells[rows])
        part, member = terms[:count], members[rows]
        slope = np.tanh(margins[rows] * np.float32(0.5))
        np.multiply(slope - signs[rows], member, out=part[:, :shadows])
        np.multiply(1 - slope * slope, member, out=part[:, shadows:])
        places = (np.ones(count, np.float32), cells[rows].astype(np.int32), np.arange(count + 1, dtype=np.int32))
        onehot = sparse.csc_array(places, shape=(size, count))
        total += onehot @ part
    return total[:, :shadows] * np.float32(0.5), total[:, shadows:] * np.float32(0.25)


def sequential_shadows(train: Callable[[NDArray[np.bool_]], Callable[[], NDArray[np.float64]]], membership: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Shadows of any model, one after another.

    Args:
        train: given a mask of members ``[records]``, trains and returns a function that gives the margins of all records.
        membership: bool ``[records, shadows]``.

    Returns:
        Margins, float64 ``[records, shadows]``.
    """
    return np.stack([train(membership[:, shadow])() for shadow in range(membership.shape[1])], axis=1)


def log_odds(probabilities: Any) -> NDArray[np.float64]:
    """Margins from probabilities of the second class, safe where they saturate: float64 ``[records]``."""
    clipped = np.clip(np.asarray(probabilities, np.float64), 1e-12, 1 - 1e-12)
    return np.asarray(np.log(clipped) - np.log1p(-clipped))
