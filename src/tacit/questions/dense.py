"""The question of a small network: the clipped gradient sum at public weights, in whole numbers from the first layer to the last.

The grammar of layers is closed: affine maps with ReLU between them, over inputs that follow from public bins. Sites evaluate what the numbers say; no
code travels. Activations are whole numbers of 1/1,024, weights of 1/65,536, gradients of 1/4,096. Products and sums of whole numbers below 2^53
are exact in float64 in any order, so that a record's gradient depends on that record alone, and a unit's clipped gradient has a length that is
proved in integers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tacit.domain import Numeric
from tacit.errors import UsageError
from tacit.guarantee import Relation
from tacit.questions.base import Bounds, RecordSource, Sample, SessionCache, Sums, clip_to
from tacit.questions.blocks import BlockStore
from tacit.questions.cells import Frame, unit_slices
from tacit.questions.losses import logistic_entries, logistic_starts, logistic_tables, softmax_terms, squared_terms
from tacit.questions.structure import Binning, pack, unpack

Whole: TypeAlias = NDArray[np.float64]
"""Whole numbers below 2^53, which float64 holds exactly."""
Layer: TypeAlias = tuple[NDArray[np.int32], NDArray[np.int32]]
"""Weights ``[out, in]`` and biases ``[out]``, 65,536 steps to one."""

UNIT = 1 << 10
WEIGHT_UNIT = 1 << 16
MOST_WEIGHT = 1 << 24
MOST_WIDTH, MOST_WEIGHTS, MOST_LAYERS = 1 << 11, 1 << 20, 8
MOST_FINE = 12
_MARGIN_SHIFT = 1 << 14
_CAP = float(1 << 15)  # of activations and of gradients behind a layer, in their steps
_ROWS, _NUMBERS = 8_192, 1 << 22


def width_of(binning: Binning) -> int:
    """How many inputs a network over these features has."""
    kinds = zip(binning.domain.columns, binning.counts, strict=True)
    return sum(3 if isinstance(kind, Numeric) else bins for (_, kind), bins in kinds)


def inputs_of(binning: Binning, columns: Mapping[str, pa.Array], rows: int) -> NDArray[np.float32]:
    """Records as numbers between -1 and 1: float32 ``[rows, width]``.

    A number gives its bin's place among the bins (zero where it is missing), the square of that, and whether it is missing; a category gives one
    number per value.

    Raises:
        DataError: if a feature is absent.
    """
    bins, parts = binning.bins(columns, rows), []
    for (_, kind), count, own in zip(binning.domain.columns, binning.counts, bins, strict=True):
        if isinstance(kind, Numeric):
            missing = own == 0
            place = np.where(missing, 0.0, 2.0 * (own.astype(np.float32) - 1) / max(count - 2, 1) - 1).astype(np.float32)
            parts.append(np.column_stack([place, place * place, missing]).astype(np.float32))
        else:
            parts.append((own[:, None] == np.arange(count)).astype(np.float32))
    return np.concatenate(parts, axis=1) if parts else np.zeros((rows, 0), np.float32)


@dataclass(frozen=True, eq=False)
class DenseGradient:
    """The sum over units of a network's loss gradient at public weights, each unit's shortened to a length.

    Args:
        frame: target, loss and bins.
        layers: of every affine map, first to last.
        clip: largest length of one unit's gradient, in steps of 1/4,096.
        fine: the answer is written in steps 2^``fine`` times as fine, on which shared noise of few standard deviations can be accounted as Gaussian.

    The answer holds, layer by layer, the weights' gradient row by row and then the biases', 4,096 · 2^``fine`` steps to one.

    Guarantees:
        A unit moves the sum by at most ``clip`` (twice that where it is replaced), whatever its rows hold; a row with an unknown label by nothing.
        The same holds of the sum over any of the units.

    Raises:
        UsageError: if layers do not fit each other, the inputs or the target, or are beyond 2,047 inputs, 2^20 weights, 8 layers or weights of 256.
    """

    frame: Frame
    layers: tuple[Layer, ...]
    clip: int
    fine: int = 0
    kind: ClassVar[str] = "dense@1"

    def __post_init__(self) -> None:
        if not isinstance(self.clip, int) or isinstance(self.clip, bool) or not 1 <= self.clip < 1 << 31:
            raise UsageError(f"Expected clip={self.clip!r} to be a length from 1 to 2^31 steps.")
        if not isinstance(self.fine, int) or isinstance(self.fine, bool) or not 0 <= self.fine <= MOST_FINE:
            raise UsageError(f"Expected fine={self.fine!r} to be a whole number from 0 to {MOST_FINE}.")
        if not 1 <= len(self.layers) <= MOST_LAYERS:
            raise UsageError(f"Expected 1 to {MOST_LAYERS} layers; got {len(self.layers)}.")
        width = width_of(self.frame.binning)
        for weights, bias in self.layers:
            if weights.ndim != 2 or weights.shape[1] != width or bias.shape != (len(weights),) or not 1 <= width < MOST_WIDTH:
                raise UsageError(f"Expected layers that fit each other, of fewer than {MOST_WIDTH} inputs; one has {weights.shape} over {width}.")
            if weights.dtype != np.int32 or bias.dtype != np.int32 or max(_largest(weights), _largest(bias)) > MOST_WEIGHT:
                raise UsageError("Expected weights as int32 in steps of 1/65,536, none beyond 256.")
            width = len(weights)
        if width != self.frame.target.outputs or self.size > MOST_WEIGHTS:
            raise UsageError(f"Expected {self.frame.target.outputs} outputs and at most {MOST_WEIGHTS:,} weights; got {width} and {self.size:,}.")

    @cached_property
    def size(self) -> int:
        """Number of coordinates."""
        return sum(weights.size + bias.size for weights, bias in self.layers)

    def bounds(self, relation: Relation) -> Bounds:
        """See the class."""
        return Bounds.from_l2(self.clip << self.fine, size=self.size, relation=relation)

    def units(self, records: RecordSource, cache: SessionCache) -> int:
        """How many units there are with a usable label. Never released."""
        return self._inputs(records, cache).total

    def evaluate(self, records: RecordSource, cache: SessionCache, *, sample: Sample | None = None) -> Sums:
        """int64 ``[size]``: over everybody, or over the units of a sample."""
        inputs, total = self._inputs(records, cache), np.zeros(self.size, np.int64)
        for block, labels, units in inputs.chunks(max(16, _NUMBERS // self.size), None if sample is None else sample.computed):
            gradients = self._gradients(block.astype(np.float64), labels)
            starts = np.flatnonzero(np.diff(units, prepend=-1))
            gradients = np.add.reduceat(gradients, starts, axis=0) if len(starts) < len(units) else gradients
            clipped = clip_to(np.clip(gradients, -(2.0**30), 2.0**30).astype(np.int64), self.clip)
            total += clipped.sum(axis=0) if sample is None else (clipped * sample.taken[units[starts], None]).sum(axis=0)
        return total << self.fine

    def _inputs(self, records: RecordSource, cache: SessionCache) -> _Inputs:
        slot = f"dense:{self.frame.digest.hex()}"
        if slot not in cache.slots:
            cache.slots[slot] = _Inputs.of(records, self.frame)
        found: _Inputs = cache.slots[slot]
        return found

    def _gradients(self, inputs: Whole, labels: NDArray[np.int32]) -> Whole:
        """Each row's gradient, ``[rows, size]``, before clipping."""
        seen, margins = self._forward(inputs)
        delta = self._terms(margins, labels)
        parts: list[Whole] = []
        for (weights, _), activation in zip(reversed(self.layers), reversed(seen), strict=True):
            products = np.rint(delta[:, :, None] * activation[:, None, :] / UNIT).reshape(len(labels), -1)
            parts = [products, delta, *parts]
            if activation is not inputs:
                back = np.rint(delta @ weights.astype(np.float64) / WEIGHT_UNIT)
                delta = np.clip(back, -_CAP, _CAP) * ((activation > 0) & (activation < _CAP))
        return np.concatenate(parts, axis=1)

    def _forward(self, inputs: Whole) -> tuple[list[Whole], Whole]:
        """What every layer sees, and the margins."""
        seen, x = [], inputs
        for place, (weights, bias) in enumerate(self.layers):
            seen.append(x)
            sums = x @ weights.T.astype(np.float64) + bias.astype(np.float64) * UNIT
            last = place == len(self.layers) - 1
            x = np.rint(sums / _MARGIN_SHIFT) if last else np.clip(np.rint(sums / WEIGHT_UNIT), 0.0, _CAP)
        return seen, x

    def _terms(self, margins: Whole, labels: NDArray[np.int32]) -> Whole:
        """The loss's gradient at each margin, whole steps of 1/4,096: ``[rows, outputs]``."""
        steps = margins.clip(-(1 << 30), 1 << 30).astype(np.int32)
        if self.frame.loss == "softmax":
            return softmax_terms(steps, labels)[0]
        flat = np.ascontiguousarray(steps[:, 0])
        if self.frame.loss == "squared":
            return squared_terms(flat, labels)[0][:, None]
        entries = logistic_entries(flat + logistic_starts(labels), work=np.empty(len(flat), np.int32), out=np.empty(len(flat), np.intp))
        return logistic_tables()[0].take(entries, mode="clip")[:, None]

    def to_dict(self) -> dict[str, Any]:
        """Canonical plain form."""
        layers = [{"outputs": len(weights), "weights": pack(weights), "bias": pack(bias)} for weights, bias in self.layers]
        plain = {"kind": self.kind, "frame": self.frame.to_dict(), "layers": layers, "clip": self.clip}
        return plain | {"fine": self.fine} if self.fine else plain

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> DenseGradient:
        """The question that `to_dict` described."""
        layers = tuple(
            (unpack(layer["weights"], "int32").reshape(int(layer["outputs"]), -1), unpack(layer["bias"], "int32")) for layer in data["layers"]
        )
        return cls(Frame.from_dict(data["frame"]), layers, data["clip"], data.get("fine", 0))


