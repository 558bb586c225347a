"""A sum of cell values over public partitions: the model that most learners return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tacit.domain import Domain
from tacit.errors import UsageError
from tacit.guarantee import Guarantee
from tacit.models.base import Margins, Predictor, Provenance, require_honest
from tacit.models.explain import Explanation, Shape, additive_explanation, additive_shapes
from tacit.models.scoring import Scorer
from tacit.questions import Binning, Frame, Partition, Target, Update
from tacit.questions.losses import MARGIN_UNIT

_LARGEST = 1 << 31


@dataclass(frozen=True, eq=False)
class AdditiveModel(Predictor):
    """Public structure, private values, and what they promise.

    Args:
        frame: target, loss and bins.
        updates: partitions and the margin steps of their cells, in the order they were learned.
        guarantee: what the values promise the units they were learned from; about the records scored later it says nothing.
        provenance: where the model came from.
        evidence: measurements made on it, in plain form.

    Raises:
        UsageError: if a partition does not fit the bins, values do not fit their partition, margins could overflow 32 bits, or a model
            made with a test seed claims a guarantee.
    """

    frame: Frame
    updates: tuple[Update, ...]
    guarantee: Guarantee
    provenance: Provenance
    evidence: tuple[Mapping[str, Any], ...] = ()
    kind: ClassVar[str] = "additive@1"

    def __post_init__(self) -> None:
        require_honest(self.guarantee, self.provenance)
        reach = np.zeros(self.target.outputs, np.int64)
        for update in self.updates:
            self._require_fit(update)
            reach += np.abs(update.values.astype(np.int64)).max(axis=0)
        if reach.max(initial=0) >= _LARGEST:
            raise UsageError("Expected margins below 2^31 steps (524,288 in natural units); the cell values add up to more. Clip them.")

    def _require_fit(self, update: Update) -> None:
        partition, counts = update.partition, self.frame.binning.counts
        places = zip(partition.features, partition.tables, strict=True)
        if not all(0 <= feature < len(counts) and len(table) >= counts[feature] for feature, table in places):
            raise UsageError("Expected partitions of the frame's features with one addend per bin; one does not fit.")
        if update.values.dtype != np.int32 or update.values.shape != (partition.size, self.target.outputs):
            raise UsageError(
                f"Expected int32 values of shape {(partition.size, self.target.outputs)}; got {update.values.dtype} of {update.values.shape}."
            )

    @property
    def target(self) -> Target:
        """What is predicted."""
        return self.frame.target

    @property
    def loss(self) -> str:
        """logistic, softmax or squared."""
        return self.frame.loss

    @property
    def domain(self) -> Domain:
        """The features, in order."""
        return self.frame.binning.domain

    @cached_property
    def scorer(self) -> Scorer:
        """The same sum, arranged for speed."""
        return Scorer.compile(self.frame.binning, self.updates, self.target.outputs)

    def batch_margins(self, columns: Mapping[str, pa.Array], rows: int) -> Margins:
        """Margins float64 ``[rows, outputs]``."""
        return self.scorer.margins(self.frame.binning.bins(columns, rows)) / MARGIN_UNIT

    def explain(self, row: Any) -> Explanation:
        """Why one record has the margin it has, as a list of cells that add up to it; see `Explanation`.

        Args:
            row: a mapping from feature to value, or any table with one row.
        """
        return additive_explanation(self, row)

    def shape_functions(self) -> dict[str, Shape]:
        """What each feature contributes on its own, bin by bin; effects of several features together are not in it."""
        return additive_shapes(self)

    def structure(self) -> dict[str, Any]:
        """Everything that is no array."""
        return {"target": self.target.to_dict(), "loss": self.loss, "domain": self.domain.to_dict()}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything that is one: bins, each different partition once, and the values of every update."""
        unique = list({update.partition.digest: update.partition for update in self.updates}.values())
        place = {partition.digest: index for index, partition in enumerate(unique)}
        levels = [(feature, table) for p in unique for feature, table in zip(p.features, p.tables, strict=True)]
        return {
            **bins_to_arrays(self.frame.binning),
            "partitions.sizes": _int32(p.size for p in unique),
            "partitions.levels": _int32(len(p.tables) for p in unique),
            "levels.features": _int32(feature for feature, _ in levels),
            "levels.bins": _int32(len(table) for _, table in levels),
            "levels.tables": _joined([table for _, table in levels]),
            "updates.partitions": _int32(place[update.partition.digest] for update in self.updates),
            "updates.values": np.concatenate([np.empty((0, self.target.outputs), np.int32), *(u.values for u in self.updates)]),
        }

    @classmethod
    def from_parts(
        cls, structure: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], *, guarantee: Guarantee, provenance: Provenance,
        evidence: tuple[Mapping[str, Any], ...] = (),
    ) -> AdditiveModel:
        """The model that `structure` and `arrays` described.

        Raises:
            ValueError, KeyError, IndexError, UsageError: if the parts do not belong together.
        """
        domain = Domain.from_dict(structure["domain"])
        frame = Frame(Target.from_dict(structure["target"]), str(structure["loss"]), bins_from_arrays(domain, arrays))
        partitions = _partitions(arrays)
        chosen = [partitions[index] for index in arrays["updates.partitions"].tolist()]
        values = _split(arrays["updates.values"], np.array([partition.size for partition in chosen], np.int32))
        updates = tuple(Update(partition, part) for partition, part in zip(chosen, values, strict=True))
        return cls(frame, updates, guarantee, provenance, evidence)


def bins_to_arrays(binning: Binning) -> dict[str, NDArray[Any]]:
    """A binning's tables as two arrays of an artefact."""
    return {"bins.codes": _int32(len(table) for table in binning.tables), "bins.tables": _joined(binning.tables)}


def bins_from_arrays(domain: Domain, arrays: Mapping[str, NDArray[Any]]) -> Binning:
    """The binning that `bins_to_arrays` described.

    Raises:
        ValueError, KeyError, UsageError: if the parts do not belong together.
    """
    return Binning(domain, tuple(_split(arrays["bins.tables"], arrays["bins.codes"])))


def _partitions(arrays: Mapping[str, NDArray[Any]]) -> list[Partition]:
    tables = _split(arrays["levels.tables"], arrays["levels.bins"])
    features, sizes = arrays["levels.features"].tolist(), arrays["partitions.sizes"].tolist()
    ends = list(accumulate(arrays["partitions.levels"].tolist(), initial=0))
    if ends[-1] != len(features) or len(features) != len(tables):
        raise ValueError("levels do not add up")
    spans = zip(pairwise(ends), sizes, strict=True)
    return [Partition(tuple(features[low:high]), tuple(tables[low:high]), size) for (low, high), size in spans]


def _split(joined: NDArray[Any], lengths: NDArray[Any]) -> list[NDArray[Any]]:
    """Pieces of the given lengths along the first axis; all of it or `ValueError`."""
    if (len(lengths) and int(lengths.min()) < 0) or int(lengths.sum(dtype=np.int64)) != len(joined):
        raise ValueError("lengths do not add up")
    return np.split(joined, np.cumsum(lengths, dtype=np.int64))[:-1]


def _joined(tables: Any) -> NDArray[np.uint8]:
    return np.concatenate([np.empty(0, np.uint8), *tables])


def _int32(numbers: Any) -> NDArray[np.int32]:
    return np.array(list(numbers), np.int32)
