"""Counts, means, variances, covariances and histograms as sums: which questions they are, and how they are read off a noisy sum.

>>> from tacit.domain import Domain, Numeric
>>> domain = Domain.of(age=Numeric(0, 100))
>>> [question.kind for question in statistic("covariance", domain)], [question.kind for question in statistic("histogram", domain)]
(['moments@1'], ['tally@1'])
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tacit.domain import Category, Domain, Numeric
from tacit.errors import UsageError
from tacit.guarantee import Relation
from tacit.questions import GRID, Bounding, Grid, KeyAxis, Moments, Question, Tally, UnitCount, ValueAxis
from tacit.questions.linear import design_names

STATISTICS = ("count", "mean", "covariance", "histogram")
"""What can be asked; variances come with covariances, and the count with means."""


@dataclass(frozen=True)
class Estimate:
    """A number, and the standard deviation of the noise in it (to first order where it is a quotient)."""

    value: float
    error: float


@dataclass(frozen=True)
class Bars:
    """A histogram: what each bar is about, how many records it has, and the standard deviation of the noise of each."""

    labels: tuple[str, ...]
    counts: tuple[float, ...]
    error: float


@dataclass
class Statistics:
    """What was read off a sum. The noise may make a count negative; nothing is hidden or rounded.

    A missing number counts as the middle of its bounds in means and covariances, and nowhere in a histogram. The mean of «column=value» is a share.
    """

    count: Estimate | None = None
    means: dict[str, Estimate] = field(default_factory=dict)
    variances: dict[str, Estimate] = field(default_factory=dict)
    covariances: dict[tuple[str, str], Estimate] = field(default_factory=dict)
    histograms: dict[str, Bars] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain form, for JSON."""
        def plain(found: Estimate) -> dict[str, float]:
            return {"value": found.value, "error": found.error}

        return {
            "count": None if self.count is None else plain(self.count),
            "means": {name: plain(found) for name, found in self.means.items()},
            "variances": {name: plain(found) for name, found in self.variances.items()},
            "covariances": [{"columns": list(pair), **plain(found)} for pair, found in self.covariances.items()],
            "histograms": {
                name: {"labels": list(bars.labels), "counts": list(bars.counts), "error": bars.error} for name, bars in self.histograms.items()
            },
        }


def statistic(what: str, domain: Domain, *, bins: int = 20, rows: int | None = None) -> tuple[Question, ...]:
    """What has to be asked for a statistic.

    Args:
        what: out of `STATISTICS`.
        domain: the columns, with public bounds and values.
        bins: bars of equal width between the bounds of a number.
        rows: public assumption on the rows of a unit, each of whose contributions is clipped as if it had so many; ``None`` if rows are units.

    Raises:
        UsageError: it is none of them, or bins are fewer than one.
    """
    if what not in STATISTICS or bins < 1:
        raise UsageError(f"Expected one of {', '.join(STATISTICS)}, and at least one bin; got «{what}» and {bins}.")
    if what == "count":
        return (UnitCount(),)
    if what == "histogram":
        bounding = Bounding(cells=1, each=1) if rows is None else Bounding(rows=rows)
        return tuple(Tally(Grid((_axis(name, kind, bins),)), bounding) for name, kind in domain.columns)
    made = Moments(domain, 1 if what == "mean" else 2, logs=False)
    if rows is None:
        return (made,)
    length = made.bounds(Relation.ADD_REMOVE).l2 * math.sqrt(rows)
    return (Moments(domain, made.order, clip=math.ceil(length), logs=False),)


def _axis(name: str, kind: Numeric | Category, bins: int) -> KeyAxis | ValueAxis:
    if isinstance(kind, Category):
        return KeyAxis((name,), tuple((value,) for value in kind.values))
    return ValueAxis(name, tuple(float(edge) for edge in np.linspace(kind.lower, kind.upper, bins + 1)))


def read(asked: Sequence[Question], sums: Sequence[NDArray[np.int64]], noise: Sequence[float]) -> Statistics:
    """The statistics in the noisy sums of some questions.

    Args:
        asked: as `statistic` made them.
        sums: the answer to each, int64 ``[question.size]``.
        noise: the standard deviation of each one's noise, in grid integers.

    Raises:
        UsageError: a question is none that `statistic` makes.
    """
    found = Statistics()
    for question, answer, deviation in zip(asked, sums, noise, strict=True):
        values, error = answer / GRID, deviation / GRID
        if isinstance(question, UnitCount):
            found.count = Estimate(float(values[0]), error)
        elif isinstance(question, Tally) and len(question.grid.axes) == 1:
            _read_bars(found, question, values, error)
        elif isinstance(question, Moments) and question.target is None and not question.logs:
            _read_moments(found, question, values, error)
        else:
            raise UsageError(f"Expected questions of {', '.join(STATISTICS)}; got a «{question.kind}» that is read otherwise.")
    return found


def _read_bars(found: Statistics, question: Tally, values: NDArray[np.float64], error: float) -> None:
    axis = question.grid.axes[0]
    if isinstance(axis, KeyAxis):
        labels = tuple(key[0] for key in axis.values)
    elif isinstance(axis, ValueAxis):
        labels = tuple(f"{low:g} to {high:g}" for low, high in zip(axis.edges[:-1], axis.edges[1:], strict=True))
    else:
        raise UsageError("Expected a histogram of categories or of ranges of a number.")
    found.histograms[axis.columns[0]] = Bars(labels, tuple(values.tolist()), error)


def _read_moments(found: Statistics, question: Moments, values: NDArray[np.float64], error: float) -> None:
    """Means and covariances in the units of the columns; errors by the delta method, for independent noise on every sum."""
    names, (scale, origin), width = design_names(question.domain)[1:], _units(question.domain), question.width
    matrix = np.zeros((width, width))
    if question.order == 1:
        matrix[0] = values
    else:
        matrix[np.triu_indices(width)] = values
    count = max(float(matrix[0, 0]), 1.0)
    found.count = Estimate(float(matrix[0, 0]), error)
    mean = matrix[0, 1:] / count
    for place, name in enumerate(names):
        spread = error / count * math.sqrt(1 + mean[place] ** 2)
        found.means[name] = Estimate(float(origin[place] + scale[place] * mean[place]), float(scale[place] * spread))
    if question.order == 2:
        second = matrix[1:, 1:] / count
        _read_covariances(found, names, scale, (mean, second), error / count)


def _read_covariances(
    found: Statistics, names: Sequence[str], scale: NDArray[np.float64], moments: tuple[NDArray[np.float64], NDArray[np.float64]], error: float
) -> None:
    mean, second = moments
    for one, first in enumerate(names):
        for other in range(one, len(names)):
            product, unit = mean[one] * mean[other], float(scale[one] * scale[other])
            slopes = 4 * mean[one] ** 2 if one == other else mean[one] ** 2 + mean[other] ** 2
            spread = error * math.sqrt(1 + slopes + (2 * product - second[one, other]) ** 2)
            estimate = Estimate(unit * float(second[one, other] - product), unit * spread)
            if one == other:
                found.variances[first] = estimate
            else:
                found.covariances[first, names[other]] = estimate


def _units(domain: Domain) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of each column of the design but the first: what 1.0 is worth, and where 0.0 lies."""
    scale, origin = [], []
    for _, kind in domain.columns:
        if isinstance(kind, Numeric):
            scale.append((kind.upper - kind.lower) / 2)
            origin.append((kind.upper + kind.lower) / 2)
        else:
            scale += [1.0] * (len(kind.values) + 1)
            origin += [0.0] * (len(kind.values) + 1)
    return np.array(scale), np.array(origin)