@dataclass
class _Inputs:
    """What a session remembers: the records with usable labels, as whole inputs; and which unit each is of, counted over all of them."""

    width: int
    blocks: BlockStore
    labels: list[NDArray[np.int32]]
    units: list[NDArray[np.int64]]
    total: int = 0

    @classmethod
    def of(cls, records: RecordSource, frame: Frame) -> _Inputs:
        """Read the records once."""
        made = cls(width_of(frame.binning), BlockStore(), [], [])
        for batch in records.batches((*frame.binning.domain.names, frame.target.column)):
            columns = dict(batch.columns)
            labels = frame.target.labels(columns.pop(frame.target.column))
            known = np.flatnonzero(frame.target.known(labels))
            inputs = np.rint(inputs_of(frame.binning, columns, batch.rows)[known] * UNIT).astype(np.int16)
            made.blocks.append(inputs.view(np.uint8))
            made.labels.append(labels[known])
            made._number(known if batch.units is None else batch.units[known])
        return made

    def _number(self, units: NDArray[np.int64]) -> None:
        """Units of one batch, each of which lies in it as a whole, numbered after all before."""
        numbers = self.total + np.cumsum(np.diff(units, prepend=-1) != 0) - 1
        self.units.append(numbers.astype(np.int64))
        self.total = int(numbers[-1]) + 1 if len(numbers) else self.total

    def chunks(
        self, most: int, marked: NDArray[np.bool_] | None,
    ) -> Iterator[tuple[NDArray[np.int16], NDArray[np.int32], NDArray[np.int64]]]:
        """Some rows at a time, a unit's rows together, of the units that are marked: inputs, labels and units."""
        for block, labels, units in zip(self.blocks, self.labels, self.units, strict=True):
            inputs = block.view(np.int16).reshape(-1, self.width)
            if marked is not None:
                rows = np.flatnonzero(marked[units])
                inputs, labels, units = inputs[rows], labels[rows], units[rows]
            for part in unit_slices(units, len(labels), min(most, _ROWS)):
                yield inputs[part], labels[part], units[part]


def _largest(values: NDArray[np.int32]) -> int:
    return int(np.abs(values.astype(np.int64)).max(initial=0))
