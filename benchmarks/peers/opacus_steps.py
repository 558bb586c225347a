"""Opacus' private steps. ``python -m benchmarks.peers.opacus_steps MODEL THREADS``."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import torch
import torch.nn.functional as F
from opacus import GradSampleModule
from opacus.grad_sample import GradSampleModuleExpandedWeights
from opacus.grad_sample.grad_sample_module_fast_gradient_clipping import GradSampleModuleFastGradientClipping
from opacus.optimizers import DPOptimizer
from opacus.optimizers.optimizer_fast_gradient_clipping import DPOptimizerFastGradientClipping
from opacus.utils.fast_gradient_clipping_utils import DPLossFastGradientClipping

from benchmarks.networks import Step, made, serve

CLIP, NOISE = 1.0, 1.0


def kept(name: str, wrap: Any) -> Step:
    """Per-example gradients that are kept: hooks, or expanded weights."""
    model, x, y = made(name)
    wrapped = wrap(model)
    optimiser = DPOptimizer(
        torch.optim.SGD(wrapped.parameters(), 0.1), noise_multiplier=NOISE, max_grad_norm=CLIP, expected_batch_size=len(y),
    )

    def step(rows: int | None = None) -> None:
        optimiser.zero_grad()
        F.cross_entropy(wrapped(x[:rows]), y[:rows]).backward()
        optimiser.step()

    return step


def ghost(name: str) -> Step:
    """Ghost clipping: two backward passes."""
    model, x, y = made(name)
    wrapped = GradSampleModuleFastGradientClipping(model, max_grad_norm=CLIP, use_ghost_clipping=True)
    optimiser = DPOptimizerFastGradientClipping(
        torch.optim.SGD(wrapped.parameters(), 0.1), noise_multiplier=NOISE, max_grad_norm=CLIP, expected_batch_size=len(y),
    )
    loss = DPLossFastGradientClipping(wrapped, optimiser, torch.nn.CrossEntropyLoss(), "mean")

    def step(rows: int | None = None) -> None:
        optimiser.zero_grad()
        loss(wrapped(x[:rows]), y[:rows]).backward()
        optimiser.step()

    return step


def main() -> None:
    warnings.simplefilter("ignore")
    name, threads = sys.argv[1], int(sys.argv[2])
    torch.set_num_threads(threads)
    serve({
        "opacus": lambda: kept(name, GradSampleModule), "opacus_ghost": lambda: ghost(name),
        "opacus_ew": lambda: kept(name, GradSampleModuleExpandedWeights),
    })  # fmt: skip


if __name__ == "__main__":
    main()
