"""What is proved on public, made-up records before anything is charged: every trained parameter gets its clipped gradient, and the right one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from tacit.errors import UsageError
from tacit.networks.engine import BookKeeping

TOLERANCE = 1e-4
_SHOWN = 4  # units that are checked one by one
_STIR = 0.02


def prove(engine: BookKeeping, x: Any, y: Any) -> int:
    """Raise unless the engine's clipped sum is what one record at a time gives, on a public batch of the size that will be used.

    Args:
        engine: the engine; its parameters are stirred meanwhile, so that what begins at zero shows its gradient, and are back afterwards.
        x: made-up inputs, as many rows as a physical batch has.
        y: made-up targets.

    Returns:
        The most rows that one unit has in a layer: what the float slack depends on.

    Raises:
        UsageError: for a parameter that gets no gradient, a layer that mixes records, or one whose gradient cannot be kept.
    """
    buffers = {name: buffer.clone() for name, buffer in engine.model.named_buffers()}
    with _stirred(engine), _undropped(engine.model):
        _require_gradients(engine, x, y)
        longest = max(tap.length for tap in engine.taps(*engine.part_of(x, y)))
        _require_parity(engine, x, y)
        _require_same_rows(engine, x)
    for name, buffer in engine.model.named_buffers():
        if not torch.equal(buffer, buffers[name]):
            raise UsageError(f"Expected buffers that stay as they are; «{name}» changes with the records and would carry them out. Remove it.")
    return longest


@contextmanager
def _stirred(engine: BookKeeping) -> Iterator[None]:
    before = engine.flat.values.clone()
    generator = torch.Generator().manual_seed(1)
    stir = torch.randn(engine.flat.size, generator=generator).to(before) * _STIR
    with torch.no_grad():
        engine.flat.values.add_(stir)
    try:
        yield
    finally:
        with torch.no_grad():
            engine.flat.values.copy_(before)


@contextmanager
def _undropped(model: nn.Module) -> Iterator[None]:
    """Without dropout, whose draws differ from pass to pass."""
    changed = [(m, m.p) for m in model.modules() if isinstance(m, nn.modules.dropout._DropoutNd)]
    inner = [(m, m.dropout) for m in model.modules() if isinstance(m, (nn.MultiheadAttention, nn.LSTM, nn.GRU)) and m.dropout]
    for dropout, _ in changed:
        dropout.p = 0.0
    for module, _ in inner:
        module.dropout = 0.0
    try:
        yield
    finally:
        for dropout, p in changed:
            dropout.p = p
        for module, p in inner:
            module.dropout = p


def _require_gradients(engine: BookKeeping, x: Any, y: Any) -> None:
    total = engine.clipped_sum(x, y)
    for name, (start, end) in engine.flat.places.items():
        if not bool(total[start:end].any()):
            raise UsageError(
                f"Expected every trained parameter to receive a gradient; «{name}» receives none, so noise alone would move it. Use it in forward(), "
                "or freeze it with requires_grad_(False)."
            )


def _require_parity(engine: BookKeeping, x: Any, y: Any) -> None:
    inputs = x if isinstance(x, tuple) else (x,)
    units = len(inputs[0]) // engine.rows
    shown = min(_SHOWN, units)
    present = torch.zeros(units, dtype=engine.flat.values.dtype, device=engine.flat.values.device)
    present[:shown] = 1
    total, norms = engine.clipped_sum(x, y, present=present).double(), engine.norms
    wanted = torch.zeros_like(total)
    for unit in range(shown):
        gradient = one_by_one(engine, inputs, y, rows=range(unit * engine.rows, (unit + 1) * engine.rows))
        length = gradient.norm()
        if norms is None or abs(float(norms[unit].double().sqrt() - length)) > TOLERANCE * float(length):
            raise UsageError(
                "Expected a record's gradient to depend on that record alone; in a batch it is another one. A layer mixes records, or keeps them on "
                "another axis than the first. Use layers that treat each record by itself, with the batch first."
            )
        wanted += gradient * min(1.0, engine.clip / float(length))
    if float((total - wanted).norm()) > 2e-3 * float(wanted.norm()):
        raise UsageError("Expected the clipped sum of a batch to be the sum of its records' clipped gradients; it is not. Report the model's layers.")


def one_by_one(engine: BookKeeping, inputs: tuple[Tensor, ...], y: Any, *, rows: range) -> Tensor:
    """The gradient of one unit by plain backward passes over single rows: float64 ``[parameters]``."""
    total = torch.zeros(engine.flat.size, dtype=torch.float64, device=engine.flat.values.device)
    for row in rows:
        with torch.enable_grad():
            loss = engine.loss(engine.model(*(part[row : row + 1] for part in inputs)), y[row : row + 1])
            found = torch.autograd.grad(loss.mean(), engine.flat.parameters, allow_unused=True)
        parts = [torch.zeros_like(p) if g is None else g for p, g in zip(engine.flat.parameters, found, strict=True)]
        total += torch.cat([part.flatten() for part in parts]).double()
    return total


def _require_same_rows(engine: BookKeeping, x: Any) -> None:
    """A record's outputs have the same bits wherever it stands in a batch and whoever stands beside it: the float slack rests on that."""
    inputs = x if isinstance(x, tuple) else (x,)
    if len(inputs[0]) < 2:
        return
    with torch.no_grad():
        first = engine.model(*inputs)
        second = engine.model(*(part.roll(1, 0) for part in inputs))
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        gap = float((first.roll(1, 0) - second).abs().max()) / max(1e-30, float(first.abs().max()))
        if gap > 1e-5:
            raise UsageError("Expected outputs that do not depend on a record's place in the batch; they do. Use layers that keep records apart.")


def made_up(engine: BookKeeping, x: Any, y: Any, *, rows: int) -> tuple[Any, Any]:
    """A public batch of the same shapes and types: standard normal numbers, indices every embedding knows, targets that stand in the data's type.

    Only shapes and types of the data are used, never a value.
    """
    generator = torch.Generator().manual_seed(0)
    smallest = min((m.num_embeddings for m in engine.model.modules() if isinstance(m, nn.Embedding)), default=2)

    def like(part: Tensor, below: int) -> Tensor:
        shape = (rows, *part.shape[1:])
        if part.is_floating_point():
            return torch.randn(shape, generator=generator).to(part)
        return torch.randint(0, below, shape, generator=generator).to(part)

    inputs = tuple(like(part, smallest) for part in x) if isinstance(x, tuple) else like(x, smallest)
    return inputs, like(y, 2) if isinstance(y, Tensor) else y
