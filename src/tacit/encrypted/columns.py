"""How a record becomes the small integers that are encrypted: by the model's public structure alone.

A score is the sum over columns of a private integer weight times a record's integer. Three ways to make columns carry all models that are scored:
the design of a linear model; one column per cell of each partition of an additive model, one where the record is and zero elsewhere; and all products
of two numbers of the design, in which any network with one layer of squares is linear.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tacit.domain import Domain
from tacit.encrypted.words import Weights
from tacit.models.scoring import FEW, Stack
from tacit.questions import Binning, Partition
from tacit.questions.linear import DESIGN_UNIT, design, design_names

Integers = NDArray[np.int64]


class Table(ABC):
    """Records as integers."""

    @property
    @abstractmethod
    def rows(self) -> int:
        """How many records there are."""

    @abstractmethod
    def column(self, number: int) -> Integers:
        """One column of all records: int64 ``[rows]``."""

    @abstractmethod
    def record(self, row: int) -> Integers:
        """All columns of one record: int64 ``[columns]``."""

    @abstractmethod
    def times(self, weights: Weights) -> Integers:
        """The sums in the clear: int64 ``[rows, outputs]`` for weights ``[outputs, columns]``."""


@dataclass(frozen=True)
class Dense(Table):
    """A matrix: int64 ``[rows, columns]``."""

    matrix: Integers

    @property
    def rows(self) -> int:
        """How many records there are."""
        return int(self.matrix.shape[0])

    def column(self, number: int) -> Integers:
        """One column of all records."""
        return np.ascontiguousarray(self.matrix[:, number])

    def record(self, row: int) -> Integers:
        """All columns of one record."""
        return np.asarray(self.matrix[row], np.int64)

    def times(self, weights: Weights) -> Integers:
        """The sums in the clear."""
        return np.asarray(self.matrix @ weights.T)


@dataclass(frozen=True)
class OneHot(Table):
    """Which column of each group holds the one: intp ``[groups, rows]``, columns numbered through; and how many columns there are."""

    places: NDArray[np.intp]
    columns: int
    owners: NDArray[np.intp]

    @property
    def rows(self) -> int:
        """How many records there are."""
        return int(self.places.shape[1])

    def column(self, number: int) -> Integers:
        """One column of all records."""
        return np.asarray(self.places[self.owners[number]] == number, np.int64)

    def record(self, row: int) -> Integers:
        """All columns of one record."""
        found = np.zeros(self.columns, np.int64)
        found[self.places[:, row]] = 1
        return found

    def times(self, weights: Weights) -> Integers:
        """The sums in the clear."""
        return np.stack([own.take(self.places).sum(axis=0) for own in weights], axis=1)


class Columns(ABC):
    """What is public about a model's input."""

    kind: ClassVar[str]
    domain: Domain

    @property
    @abstractmethod
    def count(self) -> int:
        """How many columns there are."""

    @property
    @abstractmethod
    def groups(self) -> tuple[int, ...]:
        """Columns of each group of which a record has one; empty where columns are numbers."""

    @abstractmethod
    def read(self, columns: Mapping[str, pa.Array], rows: int) -> Table:
        """Records as integers."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Plain form."""

    def reach(self, weights: Weights) -> int:
        """The largest absolute sum of any record and output, whatever the record holds."""
        size = np.abs(weights)
        if not self.groups:
            return int(size.sum(axis=1).max(initial=0)) * DESIGN_UNIT
        starts = np.cumsum([0, *self.groups[:-1]])
        return int(np.maximum.reduceat(size, starts, axis=1).sum(axis=1).max(initial=0)) if self.groups else 0


