"""What one request asks, step by step: keys, contributions, the count, and what was cut off; and what is made of the answers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tacit.errors import UsageError
from tacit.guarantee import PrivacyUnit
from tacit.guard import Plan, skellam_variance
from tacit.learn.driver import Steps
from tacit.logs.stats.choosing import Cut, best, expected_error, lost_in_all, usual
from tacit.logs.stats.noise import Noise
from tacit.logs.stats.quantiles import prefix_variances
from tacit.logs.stats.requests import AUTO, MOST_KEYS, Calendar, PublicKeys, Request, TimeBins
from tacit.questions import (
    GRID,
    Bounding,
    Contributions,
    DistinctTally,
    Grid,
    KeyAxis,
    Question,
    SelectKeys,
    Tally,
    TimeAxis,
    ValueAxis,
)  # fmt: skip
from tacit.questions.contributions import edges
from tacit.questions.grid import MOST_CELLS
from tacit.questions.keyselect import SEPARATOR
from tacit.questions.tally import MOST_ROWS

Counted: TypeAlias = Tally | DistinctTally
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

SELECT_SHARE = 0.25
PROFILE_SHARE = 0.08
LOST_SHARE = 0.04
WINDOWS = {"hour": 3_600, "day": 86_400}
"""Lengths of windows of a unit, in seconds; weeks and months lie across bins of time in several ways."""

KEYS_PER_UNIT = 5
"""Different keys that one unit may contribute to a selection, where its cells are not bounded."""

TWO_LEVELS = {"laplace": 100, "gaussian": 48, "skellam": 48}
"""Ranges from which on quantiles count coarse ranges, too: sums over a tree of two levels have less noise then."""


def noise_of(plan: Plan, step: int, question: Question) -> Noise:
    """The noise of a planned answer."""
    bounds, multiplier = question.bounds(plan.relation), plan.step(step).noise_multiplier
    if plan.mechanism == "laplace":
        return Noise(plan.mechanism, multiplier * bounds.l1 / GRID)
    sigma = multiplier * bounds.l2
    return Noise(plan.mechanism, (math.sqrt(skellam_variance(sigma)) if plan.mechanism == "skellam" else sigma) / GRID)


@dataclass(frozen=True)
class Asked:
    """A step before its noise is known: kind, share of the request's budget, the most coordinates, and how many of them a unit can touch."""

    kind: str
    share: float
    cells: int
    touched: int = 0


@dataclass(frozen=True)
class Answered:
    """The noisy counts of a request, before they are put into a table.

    Args:
        request: what was asked.
        question: how, with the bounds that were chosen; ``None`` if no keys are common enough.
        parts: noisy counts, each in the shape of its cells, coarser ones after the cells themselves.
        noise: of each.
        cut: what the bounds cut off; ``None`` if that was not asked.
    """

    request: Request
    question: Counted | None
    parts: tuple[Floats, ...]
    noise: Noise
    cut: Cut | None


