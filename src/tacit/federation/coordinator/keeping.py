"""What a study leaves behind, in a folder of its own: the model, and its report for programs and for people."""

from __future__ import annotations

import json
from pathlib import Path

from tacit.federation.coordinator.folder import CoordinatorFolder
from tacit.federation.coordinator.reporting import as_html
from tacit.federation.coordinator.running import StudyReport
from tacit.federation.folders import write_bytes
from tacit.federation.learners import Learned
from tacit.models import save


def keep(folder: CoordinatorFolder, model: Learned | None, report: StudyReport) -> tuple[Path, ...]:
    """Write them under ``studies/``; an earlier run of the same edition is kept beside it.

    Raises:
        StorageError: if they cannot be written.
    """
    place = folder.root / "studies" / _free(folder.root / "studies", f"{report.card.name}-{report.card.edition}")
    (folder.root / "studies").mkdir(exist_ok=True)
    written = [place / "report.json", place / "report.html"]
    write_bytes(written[0], (json.dumps(report.to_dict(), indent=1, ensure_ascii=False) + "\n").encode())
    write_bytes(written[1], as_html(report).encode())
    if model is not None:
        written.append(place / "model.tacit")
        save(model, written[-1], folder.key)
    return tuple(written)


def _free(folder: Path, name: str) -> str:
    taken = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    return next(found for found in (name, *(f"{name}.{count}" for count in range(2, 10_000))) if found not in taken)
