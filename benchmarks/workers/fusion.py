"""Learned fusion on 6 shadows against the likelihood ratio on 64: ``python -m benchmarks.workers.fusion TASK TARGETS``. Prints one JSON line."""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.tasks import TASKS, Task, trainer_of
from tacit.attacks import (
    SHADOWED,
    Moments,
    as_target,
    fit_fusion,
    fusion_features,
    paired_membership,
    relative,
    train_networks,
)
from tacit.attacks.membership import lira_per_record
from tacit.attacks.signals import Labels

FEW, MANY = 6, 64
FPRS = (0.01, 0.001)
Scores = NDArray[np.float64]
Masks = NDArray[np.bool_]


def confidences(task: Task, X: Any, y: NDArray[np.int64], masks: Masks, *, seed: int) -> tuple[Scores, Scores]:
    """Of models trained on each mask, ``[records, models]``, and the share of right answers of members and others."""
    classes, found, right = int(y.max()) + 1, [], []
    if task.family == "mlp":
        rng = np.random.default_rng(seed)
        for start in range(0, masks.shape[1], 8):
            part = train_networks(X, y, members=masks[:, start : start + 8], classes=classes, recipe=task.recipe, rng=rng).logits(X)
            found += list(part)
    else:
        train = trainer_of(task)
        found = [as_target(train(X[mask], y[mask])).answers(X) for mask in masks.T]
    labels = Labels.of(y, np.asarray(found[0]), tuple(range(classes)))
    for answers, mask in zip(found, masks.T, strict=True):
        correct = answers.argmax(axis=1) == y
        right.append((correct[mask].mean(), correct[~mask].mean()))
    return np.stack([next(iter(labels.confidence(answers).values())) for answers in found], axis=1), np.array(right)


def tpr(scores: Scores, member: Masks, fpr: float) -> float:
    others = np.sort(scores[~member])[::-1]
    return float((scores[member] > others[int(fpr * len(others))]).mean())


def clock(work: Callable[[], Any]) -> tuple[Any, float]:
    before = time.process_time()
    return work(), time.process_time() - before


def main(arguments: list[str]) -> int:
    task, targets = TASKS[arguments[0]], int(arguments[1])
    X, y = task.load()
    rng = np.random.default_rng(7)
    few, many = paired_membership(len(y), FEW, rng=rng), paired_membership(len(y), MANY, rng=rng)
    attacked = paired_membership(len(y), targets + targets % 2, rng=rng)[:, :targets]
    (small, _), seconds_few = clock(lambda: confidences(task, X, y, few, seed=1))
    (large, _), _ = clock(lambda: confidences(task, X, y, many, seed=2))
    (models, right), _ = clock(lambda: confidences(task, X, y, attacked, seed=3))
    fusion, seconds_fit = clock(lambda: fit_fusion(small, few, rng=np.random.default_rng(0)))
    moments_few, (moments_many, seconds_moments) = Moments.of(small, few), clock(lambda: Moments.of(large, many))
    found: dict[str, list[list[float]]] = {}
    seconds = [0.0, 0.0]
    for place in range(targets):
        target, member = models[:, place], attacked[:, place]
        learned, spent = clock(lambda t=target: fusion.score(fusion_features(t, small, few)))
        seconds[0] += spent / targets
        ratio, spent = clock(lambda t=target: lira_per_record(t, moments_many))
        seconds[1] += spent / targets
        scores = {"fusion, 6": learned, "likelihood ratio, 64": ratio, "relative, 6": relative(target, small), "alone": target}
        scores |= {f"{name}, 6": attack(target, moments_few) for name, attack in SHADOWED.items()}
        for name, values in scores.items():
            found.setdefault(name, []).append([tpr(values, member, fpr) for fpr in FPRS])
    line = {
        "rates": found, "right": right.mean(axis=0).tolist(),
        "cpu": {"six shadows": seconds_few, "fusion": seconds_fit + seconds[0], "likelihood ratio": seconds_moments + seconds[1],
                "one after another": sequential(task, X, y, many[:, 0])},
    }
    sys.stdout.write(json.dumps(line) + "\n")
    return 0


def sequential(task: Task, X: Any, y: NDArray[np.int64], mask: Masks) -> float:
    """CPU seconds of one shadow as most tools train it: for perceptrons a loop over a data loader."""
    if task.family != "mlp":
        train = trainer_of(task)
        return clock(lambda: as_target(train(X[mask], y[mask])).answers(X))[1]
    import torch.utils.data  # noqa: F401 - not to be timed

    return min(clock(lambda: loop(task, X, y, mask))[1] for _ in range(3))


def loop(task: Task, X: Any, y: NDArray[np.int64], mask: Masks) -> None:
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.set_num_threads(1)
    widths = (X.shape[1], *task.recipe.hidden, int(y.max()) + 1)
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    model = nn.Sequential(*layers[:-1])
    optimiser = torch.optim.Adam(model.parameters(), task.recipe.rate)
    loader = DataLoader(TensorDataset(torch.from_numpy(X[mask]), torch.from_numpy(y[mask])), batch_size=task.recipe.batch, shuffle=True)
    for _ in range(task.recipe.epochs):
        for inputs, labels in loader:
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(inputs), labels).backward()
            optimiser.step()
    with torch.inference_mode():
        model(torch.from_numpy(X))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