@dataclass(frozen=True)
class Stage:
    """One request within a plan.

    Args:
        request: what is asked.
        calendar: the time that is counted; ``None`` for all of it.
        noise: the plan's mechanism.
        unit: who is protected. Where every row is a unit, it needs no bounds.

    Raises:
        UsageError: for what cannot be asked, before anything is charged.
    """

    request: Request
    calendar: Calendar | None
    noise: str
    unit: PrivacyUnit

    def __post_init__(self) -> None:
        if self.request.found and self.noise == "skellam":
            raise UsageError(f"Expected public values for {', '.join(self.request.found)} from several sites; only one curator finds common ones.")
        if self.request.metric == "distinct" and self.noise == "skellam":
            raise UsageError("Expected one curator for distinct values: a value that two sites have would be counted twice.")
        if self.request.time is not None and self.calendar is None:
            raise UsageError(f"Expected the column that says when, and a calendar, for bins of time in «{self.request.name}».")
        self._question(self._grid(()), replace(self._given, rows=self._given.rows or 1))

    # ------------------------------------------------------------------------------------------------------------- what is asked

    def asked(self) -> list[Asked]:
        """The steps, in order; shares of the request's part of the budget add up to 1."""
        profile = len(edges()) + 1
        found = [Asked(SelectKeys.kind, SELECT_SHARE, 1 << 30, self._keys_per_unit)] if self.request.found else []
        found += [Asked(Contributions.kind, PROFILE_SHARE / len(self._profiles), profile, 1) for _ in self._profiles]
        lost = [Asked(Contributions.kind, LOST_SHARE, profile, 1)] if self._asks_lost else []
        kind = DistinctTally.kind if self.request.metric == "distinct" else Tally.kind
        return [*found, Asked(kind, 1 - sum(step.share for step in (*found, *lost)), self._most_cells), *lost]

    @property
    def single(self) -> bool:
        """Whether one unit can add to one cell by no more than 1, whatever it does."""
        return self.unit.is_record or (self.request.metric == "units" and not self.request.found and self._reachable(self._grid(())) == 1)

    def _reachable(self, grid: Grid) -> int:
        """How many cells one unit can have rows in, if the calendar is by the time that makes its window."""
        bins = [axis for axis in grid.axes if isinstance(axis, TimeAxis)]
        length = WINDOWS.get(self.unit.window or "")
        if length is None or not bins:
            return grid.size
        inside = -(-length // bins[0].width) + (0 if _aligned(bins[0], length) else 1)
        return grid.size // bins[0].bins * min(bins[0].bins, inside)

    @property
    def _profiles(self) -> list[str]:
        """What is measured of units before they are counted."""
        if self.single:
            return []
        measured = [name for name in ("cells", "each") if getattr(self.request.bounds, name) == AUTO]
        if self.request.chooses_rows:
            measured.append("rows" if self._by_rows else "length")
        return measured

    @property
    def _by_rows(self) -> bool:
        """Whether the sum of a unit's counts is bounded, rather than their length."""
        return self.noise == "laplace" or self.request.metric in ("distinct", "quantiles") or self.request.bounds.rows == AUTO

    @property
    def _asks_lost(self) -> bool:
        """Whether what is cut off needs a step of its own: where choosing the bounds does not tell."""
        capped = self.request.bounds.cells is not None or self.request.bounds.each is not None
        return self.request.bias and not self.single and (capped or not self.request.chooses_rows)

    @property
    def _keys_per_unit(self) -> int:
        cells = self.request.bounds.cells
        return 1 if self.single else min(cells, MOST_KEYS) if isinstance(cells, int) else KEYS_PER_UNIT

    @property
    def _blocks(self) -> tuple[int, ...]:
        ranges = len(self.request.edges) - 1
        return (1, math.isqrt(ranges)) if self.request.metric == "quantiles" and ranges >= TWO_LEVELS[self.noise] else (1,)

    @property
    def _most_cells(self) -> int:
        """The most coordinates of the answer."""
        return self._question(self._grid(()), Bounding(rows=1)).size * (self._most_keys if self.request.found else 1)

    @property
    def _most_keys(self) -> int:
        return max(1, min(MOST_KEYS, MOST_CELLS // self._grid(()).size))

    def _grid(self, keys: tuple[tuple[str, ...], ...]) -> Grid:
        """The cells: ``keys`` where they are found, and everything public."""
        axes: list[KeyAxis | TimeAxis | ValueAxis] = [KeyAxis(self.request.found, keys)] if keys else []
        for key in self.request.by:
            if isinstance(key, PublicKeys):
                axes.append(KeyAxis((key.column,), tuple((value.strip(),) for value in key.values)))
            elif isinstance(key, TimeBins) and self.calendar is not None:
                axes.append(self.calendar.axis(key.width))
        if self.calendar is not None and self.request.time is None:
            axes.append(self.calendar.axis(self.calendar.end - self.calendar.begin))
        if self.request.edges:
            axes.append(ValueAxis(self.request.of[0], self.request.edges))
        return Grid(tuple(axes), self.request.where)

    @property
    def _given(self) -> Bounding:
        bounds = self.request.bounds
        cells, each, rows = (value if isinstance(value, int) else None for value in (bounds.cells, bounds.each, bounds.rows))
        return Bounding(cells, each, rows)

    def _question(self, grid: Grid, bounding: Bounding) -> Counted:
        if self.request.metric == "distinct":
            return DistinctTally(grid, self.request.of, bounding.rows or 1)
        if self.request.metric == "units" and bounding.cells is not None:
            bounding = replace(bounding, each=1)
        return Tally(grid, bounding, self.request.metric == "units", self._blocks)

    # ---------------------------------------------------------------------------------------------------------- what is answered

    def run(self, plan: Plan, first: int) -> Steps[Answered]:
        """Ask the steps that begin at ``first``."""
        keys: tuple[tuple[str, ...], ...] = ()
        if self.request.found:
            norm = "l1" if self.noise == "laplace" else "l2"
            selection = SelectKeys(self.request.found, Grid(where=self.request.where), self._keys_per_unit, norm)
            common: dict[str, tuple[str, ...]] = yield first, selection
            keys = tuple(tuple(key.split(SEPARATOR)) for key in common["key"][: self._most_keys])
            if not keys:
                return Answered(self.request, None, (np.zeros(0),), Noise(self.noise, 0.0), None)
        begin = first + bool(self.request.found)
        main = begin + len(self._profiles)
        question, cut = yield from self._bounded(plan, begin, main, self._grid(keys))
        answer: Integers = yield main, question
        if self._asks_lost:
            lost = Contributions(question, "lost")
            counts: Integers = yield main + 1, lost
            cut = lost_in_all(counts / GRID, noise_of(plan, main + 1, lost))
        parts = question.split(answer) if isinstance(question, Tally) else [answer.reshape(question.grid.shape or (1,))]
        cut = Cut(0.0, 0.0, 1.0) if self.single else cut
        return Answered(self.request, question, tuple(part / GRID for part in parts), noise_of(plan, main, question), cut)

    def _bounded(self, plan: Plan, begin: int, main: int, grid: Grid) -> Steps[tuple[Counted, Cut | None]]:
        """The count with its bounds, given or chosen, and what is known of what they cut off."""
        limits, cut = replace(self._given, rows=1) if self.single else self._given, None
        for step, name in enumerate(self._profiles, begin):
            profile = Contributions(self._question(grid, limits), name)
            counts: Integers = yield step, profile
            histogram, noise = counts / GRID, noise_of(plan, step, profile)
            if name in ("cells", "each"):
                limits = replace(limits, **{name: usual(histogram, noise)})
                continue

            def error(bound: float, lost: float, limits: Bounding = limits, name: str = name) -> float:
                return self._error(noise_of(plan, main, self._question(grid, _with(limits, name, bound))), lost, grid)

            most = self._reachable(grid) if self.request.metric == "units" else MOST_ROWS
            bound, cut = best(histogram, noise, by_length=name == "length", most=most, error=error)
            limits = _with(limits, name, bound)
            cut = Cut(0.0, 0.0, 1.0) if bound >= most else cut
        return self._question(grid, limits), cut

    def _error(self, noise: Noise, lost: float, grid: Grid) -> float:
        """What error to expect of a cell; of a quantile, that of the number of rows below it, as if a tenth of the lost ones belonged there."""
        if self.request.metric != "quantiles":
            return expected_error(noise.scale, lost / grid.size, noise.mechanism)
        ranges = grid.shape[-1]
        spread = math.sqrt(prefix_variances(ranges, self._blocks[1] if len(self._blocks) > 1 else None)[-1] / 4)
        return expected_error(noise.scale * spread, lost * ranges / grid.size / 10, noise.mechanism)


def _aligned(bins: TimeAxis, length: int) -> bool:
    """Whether each bin lies in one window of ``length`` seconds, or each window in one bin."""
    return (length % bins.width == 0 or bins.width % length == 0) and bins.begin % min(length, bins.width) == 0


def _with(limits: Bounding, name: str, bound: float) -> Bounding:
    """The limits with a bound of rows, or of length in rows."""
    if name == "length":
        return replace(limits, length=math.ceil(bound * GRID))
    return replace(limits, rows=min(math.ceil(bound), MOST_ROWS))
