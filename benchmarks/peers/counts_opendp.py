"""OpenDP's counts with Polars: ``python -m benchmarks.peers.counts_opendp FOLDER CELLS RUNS``. Prints CPU seconds and errors as one JSON line.

Units and cells are integers in memory already. Groups are kept «first», because the default «sample» fails with the Polars that it pins.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import opendp.prelude as dp
import polars as pl

from benchmarks.peers.counting import measure

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


def prepare(unit: np.ndarray, cell: np.ndarray) -> Callable[[int], tuple[float, np.ndarray]]:
    return partial(once, pl.DataFrame({"unit": unit, "cell": cell}))


if __name__ == "__main__":
    sys.exit(measure(sys.argv[1:], prepare, "opendp"))
