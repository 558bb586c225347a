"""What the contestants of `logs.counts` share: the runs, and the line that says what they took and how far they were off."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np

Once = Callable[[np.ndarray, np.ndarray], Callable[[int], tuple[float, np.ndarray]]]
"""From units and cells, a release: of so many cells, CPU seconds and counts."""


def measure(arguments: list[str], prepare: Once, package: str) -> int:
    """Answer ``FOLDER CELLS RUNS`` with one JSON line."""
    folder, cells, runs = Path(arguments[0]), int(arguments[1]), int(arguments[2])
    with np.load(folder / "packed.npz") as packed:
        release = prepare(packed["unit"], packed["cell"])
    truth, seconds, errors, biases = np.load(folder / "truth.npy"), [], [], []
    for _ in range(runs):
        spent, counts = release(cells)
        seconds.append(spent)
        errors.append(float(np.abs(counts - truth).mean()))
        biases.append(float((counts - truth).mean()))
    line = {"cpu_seconds": min(seconds), "mae": float(np.mean(errors)), "bias": float(np.mean(biases)), "version": version(package)}
    sys.stdout.write(json.dumps(line) + "\n")
    return 0
