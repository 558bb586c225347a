"""Means of numbers within public bounds: their sums, and how many there are, from one plan."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tacit.domain import Category, Domain, Numeric
from tacit.errors import UsageError
from tacit.guarantee import Budget, Guarantee
from tacit.guard import Aggregator
from tacit.learn.driver import Steps, converse
from tacit.learn.spending import Outlay, planned, unit_clip
from tacit.learn.survival import noise_excess
from tacit.learn.training import evidence_of, provenance_of
from tacit.models import Provenance
from tacit.questions import GRID, Moments
from tacit.questions.linear import design_names

SUMS_SHARE = 0.8
"""Of the budget; the rest says how many values are missing."""

_ANYTHING = Category(("(none of these)",))
Pair = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Means:
    """Means, and what they promise.

    Args:
        values: by column; within the public bounds. Rows of a unit whose vector was clipped count for less.
        deviations: standard deviation of the noise of each, to first order; chance is not in it.
        counts: noised number of rows with a value.
        guarantee: of all of them.
        provenance: the plan and the ledger's entry that paid.
        evidence: what was tested before the charge.
    """

    values: dict[str, float]
    deviations: dict[str, float]
    counts: dict[str, float]
    guarantee: Guarantee
    provenance: Provenance
    evidence: tuple[dict[str, Any], ...] = ()


def fit_means(domain: Domain, aggregator: Aggregator, *, budget: Budget, purpose: str = "means", run: str | None = None) -> Means:
    """The mean of every number in a domain; missing values are left out, others clipped to their bounds.

    Raises:
        UsageError: if a column is no number; nothing is charged then.
        Refused: if the plan is refused; nothing is charged then.
    """
    bounds = {name: _plain(name, kind) for name, kind in domain.columns}
    scaled, present = Domain(tuple(bounds.items())), Domain(tuple((name, _ANYTHING) for name in bounds))
    parts = 1 + len(bounds)
    clip = unit_clip(aggregator, GRID * math.sqrt(parts))
    questions = [Moments(scaled, 1, None, clip), Moments(present, 1, None, clip)]
    outlays = [
        Outlay(Moments.kind, 1, share, len(design_names(question.domain)), parts, GRID)
        for share, question in zip((SUMS_SHARE, 1 - SUMS_SHARE), questions, strict=True)
    ]
    plan = planned(outlays, budget=budget, aggregator=aggregator, purpose=purpose, run=run)
    conversation = aggregator.open(plan)

    def steps() -> Steps[Pair]:
        sums: NDArray[np.int64] = yield 0, questions[0]
        counts: NDArray[np.int64] = yield 1, questions[1]
        return sums[1:] / float(GRID), counts[1:].reshape(-1, 2).sum(axis=1) / float(GRID)

    try:
        sums, counts = converse(steps(), conversation)
        excess = math.sqrt(noise_excess(conversation))
        noise = [plan.step(step).noise_multiplier * question.bounds(plan.relation).l2 / GRID * excess for step, question in enumerate(questions)]
        rows = np.maximum(counts, 1.0)
        centred = np.clip(sums / rows, -1.0, 1.0)
        deviation = np.sqrt(noise[0] ** 2 + 2 * np.square(centred * noise[1])) / rows
        middle, half = (np.array([(kind.upper + sign * kind.lower) / 2 for kind in bounds.values()]) for sign in (1, -1))
        names = tuple(bounds)
        return Means(
            dict(zip(names, (middle + half * centred).tolist(), strict=True)), dict(zip(names, (half * deviation).tolist(), strict=True)),
            dict(zip(names, counts.tolist(), strict=True)), conversation.guarantee, provenance_of(plan, conversation, aggregator),
            evidence_of(aggregator),
        )
    finally:
        conversation.close()


def _plain(name: str, kind: Any) -> Numeric:
    """Bounds within which the design is linear: it takes logarithms of wide ranges that do not reach below zero."""
    if not isinstance(kind, Numeric):
        raise UsageError(f"Expected numbers; «{name}» is declared as a category. Count its values instead.")
    return Numeric(min(kind.lower, -1e-9 * kind.upper), kind.upper) if kind.lower >= 0 else kind
