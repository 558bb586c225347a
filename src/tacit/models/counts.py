"""Released counts over time: what a forecast is made from, signed, with the noise they carry."""

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


@dataclass(frozen=True, eq=False)
class CountSeries(Artefact):
    """Noisy counts in consecutive bins of time, one column per series.

    Args:
        begin: where the first bin begins, seconds since 1970 (UTC).
        width: of a bin, in seconds.
        names: of the series.
        counts: float64 ``[bins, series]``; noisy, so that small ones may be negative.
        sigma: standard deviation of the noise of each count.
        longest: length that one unit's counts were clipped to.
        guarantee: what the release promises.
        provenance: where it comes from.
        evidence: what was measured about it.
        by: the column whose values the series are; empty for one series of all records.

    Raises:
        UsageError: if shapes or numbers do not belong together.
    """

    begin: int
    width: int
    names: tuple[str, ...]
    counts: NDArray[np.float64]
    sigma: float
    longest: float
    guarantee: Guarantee
    provenance: Provenance
    evidence: tuple[Mapping[str, Any], ...] = ()
    by: str = ""
    kind: ClassVar[str] = "counts@1"

    def __post_init__(self) -> None:
        shape = self.counts.shape
        if len(shape) != 2 or shape[1] != len(self.names) or not shape[0] or len(set(self.names)) != len(self.names):
            raise UsageError("Expected counts of at least one bin, with one column per series.")
        if not np.isfinite(self.counts).all() or not (math.isfinite(self.sigma) and self.sigma > 0 and self.longest >= 1 and self.width >= 1):
            raise UsageError("Expected finite counts, and noise, clip and width above zero.")
        require_honest(self.guarantee, self.provenance)

    @property
    def bins(self) -> int:
        """How many bins there are."""
        return len(self.counts)

    @property
    def end(self) -> int:
        """Where the last bin ends, seconds since 1970."""
        return self.begin + self.bins * self.width

    def structure(self) -> dict[str, Any]:
        """The calendar and the noise."""
        return {
            "begin": self.begin, "width": self.width, "names": list(self.names), "sigma": self.sigma, "longest": self.longest, "by": self.by,
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The counts."""
        return {"counts": self.counts}

    @classmethod
    def from_parts(
        cls, structure: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], *, guarantee: Guarantee, provenance: Provenance,
        evidence: tuple[Mapping[str, Any], ...] = (),
    ) -> CountSeries:
        """The counts that `structure` and `arrays` described."""
        return cls(
            int(structure["begin"]), int(structure["width"]), tuple(structure["names"]), arrays["counts"], float(structure["sigma"]),
            float(structure["longest"]), guarantee, provenance, evidence, str(structure["by"]),
        )
