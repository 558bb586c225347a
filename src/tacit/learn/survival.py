"""Survival curves from one answer: how many had the event, and how many left, in each span of time.

The life-table estimator (Cutler & Ederer 1958; Kaplan & Meier 1958 in the limit of short spans): who left in a span was at risk for half of it. Its
variance is Greenwood's (1926), and that of the noise is carried through the same formula to first order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from tacit.errors import UsageError
from tacit.guarantee import Budget, Guarantee
from tacit.guard import Aggregator, Conversation
from tacit.learn.driver import Steps, converse
from tacit.learn.spending import Outlay, planned
from tacit.learn.training import evidence_of, provenance_of
from tacit.models import Provenance
from tacit.questions import GRID, Bounding, Grid, KeyAxis, Tally, ValueAxis

MOST_SPANS = 1_000
_SEEN = 2.0
"""Standard deviations of the noise that the number at risk has to exceed."""

Values = NDArray[np.float64]


@dataclass(frozen=True)
class SurvivalSpec:
    """Whose time to which event, for how much. Public.

    Args:
        duration: the column with the time from entry to the event, or to leaving without it.
        event: the column that says whether it was the event.
        happened: the text in that column for the event.
        censored: the text for leaving without it; records with another text are not counted.
        width: of a span, in the duration's unit.
        spans: how many there are; who stays longer is at risk in all of them.
        budget: what the curves may cost, with the noised number of units.
        by: a column whose public values get a curve each; ``None`` for one curve.
        groups: those values.
        purpose: what a person reads in the ledger.
        run: public name of the run; drawn afresh if ``None``.

    Raises:
        UsageError: for spans that are none, or a column without its values.
    """

    duration: str
    event: str
    width: float
    spans: int
    budget: Budget
    happened: str = "1"
    censored: str = "0"
    by: str | None = None
    groups: tuple[str, ...] = ()
    purpose: str = "survival curves"
    run: str | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.width) and self.width > 0) or not 1 <= self.spans <= MOST_SPANS:
            raise UsageError(f"Expected width={self.width} > 0 and 1 <= spans={self.spans} <= {MOST_SPANS}.")
        if (self.by is None) != (not self.groups):
            raise UsageError("Expected a column together with the values that get a curve each; or neither.")

    def question(self) -> Tally:
        """Counts by group, event and span; the last span is everything later. A unit counts once."""
        edges = tuple(self.width * place for place in range(self.spans + 2))
        columns = (self.event,) if self.by is None else (self.by, self.event)
        names: list[tuple[str, ...]] = [(name,) for name in self.groups] or [()]
        values = tuple((*name, text) for name in names for text in (self.happened, self.censored))
        return Tally(Grid((KeyAxis(columns, values), ValueAxis(self.duration, edges))), Bounding(cells=1, each=1))


@dataclass(frozen=True, eq=False)
class SurvivalCurve:
    """One group's curve, at the end of each span.

    Args:
        group: its name; empty if there is one curve.
        times: ends of the spans, ``[spans]``.
        survival: share without the event, ``[spans]``, never rising.
        low: lower end of the interval, ``[spans]``.
        high: upper end.
        at_risk: noisy number at risk at the start of each span.
        determined: whether so many are at risk that the noise leaves something to see; where not, the curve goes on flat and its interval to zero.
    """

    group: str
    times: Values
    survival: Values
    low: Values
    high: Values
    at_risk: Values
    determined: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class SurvivalCurves:
    """All curves of one answer, and what it guarantees."""

    curves: tuple[SurvivalCurve, ...]
    level: float
    sigma: float
    guarantee: Guarantee
    provenance: Provenance
    evidence: tuple[Any, ...] = ()


def fit_survival(spec: SurvivalSpec, aggregator: Aggregator, *, level: float = 0.95) -> SurvivalCurves:
    """Survival curves with pointwise intervals that cover both chance and the noise.

    Raises:
        Refused: if the plan is refused; nothing is charged then.
        UsageError: for a level outside (0, 1).
    """
    if not 0 < level < 1:
        raise UsageError(f"Expected 0 < level={level} < 1.")
    question = spec.question()
    bounds = question.bounds(aggregator.relation)
    outlays = [Outlay(Tally.kind, 1, 1.0, question.size, 1, GRID)]
    plan = planned(outlays, budget=spec.budget, aggregator=aggregator, purpose=spec.purpose, run=spec.run)
    plan = replace(plan, steps=tuple(replace(step, l2=GRID) for step in plan.steps))  # a unit counts once, however many rows it has
    conversation = aggregator.open(plan)

    def steps() -> Steps[Values]:
        answer: NDArray[np.int64] = yield 0, question
        return answer / float(GRID)

    try:
        counts = converse(steps(), conversation).reshape(-1, 2, spec.spans + 1)
        sigma = plan.step(0).noise_multiplier * bounds.l2 / GRID * math.sqrt(noise_excess(conversation))
        names = spec.groups or ("",)
        curves = tuple(curve_of(table, name, width=spec.width, sigma=sigma, level=level) for name, table in zip(names, counts, strict=True))
        return SurvivalCurves(curves, level, sigma, conversation.guarantee, provenance_of(plan, conversation, aggregator), evidence_of(aggregator))
    finally:
        conversation.close()


def noise_excess(conversation: Conversation) -> float:
    """How many times the planned variance an answer carries at most: n / (t - c) where n sites answer, each with a share of 1 / (t - c)."""
    trust = conversation.guarantee.trust
    return float(getattr(conversation, "noise_excess", trust.sites / (trust.threshold - trust.colluding)))


def curve_of(counts: Values, group: str, *, width: float, sigma: float, level: float) -> SurvivalCurve:
    """The curve from noisy counts ``[event or left, spans and later]``, each with noise of standard deviation ``sigma``.

    >>> counts = np.array([[10.0, 10.0, 0.0], [0.0, 0.0, 80.0]])
    >>> curve_of(counts, "", width=1.0, sigma=1e-9, level=0.95).survival.round(3).tolist()
    [0.9, 0.8]
    """
    events, left = counts[:, :-1]
    spans = len(events)
    at_risk = np.cumsum(counts.sum(axis=0)[::-1])[::-1][:-1]
    exposed = np.maximum(at_risk - left / 2, 1.0)
    noise = sigma * np.sqrt(2 * (spans + 1 - np.arange(spans)))
    determined = np.logical_and.accumulate(at_risk > np.maximum(_SEEN * noise, 1.0))
    hazard = np.where(determined, np.clip(events / exposed, -1.0, 0.999), 0.0)
    rising = np.maximum(isotonic_regression(np.cumsum(-np.log1p(-hazard))).x, 0.0)
    steepness = np.where(determined, 1 / (1 - hazard), 0.0)
    chance = np.cumsum(np.maximum(hazard, 0.0) / exposed * steepness)
    spread = np.sqrt(chance + np.square(sigma) * _carried(events, exposed, steepness))
    reach = NormalDist().inv_cdf((1 + level) / 2) * spread
    low = np.asarray(np.where(determined, np.exp(-(rising + reach)), 0.0), np.float64)
    ends = np.asarray(width * np.arange(1, spans + 1), np.float64)
    return SurvivalCurve(group, ends, np.exp(-rising), low, np.exp(-np.maximum(rising - reach, 0.0)), at_risk, determined)


def _carried(events: Values, exposed: Values, steepness: Values) -> Values:
    """Variance of the cumulative hazard at each end per unit of variance of each count, to first order.

    An event in span i raises the hazard there by 1/exposed; whoever is counted in span i or later was at risk in every span up to i, and lowers each
    of these by events/exposed².
    """
    spans = len(events)
    own = steepness / exposed
    lowered = np.cumsum(steepness * events / exposed**2)
    total = np.zeros(spans)
    for end in range(spans):
        until = np.minimum(np.arange(spans + 1), end)
        shared = -lowered[until]
        event, left = shared.copy(), shared.copy()
        event[: end + 1] += own[: end + 1]
        left[: end + 1] += 0.5 * (steepness * events / exposed**2)[: end + 1]
        total[end] = np.square(event).sum() + np.square(left).sum()
    return total
