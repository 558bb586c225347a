"""Noisy counts of a log: failed logons by host and hour, a user's day as the unit, ε = 1 without δ."""

from __future__ import annotations

import json

from benchmarks.contest import Failed, run, workplace
from benchmarks.environments import OPENDP, PIPELINEDP, Unavailable
from benchmarks.failures import CELLS, write
from benchmarks.result import Check, Incomplete, Measured, Options, Row

EVENTS, MANY = 1_000_000, 10_000_000
SECONDS, OPENDP_RATIO, PIPELINEDP_RATIO = 0.5, 8.0, 15.0
FLAT, MEMORY = 1.3, 2 << 30
NOISE = 1.02
"""What two means over 16,800 noisy cells of the same law can differ by."""


def counts(options: Options) -> Measured:
    """16,800 public cells, 10 cells per unit, 2 events per cell: all three alike; then with bounds of our own choice."""
    runs = str(max(2, min(options.seeds, 5)))
    try:
        with workplace() as folder:
            write(folder, EVENTS)
            ours = json.loads(run("benchmarks.workers.counts", [str(folder), runs]))
            opendp = json.loads(run("benchmarks.peers.counts_opendp", [str(folder), str(CELLS), "2"], OPENDP))
            pipelinedp = json.loads(run("benchmarks.peers.counts_pipelinedp", [str(folder), str(CELLS), "2"], PIPELINEDP))
        with workplace() as folder:
            write(folder, MANY, packed=False)
            many = json.loads(run("benchmarks.workers.counts", [str(folder), "3"]))
    except (Failed, Unavailable) as error:
        raise Incomplete(str(error)) from error
    given, chosen, theirs = ours["ways"]["given"], ours["ways"]["chosen"], min(opendp["mae"], pipelinedp["mae"])
    flat = many["ways"]["chosen"]["cpu_seconds"] / chosen["cpu_seconds"] * EVENTS / MANY
    checks = (
        Check("CPU seconds per million events, bounds given", given["cpu_seconds"], SECONDS, at_least=False),
        Check("CPU seconds per million events, bounds chosen", chosen["cpu_seconds"], SECONDS, at_least=False),
        Check("times as fast as OpenDP with Polars", opendp["cpu_seconds"] / given["cpu_seconds"], OPENDP_RATIO),
        Check("times as fast as PipelineDP, local", pipelinedp["cpu_seconds"] / given["cpu_seconds"], PIPELINEDP_RATIO),
        Check("mean error over the best peer's, same bounds", given["mae"] / theirs, NOISE, at_least=False),
        Check("mean error over the best peer's, bounds chosen", chosen["mae"] / theirs, 0.9, at_least=False),
        Check("CPU seconds per million events, at 10 million, bounds chosen", flat * chosen["cpu_seconds"], SECONDS, at_least=False),
        Check("CPU per event at 10 million over that at 1 million, bounds chosen", flat, FLAT, at_least=False, decides=False),
        Check("bytes of memory at 10 million events", many["peak_bytes"], MEMORY, at_least=False),
    )
    details = {
        "ours": ours, "opendp": opendp, "pipelinedp": pipelinedp, "at_10_million": many,
        "notes": "Ours begins with a Parquet file and includes the charge to a ledger on disk; peers begin with integers in memory. Ten million "
        "events are those of as many users, so that given bounds cut nearly every unit there, which takes longer.",
    }
    return Measured(given["cpu_seconds"], "CPU seconds per million events", "OpenDP 0.16.0 with Polars", opendp["cpu_seconds"], checks, details)


ROWS = (Row("logs.counts", "noisy counts of a log, per host and hour and user-day, against OpenDP and PipelineDP", counts),)
