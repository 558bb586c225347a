"""What every contestant shares: reading a job, the public scaling, timing a fit, writing scores.

A job is a folder with ``job.json`` and ``arrays.npz`` (or tables, for Tacit); the answer is ``result.json`` and ``scores.npz`` beside them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

LOGARITHMIC_ABOVE = 50.0


@dataclass(frozen=True)
class Job:
    """Numbers float32 ``[n, d]`` clipped to their public bounds, category codes int16 ``[n, k]``, labels, and what is asked."""

    folder: Path
    options: dict[str, Any]
    x: np.ndarray
    codes: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    codes_test: np.ndarray

    @property
    def bounds(self) -> np.ndarray:
        """Public bounds float64 ``[d, 2]``."""
        return np.array(self.options["bounds"], dtype=np.float64).reshape(-1, 2)

    @property
    def levels(self) -> list[int]:
        """How many values each category has, «other» included."""
        return list(self.options["levels"])

    def scaled(self, *, logarithmic: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """Numbers in [0, 1] by the public bounds, float64; logarithmic, if so asked, where a non-negative column reaches above 50."""
        lower, upper = self.bounds.T
        log = (lower >= 0) & (upper > LOGARITHMIC_ABOVE) & logarithmic

        def scale(x: np.ndarray) -> np.ndarray:
            x = x.astype(np.float64)
            linear = (x - lower) / (upper - lower)
            return np.where(log, np.log1p(np.maximum(x, 0)) / np.log1p(np.where(log, upper, 1.0)), linear)

        return scale(self.x), scale(self.x_test)

    def one_hot(self) -> tuple[np.ndarray, np.ndarray]:
        """Scaled numbers beside one column per category value, float64."""
        train, test = self.scaled()
        return np.hstack([train, *_hot(self.codes, self.levels)]), np.hstack([test, *_hot(self.codes_test, self.levels)])


@dataclass
class Clock:
    """CPU seconds of the block it timed."""

    seconds: float = 0.0


@contextmanager
def cpu() -> Iterator[Clock]:
    """Time a block in CPU seconds of this process, all threads."""
    clock, start = Clock(), time.process_time()
    try:
        yield clock
    finally:
        clock.seconds = time.process_time() - start


def read_job(folder: str) -> Job:
    """The job in a folder."""
    path = Path(folder)
    options = json.loads((path / "job.json").read_text(encoding="utf-8"))
    with np.load(path / "arrays.npz") as arrays:
        names = ("x", "codes", "y", "x_test", "codes_test")
        return Job(path, options, *(arrays[name] for name in names))


def write_result(folder: Path, fits: list[dict[str, Any]], scores: list[np.ndarray], versions: dict[str, str]) -> None:
    """Write what a contestant measured: one entry of ``fits`` and one array of scores per fit."""
    np.savez(folder / "scores.npz", **{str(i): np.asarray(s, dtype=np.float64) for i, s in enumerate(scores)})
    (folder / "result.json").write_text(json.dumps({"fits": fits, "versions": versions}), encoding="utf-8")


Fit = Callable[[Job, float | None], tuple[np.ndarray, float]]


def serve(job: Job, fit: Fit, versions: dict[str, str]) -> None:
    """Answer a job: ``fit(job, epsilon)`` returns test scores and CPU seconds."""
    fits, scores = [], []
    for epsilon in job.options["epsilons"]:
        score, seconds = fit(job, epsilon)
        fits.append({"epsilon": epsilon, "cpu_seconds": seconds})
        scores.append(score)
    write_result(job.folder, fits, scores, versions)


def _hot(codes: np.ndarray, levels: list[int]) -> list[np.ndarray]:
    return [np.eye(level, dtype=np.float64)[codes[:, i]] for i, level in enumerate(levels)]
