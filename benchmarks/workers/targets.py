"""Targets for peers to attack, and our own attack on them: ``python -m benchmarks.workers.targets FOLDER COUNT``.

Writes records, labels, members, the targets' logits and weights to FOLDER/targets.npz and prints our figures as one JSON line.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.rates import rates
from benchmarks.tasks import TASKS
from benchmarks.workers.fusion import FEW, clock, confidences
from tacit.attacks import Networks, fit_fusion, fusion_features, paired_membership, relative, train_networks

REFERENCES = 16
"""Models that a peer gets to compare with."""


def _named(networks: Networks, prefix: str) -> dict[str, Any]:
    return {f"{prefix}{letter}{place}": part for place, layer in enumerate(networks.layers) for letter, part in zip("wb", layer, strict=True)}


def main(arguments: list[str]) -> int:
    folder, count, task = Path(arguments[0]), int(arguments[1]), TASKS["places"]
    X, y = task.load()
    rng = np.random.default_rng(11)
    masks = paired_membership(len(y), count, rng=rng)
    networks = train_networks(X, y, members=masks, classes=int(y.max()) + 1, recipe=task.recipe, rng=rng)
    logits = networks.logits(X)
    halves = paired_membership(len(y), REFERENCES, rng=rng)
    references, references_cpu = clock(lambda: train_networks(X, y, members=halves, classes=int(y.max()) + 1, recipe=task.recipe, rng=rng))
    weights = {**_named(networks, ""), **_named(references, "r")}
    np.savez(folder / "targets.npz", X=X, y=y, masks=masks, logits=logits, **weights)
    few = paired_membership(len(y), FEW, rng=rng)
    (shadows, _), training = clock(lambda: confidences(task, X, y, few, seed=1))
    fusion, fitting = clock(lambda: fit_fusion(shadows, few, rng=rng))
    own = np.take_along_axis(logits.astype(np.float64), y[None, :, None], 2)[:, :, 0]
    rest = logits.astype(np.float64).copy()
    np.put_along_axis(rest, np.broadcast_to(y[None, :, None], (count, len(y), 1)), -np.inf, 2)
    margin = own - np.logaddexp.reduce(rest, axis=2)
    found = []
    for place in range(count):
        scores, spent = clock(lambda t=margin[place]: fusion.score(fusion_features(t, shadows, few)))
        line = {"Tacit, 6 shadows": {**rates(scores, masks[:, place]), "cpu_seconds": training + fitting + spent}}
        scores, spent = clock(lambda t=margin[place]: relative(t, shadows[:, :2]))
        line["Tacit, 2 shadows"] = {**rates(scores, masks[:, place]), "cpu_seconds": training / 3 + spent}
        line["Tacit, none"] = {**rates(margin[place], masks[:, place]), "cpu_seconds": 0.0}
        found.append(line)
    sys.stdout.write(json.dumps({"ours": found, "references_cpu": references_cpu}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
