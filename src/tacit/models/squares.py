"""A network whose one hidden layer squares: small, and exactly a quadratic form of its input, so that no ciphertext is ever multiplied by another."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tacit.domain import Domain
from tacit.errors import UsageError
from tacit.guarantee import Guarantee, PrivacyUnit, Relation, Scope, TrustModel
from tacit.models.base import Margins, Predictor, Provenance, require_honest, require_loss
from tacit.questions import Target
from tacit.questions.linear import DESIGN_UNIT, design, design_names


@dataclass(frozen=True, eq=False)
class SquareNetwork(Predictor):
    """``second @ (first @ x + first_bias)² + second_bias`` over the design x of `tacit.questions.linear.design`, in [-1, 1], without its intercept.

    Args:
        to: what is predicted.
        loss: logistic, softmax or squared.
        features: their public domain, in order.
        first: float64 weights ``[units, width]`` and biases ``[units]``.
        second: float64 weights ``[outputs, units]`` and biases ``[outputs]``.
        guarantee: what the weights promise the units they were learned from.
        provenance: where the network came from.
        evidence: measurements made on it, in plain form.

    Raises:
        UsageError: the layers do not fit each other, the features or the target.
    """

    to: Target
    loss: str
    features: Domain
    first: tuple[NDArray[np.float64], NDArray[np.float64]]
    second: tuple[NDArray[np.float64], NDArray[np.float64]]
    guarantee: Guarantee
    provenance: Provenance
    evidence: tuple[Mapping[str, Any], ...] = ()
    kind: ClassVar[str] = "squares@1"

    def __post_init__(self) -> None:
        require_honest(self.guarantee, self.provenance)
        require_loss(self.to, self.loss)
        units, width = len(self.first[1]), len(design_names(self.features)) - 1
        shapes = [(units, width), (units,), (self.to.outputs, units), (self.to.outputs,)]
        found = [*self.first, *self.second]
        if [array.shape for array in found] != shapes or not all(np.isfinite(array).all() for array in found):
            raise UsageError(f"Expected finite weights and biases of shapes {shapes}; got {[array.shape for array in found]}.")

    @classmethod
    def of(
        cls, target: Target, domain: Domain, *, first: tuple[NDArray[np.float64], NDArray[np.float64]],
        second: tuple[NDArray[np.float64], NDArray[np.float64]],
    ) -> SquareNetwork:
        """A network trained elsewhere, without privacy: it promises nothing (epsilon=inf) to whom it was learned from."""
        loss = "squared" if target.bounds else "softmax" if target.outputs > 1 else "logistic"
        scope = Scope("trained elsewhere")
        nothing = Guarantee(math.inf, 1.0, PrivacyUnit(), Relation.ADD_REMOVE, scope, TrustModel.curator(), "none")
        return cls(target, loss, domain, first, second, nothing, Provenance(plan="", notes=("trained elsewhere, without privacy",)))

    @property
    def target(self) -> Target:
        """What is predicted."""
        return self.to

    @property
    def domain(self) -> Domain:
        """The features, in order."""
        return self.features

    @cached_property
    def form(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """The same function as ``x·A·x + b·x + c`` for each output: ``[outputs, width, width]``, ``[outputs, width]`` and ``[outputs]``."""
        (weights, bias), (outer, constant) = self.first, self.second
        quadratic = np.einsum("ou,ui,uj->oij", outer, weights, weights)
        return quadratic, 2 * (outer * bias) @ weights, outer @ (bias * bias) + constant

    def batch_margins(self, columns: Mapping[str, pa.Array], rows: int) -> Margins:
        """Margins float64 ``[rows, outputs]``."""
        x = design(columns, rows, self.features)[:, 1:].astype(np.float64) / DESIGN_UNIT
        hidden = x @ self.first[0].T + self.first[1]
        return np.asarray((hidden * hidden) @ self.second[0].T + self.second[1])

    def structure(self) -> dict[str, Any]:
        """Everything that is no array."""
        return {"target": self.to.to_dict(), "loss": self.loss, "domain": self.features.to_dict()}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Weights and biases."""
        names = ("first.weight", "first.bias", "second.weight", "second.bias")
        return dict(zip(names, (*self.first, *self.second), strict=True))

    @classmethod
    def from_parts(
        cls, structure: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], *, guarantee: Guarantee, provenance: Provenance,
        evidence: tuple[Mapping[str, Any], ...] = (),
    ) -> SquareNetwork:
        """The network that `structure` and `arrays` described.

        Raises:
            ValueError, KeyError, UsageError: if the parts do not belong together.
        """
        first, second = ((arrays[f"{layer}.weight"], arrays[f"{layer}.bias"]) for layer in ("first", "second"))
        target, domain = Target.from_dict(structure["target"]), Domain.from_dict(structure["domain"])
        return cls(target, str(structure["loss"]), domain, first, second, guarantee, provenance, evidence)
