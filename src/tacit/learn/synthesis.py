"""Contingency tables worth asking: which columns belong together is read off coarse noisy tables of all pairs, then their fine tables are asked.

The pairs make a tree (Chow & Liu 1968), chosen by how far a pair's noisy table is from that of independent columns beyond what noise alone makes
of it (as McKenna et al. 2022 score candidates). With a column ``about`` in every table the tree is one *given* that column (Friedman et al. 1997),
so that what others say of it survives.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import minimum_spanning_tree

from tacit.domain import Category, ColumnType, Domain
from tacit.errors import UsageError
from tacit.guard import Aggregator, Plan
from tacit.learn.bins import stride_for
from tacit.learn.discovery import simplex, total_of
from tacit.learn.driver import Steps
from tacit.learn.spending import MOST_CODES, Outlay, preparation, unit_clip
from tacit.learn.training import LearnSpec, Preparation, TargetSpec, evidence_of, open_and_run, provenance_of
from tacit.models import SyntheticModel
from tacit.questions import GRID, Binning, Histogram, Marginals
from tacit.questions.marginals import MOST_CELLS

EVERY_COLUMN = TargetSpec("(every column)", classes=("yes", "no"))
"""What is learned of: all columns alike; no column of this name is read."""

HISTOGRAM_SHARE, PAIRS_SHARE = 0.1, 0.2
MOST_FEATURES = 128
_LIVE = 2.0
_MISSING = 4.0
"""In noise deviations: a column without missing values shall not get some from noise."""


@dataclass(frozen=True)
class SynthesisShape:
    """How finely columns are told apart in tables, and in the coarse tables of all pairs.

    Args:
        bins: the most bins of a column.
        coarse: the most bins in the tables of all pairs.
        about: a column that what others say of it matters most, such as a label.
        whole: columns whose numbers are whole.
    """

    bins: int = 16
    coarse: int = 8
    about: str | None = None
    whole: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 2 <= self.coarse <= self.bins <= 128:
            raise UsageError(f"Expected 2 <= coarse={self.coarse} <= bins={self.bins} <= 128.")


@dataclass
class _Synthesis:
    """One fit, once the domain is known."""

    domain: Domain
    shape: SynthesisShape
    plan: Plan
    aggregator: Aggregator
    size: int
    first_step: int

    def steps(self) -> Steps[SyntheticParts]:
        """The conversation."""
        clip = self._clip(len(self.domain.names))
        coarsest = Histogram(self.domain, clip=clip)
        histogram = Histogram(self.domain, stride_for(self.size, self._sigma(coarsest, self.first_step)), clip)
        answer: NDArray[np.int64] = yield self.first_step, histogram
        sigma = self._sigma(histogram, self.first_step)
        masses = [self._mass(kind, counts, sigma) for (_, kind), counts in zip(self.domain.columns, histogram.split(answer / GRID), strict=True)]
        groups = [histogram.groups(kind) for _, kind in self.domain.columns]
        fine, coarse = (self._binning(masses, groups, most) for most in (self.shape.bins, self.shape.coarse))
        cliques = yield from self._cliques(coarse)
        question = Marginals(fine, cliques, self._clip(len(cliques)))
        found: NDArray[np.int64] = yield self.first_step + 2, question
        codes = tuple(np.where(mass[group] > 0, mass[group] / np.bincount(group)[group], 0.0) for mass, group in zip(masses, groups, strict=True))
        return SyntheticParts(fine, cliques, tuple(question.split(found / GRID)), self._sigma(question, self.first_step + 2), codes)

    def _cliques(self, coarse: Binning) -> Steps[tuple[tuple[int, ...], ...]]:
        """The groups of features whose fine tables are asked."""
        names = self.domain.names
        about = None if self.shape.about is None else names.index(self.shape.about)
        others = [place for place in range(len(names)) if place != about]
        if len(others) <= 1:
            return (tuple(range(len(names))),)
        pairs = Marginals(coarse, tuple(itertools.combinations(others, 2)), self._clip(math.comb(len(others), 2)))
        answer: NDArray[np.int64] = yield self.first_step + 1, pairs
        weights = [dependence(table, self._sigma(pairs, self.first_step + 1)) for table in pairs.split(answer / GRID)]
        edges = spanning_tree(len(names), pairs.cliques, np.array(weights))
        return tuple(tuple(sorted({*edge, *([] if about is None else [about])})) for edge in edges)

    def _binning(self, masses: list[NDArray[np.float64]], groups: list[NDArray[np.int64]], most: int) -> Binning:
        kinds = [kind for _, kind in self.domain.columns]
        tables = [narrow(kind, mass, most)[group].astype(np.uint8) for kind, mass, group in zip(kinds, masses, groups, strict=True)]
        return Binning(self.domain, tuple(tables))

    def _mass(self, kind: ColumnType, counts: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
        """How records lie over the counts of one column; what does not stand out of the noise holds nothing."""
        known = self.size if self.aggregator.unit.is_record else None
        total = total_of(counts, size=known)
        visible = np.where(counts > np.where(np.arange(len(counts)) == 0, _MISSING, _LIVE) * sigma, counts, 0.0)
        return simplex(visible, total) * (visible > 0) if visible.any() else np.full(len(counts), total / len(counts))

    def _clip(self, tables: int) -> int | None:
        return unit_clip(self.aggregator, GRID * math.sqrt(tables))

    def _sigma(self, question: Histogram | Marginals, step: int) -> float:
        return self.plan.step(step).noise_multiplier * question.bounds(self.plan.relation).l2 / GRID


@dataclass(frozen=True)
class SyntheticParts:
    """What a fit released."""

    binning: Binning
    cliques: tuple[tuple[int, ...], ...]
    tables: tuple[NDArray[np.float64], ...]
    sigma: float
    codes: tuple[NDArray[np.float64], ...]


def narrow(kind: ColumnType, mass: NDArray[np.float64], most: int) -> NDArray[np.int64]:
    """The bin of every count: at most ``most`` bins of about equal mass. Neighbours for numbers; common values, and all others together, for texts.

    What holds nothing shares a bin with what does, so that noise makes no records of it.

    >>> from tacit.domain import Numeric
    >>> narrow(Category(("a", "b", "c")), np.array([0.0, 5.0, 90.0, 5.0, 1.0]), 3).tolist()
    [0, 1, 2, 0, 0]
    >>> narrow(Category(("a", "b", "c")), np.array([0.0, 5.0, 90.0, 5.0, 0.0]), 4).tolist()
    [1, 0, 1, 2, 1]
    >>> narrow(Numeric(0, 8), np.array([0.0, 96.0, 1.0, 1.0, 2.0]), 4).tolist()
    [0, 0, 1, 1, 1]
    >>> narrow(Numeric(0, 8), np.array([9.0, 96.0, 1.0, 1.0, 2.0]), 4).tolist()
    [0, 1, 2, 2, 2]
    """
    if isinstance(kind, Category):
        common = np.argsort(-mass, kind="stable")[: most - 1]
        common = np.sort(common[mass[common] > 0])
        bins = np.zeros(len(mass), np.int64)
        bins[common] = 1 + np.arange(len(common))
        if not mass[bins == 0].any():
            bins[bins == 0] = bins[int(mass.argmax())]
        return np.asarray(np.unique(bins, return_inverse=True)[1], np.int64)
    known = np.cumsum(mass[1:])
    middle = (known - mass[1:] / 2) / max(float(known[-1]), 1e-9)
    wanted = np.unique(np.minimum(np.floor(middle * (most - 1)), most - 2), return_inverse=True)[1]
    return np.concatenate([[0], wanted + (1 if mass[0] > 0 else 0)]).astype(np.int64)


def dependence(table: NDArray[np.float64], sigma: float) -> float:
    """How far a noisy table is from that of independent columns, less what noise alone adds: in records."""
    total = max(float(table.sum()), 1.0)
    apart = np.outer(table.sum(axis=1), table.sum(axis=0)) / total
    return float(np.abs(table - apart).sum() - math.sqrt(2 / math.pi) * sigma * table.size)


def spanning_tree(nodes: int, pairs: tuple[tuple[int, ...], ...], weights: NDArray[np.float64]) -> list[tuple[int, int]]:
    """The pairs that connect all nodes they mention with the greatest weight.

    >>> spanning_tree(3, ((0, 1), (0, 2), (1, 2)), np.array([5.0, 1.0, 3.0]))
    [(0, 1), (1, 2)]
    """
    costs = np.zeros((nodes, nodes))
    for (first, second), weight in zip(pairs, weights, strict=True):
        costs[first, second] = float(weights.max()) - weight + 1.0
    tree = minimum_spanning_tree(costs).tocoo()
    return sorted((int(min(edge)), int(max(edge))) for edge in zip(tree.row, tree.col, strict=True))


def fit_synthetic(spec: LearnSpec, aggregator: Aggregator, shape: SynthesisShape | None = None) -> SyntheticModel:
    """Release the tables that made-up records can be drawn from.

    Args:
        spec: which columns, for how much; its target is `EVERY_COLUMN`.
        aggregator: one guard, or many.
        shape: of the tables.

    Raises:
        UsageError: if the specification has a target, ``about`` or ``whole`` is no column, or there are more than 128 columns.
        Refused: if the plan is refused; nothing is charged then.
    """
    shape, columns = shape or SynthesisShape(), len(spec.features)
    if spec.target != EVERY_COLUMN:
        raise UsageError(f"Expected a specification of all columns alike; got the target «{spec.target.column}». Pass tacit.learn.EVERY_COLUMN.")
    unknown = [name for name in (*shape.whole, *filter(None, [shape.about])) if name not in spec.features]
    if unknown:
        raise UsageError(f"Expected a column that is learned from; got «{unknown[0]}».")
    if columns > MOST_FEATURES:
        raise UsageError(f"Expected at most {MOST_FEATURES} columns; got {columns}. Leave out those that nobody needs.")

    def whole(found: Preparation) -> Steps[tuple[SyntheticParts, int]]:
        domain, _ = yield from found.domain()
        parts = yield from _Synthesis(domain, shape, found.plan, aggregator, found.size, found.next_step).steps()
        return parts, found.size

    (parts, size), plan, conversation = open_and_run(spec, aggregator, _outlays(spec, shape), whole=whole)
    total = max(float(size), 1.0) if aggregator.unit.is_record else max(float(np.mean([table.sum() for table in parts.tables])), 1.0)
    provenance = provenance_of(plan, conversation, aggregator)
    return SyntheticModel(
        parts.binning, parts.cliques, parts.tables, parts.sigma, parts.codes, total, conversation.guarantee, provenance, evidence_of(aggregator),
        whole=shape.whole,
    )


def _outlays(spec: LearnSpec, shape: SynthesisShape) -> list[Outlay]:
    steps, columns = preparation(undeclared=len(spec.asked), binned=0), len(spec.features)
    others = columns - (shape.about is not None)
    pairs, tables = max(1, math.comb(others, 2)), max(1, others - 1)
    left = 1 - sum(step.share for step in steps)
    fine = shape.bins ** (2 + (shape.about is not None)) * tables
    return [
        *steps, Outlay(Histogram.kind, 1, left * HISTOGRAM_SHARE, MOST_CODES * columns, columns, GRID),
        Outlay(Marginals.kind, 1, left * PAIRS_SHARE, min(shape.coarse**2 * pairs, MOST_CELLS), pairs, GRID),
        Outlay(Marginals.kind, 1, left * (1 - HISTOGRAM_SHARE - PAIRS_SHARE), min(fine, MOST_CELLS), tables, GRID),
    ]
