"""LSTM and GRU, step by step, so that each step's input and gradient can be kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tacit.errors import UsageError
from tacit.networks.attention import LinearTapOf
from tacit.networks.capture import Forward, Recorder, unchanged
from tacit.networks.taps import Tap

if TYPE_CHECKING:
    from tacit.networks.layers import Binding


def forward_of(binding: Binding, recorder: Recorder, tap: LinearTapOf) -> Forward:
    """What runs in place of the module's ``forward``; arguments and results are the same, except for packed sequences."""
    module = binding.module
    if not isinstance(module, (nn.LSTM, nn.GRU)) or module.proj_size:
        raise UsageError(f"Expected «{binding.name}» to be an LSTM or a GRU without proj_size. Put a Linear after it.")
    cell = isinstance(module, nn.LSTM)

    def forward(input: Tensor, hx: Any = None) -> tuple[Tensor, Any]:
        if not isinstance(input, Tensor) or input.dim() != 3:
            raise UsageError(f"Expected a padded batch [records, time, features] in «{binding.name}»; got packed or single sequences. Pad them.")
        x = input if module.batch_first else input.transpose(0, 1)
        hidden, cells = _initial(module, x, hx)
        last: list[tuple[Tensor, Tensor]] = []
        for layer in range(module.num_layers):
            outputs = []
            for reverse in range(1 + module.bidirectional):
                place = layer * (1 + module.bidirectional) + reverse
                pass_ = _Pass(binding, recorder, tap, f"l{layer}" + ("_reverse" if reverse else ""))
                out, state = pass_.run(x, hidden[place], cells[place] if cell else None)
                outputs.append(out)
                last.append(state)
            x = torch.cat(outputs, -1) if len(outputs) > 1 else outputs[0]
            if module.dropout and module.training and layer < module.num_layers - 1:
                x = F.dropout(x, module.dropout)
        h = torch.stack([state[0] for state in last])
        final = (h, torch.stack([state[1] for state in last])) if cell else h
        return x if module.batch_first else x.transpose(0, 1), final

    return forward


def _initial(module: nn.LSTM | nn.GRU, x: Tensor, hx: Any) -> tuple[Tensor, Tensor]:
    zeros = x.new_zeros(module.num_layers * (1 + module.bidirectional), x.shape[0], module.hidden_size)
    if hx is None:
        return zeros, zeros
    return hx if isinstance(hx, tuple) else (hx, zeros)


class _Pass:
    """One layer in one direction."""

    def __init__(self, binding: Binding, recorder: Recorder, tap: LinearTapOf, suffix: str) -> None:
        self.binding, self.recorder, self.tap, self.suffix = binding, recorder, tap, suffix
        module = binding.module
        self.weights = [getattr(module, f"{kind}_{suffix}", None) for kind in ("weight_ih", "bias_ih", "weight_hh", "bias_hh")]
        self.lstm = isinstance(module, nn.LSTM)

    def run(self, x: Tensor, h: Tensor, c: Tensor | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Outputs ``[B, T, hidden]`` and the last state."""
        before: list[Tensor] = []
        resets: list[Tensor] = []
        a = unchanged(self.binding.name, x)
        gates = F.linear(x, self.weights[0], self.weights[1])
        gates = self.recorder.keep(f"{self.binding.name}.{self.suffix}", gates, lambda g: self._taps(a(), g, before, resets))
        steps = range(x.shape[1] - 1, -1, -1) if self.suffix.endswith("_reverse") else range(x.shape[1])
        found: dict[int, Tensor] = {}
        for t in steps:
            before.append(h.detach())
            h, c = self._step(gates[:, t], h, c, resets)
            found[t] = h
        if self.suffix.endswith("_reverse"):
            before.reverse()
            resets.reverse()
        return torch.stack([found[t] for t in range(x.shape[1])], 1), (h, h if c is None else c)

    def _step(self, given: Tensor, h: Tensor, c: Tensor | None, resets: list[Tensor]) -> tuple[Tensor, Tensor | None]:
        own = F.linear(h, self.weights[2], self.weights[3])
        if self.lstm and c is not None:
            i, f, n, o = (given + own).chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(n)
            return torch.sigmoid(o) * torch.tanh(c), c
        size = h.shape[1]
        r, z = torch.sigmoid(given[:, : 2 * size] + own[:, : 2 * size]).chunk(2, 1)
        resets.append(r.detach())
        n = torch.tanh(given[:, 2 * size :] + r * own[:, 2 * size :])
        return n + z * (h - n), None

    def _taps(self, x: Tensor, g: Tensor, before: Sequence[Tensor], resets: Sequence[Tensor]) -> list[Tap]:
        """The gates' two linear maps share one gradient; a GRU's candidate sees its own through the reset gate."""
        kinds = (("weight_ih", "bias_ih"), ("weight_hh", "bias_hh"))
        targets = [tuple(self.recorder.target(self.binding.path(f"{kind}_{self.suffix}")) for kind in pair) for pair in kinds]
        inner = g
        if resets:
            size = before[0].shape[1]
            inner = torch.cat([g[..., : 2 * size], g[..., 2 * size :] * torch.stack(list(resets), 1)], -1)
        found = []
        for label, pair, a, own in (("ih", targets[0], x, g), ("hh", targets[1], torch.stack(list(before), 1), inner)):
            if pair != (None, None):
                found.append(self.tap(self.recorder, f"{self.binding.name}.{self.suffix}.{label}", (pair[0], pair[1]), a=a, g=own))
        return found
