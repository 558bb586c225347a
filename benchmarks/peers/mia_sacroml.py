"""SACRO-ML's worst-case attack: a random forest on probabilities, told four fifths of the truth.

``python -m benchmarks.peers.mia_sacroml FOLDER``.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from sacroml.attacks.target import Target
from sacroml.attacks.worst_case_attack import WorstCaseAttack

REPETITIONS = 3


def main(arguments: list[str]) -> int:
    logging.disable(logging.CRITICAL)
    data = np.load(Path(arguments[0]) / "targets.npz")
    X, y, found = data["X"], data["y"], []
    for place, member in enumerate(data["masks"].T):
        odds = np.exp(data["logits"][place] - data["logits"][place].max(axis=1, keepdims=True)).astype(np.float64)
        p = odds / odds.sum(axis=1, keepdims=True)
        target = Target(
            X_train=X[member], y_train=y[member], X_test=X[~member], y_test=y[~member], proba_train=p[member], proba_test=p[~member],
        )
        before = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            answer = WorstCaseAttack(output_dir=folder, write_report=False, n_reps=REPETITIONS, n_dummy_reps=0).attack(target)
        spent = time.process_time() - before
        runs = answer["attack_experiment_logger"]["attack_instance_logger"].values()
        found.append({"SACRO-ML, worst case": {**mean(list(runs)), "cpu_seconds": spent / REPETITIONS}})
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


def mean(runs: list[dict[str, Any]]) -> dict[str, float]:
    """Over repetitions; rates are read off its ROC curve."""
    rows = []
    for run in runs:
        fpr, tpr = (np.array(str(run[name]).strip("[]").replace("...", " ").split(), np.float64) for name in ("fpr", "tpr"))
        rows.append([*(float(tpr[fpr <= limit].max(initial=0.0)) for limit in (0.01, 0.001)), float(run["AUC"])])
    first, second, auc = np.mean(rows, axis=0)
    return {"tpr_at_0.01": float(first), "tpr_at_0.001": float(second), "auc": float(auc)}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
