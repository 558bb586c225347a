"""Additive models fitted all at once: every step asks for the gradient and hessian sums of all partitions, and takes a damped Newton step.

A record lies in one cell of each of P partitions, so its contribution has length √P by structure: no example is clipped. All partitions move
together, each by a P-th of its own step, with momentum; the second half of the iterates is averaged.

Cells are held near zero, and cells of neighbouring numbers near each other, by as much as the noise asks for: with noise of variance s² in the
average answer, curvature H of a cell, and effects that are expected to be about e large, the ridge is s² / (H e²), as for a Gaussian prior. At
a large budget it vanishes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solveh_banded

from tacit.domain import Numeric
from tacit.guard import Aggregator, Plan
from tacit.learn.boosting import random_tree
from tacit.learn.driver import Steps
from tacit.learn.spending import preparation, unit_clip, with_rest
from tacit.learn.training import Grounds, LearnSpec, fit_additive, most_outputs
from tacit.models import AdditiveModel
from tacit.questions import GRID, CellSums, Frame, Partition, Update
from tacit.questions.losses import HESSIAN_SCALE, MARGIN_UNIT, squared_length
from tacit.questions.structure import MOST_CELLS

STEP, MOMENTUM = 0.5, 0.9
DAMPING = 8.0
SMOOTHNESS = 2.0
EFFECT = {"logistic": 1.0, "softmax": 2.0, "squared": 0.3}
"""How large the effect of a feature usually is, in margins."""


@dataclass(frozen=True)
class FullBatchShape:
    """Gradient steps, and random trees beside the feature bins."""

    iterations: int = 60
    trees: int = 0
    depth: int = 4


@dataclass
class FullBatch:
    """One fit.

    Args:
        frame: target, loss and bins.
        shape: number of steps.
        partitions: whose cells have values, all of them together.
        sigma: standard deviation of a sum's noise in one answer, in natural units.
        clip: of one unit's contribution; ``None`` if every row is a unit.
        first_step: where in the plan the cell sums begin.
    """

    frame: Frame
    shape: FullBatchShape
    partitions: tuple[Partition, ...]
    sigma: float
    clip: int | None = None
    first_step: int = 0

    def steps(self) -> Steps[tuple[Update, ...]]:
        """The conversation; returns one update per partition."""
        shape = (int(self._sizes.sum()), self.frame.target.outputs)
        values, speed, tail, curvature = (np.zeros(shape) for _ in range(4))
        sent = np.zeros(shape, np.int64)
        base, pending, iterations = self.frame.digest, tuple[Update, ...](), self.shape.iterations
        for step in range(1, iterations + 1):
            question = CellSums(self.frame, base, self.partitions, pending, hessian=True, clip=self.clip)
            answer: NDArray[np.int64] = yield self.first_step + step - 1, question
            gradient, hessian = (part.reshape(shape) for part in np.split(answer / GRID, 2))
            curvature += hessian / HESSIAN_SCALE[self.frame.loss]
            move = self._newton(values, gradient, curvature / step, noise=self.sigma / math.sqrt(step))
            speed = MOMENTUM * speed - STEP / len(self.partitions) * move
            values = values + speed
            tail += values * (step > iterations // 2)
            steps = np.rint(values * MARGIN_UNIT).astype(np.int64)
            base, pending, sent = question.after, self._updates(steps - sent), steps
        return self._updates(np.rint(tail / (iterations - iterations // 2) * MARGIN_UNIT).astype(np.int64))

    def _newton(
        self, values: NDArray[np.float64], gradient: NDArray[np.float64], curvature: NDArray[np.float64], *, noise: float,
    ) -> NDArray[np.float64]:
        """Each partition's own step ``[cells, outputs]``; links make one tridiagonal system of all cells, output by output."""
        ridge, link = self._holds(curvature)
        held = ridge + link + np.append(link[1:], np.zeros_like(link[:1]), axis=0)
        pull = held * values
        pull[1:] -= link[1:] * values[:-1]
        pull[:-1] -= link[1:] * values[1:]
        diagonal = np.maximum(curvature, 0.0) + held + DAMPING * noise + 1
        outputs = range(values.shape[1])
        moves = [solveh_banded(np.stack([-link[:, o], diagonal[:, o]]), gradient[:, o] + pull[:, o], check_finite=False) for o in outputs]
        return np.stack(moves, axis=1)

    def _holds(self, curvature: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """How strongly each cell is held near zero, and near the cell before it: float64 ``[cells, outputs]`` each."""
        sizes, first = self._sizes, np.cumsum(self._sizes) - self._sizes
        typical = np.maximum(np.add.reduceat(curvature, first, axis=0) / sizes[:, None], 1.0)
        variance = self.sigma**2 / self.shape.iterations
        ridge = np.where(sizes[:, None] > 1, variance / (typical * EFFECT[self.frame.loss] ** 2), 0.0)
        link = np.repeat(SMOOTHNESS * ridge * sizes[:, None], sizes, axis=0) * self._neighbours[:, None]
        return np.repeat(ridge, sizes, axis=0), link

    @cached_property
    def _sizes(self) -> NDArray[np.int64]:
        return np.array([p.size for p in self.partitions])

    @cached_property
    def _neighbours(self) -> NDArray[np.float64]:
        """1 where a cell's numbers lie next to those of the cell before it; a missing value has no neighbours."""
        columns = self.frame.binning.domain.columns
        return np.concatenate([
            (np.arange(p.size) > 1) * float(len(p.features) == 1 and isinstance(columns[p.features[0]][1], Numeric)) for p in self.partitions
        ])

    def _updates(self, values: NDArray[np.int64]) -> tuple[Update, ...]:
        limit = np.iinfo(np.int32).max // (2 * len(self.partitions))
        parts = np.split(np.clip(values, -limit, limit).astype(np.int32), np.cumsum(self._sizes)[:-1])
        return tuple(Update(p, part) for p, part in zip(self.partitions, parts, strict=True))


def _partitions(frame: Frame, shape: FullBatchShape, rng: np.random.Generator) -> tuple[Partition, ...]:
    """One partition that holds everybody (the intercept), the bins of every feature, and the random trees."""
    everybody = Partition((0,), (np.zeros(frame.binning.counts[0], np.uint8),), 1)
    singles = [Partition.of_feature(i, bins) for i, bins in enumerate(frame.binning.counts)]
    even = np.full(len(singles), 1 / len(singles))
    trees = (random_tree(frame.binning, even, depth=shape.depth, rng=rng) for _ in range(shape.trees))
    return (everybody, *singles, *trees)


def fit_full_batch(spec: LearnSpec, aggregator: Aggregator, shape: FullBatchShape | None = None) -> AdditiveModel:
    """Fit an additive model by full-batch noisy Newton steps."""
    shape = shape or FullBatchShape()
    outputs, partitions = most_outputs(spec), 1 + len(spec.features) + shape.trees
    steps = with_rest(
        preparation(undeclared=len(spec.asked), binned=len(spec.features)), CellSums.kind,
        repeats=shape.iterations, cells=2 * MOST_CELLS * outputs * partitions, l0=2 * outputs * partitions,
    )

    def learn(grounds: Grounds, plan: Plan, first: int) -> Steps[tuple[Update, ...]]:
        parts = _partitions(grounds.frame, shape, grounds.rng)
        length = math.sqrt(squared_length(grounds.frame.loss, hessian=True) * len(parts))
        clip = unit_clip(aggregator, GRID * length)
        sigma = plan.step(first).noise_multiplier * plan.relation.factor * (length if clip is None else clip / GRID)
        return FullBatch(grounds.frame, shape, parts, sigma, clip, first).steps()

    return fit_additive(spec, aggregator, steps, learn=learn)
