"""Tacit's private step, the plain step, and per-example gradients by `torch.func`. ``python -m benchmarks.workers.steps MODEL THREADS``."""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch.func import functional_call, grad, vmap

from benchmarks.networks import Step, made, serve
from tacit.networks import BookKeeping
from tacit.networks.hazmat import bare_step
from tacit.networks.sums import MARGIN

CLIP = 1.0


def each(out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(out, y, reduction="none")


def plain(name: str, *, compiled: bool = False) -> Step:
    model, x, y = made(name)
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    forward = torch.compile(model) if compiled else model

    def step(rows: int | None = None) -> None:
        optimiser.zero_grad()
        F.cross_entropy(forward(x[:rows]), y[:rows]).backward()
        optimiser.step()

    return step


def private(name: str, *, compiled: bool = False, noise: str = "secure", checked: bool = True) -> Step:
    if checked:
        agreed(name)
    model, x, y = made(name)
    step = bare_step(model, each, torch.optim.SGD(model.parameters(), 0.1), expected_batch=len(y), compiled=compiled, noise=noise)
    return lambda rows=None: step(x[:rows], y[:rows])


def agreed(name: str) -> None:
    """Nothing wrong is timed: on part of the batch the clipped sum is that of `vmap(grad)` to a millionth."""
    model, x, y = made(name)
    x, y = x[:64], y[:64]
    wanted = per_example(model)(x, y)
    found = BookKeeping(model, each, clip=CLIP).clipped_sum(x, y) / (1 - MARGIN)
    gap = float((found - wanted).norm() / wanted.norm())
    if gap > 1e-6:
        raise SystemExit(f"clipped sums differ by {gap:.1e}")


def per_example(model: torch.nn.Module) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def loss(values: dict[str, torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(functional_call(model, values, (x[None],)), y[None])

    def clipped(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        found = vmap(grad(loss), in_dims=(None, 0, 0))(parameters, x, y)
        norms = torch.stack([g.flatten(1).square().sum(1) for g in found.values()]).sum(0).sqrt()
        c = (CLIP / norms).clamp(max=1.0)
        return torch.cat([torch.einsum("b...,b->...", g, c).flatten() for g in found.values()])

    return clipped


def vmapped(name: str) -> Step:
    model, x, y = made(name)
    clipped = per_example(model)
    return lambda: clipped(x, y) + torch.randn(sum(p.numel() for p in model.parameters()))


def main() -> None:
    name, threads = sys.argv[1], int(sys.argv[2])
    torch.set_num_threads(threads)
    serve({
        "plain": lambda: plain(name), "plain_compiled": lambda: plain(name, compiled=True), "tacit": lambda: private(name),
        "tacit_compiled": lambda: private(name, compiled=True), "tacit_randn": lambda: private(name, noise="torch"), "vmap": lambda: vmapped(name),
        "tacit_unchecked": lambda: private(name, checked=False),  # the check would raise the peak of memory before it is measured
    })  # fmt: skip


if __name__ == "__main__":
    main()
