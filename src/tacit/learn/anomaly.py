"""Anomaly detection without labels: how rare are the cells a record lies in, over feature bins and random public trees?

The cells of all partitions are counted in one answer, because the structure is drawn without looking at records; a second, small answer says
how the scores of the records themselves are spread, so that a score can be read as a share.

A histogram-based outlier score (Goldstein & Dengel 2012) is the sum over single features alone; random trees (as in isolation forests, Liu, Ting
& Zhou 2008, and half-space trees, Tan, Ting & Liu 2011) add what is rare only together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from tacit.errors import UsageError
from tacit.guard import Aggregator, Plan
from tacit.learn.boosting import random_tree
from tacit.learn.discovery import simplex, total_of
from tacit.learn.driver import Steps
from tacit.learn.spending import Outlay, preparation, unit_clip
from tacit.learn.training import LearnSpec, Preparation, TargetSpec, evidence_of, open_and_run, provenance_of, structure_generator
from tacit.models import AnomalyModel
from tacit.questions import GRID, CellCounts, Frame, MarginCounts, Partition, Update
from tacit.questions.losses import MARGIN_UNIT
from tacit.questions.structure import MOST_CELLS

UNLABELLED = TargetSpec("(unusual)", classes=("usual", "unusual"))
"""What an anomaly detector tells apart; no column holds it."""

TREES = 200
LEVELS = 128
MARGIN_SHARE = 0.1
SHALLOWEST, DEEPEST = 2, 8
_SEEN = 2.0


@dataclass(frozen=True)
class AnomalyShape:
    """How many random trees stand beside the feature bins, and how many levels they have; ``depth=None`` lets noise and units decide."""

    trees: int = TREES
    depth: int | None = None


@dataclass
class Rarity:
    """One fit, once the frame is known.

    Args:
        frame: the bins; its target is `UNLABELLED`.
        shape: of the trees.
        plan: that is being answered.
        size: about how many records there are.
        rng: public randomness.
        aggregator: who answers.
        first_step: of the cell counts in the plan; the margin counts follow.
    """

    frame: Frame
    shape: AnomalyShape
    plan: Plan
    size: int
    rng: np.random.Generator
    aggregator: Aggregator
    first_step: int

    def steps(self) -> Steps[tuple[tuple[Update, ...], NDArray[np.int32], NDArray[np.float64]]]:
        """The conversation; returns the updates, the edges of margins, and the share of records below each."""
        partitions = self._partitions()
        cells = CellCounts(self.frame.binning, partitions, unit_clip(self.aggregator, _length(len(partitions))))
        answer: NDArray[np.int64] = yield self.first_step, cells
        updates, spread = rarity(partitions, answer / GRID, sigma=self._sigma(cells, self.first_step), size=None if cells.clip else self.size)
        edges = margin_edges(updates, spread)
        margins = MarginCounts(self.frame.binning, updates, edges, unit_clip(self.aggregator, GRID))
        counted: NDArray[np.int64] = yield self.first_step + 1, margins
        return updates, edges, shares_below(counted / GRID)

    def _sigma(self, question: CellCounts, step: int) -> float:
        return self.plan.step(step).noise_multiplier * question.bounds(self.plan.relation).l2 / GRID

    def _partitions(self) -> tuple[Partition, ...]:
        counts = self.frame.binning.counts
        singles = [Partition.of_feature(feature, bins) for feature, bins in enumerate(counts)]
        if not self.shape.trees:
            return tuple(singles)
        length = _length(len(singles) + self.shape.trees)
        sigma = self.plan.step(self.first_step).noise_multiplier * (unit_clip(self.aggregator, length) or length) / GRID
        depth = self.shape.depth or depth_for(self.size, sigma)
        even = np.full(len(counts), 1 / len(counts))
        return (*singles, *(random_tree(self.frame.binning, even, depth=depth, rng=self.rng) for _ in range(self.shape.trees)))


def depth_for(size: int, sigma: float) -> int:
    """How many levels a tree has, so that its cells would hold some standard deviations of the noise if they were equally full.

    >>> [depth_for(size, 50.0) for size in (500, 10_000, 1_000_000)]
    [2, 7, 8]
    """
    return int(np.clip(round(math.log2(max(size, 1) / max(_SEEN * sigma, 1e-9))), SHALLOWEST, DEEPEST))


def rarity(
    partitions: tuple[Partition, ...], counts: NDArray[np.float64], *, sigma: float, size: int | None,
) -> tuple[tuple[Update, ...], float]:
    """What each cell is worth: the logarithm of how much rarer it is than the cell of a typical record (nats, in margin steps).

    Args:
        partitions: of the records.
        counts: noisy counts, partition by partition.
        sigma: of their noise.
        size: noised number of records; ``None`` where only that of units is known.

    A count below twice the noise says no more than «rare», so that it counts as that much.

    Returns:
        The updates, and the standard deviation of the margin (steps) if partitions were independent.
    """
    floor, updates, variance, start = max(_SEEN * sigma, 1.0), [], 0.0, 0
    for partition in partitions:
        found = counts[start : start + partition.size]
        start += partition.size
        mass = simplex(found, total_of(found, size=size))
        share = mass / max(float(mass.sum()), 1.0)
        surprise = -np.log(np.maximum(mass, floor) / max(float(mass.sum()), 1.0))
        surprise -= float((share * surprise).sum())
        variance += float((share * surprise**2).sum())
        updates.append(Update(partition, np.rint(surprise * MARGIN_UNIT).astype(np.int32)[:, None]))
    return tuple(updates), math.sqrt(variance) * MARGIN_UNIT


def margin_edges(updates: tuple[Update, ...], spread: float) -> NDArray[np.int32]:
    """Margins that become coarser away from zero, the margin of a typical record: int32, fewer than `LEVELS`, a quarter of them below zero."""
    least = max(spread / 4, 1.0)
    low, high = (sum(int(pick(update.values)) for update in updates) for pick in (np.min, np.max))
    above = np.geomspace(least, max(float(high), 2 * least), 3 * LEVELS // 4 - 1)
    below = -np.geomspace(least, max(float(-low), 2 * least), LEVELS // 4 - 1)
    return np.unique(np.rint(np.concatenate([below, [0.0], above])).astype(np.int32))


def shares_below(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Which share of the records lies below each edge, from noisy counts between the edges: never falling, from 0 to 1.

    It is what does not lie above, so that the noise of the few counts above an edge is all that disturbs it.

    >>> shares_below(np.array([90.0, -3.0, 11.0, 2.0])).round(3).tolist()
    [0.885, 0.885, 0.98]
    """
    above = np.cumsum(counts[::-1])[::-1][1:] / max(float(counts.sum()), 1.0)
    return np.asarray(1 - isotonic_regression(np.clip(above, 0.0, 1.0), increasing=False).x, np.float64)


