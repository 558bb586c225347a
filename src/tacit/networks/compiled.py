"""Forward pass, backward pass, norms and sums as one graph for `torch.compile`: for shapes that stay as they are."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call
from torch.fx.experimental.proxy_tensor import make_fx

from tacit.errors import UsageError
from tacit.networks.engine import BookKeeping, factors, lengths


class Compiled:
    """What `BookKeeping.clipped_sum` computes, compiled on first use for each shape; needs a C++ compiler.

    Args:
        engine: the engine; its modes should be tuned before.

    Raises:
        UsageError: for a layer whose gradients take the general way, which cannot be traced.
    """

    def __init__(self, engine: BookKeeping) -> None:
        self.engine = engine
        self._graphs: dict[Any, Any] = {}

    def clipped_sum(self, x: Any, y: Any, *, present: Tensor | None = None, weights: Tensor | None = None) -> Tensor:
        """As `BookKeeping.clipped_sum`."""
        inputs = x if isinstance(x, tuple) else (x,)
        engine = self.engine
        engine.flat.require_own()
        units = len(inputs[0]) // engine.rows
        present = torch.ones(units, dtype=engine.flat.values.dtype) if present is None else present
        weights = torch.ones(len(inputs[0]), dtype=engine.flat.values.dtype) if weights is None else weights
        values = engine.flat.values.detach()
        key = tuple((tuple(part.shape), part.dtype) for part in (*inputs, y))
        if key not in self._graphs:
            self._graphs[key] = self._compile(values, inputs, y, present, weights)
        with torch.no_grad():
            total, norms = self._graphs[key](values, *inputs, y, present, weights)
        if not bool(torch.isfinite(norms).all()):
            return engine.clipped_sum(x, y, present=present, weights=weights)
        engine.norms = norms
        return engine.flat.gradient.copy_(total)

    def _compile(self, values: Tensor, inputs: tuple[Tensor, ...], y: Tensor, present: Tensor, weights: Tensor) -> Any:
        try:
            graph = make_fx(self._step)(values, *inputs, y, present, weights)
        except Exception as error:
            raise UsageError(f"Expected a model that can be traced into one graph ({type(error).__name__}). Leave compile() out.") from error
        return torch.compile(graph, fullgraph=True)

    def _step(self, values: Tensor, *rest: Tensor) -> tuple[Tensor, Tensor]:
        engine, (*inputs, y, present, weights) = self.engine, rest
        total = torch.zeros_like(values)
        recorder = engine.recorder(len(inputs[0]), engine.flat.targets_in(total), traced=True)
        forward = partial(functional_call, engine.model, engine.flat.split(values), tuple(inputs))
        taps = engine.recorded(recorder, forward, y, weights=weights)
        norms, spreads = lengths(taps)
        c = factors(norms, spreads, engine.clip) * present
        for tap in taps:
            tap.put(c)
        return total, norms + 0 * spreads  # not finite if either is not
