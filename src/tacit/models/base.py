"""What every model has in common: where it came from, what it promises, and how margins become answers."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tacit.crypto import SigningKey, hexdigest
from tacit.domain import Domain
from tacit.errors import UsageError
from tacit.guarantee import Guarantee
from tacit.questions import Batch, Target

FORMAT = 1
"""Version of the artefact that this Tacit writes, and the newest it reads."""

ROWS = 65_536
"""Rows that are scored at a time."""

Margins = NDArray[np.float64]


@dataclass(frozen=True)
class Provenance:
    """Where a model came from: public facts that an auditor can follow to the ledger.

    Args:
        plan: digest of the plan that was charged, hex.
        ledger_head: digest of the ledger's entry that paid for it, hex; ``None`` without a ledger.
        charge: sequence number of that entry.
        run: public name of the run.
        version: the Tacit that trained it.
        created: date or time, ISO 8601.
        deterministic: whether noise came from a test seed; then nothing is guaranteed.
        ledger: name or identity of the ledger, if one is known.
        notes: what people should know, in sentences.
    """

    plan: str
    ledger_head: str | None = None
    charge: int | None = None
    run: str = ""
    version: str = ""
    created: str = ""
    deterministic: bool = False
    ledger: str | None = None
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain form; `from_dict` reverses it."""
        return {item.name: getattr(self, item.name) for item in fields(self)} | {"notes": list(self.notes)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Provenance:
        """The provenance that `to_dict` described."""
        return cls(**{**data, "notes": tuple(str(note) for note in data["notes"])})


class Artefact(ABC):
    """What a signed file holds: public structure, private values, what they promise and where they came from."""

    kind: ClassVar[str]
    guarantee: Guarantee
    provenance: Provenance
    evidence: tuple[Mapping[str, Any], ...]

    @abstractmethod
    def structure(self) -> dict[str, Any]:
        """Everything that is no array, in plain form."""

    @abstractmethod
    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything that is one, by name."""

    @property
    def ledger_head(self) -> str | None:
        """Digest of the ledger entry that paid for it, hex."""
        return self.provenance.ledger_head

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """All content in plain form, with the digest of each array: what is signed."""
        return {
            "format": FORMAT, "kind": self.kind, "structure": self.structure(), "guarantee": self.guarantee.to_dict(),
            "provenance": self.provenance.to_dict(), "evidence": [dict(item) for item in self.evidence],
            "arrays": {name: array_digest(array) for name, array in self.arrays().items()},
        }

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all content, hex: what a ledger entry or a report refers to."""
        return hexdigest(self.manifest, domain="tacit.model")

    def save(self, path: str | os.PathLike[str], key: SigningKey) -> None:
        """Write the signed artefact; see `tacit.models.save`."""
        from tacit.models.artefact import save

        save(self, path, key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Artefact) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)


class Predictor(Artefact):
    """Answers from margins, the same for every kind of model.

    A margin is the sum a model computes for a record: log odds for classes, a number on a scale from -1 to 1 for numbers.
    """

    @property
    @abstractmethod
    def target(self) -> Target:
        """What is predicted."""

    @property
    @abstractmethod
    def domain(self) -> Domain:
        """The features, in order."""

    @abstractmethod
    def batch_margins(self, columns: Mapping[str, pa.Array], rows: int) -> Margins:
        """Margins float64 ``[rows, outputs]`` of one batch of plain Arrow columns."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The class labels in the order of `predict_proba`; empty for a number."""
        return self.target.classes

    def margins(self, data: Any) -> Margins:
        """Margins of some records: float64 ``[rows, outputs]``; one output for two classes and for numbers.

        Args:
            data: an Arrow table or batch, a pandas or polars frame, a dict of arrays, a matrix with one column per feature in the
                domain's order, or `tacit.guard.records.Records`. Columns that are no features are ignored.

        Raises:
            DataError: if a feature is absent or a column cannot be read; names no content.
        """
        pieces = [self.batch_margins(batch.columns, batch.rows) for batch in batches_of(data, self.domain)]
        return np.concatenate(pieces) if pieces else np.zeros((0, self.target.outputs))

    def decision_function(self, data: Any) -> NDArray[np.float64]:
        """Log odds ``[rows]`` of the second of two classes, or one score per class ``[rows, classes]``.

        Raises:
            UsageError: for a model that predicts a number.
        """
        self._require_classes("decision_function")
        margins = self.margins(data)
        return margins[:, 0] if self.target.outputs == 1 else margins

    def predict_proba(self, data: Any) -> NDArray[np.float64]:
        """Probability of every class: float64 ``[rows, classes]``; a sigmoid of the margin for two classes, a softmax for more.

        Raises:
            UsageError: for a model that predicts a number.
        """
        self._require_classes("predict_proba")
        return self.probabilities_at(self.margins(data))

    def probabilities_at(self, margins: Margins) -> NDArray[np.float64]:
        """What `predict_proba` says at these margins."""
        return probabilities(margins)

    def predict(self, data: Any) -> NDArray[Any]:
        """The most probable class of every record, as text, or the number in the target's own units; ``[rows]``."""
        return self.answers(self.margins(data))

    def answers(self, margins: Margins) -> NDArray[Any]:
        """What `predict` says at these margins."""
        if self.target.bounds:
            lower, upper = self.target.bounds
            return np.asarray(np.clip(lower + (margins[:, 0] + 1) / 2 * (upper - lower), lower, upper), np.float64)
        chosen = (margins[:, 0] > 0).astype(np.intp) if self.target.outputs == 1 else margins.argmax(axis=1)
        return np.array(self.classes).take(chosen)

    def _require_classes(self, method: str) -> None:
        if self.target.bounds:
            raise UsageError(f"Expected a model of classes for {method}; this one predicts a number. Use predict.")


