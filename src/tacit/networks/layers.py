"""Which layers are known, and how each is kept: from a module to what runs in place of its ``forward`` while a pass is recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tacit.errors import UsageError
from tacit.networks import attention, fallback, recurrent
from tacit.networks.capture import Forward, Recorder, unchanged
from tacit.networks.taps import GHOST, INSTANTIATE, ConvTap, EmbeddingTap, LinearTap, Tap, Target, by_unit, scaled

Wrap = Callable[["Binding", Recorder], Forward]


@dataclass(frozen=True)
class Binding:
    """One module with parameters of its own that are trained.

    Args:
        name: the module's name in the model.
        module: the module.
        own: names of its trained parameters, as the model knows them.
        wrap: what gives the forward that records.
    """

    name: str
    module: nn.Module
    own: tuple[str, ...]
    wrap: Wrap

    def path(self, parameter: str) -> str:
        """A parameter's name in the model."""
        return f"{self.name}.{parameter}" if self.name else parameter


def linear_tap(recorder: Recorder, name: str, targets: tuple[Target | None, Target | None], *, a: Tensor, g: Tensor) -> LinearTap:
    """The tap of y = x Wᵀ + b for inputs and output gradients as the layer saw them.

    Ghost norm while 2 T² <= d p (Bu, Mao & Xu 2022, arXiv:2205.10683), unless it was measured otherwise.
    """
    a, g = by_unit(a, recorder.rows, 1), by_unit(g, recorder.rows, 1)
    short = g.dim() == 2 or 2 * a.shape[1] ** 2 <= a.shape[-1] * g.shape[-1]
    return LinearTap(name, *targets, a, g, recorder.modes.get(name, GHOST if short else INSTANTIATE))


def _linear(binding: Binding, recorder: Recorder) -> Forward:
    original, targets = binding.module.forward, _pair(binding, recorder)

    def forward(input: Tensor) -> Tensor:
        a = unchanged(binding.name, input)
        return recorder.keep(binding.name, original(input), lambda g: [linear_tap(recorder, binding.name, targets, a=a(), g=g)])

    return forward


def _pair(binding: Binding, recorder: Recorder) -> tuple[Target | None, Target | None]:
    return recorder.target(binding.path("weight")), recorder.target(binding.path("bias"))


def _conv(binding: Binding, recorder: Recorder) -> Forward:
    original, (weight, bias) = binding.module.forward, _pair(binding, recorder)
    module = cast("nn.Conv2d", binding.module)

    def forward(input: Tensor) -> Tensor:
        a = unchanged(binding.name, input)
        return recorder.keep(binding.name, original(input), lambda g: [ConvTap(binding.name, weight, bias, module, a(), g, recorder.rows)])

    return forward


