"""A study that was interrupted at the coordinator goes on: the same run, the same journal, until it has a report."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from tacit.federation.coordinator.folder import CoordinatorFolder
from tacit.federation.folders import read_fields, write_fields
from tacit.federation.study import StudyCard


@dataclass(frozen=True)
class Attempt:
    """One run of a study.

    Args:
        run: its public name.
        journal: the file of `tacit.federation.journal`.
        resumed: whether it was begun before.
    """

    run: str
    journal: Path
    resumed: bool

    @classmethod
    def of(cls, folder: CoordinatorFolder, card: StudyCard) -> Attempt:
        """The run of this very card that was interrupted, or a new one.

        Raises:
            StorageError: if it cannot be noted.
        """
        note = folder.path / "journals" / f"{card.digest[:32]}.json"
        resumed = note.exists()
        if not resumed:
            write_fields(note, {"version": 1, "run": card.run + secrets.token_hex(8)})
        run = str(read_fields(note, {"version", "run"}, hint="Delete it to begin the study anew, at a cost of its own.")["run"])
        return cls(run, note.with_suffix(".journal"), resumed)

    def over(self) -> None:
        """There is a report: nothing goes on from here."""
        for path in (self.journal, self.journal.with_suffix(".json")):
            path.unlink(missing_ok=True)
