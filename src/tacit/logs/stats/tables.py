"""Released counts as tables: one row for each cell, quantile or key, each with its noise; and what a reader has to know of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tacit.logs.stats.quantiles import consistent, quantiles
from tacit.logs.stats.requests import AUTO, Bounds
from tacit.logs.stats.stages import Answered
from tacit.questions import DistinctTally, KeyAxis, Tally, TimeAxis, ValueAxis
from tacit.questions.base import GRID

TIME, VALUE, DEVIATION, LOWER, UPPER = "@timestamp", "tacit.value", "tacit.noise_sd", "tacit.lower", "tacit.upper"
FROM, TO, QUANTILE, RANK = "tacit.from", "tacit.to", "tacit.quantile", "tacit.rank"
RESERVED = (TIME, VALUE, DEVIATION, LOWER, UPPER, FROM, TO, QUANTILE, RANK)

Columns: TypeAlias = dict[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Table:
    """One released table.

    Args:
        answered: the request and its noisy answer.
        columns: keys under their own names, then `RESERVED` ones; arrays of one length.
        nonnegative: whether negative values were set to zero.
    """

    answered: Answered
    columns: Columns
    nonnegative: bool

    @property
    def name(self) -> str:
        """Of the table."""
        return self.answered.request.name

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return len(self.columns[VALUE])

    @property
    def bounds(self) -> dict[str, float]:
        """What one unit may have added at most."""
        question = self.answered.question
        if isinstance(question, DistinctTally):
            return {"values": question.values}
        if question is None:
            return {}
        given = {name: value for name, value in question.bounding.to_dict().items() if value is not None}
        return given | ({"length": given["length"] / GRID} if "length" in given else {})

    @property
    def calendar(self) -> dict[str, Any] | None:
        """Which time is counted, and by which column; ``None`` for all of it."""
        axes = [] if self.answered.question is None else self.answered.question.grid.axes
        times = [axis for axis in axes if isinstance(axis, TimeAxis)]
        return {"column": times[0].column, "begin": times[0].begin, "end": times[0].begin + times[0].width * times[0].bins} if times else None

    @property
    def bias(self) -> dict[str, float] | None:
        """What the bounds cut off, estimated: rows in all, their standard deviation, their share of all rows, the mean of a cell; see `Cut`."""
        cut = self.answered.cut
        if cut is None:
            return None
        counted = max(0.0, float(self.answered.parts[0].sum()))
        share = cut.rows / (cut.rows + counted) if cut.rows + counted > 0 else 0.0
        found = {
            "rows": cut.rows, "deviation": cut.deviation, "share": share, "per_cell": cut.rows / max(1, self.answered.parts[0].size),
            "hidden_units": cut.hidden, "hidden_above": cut.above,
        }
        return found | ({} if cut.whole is None else {"units_whole": cut.whole})

    def describe(self) -> dict[str, Any]:
        """What a reader has to know, in plain form: it stands in every file."""
        request, noise = self.answered.request, self.answered.noise
        return {
            "name": request.name, "metric": request.metric, "of": list(request.of), "where": [test.to_dict() for test in request.where],
            "keys_found": list(request.found), "calendar": self.calendar, "cells": int(self.answered.parts[0].size), "bounds": self.bounds,
            "bounds_chosen": _chosen(request.bounds), "bias": self.bias,
            "noise": {"mechanism": noise.mechanism, "scale": noise.scale, "standard_deviation": noise.deviation, "margin_95": noise.margin},
            "post_processing": "negative values set to zero: small ones are too large on average" if self.nonnegative else "none",
        }


def _chosen(bounds: Bounds) -> list[str]:
    """Which bounds were asked to be chosen."""
    named = [name for name in ("cells", "each", "rows") if getattr(bounds, name) == AUTO]
    return named or (["rows"] if bounds == Bounds() else [])


def table_of(answered: Answered, nonnegative: bool = False) -> Table:
    """The table of an answer; with ``nonnegative``, negative counts become zero."""
    metric = answered.request.metric
    if answered.question is None:
        return Table(answered, _empty(answered), nonnegative)
    if metric == "quantiles":
        return Table(answered, _quantile_rows(answered), False)
    columns = _cells(answered, nonnegative)
    return Table(answered, _ranked(answered, columns) if metric == "top" else columns, nonnegative)


def _axes(answered: Answered) -> list[KeyAxis | TimeAxis | ValueAxis]:
    """What rows are told apart by: not the calendar as a whole, which is the same for all."""
    axes = list(answered.question.grid.axes) if answered.question is not None else []
    return [axis for axis in axes if answered.request.time is not None or not isinstance(axis, TimeAxis)]


def _keys(axes: list[KeyAxis | TimeAxis | ValueAxis]) -> Columns:
    """Columns of all combinations of the axes' coordinates, the last axis running fastest."""
    columns: Columns = {}
    after = math.prod(axis.size for axis in axes)
    before = 1
    for axis in axes:
        after //= axis.size
        places = np.tile(np.repeat(np.arange(axis.size), after), before)
        before *= axis.size
        if isinstance(axis, KeyAxis):
            for index, name in enumerate(axis.columns):
                columns[name] = np.array([key[index] for key in axis.values], object)[places]
        elif isinstance(axis, TimeAxis):
            columns[TIME] = (axis.begin + axis.width * places).astype("datetime64[s]").astype("datetime64[ms]")
        else:
            edges = np.array(axis.edges)
            columns |= {FROM: edges[places], TO: edges[places + 1]}
    return columns


