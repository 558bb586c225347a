"""Optimisers over the flat buffers: those that treat every coordinate by itself need one call instead of one per parameter."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tacit.errors import UsageError
from tacit.networks.flat import Flat

ELEMENTWISE = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.Adagrad, torch.optim.RMSprop)


def adopt(optimiser: torch.optim.Optimizer, flat: Flat) -> None:
    """Let the optimiser move the flat parameters.

    Where it has one group and treats coordinates by themselves, the group's parameters become the one flat tensor; else every parameter gets its
    part of the flat gradient.

    Raises:
        UsageError: for an optimiser of other parameters, or one that needs to evaluate the loss itself.
    """
    held = {id(p) for group in optimiser.param_groups for p in group["params"]}
    if held != {id(p) for p in flat.parameters}:
        raise UsageError("Expected an optimiser over exactly the model's trained parameters; this one has others. Pass model.parameters().")
    if isinstance(optimiser, torch.optim.LBFGS):
        raise UsageError("Expected an optimiser that takes one gradient per step; LBFGS evaluates the loss again. Use SGD, Adam or Adagrad.")
    flat.hand_out()
    if type(optimiser) in ELEMENTWISE and len(optimiser.param_groups) == 1 and not _moved(optimiser):
        whole = nn.Parameter(flat.values, requires_grad=True)
        whole.data = flat.values
        whole.grad = flat.gradient
        group: dict[str, Any] = optimiser.param_groups[0]
        group["params"] = [whole]
        optimiser.state.clear()
        if isinstance(optimiser, torch.optim.Adagrad):
            start = torch.full_like(flat.values, group["initial_accumulator_value"])
            optimiser.state[whole] = {"step": torch.tensor(0.0), "sum": start}


def _moved(optimiser: torch.optim.Optimizer) -> bool:
    return any(float(state.get("step", 0)) > 0 or "momentum_buffer" in state for state in optimiser.state.values())


def tensors_of(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state by name, for a checkpoint."""
    found = {}
    for place, state in optimiser.state_dict()["state"].items():
        for key, value in state.items():
            if value is not None:
                found[f"{place}.{key}"] = value if isinstance(value, Tensor) else torch.tensor(value)
    return found


def restore(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put the state of `tensors_of` back."""
    plain = optimiser.state_dict()
    state: dict[int, dict[str, Any]] = {}
    for name, value in tensors.items():
        place, _, key = name.partition(".")
        state.setdefault(int(place), {})[key] = value
    plain["state"] = state
    optimiser.load_state_dict(plain)
