"""A small network trained by DP-SGD. ``python -m benchmarks.peers.opacus FOLDER``."""

from __future__ import annotations

import sys
import warnings
from importlib.metadata import version

import numpy as np
import torch
from opacus import GradSampleModule
from opacus.accountants.utils import get_noise_multiplier
from opacus.optimizers import DPOptimizer

from benchmarks.peers.common import Job, cpu, read_job, serve

HIDDEN, EPOCHS, BATCH, RATE, CLIP = 64, 20, 1024, 2e-3, 1.0


def network(job: Job, epsilon: float | None) -> tuple[np.ndarray, float]:
    """One hidden layer of 64, Adam, Poisson batches of about 1,024 rows, 20 epochs, PRV accounting.

    The noise is chosen for all epochs before training.
    Batches are drawn by one mask, which is faster than the library's own loader; accounting is not timed.
    """
    torch.set_num_threads(1)
    torch.manual_seed(job.options["seed"])
    train, test = (torch.tensor(part, dtype=torch.float32) for part in job.one_hot())
    rate, steps = BATCH / len(train), EPOCHS * len(train) // BATCH
    noise = get_noise_multiplier(target_epsilon=epsilon, target_delta=job.options["delta"], sample_rate=rate, steps=steps, accountant="prv")
    with cpu() as clock:
        model = _train(train, torch.tensor(job.y, dtype=torch.float32), noise=noise, rate=rate, steps=steps)
    with torch.no_grad():
        return model(test).squeeze(1).numpy(), clock.seconds


def _train(x: torch.Tensor, y: torch.Tensor, *, noise: float, rate: float, steps: int) -> torch.nn.Module:
    layers = torch.nn.Sequential(torch.nn.Linear(x.shape[1], HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, 1))
    model = GradSampleModule(layers)
    optimizer = DPOptimizer(
        torch.optim.Adam(model.parameters(), lr=RATE), noise_multiplier=noise, max_grad_norm=CLIP, expected_batch_size=rate * len(x)
    )
    loss = torch.nn.BCEWithLogitsLoss()
    for _ in range(steps):
        chosen = torch.rand(len(x)) < rate
        optimizer.zero_grad()
        loss(model(x[chosen]).squeeze(1), y[chosen]).backward()
        optimizer.step()
    return layers


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # secure mode cannot be had from the wheels; the guarantee is as stated by its authors
    serve(read_job(sys.argv[1]), network, {name: version(name) for name in ("opacus", "torch", "numpy")})
