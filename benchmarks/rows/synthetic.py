"""Of what use made-up records are: a model trained on them, tested on real ones, against dpmm's MST.

Its AIM takes longer than twenty minutes for one fit of these records and is left out.
"""

from __future__ import annotations

import json
import statistics
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from benchmarks import DELTA
from benchmarks.contest import Contestant, Failed, run, workplace, write_job
from benchmarks.datasets import CASES, MissingData, Split
from benchmarks.environments import DPMM, Unavailable
from benchmarks.peers.common import read_job
from benchmarks.result import Check, Incomplete, Measured, Options, Row

MOST_SEEDS = 2
"""Of ours; peers, who take minutes and more, answer once."""
EPSILONS = (0.1, 1.0, 8.0)
BEHIND = 0.05
"""How far behind real records the made-up ones may be at ε=1."""

CONTESTANTS = (
    Contestant("tacit", "Tacit Synthesizer", "benchmarks.workers.synthetic", None, EPSILONS),
    Contestant("mst", "dpmm MST", "benchmarks.peers.dpmm_tables", DPMM, (1.0,)),
)


def adult(options: Options) -> Measured:
    found: list[dict[str, Any]] = []
    missing: dict[str, str] = {}
    try:
        for seed in range(min(options.seeds, MOST_SEEDS)):
            split = CASES["adult"].load(seed)
            for contestant in CONTESTANTS if seed == 0 else CONTESTANTS[:1]:
                try:
                    found += answers(contestant, split, seed)
                except (Failed, Unavailable) as error:
                    missing[contestant.name] = str(error)
    except MissingData as error:
        raise Incomplete(str(error)) from error

    def mean(name: str, epsilon: float | None, figure: str = "auc") -> float:
        values = [item[figure] for item in found if (item["name"], item["epsilon"]) == (name, epsilon)]
        if not values:
            raise Incomplete(f"{name} did not answer: {missing.get(name, 'run the row again')}")
        return statistics.fmean(values)

    best = mean("mst", 1.0)
    checks = (
        Check("AUC on real records at ε=1, against that of real ones less .05", mean("tacit", 1.0), mean("real", None) - BEHIND),
        Check("AUC on real records at ε=1, against dpmm's MST", mean("tacit", 1.0), best),
    )
    keys = sorted({(item["name"], item["epsilon"]) for item in found}, key=str)
    table = {f"{name}, ε={epsilon}": {"auc": mean(name, epsilon), "cpu_seconds": mean(name, epsilon, "cpu_seconds")} for name, epsilon in keys}
    details = {"seeds": min(options.seeds, MOST_SEEDS), "delta": DELTA, "by_contestant": table, "missing": missing}
    return Measured(mean("tacit", 1.0), "AUC on real records at ε=1", "dpmm MST", best, checks, details)


def answers(contestant: Contestant, split: Split, seed: int) -> list[dict[str, Any]]:
    """How a model trained on a contestant's records ranks real ones; with ours, also how one trained on the real ones does."""
    with workplace() as folder:
        write_job(folder, split, {"model": contestant.name, "epsilons": contestant.epsilons, "seed": seed, "delta": DELTA})
        run(contestant.module, [str(folder)], contestant.environment)
        job, seconds = read_job(str(folder)), json.loads((folder / "made.json").read_text(encoding="utf-8"))["cpu_seconds"]
        test = np.hstack([job.x_test, job.codes_test])
        found = []
        with np.load(folder / "made.npz") as made:
            for place, epsilon in enumerate(contestant.epsilons):
                rows = np.hstack([made[f"x{place}"], made[f"codes{place}"]])
                figures = {"auc": auc(rows, made[f"y{place}"], test, split), "cpu_seconds": seconds[place]}
                found.append({"name": contestant.name, "epsilon": epsilon, **figures})
        if contestant.environment is None:
            real = auc(np.hstack([job.x, job.codes]), split.y_train, test, split)
            found.append({"name": "real", "epsilon": None, "auc": real, "cpu_seconds": 0.0})
    return found


def auc(rows: NDArray[Any], labels: NDArray[np.int64], test: NDArray[Any], split: Split) -> float:
    model = HistGradientBoostingClassifier(random_state=0).fit(rows, labels)
    return float(roc_auc_score(split.y_test, model.predict_proba(test)[:, 1]))


ROWS = (Row("synthetic.adult", "AUC on real census records of a model trained on made-up ones, against dpmm's MST", adult),)
