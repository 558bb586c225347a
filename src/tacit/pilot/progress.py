"""What a pilot has finished, kept on disk so that an interrupted one goes on where it stopped.

Every finished stage is one small file, readable by its owner only, in a hidden folder beside the report. They hold measurements that are not
private, and are removed when the report is written.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tacit.crypto import hexdigest
from tacit.errors import DataError, StorageError
from tacit.pilot.results import Candidate, Control, EvidenceBook, NoisedValue, decoded, encoded

_FOLDER = ".progress"
_RUN = "run.json"


@dataclass(frozen=True)
class Stage:
    """What one stage left: a candidate or a control, noised values, and the domain it found."""

    candidate: Candidate | None = None
    control: Control | None = None
    noised: tuple[NoisedValue, ...] = ()
    domain: str | None = None


class Progress:
    """The stages of one run.

    Args:
        folder: where the report goes.
        job: everything that must be the same for a run to be continued, in plain form, but for the records.
        fingerprint: given a secret key, the fingerprint of the records.
        book: where evidence rows are noted; those of finished stages are put back.

    Raises:
        StorageError: if the folder cannot be written.
    """

    def __init__(self, folder: Path, job: dict[str, Any], *, fingerprint: Callable[[bytes], str], book: EvidenceBook) -> None:
        self._folder, self._book = folder / _FOLDER, book
        known = _read(self._folder / _RUN)
        same = known is not None and self._matches(known, job, fingerprint)
        self.resumed = bool(same and any(self._folder.glob("stage-*.json")))
        if same and known is not None:
            self.run = str(known["run"])
            return
        forget(folder)
        self.run, key = secrets.token_hex(8), secrets.token_bytes(32)
        mark = {"run": self.run, "key": key.hex(), "job": _digest(job), "records": fingerprint(key)}
        _write(self._folder / _RUN, mark)

    @staticmethod
    def _matches(known: dict[str, Any], job: dict[str, Any], fingerprint: Callable[[bytes], str]) -> bool:
        try:
            return bool(known["job"] == _digest(job) and known["records"] == fingerprint(bytes.fromhex(known["key"])))
        except (KeyError, TypeError, ValueError):
            return False

    def stage(self, name: str, work: Callable[[], Stage]) -> Stage:
        """The result of a stage, from disk if it was finished before, else by doing the work."""
        path = self._folder / f"stage-{hexdigest({'name': name}, domain='tacit.pilot.stage')[:16]}.json"
        known = _read(path)
        if known is not None:
            try:
                stage = decoded(Stage, known["stage"])
                self._book.restore(known["evidence"])
                return stage
            except (DataError, KeyError, TypeError):
                path.unlink(missing_ok=True)
        before = len(self._book.rows)
        stage = work()
        _write(path, {"stage": encoded(stage), "evidence": [encoded(row) for row in self._book.rows[before:]]})
        return stage


def forget(folder: Path) -> None:
    """Remove everything that was kept in ``folder``: once the report is written, nothing is left to go on with."""
    shutil.rmtree(folder / _FOLDER, ignore_errors=True)


def _digest(job: dict[str, Any]) -> str:
    return hexdigest(job, domain="tacit.pilot.job")


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _write(path: Path, value: dict[str, Any]) -> None:
    partial = path.with_suffix(".partial")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(value, file, ensure_ascii=False)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise StorageError(f"Cannot keep the pilot's progress in {path.parent}: {error.strerror}. Name another folder with --output.") from None
