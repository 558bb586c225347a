"""How far records lie from a public centre along public directions: counts between public edges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tacit.domain import Domain
from tacit.errors import UsageError
from tacit.guarantee import Relation
from tacit.questions.base import Bounds, RecordSource, SessionCache, Sums
from tacit.questions.counts import clipped_counts, clipped_together, count_bounds
from tacit.questions.linear import DESIGN_UNIT, design, design_names
from tacit.questions.losses import MARGIN_UNIT
from tacit.questions.structure import pack, unpack

DIRECTION_UNIT = 1 << 20
"""Steps per 1.0 of a direction."""

MOST_DIRECTIONS = 1 << 10
_STANDARD = 1 << 10  # steps per 1.0 along a direction
_FARTHEST = 1 << 20
_MOST_STEPS = 1 << 30
_ROWS = 4_096


def distances(columns: dict[str, pa.Array], rows: int, *, domain: Domain, directions: NDArray[np.int32]) -> NDArray[np.int64]:
    """Half the squared length of each record along some directions, in margin steps: int64 ``[rows]``.

    Whole numbers below 2^53 all along, so that the same record has the same distance whatever computes it.

    Args:
        columns: of the records.
        rows: how many.
        domain: the features.
        directions: int32 ``[directions, width]``, in steps of `DIRECTION_UNIT` per 1.0 of the design.
    """
    out, turned = np.empty(rows, np.int64), directions.T.astype(np.float64)
    for start in range(0, rows, _ROWS):
        count = min(_ROWS, rows - start)
        matrix = design({name: columns[name].slice(start, count) for name in domain.names}, count, domain).astype(np.float64)
        along = np.clip(np.rint(matrix @ turned / (DESIGN_UNIT * DIRECTION_UNIT // _STANDARD)), -_FARTHEST, _FARTHEST)
        squares = np.einsum("ij,ij->i", along, along)
        out[start : start + count] = np.minimum(squares * (MARGIN_UNIT / (2 * _STANDARD**2)), _MOST_STEPS).astype(np.int64)
    return out


@dataclass(frozen=True, eq=False)
class SpreadCounts:
    """How many records have a distance between public edges.

    Args:
        domain: the features.
        directions: as in `distances`, at most 1,024 of them.
        edges: increasing distances, int32 ``[levels - 1]``; a record counts above an edge that it reaches.
        clip: largest length of one unit's counts, in grid integers; ``None`` if every row is a unit.

    Guarantees:
        A row counts once. A unit with several rows is clipped to ``clip``.

    Raises:
        UsageError: if directions do not fit the design, or edges do not increase.
    """

    domain: Domain
    directions: NDArray[np.int32]
    edges: NDArray[np.int32]
    clip: int | None = None
    kind: ClassVar[str] = "spread_counts@1"

    def __post_init__(self) -> None:
        require_directions(self.directions, self.domain)
        if not len(self.edges) or (np.diff(self.edges.astype(np.int64)) <= 0).any():
            raise UsageError("Expected edges that increase.")

    @property
    def size(self) -> int:
        """Number of coordinates: below the first edge, between each two, and from the last edge on."""
        return len(self.edges) + 1

    def bounds(self, relation: Relation) -> Bounds:
        """One row counts once."""
        return count_bounds(1, self.size, clip=self.clip, relation=relation)

    def evaluate(self, records: RecordSource, cache: SessionCache) -> Sums:
        """int64 ``[size]``."""
        total = np.zeros(self.size, np.int64)
        for batch in records.batches(self.domain.names):
            far = distances(dict(batch.columns), batch.rows, domain=self.domain, directions=self.directions)
            places = np.searchsorted(self.edges, far, side="right").astype(np.int64)
            total += clipped_counts(places, clipped_together(batch, self.clip), size=self.size, clip=self.clip)
        return total

    def to_dict(self) -> dict[str, Any]:
        """Canonical plain form."""
        return {
            "kind": self.kind, "domain": self.domain.to_dict(), "directions": pack(self.directions), "edges": pack(self.edges), "clip": self.clip,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> SpreadCounts:
        """The question that `to_dict` described."""
        domain = Domain.from_dict(data["domain"])
        directions = unpack(data["directions"], "int32").reshape(-1, len(design_names(domain)))
        return cls(domain, directions, unpack(data["edges"], "int32"), data["clip"])


def require_directions(directions: NDArray[np.int32], domain: Domain) -> None:
    """Raise `UsageError` unless directions fit the design of a domain and are short enough for exact sums."""
    width = len(design_names(domain))
    if directions.dtype != np.int32 or directions.ndim != 2 or directions.shape[1] != width or not 1 <= len(directions) <= MOST_DIRECTIONS:
        raise UsageError(f"Expected between 1 and {MOST_DIRECTIONS} directions of width {width}, as int32.")
    if np.abs(directions.astype(np.float64)).sum(axis=1).max() * DESIGN_UNIT >= 2.0**53:
        raise UsageError("Expected directions short enough for sums below 2^53; scale them down.")
