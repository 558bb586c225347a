"""Counts over time, asked once: what a forecast is made from."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from tacit.errors import UsageError
from tacit.guarantee import Budget
from tacit.guard import Aggregator
from tacit.learn.driver import Steps, converse
from tacit.learn.spending import Outlay, planned
from tacit.learn.training import evidence_of, provenance_of
from tacit.models import CountSeries
from tacit.questions import GRID, TimeCounts, UnitLengths
from tacit.questions.timecounts import MOST_CELLS

LENGTHS_SHARE = 0.02
SHORTER = 0.98
"""Share of the units whose counts the clip leaves as they are."""

_SEEN = 3.0
_SPANS = {"s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400, "w": 604_800}


@dataclass(frozen=True)
class CountSpec:
    """What to count over which time for how much. Public.

    Args:
        time: the column that says when.
        begin: where the calendar begins, seconds since 1970 (UTC).
        width: of a bin, in seconds.
        bins: how many there are.
        budget: what the counts may cost, with the noised number of units they need.
        column: whose public values are counted apart; ``None`` for one series.
        keys: those values.
        longest: the longest that one unit's counts may be (rows, as a Euclidean length over its bins); found by a charged question if ``None``.
        purpose: what a person reads in the ledger.
        run: public name of the run; drawn afresh if ``None``.
    """

    time: str
    begin: int
    width: int
    bins: int
    budget: Budget
    column: str | None = None
    keys: tuple[str, ...] = ()
    longest: float | None = None
    purpose: str = "count records over time"
    run: str | None = None

    def __post_init__(self) -> None:
        if self.longest is not None and not (math.isfinite(self.longest) and self.longest >= 1):
            raise UsageError(f"Expected longest={self.longest!r} >= 1: how many rows of one unit count in full.")
        self.question(None)  # raises for what cannot be asked

    def question(self, clip: int | None) -> TimeCounts:
        """The question, with units clipped to ``clip`` grid integers."""
        return TimeCounts(self.time, self.begin, self.width, self.bins, self.column, self.keys, clip)


def count_over_time(spec: CountSpec, aggregator: Aggregator) -> CountSeries:
    """Noisy counts of one calendar, from one plan.

    Where a unit has several rows its counts are clipped together. Unless `CountSpec.longest` says where, a fiftieth of the budget pays for a
    histogram of the units' lengths, and the clip is the length that 98 % of them do not exceed: what lies above is shrunk, which makes counts a
    little too small.

    Raises:
        Refused: if the plan is refused; nothing is charged then.
        DataError: if the records lack a column.
    """
    asks = not aggregator.unit.is_record and spec.longest is None
    outlays = [Outlay(UnitLengths.kind, 1, LENGTHS_SHARE, UnitLengths.size, 1, GRID)] if asks else []
    rest = 1 - sum(outlay.share for outlay in outlays)
    outlays.append(Outlay(TimeCounts.kind, 1, rest, spec.question(None).size, 1, GRID))
    size = aggregator.size()
    plan = planned(outlays, budget=spec.budget, aggregator=aggregator, purpose=spec.purpose, run=spec.run)
    plan = replace(plan, steps=tuple(replace(step, l2=GRID) for step in plan.steps))  # a clip is at least one row, whatever rows a unit has
    conversation = aggregator.open(plan)

    def steps() -> Steps[tuple[TimeCounts, NDArray[np.int64]]]:
        clip = None if aggregator.unit.is_record else math.ceil((spec.longest or 1.0) * GRID)
        if asks:
            lengths = UnitLengths(spec.question(None))
            found: NDArray[np.int64] = yield 0, lengths
            sigma = plan.step(0).noise_multiplier * lengths.bounds(plan.relation).l2 / GRID
            clip = math.ceil(clip_among(found / GRID, size=size, sigma=sigma) * GRID)
        question = spec.question(clip)
        answer: NDArray[np.int64] = yield len(outlays) - 1, question
        return question, answer

    try:
        question, answer = converse(steps(), conversation)
        length = question.bounds(plan.relation).l2
        return CountSeries(
            spec.begin, spec.width, spec.keys or ("all",), np.ascontiguousarray(answer.reshape(question.series, spec.bins).T) / GRID,
            plan.step(len(outlays) - 1).noise_multiplier * length / GRID, (question.clip or GRID) / GRID, conversation.guarantee,
            provenance_of(plan, conversation, aggregator), evidence_of(aggregator), by=spec.column or "",
        )
    finally:
        conversation.close()


def clip_among(counts: NDArray[np.float64], *, size: int, sigma: float) -> float:
    """The shortest edge above which no more than a few units lie, as far as the noise lets one tell: a length, in rows.

    Args:
        counts: noisy, of `UnitLengths`.
        size: noised number of units.
        sigma: standard deviation of the noise of each count.

    >>> counts = np.zeros(UnitLengths.size)
    >>> counts[[4, 9, 30]] = 700, 295, 5
    >>> round(clip_among(counts, size=1_000, sigma=0.1), 3)
    22.627
    """
    visible = np.where(counts > _SEEN * sigma, counts, 0.0)  # or the noise of many empty counts far out would add up and decide
    longer = np.cumsum(visible[::-1])[::-1][1:]
    few = np.flatnonzero(longer <= (1 - SHORTER) * size + _SEEN * sigma)
    return float(UnitLengths.edges()[int(few[0]) if len(few) else len(longer) - 1])


def span(text: str) -> int:
    """Seconds in a text such as «15min», «1h», «1d» or «1w».

    Raises:
        UsageError: if it is none.

    >>> span("15min"), span("1d")
    (900, 86400)
    """
    found = re.fullmatch(r"\s*([1-9][0-9]{0,6})\s*(s|min|m|h|d|w)\s*", text)
    if found is None:
        raise UsageError(f"Expected a width of time such as 15min, 1h, 1d or 1w; got {text!r}.")
    return int(found[1]) * _SPANS[found[2]]


def moment(text: str) -> int:
    """Seconds since 1970 of an ISO 8601 date or time; without a zone it is UTC.

    Raises:
        UsageError: if it is none, or has a fraction of a second.

    >>> moment("1970-01-02"), moment("1970-01-01T01:00:00+01:00")
    (86400, 0)
    """
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise UsageError(f"Expected a date or time such as 2026-11-01 or 2026-11-01T08:00:00; got {text!r}.") from None
    whole = (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    if whole != int(whole):
        raise UsageError(f"Expected a whole second; got {text!r}.")
    return int(whole)


def bins_between(begin: int, end: int, width: int) -> int:
    """How many whole bins lie between two moments.

    Raises:
        UsageError: unless at least one does.
    """
    bins = (end - begin) // width
    if not 1 <= bins <= MOST_CELLS:
        raise UsageError(f"Expected between 1 and {MOST_CELLS:,} bins between begin and end; got {bins}. Check the dates, or choose a wider bin.")
    return bins
