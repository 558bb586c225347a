"""Parts without the guard: no sampling, no charge, no guarantee. For benchmarks and tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from tacit.networks.engine import BookKeeping, Loss
from tacit.networks.noise import noised
from tacit.networks.optimisers import adopt
from tacit.randomness import SecureRandom


def bare_step(
    model: nn.Module, loss: Loss, optimiser: torch.optim.Optimizer, *, noise_multiplier: float = 1.0, expected_batch: int = 1024,
    compiled: bool = False,
) -> Callable[[Any, Any], None]:
    """A whole step on the batch that is passed: clipped sum (bound 1), secure noise, update. Nothing is charged and nothing is guaranteed."""
    engine, source = BookKeeping(model, loss), SecureRandom()
    adopt(optimiser, engine.flat)
    sum_of: Callable[[Any, Any], torch.Tensor] = engine.clipped_sum
    if compiled:
        from tacit.networks.compiled import Compiled

        sum_of = Compiled(engine).clipped_sum

    def step(x: Any, y: Any) -> None:
        engine.flat.gradient.copy_(noised(sum_of(x, y), noise_multiplier, source)).div_(expected_batch)
        optimiser.step()

    return step
