"""PipelineDP's counts, local: ``python -m benchmarks.peers.counts_pipelinedp FOLDER CELLS RUNS``. Prints CPU seconds and errors as one JSON line.

Rows are pairs of integers in memory already.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pipeline_dp


def once(rows: list[tuple[int, int]], cells: int) -> tuple[float, np.ndarray]:
    begun = time.process_time()
    accountant = pipeline_dp.NaiveBudgetAccountant(total_epsilon=1.0, total_delta=1e-6)
    engine = pipeline_dp.DPEngine(accountant, pipeline_dp.LocalBackend())
    params = pipeline_dp.AggregateParams(
        noise_kind=pipeline_dp.NoiseKind.LAPLACE, metrics=[pipeline_dp.Metrics.COUNT], max_partitions_contributed=10,
        max_contributions_per_partition=2,
    )  # fmt: skip
    extractors = pipeline_dp.DataExtractors(
        privacy_id_extractor=lambda row: row[0], partition_extractor=lambda row: row[1], value_extractor=lambda row: 0,
    )
    result = engine.aggregate(rows, params, extractors, public_partitions=list(range(cells)))
    accountant.compute_budgets()
    counts = np.zeros(cells)
    for cell, metrics in result:
        counts[cell] = metrics.count
    return time.process_time() - begun, counts


def main(arguments: list[str]) -> int:
    folder, cells, runs = Path(arguments[0]), int(arguments[1]), int(arguments[2])
    with np.load(folder / "packed.npz") as packed:
        rows = list(zip(packed["unit"].tolist(), packed["cell"].tolist(), strict=True))
    truth, seconds, errors, biases = np.load(folder / "truth.npy"), [], [], []
    for _ in range(runs):
        spent, counts = once(rows, cells)
        seconds.append(spent)
        errors.append(float(np.abs(counts - truth).mean()))
        biases.append(float((counts - truth).mean()))
    line = {"cpu_seconds": min(seconds), "mae": float(np.mean(errors)), "bias": float(np.mean(biases)), "version": version("pipeline-dp")}
    sys.stdout.write(json.dumps(line) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
