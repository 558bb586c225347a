"""Explanations: which cells a record lies in, and what each is worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tacit.domain import Category, ColumnType, Numeric
from tacit.errors import UsageError
from tacit.models.base import as_columns
from tacit.questions.linear import DESIGN_UNIT, design, design_names
from tacit.questions.losses import MARGIN_UNIT

if TYPE_CHECKING:
    from tacit.domain import Domain
    from tacit.models.additive import AdditiveModel
    from tacit.models.linear import LinearModel

_SHOWN_VALUES = 4
_TINY = 1e-30
"""Below it an edge is there to tell zero from everything else."""


@dataclass(frozen=True)
class Contribution:
    """What one feature, or several together, add to the margins of a record.

    Args:
        features: their names.
        where: the cell in words, for a single feature; else how many trees were added up.
        values: one addend per output, in natural units (log odds for classes).
    """

    features: tuple[str, ...]
    where: str
    values: tuple[float, ...]

    @property
    def size(self) -> float:
        """Largest absolute addend."""
        return max(map(abs, self.values))


@dataclass(frozen=True)
class Explanation:
    """Addends that sum to a record's margins exactly.

    The cells in it say what the record looks like: an explanation belongs on the owner's side, like the record itself.

    Args:
        intercept: what every record gets, per output.
        contributions: the largest first.
        margins: the sum, per output.
    """

    intercept: tuple[float, ...]
    contributions: tuple[Contribution, ...]
    margins: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Shape:
    """What one feature contributes on its own. Released with the model: it may be shown to whoever may see the model.

    Args:
        feature: its name.
        where: every bin in words.
        values: natural units, float64 ``[bins, outputs]``.
    """

    feature: str
    where: tuple[str, ...]
    values: NDArray[np.float64]

    @property
    def spread(self) -> float:
        """Largest minus smallest value: how much the feature can matter on its own."""
        return float(np.ptp(self.values, axis=0).max())


def bin_words(kind: ColumnType, table: NDArray[np.uint8]) -> tuple[str, ...]:
    """Every bin of a feature in words.

    >>> bin_words(Category(("tcp", "udp")), np.array([0, 1, 1, 2]))
    ('missing', 'tcp, udp', 'other')
    """
    codes = np.arange(len(table))
    return tuple(_words(kind, codes[table == one]) for one in range(int(table.max()) + 1))


def _words(kind: ColumnType, codes: NDArray[np.int64]) -> str:
    parts = ["missing"] if codes[:1].tolist() == [0] else []
    codes = codes[codes > 0]
    if isinstance(kind, Category):
        names = [kind.values[code - 1] if code <= len(kind.values) else "other" for code in codes.tolist()]
        more = [f"{len(names) - _SHOWN_VALUES} more"] if len(names) > _SHOWN_VALUES else []
        return ", ".join([*parts, *names[:_SHOWN_VALUES], *more]) or "nothing"
    runs = np.split(codes, np.flatnonzero(np.diff(codes) > 1) + 1) if len(codes) else []
    return ", ".join([*parts, *(_range(kind, int(run[0]), int(run[-1])) for run in runs)]) or "nothing"


def _range(kind: Numeric, first: int, last: int) -> str:
    low = None if first == 1 else kind.origin + float(kind.edges[first - 2])
    high = None if last == kind.code_count - 1 else kind.origin + float(kind.edges[last - 1])
    if low is None or high is None:
        return "any number" if low is high else f"below {high:.6g}" if low is None else f"{low:.6g} or more"
    if 0 < low < _TINY:
        return f"more than 0, below {high:.6g}"
    return f"{low:.6g}" if f"{low:.6g}" == f"{high:.6g}" else f"{low:.6g} to {high:.6g}"


def additive_shapes(model: AdditiveModel) -> dict[str, Shape]:
    """See `AdditiveModel.shape_functions`."""
    binning, shapes = model.frame.binning, {}
    for feature, values in model.scorer.mains.items():
        name, kind = binning.domain.columns[feature]
        shapes[name] = Shape(name, bin_words(kind, binning.tables[feature]), values / MARGIN_UNIT)
    return shapes


def additive_explanation(model: AdditiveModel, row: Any) -> Explanation:
    """See `AdditiveModel.explain`."""
    columns = one_row(row, model.domain)
    bins, binning = model.frame.binning.bins(columns, 1), model.frame.binning
    found = []
    for feature, values in model.scorer.mains.items():
        name, kind = binning.domain.columns[feature]
        where = _words(kind, np.flatnonzero(binning.tables[feature] == bins[feature, 0]))
        found.append(Contribution((name,), where, _natural(values[bins[feature, 0]])))
    groups: dict[frozenset[int], list[NDArray[np.int32]]] = {}
    for partition, values in model.scorer.trees:
        groups.setdefault(frozenset(partition.features), []).append(values[partition.cells(bins)[0]])
    for features, addends in groups.items():
        names = tuple(binning.domain.names[feature] for feature in sorted(features))
        count = f"{len(addends)} tree{'s' if len(addends) > 1 else ''}"
        found.append(Contribution(names, count, _natural(np.sum(addends, axis=0))))
    return Explanation(_natural(model.scorer.intercept), _sorted(found), _natural(model.scorer.margins(bins)[0]))


def linear_explanation(model: LinearModel, row: Any) -> Explanation:
    """See `LinearModel.explain`."""
    columns = one_row(row, model.domain)
    position = design(columns, 1, model.domain)[0] / DESIGN_UNIT
    addends = model.weights * position
    found, place = [], 1
    for name, kind in model.domain.columns:
        width = 1 if isinstance(kind, Numeric) else kind.code_count - 1
        active = np.flatnonzero(position[place : place + width]) + place
        if isinstance(kind, Numeric):
            where = f"at {position[place]:.3g} between its bounds (-1 to 1)"
        else:
            where = design_names(model.domain)[active[0]].removeprefix(f"{name}=") if len(active) else "missing"
        found.append(Contribution((name,), where, tuple(addends[:, place : place + width].sum(axis=1).tolist())))
        place += width
    return Explanation(tuple(addends[:, 0].tolist()), _sorted(found), tuple(addends.sum(axis=1).tolist()))


def linear_shapes(model: LinearModel) -> dict[str, Shape]:
    """See `LinearModel.shape_functions`."""
    shapes, place = {}, 1
    for name, kind in model.domain.columns:
        zero = np.zeros(model.target.outputs)
        if isinstance(kind, Numeric):
            weight = model.weights[:, place]
            shapes[name] = Shape(name, ("missing", f"{kind.lower:.6g} or less", f"{kind.upper:.6g} or more"), np.stack([zero, -weight, weight]))
            place += 1
        else:
            width = len(kind.values) + 1
            shapes[name] = Shape(name, ("missing", *kind.values, "other"), np.vstack([zero, model.weights[:, place : place + width].T]))
            place += width
    return shapes


def one_row(row: Any, domain: Domain) -> dict[str, Any]:
    """One record as plain columns.

    Raises:
        UsageError: if there is not exactly one.
    """
    if isinstance(row, Mapping):
        row = {name: value if hasattr(value, "__len__") and not isinstance(value, str) else [value] for name, value in row.items()}
    columns, rows = as_columns(row, domain)
    if rows != 1:
        raise UsageError("Expected exactly one record to explain; pass a mapping from feature to value, or a table with one row.")
    return columns


def _natural(steps: NDArray[np.int32]) -> tuple[float, ...]:
    return tuple((np.asarray(steps, np.int64) / MARGIN_UNIT).tolist())


def _sorted(found: list[Contribution]) -> tuple[Contribution, ...]:
    return tuple(sorted(found, key=lambda item: -item.size))
