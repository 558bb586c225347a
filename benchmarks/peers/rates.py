"""True positive rates of a peer's scores; NumPy alone, because every peer's environment has it."""

from __future__ import annotations

import numpy as np


def rates(scores: np.ndarray, member: np.ndarray) -> dict[str, float]:
    """At 1 and 0.1 % false positives, ties broken at random, and the AUC."""
    scores = np.asarray(scores, np.float64)
    order = np.lexsort((np.random.default_rng(0).random(len(scores)), scores))
    ranks = np.empty(len(scores))
    ranks[order] = np.arange(len(scores))
    others = np.sort(ranks[~member])[::-1]
    inside, count = ranks[member], int(member.sum())
    found = {f"tpr_at_{fpr:g}": float((inside > others[int(fpr * len(others))]).mean()) for fpr in (0.01, 0.001)}
    return {**found, "auc": float((np.argsort(np.argsort(ranks))[member].sum() - count * (count - 1) / 2) / (count * len(others)))}
