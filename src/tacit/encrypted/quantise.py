"""Models as private integers over public columns, and how far that can be from the model."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tacit.encrypted.columns import CellColumns, Columns, DesignColumns, ProductColumns
from tacit.encrypted.words import Weights
from tacit.errors import UsageError
from tacit.models import AdditiveModel, LinearModel, SquareNetwork
from tacit.questions.linear import DESIGN_UNIT
from tacit.questions.losses import MARGIN_UNIT

WEIGHT_BITS = 12


@dataclass(frozen=True, eq=False)
class Quantised:
    """A model as integers.

    Args:
        columns: what is public.
        weights: int64 ``[outputs, columns]``; private.
        bias: int64 ``[outputs]``; private.
        unit: integer steps per 1.0 of a margin; public.
        error: the largest difference between a margin and its integer over ``unit``.
    """

    columns: Columns
    weights: Weights
    bias: NDArray[np.int64]
    unit: float
    error: float

    @property
    def span(self) -> int:
        """The largest absolute score that any record can have."""
        return self.columns.reach(self.weights) + int(np.abs(self.bias).max(initial=0))


def quantise(model: object, *, weight_bits: int = WEIGHT_BITS, coarser: int = 0) -> Quantised:
    """A model as integers.

    Args:
        model: an additive model (trees and anomalies from counts are), a linear one, or a `SquareNetwork`.
        weight_bits: of the largest weight of a linear model or a network.
        coarser: cell values of an additive model are rounded to multiples of 2 to this power; 0 keeps them exactly.

    Raises:
        UsageError: it is another kind of model.
    """
    if not 2 <= weight_bits <= 24 or not 0 <= coarser <= 16:
        raise UsageError(f"Expected weight_bits from 2 to 24 and coarser from 0 to 16; got {weight_bits} and {coarser}")
    if isinstance(model, AdditiveModel):
        return _cells(model, coarser)
    if isinstance(model, LinearModel):
        own, bias = model.weights[:, 1:], model.weights[:, 0]
        return _numbers(DesignColumns(model.domain), own, bias, bits=weight_bits, active=len(model.domain.columns))
    if isinstance(model, SquareNetwork):
        return _squares(model, weight_bits)
    raise UsageError(f"Expected an additive or linear model or a SquareNetwork; got {type(model).__name__}. ReLU networks cannot be scored encrypted")


def _cells(model: AdditiveModel, coarser: int) -> Quantised:
    scorer = model.scorer
    trees = tuple(partition for partition, _ in scorer.trees)
    columns = CellColumns(model.frame.binning, tuple(scorer.mains), trees)
    if not columns.count:
        raise UsageError("Expected a model with at least one partition; this one gives every record the same score. Train it longer")
    values = np.concatenate([*scorer.mains.values(), *(values for _, values in scorer.trees)]).astype(np.int64)
    half = (1 << coarser) >> 1
    weights, bias = (values.T + half) >> coarser, (scorer.intercept.astype(np.int64) + half) >> coarser
    error = (len(columns.groups) + 1) * half / MARGIN_UNIT
    return Quantised(columns, np.ascontiguousarray(weights), bias, MARGIN_UNIT / (1 << coarser), error)


def _numbers(columns: Columns, weights: NDArray[np.float64], bias: NDArray[np.float64], *, bits: int, active: float) -> Quantised:
    """Weights per 1.0 of a column, rounded; ``active`` columns of a record are not zero."""
    largest = float(np.abs(weights).max(initial=0.0))
    shift = bits - 1 - (math.ceil(math.log2(largest)) if largest > 0 else 0)
    scale = 2.0**shift
    unit = scale * DESIGN_UNIT
    return Quantised(columns, np.rint(weights * scale).astype(np.int64), np.rint(bias * unit).astype(np.int64), unit, (active + 1) / (2 * scale))


def _squares(model: SquareNetwork, bits: int) -> Quantised:
    columns = ProductColumns(model.domain)
    quadratic, linear, constant = model.form
    first, second = columns.pairs
    products = np.where(first == second, quadratic[:, first, second], 2 * quadratic[:, first, second])
    active = len(model.domain.columns)
    found = _numbers(columns, np.concatenate([linear, products], axis=1), constant, bits=bits, active=active + active * (active + 1) / 2)
    rounding = float(np.abs(found.weights[:, columns.width :]).sum(axis=1).max(initial=0)) / 2 / found.unit
    return Quantised(columns, found.weights, found.bias, found.unit, found.error + rounding)
