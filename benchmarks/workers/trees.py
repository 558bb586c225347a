"""Fit boosted trees to a Parquet file through the guard and say where CPU went. ``python -m benchmarks.workers.trees FILE ROWS``."""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.metrics import roc_auc_score

from benchmarks import DELTA, synthetic
from benchmarks.peak import peak_mebibytes
from tacit import Budget, PrivacyUnit, Relation
from tacit.domain import Domain
from tacit.guard import Curator, Guard, Limits, MemoryBooks, Policy, Records
from tacit.learn import BoostingShape, LearnSpec, TargetSpec, fit_boosted
from tacit.models import AdditiveModel

TREES, DEPTH = 200, 6


class Timed:
    """Anything whose methods pass through, with the CPU seconds of every answer kept: an aggregator and its conversation."""

    def __init__(self, inner: Any, seconds: list[float]) -> None:
        self._inner, self._seconds = inner, seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def open(self, plan: Any) -> Timed:
        """The conversation, timed too."""
        return Timed(self._inner.open(plan), self._seconds)

    def ask(self, step: int, question: Any, **rest: Any) -> Any:
        """The answer, and what it took."""
        start = time.process_time()
        answer = self._inner.ask(step, question, **rest)
        self._seconds.append(time.process_time() - start)
        return answer


def fit(path: Path) -> tuple[AdditiveModel, dict[str, float]]:
    """One fit with the default passes and 200 trees of depth 6; CPU seconds in parts.

    The answers are, in order, one histogram, the blocks of single features and the trees. The first block also reads and encodes the file
    for good; what it takes beyond its neighbours is counted as reading.
    """
    domain = Domain.from_dict({"columns": list(synthetic.columns())})
    budget, shape = Budget(1.0, DELTA), BoostingShape(trees=TREES, depth=DEPTH)
    spec = LearnSpec(domain.names, TargetSpec("y", classes=("0", "1")), budget, domain=domain)
    policy = Policy("bench", PrivacyUnit(), Relation.ADD_REMOVE, budget, limits=Limits(minimum_units=0))
    answers: list[float] = []
    start = time.process_time()
    curator = Curator(Guard(Records.open(path), policy=policy, ledger=MemoryBooks()))
    curator.size()
    counted = time.process_time() - start
    model = fit_boosted(spec, Timed(curator, answers), shape)
    whole = time.process_time() - start
    histogram, first, *features = answers[: 1 + shape.passes * len(domain.names)]
    trees = sum(answers[1 + shape.passes * len(domain.names):])
    usual = statistics.median(features)
    parts = {"count": counted, "histogram": histogram, "read_and_encode": first - usual, "features": sum(features) + usual, "trees": trees}
    return model, {"whole": whole, **parts, "between_answers": whole - counted - sum(answers)}


def main(arguments: list[str]) -> int:
    model, seconds = fit(Path(arguments[0]))
    peak, rows = peak_mebibytes(), int(arguments[1])
    values, y = synthetic.piece(synthetic.TEST_PIECE)
    table = pa.table({column["name"]: row for column, row in zip(synthetic.columns(), values, strict=True)})
    auc = float(roc_auc_score(y, np.asarray(model.predict_proba(table))[:, 1]))
    per_row = {name: 1e6 * part / rows for name, part in seconds.items()}
    sys.stdout.write(json.dumps({"rows": rows, "auc": auc, "peak_mib": peak, "microseconds_per_row": per_row}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
