"""From a model to its encrypted form, with the proof that both decide alike."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from tacit.crypto import SealingKey
from tacit.encrypted.client import Client
from tacit.encrypted.keys import SecretKey
from tacit.encrypted.meter import Meter
from tacit.encrypted.plan import Plan, choose
from tacit.encrypted.public import PublicModel
from tacit.encrypted.quantise import WEIGHT_BITS, Quantised, quantise
from tacit.encrypted.scorer import EncryptedScorer
from tacit.encrypted.words import Weights
from tacit.errors import DecisionsDiffer, UsageError
from tacit.models import Predictor
from tacit.models.base import as_columns
from tacit.models.ranked import ALARM, Ranked
from tacit.questions.losses import MARGIN_UNIT

_SLACK = 1e-6
"""What double precision may add to a margin."""


@dataclass(frozen=True)
class Agreement:
    """What comparing the encrypted with the plain model on a sample has shown. Owner-side: not released.

    Args:
        records: in the sample.
        encrypted: of them, scored under encryption; the others with the same integers in the clear.
        flips: decisions that differ, all within the stated quantisation.
        largest: difference of two margins.
        stated: the largest difference there can be.
        accuracy: of the plain and of the encrypted model, where labels were given.
    """

    records: int
    encrypted: int
    flips: int
    largest: float
    stated: float
    accuracy: tuple[float, float] | None

    def __str__(self) -> str:
        lost = "" if self.accuracy is None else f"; accuracy {self.accuracy[0]:.4f} plain, {self.accuracy[1]:.4f} encrypted"
        return (
            f"{self.records:,} records, {self.encrypted:,} of them under encryption: {self.flips} decisions differ; "
            f"margins by {self.largest:.2g} at most, {self.stated:.2g} stated{lost}"
        )


class Compiled:
    """A model ready to score what it cannot read. Holds the model's values: it stays with whoever owns the model.

    Args:
        public: what clients get.
        quantised: the model as integers.
        sealing: the scorer's key.
        agreement: the proof on the sample.
    """

    def __init__(self, public: PublicModel, quantised: Quantised, sealing: SealingKey) -> None:
        self.public, self._quantised, self._sealing = public, quantised, sealing
        self.agreement: Agreement | None = None

    @property
    def plan(self) -> Plan:
        """How it is computed."""
        return self.public.plan

    def scorer(self, *, budget: int | None = None, meter: Meter | None = None) -> EncryptedScorer:
        """The server's side; ``budget`` is the number of records that each key may have scored, for a meter in memory."""
        counted = Meter(budget) if meter is None else meter
        return EncryptedScorer(self.public, self._quantised.weights, self._quantised.bias, sealing=self._sealing, meter=counted)

    def simulate(self, data: Any) -> NDArray[np.float64]:
        """The margins that encryption would give, exactly, without any cryptography: ``[rows, outputs]``."""
        return self.public.margins(self.simulate_integers(data))

    def simulate_integers(self, data: Any) -> Weights:
        """The integers behind `simulate`."""
        parts = [table.times(self._quantised.weights) + self._quantised.bias for table in self.public.read(data)]
        return np.concatenate(parts) if parts else np.zeros((0, self.plan.outputs), np.int64)

    def __reduce__(self) -> NoReturn:
        raise UsageError("A compiled model was to be copied or pickled. Expected it to stay with the model's owner; send compiled.public")

    def __repr__(self) -> str:
        return f"Compiled({self.public.fingerprint}, {self.plan.name}, {self.plan.packing})"


@dataclass(frozen=True)
class Settings:
    """How a model is compiled.

    Args:
        plan: «throughput» (smallest messages) or «private-model» (the key holder learns scores only).
        packing: «batch» for many records at a time, «single» for one record soon.
        weight_bits: of the largest weight of a linear model or a network.
        coarser: cell values of an additive model are rounded to multiples of 2^coarser steps of 1/4,096; 0 is exact.
    """

    plan: str = "throughput"
    packing: str = "batch"
    weight_bits: int = WEIGHT_BITS
    coarser: int = 0


