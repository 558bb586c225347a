"""The machine: room on the disk, and versions."""

from __future__ import annotations

import importlib.util
import shutil
import sys

from tacit import __version__
from tacit.errors import TacitError
from tacit.federation.enrolment import TIME, replied
from tacit.federation.https import Caller
from tacit.federation.site.preflight.outcome import Bench, Failed

_LEAST = 1 << 30


def disk(bench: Bench) -> str:
    """Whether there is room for the ledger, and for sorting the records by unit once."""
    free = shutil.disk_usage(bench.folder.root).free
    source = bench.folder.policy.source if (bench.folder.root / "tacit.toml").exists() else None
    needed = _LEAST + (2 * source.stat().st_size if source is not None and source.exists() else 0)
    if free < needed:
        raise Failed(f"{free / 1e9:.1f} GB are free; {needed / 1e9:.1f} GB may be needed", f"Make room on the disk of {bench.folder.root}.")
    return f"{free / 1e9:.0f} GB free"


def versions(bench: Bench) -> str:
    """Whether Python, Tacit and its extra are what both sides need."""
    if importlib.util.find_spec("websockets") is None:
        raise Failed("the extra «federation» is not installed", "pip install 'tacit[federation]'")
    said = f"Python {sys.version.split()[0]}, Tacit {__version__}"
    if not bench.folder.joined:
        return said
    try:
        theirs = str(replied(Caller(bench.connection.address, bench.folder.authority, bench.timeout).get(TIME), at=int, version=str)["version"])
    except TacitError:
        return f"{said}; the coordinator's is not known now"
    if theirs.split(".")[:2] != __version__.split(".")[:2]:
        raise Failed(f"Tacit {__version__} here, {theirs} at the coordinator", "Install the same minor version on both sides.")
    return f"{said} on both sides"
