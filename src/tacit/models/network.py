"""A small network over tabular features: affine maps with ReLU between them, run without PyTorch."""

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
from tacit.models.additive import bins_from_arrays, bins_to_arrays
from tacit.models.base import Margins, Predictor, Provenance, require_honest, require_loss
from tacit.questions import Frame, Target
from tacit.questions.dense import inputs_of, width_of


@dataclass(frozen=True, eq=False)
class NetworkModel(Predictor):
    """Layers over `inputs_of`.

    Args:
        frame: what is predicted, and the features' public bins.
        layers: float64 weights ``[out, in]`` and biases ``[out]`` of every affine map.
        guarantee: what the layers promise the units they were learned from.
        provenance: where the model came from.
        evidence: measurements made on it, in plain form.

    Raises:
        UsageError: if the layers do not fit each other, the features or the target, or a model made with a test seed claims a guarantee.
    """

    frame: Frame
    layers: tuple[tuple[NDArray[np.float64], NDArray[np.float64]], ...]
    guarantee: Guarantee
    provenance: Provenance
    evidence: tuple[Mapping[str, Any], ...] = ()
    kind: ClassVar[str] = "network@1"

    def __post_init__(self) -> None:
        require_honest(self.guarantee, self.provenance)
        require_loss(self.target, self.frame.loss)
        width = width_of(self.frame.binning)
        for weights, bias in self.layers:
            if weights.dtype != np.float64 or weights.ndim != 2 or weights.shape[1] != width or bias.shape != (len(weights),):
                raise UsageError(f"Expected layers that fit each other; one has weights of {weights.shape} over {width} inputs.")
            if not (np.isfinite(weights).all() and np.isfinite(bias).all()):
                raise UsageError("Expected finite weights; at least one is not.")
            width = len(weights)
        if not self.layers or width != self.target.outputs:
            raise UsageError(f"Expected {self.target.outputs} outputs; the last layer has {width}.")

    @property
    def target(self) -> Target:
        """What is predicted."""
        return self.frame.target

    @property
    def domain(self) -> Domain:
        """The features, in order."""
        return self.frame.binning.domain

    def batch_margins(self, columns: Mapping[str, pa.Array], rows: int) -> Margins:
        """Margins float64 ``[rows, outputs]``."""
        x = inputs_of(self.frame.binning, columns, rows).astype(np.float64)
        for place, (weights, bias) in enumerate(self.layers):
            x = x @ weights.T + bias
            if place < len(self.layers) - 1:
                np.maximum(x, 0, out=x)
        return x

    def structure(self) -> dict[str, Any]:
        """Everything that is no array."""
        return {"target": self.target.to_dict(), "loss": self.frame.loss, "domain": self.domain.to_dict(), "layers": len(self.layers)}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Bins, weights and biases."""
        found = bins_to_arrays(self.frame.binning)
        for place, (weights, bias) in enumerate(self.layers):
            found |= {f"layers.{place}.weight": weights, f"layers.{place}.bias": bias}
        return found

    @classmethod
    def from_parts(
        cls, structure: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], *, guarantee: Guarantee, provenance: Provenance,
        evidence: tuple[Mapping[str, Any], ...] = (),
    ) -> NetworkModel:
        """The model that `structure` and `arrays` described.

        Raises:
            ValueError, KeyError, UsageError: if the parts do not belong together.
        """
        binning = bins_from_arrays(Domain.from_dict(structure["domain"]), arrays)
        frame = Frame(Target.from_dict(structure["target"]), str(structure["loss"]), binning)
        layers = tuple((arrays[f"layers.{i}.weight"], arrays[f"layers.{i}.bias"]) for i in range(int(structure["layers"])))
        return cls(frame, layers, guarantee, provenance, evidence)
