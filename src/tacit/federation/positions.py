"""How far a site has answered in each run, on disk before each answer: so that a site that was killed never answers a step twice."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tacit.errors import StorageError
from tacit.replacing import replacing


class Positions:
    """One small file per run, replaced durably.

    Args:
        folder: where they are; ``None`` keeps them in memory, and a site that was stopped cannot go on with a run.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._held: dict[str, int] = {}
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def set(self, run: str, step: int) -> None:
        """Every step before ``step`` may have been answered.

        Raises:
            StorageError: if it cannot be written; then nothing may be answered.
        """
        self._held[run] = step
        if self._folder is not None:
            with replacing(self._path(run)) as file:
                file.write(b"%d\n" % step)

    def get(self, run: str) -> int | None:
        """The first step that was certainly not answered; ``None`` if nothing is known of the run.

        Raises:
            StorageError: if the file cannot be read, or holds something else.
        """
        if run in self._held or self._folder is None:
            return self._held.get(run)
        try:
            return int(self._path(run).read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            raise StorageError(f"Cannot read in {self._folder} how far a run was answered. Nothing more is; start a new run.") from None

    def _path(self, run: str) -> Path:
        return (self._folder or Path()) / f"{hashlib.sha256(run.encode()).hexdigest()[:32]}.step"
