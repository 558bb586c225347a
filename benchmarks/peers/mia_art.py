"""ART's black-box membership inference, as it comes (on logits) and on softmax: ``python -m benchmarks.peers.mia_art FOLDER``.

It is given half of the true members and half of the others, and judged on the rest.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from art.attacks.inference.membership_inference import MembershipInferenceBlackBox
from art.estimators.classification import PyTorchClassifier

from benchmarks.peers.rates import rates
from benchmarks.peers.weights import module

KINDS = ("nn", "rf")


def main(arguments: list[str]) -> int:
    torch.set_num_threads(1)
    data = np.load(Path(arguments[0]) / "targets.npz")
    X, y = data["X"], data["y"]
    found: list[dict[str, Any]] = []
    for place, member in enumerate(data["masks"].T):
        torch.manual_seed(0)
        line = {}
        for softmax in (False, True):
            model = module(data, place, softmax=softmax)
            target = PyTorchClassifier(model, torch.nn.CrossEntropyLoss(), (X.shape[1],), int(y.max()) + 1, device_type="cpu")
            for kind in KINDS:
                line[f"ART {kind}, {'softmax' if softmax else 'as it comes'}"] = attacked(target, kind, X, y, member)
        found.append(line)
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


def attacked(target: Any, kind: str, X: np.ndarray, y: np.ndarray, member: np.ndarray) -> dict[str, float]:
    inside, outside = np.flatnonzero(member), np.flatnonzero(~member)
    (in_known, in_asked), (out_known, out_asked) = np.array_split(inside, 2), np.array_split(outside, 2)
    before = time.process_time()
    attack = MembershipInferenceBlackBox(target, attack_model_type=kind)
    attack.fit(X[in_known], y[in_known], X[out_known], y[out_known])
    rows = np.concatenate([in_asked, out_asked])
    scores = np.asarray(attack.infer(X[rows], y[rows], probabilities=True)).reshape(len(rows), -1)[:, -1]
    return {**rates(scores, np.repeat([True, False], [len(in_asked), len(out_asked)])), "cpu_seconds": time.process_time() - before}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
