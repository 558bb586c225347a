"""Perceptrons in PyTorch from their weights, for peers that want a model."""

from __future__ import annotations

from typing import Any

import torch


def module(data: Any, place: int, *, softmax: bool = False, prefix: str = "") -> torch.nn.Module:
    """A network from its weights."""
    layers: list[torch.nn.Module] = []
    count = sum(name.startswith(f"{prefix}w") for name in data.files)
    for layer in range(count):
        weights, biases = data[f"{prefix}w{layer}"][place], data[f"{prefix}b{layer}"][place][0]
        linear = torch.nn.Linear(*weights.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(weights.T.copy()))
            linear.bias.copy_(torch.from_numpy(biases.copy()))
        layers += [linear, torch.nn.ReLU()]
    layers[-1] = torch.nn.Softmax(dim=1) if softmax else torch.nn.Identity()
    return torch.nn.Sequential(*layers)
