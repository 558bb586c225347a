"""The refresh: a model trained on a newer window is compared with the one in service, and takes its place.

The comparison looks at labelled records and is owner-side. What was charged for the old model stays charged: its answers are still out there.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tacit.errors import DataError, UsageError
from tacit.guard import Ledger, Records
from tacit.models import Model, load, save, verify_against
from tacit.models.base import probabilities
from tacit.pilot.gates import Gates
from tacit.pilot.measure import area

LOSSES = {"auc": "auc_loss", "recall": "recall_loss", "accuracy": "auc_loss", "r2": "auc_loss"}
"""Which gate each measure is held against: a loss of more than that, in shares, is too much."""


@dataclass(frozen=True)
class Standing:
    """What one model does on labelled records. Not private: for the owner's side."""

    digest: str
    guarantee: str
    measures: Mapping[str, float]


@dataclass(frozen=True)
class Comparison:
    """Two models on the same records.

    Args:
        old: in service.
        new: the candidate.
        rows: labelled records they were compared on.
        losses: what the new one loses, by measure; negative where it gains.
        failed: the measures it loses too much of, by the gates.
    """

    old: Standing
    new: Standing
    rows: int
    losses: Mapping[str, float]
    failed: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether the new one may take the old one's place."""
        return not self.failed

    def to_dict(self) -> dict[str, Any]:
        """Plain form. Owner-side."""
        sides = {
            name: {"digest": side.digest, "guarantee": side.guarantee, "measures": dict(side.measures)}
            for name, side in (("old", self.old), ("new", self.new))
        }
        return {**sides, "rows": self.rows, "losses": dict(self.losses), "failed": list(self.failed), "passed": self.passed, "released": False}


def compare(old: Model, new: Model, records: Records, *, gates: Gates, alerts: int | None = None) -> Comparison:
    """Measure both models on labelled records, and hold what the new one loses against the gates.

    Args:
        old: the model in service.
        new: the model that is to replace it.
        records: labelled records that neither was trained on.
        gates: of the owner's policy.
        alerts: how many records may be looked at; 2 % of them, and at least as many as are positive, if ``None``.

    Raises:
        UsageError: if the two do not predict the same thing.
        DataError: if the records lack a column, or have no label that can be used.
    """
    if (old.target.column, old.classes, bool(old.target.bounds)) != (new.target.column, new.classes, bool(new.target.bounds)):
        raise UsageError(
            f"Expected two models that predict the same; one predicts «{old.target.column}» as {', '.join(old.classes) or 'a number'}, the other "
            f"«{new.target.column}» as {', '.join(new.classes) or 'a number'}."
        )
    table = records.table(tuple(dict.fromkeys((*old.domain.names, *new.domain.names, old.target.column))))
    labels = old.target.labels(table.column(old.target.column).combine_chunks())
    known = old.target.known(labels)
    if not known.any():
        raise DataError(f"Expected labels in «{old.target.column}»; there is none that the model knows. Check the column.")
    table, labels = table.filter(pa.array(known)), labels[known]
    sides = [Standing(model.digest, str(model.guarantee), quality(model, table, labels, alerts=alerts)) for model in (old, new)]
    losses = {name: sides[0].measures[name] - sides[1].measures[name] for name in sides[0].measures}
    failed = tuple(name for name, loss in losses.items() if name in LOSSES and loss > getattr(gates, LOSSES[name]) + 1e-12)
    return Comparison(sides[0], sides[1], len(labels), losses, failed)


def quality(model: Model, table: pa.Table, labels: NDArray[np.int32], *, alerts: int | None = None) -> dict[str, float]:
    """How well a model does: AUC, average precision and recall for two classes, accuracy for more, R² for a number."""
    from sklearn.metrics import average_precision_score, r2_score

    margins = model.margins(table)
    if model.target.bounds:
        return {"r2": float(r2_score(labels, margins[:, 0] * 4096))}
    if model.target.outputs > 1:
        return {"accuracy": float((margins.argmax(axis=1) == labels).mean())}
    scores, truth = probabilities(margins)[:, 1], labels.astype(np.int64)
    positives = int(truth.sum())
    if not 0 < positives < len(truth):
        raise DataError("Expected records of both classes to compare on; there is only one. Add records.")
    budget = alerts or max(positives, round(0.02 * len(truth)))
    found = truth[np.argsort(-scores, kind="stable")[:budget]].sum()
    return {"auc": area(scores, truth), "average_precision": float(average_precision_score(truth, scores)), "recall": float(found / positives)}


def promote(candidate: Path, place: Path, *, ledger: Ledger, evidence: Path | None = None) -> str | None:
    """Put a model into service: note it in the ledger, then replace the file, all or nothing; the old one is kept beside it.

    Args:
        candidate: the model that takes over.
        place: where the model in service lies, or will lie.
        ledger: that paid for the candidate.
        evidence: a file that the decision rests on, such as a pilot's report; its digest is noted.

    Returns:
        The digest of the model that was superseded, hex; ``None`` if there was none.

    Raises:
        VerificationError: if the candidate or the model in service is not what it claims to be, or the ledger did not pay for it.
        UsageError: if both are the same model, or predict different things.
        StorageError: if a file or the ledger cannot be written; then the model in service is unchanged.
    """
    new, old = load(candidate, trusted=ledger.public_key), load(place) if place.exists() else None
    charge = verify_against(new, ledger.entries())
    if old is not None and old.digest == new.digest:
        raise UsageError(f"Expected another model than the one in service at «{place}»; they are the same.")
    if old is not None and (old.target.column, old.classes) != (new.target.column, new.classes):
        raise UsageError(f"Expected a model that predicts «{old.target.column}» like the one in service; it predicts «{new.target.column}».")
    body = {
        "model": new.digest, "charge": charge, "guarantee": new.guarantee.to_dict(), "supersedes": None if old is None else old.digest,
        "evidence": None if evidence is None else _digest(evidence),
    }
    ledger.record("promotion", new.guarantee.scope, body)
    if old is not None:
        save_beside(place, old.digest)
    save(new, place, ledger.signing_key)
    return None if old is None else old.digest


def save_beside(place: Path, digest: str) -> Path:
    """Keep the file at ``place`` under a name that tells it apart, as a hard link where the disk has them."""
    kept = place.with_name(f"{place.stem}-{digest[:12]}{place.suffix}")
    if not kept.exists():
        try:
            os.link(place, kept)
        except OSError:
            kept.write_bytes(place.read_bytes())
    return kept


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(f"Expected evidence at «{path}»; {os.strerror(error.errno or 0)}.") from None
