"""Property inference (Ateniese et al. 2015): what a model tells of its training data as a whole, such as the share of a group."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from tacit.attacks.outcome import LEVEL, Outcome
from tacit.attacks.targets import as_target
from tacit.errors import UsageError

World = Callable[[np.random.Generator], tuple[Any, Any]]


def attack_property(train: Callable[[Any, Any], Any], worlds: tuple[World, World], probes: Any, *, models: int = 40, seed: int = 0) -> Outcome:
    """Tell two worlds apart by models trained in them.

    Args:
        train: from records and labels to a model, as the target was trained.
        worlds: two functions that draw training data ``(X, y)`` with and without the property.
        probes: records that every model is asked about.
        models: trained per world; each takes a turn as the target while the others teach the attacker.
        seed: of draws.

    Returns:
        The share of models whose world was told, beside the half that guessing tells.

    Raises:
        UsageError: with fewer than four models per world.
    """
    if models < 4:
        raise UsageError(f"Expected at least 4 models per world; got {models}.")
    rng = np.random.default_rng(seed)
    answers, truth = [], np.repeat([0, 1], models)
    for world in truth:
        X, y = worlds[int(world)](rng)
        answers.append(np.asarray(as_target(train(X, y)).answers(probes), np.float64).ravel())
    right = round(float((_left_out(np.stack(answers), truth) == truth).sum()))
    ends = binomtest(right, len(truth)).proportion_ci(LEVEL)
    return Outcome(
        "property inference", "TA601", right / len(truth), 0.5, float(ends.low) - 0.5, float(ends.high) - 0.5, "share of models whose world was told",
        "the model tells what its training data are like as a whole", {"models": len(truth)},
    )


def _left_out(answers: NDArray[np.float64], truth: NDArray[np.int64]) -> NDArray[np.int64]:
    """The world of each model as told by a classifier that learned from the others."""
    from sklearn.linear_model import RidgeClassifier
    from sklearn.model_selection import LeaveOneOut, cross_val_predict

    center, spread = answers.mean(axis=0), answers.std(axis=0)
    return np.asarray(cross_val_predict(RidgeClassifier(alpha=10.0), (answers - center) / np.where(spread > 0, spread, 1), truth, cv=LeaveOneOut()))
