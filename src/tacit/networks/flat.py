"""All trained parameters in one tensor, and all their gradients in another: one noise call, one update."""

from __future__ import annotations

from itertools import accumulate

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
        trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        first = next(iter(trained.values()))
        self.size = sum(p.numel() for p in trained.values())
        self.values = torch.empty(self.size, dtype=first.dtype, device=first.device)
        self.gradient = torch.zeros_like(self.values)
        self.parameters = tuple(trained.values())
        ends = list(accumulate(p.numel() for p in self.parameters))
        self.places = dict(zip(trained, zip([0, *ends], ends, strict=False), strict=True))
        for p, own in zip(self.parameters, self.split(self.values).values(), strict=True):
            with torch.no_grad():
                own.copy_(p)
            p.data = own
        everywhere = model.named_parameters(remove_duplicate=False)
        self._names = {name: p for name, p in everywhere if p.requires_grad}
        self.targets = self.targets_in(self.gradient)

    def split(self, vector: Tensor) -> dict[str, Tensor]:
        """A flat vector's view for every trained parameter, by name."""
        return {name: vector[start:end].view(p.shape) for p, (name, (start, end)) in zip(self.parameters, self.places.items(), strict=True)}

    def targets_in(self, vector: Tensor) -> dict[str, Target]:
        """Where in a flat vector each parameter's gradient goes, by every name that the parameter has."""
        views = dict(zip(map(id, self.parameters), self.split(vector).values(), strict=True))
        return {name: Target(p, views[id(p)], views[id(p)]) for name, p in self._names.items()}

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
        for p, own in zip(self.parameters, self.split(self.gradient).values(), strict=True):
            p.grad = own
