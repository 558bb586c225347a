"""OpenDP's counts with Polars: ``python -m benchmarks.peers.counts_opendp FOLDER CELLS RUNS``. Prints CPU seconds and errors as one JSON line.

Units and cells are integers in memory already. Groups are kept «first», because the default «sample» fails with the Polars that it pins.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import opendp.prelude as dp
import polars as pl

dp.enable_features("contrib")


def once(frame: pl.DataFrame, cells: int) -> tuple[float, np.ndarray]:
    begun = time.process_time()
    context = dp.Context.compositor(
        data=frame.lazy(), privacy_unit=dp.unit_of(contributions=1, identifier=pl.col("unit")), privacy_loss=dp.loss_of(epsilon=1.0),
        split_evenly_over=1, margins=[dp.polars.Margin(by=(), max_length=10 * len(frame), max_groups=2 * cells)],
    )  # fmt: skip
    query = context.query().truncate_per_group(2, by=["cell"], keep="first").truncate_num_groups(10, by=["cell"], keep="first")
    query = query.group_by("cell").agg(dp.len(signed=True)).with_keys(pl.LazyFrame({"cell": np.arange(cells)}))
    found = query.release().collect()
    counts = np.zeros(cells)
    counts[found["cell"].to_numpy()] = found["len"].to_numpy()
    return time.process_time() - begun, counts


def main(arguments: list[str]) -> int:
    folder, cells, runs = Path(arguments[0]), int(arguments[1]), int(arguments[2])
    with np.load(folder / "packed.npz") as packed:
        frame = pl.DataFrame({"unit": packed["unit"], "cell": packed["cell"]})
    truth, seconds, errors, biases = np.load(folder / "truth.npy"), [], [], []
    for _ in range(runs):
        spent, counts = once(frame, cells)
        seconds.append(spent)
        errors.append(float(np.abs(counts - truth).mean()))
        biases.append(float((counts - truth).mean()))
    line = {"cpu_seconds": min(seconds), "mae": float(np.mean(errors)), "bias": float(np.mean(biases)), "version": version("opendp")}
    sys.stdout.write(json.dumps(line) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
