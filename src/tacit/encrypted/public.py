"""What a client is told about a compiled model: how to encrypt for it and how to read its answers, and none of its weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tacit.crypto import SealedTo, hexdigest
from tacit.encrypted.columns import Columns, Table, columns_from_dict
from tacit.encrypted.plan import Plan
from tacit.encrypted.wire import Kind, parse, prefix_of
from tacit.encrypted.words import Weights
from tacit.errors import MessageDamaged, TacitError
from tacit.models.base import batches_of
from tacit.questions import Target


@dataclass(frozen=True, eq=False)
class PublicModel:
    """The public half of a compiled model; compare `fingerprint` with whoever compiled it.

    Args:
        columns: how a record becomes integers.
        target: what is predicted.
        plan: how it is computed.
        unit: integer steps per 1.0 of a margin.
        threshold: the margin above which the second of two classes is answered.
        scorer: the key that requests are sealed to.
    """

    columns: Columns
    target: Target
    plan: Plan
    unit: float
    threshold: float
    scorer: SealedTo

    @cached_property
    def id(self) -> str:
        """SHA-256 of everything in it, hex: what requests and answers are bound to."""
        return hexdigest(self._plain, domain="tacit.encrypted.model")

    @property
    def fingerprint(self) -> str:
        """Eighty bits of `id` for people to compare."""
        return "-".join(self.id[place : place + 5] for place in range(0, 20, 5))

    @cached_property
    def _plain(self) -> dict[str, Any]:
        return {
            "columns": self.columns.to_dict(), "target": self.target.to_dict(), "plan": self.plan.to_dict(), "unit": self.unit,
            "threshold": self.threshold, "scorer": self.scorer.raw,
        }  # fmt: skip

    def read(self, data: Any) -> Iterator[Table]:
        """Records as integers, some at a time; ``data`` as in `tacit.models.Predictor.margins`.

        Raises:
            DataError: a feature is absent, or ``data`` is no table.
        """
        for batch in batches_of(data, self.columns.domain):
            yield self.columns.read(batch.columns, batch.rows)

    def margins(self, scores: Weights) -> NDArray[np.float64]:
        """Margins ``[rows, outputs]`` from decrypted integers."""
        return np.asarray(scores / self.unit)

    def answers(self, margins: NDArray[np.float64]) -> NDArray[Any]:
        """What the model says at these margins: a class as text, or a number in the target's units; ``[rows]``."""
        if self.target.bounds:
            lower, upper = self.target.bounds
            return np.asarray(np.clip(lower + (margins[:, 0] + 1) / 2 * (upper - lower), lower, upper), np.float64)
        chosen = (margins[:, 0] > self.threshold).astype(np.intp) if self.target.outputs == 1 else margins.argmax(axis=1)
        return np.array(self.target.classes).take(chosen)

    def to_bytes(self) -> bytes:
        """The public model as a message."""
        return prefix_of(Kind.MODEL, self._plain, 0)

    @classmethod
    def from_bytes(cls, data: bytes) -> PublicModel:
        """The public model that `to_bytes` wrote.

        Raises:
            MessageDamaged: it is cut short, changed beyond reading, or none.
        """
        message = parse(data, Kind.MODEL)
        header = message.header
        try:
            columns, target, plan = columns_from_dict(header["columns"]), Target.from_dict(header["target"]), Plan.from_dict(header["plan"])
            made = cls(columns, target, plan, header["unit"], header["threshold"], SealedTo.from_bytes(header["scorer"]))
            if not (type(made.unit) is float and type(made.threshold) is float and made.unit > 0 and math.isfinite(made.unit)):
                raise ValueError("no numbers")
            if plan.columns != columns.count or plan.outputs != target.outputs or message.seal or len(message.body) or made.to_bytes() != data:
                raise ValueError("parts that do not belong together")
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, TacitError) as error:
            raise MessageDamaged("Expected a complete public model; its parts do not belong together. Fetch it again") from error
        return made
