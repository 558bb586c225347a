"""PipelineDP's counts, local: ``python -m benchmarks.peers.counts_pipelinedp FOLDER CELLS RUNS``. Prints CPU seconds and errors as one JSON line.

Rows are pairs of integers in memory already.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import pipeline_dp

from benchmarks.peers.counting import measure


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


def prepare(unit: np.ndarray, cell: np.ndarray) -> Callable[[int], tuple[float, np.ndarray]]:
    return partial(once, list(zip(unit.tolist(), cell.tolist(), strict=True)))


if __name__ == "__main__":
    sys.exit(measure(sys.argv[1:], prepare, "pipeline-dp"))
