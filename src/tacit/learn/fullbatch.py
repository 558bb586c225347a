"""Additive models fitted all at once: every step asks for the gradient sums of all partitions, and moves by Adam.

A record lies in one cell of each of P partitions, so its gradient has length √P by structure: no example is clipped. The noise of a cell falls
with the number of steps that average over it; the second half of the iterates is averaged.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tacit.guard import Aggregator, Plan
from tacit.learn.boosting import random_tree
from tacit.learn.driver import Steps
from tacit.learn.spending import preparation, unit_clip, with_rest
from tacit.learn.training import Grounds, LearnSpec, fit_additive, most_outputs
from tacit.models import AdditiveModel
from tacit.questions import GRID, CellSums, Frame, Partition, Update
from tacit.questions.losses import MARGIN_UNIT, squared_length
from tacit.questions.structure import MOST_CELLS

RATE = 0.1
_FIRST, _SECOND = 0.9, 0.99


@dataclass(frozen=True)
class FullBatchShape:
    """Gradient steps, and random trees beside the feature bins."""

    iterations: int = 60
    trees: int = 0
    depth: int = 4


@dataclass
class FullBatch:
    """One fit: Adam (Kingma & Ba 2015) on noisy gradient sums over a noised number of units, with a falling rate."""

    frame: Frame
    shape: FullBatchShape
    size: int
    partitions: tuple[Partition, ...]
    clip: int | None = None
    first_step: int = 0

    def steps(self) -> Steps[tuple[Update, ...]]:
        """The conversation; returns one update per partition."""
        total = sum(p.size for p in self.partitions)
        position = np.zeros((total, self.frame.target.outputs))
        sent = np.zeros(position.shape, np.int64)
        first, second, tail = np.zeros_like(position), np.zeros_like(position), np.zeros_like(position)
        base = self.frame.digest
        pending: tuple[Update, ...] = ()
        for step in range(1, self.shape.iterations + 1):
            question = CellSums(self.frame, base, self.partitions, pending, hessian=False, clip=self.clip)
            answer: NDArray[np.int64] = yield self.first_step + step - 1, question
            gradient = answer.reshape(position.shape) / (GRID * float(max(self.size, 1)))
            first = _FIRST * first + (1 - _FIRST) * gradient
            second = _SECOND * second + (1 - _SECOND) * gradient**2
            rate = RATE * (1 - 0.9 * step / self.shape.iterations)
            position -= rate * (first / (1 - _FIRST**step)) / (np.sqrt(second / (1 - _SECOND**step)) + 1e-8)
            tail += position * (step > self.shape.iterations // 2)
            base, pending = question.after, self._updates(np.rint(position * MARGIN_UNIT).astype(np.int64) - sent)
            sent = np.rint(position * MARGIN_UNIT).astype(np.int64)
        kept = self.shape.iterations - self.shape.iterations // 2
        return self._updates(np.rint(tail / kept * MARGIN_UNIT).astype(np.int64))

    def _updates(self, values: NDArray[np.int64]) -> tuple[Update, ...]:
        borders = np.cumsum([p.size for p in self.partitions])[:-1]
        parts = np.split(values.astype(np.int32), borders)
        return tuple(Update(p, part) for p, part in zip(self.partitions, parts, strict=True))


def _partitions(frame: Frame, shape: FullBatchShape, rng: np.random.Generator) -> tuple[Partition, ...]:
    """One partition that holds everybody (the intercept), the bins of every feature, and the random trees."""
    everybody = Partition((0,), (np.zeros(frame.binning.counts[0], np.uint8),), 1)
    singles = [Partition.of_feature(i, bins) for i, bins in enumerate(frame.binning.counts)]
    even = np.full(len(singles), 1 / len(singles))
    trees = (random_tree(frame.binning, even, depth=shape.depth, rng=rng) for _ in range(shape.trees))
    return (everybody, *singles, *trees)


def fit_full_batch(spec: LearnSpec, aggregator: Aggregator, shape: FullBatchShape | None = None) -> AdditiveModel:
    """Fit an additive model by full-batch noisy gradients."""
    shape = shape or FullBatchShape()
    outputs, partitions = most_outputs(spec), 1 + len(spec.features) + shape.trees
    steps = with_rest(
        preparation(undeclared=len(spec.asked), binned=len(spec.features)), CellSums.kind,
        repeats=shape.iterations, cells=MOST_CELLS * outputs * partitions, l0=outputs * partitions,
    )

    def learn(grounds: Grounds, plan: Plan, first: int) -> Steps[tuple[Update, ...]]:
        parts = _partitions(grounds.frame, shape, grounds.rng)
        clip = unit_clip(aggregator, GRID * math.sqrt(squared_length(grounds.frame.loss, hessian=False) * len(parts)))
        return FullBatch(grounds.frame, shape, grounds.size, parts, clip, first).steps()

    return fit_additive(spec, aggregator, steps, learn=learn)
