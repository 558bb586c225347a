"""The training module of `tacit.models.SequenceModel`: the same parameters by the same names."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn


class Block(nn.Module):  # type: ignore[misc]
    """Attention and a feed-forward map, each after a normalisation and beside the identity."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.before, self.attend = nn.LayerNorm(width), nn.MultiheadAttention(width, heads, batch_first=True)
        self.between, self.up, self.down = nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor, absent: Tensor) -> Tensor:
        """``[B, T, width]``."""
        h = self.before(x)
        x = x + self.attend(h, h, h, key_padding_mask=absent, need_weights=False)[0]
        return x + self.down(torch.relu(self.up(self.between(x))))


class TokenNetwork(nn.Module):  # type: ignore[misc]
    """Margins ``[B, outputs]`` of token rows ``[B, T]``; token 0 is nothing."""

    def __init__(self, size: int, length: int, *, width: int, heads: int, blocks: int, outputs: int) -> None:
        super().__init__()
        self.pieces, self.places = nn.Embedding(size, width, padding_idx=0), nn.Embedding(length, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(blocks))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        """See the class."""
        present = (tokens > 0) | (torch.arange(tokens.shape[1]) == 0)
        x = self.pieces(tokens) + self.places(torch.arange(tokens.shape[1])[None])
        for block in self.blocks:
            x = block(x, ~present)
        share = present.to(x.dtype) / present.sum(1, keepdim=True)
        return self.head(self.norm((x * share[:, :, None]).sum(1)))

    def begin(self, rng: np.random.Generator) -> TokenNetwork:
        """Set starting weights from public randomness."""
        with torch.no_grad():
            for name, p in self.named_parameters():
                if p.dim() > 1:
                    scale = 0.1 if name.startswith(("pieces", "places")) else math.sqrt(1 / p.shape[1])
                    p.copy_(torch.from_numpy(rng.normal(0, scale, tuple(p.shape)).astype(np.float32)))
                elif name.endswith("bias"):
                    p.zero_()
            self.pieces.weight[0] = 0
            self.head.weight.mul_(0.1)
        return self
