"""All trained parameters in one tensor, and all their gradients in another: one noise call, one update."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tacit.errors import UsageError
from tacit.networks.taps import Target


class Flat:
    """The flat buffers of a model.

    Args:
        model: whose trained parameters become views of ``values``.
    """

    def __init__(self, model: nn.Module) -> None:
        named = dict(model.named_parameters())
        trained = {name: p for name, p in named.items() if p.requires_grad}
        first = next(iter(trained.values()))
        self.size = sum(p.numel() for p in trained.values())
        self.values = torch.empty(self.size, dtype=first.dtype, device=first.device)
        self.gradient = torch.zeros_like(self.values)
        self.parameters = tuple(trained.values())
        self.names = tuple(trained)
        views: dict[int, Tensor] = {}
        self.places: dict[str, tuple[int, int]] = {}
        start = 0
        for name, p in trained.items():
            end = start + p.numel()
            with torch.no_grad():
                self.values[start:end] = p.detach().reshape(-1)
            p.data = self.values[start:end].view(p.shape)
            views[id(p)] = self.gradient[start:end].view(p.shape)
            self.places[name] = (start, end)
            start = end
        everywhere = model.named_parameters(remove_duplicate=False)
        self.targets = {name: Target(p, views[id(p)], views[id(p)]) for name, p in everywhere if id(p) in views}

    def require_own(self) -> None:
        """Raise if the model's parameters were moved elsewhere.

        Raises:
            UsageError: after ``model.to(...)`` or an assignment to ``parameter.data``.
        """
        own, size = self.values.data_ptr(), self.values.element_size()
        if any(p.data_ptr() != own + start * size for p, (start, _) in zip(self.parameters, self.places.values(), strict=True)):
            raise UsageError("Expected the model's parameters where the private step put them; they were moved. Move the model to its device first.")

    def hand_out(self) -> None:
        """Give every parameter its part of the flat gradient as ``.grad``, for an optimiser."""
        for p, (start, end) in zip(self.parameters, self.places.values(), strict=True):
            p.grad = self.gradient[start:end].view(p.shape)
