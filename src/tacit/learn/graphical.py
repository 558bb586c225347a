"""Made-up records from released tables: a graphical model that agrees with all of them, by `mbi`. Needs the extra «synthetic».

Everything here is post-processing: it sees no record and costs nothing, however many records are drawn.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tacit.domain import Category, Numeric
from tacit.errors import MissingExtra, UsageError
from tacit.models import SyntheticModel

ITERATIONS = 500
OTHER = "(other)"
"""What stands for a text that is not on its column's public list."""

_MOST_ROWS = 10_000_000


def sample_records(model: SyntheticModel, rows: int | None = None, *, seed: int | None = None) -> dict[str, NDArray[Any]]:
    """Records that nobody owns, column by column.

    Args:
        model: the released tables.
        rows: how many; about as many as there were if ``None``.
        seed: of the draw, which protects nothing: the guarantee is that of the tables.

    Returns:
        Per feature float64 ``[rows]`` with NaN for missing numbers, or text with ``None``.

    Raises:
        UsageError: unless rows is between 1 and 10,000,000.
        MissingExtra: without mbi.
    """
    rows = round(model.total) if rows is None else rows
    if isinstance(rows, bool) or not isinstance(rows, int) or not 1 <= rows <= _MOST_ROWS:
        raise UsageError(f"Expected a number of rows between 1 and {_MOST_ROWS:,}; got {rows!r}.")
    rng = np.random.default_rng(seed)
    bins = _drawn(model, rows, rng)
    columns = zip(model.binning.domain.columns, model.binning.tables, model.codes, bins, strict=True)
    return {name: _values(kind, _codes(table, mass, column, rng), name in model.whole, rng) for (name, kind), table, mass, column in columns}


def _drawn(model: SyntheticModel, rows: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """Bins of made-up records, feature by feature."""
    with _library() as mbi:
        names = [f"f{place}" for place in range(len(model.binning.counts))]
        domain = mbi.Domain(names, list(model.binning.counts))
        measured = [
            mbi.LinearMeasurement(table.ravel(), tuple(names[feature] for feature in clique), model.sigma)
            for clique, table in zip(model.cliques, model.tables, strict=True)
        ]
        found = mbi.estimation.MirrorDescent().estimate(domain, measured, known_total=model.total, iters=ITERATIONS)
        marginals = {clique: np.asarray(found.project(tuple(names[f] for f in clique)).datavector(flatten=False)) for clique in model.cliques}
    return _walk(model, marginals, rows, rng)


def _walk(
    model: SyntheticModel, marginals: dict[tuple[int, ...], NDArray[np.float64]], rows: int, rng: np.random.Generator,
) -> list[NDArray[np.int64]]:
    """Draw table by table, each given the features it shares with those before: exact, because the tables make a tree of cliques."""
    drawn: dict[int, NDArray[np.int64]] = {}
    waiting = list(model.cliques)
    while waiting:
        clique = max(waiting, key=lambda item: (len(set(item) & set(drawn)), -waiting.index(item)))
        waiting.remove(clique)
        known, new = [f for f in clique if f in drawn], [f for f in clique if f not in drawn]
        if not new:
            continue
        order = [clique.index(f) for f in (*known, *new)]
        table = np.maximum(np.transpose(marginals[clique], order), 0.0)
        before, after = table.shape[: len(known)], table.shape[len(known) :]
        chances = table.reshape(math.prod(before), math.prod(after)) + 1e-12
        parent = np.ravel_multi_index([drawn[f] for f in known], before) if known else np.zeros(rows, np.int64)
        chosen = np.unravel_index(_draw(chances, parent, rng), after)
        drawn.update(zip(new, chosen, strict=True))
    return [drawn[place] for place in range(len(model.binning.counts))]


def _draw(chances: NDArray[np.float64], parent: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """One column for every row, with the chances of its parent."""
    cumulated = np.cumsum(chances, axis=1)
    cumulated /= cumulated[:, -1:]
    places = np.searchsorted((cumulated + np.arange(len(cumulated))[:, None]).ravel(), parent + rng.random(len(parent)), side="right")
    return np.asarray(np.minimum(places - parent * chances.shape[1], chances.shape[1] - 1), np.int64)


def _codes(table: NDArray[np.uint8], mass: NDArray[np.float64], bins: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """The code of every row, drawn within its bin by the mass that codes have there; evenly where none has any."""
    chances = np.zeros((int(table.max()) + 1, len(table)))
    chances[table, np.arange(len(table))] = np.maximum(mass, 1e-9 * max(float(mass.max()), 1e-9))
    order = np.argsort(table, kind="stable")
    starts = np.searchsorted(table[order], np.arange(len(chances) + 1))
    codes = np.empty(len(bins), np.int64)
    for place in range(len(chances)):
        rows = np.flatnonzero(bins == place)
        members = order[starts[place] : starts[place + 1]]
        share = chances[place, members]
        codes[rows] = rng.choice(members, len(rows), p=share / share.sum())
    return codes


def _values(kind: Numeric | Category, codes: NDArray[np.int64], whole: bool, rng: np.random.Generator) -> NDArray[Any]:
    """Values that have these codes: evenly within the cell of a number."""
    if isinstance(kind, Category):
        return np.array([None, *kind.values, OTHER], dtype=object)[codes]
    edges = np.concatenate([[kind.lower - kind.origin], kind.edges, [kind.upper - kind.origin]])
    low, high = edges[np.maximum(codes, 1) - 1], edges[np.maximum(codes, 1)]
    values = kind.origin + low + (high - low) * rng.random(len(codes))
    values = np.where(np.abs(values) < 1e-12 * max(abs(kind.lower), abs(kind.upper)), 0.0, values)
    values = np.clip(np.rint(values) if whole else values, kind.lower, kind.upper)
    return np.where(codes == 0, np.nan, values)


@contextlib.contextmanager
def _library() -> Iterator[Any]:
    """The library in double precision, without changing that of others who use JAX in this process."""
    with warnings.catch_warnings(action="ignore"):
        try:
            import jax
            import mbi
        except ImportError:
            raise MissingExtra("synthetic", purpose="making up records") from None
        with jax.enable_x64(True):
            yield mbi
