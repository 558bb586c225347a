"""What one record adds to a cell: gradient and hessian of a loss at its margin, in grid integers with a proved length.

A margin is a fixed-point integer, 4,096 steps to one. The logistic loss is a table lookup, so that its bound is checked on every entry in
integers; nothing depends on how a platform rounds an exponential.

For the logistic loss (g, c·h) = (p - y, c·p(1 - p)) has length at most 1 for c <= 3.33: maximise q²(1 + c²(1 - q)²) over q = |p - y|. For the
softmax the length of (p - e_y, c·p(1 - p)) is at most √2 for c <= 2, reached where two other classes share the mass.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from tacit.errors import UsageError
from tacit.questions.base import GRID
from tacit.questions.encoding import UNIT_LABEL, Labels

Margins = NDArray[np.int32]

MARGIN_UNIT = 1 << 12
LOSSES = ("logistic", "softmax", "squared")
HESSIAN_SCALE = {"logistic": 3.3, "softmax": 1.99, "squared": 0.5}
"""c: how many grid steps of hessian there are to a grid step of gradient."""

_SHIFT = 5
_HALF = 512 * MARGIN_UNIT >> _SHIFT  # far beyond any margin that is learned: so no entry has to be clamped in the hot loop
_TABLE = 2 * _HALF + 1
_SAFETY = 1 - 1e-12
_PACK = 27
MOST_PACKED_ROWS = 1 << 14


def squared_length(loss: str, *, hessian: bool) -> float:
    """Largest squared length of one record's gradient (with scaled hessian), in units of GRID squared."""
    if loss not in LOSSES:
        raise UsageError(f"Expected a loss out of {', '.join(LOSSES)}; got «{loss}».")
    if loss == "logistic":
        return 1.0
    if loss == "softmax":
        return 2.0
    return 1.0 + HESSIAN_SCALE["squared"] ** 2 if hessian else 1.0


def first_length(loss: str, outputs: int) -> float:
    """Length of one record's gradient at margin zero, at most: ½ for two classes, √(1 − 1/k) for k, 1 for a number."""
    return {"logistic": 0.5, "softmax": math.sqrt(1 - 1 / max(outputs, 2))}.get(loss, 1.0)


@cache
def logistic_tables() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gradient and scaled hessian for every margin up to 512 and label: float64 ``[2 * 131073]`` of whole numbers, label 0 first.

    Entries are rounded to the nearest step where the pair stays within the grid, and towards zero where it would not.

    Raises:
        UsageError: if an entry were longer than the grid, which would void every bound.
    """
    margins = (np.arange(_TABLE) - _HALF) * (2.0**_SHIFT / MARGIN_UNIT)
    p = expit(margins)
    gradient = np.concatenate([p, p - 1]) * GRID
    hessian = np.tile(HESSIAN_SCALE["logistic"] * p * (1 - p) * GRID, 2)
    long = np.rint(gradient) ** 2 + np.rint(hessian) ** 2 > GRID * GRID
    gradient = np.where(long, np.trunc(gradient), np.rint(gradient))
    hessian = np.where(long, np.trunc(hessian), np.rint(hessian))
    if (gradient.astype(np.int64) ** 2 + hessian.astype(np.int64) ** 2).max() > GRID * GRID:
        raise UsageError("Expected every gradient within the grid; this is a fault of the platform's arithmetic.")
    return gradient, hessian


@cache
def packed_logistic_table() -> NDArray[np.float64]:
    """Hessian and gradient in one whole number below 2^40, so that one sum carries both; `unpack_sums` takes them apart."""
    gradient, hessian = logistic_tables()
    return hessian * float(1 << _PACK) + gradient


def unpack_sums(sums: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Gradient and hessian sums from packed sums over at most 16,384 rows: each is below 2^26, so nothing is lost in a float64.

    >>> gradient, hessian = unpack_sums(np.array([5.0 * 2**27 - 3.0]))
    >>> int(gradient[0]), int(hessian[0])
    (-3, 5)
    """
    whole = sums.astype(np.int64)
    hessian = (whole + (1 << (_PACK - 1))) >> _PACK
    return whole - (hessian << _PACK), hessian


def logistic_starts(labels: Labels) -> Margins:
    """Margin zero of every row, int32 ``[rows]``, moved to where its label has its entries: a margin then leads to its entry by one shift."""
    return ((labels * _TABLE + _HALF) << _SHIFT).astype(np.int32)


def logistic_entries(moved: Margins, *, work: NDArray[np.int32], out: NDArray[np.intp]) -> NDArray[np.intp]:
    """Table positions for margins that began at `logistic_starts`, written to ``out``; ``work`` is overwritten.

    Margins beyond 512 lead to some other entry, or are clipped to the table by whoever gathers: wrong for learning, within the bound all the same.
    """
    np.right_shift(moved, _SHIFT, out=work)
    out[:] = work
    return out


def softmax_terms(margins: Margins, labels: Labels) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gradient and scaled hessian, whole numbers float64 ``[rows, classes]``; their joint length is at most √2 GRID.

    Every entry is rounded towards zero, so that no rounding can lengthen the vector.
    """
    scores = margins.astype(np.float64) / MARGIN_UNIT
    scores -= scores.max(axis=1, keepdims=True)
    p = np.exp(scores)
    p /= p.sum(axis=1, keepdims=True)
    hessian = np.floor(HESSIAN_SCALE["softmax"] * p * (1 - p) * GRID * _SAFETY)
    p[np.arange(len(labels)), labels] -= 1
    return np.trunc(p * GRID * _SAFETY), hessian


def squared_terms(margins: Margins, labels: Labels) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Residual clipped to [-1, 1] and the constant hessian, whole numbers float64 ``[rows]``."""
    residual = np.clip(margins - labels.astype(np.int64) * (MARGIN_UNIT // UNIT_LABEL), -MARGIN_UNIT, MARGIN_UNIT)
    return residual * float(GRID // MARGIN_UNIT), np.full(len(labels), HESSIAN_SCALE["squared"] * GRID)
