"""Tacit's side of a contest, as it comes: one default, fresh noise. ``python -m benchmarks.ours FOLDER``.

It reads the tables and the domain of a job, where the peers read arrays, because that is what its users pass. The exit status is 69 if a
part of Tacit that it needs is not there yet.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.peers.common import cpu, write_result

MISSING_PART = 69


def answer(folder: Path) -> None:
    """Fit once per ε on the training table of a job and write scores of the test table."""
    from tacit import Budget, __version__
    from tacit.learn import DetectionClassifier

    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    train, test, y = pl.read_parquet(folder / "train.parquet"), pl.read_parquet(folder / "test.parquet"), np.load(folder / "y.npy")
    fits, scores = [], []
    for epsilon in job["epsilons"]:
        model = DetectionClassifier(budget=Budget(epsilon, job["delta"]), domain=str(folder / "domain.toml"), classes=[0, 1])
        with cpu() as clock:
            model.fit(train, y)
        fits.append({"epsilon": epsilon, "cpu_seconds": clock.seconds})
        scores.append(model.predict_proba(test)[:, 1])
    versions = {name: version(name) for name in ("numpy", "scikit-learn", "polars", "pyarrow")}
    write_result(folder, fits, scores, {"tacit": __version__, **versions})


def main(arguments: list[str]) -> int:
    try:
        answer(Path(arguments[0]))
    except ImportError as error:
        sys.stderr.write(f"Expected every part of Tacit that this row needs; {error}.\n")
        return MISSING_PART
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