def _cells(answered: Answered, nonnegative: bool) -> Columns:
    values, margin = answered.parts[0].ravel(), answered.noise.margin
    floor = 0.0 if nonnegative else -math.inf
    return {
        **_keys(_axes(answered)), VALUE: np.maximum(values, floor), DEVIATION: np.full(len(values), answered.noise.deviation),
        LOWER: np.maximum(values - margin, floor), UPPER: np.maximum(values + margin, floor),
    }


def _quantile_rows(answered: Answered) -> Columns:
    request, axes = answered.request, _axes(answered)
    counts = answered.parts[0].reshape(-1, answered.parts[0].shape[-1])
    block = answered.question.blocks[1] if isinstance(answered.question, Tally) and len(answered.parts) > 1 else None
    if block is not None:
        counts = consistent(counts, answered.parts[1].reshape(len(counts), -1), block)
    found = quantiles(counts, np.array(request.edges), np.array(request.at), sigma=answered.noise.deviation, block=block)
    keys = {name: np.repeat(column, len(request.at)) for name, column in _keys(axes[:-1]).items()}
    rows = found.value.size
    return {
        **keys, QUANTILE: np.tile(np.array(request.at), len(counts)), VALUE: found.value.ravel(), DEVIATION: np.full(rows, answered.noise.deviation),
        LOWER: found.lower.ravel(), UPPER: found.upper.ravel(),
    }


def _ranked(answered: Answered, columns: Columns) -> Columns:
    """The commonest keys of each group, by their noisy counts."""
    request = answered.request
    groups = [name for name in columns if name not in request.of and name not in RESERVED[1:]]
    order = np.lexsort([-columns[VALUE], *(columns[name].astype(str) for name in reversed(groups))])
    group = np.zeros(len(order), np.int64)
    for name in groups:
        ordered = columns[name][order]
        group[1:] += ordered[1:] != ordered[:-1]
    starts = np.flatnonzero(np.concatenate([[True], group[1:] > 0])) if len(order) else group
    rank = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order)))) + 1
    kept = rank <= request.most
    return {RANK: rank[kept], **{name: column[order][kept] for name, column in columns.items()}}


def _empty(answered: Answered) -> Columns:
    names = [*answered.request.found, VALUE, DEVIATION, LOWER, UPPER]
    return {name: np.zeros(0, np.float64 if name in RESERVED else object) for name in names}
