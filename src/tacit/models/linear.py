"""A weighted sum of public, bounded columns: logistic regression, its multiclass form, and ridge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tacit.domain import Domain
from tacit.errors import UsageError
from tacit.guarantee import Guarantee
from tacit.models.base import Margins, Predictor, Provenance, require_honest, require_loss
from tacit.models.explain import Explanation, Shape, linear_explanation, linear_shapes
from tacit.questions import Target
from tacit.questions.linear import DESIGN_UNIT, design, design_names


@dataclass(frozen=True, eq=False)
class LinearModel(Predictor):
    """Weights over the design of `tacit.questions.linear.design`.

    Args:
        to: what is predicted.
        loss: logistic, softmax or squared.
        features: their public domain, in order.
        weights: float64 ``[outputs, width]``: margin per 1.0 of each column of the design, the intercept first.
        guarantee: what the weights promise the units they were learned from.
        provenance: where the model came from.
        evidence: measurements made on it, in plain form.

    Raises:
        UsageError: if the weights do not fit the design or are not finite, or a model made with a test seed claims a guarantee.
    """

    to: Target
    loss: str
    features: Domain
    weights: NDArray[np.float64]
    guarantee: Guarantee
    provenance: Provenance
    evidence: tuple[Mapping[str, Any], ...] = ()
    kind: ClassVar[str] = "linear@1"

    def __post_init__(self) -> None:
        require_honest(self.guarantee, self.provenance)
        require_loss(self.to, self.loss)
        shape = (self.to.outputs, len(design_names(self.features)))
        if self.weights.dtype != np.float64 or self.weights.shape != shape or not np.isfinite(self.weights).all():
            raise UsageError(f"Expected finite float64 weights of shape {shape}; got {self.weights.dtype} of {self.weights.shape}.")

    @property
    def target(self) -> Target:
        """What is predicted."""
        return self.to

    @property
    def domain(self) -> Domain:
        """The features, in order."""
        return self.features

    def batch_margins(self, columns: Mapping[str, pa.Array], rows: int) -> Margins:
        """Margins float64 ``[rows, outputs]``."""
        return np.asarray(design(columns, rows, self.features).astype(np.float64) @ (self.weights.T / DESIGN_UNIT))

    def explain(self, row: Any) -> Explanation:
        """What each feature adds to the margins of one record.

        Args:
            row: a mapping from feature to value, or any table with one row.
        """
        return linear_explanation(self, row)

    def shape_functions(self) -> dict[str, Shape]:
        """What each feature contributes: every category, and numbers at both bounds."""
        return linear_shapes(self)

    def structure(self) -> dict[str, Any]:
        """Everything that is no array."""
        return {"target": self.to.to_dict(), "loss": self.loss, "domain": self.features.to_dict()}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The weights."""
        return {"weights": self.weights}

    @classmethod
    def from_parts(
        cls, structure: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], *, guarantee: Guarantee, provenance: Provenance,
        evidence: tuple[Mapping[str, Any], ...] = (),
    ) -> LinearModel:
        """The model that `structure` and `arrays` described.

        Raises:
            ValueError, KeyError, UsageError: if the parts do not belong together.
        """
        target, domain = Target.from_dict(structure["target"]), Domain.from_dict(structure["domain"])
        return cls(target, str(structure["loss"]), domain, arrays["weights"], guarantee, provenance, evidence)
