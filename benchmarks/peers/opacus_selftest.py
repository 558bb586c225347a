"""Opacus under the step self-test: right, per layer, and per layer misused. ``python -m benchmarks.peers.opacus_selftest``. Prints one JSON line."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from opacus.optimizers import DPOptimizer, DPPerLayerOptimizer
from opacus.utils.uniform_sampler import UniformWithReplacementSampler

from benchmarks import ROOT

sys.path.insert(0, str(ROOT / "src"))

from tacit.guard import StepClaim, self_test

WIDTHS, CLIP, SIGMA, BATCH, UNITS, RATE = (256, 256, 128, 128), 1.3, 1.0, 64, 2_000, 0.032


def stepper(make: Callable[[torch.optim.Optimizer], Any]) -> Callable[[np.ndarray], np.ndarray]:
    """The step of an optimiser over parameters whose per-example gradients are put in."""
    parameters = [torch.nn.Parameter(torch.zeros(width)) for width in WIDTHS]
    wrapped = make(torch.optim.SGD(parameters, lr=1.0))

    def step(gradients: np.ndarray) -> np.ndarray:
        parts = torch.from_numpy(gradients.astype(np.float32)).split(WIDTHS, dim=1)
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.grad_sample = part
            parameter.summed_grad = None
        wrapped.pre_step()
        found = torch.cat([parameter.grad.flatten() for parameter in parameters]).double().numpy().copy()
        wrapped.zero_grad()
        return found

    return step


def main() -> int:
    torch.manual_seed(0)
    sampler = UniformWithReplacementSampler(num_samples=UNITS, sample_rate=RATE, steps=1_000)
    batches = iter(sampler)
    claim = StepClaim(CLIP, SIGMA, BATCH, WIDTHS, RATE, UNITS)
    apart = replace(claim, rate=None, per_layer=True)
    shared = {"noise_multiplier": SIGMA, "expected_batch_size": BATCH}
    root = CLIP / math.sqrt(len(WIDTHS))
    makers: dict[str, Callable[[torch.optim.Optimizer], Any]] = {
        "correct": lambda plain: DPOptimizer(plain, max_grad_norm=CLIP, **shared),
        "per layer": lambda plain: DPPerLayerOptimizer(plain, max_grad_norm=[root] * len(WIDTHS), **shared),
        "per layer, misused": lambda plain: DPPerLayerOptimizer(plain, max_grad_norm=[CLIP] * len(WIDTHS), **shared),
    }
    found = {}
    for name, make in makers.items():
        draw = (lambda: np.array(next(batches))) if name == "correct" else None
        result = self_test(stepper(make), claim if name == "correct" else apart, draw=draw)
        found[name] = {"passed": result.passed, "failed": list(result.failed), "seconds": result.seconds}
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
