"""Our noisy counts of failed logons: ``python -m benchmarks.workers.counts FOLDER RUNS``. Prints CPU seconds, errors and memory as one JSON line.

What is timed is the whole way of ``tacit logs stats``: from the Parquet file through grouping by user-day, a durable charge to a ledger on disk,
the answer with its noise, to the released table.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from benchmarks.failures import BEGIN, HOSTS, HOURS, host
from tacit.guarantee import Budget, PrivacyUnit, Relation
from tacit.guard import Curator, Guard, Ledger, Limits, Policy, Records
from tacit.logs.stats import Bounds, Calendar, PublicKeys, Request, Terms, TimeBins, release

UNIT = PrivacyUnit("user-day", "user.name", "day")
BUDGET = Budget(1.0, 1e-6)
WAYS = {
    "given": (Bounds(cells=10, each=2), False), "given, with the loss estimated": (Bounds(cells=10, each=2), True), "chosen": (Bounds(), True),
}  # fmt: skip


def once(folder: Path, name: str, bounds: Bounds, bias: bool) -> tuple[float, Any]:
    """CPU seconds of one release, and its table."""
    begun = time.process_time()
    policy = Policy(
        dataset=name, unit=UNIT, relation=Relation.ADD_REMOVE, budget=BUDGET, filter="pure", limits=Limits(minimum_units=0),
        ledger=str(folder / "ledger.db"),
    )  # fmt: skip
    by = (PublicKeys("host.name", tuple(map(host, range(HOSTS)))), TimeBins(3_600))
    request = Request("failed-logons", "count", by, bounds=bounds, bias=bias)
    calendar = Calendar("@timestamp", BEGIN, BEGIN + HOURS * 3_600)
    with Records.open_columns(folder / "events.parquet", ["host.name"], unit=UNIT, time="@timestamp") as records:
        curator = Curator(Guard(records, policy=policy, ledger=Ledger.open(policy.ledger)))
        found = release([request], curator, Terms(BUDGET, calendar))
    return time.process_time() - begun, found


def main(arguments: list[str]) -> int:
    folder, runs = Path(arguments[0]), int(arguments[1])
    pa.set_cpu_count(1)
    pl.Series("warm", ["up"]).hash()  # what is imported on first use is not counting
    pa.array([1])
    truth, found = np.load(folder / "truth.npy"), {}
    for way, (bounds, bias) in WAYS.items():
        seconds, errors, biases, stated = [], [], [], []
        for run in range(runs):
            spent, done = once(folder, f"{way.partition(',')[0]}-{len(way)}-{run}", bounds, bias)
            table = done.tables[0]
            off = table.columns["tacit.value"] - truth
            seconds.append(spent)
            errors.append(float(np.abs(off).mean()))
            biases.append(float(off.mean()))
            stated.append(None if table.bias is None else -table.bias["per_cell"])
        found[way] = {
            "cpu_seconds": min(seconds), "mae": float(np.mean(errors)), "bias": float(np.mean(biases)), "stated_bias": stated, "bounds": table.bounds,
            "guarantee": str(done.guarantee),
        }  # fmt: skip
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    sys.stdout.write(json.dumps({"ways": found, "peak_bytes": peak}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
