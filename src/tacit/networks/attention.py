"""Multi-head attention, written with the linear maps in sight that the fused module hides."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tacit.errors import UsageError
from tacit.networks.capture import Forward, Recorder, part, unchanged
from tacit.networks.taps import Tap, Target

if TYPE_CHECKING:
    from tacit.networks.layers import Binding

Targets = tuple[Target | None, Target | None]


class LinearTapOf(Protocol):
    """Gives the tap of an affine map, see `tacit.networks.layers.linear_tap`."""

    def __call__(self, recorder: Recorder, name: str, targets: Targets, *, a: Tensor, g: Tensor) -> Tap:
        """The tap."""
        ...


@dataclass(frozen=True)
class _Map:
    """One affine map inside the module."""

    label: str
    weight: Tensor
    bias: Tensor | None
    targets: Targets


_SIGNATURE = inspect.Signature(list(inspect.signature(nn.MultiheadAttention.forward).parameters.values())[1:])


def supported(module: nn.MultiheadAttention) -> bool:
    """Whether the module is written out here; others go by the general way."""
    return module.bias_k is None and module.bias_v is None and not module.add_zero_attn


def forward_of(binding: Binding, recorder: Recorder, tap: LinearTapOf) -> Forward:
    """What runs in place of `torch.nn.MultiheadAttention.forward`; arguments and results are the same."""
    module = binding.module
    if not isinstance(module, nn.MultiheadAttention):
        raise UsageError(f"Expected «{binding.name}» to be a MultiheadAttention.")

    def linear(x: Tensor, of: _Map) -> Tensor:
        output = F.linear(x, of.weight, of.bias)
        if of.targets == (None, None):
            return output
        a, name = unchanged(binding.name, x), f"{binding.name}.{of.label}"
        return recorder.keep(name, output, lambda g: [tap(recorder, name, of.targets, a=a(), g=g)])

    def attend(
        query: Tensor, key: Tensor, value: Tensor, *, padding: Tensor | None, mask: Tensor | None, weighed: bool,
    ) -> tuple[Tensor, Tensor | None]:
        if query.dim() != 3:
            raise UsageError(f"Expected batches in attention «{binding.name}»; got an input with {query.dim()} axes. Add the batch axis.")
        alike = query is key and key is value
        inputs = [x if module.batch_first else x.transpose(0, 1) for x in ((query,) if alike else (query, key, value))]
        q, k, v = _projected(module, binding, recorder, linear=linear, inputs=inputs)
        mixed, weights = _mixed(module, (q, k, v), _mask(q, padding, mask), weighed=weighed)
        out, targets = module.out_proj, (recorder.target(binding.path("out_proj.weight")), recorder.target(binding.path("out_proj.bias")))
        output = linear(mixed.transpose(1, 2).flatten(2), _Map("out_proj", out.weight, out.bias, targets))
        return output if module.batch_first else output.transpose(0, 1), weights

    def forward(*args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
        given = _SIGNATURE.bind(*args, **kwargs)
        given.apply_defaults()
        named = given.arguments
        output, weights = attend(
            named["query"], named["key"], named["value"], padding=named["key_padding_mask"], mask=named["attn_mask"], weighed=named["need_weights"],
        )
        return output, weights.mean(1) if weights is not None and named["average_attn_weights"] else weights

    return forward


def _projected(
    module: nn.MultiheadAttention, binding: Binding, recorder: Recorder, *, linear: Callable[[Tensor, _Map], Tensor], inputs: list[Tensor],
) -> list[Tensor]:
    size = module.embed_dim
    bias, bias_target = module.in_proj_bias, recorder.target(binding.path("in_proj_bias"))
    weight_target = recorder.target(binding.path("in_proj_weight"))

    def heads(x: Tensor) -> Tensor:
        return x.unflatten(-1, (module.num_heads, -1)).transpose(1, 2)

    if module._qkv_same_embed_dim and len(inputs) == 1:
        whole = linear(inputs[0], _Map("in_proj", module.in_proj_weight, bias, (weight_target, bias_target)))
        return [heads(x) for x in whole.split(size, -1)]
    inputs = inputs * 3 if len(inputs) == 1 else inputs
    found = []
    for i, (label, x) in enumerate(zip("qkv", inputs, strict=True)):
        first, last = i * size, (i + 1) * size
        if module._qkv_same_embed_dim:
            weight, target = module.in_proj_weight[first:last], part(weight_target, first, last)
        else:
            own = f"{label}_proj_weight"
            weight, target = getattr(module, own), recorder.target(binding.path(own))
        own_bias = None if bias is None else bias[first:last]
        found.append(heads(linear(x, _Map(f"{label}_proj", weight, own_bias, (target, part(bias_target, first, last))))))
    return found


def _mask(q: Tensor, padding: Tensor | None, attention: Tensor | None) -> Tensor | None:
    mask = None
    if attention is not None:
        mask = _additive(attention, q.dtype)
        mask = mask.unflatten(0, (q.shape[0], q.shape[1])) if mask.dim() == 3 else mask
    if padding is not None:
        own = _additive(padding, q.dtype)[:, None, None, :]
        mask = own if mask is None else mask + own
    return mask


def _additive(mask: Tensor, dtype: Any) -> Tensor:
    if mask.dtype == torch.bool:
        return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(mask, -math.inf)
    return mask.to(dtype)


def _mixed(
    module: nn.MultiheadAttention, heads: tuple[Tensor, Tensor, Tensor], mask: Tensor | None, *, weighed: bool,
) -> tuple[Tensor, Tensor | None]:
    q, k, v = heads
    dropout = module.dropout if module.training else 0.0
    if not weighed:
        return F.scaled_dot_product_attention(q, k, v, mask, dropout), None
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    weights = (scores if mask is None else scores + mask).softmax(-1)
    weights = F.dropout(weights, dropout) if dropout else weights
    return weights @ v, weights
