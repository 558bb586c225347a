"""A pilot's report: one HTML file, the same numbers as JSON, and a table for the terminal."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import NamedTuple

from tacit.errors import StorageError
from tacit.pilot.report.html import render_html
from tacit.pilot.report.release import for_release
from tacit.pilot.report.text import render_text
from tacit.pilot.results import PilotResult

__all__ = ["ReportPaths", "for_release", "render_html", "render_text", "write_report"]


class ReportPaths(NamedTuple):
    """Where a report was written."""

    html: Path
    json: Path


def write_report(result: PilotResult, folder: str | Path, *, release: bool = False) -> ReportPaths:
    """Write the page and its JSON twin into ``folder``; each file appears complete or not at all.

    The owner's version is ``report.html`` and ``report.json``, readable by its owner only. A release is ``release.html`` and
    ``release.json``, so that one is never mistaken for the other.

    Raises:
        StorageError: if the folder or the disk refuses; what was there before is unchanged.
    """
    shown = for_release(result) if release and not result.released else result
    name, mode = ("release", 0o644) if shown.released else ("report", 0o600)
    paths = ReportPaths(Path(folder) / f"{name}.html", Path(folder) / f"{name}.json")
    texts = (render_html(shown), shown.to_json())
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        _replace_all(dict(zip(paths, texts, strict=True)), mode)
    except OSError as error:
        raise StorageError(f"Writing the report to {folder} failed ({error.strerror}); name a folder that may be written.") from error
    return paths


def _replace_all(texts: dict[Path, str], mode: int) -> None:
    """Write every text beside its file first, and put them in place only once all are on the disk."""
    partial: dict[Path, Path] = {}
    try:
        for path, text in texts.items():
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial")
            partial[path] = Path(name)
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            partial[path].chmod(mode)
        for path, written in partial.items():
            written.replace(path)
    finally:
        for written in partial.values():
            written.unlink(missing_ok=True)
