"""Anomaly detection without labels, the second way: how far is a record from the centre along the principal components of the records?

One answer about second moments gives the components; each counts in its own standard deviations, so that what is unusual in a direction of little
spread stands out (the classifier of Shyu, Chen, Sarinnapakorn & Chang 2003, with all components). Noise adds to every direction about the same:
directions whose spread it hides are held to that spread. A second, small answer says how the distances of the records themselves are spread.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tacit.domain import Domain
from tacit.errors import UsageError
from tacit.guard import Aggregator
from tacit.learn.anomaly import LEVELS, MARGIN_SHARE, UNLABELLED, shares_below
from tacit.learn.driver import Steps
from tacit.learn.regression import design_width, trimmed
from tacit.learn.spending import Outlay, preparation, unit_clip
from tacit.learn.training import LearnSpec, Preparation, evidence_of, open_and_run, provenance_of
from tacit.models import SubspaceModel
from tacit.questions import GRID, Moments, SpreadCounts, Target
from tacit.questions.losses import MARGIN_UNIT
from tacit.questions.spread import DIRECTION_UNIT, MOST_DIRECTIONS

LEAST_SPREAD = 1e-4
"""Variance, of a design between -1 and 1, that no direction is taken to have less of."""


def fit_subspace(spec: LearnSpec, aggregator: Aggregator) -> SubspaceModel:
    """Learn which records are unusual from records that are mostly not, by their principal components.

    Args:
        spec: what to learn from; its target is `UNLABELLED`.
        aggregator: one guard, or many.

    Raises:
        UsageError: if the specification names a target, or there are more than a thousand columns of the design.
        Refused: if the plan is refused; nothing is charged then.
    """
    if spec.target != UNLABELLED:
        raise UsageError(f"Expected a specification without labels; got the target «{spec.target.column}». Pass tacit.learn.UNLABELLED.")
    if design_width(spec) > MOST_DIRECTIONS:
        raise UsageError(f"Expected at most {MOST_DIRECTIONS} columns and categories together; got up to {design_width(spec)}. Use trees.")

    def whole(found: Preparation) -> Steps[tuple[Domain, NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]]:
        known, _ = yield from found.domain()
        domain, first = trimmed(known, spec), found.next_step
        moments = Moments(domain, 2, None, unit_clip(aggregator, float(1 + len(domain.columns)) * GRID))
        answer: NDArray[np.int64] = yield first, moments
        sigma = found.plan.step(first).noise_multiplier * moments.bounds(found.plan.relation).l2 / GRID
        directions = components(answer / GRID, moments.width, sigma=sigma)
        edges = distance_edges(len(directions))
        counts = SpreadCounts(domain, directions, edges, unit_clip(aggregator, GRID))
        counted: NDArray[np.int64] = yield first + 1, counts
        return domain, directions, edges, shares_below(counted / GRID)

    (domain, directions, edges, below), plan, conversation = open_and_run(spec, aggregator, _outlays(spec), whole=whole)
    target = Target(UNLABELLED.column, classes=UNLABELLED.classes or ())
    return SubspaceModel(
        target, domain, directions, edges, below, conversation.guarantee, provenance_of(plan, conversation, aggregator),
        evidence_of(aggregator),
    )


def components(moments: NDArray[np.float64], width: int, *, sigma: float) -> NDArray[np.int32]:
    """Principal components of noisy second moments, each divided by its standard deviation, with the centre taken out: int32 ``[width - 1, width]``.

    Args:
        moments: upper triangle of the sum of x xᵀ, the intercept first.
        width: of the design.
        sigma: standard deviation of the noise of each sum.
    """
    products = np.zeros((width, width))
    products[np.triu_indices(width)] = moments
    products += np.triu(products, 1).T
    rows = max(1.0, products[0, 0])
    means = np.clip(products[0, 1:] / rows, -1.0, 1.0)
    spread, axes = np.linalg.eigh(products[1:, 1:] / rows - np.outer(means, means))
    deviations = np.sqrt(np.maximum(spread, 0.0) + sigma * math.sqrt(width) / (3 * rows) + LEAST_SPREAD)
    scaled = axes.T / deviations[:, None]
    whole = np.concatenate([-(scaled @ means)[:, None], scaled], axis=1)
    return np.asarray(np.rint(whole * DIRECTION_UNIT), np.int32)


def distance_edges(directions: int) -> NDArray[np.int32]:
    """Margins around that of a typical record, half the number of directions in nats, coarser away from it: int32, fewer than `LEVELS`."""
    middle = directions / 2
    below = middle * np.linspace(0.05, 1.0, LEVELS // 3, endpoint=False)
    above = middle * np.geomspace(1.0, 1_000.0, LEVELS - LEVELS // 3 - 1)
    return np.unique(np.rint(np.concatenate([below, above]) * MARGIN_UNIT).clip(1, 1 << 30)).astype(np.int32)


def _outlays(spec: LearnSpec) -> list[Outlay]:
    steps, parts, width = preparation(undeclared=len(spec.asked), binned=0), 1 + len(spec.features), design_width(spec)
    left = 1 - sum(step.share for step in steps)
    return [
        *steps, Outlay(Moments.kind, 1, left * (1 - MARGIN_SHARE), width * (width + 1) // 2, parts * (parts + 1) // 2, parts * GRID),
        Outlay(SpreadCounts.kind, 1, left * MARGIN_SHARE, LEVELS, 1, GRID),
    ]
