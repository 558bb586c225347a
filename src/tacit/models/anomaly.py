"""Models whose margins say how unusual a record is, and how usual that margin is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tacit.domain import Domain
from tacit.guarantee import Guarantee
from tacit.models.additive import AdditiveModel
from tacit.models.base import Margins, Provenance, require_honest
from tacit.models.ranked import Ranked
from tacit.questions import Target
from tacit.questions.linear import design_names
from tacit.questions.losses import MARGIN_UNIT
from tacit.questions.spread import distances, require_directions


@dataclass(frozen=True, eq=False)
class AnomalyModel(Ranked, AdditiveModel):
    """Margins are nats: how much rarer the cells of a record are than those of a typical one, added up over all partitions.

    Args:
        edges: increasing margin steps, int32 ``[levels]``.
        below: which share of the training records lies below each edge, float64 ``[levels]``; noisy, never falling.
    """

    edges: NDArray[np.int32] = field(default_factory=lambda: np.zeros(1, np.int32))
    below: NDArray[np.float64] = field(default_factory=lambda: np.zeros(1))
    kind: ClassVar[str] = "anomaly@1"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_ranks()

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


@dataclass(frozen=True, eq=False)
class SubspaceModel(Ranked):
    """Margins are nats: half the squared distance from the centre, in standard deviations along the principal components of the training records.

    Args:
        to: «usual» or «unusual».
        features: their public domain, in order.
        directions: int32 ``[components, width]``, as in `tacit.questions.spread.distances`.
        edges: increasing margin steps, int32 ``[levels]``.
        below: which share of the training records lies below each edge, float64 ``[levels]``; noisy, never falling.
        guarantee: what all of it promises.
        provenance: where it comes from.
        evidence: what was measured about it.
    """

    to: Target
    features: Domain
    directions: NDArray[np.int32]
    edges: NDArray[np.int32]
    below: NDArray[np.float64]
    guarantee: Guarantee
    provenance: Provenance
    evidence: tuple[Mapping[str, Any], ...] = ()
    kind: ClassVar[str] = "subspace@1"

    def __post_init__(self) -> None:
        require_honest(self.guarantee, self.provenance)
        require_directions(self.directions, self.features)
        self.require_ranks()

    @property
    def target(self) -> Target:
        """Usual or unusual."""
        return self.to

    @property
    def domain(self) -> Domain:
        """The features, in order."""
        return self.features

    def batch_margins(self, columns: Mapping[str, pa.Array], rows: int) -> Margins:
        """Margins float64 ``[rows, 1]``."""
        return distances(dict(columns), rows, domain=self.features, directions=self.directions)[:, None] / MARGIN_UNIT

    def structure(self) -> dict[str, Any]:
        """Everything that is no array."""
        return {"target": self.to.to_dict(), "domain": self.features.to_dict()}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Components and ranks."""
        return {"directions": self.directions, "margins.edges": self.edges, "margins.below": self.below}

    @classmethod
    def from_parts(
        cls, structure: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], *, guarantee: Guarantee, provenance: Provenance,
        evidence: tuple[Mapping[str, Any], ...] = (),
    ) -> SubspaceModel:
        """The model that `structure` and `arrays` described."""
        domain = Domain.from_dict(structure["domain"])
        directions = arrays["directions"].reshape(-1, len(design_names(domain)))
        target = Target.from_dict(structure["target"])
        return cls(target, domain, directions, arrays["margins.edges"], arrays["margins.below"], guarantee, provenance, evidence)
