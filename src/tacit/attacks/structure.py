"""Structural disclosure: records that stand in a model itself, as leaves for a few people or as kept examples (after Smith et al. 2022)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tacit.attacks.outcome import Outcome
from tacit.errors import UsageError

FEW = 5
"""Leaves of fewer records describe people."""

_KEPT = ("_fit_X", "support_vectors_", "X_train_")


def attack_structure(model: Any, *, few: int = FEW) -> Outcome:
    """Look inside a scikit-learn, XGBoost or LightGBM model; asks nothing and needs no record.

    Args:
        model: fitted; the last step of a pipeline counts.
        few: leaves of fewer records are counted.

    Returns:
        The share of leaves that are too small, or of training records that are kept; without any, 0. The control is a model without such leaves.

    Raises:
        UsageError: for a model whose structure cannot be read.
    """
    inner = model.steps[-1][1] if hasattr(model, "steps") else model
    kept = next((np.asarray(getattr(inner, name)) for name in _KEPT if getattr(inner, name, None) is not None), None)
    if kept is not None:
        return Outcome(
            "structure, kept records", "TA701", 1.0, 0.0, 1.0, 1.0, "share of kept examples that are training records",
            "whoever has the model has these records", {"kept": len(kept)},
        )
    counts = leaves_of(inner)
    small = counts < few
    share = float(small.mean()) if len(counts) else 0.0
    return Outcome(
        "structure, small leaves", "TA701", share, 0.0, share, share, f"share of leaves with fewer than {few} records",
        "rules of the model stand for single people", {"leaves": len(counts), "smallest": int(counts.min(initial=0)), "few": few},
    )


def leaves_of(model: Any) -> NDArray[np.float64]:
    """How many training records each leaf has.

    Raises:
        UsageError: for a model that has no leaves, or does not say.
    """
    parts = getattr(model, "estimators_", None)
    if hasattr(model, "tree_"):
        return _of_tree(model.tree_)
    if parts is not None:
        trees = [tree for tree in np.asarray(parts, dtype=object).ravel() if hasattr(tree, "tree_")]
        if trees:
            return np.concatenate([_of_tree(tree.tree_) for tree in trees])
    if hasattr(model, "_predictors"):
        nodes = [predictor.nodes for step in model._predictors for predictor in step]
        return np.concatenate([part["count"][part["is_leaf"].astype(bool)] for part in nodes]).astype(np.float64)
    booster = getattr(model, "booster_", None)
    if booster is not None:
        frame = booster.trees_to_dataframe()
        return np.asarray(frame[frame["left_child"].isna()]["count"], np.float64)
    if hasattr(model, "get_booster"):
        frame = model.get_booster().trees_to_dataframe()
        # Cover is how many records for squared loss, and less for others: rather too few than too many.
        return np.asarray(frame[frame["Feature"] == "Leaf"]["Cover"], np.float64)
    raise UsageError(f"Expected a model of trees, or one that keeps records; got {type(model).__name__}.")


def _of_tree(tree: Any) -> NDArray[np.float64]:
    return np.asarray(tree.n_node_samples[tree.children_left < 0], np.float64)
