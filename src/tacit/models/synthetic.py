"""What made-up records are drawn from: released contingency tables, and how values lie within bins."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tacit.errors import UsageError
from tacit.guarantee import Guarantee
from tacit.models.base import Artefact, Provenance, require_honest
from tacit.questions import Binning


@dataclass(frozen=True, eq=False)
class SyntheticModel(Artefact):
    """Noisy tables over groups of features, from which `tacit.learn.sample_records` draws records that nobody owns.

    Args:
        binning: the features and their bins.
        cliques: the groups, as feature numbers.
        tables: noisy counts, one array per group, float64.
        sigma: standard deviation of the noise of each count.
        codes: per feature how records lie over its codes, float64 ``[code_count]``, not negative: post-processed noisy counts.
        total: noised number of records.
        guarantee: what the tables promise, and so every record drawn from them.
        provenance: where they come from.
        evidence: what was measured about them.
        whole: features whose numbers are whole, by declaration.

    Raises:
        UsageError: if the parts do not belong together.
    """

    binning: Binning
    cliques: tuple[tuple[int, ...], ...]
    tables: tuple[NDArray[np.float64], ...]
    sigma: float
    codes: tuple[NDArray[np.float64], ...]
    total: float
    guarantee: Guarantee
    provenance: Provenance
    evidence: tuple[Mapping[str, Any], ...] = ()
    whole: tuple[str, ...] = ()
    kind: ClassVar[str] = "synthetic@1"

    def __post_init__(self) -> None:
        counts, names = self.binning.counts, self.binning.domain.names
        shapes = [tuple(counts[feature] for feature in clique) for clique in self.cliques]
        if [table.shape for table in self.tables] != shapes or not all(np.isfinite(table).all() for table in self.tables):
            raise UsageError("Expected one table of finite counts for each group of features, in the shape of its bins.")
        if [len(mass) for mass in self.codes] != [len(table) for table in self.binning.tables] or not all((mass >= 0).all() for mass in self.codes):
            raise UsageError("Expected for each feature a mass of every code that is not negative.")
        if {feature for clique in self.cliques for feature in clique} != set(range(len(names))) or not set(self.whole) <= set(names):
            raise UsageError("Expected every feature in a group.")
        if not (math.isfinite(self.sigma) and self.sigma > 0 and math.isfinite(self.total) and self.total >= 1):
            raise UsageError("Expected noise above zero and at least one record.")
        require_honest(self.guarantee, self.provenance)

    def structure(self) -> dict[str, Any]:
        """Features, bins, groups and noise."""
        return {
            "binning": self.binning.to_dict(), "cliques": [list(clique) for clique in self.cliques], "sigma": self.sigma, "total": self.total,
            "whole": list(self.whole),
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Tables and masses, by number."""
        tables = {f"table.{place:04d}": table for place, table in enumerate(self.tables)}
        return tables | {f"codes.{place:04d}": mass for place, mass in enumerate(self.codes)}

    @classmethod
    def from_parts(
        cls, structure: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], *, guarantee: Guarantee, provenance: Provenance,
        evidence: tuple[Mapping[str, Any], ...] = (),
    ) -> SyntheticModel:
        """The model that `structure` and `arrays` described."""
        binning, cliques = Binning.from_dict(structure["binning"]), tuple(tuple(clique) for clique in structure["cliques"])
        tables = tuple(arrays[f"table.{place:04d}"] for place in range(len(cliques)))
        codes = tuple(arrays[f"codes.{place:04d}"] for place in range(len(binning.tables)))
        if len(arrays) != len(tables) + len(codes):
            raise UsageError("Expected no other arrays.")
        return cls(
            binning, cliques, tables, float(structure["sigma"]), codes, float(structure["total"]), guarantee, provenance, evidence,
            tuple(structure["whole"]),
        )