@dataclass(frozen=True)
class DesignColumns(Columns):
    """The design of a linear model without its intercept: from -1,024 to 1,024."""

    domain: Domain
    kind: ClassVar[str] = "design@1"
    groups: ClassVar[tuple[int, ...]] = ()

    @property
    def count(self) -> int:
        """How many columns there are."""
        return len(design_names(self.domain)) - 1

    def read(self, columns: Mapping[str, pa.Array], rows: int) -> Table:
        """Records as integers."""
        return Dense(design(columns, rows, self.domain)[:, 1:].astype(np.int64))

    def to_dict(self) -> dict[str, Any]:
        """Plain form."""
        return {"kind": self.kind, "domain": self.domain.to_dict()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> DesignColumns:
        """The columns that `to_dict` described."""
        return cls(Domain.from_dict(data["domain"]))


@dataclass(frozen=True)
class ProductColumns(Columns):
    """The design without its intercept, then all products of two of its columns, an own square included: rounded, from -1,024 to 1,024."""

    domain: Domain
    kind: ClassVar[str] = "products@1"
    groups: ClassVar[tuple[int, ...]] = ()

    @cached_property
    def width(self) -> int:
        """Columns of the design without its intercept."""
        return len(design_names(self.domain)) - 1

    @cached_property
    def pairs(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """First and second factor of each product."""
        first, second = np.triu_indices(self.width)
        return first.astype(np.intp), second.astype(np.intp)

    @property
    def count(self) -> int:
        """How many columns there are."""
        return self.width + len(self.pairs[0])

    def read(self, columns: Mapping[str, pa.Array], rows: int) -> Table:
        """Records as integers."""
        plain = design(columns, rows, self.domain)[:, 1:].astype(np.int64)
        first, second = self.pairs
        products = (plain[:, first] * plain[:, second] + DESIGN_UNIT // 2) // DESIGN_UNIT
        return Dense(np.concatenate([plain, products], axis=1))

    def to_dict(self) -> dict[str, Any]:
        """Plain form."""
        return {"kind": self.kind, "domain": self.domain.to_dict()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ProductColumns:
        """The columns that `to_dict` described."""
        return cls(Domain.from_dict(data["domain"]))


@dataclass(frozen=True, eq=False)
class CellColumns(Columns):
    """One column per cell: first the bins of single features, then the leaves of trees.

    Args:
        binning: the bins.
        mains: features that have an effect of their own.
        trees: partitions by several features.
    """

    binning: Binning
    mains: tuple[int, ...]
    trees: tuple[Partition, ...]
    kind: ClassVar[str] = "cells@1"

    @property
    def domain(self) -> Domain:  # type: ignore[override]
        """The features."""
        return self.binning.domain

    @cached_property
    def groups(self) -> tuple[int, ...]:
        """Cells of each partition."""
        return (*(self.binning.counts[feature] for feature in self.mains), *(tree.size for tree in self.trees))

    @property
    def count(self) -> int:
        """How many columns there are."""
        return sum(self.groups)

    def read(self, columns: Mapping[str, pa.Array], rows: int) -> Table:
        """Records as integers."""
        bins = self.binning.bins(columns, rows)
        places = np.empty((len(self.groups), rows), np.intp)
        places[: len(self.mains)] = bins[list(self.mains)]
        if rows <= FEW:
            self._few(bins.astype(np.intp), places[len(self.mains) :])
        else:
            for tree, own in zip(self.trees, places[len(self.mains) :], strict=True):
                own[:] = tree.cells(bins)
        places += self._starts[:, None]
        return OneHot(places, self.count, self._owners)

    def _few(self, bins: NDArray[np.intp], places: NDArray[np.intp]) -> None:
        """The trees' cells, all of one depth in one gather per level."""
        for chosen, stack in self._stacks:
            cells = np.zeros((len(chosen), bins.shape[1]), np.intp)
            for level in range(stack.features.shape[1]):
                cells += stack.addends.take(stack.starts[:, level, None] + bins[stack.features[:, level]])
            places[chosen] = cells

    @cached_property
    def _stacks(self) -> list[tuple[NDArray[np.intp], Stack]]:
        depths = np.array([len(tree.tables) for tree in self.trees], np.intp)
        chosen = [np.flatnonzero(depths == depth) for depth in np.unique(depths)]
        return [(some, Stack.of([(self.trees[i], np.zeros((self.trees[i].size, 1), np.int32)) for i in some])) for some in chosen]

    @cached_property
    def _starts(self) -> NDArray[np.intp]:
        return np.cumsum([0, *self.groups[:-1]]).astype(np.intp)

    @cached_property
    def _owners(self) -> NDArray[np.intp]:
        return np.repeat(np.arange(len(self.groups)), self.groups)

    def to_dict(self) -> dict[str, Any]:
        """Plain form."""
        return {
            "kind": self.kind, "binning": self.binning.to_dict(), "mains": list(self.mains), "trees": [tree.to_dict() for tree in self.trees],
        }  # fmt: skip

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> CellColumns:
        """The columns that `to_dict` described.

        Raises:
            UsageError: a partition does not fit.
            ValueError: a feature does not exist.
        """
        binning, trees = Binning.from_dict(data["binning"]), tuple(Partition.from_dict(tree) for tree in data["trees"])
        mains = tuple(int(feature) for feature in data["mains"])
        counts = binning.counts
        used = [(feature, len(table)) for tree in trees for feature, table in zip(tree.features, tree.tables, strict=True)]
        if not all(0 <= feature < len(counts) for feature in mains) or not all(0 <= f < len(counts) and size >= counts[f] for f, size in used):
            raise ValueError("partitions of features that do not exist")
        return cls(binning, mains, trees)


_KINDS: dict[str, Any] = {kind.kind: kind for kind in (DesignColumns, ProductColumns, CellColumns)}


def columns_from_dict(data: Mapping[str, Any]) -> Columns:
    """The columns that some `to_dict` described.

    Raises:
        KeyError, ValueError, UsageError: they are of another kind, or do not belong together.
    """
    found: Columns = _KINDS[data["kind"]].from_dict(data)
    return found


