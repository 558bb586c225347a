"""What is attacked: tasks that a model overfits or not, with the model that is trained on half of each.

``places`` stands in for a published benchmark of visited places (30 classes, 446 bits, 5,010 records) and is drawn from a generator of our own: each
class has its own habits, which are hardly stronger than everybody's. The others are real.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.datasets import CASES
from tacit.attacks import NetworkRecipe

Matrix = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Task:
    """Records, labels, and a way to train models on subsets.

    Args:
        about: in words.
        load: records float32 and class numbers.
        family: ``mlp``, ``trees`` or ``cnn``.
        recipe: of perceptrons.
    """

    about: str
    load: Callable[[], tuple[Matrix, Labels]]
    family: str = "mlp"
    recipe: NetworkRecipe = field(default_factory=NetworkRecipe)


def places(records: int = 5_010, bits: int = 446, classes: int = 30, *, seed: int = 0, common: float = 0.65) -> tuple[Matrix, Labels]:
    """Visits as bits: every class visits places by its own chances, blended with everybody's by ``common``."""
    rng = np.random.default_rng(seed)
    everybody = rng.beta(0.6, 4.0, bits)
    habits = np.clip(everybody * np.exp(rng.normal(0, 1, (classes, bits))), 0, 0.95)
    labels = rng.integers(0, classes, records)
    chances = common * everybody + (1 - common) * habits[labels]
    return (rng.random((records, bits)) < chances).astype(np.float32), labels


def census() -> tuple[Matrix, Labels]:
    """Census income, 6,000 records: numbers scaled, texts by indicator."""
    return _tabled("adult", 6_000)


def intrusions() -> tuple[Matrix, Labels]:
    """Connections, 8,000 records."""
    return _tabled("nsl_kdd", 8_000)


def digits() -> tuple[Matrix, Labels]:
    """1,797 handwritten digits of 8 by 8 points, which scikit-learn carries."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return (found.data / 16).astype(np.float32), found.target.astype(np.int64)


def _tabled(name: str, records: int) -> tuple[Matrix, Labels]:
    import pyarrow as pa

    from tacit.attacks.tables import numeric

    split = CASES[name].load(0)
    chosen = np.random.default_rng(0).permutation(split.train.height)[:records]
    table: pa.Table = split.train[chosen].to_arrow()
    return numeric(table), split.y_train[chosen]


TASKS = {
    "places": Task("30 classes of 446 bits, made up; a perceptron that remembers all of it", places),
    "census-trees": Task("census income; boosted trees grown until they remember", census, "trees"),
    "digits-cnn": Task("handwritten digits; a convolutional network", digits, "cnn"),
    "intrusions": Task("connections; a perceptron that generalises", intrusions, recipe=NetworkRecipe((64,), epochs=20)),
}


def trainer_of(task: Task) -> Callable[[Any, Any], Any]:
    """From members to a model: how a target, and each shadow of families without a batched product, is trained."""
    if task.family == "trees":
        return _trees
    if task.family == "cnn":
        return _cnn
    raise ValueError(task.family)


def _trees(X: Matrix, y: Labels) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    with warnings.catch_warnings(action="ignore"):
        return HistGradientBoostingClassifier(max_iter=150, learning_rate=0.2, early_stopping=False, max_leaf_nodes=31).fit(X, y)


def _cnn(X: Matrix, y: Labels) -> Any:
    import torch
    from torch import nn

    layers = (nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10))
    model = nn.Sequential(*layers)
    optimiser, inputs, labels = torch.optim.Adam(model.parameters(), 1e-3), torch.from_numpy(X), torch.from_numpy(y)
    for _ in range(25):
        for chosen in torch.randperm(len(labels)).split(64):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(inputs[chosen]), labels[chosen]).backward()
            optimiser.step()
    return model
