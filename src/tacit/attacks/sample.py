"""Members and others as one pool: records, labels, units and groups, joined so that every attack sees them alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tacit.attacks.tables import as_table, rows_of, stack
from tacit.errors import DataError, UsageError

LEAST = 20


@dataclass(frozen=True, eq=False)
class Sample:
    """Records of one side.

    Args:
        X: as the target takes them: a matrix, an Arrow table, a pandas or polars frame, a tensor.
        y: their labels, classes or numbers; ``None`` if the target learns without.
        unit: whom each record belongs to, where a unit has several; a unit is then guessed about as a whole.
        groups: groupings by which risk is shown, by name, one value per record.
    """

    X: Any
    y: Any = None
    unit: Any = None
    groups: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, given: Any) -> Sample:
        """From ``X``, ``(X, y)``, ``(X, y, unit)`` or itself."""
        if isinstance(given, cls):
            return given
        return cls(*given) if isinstance(given, tuple) and 1 <= len(given) <= 3 else cls(given)


@dataclass(frozen=True, eq=False)
class Trials:
    """Everybody who is guessed about.

    Args:
        X: all records, members first.
        y: labels, classes or numbers, or ``None``.
        owner: unit of each record, dense from 0, or ``None``.
        is_member: bool ``[units]``.
        groups: by name one value per unit.
    """

    X: Any
    y: NDArray[Any] | None
    owner: NDArray[np.int64] | None
    is_member: NDArray[np.bool_]
    groups: Mapping[str, NDArray[Any]]

    @property
    def members(self) -> int:
        """How many units are members."""
        return int(self.is_member.sum())

    @property
    def member_rows(self) -> NDArray[np.bool_]:
        """Which records belong to members."""
        return self.is_member if self.owner is None else self.is_member[self.owner]

    def per_unit(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sums over the records of each unit: ``[units]``."""
        return values if self.owner is None else np.asarray(np.bincount(self.owner, values, minlength=len(self.is_member)), np.float64)

    @classmethod
    def of(cls, members: Any, nonmembers: Any) -> Trials:
        """Join both sides.

        Raises:
            DataError: if labels, units or groups do not fit the records, or the sides do not fit each other.
            UsageError: if there are too few to tell anything.
        """
        sides = [Sample.of(members), Sample.of(nonmembers)]
        tables = [as_table(side.X) for side in sides]
        counts = [rows_of(table) for table in tables]
        if (sides[0].y is None) != (sides[1].y is None) or (sides[0].unit is None) != (sides[1].unit is None):
            raise UsageError("Expected labels, and units, of both members and others, or of neither.")
        y = None if sides[0].y is None else np.concatenate([_values(side.y, count, "labels") for side, count in zip(sides, counts, strict=True)])
        units = [None if side.unit is None else _values(side.unit, count, "units") for side, count in zip(sides, counts, strict=True)]
        owner, is_member = _owners(units, counts)
        if is_member.sum() < LEAST or (~is_member).sum() < LEAST:
            raise UsageError(f"Expected at least {LEAST} members and {LEAST} others; got {is_member.sum()} and {(~is_member).sum()}.")
        groups = {
            str(name): _by_unit(np.concatenate([_values(side.groups[name], count, f"values of the group «{name}»")
                                                for side, count in zip(sides, counts, strict=True)]), owner)
            for name in sides[0].groups if name in sides[1].groups
        }
        return cls(stack(*tables), y, owner, is_member, groups)


def _owners(units: list[NDArray[Any] | None], counts: list[int]) -> tuple[NDArray[np.int64] | None, NDArray[np.bool_]]:
    given = [side.astype(str) for side in units if side is not None]
    if len(given) < len(units):
        return None, np.repeat([True, False], counts)
    names, owner = np.unique(np.concatenate(given), return_inverse=True)
    inside = np.zeros(len(names), bool)
    inside[owner[: counts[0]]] = True
    both = np.isin(np.unique(owner[counts[0] :]), np.flatnonzero(inside)).sum()
    if both:
        raise DataError(f"Expected every unit on one side only; {both} of them have records among members and among others.")
    return owner.astype(np.int64), inside


def _by_unit(values: NDArray[Any], owner: NDArray[np.int64] | None) -> NDArray[Any]:
    """The value of each unit's first record."""
    return values if owner is None else values[np.unique(owner, return_index=True)[1]]


def _values(given: Any, count: int, what: str) -> NDArray[Any]:
    if type(given).__module__.startswith("pyarrow"):
        given = given.to_numpy(zero_copy_only=False)
    found = given.detach().cpu().numpy() if hasattr(given, "detach") else np.asarray(given)
    if found.ndim == 2 and found.shape[1] == 1:
        found = found[:, 0]
    if found.ndim != 1 or len(found) != count:
        raise DataError(f"Expected one of the {what} per record, {count}; got the shape {found.shape}.")
    missing = int((found != found).sum()) if found.dtype.kind == "f" else sum(value is None or value != value for value in found.tolist())
    if missing:
        raise DataError(f"Expected one of the {what} for every record; {missing} are missing. Leave these records out.")
    return found
