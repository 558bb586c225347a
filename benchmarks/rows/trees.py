"""CPU and memory of boosting: against XGBoost at equal rows, and from a hundred thousand to ten million rows."""

from __future__ import annotations

import json
import sys
from typing import Any

from benchmarks import synthetic
from benchmarks.contest import PEERS, Failed, compete, run, workplace
from benchmarks.datasets import Case
from benchmarks.environments import Unavailable
from benchmarks.result import Check, Incomplete, Measured, Options, Row

MILLION = 1_000_000
FEW, MANY = 100_000, 10_000_000
REPEATS = 3
XGBOOST = next(peer for peer in PEERS if peer.name == "xgboost")


def fitted(rows: int, repeats: int = 1) -> list[dict[str, Any]]:
    """Fits to a Parquet file of so many rows, each in a process of its own; the file is gone afterwards."""
    with workplace() as folder:
        path = folder / "records.parquet"
        sys.stderr.write(f"writing {rows:,} rows\n")
        synthetic.write_parquet(path, rows)
        found = []
        for _ in range(repeats):
            sys.stderr.write(f"fitting {rows:,} rows\n")
            try:
                found.append(json.loads(run("benchmarks.workers.trees", [str(path), str(rows)])))
            except Failed as error:
                raise Incomplete(str(error)) from error
        return found


def cheapest(fits: list[dict[str, Any]]) -> dict[str, Any]:
    """The fit that was disturbed least."""
    return min(fits, key=lambda fit: float(fit["microseconds_per_row"]["whole"]))


def speed(options: Options) -> Measured:
    ours = cheapest(fitted(MILLION, min(2, options.seeds)))
    sys.stderr.write(f"{XGBOOST.title} on the same rows\n")
    try:
        scores, versions = compete(XGBOOST, Case("synthetic", "rows made in pieces", lambda _: synthetic.split(MILLION)), 0, reuse=options.reuse)
    except (Failed, Unavailable) as error:
        raise Incomplete(f"{XGBOOST.title}: {error}") from error
    whole, theirs = ours["microseconds_per_row"]["whole"], 1e6 * scores[0].cpu_seconds / MILLION
    details = {
        "rows": MILLION, "columns": synthetic.COLUMNS, "trees": "200 of depth 6 (ours after 2 passes over single features)",
        "auc": {"tacit at ε=1": ours["auc"], "xgboost": scores[0].auc}, "tacit": ours, "reuse": options.reuse, "versions": versions,
        "notes": "Ours counts everything from opening the Parquet file to the model; XGBoost's begins with the matrix in memory.",
    }  # fmt: skip
    check = Check("CPU per row over XGBoost-hist's, equal rows", whole / theirs, 1 / 10, at_least=False)
    return Measured(whole, "µs CPU per row, whole fit", "XGBoost-hist, no privacy, one thread", theirs, (check,), details)


def scale(options: Options) -> Measured:
    few, many = cheapest(fitted(FEW, min(REPEATS, options.seeds))), fitted(MANY)[0]
    here, there = many["microseconds_per_row"], few["microseconds_per_row"]
    checks = (
        Check("µs CPU per row of 200 trees at 1e7 rows", here["trees"], 3.0, at_least=False),
        Check("time per row of 200 trees, 1e7 rows over 1e5", here["trees"] / there["trees"], 1.2, at_least=False),
        Check("time per row of the whole fit, 1e7 rows over 1e5", here["whole"] / there["whole"], 1.2, at_least=False),
        Check("peak memory at 1e7 rows, MiB", many["peak_mib"], 1024.0, at_least=False),
    )
    details = {"columns": synthetic.COLUMNS, "rows": {f"{FEW:g}": few, f"{MANY:g}": many}}
    return Measured(here["trees"], "µs CPU per row, 200 trees, 1e7 rows", "the same at 1e5 rows", there["trees"], checks, details)


ROWS = (
    Row("speed.trees", "CPU per row of boosting through the guard at 1e6 x 40, against XGBoost-hist", speed),
    Row("scale.rows", "CPU per row and memory at 1e7 x 40 out of core, against 1e5", scale),
)
