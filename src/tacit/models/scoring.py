"""An additive model rearranged for speed: one table per feature, equal trees merged, trees of one depth side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tacit.questions import Binning, Partition, Update
from tacit.questions.structure import Cells

Steps = NDArray[np.int32]

FEW = 512
_CHUNK = 32_768


@dataclass(frozen=True, eq=False)
class Stack:
    """Partitions with the same number of levels, as arrays.

    Args:
        features: the feature of each level, intp ``[partitions, levels]``.
        starts: where the level's addends begin in ``addends``, intp ``[partitions, levels]``.
        addends: all addends, intp.
        firsts: where the partition's cells begin in ``values``, intp ``[partitions]``.
        values: margin steps of all cells, int32 ``[cells, outputs]``.
    """

    features: NDArray[np.intp]
    starts: NDArray[np.intp]
    addends: NDArray[np.intp]
    firsts: NDArray[np.intp]
    values: Steps

    @classmethod
    def of(cls, pairs: Sequence[tuple[Partition, Steps]]) -> Stack:
        """Line up partitions and their values."""
        tables = [table for partition, _ in pairs for table in partition.tables]
        shape = (len(pairs), len(pairs[0][0].tables))
        starts = np.cumsum([0, *(len(table) for table in tables)])[:-1]
        firsts = np.cumsum([0, *(partition.size for partition, _ in pairs)])[:-1]
        features = np.array([partition.features for partition, _ in pairs], np.intp)
        return cls(
            features.reshape(shape), starts.astype(np.intp).reshape(shape), np.concatenate(tables).astype(np.intp), firsts.astype(np.intp),
            np.concatenate([values for _, values in pairs]),
        )

    def add(self, bins: NDArray[np.intp], margins: Steps) -> None:
        """Add everything to margins ``[rows, outputs]``, for few rows: all partitions in one gather per level."""
        cells = np.repeat(self.firsts[:, None], bins.shape[1], axis=1)
        for level in range(self.features.shape[1]):
            cells += self.addends.take(self.starts[:, level, None] + bins[self.features[:, level]])
        margins += self.values.take(cells, axis=0).sum(axis=0, dtype=np.int32)


@dataclass(frozen=True, eq=False)
class Scorer:
    """A sum of tables.

    Args:
        intercept: margin steps that every record gets, int32 ``[outputs]``.
        mains: per feature its margin steps by bin, int32 ``[bins, outputs]``; absent where a feature has no effect of its own.
        trees: partitions of several features, each once, with their values.
    """

    intercept: Steps
    mains: dict[int, Steps]
    trees: tuple[tuple[Partition, Steps], ...]

    @classmethod
    def compile(cls, binning: Binning, updates: Sequence[Update], outputs: int) -> Scorer:
        """Merge everything that depends on the same features in the same way."""
        intercept = np.zeros(outputs, np.int32)
        mains: dict[int, Steps] = {}
        trees: dict[bytes, tuple[Partition, Steps]] = {}
        for update in updates:
            partition, features = update.partition, set(update.partition.features)
            if not features:
                intercept += update.values[0]
            elif len(features) == 1:
                (feature,) = features
                effect = update.values.take(cells_by_bin(partition, binning.counts[feature]), axis=0)
                mains[feature] = mains[feature] + effect if feature in mains else effect
            else:
                known = trees.get(partition.digest)
                trees[partition.digest] = (partition, update.values if known is None else known[1] + update.values)
        return cls(intercept, dict(sorted(mains.items())), tuple(trees.values()))

    @cached_property
    def stacks(self) -> tuple[Stack, ...]:
        """The trees, by depth."""
        depths = sorted({len(partition.tables) for partition, _ in self.trees})
        return tuple(Stack.of([pair for pair in self.trees if len(pair[0].tables) == depth]) for depth in depths)

    def margins(self, bins: Cells) -> Steps:
        """Margin steps int32 ``[rows, outputs]`` from bins uint8 ``[features, rows]``."""
        rows = bins.shape[1]
        if rows <= FEW:
            return self._few(bins.astype(np.intp))
        out = np.empty((rows, len(self.intercept)), np.int32)
        for start in range(0, rows, _CHUNK):
            self._many(bins[:, start : start + _CHUNK], out[start : start + _CHUNK])
        return out

    def _few(self, bins: NDArray[np.intp]) -> Steps:
        margins = np.tile(self.intercept, (bins.shape[1], 1))
        for feature, values in self.mains.items():
            margins += values.take(bins[feature], axis=0)
        for stack in self.stacks:
            stack.add(bins, margins)
        return margins

    def _many(self, bins: Cells, out: Steps) -> None:
        rows, outputs = out.shape
        total = np.repeat(self.intercept[:, None], rows, axis=1)
        gained, positions = np.empty(rows, np.int32), np.empty(rows, np.intp)
        cells, side = np.empty(rows, np.uint8), np.empty(rows, np.uint8)

        def add(where: Cells, by_output: Sequence[Steps]) -> None:
            positions[:] = where
            for output in range(outputs):
                np.take(by_output[output], positions, out=gained, mode="clip")
                np.add(total[output], gained, out=total[output])

        for feature, columns in self._main_columns:
            add(bins[feature], columns)
        for partition, columns in self._tree_columns:
            add(partition.cells(bins, out=cells, work=side), columns)
        out[:] = total.T

    @cached_property
    def _main_columns(self) -> list[tuple[int, list[Steps]]]:
        return [(feature, _columns(values)) for feature, values in self.mains.items()]

    @cached_property
    def _tree_columns(self) -> list[tuple[Partition, list[Steps]]]:
        return [(partition, _columns(values)) for partition, values in self.trees]


def cells_by_bin(partition: Partition, bins: int) -> NDArray[np.uint8]:
    """The cell of every bin, for a partition by one feature only: uint8 ``[bins]``."""
    every = np.arange(bins)
    return np.asarray(np.sum([table[every] for table in partition.tables], axis=0, dtype=np.uint8))


def _columns(values: Steps) -> list[Steps]:
    return [np.ascontiguousarray(column) for column in values.T]
