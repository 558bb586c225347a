"""Card fraud with the customer as the unit. ``python -m benchmarks.workers.fraud FITS``.

Boosted trees at ε=3 per customer, the same without noise and clipping, and a private linear model, on features of each customer's own history. Few
customers have a fraud, so that there are few and small trees: 35 answers share the budget instead of 210.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmarks import DELTA
from benchmarks.datasets import MissingData, columns_of, fraud_by_customer
from benchmarks.exact import PLENTY, fit_exactly
from benchmarks.peers.common import cpu
from tacit import Budget
from tacit.domain import Domain
from tacit.guard import Records
from tacit.learn import BoostedTreesClassifier, BoostingShape, LearnSpec, LinearClassifier, TargetSpec

EPSILON = 3.0
SHAPE = BoostingShape(passes=3, trees=20, depth=2)
MISSING_DATA = 2
DOMAIN = Domain.from_dict({"columns": list(columns_of("fraud_customer"))})


def fits(train: pl.DataFrame, test: pl.DataFrame, seed: int) -> Iterator[tuple[str, NDArray[np.float64], float]]:
    """Name, score of every test transaction, CPU seconds of the fit."""
    known, asked = train.select(DOMAIN.names), test.select(DOMAIN.names)
    terms = {"domain": DOMAIN, "classes": [0, 1], "rows_per_unit": 1}
    budget = Budget(EPSILON, DELTA)
    learners = {
        "private": BoostedTreesClassifier(budget, passes=SHAPE.passes, trees=SHAPE.trees, depth=SHAPE.depth, **terms),
        "private, default shape": BoostedTreesClassifier(budget, **terms), "linear": LinearClassifier(budget, **terms),
    }  # fmt: skip
    for name, learner in learners.items():
        with cpu() as clock:
            learner.fit(known, train["fraud"], unit=train["customer"])
        yield name, learner.predict_proba(asked)[:, 1], clock.seconds
    for name, shape in (("without privacy", SHAPE), ("without privacy, default shape", BoostingShape())):
        with cpu() as clock:
            spec = LearnSpec(DOMAIN.names, TargetSpec("fraud", classes=("0", "1")), PLENTY, DOMAIN, run=f"seed {seed}")
            exact = fit_exactly(spec, Records.open(train), shape)
        yield name, exact.predict_proba(asked)[:, 1], clock.seconds


def main(arguments: list[str]) -> int:
    try:
        train, test = fraud_by_customer()
    except MissingData as error:
        sys.stderr.write(f"{error}\n")
        return MISSING_DATA
    found: list[dict[str, Any]] = []
    truth = test["fraud"].to_numpy()
    for seed in range(int(arguments[0])):
        for name, scores, seconds in fits(train, test, seed):
            figures = {"ap": float(average_precision_score(truth, scores)), "auc": float(roc_auc_score(truth, scores))}
            found.append({"name": name, "seed": seed, "cpu_seconds": seconds, **figures})
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
