"""ML Privacy Meter's reference attack on 16 reference models: ``python -m benchmarks.peers.mia_privacy_meter FOLDER``.

Its time is that of scoring; the reference models are trained for it.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from privacy_meter.audit import Audit
from privacy_meter.constants import InferenceGame
from privacy_meter.dataset import Dataset
from privacy_meter.hypothesis_test import gaussian_threshold_func, linear_itp_threshold_func
from privacy_meter.information_source import InformationSource
from privacy_meter.information_source_signal import ModelLoss
from privacy_meter.metric import ReferenceMetric
from privacy_meter.model import PytorchModelTensor

from benchmarks.peers.weights import module

TESTS = {"linear": linear_itp_threshold_func, "Gaussian": gaussian_threshold_func}


def main(arguments: list[str]) -> int:
    torch.set_num_threads(1)
    data = np.load(Path(arguments[0]) / "targets.npz")
    X, y, found = data["X"], data["y"], []
    loss = torch.nn.CrossEntropyLoss(reduction="none")
    references = [PytorchModelTensor(module(data, place, prefix="r"), loss, batch_size=1_000) for place in range(len(data["rw0"]))]
    for place, member in enumerate(data["masks"].T):
        sides = {"train": member, "test": ~member}
        parts = {name: {"X": torch.from_numpy(X[side]), "y": torch.from_numpy(y[side])} for name, side in sides.items()}
        dataset = Dataset(parts, "X", "y")
        target = InformationSource([PytorchModelTensor(module(data, place), loss, batch_size=1_000)], [dataset])
        line = {}
        for name, test in TESTS.items():
            before = time.process_time()
            with tempfile.TemporaryDirectory() as folder:
                metric = ReferenceMetric(target, InformationSource(references, [dataset]), [ModelLoss()], test, logs_dirname=folder)
                audit = Audit([metric], InferenceGame.PRIVACY_LOSS_MODEL, [target], [InformationSource(references, [dataset])], save_logs=False)
                audit.prepare()
                answer = audit.run()[0]
            line[f"ML Privacy Meter, 16 references, {name}"] = {**read(answer), "cpu_seconds": time.process_time() - before}
        found.append(line)
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


def read(answer: Any) -> dict[str, float]:
    """Rates over its own thresholds."""
    result = answer[0] if isinstance(answer, list) else answer
    said, truth = np.asarray(result.predicted_labels, bool), np.asarray(result.true_labels, bool)
    fpr, tpr = said[:, ~truth].mean(axis=1), said[:, truth].mean(axis=1)
    order = np.lexsort((tpr, fpr))
    area = np.trapezoid(np.append(tpr[order], 1.0), np.append(fpr[order], 1.0)) if hasattr(np, "trapezoid") else np.trapz(
        np.append(tpr[order], 1.0), np.append(fpr[order], 1.0))
    return {**{f"tpr_at_{limit:g}": float(tpr[fpr <= limit].max(initial=0.0)) for limit in (0.01, 0.001)}, "auc": float(area)}


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.exit(main(sys.argv[1:]))