def compile(
    model: Predictor, sample: Any, *, settings: Settings | None = None, labels: Any = None, sealing: SealingKey | None = None
) -> Compiled:
    """Compile a model, and prove on a sample that it decides as before.

    Args:
        model: an additive model (trees, anomalies from counts), a linear one, or a `SquareNetwork`.
        sample: records, as in `Predictor.margins`; a part of them is scored under encryption, with a key that is thrown away.
        settings: plan, packing and precision.
        labels: what the sample's records are, for the difference in accuracy; text as in ``model.classes``.
        sealing: the scorer's key; a new one by default. Pass a kept one to compile the same public model again.

    Raises:
        UsageError: the model is of another kind, or the sample is empty.
        PlanImpossible: no 128-bit parameters hold its scores.
        DecisionsDiffer: a decision on the sample differs by more than the quantisation explains.
        MissingExtra: the library is not installed.
    """
    how = settings or Settings()
    quantised = quantise(model, weight_bits=how.weight_bits, coarser=how.coarser)
    plan = choose(quantised.weights, quantised.span, name=how.plan, packing=how.packing)
    key = sealing or SealingKey.generate()
    public = PublicModel(quantised.columns, model.target, plan, quantised.unit, _threshold(model), key.public)
    compiled = Compiled(public, quantised, key)
    compiled.agreement = _agreement(model, compiled, sample, labels)
    return compiled


def _threshold(model: Predictor) -> float:
    """The margin above which the second class is answered."""
    if not isinstance(model, Ranked):
        return 0.0
    edge = model.margin_at(ALARM)
    return edge - 0.5 / MARGIN_UNIT if math.isfinite(edge) else 1e300


def _agreement(model: Predictor, compiled: Compiled, sample: Any, labels: Any) -> Agreement:
    columns, rows = as_columns(sample, model.domain)
    if not rows:
        raise UsageError("Expected a sample of at least one record to compare decisions on")
    plain, ours = model.margins(columns), compiled.simulate(columns)
    public, error = compiled.public, compiled._quantised.error
    differ = np.flatnonzero(model.answers(plain) != public.answers(ours)) if not model.target.bounds else np.zeros(0, np.intp)
    largest = float(np.abs(plain - ours).max())
    if largest > error + _SLACK or (differ.size and _distance(plain[differ], public).max() > error + _SLACK):
        raise DecisionsDiffer(
            f"Expected margins within {error:.3g} of the plain model's; they differ by {largest:.3g}, with {len(differ)} of {rows:,} decisions. "
            "Do not use this model encrypted; report it"
        )
    some = min(rows, 64 if compiled.plan.batch else 4)
    _prove(compiled, {name: column.slice(0, some) for name, column in columns.items()})
    accuracy = None if labels is None else _accuracies(model.answers(plain), public.answers(ours), labels)
    return Agreement(rows, some, len(differ), largest, error, accuracy)


def _distance(margins: NDArray[np.float64], public: PublicModel) -> NDArray[np.float64]:
    """How much each margin would have to change, at least, to change the decision."""
    if margins.shape[1] == 1:
        return np.abs(margins[:, 0] - public.threshold)
    ranked = np.sort(margins, axis=1)
    return np.asarray((ranked[:, -1] - ranked[:, -2]) / 2)


def _prove(compiled: Compiled, columns: Any) -> None:
    """Score under encryption and compare every integer."""
    key, scorer = SecretKey.generate(compiled.plan.parameters), compiled.scorer()
    client = Client(compiled.public, key)
    scorer.admit(key.public)
    found = client.open_integers(scorer.score(client.request(columns)))
    if not np.array_equal(found, compiled.simulate_integers(columns)):
        raise DecisionsDiffer("Expected the same integers under encryption as in the clear; at least one differs. Do not use this plan; report it")


def _accuracies(plain: NDArray[Any], ours: NDArray[Any], labels: Any) -> tuple[float, float]:
    truth = np.asarray(labels).astype(str)
    return float((plain.astype(str) == truth).mean()), float((ours.astype(str) == truth).mean())