def as_columns(data: Any, domain: Domain) -> tuple[dict[str, pa.Array], int]:
    """All of ``data`` as one plain Arrow array per feature, and the number of rows. Not for what outgrows memory: see `batches_of`.

    >>> from tacit.domain import Numeric
    >>> columns, rows = as_columns({"size": np.array([1.5, 2.0]), "other": ["a", "b"]}, Domain.of(size=Numeric(0, 9)))
    >>> list(columns), rows
    (['size'], 2)
    """
    batches = list(batches_of(data, domain))
    columns = {name: pa.concat_arrays([batch.columns[name] for batch in batches]) for name in domain.names if batches}
    return columns, sum(batch.rows for batch in batches)


def batches_of(data: Any, domain: Domain) -> Iterator[Batch]:
    """Records of any shape, `ROWS` at a time, with the features as plain columns: read exactly as the guard reads them for training.

    Raises:
        DataError: if a feature is absent or ``data`` is no table.
    """
    from tacit.guard.records import Records  # the guard brings its accountants along: only who scores needs it

    if isinstance(data, np.ndarray):
        data = (data, domain.names)
    records = data if isinstance(data, Records) else Records.open(data, batch_rows=ROWS)
    return records.batches(domain.names)


def probabilities(margins: Margins) -> NDArray[np.float64]:
    """Class probabilities ``[rows, classes]`` from margins ``[rows, outputs]``.

    >>> probabilities(np.array([[0.0]])).tolist()
    [[0.5, 0.5]]
    """
    from scipy.special import expit, softmax

    if margins.shape[1] == 1:
        return np.column_stack([expit(-margins[:, 0]), expit(margins[:, 0])])
    return np.asarray(softmax(margins, axis=1), np.float64) if len(margins) else margins


def array_digest(array: NDArray[Any]) -> str:
    """SHA-256 of type, shape and little-endian content, hex."""
    plain = little_endian(array)
    header = {"dtype": plain.dtype.str, "shape": list(plain.shape)}
    return hexdigest({"array": header, "content": hexdigest(plain.tobytes(), domain="tacit.model.content")}, domain="tacit.model.array")


def little_endian(array: NDArray[Any]) -> NDArray[Any]:
    """The same array, contiguous and little endian, as it is stored."""
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))


def require_loss(target: Target, loss: str) -> None:
    """Raise `UsageError` unless the loss fits the target."""
    expected = "squared" if target.bounds else "softmax" if target.outputs > 1 else "logistic"
    if loss != expected:
        raise UsageError(f"Expected the {expected} loss for the target «{target.column}»; got «{loss}».")


def require_honest(guarantee: Guarantee, provenance: Provenance) -> None:
    """Raise `UsageError` if noise from a test seed comes with a promise."""
    if provenance.deterministic and guarantee.holds:
        raise UsageError("Expected no guarantee (epsilon=inf) for a model trained with a test seed; its noise can be recomputed.")
