"""Banded against independent noise: a small network on the census income records. ``python -m benchmarks.workers.correlated SEEDS``."""

from __future__ import annotations

import dataclasses
import json
import secrets
import sys

import numpy as np
import torch
from sklearn.metrics import log_loss, roc_auc_score
from torch import nn

from benchmarks import DELTA
from benchmarks.datasets import CASES
from tacit import Budget
from tacit.domain import Domain
from tacit.models.base import as_columns
from tacit.networks import TrainingPlan, private_step
from tacit.questions.linear import DESIGN_UNIT, design

STEPS, BATCH, RATES, EPSILONS = 1_000, 256, (0.5,), (4.0, 8.0)


def main() -> None:
    torch.set_num_threads(1)
    split = CASES["adult"].load(0)
    domain = Domain.from_toml(split.domain_toml)

    def matrix(table: object) -> torch.Tensor:
        columns, rows = as_columns(table, domain)
        return torch.from_numpy(design(columns, rows, domain).astype(np.float32) / DESIGN_UNIT)

    x, test, y = matrix(split.train), matrix(split.test), torch.from_numpy(split.y_train)
    found = []
    for epsilon in EPSILONS:
        for noise in ("independent", "banded"):
            plan = TrainingPlan.for_budget(Budget(epsilon, DELTA), units=24_000, batch=BATCH, steps=STEPS, noise=noise)
            for rate in RATES:
                for seed in range(int(sys.argv[1])):
                    torch.manual_seed(seed)
                    model = nn.Sequential(nn.Linear(x.shape[1], 64), nn.ReLU(), nn.Linear(64, 2))
                    optimiser = torch.optim.SGD(model.parameters(), rate, momentum=0.9)
                    fresh = dataclasses.replace(plan, run=secrets.token_hex(8))
                    step = private_step(model, nn.CrossEntropyLoss(), optimiser, fresh, data=(x, y))
                    for _ in range(STEPS):
                        step()
                    with torch.no_grad():
                        scores = model(test).softmax(1)[:, 1].double().numpy()
                    found.append({
                        "epsilon": epsilon, "noise": noise, "rate": rate, "seed": seed, "bands": plan.sampler.cycle,
                        "loss": log_loss(split.y_test, scores), "auc": roc_auc_score(split.y_test, scores),
                    })  # fmt: skip
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
