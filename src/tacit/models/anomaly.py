"""An additive model whose margins say how unusual a record is, and how usual that margin is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tacit.errors import UsageError
from tacit.guarantee import Guarantee
from tacit.models.additive import AdditiveModel
from tacit.models.base import Margins, Provenance
from tacit.questions.losses import MARGIN_UNIT

ALARM = 0.99


@dataclass(frozen=True, eq=False)
class AnomalyModel(AdditiveModel):
    """Margins are nats: how much rarer the cells of a record are than those of a typical one, added up over all partitions.

    Args:
        edges: increasing margin steps, int32 ``[levels]``.
        below: which share of the training records lies below each edge, float64 ``[levels]``; noisy, never falling.

    `predict_proba` gives that share for «unusual»: 0.999 means that one training record in a thousand was as unusual. It is no probability of an
    attack. `predict` says «unusual» from 0.99 on.
    """

    edges: NDArray[np.int32] = field(default_factory=lambda: np.zeros(1, np.int32))
    below: NDArray[np.float64] = field(default_factory=lambda: np.zeros(1))
    kind: ClassVar[str] = "anomaly@1"

    def __post_init__(self) -> None:
        super().__post_init__()
        shares = np.concatenate([[0.0], self.below, [1.0 + 1e-9]])
        if self.edges.dtype != np.int32 or self.edges.shape != self.below.shape or not len(self.edges):
            raise UsageError("Expected one share below each edge of the margins.")
        if (np.diff(self.edges.astype(np.int64)) <= 0).any() or not (np.diff(shares) >= -1e-9).all():
            raise UsageError("Expected edges that increase, and shares that do not fall, between 0 and 1.")
        if self.target.outputs != 1 or self.target.bounds:
            raise UsageError("Expected a target that is usual or unusual.")

    def probabilities_at(self, margins: Margins) -> NDArray[np.float64]:
        """The share of training records that are more, and less, unusual: float64 ``[rows, 2]``, the second is the score."""
        place = np.searchsorted(self.edges, np.rint(margins[:, 0] * MARGIN_UNIT), side="right")
        rank = np.concatenate([[0.0], self.below])[place]
        return np.column_stack([1 - rank, rank])

    def margin_at(self, share: float) -> float:
        """The smallest margin, in nats, below which at least this share of the training records lies; infinite if there is none.

        Raises:
            UsageError: unless the share is between 0 and 1.
        """
        if not 0 < share < 1:
            raise UsageError(f"Expected a share between 0 and 1; got {share!r}.")
        place = int(np.searchsorted(self.below, share))
        return float(self.edges[place]) / MARGIN_UNIT if place < len(self.edges) else math.inf

    def answers(self, margins: Margins) -> NDArray[Any]:
        """«unusual» where at most one training record in a hundred was as unusual."""
        return np.array(self.classes).take((self.probabilities_at(margins)[:, 1] >= ALARM).astype(np.intp))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Those of the additive model, and how margins are spread."""
        return {**super().arrays(), "margins.edges": self.edges, "margins.below": self.below}

    @classmethod
    def from_parts(
        cls, structure: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], *, guarantee: Guarantee, provenance: Provenance,
        evidence: tuple[Mapping[str, Any], ...] = (),
    ) -> AnomalyModel:
        """The model that `structure` and `arrays` described."""
        plain = AdditiveModel.from_parts(structure, arrays, guarantee=guarantee, provenance=provenance, evidence=evidence)
        return cls(plain.frame, plain.updates, guarantee, provenance, evidence, arrays["margins.edges"], arrays["margins.below"])
