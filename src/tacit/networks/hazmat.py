"""Parts without the guard: no sampling, no charge, no guarantee. For benchmarks and tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from tacit.networks.engine import BookKeeping, Loss
from tacit.networks.noise import Ahead
from tacit.networks.optimisers import adopt
from tacit.randomness import SecureRandom


def bare_step(
    model: nn.Module, loss: Loss, optimiser: torch.optim.Optimizer, *, expected_batch: int = 1024,
    compiled: bool = False, noise: str = "secure",
) -> Callable[[Any, Any], None]:
    """A whole step on the batch that is passed: clipped sum (bound 1), secure noise (σ = 1), update. Nothing is charged and nothing is guaranteed.

    With ``noise="torch"`` it comes from PyTorch's generator, which is no secure one: to measure what the secure one costs.
    """
    engine, source = BookKeeping(model, loss), SecureRandom()
    own, secure = engine.flat.gradient, Ahead(engine.flat.size, 1.0, source) if noise == "secure" else None
    adopt(optimiser, engine.flat)
    sum_of: Callable[[Any, Any], torch.Tensor] = engine.clipped_sum
    if compiled:
        from tacit.networks.compiled import Compiled

        sum_of = Compiled(engine).clipped_sum

    sizes: list[int] = []

    def step(x: Any, y: Any) -> None:
        if len(y) not in sizes:
            sizes[:] = [len(y)]
            engine.settle(x, y)
            engine.tune(x, y)
        total = sum_of(x, y)
        torch.mul(total + torch.randn_like(total) if secure is None else secure(total), 1 / expected_batch, out=own)
        optimiser.step()

    return step
