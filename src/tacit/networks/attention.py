"""Multi-head attention, written with the linear maps in sight that the fused module hides."""

from __future__ import annotations

import math
from collections.abc import Callable
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
LinearTapOf = Callable[[Recorder, str, Targets, Tensor, Tensor], Tap]


class _Linear(Protocol):
    def __call__(self, label: str, x: Tensor, weight: Tensor, bias: Tensor | None, targets: Targets) -> Tensor: ...


def supported(module: nn.MultiheadAttention) -> bool:
    """Whether the module is written out here; others go by the general way."""
    return module.bias_k is None and module.bias_v is None and not module.add_zero_attn


def forward_of(binding: Binding, recorder: Recorder, tap: LinearTapOf) -> Forward:
    """What runs in place of `torch.nn.MultiheadAttention.forward`; arguments and results are the same."""
    module = binding.module
    if not isinstance(module, nn.MultiheadAttention):
        raise UsageError(f"Expected «{binding.name}» to be a MultiheadAttention.")

    def linear(label: str, x: Tensor, weight: Tensor, bias: Tensor | None, targets: Targets) -> Tensor:
        output = F.linear(x, weight, bias)
        if targets == (None, None):
            return output
        a, name = unchanged(binding.name, x), f"{binding.name}.{label}"
        return recorder.keep(name, output, lambda g: [tap(recorder, name, targets, a(), g)])

    def forward(
        query: Tensor, key: Tensor, value: Tensor, key_padding_mask: Tensor | None = None, need_weights: bool = True,
        attn_mask: Tensor | None = None, average_attn_weights: bool = True, is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        if query.dim() != 3:
            raise UsageError(f"Expected batches in attention «{binding.name}»; got an input with {query.dim()} axes. Add the batch axis.")
        alike = query is key and key is value
        inputs = [x if module.batch_first else x.transpose(0, 1) for x in ((query,) if alike else (query, key, value))]
        q, k, v = _projected(module, binding, recorder, linear, inputs)
        mask = _mask(q, key_padding_mask, attn_mask)
        mixed, weights = _mixed(module, q, k, v, mask, need_weights=need_weights)
        joined = mixed.transpose(1, 2).flatten(2)
        out = module.out_proj
        targets = recorder.target(binding.path("out_proj.weight")), recorder.target(binding.path("out_proj.bias"))
        output = linear("out_proj", joined, out.weight, out.bias, targets)
        if weights is not None and average_attn_weights:
            weights = weights.mean(1)
        return output if module.batch_first else output.transpose(0, 1), weights

    return forward


def _projected(
    module: nn.MultiheadAttention, binding: Binding, recorder: Recorder, linear: _Linear, inputs: list[Tensor],
) -> list[Tensor]:
    size = module.embed_dim
    bias, bias_target = module.in_proj_bias, recorder.target(binding.path("in_proj_bias"))
    weight_target = recorder.target(binding.path("in_proj_weight"))

    def heads(x: Tensor) -> Tensor:
        return x.unflatten(-1, (module.num_heads, -1)).transpose(1, 2)

    if module._qkv_same_embed_dim and len(inputs) == 1:
        whole = linear("in_proj", inputs[0], module.in_proj_weight, bias, (weight_target, bias_target))
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
        found.append(heads(linear(f"{label}_proj", x, weight, own_bias, (target, part(bias_target, first, last)))))
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
    module: nn.MultiheadAttention, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, *, need_weights: bool,
) -> tuple[Tensor, Tensor | None]:
    dropout = module.dropout if module.training else 0.0
    if not need_weights:
        return F.scaled_dot_product_attention(q, k, v, mask, dropout), None
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    weights = (scores if mask is None else scores + mask).softmax(-1)
    weights = F.dropout(weights, dropout) if dropout else weights
    return weights @ v, weights
