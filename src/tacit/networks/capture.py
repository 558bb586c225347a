"""Keeping what a forward pass computes, for one pass: layers' ``forward`` is replaced while it runs and is itself again afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from tacit.errors import UsageError
from tacit.networks.taps import Tap, Target

Handle: TypeAlias = Tensor | GradientEdge
Make: TypeAlias = Callable[[Tensor], Sequence[Tap]]
Forward: TypeAlias = Callable[..., Any]


@dataclass
class Capture:
    """One call of one layer: where its output's gradient is found, and what becomes of it."""

    name: str
    handle: Handle
    make: Make


@dataclass
class Recorder:
    """What one forward pass left behind.

    Args:
        batch: rows of the batch; layers see them on their first axis.
        rows: consecutive rows of one unit.
        traced: whether the pass is traced into a graph; gradients are then asked by tensor.
        targets: for a parameter's name, where its gradient goes.
        modes: for a layer's name, how its norm is computed; what is missing follows the rule of the layer's kind.
    """

    batch: int
    rows: int
    traced: bool
    targets: dict[str, Target]
    modes: dict[str, str]
    captures: list[Capture] = field(default_factory=list)

    def keep(self, name: str, output: Tensor, make: Make) -> Tensor:
        """Keep a layer's output; returns what the model goes on with."""
        if not output.requires_grad:
            output = output.detach().requires_grad_()
        handle = output if self.traced else get_gradient_edge(output)
        self.captures.append(Capture(name, handle, make))
        return output.clone() if self.traced else output  # a graph may change it in place; a compiler leaves the copy out otherwise

    def target(self, name: str) -> Target | None:
        """Where the gradient of a parameter goes; ``None`` for one that is not trained."""
        return self.targets.get(name)


@contextmanager
def replaced(forwards: dict[nn.Module, Forward]) -> Iterator[None]:
    """Let each module run another ``forward`` inside the block, whatever happens in it."""
    before = {module: module.__dict__.get("forward") for module in forwards}
    for module, forward in forwards.items():
        module.__dict__["forward"] = forward
    try:
        yield
    finally:
        for module, old in before.items():
            if old is None:
                module.__dict__.pop("forward", None)
            else:
                module.__dict__["forward"] = old


def unchanged(name: str, a: Tensor) -> Callable[[], Tensor]:
    """The input as it was: raises when it was overwritten after the layer had used it."""
    kept = a.detach()
    version = kept._version

    def get() -> Tensor:
        if kept._version != version:
            raise UsageError(
                f"Expected the input of layer «{name}» to stay as it was until the backward pass; an in-place operation changed it. "
                "Use the operation that makes a new tensor, such as x = x + y."
            )
        return kept

    return get


def part(target: Target | None, first: int, last: int) -> Target | None:
    """The rows of a parameter from ``first`` to before ``last``."""
    return None if target is None else Target(target.parameter, target.view[first:last], target.whole)


def gradients_of(losses: Tensor, captures: Sequence[Capture]) -> list[Tensor | None]:
    """The gradient of the summed losses by every kept output; ``None`` where an output has no part in them."""
    return list(torch.autograd.grad(losses.sum(), [capture.handle for capture in captures], allow_unused=True))
