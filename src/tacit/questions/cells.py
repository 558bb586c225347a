"""The question that carries most learning: gradient and hessian sums over the cells of partitions.

A record lies in exactly one cell of each partition, so its contribution is at most the loss gradient's length times √partitions, by
structure: no record is clipped. A unit with several rows is clipped as one.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tacit.errors import NeedsContext, UsageError
from tacit.guarantee import Relation
from tacit.questions.base import GRID, Bounds, RecordSource, SessionCache, Sums, clip_to
from tacit.questions.blocks import BlockStore
from tacit.questions.encoding import Target
from tacit.questions.losses import (
    LOSSES,
    MOST_PACKED_ROWS,
    logistic_entries,
    logistic_starts,
    logistic_tables,
    packed_logistic_table,
    softmax_terms,
    squared_length,
    squared_terms,
    unpack_sums,
)
from tacit.questions.structure import Binning, Cells, Partition, pack, unpack

CHUNK = 2 * MOST_PACKED_ROWS
_DENSE = 1 << 22


@dataclass(frozen=True, eq=False)
class Frame:
    """What all steps of one training share: the target, the loss and the bins."""

    target: Target
    loss: str
    binning: Binning

    def __post_init__(self) -> None:
        if self.loss not in LOSSES or (self.loss == "softmax") != (self.target.outputs > 1) or (self.loss == "squared") != bool(self.target.bounds):
            raise UsageError(f"Expected logistic for two classes, softmax for more, squared for numbers; got «{self.loss}».")

    @cached_property
    def digest(self) -> bytes:
        """Where every chain of updates begins."""
        target = repr(sorted(self.target.to_dict().items()))
        return hashlib.sha256(b"tacit.frame\x00" + target.encode() + self.loss.encode() + self.binning.digest).digest()

    def to_dict(self) -> dict[str, Any]:
        """Plain form."""
        return {"target": self.target.to_dict(), "loss": self.loss, "binning": self.binning.to_dict()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Frame:
        """The frame that `to_dict` described."""
        return cls(Target.from_dict(data["target"]), str(data["loss"]), Binning.from_dict(data["binning"]))


@dataclass(frozen=True, eq=False)
class Update:
    """Cell values that a model gained: margin steps, int32 ``[cells, outputs]``, for one partition."""

    partition: Partition
    values: NDArray[np.int32]

    def after(self, base: bytes) -> bytes:
        """The digest of a model with digest ``base`` and this update."""
        return hashlib.sha256(base + self.partition.digest + np.ascontiguousarray(self.values, dtype="<i4").tobytes()).digest()

    def to_dict(self) -> dict[str, Any]:
        """Plain form."""
        return {"partition": self.partition.to_dict(), "values": pack(self.values)}

    @classmethod
    def from_dict(cls, data: dict[str, Any], outputs: int) -> Update:
        """The update that `to_dict` described."""
        return cls(Partition.from_dict(data["partition"]), unpack(data["values"], "int32").reshape(-1, outputs))


@dataclass(frozen=True, eq=False)
class CellSums:
    """Gradient sums (and scaled hessian sums) of a loss in every cell of some partitions.

    Args:
        frame: target, loss and bins.
        base: digest of the model that ``delta`` is added to.
        delta: updates since then; steps apply once, however often they are asked.
        partitions: whose cells are summed, jointly bounded.
        hessian: whether hessian sums follow the gradient sums.
        clip: largest length of one unit's contribution, in grid integers; ``None`` if every row is a unit.

    The answer holds, partition by partition, ``cells x outputs`` gradients, then all hessians in the same order.

    Guarantees:
        One row's vector has length at most √partitions times 1 (logistic), √2 (softmax) or √1.25 (squared), times GRID; one unit's at most
        ``clip``. A record with an unknown label contributes nothing, and a missing, infinite or unknown feature value has a cell of its own.

    Raises:
        NeedsContext: when evaluated on a session that does not remember the model ``base``.
    """

    frame: Frame
    base: bytes
    partitions: tuple[Partition, ...]
    delta: tuple[Update, ...] = ()
    hessian: bool = True
    clip: int | None = None
    kind: ClassVar[str] = "cells@1"

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return sum(p.size for p in self.partitions) * self.frame.target.outputs * (2 if self.hessian else 1)

    @cached_property
    def after(self) -> bytes:
        """Digest of the model that the sums are taken at."""
        digest = self.base
        for update in self.delta:
            digest = update.after(digest)
        return digest

    def bounds(self, relation: Relation) -> Bounds:
        """See `Bounds`: by structure for rows, by clipping for units with several rows."""
        if self.clip is not None:
            return Bounds.from_l2(self.clip, size=self.size, relation=relation)
        squared = squared_length(self.frame.loss, hessian=self.hessian) * len(self.partitions)
        touched = len(self.partitions) * self.frame.target.outputs * (2 if self.hessian else 1)
        length = math.ceil(GRID * math.sqrt(squared)) * relation.factor
        touched = min(self.size, touched * relation.factor)
        return Bounds(touched, math.ceil(math.sqrt(touched) * length), length, min(length, GRID * relation.factor))

    def evaluate(self, records: RecordSource, cache: SessionCache) -> Sums:
        """The exact sums, int64 ``[size]``."""
        state = _state(self, records, cache)
        pending = self._pending(state)
        total = np.zeros(self.size, np.int64)
        for chunk in state.chunks():
            for update in pending:
                chunk.add(update)
            total += self._chunk_sums(chunk)
        state.applied, state.last = self.after, (self.partitions[-1] if len(self.partitions) == 1 else None)
        return total

    def _pending(self, state: _State) -> tuple[Update, ...]:
        if state.applied == self.after:
            return ()
        if state.applied != self.base:
            raise NeedsContext("Expected a session that remembers the model this step builds on; supply the public model and ask again.")
        return self.delta

    def _chunk_sums(self, chunk: _Chunk) -> Sums:
        if self.clip is not None:
            return self._unit_sums(chunk, self.clip)
        if chunk.units is not None:
            raise UsageError("Expected a clip for records whose unit has several rows; pass clip, or evaluate with one row per unit.")
        if self.frame.loss == "logistic" and self.hessian:
            return self._packed_sums(chunk)
        gradient, hessian = chunk.terms(self.frame.loss)
        terms = (gradient, hessian) if self.hessian else (gradient,)
        sums: list[list[Sums]] = [[] for _ in terms]
        for partition in self.partitions:
            positions = chunk.positions(partition)
            for collected, term in zip(sums, terms, strict=True):
                collected.append(_by_cell(positions, term, partition.size))
        return np.concatenate([part for collected in sums for part in collected])

    def _packed_sums(self, chunk: _Chunk) -> Sums:
        """Both sums from one pass over the rows."""
        packed = chunk.packed_terms()
        gradients, hessians = [], []
        for partition in self.partitions:
            gradient, hessian = _packed_by_cell(chunk.positions(partition), packed, partition.size)
            gradients.append(gradient)
            hessians.append(hessian)
        return np.concatenate(gradients + hessians)

    def _unit_sums(self, chunk: _Chunk, clip: int) -> Sums:
        """Every unit's own vector over all cells, clipped, then summed; several units at a time."""
        total = np.zeros(self.size, np.int64)
        gradient, hessian = chunk.terms(self.frame.loss)
        terms = (gradient, hessian) if self.hessian else (gradient,)
        cells = [chunk.cells(p).copy() for p in self.partitions]
        for rows, units, count in chunk.unit_groups(max(1, _DENSE // self.size)):
            vectors = [
                _by_unit_and_cell(cell[rows], term[rows], units, (count, p.size))
                for term in terms for cell, p in zip(cells, self.partitions, strict=True)
            ]
            total += clip_to(np.concatenate(vectors, axis=1), clip).sum(axis=0)
        return total

    def to_dict(self) -> dict[str, Any]:
        """Canonical plain form."""
        return {
            "kind": self.kind, "frame": self.frame.to_dict(), "base": self.base.hex(), "hessian": self.hessian, "clip": self.clip,
            "partitions": [p.to_dict() for p in self.partitions], "delta": [u.to_dict() for u in self.delta],
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> CellSums:
        """The question that `to_dict` described."""
        frame = Frame.from_dict(data["frame"])
        delta = tuple(Update.from_dict(u, frame.target.outputs) for u in data["delta"])
        partitions = tuple(Partition.from_dict(p) for p in data["partitions"])
        return cls(frame, bytes.fromhex(data["base"]), partitions, delta, bool(data["hessian"]), data["clip"])


def restore(frame: Frame, updates: tuple[Update, ...], *, records: RecordSource, cache: SessionCache) -> bytes:
    """Bring a session to the state of a public model, from nothing but the records and the model; returns the model's digest."""
    state = cache.slots[_slot(frame)] = _State.build(frame, records)
    digest = frame.digest
    for update in updates:
        digest = update.after(digest)
    for chunk in state.chunks():
        for update in updates:
            chunk.add(update)
    state.applied = digest
    return digest


def _by_cell(cells: NDArray[np.intp], weights: NDArray[np.float64], size: int) -> Sums:
    """Whole-number weights ``[rows]`` or ``[rows, outputs]`` summed per cell. Exact: a chunk's sums stay below 2^53."""
    if weights.ndim == 1:
        return np.bincount(cells, weights, size).astype(np.int64)
    outputs = weights.shape[1]
    index = (cells[:, None] * outputs + np.arange(outputs)).ravel()
    return np.bincount(index, weights.ravel(), size * outputs).astype(np.int64)


def _packed_by_cell(cells: NDArray[np.intp], packed: NDArray[np.float64], size: int) -> tuple[Sums, Sums]:
    """Gradient and hessian sums per cell from packed terms, few enough rows at a time for the packing."""
    gradient, hessian = np.zeros(size, np.int64), np.zeros(size, np.int64)
    for start in range(0, len(cells), MOST_PACKED_ROWS):
        rows = slice(start, start + MOST_PACKED_ROWS)
        parts = unpack_sums(np.asarray(np.bincount(cells[rows], packed[rows], size), np.float64))
        gradient += parts[0]
        hessian += parts[1]
    return gradient, hessian


def _by_unit_and_cell(cells: Cells, weights: NDArray[np.float64], units: NDArray[np.int64], shape: tuple[int, int]) -> Sums:
    """The same per unit: int64 ``[units, cells * outputs]``."""
    count, size = shape
    wide = weights if weights.ndim == 2 else weights[:, None]
    outputs = wide.shape[1]
    index = ((units * size + cells)[:, None] * outputs + np.arange(outputs)).ravel()
    return np.bincount(index, wide.ravel(), count * size * outputs).astype(np.int64).reshape(count, size * outputs)


@dataclass
class _Chunk:
    """Some rows with everything a step needs; margins are views, so that updates stay."""

    bins: Cells
    labels: NDArray[np.int32]
    margins: NDArray[np.int32]
    units: NDArray[np.int64] | None
    placed: Cells
    last: Partition | None
    scratch: _Scratch

    def cells(self, partition: Partition) -> Cells:
        """Cells of all rows; the partition asked last is remembered."""
        if partition is not self.last:
            partition.cells(self.bins, out=self.placed, work=self.scratch.side[: self.bins.shape[1]])
            self.last = partition
        return self.placed

    def positions(self, partition: Partition) -> NDArray[np.intp]:
        """The same as array positions, which sums and gathers take without a conversion of their own."""
        positions = self.scratch.positions[: self.bins.shape[1]]
        positions[:] = self.cells(partition)
        return positions

    def add(self, update: Update) -> None:
        """Add the update's values to the margins."""
        positions = self.positions(update.partition)
        if self.margins.ndim == 1:
            gained = self.scratch.steps[: len(positions)]
            np.take(np.ascontiguousarray(update.values[:, 0]), positions, out=gained, mode="clip")
            np.add(self.margins, gained, out=self.margins)
        else:
            self.margins += update.values.take(positions, axis=0)

    def terms(self, loss: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Gradient and scaled hessian of every row, whole numbers."""
        if loss == "softmax":
            return softmax_terms(self.margins, self.labels)
        if loss == "squared":
            return squared_terms(self.margins, self.labels)
        gradient, hessian = logistic_tables()
        entries = self._entries()
        return gradient.take(entries, mode="clip"), hessian.take(entries, mode="clip")

    def packed_terms(self) -> NDArray[np.float64]:
        """Gradient and hessian of the logistic loss in one number per row."""
        return np.take(packed_logistic_table(), self._entries(), out=self.scratch.packed[: len(self.margins)], mode="clip")

    def _entries(self) -> NDArray[np.intp]:
        rows = len(self.margins)
        return logistic_entries(self.margins, work=self.scratch.steps[:rows], out=self.scratch.positions[:rows])

    def unit_groups(self, most: int) -> Iterator[tuple[slice, NDArray[np.int64], int]]:
        """Slices of whole units, at most ``most`` units each, with unit indices from 0."""
        units = self.units if self.units is not None else np.arange(self.bins.shape[1])
        starts = np.flatnonzero(np.diff(units, prepend=-1))
        ends = np.append(starts[1:], len(units))
        dense = np.repeat(np.arange(len(starts)), ends - starts)
        for first in range(0, len(starts), most):
            last = min(first + most, len(starts)) - 1
            rows = slice(int(starts[first]), int(ends[last]))
            yield rows, dense[rows] - first, last - first + 1


@dataclass
class _Scratch:
    """Work arrays of one session, so that the hot loop allocates nothing large."""

    side: Cells = field(default_factory=lambda: np.empty(0, np.uint8))
    steps: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    positions: NDArray[np.intp] = field(default_factory=lambda: np.empty(0, np.intp))
    packed: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))

    def grow(self, rows: int) -> None:
        """Make room for chunks of ``rows``."""
        if rows > len(self.side):
            self.side, self.steps = np.empty(rows, np.uint8), np.empty(rows, np.int32)
            self.packed, self.positions = np.empty(rows), np.empty(rows, np.intp)


@dataclass
class _State:
    """What a session remembers of a training: bins, labels, margins, and which model the margins belong to.

    The margins of the logistic loss have the label in them (`logistic_starts`), and no labels are kept beside them.
    """

    applied: bytes
    bins: BlockStore
    labels: list[NDArray[np.int32]]
    units: list[NDArray[np.int64] | None]
    margins: list[NDArray[np.int32]]
    placed: list[Cells]
    last: Partition | None = None
    scratch: _Scratch = field(default_factory=_Scratch)

    @classmethod
    def build(cls, frame: Frame, records: RecordSource) -> _State:
        """Read the records once."""
        state = cls(frame.digest, BlockStore(), [], [], [], [])
        columns = (*frame.binning.domain.names, frame.target.column)
        for batch in records.batches(columns):
            labels = frame.target.labels(batch.columns[frame.target.column])
            known = np.flatnonzero(frame.target.known(labels))
            bins = frame.binning.bins(batch.columns, batch.rows)
            everything = len(known) == batch.rows
            state.append(frame, bins if everything else bins[:, known], labels[known], None if batch.units is None else batch.units[known])
        return state

    def append(self, frame: Frame, bins: Cells, labels: NDArray[np.int32], units: NDArray[np.int64] | None) -> None:
        """Add rows, cut into chunks at unit borders."""
        logistic, outputs = frame.loss == "logistic", frame.target.outputs
        for rows in unit_slices(units, len(labels), CHUNK):
            count = rows.stop - rows.start
            self.bins.append(bins[:, rows])
            self.labels.append(labels[:0] if logistic else labels[rows])
            self.units.append(None if units is None else units[rows])
            self.margins.append(logistic_starts(labels[rows]) if logistic else np.zeros(count if outputs == 1 else (count, outputs), np.int32))
            self.placed.append(np.empty(count, np.uint8))
            self.scratch.grow(count)

    def chunks(self) -> Iterator[_Chunk]:
        """All rows, chunk by chunk."""
        for index, bins in enumerate(self.bins):
            yield _Chunk(
                bins, self.labels[index], self.margins[index], self.units[index], self.placed[index], self.last, self.scratch,
            )


def unit_slices(units: NDArray[np.int64] | None, rows: int, most: int) -> Iterator[slice]:
    """Slices of about ``most`` rows that never split a unit."""
    start = 0
    while start < rows:
        stop = min(start + most, rows)
        if units is not None and stop < rows:
            stop = int(np.searchsorted(units, units[stop - 1], side="right"))
        yield slice(start, stop)
        start = stop


def _slot(frame: Frame) -> str:
    return "cells:" + frame.digest.hex()


def _state(question: CellSums, records: RecordSource, cache: SessionCache) -> _State:
    slot = _slot(question.frame)
    if slot not in cache.slots:
        if question.base != question.frame.digest:
            raise NeedsContext("Expected a session that remembers the model this step builds on; supply the public model and ask again.")
        cache.slots[slot] = _State.build(question.frame, records)
    state = cache.slots[slot]
    if not isinstance(state, _State):
        raise UsageError("Expected a session of one training per frame.")
    return state