def _embedding(binding: Binding, recorder: Recorder) -> Forward:
    original, weight, module = binding.module.forward, recorder.target(binding.path("weight")), binding.module
    if module.max_norm is not None or module.sparse or module.scale_grad_by_freq:
        raise UsageError(f"Expected «{binding.name}» without max_norm, sparse and scale_grad_by_freq: they look at the whole batch. Leave them out.")

    def make(index: Tensor) -> Callable[[Tensor], Sequence[Tap]]:
        def taps(g: Tensor) -> Sequence[Tap]:
            if module.padding_idx is not None:
                g = g.masked_fill((index == module.padding_idx).unsqueeze(-1), 0.0)
            rows = g.reshape(recorder.batch // recorder.rows, -1, g.shape[-1])
            return [] if weight is None else [EmbeddingTap(binding.name, weight, index.reshape(rows.shape[:2]), rows)]

        return taps

    def forward(input: Tensor) -> Tensor:
        output = original(input)
        if input.dim() == 1 and input.shape[0] != recorder.batch:
            input, output = input.unsqueeze(0), output.unsqueeze(0)
        if input.shape[0] == 1 != recorder.batch:  # positions that all records share: each record gets its own copy
            input = input.expand(recorder.batch, *input.shape[1:])
            output = output.expand(recorder.batch, *output.shape[1:])
        return recorder.keep(binding.name, output, make(input.detach()))

    return forward


def _normalised(module: nn.Module, a: Tensor) -> Tensor:
    if isinstance(module, nn.GroupNorm):
        return F.group_norm(a, module.num_groups, None, None, module.eps)
    if isinstance(module, nn.RMSNorm):
        return F.rms_norm(a, module.normalized_shape, None, module.eps)
    return F.layer_norm(a, module.normalized_shape, None, None, module.eps)


def _norm(binding: Binding, recorder: Recorder) -> Forward:
    original, targets, module = binding.module.forward, _pair(binding, recorder), binding.module

    def make(a: Callable[[], Tensor]) -> Callable[[Tensor], Sequence[Tap]]:
        def taps(g: Tensor) -> Sequence[Tap]:
            normal, keep = _normalised(module, a()), len(module.weight.shape)
            if isinstance(module, nn.GroupNorm):
                normal, g = normal.flatten(2).mT if normal.dim() > 2 else normal, g.flatten(2).mT if g.dim() > 2 else g
            return [scaled(binding.name, targets, normal=by_unit(normal, recorder.rows, keep), g=by_unit(g, recorder.rows, keep))]

        return taps

    def forward(input: Tensor) -> Tensor:
        return recorder.keep(binding.name, original(input), make(unchanged(binding.name, input)))

    return forward


def _attention(binding: Binding, recorder: Recorder) -> Forward:
    return attention.forward_of(binding, recorder, linear_tap)


def _recurrent(binding: Binding, recorder: Recorder) -> Forward:
    return recurrent.forward_of(binding, recorder, linear_tap)


_KNOWN: dict[Any, Wrap] = {
    nn.Linear: _linear, nn.Conv1d: _conv, nn.Conv2d: _conv, nn.Embedding: _embedding, nn.LayerNorm: _norm, nn.GroupNorm: _norm, nn.RMSNorm: _norm,
    nn.MultiheadAttention: _attention, nn.LSTM: _recurrent, nn.GRU: _recurrent,
}


def bindings(model: nn.Module, trained: Sequence[str]) -> Iterator[Binding]:
    """How every trained parameter is kept.

    Raises:
        UsageError: for a layer that mixes records, with what to use in its place.
    """
    left = set(trained)
    inside: list[str] = []
    for name, module in model.named_modules():
        _refuse(name, module)
        if any(name.startswith(prefix) for prefix in inside):
            continue
        attends, computed = isinstance(module, nn.MultiheadAttention), parametrize.is_parametrized(module)
        own = _own(name, module, left, whole=attends or computed)
        if not own:
            continue
        left -= set(own)
        if attends or computed:
            inside.append(f"{name}.")
        known = None if computed or (attends and not attention.supported(module)) else _wrap(module)
        yield Binding(name, module, own, known or fallback.forward_of)
    if left:
        raise UsageError(f"Expected every trained parameter in a module; «{sorted(left)[0]}» is not. Assign it as an attribute of a module.")


def _own(name: str, module: nn.Module, left: set[str], *, whole: bool) -> tuple[str, ...]:
    found = module.named_parameters(recurse=whole, remove_duplicate=False)
    paths = (f"{name}.{parameter}" if name else parameter for parameter, _ in found)
    return tuple(path for path in paths if path in left)


def _wrap(module: nn.Module) -> Wrap | None:
    """How a module of a known kind is kept; ``None`` if it computes something else, or its weights are computed from other parameters."""
    for kind, wrap in _KNOWN.items():
        if isinstance(module, kind) and type(module).forward is kind.forward:
            plain = isinstance(module, (nn.MultiheadAttention, nn.LSTM, nn.GRU)) or set(module._parameters) <= {"weight", "bias"}
            return wrap if plain else None
    return None


def _refuse(name: str, module: nn.Module) -> None:
    if isinstance(module, nn.modules.batchnorm._BatchNorm) and (module.training or not module.track_running_stats):
        raise UsageError(
            f"Expected layers that treat each record by itself; «{name}» is a {type(module).__name__}, which mixes the records of a batch. "
            f"Use GroupNorm or LayerNorm: torch.nn.GroupNorm(groups, {module.num_features})."
        )
    if isinstance(module, nn.modules.instancenorm._InstanceNorm) and module.track_running_stats:
        raise UsageError(f"Expected «{name}» without running statistics, which are a mean over records. Pass track_running_stats=False.")
    if isinstance(module, (nn.EmbeddingBag, nn.RNN)):
        raise UsageError(f"Expected a gradient per record; «{name}» is a {type(module).__name__}. Use Embedding and a sum, or LSTM or GRU.")


__all__ = ["Binding", "bindings", "linear_tap"]
