"""Made-up records by dpmm's AIM and MST. ``python -m benchmarks.peers.dpmm_tables FOLDER``; the job's model says which.

A tenth of ε goes to its discretisation (PrivTree), as it comes; bounds and categories are declared.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import pandas as pd
from dpmm.pipelines import AIMPipeline, MSTPipeline

from benchmarks.peers.common import Job, cpu, read_job

SHARE = 0.1
PIPELINES = {"aim": AIMPipeline, "mst": MSTPipeline}


def tables(job: Job) -> tuple[pd.DataFrame, dict[str, dict[str, object]]]:
    """The training records with their label, and the declared domain."""
    columns: dict[str, object] = {}
    domain: dict[str, dict[str, object]] = {}
    for place, (lower, upper) in enumerate(job.bounds):
        columns[f"n{place}"] = np.nan_to_num(job.x[:, place].astype(np.float64), nan=float(lower))
        domain[f"n{place}"] = {"lower": float(lower), "upper": float(upper)}
    for place, count in enumerate(job.levels):
        values = [f"v{value:03d}" for value in range(count)]
        columns[f"c{place}"] = pd.Categorical.from_codes(job.codes[:, place].astype(int), values)
        domain[f"c{place}"] = {"categories": values}
    columns["y"] = pd.Categorical.from_codes(job.y.astype(int), ["v000", "v001"])
    domain["y"] = {"categories": ["v000", "v001"]}
    return pd.DataFrame(columns), domain


def main(arguments: list[str]) -> int:
    job = read_job(arguments[0])
    frame, domain = tables(job)
    found: dict[str, np.ndarray] = {}
    seconds = []
    for place, epsilon in enumerate(job.options["epsilons"]):
        pipeline = PIPELINES[job.options["model"]](
            epsilon=(1 - SHARE) * epsilon, delta=job.options["delta"], proc_epsilon=SHARE * epsilon, n_jobs=1, max_model_size=80,
        )
        with cpu() as clock:
            pipeline.fit(frame, domain)
            made = pipeline.generate(n_records=len(frame))
        seconds.append(clock.seconds)
        numbers = [made[f"n{i}"].to_numpy(np.float64) for i in range(len(job.bounds))]
        codes = [made[f"c{i}"].astype(str).str[1:].astype(int).to_numpy(np.int16) for i in range(len(job.levels))]
        found[f"x{place}"] = np.stack(numbers, axis=1) if numbers else np.zeros((len(made), 0))
        found[f"codes{place}"] = np.stack(codes, axis=1) if codes else np.zeros((len(made), 0), np.int16)
        found[f"y{place}"] = made["y"].astype(str).str[1:].astype(int).to_numpy()
    np.savez(job.folder / "made.npz", **found)
    (job.folder / "made.json").write_text(json.dumps({"cpu_seconds": seconds}), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
