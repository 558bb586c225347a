"""Anomaly detection without labels, against an isolation forest without privacy, on records of a network and of the simulator."""

from __future__ import annotations

import json
import statistics

from benchmarks.contest import Failed, run
from benchmarks.result import Check, Incomplete, Measured, Options, Row

BEHIND = 0.02
"""How far behind the forest the AUC at ε=1 may be."""


def nsl_kdd(options: Options) -> Measured:
    try:
        found = json.loads(run("benchmarks.workers.anomaly", [str(options.seeds)]))
    except Failed as error:
        raise Incomplete(str(error)) from error

    def mean(case: str, name: str, figure: str = "auc") -> float:
        return statistics.fmean(item[figure] for item in found if (item["case"], item["name"]) == (case, name))

    cases = list(dict.fromkeys(item["case"] for item in found))
    names = list(dict.fromkeys(item["name"] for item in found))
    checks = tuple(Check(f"AUC at ε=1, {case}, against the forest's less {BEHIND}", mean(case, "1"), mean(case, "forest") - BEHIND) for case in cases)
    details = {
        "seeds": options.seeds, "delta": 1e-5,
        "auc": {case: {name: mean(case, name) for name in names} for case in cases},
        "cpu_seconds": {case: {name: mean(case, name, "cpu_seconds") for name in names} for case in cases},
        "notes": "Forest: scikit-learn's IsolationForest, 200 trees, categories by number, missing numbers as zero.",
    }  # fmt: skip
    return Measured(mean("nsl_kdd", "1"), "AUC at ε=1", "IsolationForest, no privacy", mean("nsl_kdd", "forest"), checks, details)


ROWS = (Row("anomaly.nsl_kdd", "AUC of anomalies at ε=1 on NSL-KDD and the simulator, against an isolation forest", nsl_kdd),)
