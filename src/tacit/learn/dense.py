"""A network that one curator or many sites train by questions: every step asks for the clipped gradient sum at public weights.

All units take part in every step, or those that each guard draws for it. The optimiser is Adam (Kingma & Ba 2015) on noisy sums, which is
post-processing; the model is the average of the last iterates, each of which is private already. Starting weights follow from the run's name.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tacit.crypto import PublicSeed
from tacit.domain import Numeric
from tacit.errors import UsageError
from tacit.guard import Aggregator, Plan
from tacit.learn.driver import Steps
from tacit.learn.sampled import counted, sampled_plan
from tacit.learn.spending import Outlay, planned, preparation, unit_clip, with_rest
from tacit.learn.training import LearnSpec, Preparation, evidence_of, most_outputs, provenance_of, require_declared, run_plan
from tacit.models import NetworkModel
from tacit.questions import GRID, DenseGradient, Frame
from tacit.questions.dense import MOST_WEIGHT, WEIGHT_UNIT, Layer, width_of
from tacit.questions.structure import MOST_CELLS

Weights = list[NDArray[np.float64]]
"""Matrix and bias of each layer, in turn."""

_FIRST, _SECOND, _LEAST = 0.9, 0.99, 1e-8


@dataclass(frozen=True)
class SharedShape:
    """What a network that sites train looks like. Public, and never chosen by looking at the records.

    Args:
        hidden: units of each hidden layer.
        steps: how often every site is asked.
        clip: the largest gradient norm of one unit.
        learning_rate: of Adam, falling to a tenth by the end.
        averaging: share of the last iterates whose average is the model.
        rate: share of the units that one step is about, on average; each guard draws its own, anew for every step. Samples save work, not budget:
            at equal steps the noise of the mean is what it is with everybody, and a little more for small rates.
    """

    hidden: tuple[int, ...] = (16,)
    steps: int = 40
    clip: float = 1.0
    learning_rate: float = 0.05
    averaging: float = 0.5
    rate: float = 1.0

    def __post_init__(self) -> None:
        if not all(isinstance(size, int) and 1 <= size <= 1024 for size in self.hidden):
            raise UsageError(f"Expected hidden={self.hidden!r} to be layer sizes from 1 to 1,024, such as (16,).")
        if not (isinstance(self.steps, int) and 1 <= self.steps <= 100_000 and 0 < self.averaging <= 1):
            raise UsageError(f"Expected steps={self.steps!r} from 1 to 100,000 and 0 < averaging={self.averaging} <= 1.")
        if not 0 < self.rate <= 1:
            raise UsageError(f"Expected 0 < rate={self.rate} <= 1; 1 asks everybody in every step.")
        if not (0 < self.clip <= 1024 and 0 < self.learning_rate < math.inf):
            raise UsageError(f"Expected 0 < clip={self.clip} <= 1024 and learning_rate={self.learning_rate} above zero and finite.")

    def weights(self, inputs: int, outputs: int) -> int:
        """How many weights a network over so many inputs has."""
        sizes = [inputs, *self.hidden, outputs]
        return sum((before + 1) * after for before, after in pairwise(sizes))


@dataclass
class _Adam:
    """Moments of the noisy gradient, and where they lead."""

    shape: SharedShape
    weights: Weights

    def __post_init__(self) -> None:
        self._mean = [np.zeros_like(part) for part in self.weights]
        self._square = [np.zeros_like(part) for part in self.weights]

    def move(self, gradient: NDArray[np.float64], step: int) -> None:
        """One step along an average gradient, flat."""
        rate = self.shape.learning_rate * (1 - 0.9 * step / self.shape.steps)
        for part, mean, square in zip(self._parts(gradient), self._mean, self._square, strict=True):
            mean += (1 - _FIRST) * (part - mean)
            square += (1 - _SECOND) * (part * part - square)
        for own, mean, square in zip(self.weights, self._mean, self._square, strict=True):
            own -= rate * (mean / (1 - _FIRST ** (step + 1))) / (np.sqrt(square / (1 - _SECOND ** (step + 1))) + _LEAST)

    def _parts(self, flat: NDArray[np.float64]) -> Weights:
        ends = np.cumsum([part.size for part in self.weights])[:-1]
        return [part.reshape(own.shape) for part, own in zip(np.split(flat, ends), self.weights, strict=True)]


def fit_shared_network(spec: LearnSpec, aggregator: Aggregator, shape: SharedShape | None = None) -> NetworkModel:
    """Train a network with whoever answers questions: one curator, or many sites.

    Args:
        spec: what to learn.
        aggregator: one guard, or many.
        shape: of the network and its training.

    Raises:
        Refused: if the plan is refused; nothing is charged then.
        UsageError: for several sites without a declared domain.
    """
    shape = shape or SharedShape()
    length = round(shape.clip * GRID)
    outlays = with_rest(
        preparation(undeclared=len(spec.asked), binned=len(spec.features)), DenseGradient.kind, repeats=shape.steps,
        cells=shape.weights(_most_inputs(spec), most_outputs(spec)), l2=length,
    )

    require_declared(spec, aggregator)
    size = aggregator.size() if aggregator.counts_units else 0
    plan, fine = _plan(spec, aggregator, shape, outlays)

    def whole(preparation_: Preparation) -> Steps[tuple[Frame, Weights]]:
        if not aggregator.counts_units:
            yield from counted(preparation_)
        frame = yield from preparation_.steps()
        clip = unit_clip(aggregator, float(length)) or length
        weights = yield from _descent(frame, shape, steps=(clip, fine), preparation_=preparation_)
        return frame, weights

    (frame, weights), conversation = run_plan(spec, aggregator, plan, size=size, whole=whole)
    layers = tuple(zip(weights[::2], weights[1::2], strict=True))
    return NetworkModel(frame, layers, conversation.guarantee, provenance_of(plan, conversation, aggregator), evidence_of(aggregator))


def _plan(spec: LearnSpec, aggregator: Aggregator, shape: SharedShape, outlays: list[Outlay]) -> tuple[Plan, int]:
    """What is charged, and how fine gradients are written."""
    if shape.rate < 1 or not aggregator.counts_units:
        return sampled_plan(spec, aggregator, outlays, rate=shape.rate)
    return planned(outlays, budget=spec.budget, aggregator=aggregator, purpose=spec.purpose, run=spec.run), 0


def _most_inputs(spec: LearnSpec) -> int:
    """How many inputs the features can turn out to need: three for a number, one per value of a category."""
    declared = () if spec.domain is None else tuple(kind for name, kind in spec.domain.columns if name in spec.features)
    return MOST_CELLS * len(spec.undeclared) + sum(3 if isinstance(kind, Numeric) else kind.code_count for kind in declared)


def _descent(frame: Frame, shape: SharedShape, *, steps: tuple[int, int], preparation_: Preparation) -> Steps[Weights]:
    """Every step; ``steps`` says where a unit's gradient is clipped and how fine answers are."""
    clip, fine = steps
    expected = max(shape.rate * preparation_.size, 1.0)
    optimiser = _Adam(shape, _start(frame, shape, run=preparation_.plan.run))
    total = [np.zeros_like(part) for part in optimiser.weights]
    kept = max(1, round(shape.averaging * shape.steps))
    for step in range(shape.steps):
        question = DenseGradient(frame, _rounded(optimiser.weights), clip, fine)
        answer: NDArray[np.int64] = yield preparation_.next_step + step, question
        optimiser.move(answer / ((GRID << fine) * expected), step)
        if step >= shape.steps - kept:
            for sums, part in zip(total, optimiser.weights, strict=True):
                sums += part / kept
    return total


def _start(frame: Frame, shape: SharedShape, *, run: str) -> Weights:
    """He's scale (He et al. 2015) for hidden layers, a tenth of it for the last; anyone can draw them again."""
    rng = PublicSeed.of(study="network", roster=(), run=run).generator("weights")
    weights: Weights = []
    width = width_of(frame.binning)
    for place, size in enumerate((*shape.hidden, frame.target.outputs)):
        scale = math.sqrt(2 / max(1, width)) * (0.1 if place == len(shape.hidden) else 1.0)
        weights += [rng.normal(0, scale, (size, width)), np.zeros(size)]
        width = size
    return weights


def _rounded(weights: Weights) -> tuple[Layer, ...]:
    whole = [np.clip(np.rint(part * WEIGHT_UNIT), -MOST_WEIGHT, MOST_WEIGHT).astype(np.int32) for part in weights]
    return tuple(zip(whole[::2], whole[1::2], strict=True))
