"""Boosting over public partitions: feature bins first, then random oblivious trees over the features that turned out to matter.

Every block asks for the gradient and hessian sums in the cells of one partition and takes a damped Newton step. Nothing is chosen by looking at
records: trees are drawn from a public seed, with features weighted by the shape functions that were released before.

A tree of D levels splits between two and D different features, so that some trees refine a few features and others reach for interactions of
many. D grows with what the noise allows to see: 2^D is about twice the square root of units per standard deviation of the noise.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tacit.domain import Category
from tacit.learn.driver import Steps
from tacit.questions import GRID, Binning, CellSums, Frame, Partition, Update
from tacit.questions.base import Sums
from tacit.questions.losses import HESSIAN_SCALE, MARGIN_UNIT, squared_length

PASSES = 2
TREES = 200
SHALLOWEST, DEEPEST = 2, 8
STEP = 0.5
LARGEST = 1.5
FOCUS = 0.7
DAMPING = {"logistic": 8.0, "softmax": 8.0 / math.sqrt(2.0), "squared": 64.0}


@dataclass(frozen=True)
class BoostingShape:
    """How many blocks there are, and how many levels their trees have; ``depth=None`` lets noise and number of units decide."""

    passes: int = PASSES
    trees: int = TREES
    depth: int | None = None

    def blocks(self, features: int) -> int:
        """How many answers a fit needs."""
        return self.passes * features + self.trees


@dataclass
class Boosting:
    """One fit.

    Args:
        frame: target, loss and bins.
        shape: number and size of blocks.
        noise_multiplier: σ of one coordinate of the plan's cell sums, over the length of one unit's contribution.
        rng: public randomness for orders, features and thresholds.
        size: about how many records there are.
        clip: of one unit's contribution; ``None`` if every row is a unit.
        first_step: where in the plan the cell sums begin.
    """

    frame: Frame
    shape: BoostingShape
    noise_multiplier: float
    rng: np.random.Generator
    size: int
    clip: int | None = None
    first_step: int = 0
    updates: list[Update] = field(default_factory=list)

    def steps(self) -> Steps[tuple[Update, ...]]:
        """The conversation; returns all updates."""
        base = self.frame.digest
        pending: tuple[Update, ...] = ()
        count = len(self.frame.binning.counts)
        shapes = [np.zeros((bins, self.frame.target.outputs)) for bins in self.frame.binning.counts]
        weights = [np.ones((bins, self.frame.target.outputs)) for bins in self.frame.binning.counts]
        for step, (feature, partition) in enumerate(self._blocks(shapes, weights)):
            question = CellSums(self.frame, base, (partition,), pending, hessian=True, clip=self.clip)
            answer: Sums = yield self.first_step + step, question
            values, hessian = newton_values(answer, question, sigma=self._sigma)
            base, pending = question.after, (Update(partition, values),)
            self.updates.extend(pending)
            if feature is not None and count:
                shapes[feature] += values / MARGIN_UNIT
                weights[feature] = hessian
        return tuple(self.updates)

    @property
    def _sigma(self) -> float:
        """Standard deviation of a gradient sum, in natural units, for rows that are units: the step's damping."""
        length = self.clip / GRID if self.clip is not None else math.sqrt(squared_length(self.frame.loss, hessian=True))
        return self.noise_multiplier * length

    def _blocks(
        self, shapes: list[NDArray[np.float64]], weights: list[NDArray[np.float64]],
    ) -> Generator[tuple[int | None, Partition], None, None]:
        counts = self.frame.binning.counts
        for _ in range(self.shape.passes):
            for feature in self.rng.permutation(len(counts)):
                yield int(feature), Partition.of_feature(int(feature), counts[feature])
        chances, depth = focus(shapes, weights), self.shape.depth or depth_for(self.size, self._sigma)
        for _ in range(self.shape.trees):
            yield None, random_tree(self.frame.binning, chances, depth=depth, rng=self.rng)


def depth_for(size: int, sigma: float) -> int:
    """How many levels a tree has, for so many records and noise of so many in every cell.

    >>> [depth_for(30_000, sigma) for sigma in (500.0, 60.0, 10.0)]
    [4, 5, 7]
    """
    return int(np.clip(round(1 + math.log2(max(size, 1) / max(sigma, 1e-9)) / 2), SHALLOWEST, DEEPEST))


def random_tree(binning: Binning, chances: NDArray[np.float64], *, depth: int, rng: np.random.Generator) -> Partition:
    """A random oblivious tree: some features, drawn with these chances, each split at least once, some again at another place."""
    most = min(depth, int(np.count_nonzero(chances)))
    # The largest of log(u)/p is drawn with chance p, the next of the rest with theirs, and so on (Efraimidis & Spirakis 2006).
    with np.errstate(divide="ignore"):
        order = np.argsort(-np.log(rng.random(len(chances))) / chances)
    features = order[: int(rng.integers(min(2, most), most + 1))]
    levels = [*features.tolist(), *features[rng.integers(0, len(features), depth - len(features))].tolist()]
    return Partition.oblivious(levels, [_side(binning, feature, rng) for feature in levels])


def _side(binning: Binning, feature: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which bins go right: above a random cut for numbers, a random half for categories."""
    bins = binning.counts[feature]
    if isinstance(binning.domain.columns[feature][1], Category):
        return rng.integers(0, 2, bins).astype(bool)
    return np.arange(bins) >= 1 + rng.integers(max(bins - 1, 1))


def focus(shapes: list[NDArray[np.float64]], weights: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """How likely each feature is drawn: in part evenly, in part by the spread of its released shape function."""
    spread = np.zeros(len(shapes))
    for index, (shape, weight) in enumerate(zip(shapes, weights, strict=True)):
        mass = weight + 1e-9
        mass = mass / mass.sum(axis=0)
        spread[index] = math.sqrt(float((mass * (shape - (mass * shape).sum(axis=0)) ** 2).sum()))
    even = np.full(len(shapes), 1 / max(len(shapes), 1))
    chances = even if spread.sum() < 1e-12 else (1 - FOCUS) * even + FOCUS * spread / spread.sum()
    return np.asarray(chances / chances.sum())


def newton_values(answer: Sums, question: CellSums, *, sigma: float) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Cell values of one damped Newton step, in margin steps int32 ``[cells, outputs]``, and the noisy hessians they used.

    The damping grows with the noise, so that cells in which noise outweighs records stay near zero.
    """
    loss, outputs = question.frame.loss, question.frame.target.outputs
    gradient, hessian = np.split(answer.astype(np.float64) / GRID, 2)
    gradient = gradient.reshape(-1, outputs)
    hessian = np.maximum(hessian.reshape(-1, outputs) / HESSIAN_SCALE[loss], 0.0)
    values = -STEP * gradient / (hessian + 1 + DAMPING[loss] * sigma)
    return np.rint(np.clip(values, -LARGEST, LARGEST) * MARGIN_UNIT).astype(np.int32), hessian
