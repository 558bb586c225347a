"""Anomaly detection at several ε against an isolation forest without privacy. ``python -m benchmarks.workers.anomaly SEEDS``.

NSL-KDD: learned from the normal records of the training file, measured on its official test file. The simulator: learned from every user-day of
the first weeks without labels, measured on user-days of the last, all intrusions together and the insider's bulk download alone.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score

from benchmarks import DELTA
from benchmarks.datasets import CASES, MissingData
from benchmarks.peers.common import cpu
from tacit import Budget
from tacit.domain import Category, Domain
from tacit.learn import AnomalyDetector
from tacit.pilot.data import TARGET, simulated

EPSILONS = (0.1, 1.0)
MISSING_DATA = 2


@dataclass(frozen=True)
class Task:
    """Records to learn from, records to rank, and which of them are attacks."""

    domain: Domain
    train: pl.DataFrame
    test: pl.DataFrame
    truths: dict[str, NDArray[np.bool_]]


def nsl_kdd() -> Task:
    split = CASES["nsl_kdd.official"].load(0)
    return Task(
        Domain.from_toml(split.domain_toml), split.train.filter(pl.Series(split.y_train == 0)), split.test, {"nsl_kdd": split.y_test == 1},
    )


def soc() -> Task:
    data = simulated(1)
    if data.domain is None:
        raise SystemExit("Expected a declared domain of the simulated records.")
    test = pl.DataFrame(data.test)
    attack, insider = (test[TARGET] == 1).to_numpy(), (test["attack_kind"] == "insider_download").to_numpy()
    return Task(data.domain.select(data.features), pl.DataFrame(data.train), test, {"soc": attack, "soc.insider": insider})


def matrix(table: pl.DataFrame, domain: Domain) -> NDArray[np.float64]:
    """Numbers as they are, categories by their place in the list."""
    columns = []
    for name, kind in domain.columns:
        if isinstance(kind, Category):
            place = {value: float(i) for i, value in enumerate(kind.values)}
            columns.append(np.array([place.get(value, -1.0) for value in table[name].to_list()]))
        else:
            columns.append(table[name].cast(pl.Float64).fill_null(0.0).to_numpy())
    return np.stack(columns, axis=1)


def contests(task: Task, seed: int) -> Iterator[tuple[str, NDArray[np.float64], float]]:
    """Name, how unusual every test record is, and CPU seconds of the fit."""
    train, test = matrix(task.train, task.domain), matrix(task.test, task.domain)
    with cpu() as clock:
        forest = IsolationForest(n_estimators=200, random_state=seed).fit(train)
    yield "forest", -forest.score_samples(test), clock.seconds
    for epsilon in EPSILONS:
        with cpu() as clock:
            found = AnomalyDetector(Budget(epsilon, DELTA), domain=task.domain).fit(task.train.select(task.domain.names))
        yield f"{epsilon:g}", -found.score_samples(task.test.select(task.domain.names)), clock.seconds
        with cpu() as clock:
            second = AnomalyDetector(Budget(epsilon, DELTA), domain=task.domain, method="components").fit(task.train.select(task.domain.names))
        yield f"{epsilon:g}, components", -second.score_samples(task.test.select(task.domain.names)), clock.seconds


def main(arguments: list[str]) -> int:
    found: list[dict[str, Any]] = []
    try:
        tasks = [nsl_kdd(), soc()]
    except MissingData as error:
        sys.stderr.write(f"{error}\n")
        return MISSING_DATA
    for seed in range(int(arguments[0])):
        for task in tasks:
            for name, scores, seconds in contests(task, seed):
                for case, truth in task.truths.items():
                    usual = ~next(iter(task.truths.values()))
                    chosen = truth | usual
                    auc = float(roc_auc_score(truth[chosen], scores[chosen]))
                    found.append({"case": case, "name": name, "seed": seed, "auc": auc, "cpu_seconds": seconds})
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