def fit_anomaly(spec: LearnSpec, aggregator: Aggregator, shape: AnomalyShape | None = None) -> AnomalyModel:
    """Learn which records are unusual, from records that are mostly not.

    Args:
        spec: what to learn from; its target is `UNLABELLED`.
        aggregator: one guard, or many.
        shape: of the trees.

    Raises:
        UsageError: if the specification names a target.
        Refused: if the plan is refused; nothing is charged then.
    """
    if spec.target != UNLABELLED:
        raise UsageError(f"Expected a specification without labels; got the target «{spec.target.column}». Pass tacit.learn.UNLABELLED.")
    shape = shape or AnomalyShape()

    def whole(preparation_: Preparation) -> Steps[tuple[Frame, tuple[Update, ...], NDArray[np.int32], NDArray[np.float64]]]:
        frame = yield from preparation_.steps()
        rng = structure_generator(spec, preparation_.plan)
        fit = Rarity(frame, shape, preparation_.plan, preparation_.size, rng, aggregator, preparation_.next_step)
        updates, edges, below = yield from fit.steps()
        return frame, updates, edges, below

    (frame, updates, edges, below), plan, conversation = open_and_run(spec, aggregator, _outlays(spec, shape), whole=whole)
    provenance, evidence = provenance_of(plan, conversation, aggregator), evidence_of(aggregator)
    return AnomalyModel(frame, updates, conversation.guarantee, provenance, evidence, edges=edges, below=below)


def _length(partitions: int) -> int:
    """Of one row's counts, in grid integers, rounded up."""
    return math.ceil(GRID * math.sqrt(partitions))


def _outlays(spec: LearnSpec, shape: AnomalyShape) -> list[Outlay]:
    steps = preparation(undeclared=len(spec.asked), binned=len(spec.features))
    left, partitions = 1 - sum(step.share for step in steps), len(spec.features) + shape.trees
    cells = MOST_CELLS * partitions
    return [
        *steps,
        Outlay(CellCounts.kind, 1, left * (1 - MARGIN_SHARE), cells, partitions, _length(partitions)),
        Outlay(MarginCounts.kind, 1, left * MARGIN_SHARE, LEVELS, 1, GRID),
    ]
