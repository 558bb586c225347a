"""The networks whose steps are timed. Needs nothing but PyTorch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.stepping import Step, serve

WORDS, TIME, WIDTH = 1000, 64, 128


class Convolutions(nn.Module):
    """A small network for 28 x 28 images, 26 thousand parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 16, 8, 2, padding=3), nn.Conv2d(16, 32, 4, 2)
        self.third, self.last = nn.Linear(512, 32), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs, records first."""
        x = F.max_pool2d(F.relu(self.first(x)), 2, 1)
        x = F.max_pool2d(F.relu(self.second(x)), 2, 1)
        return self.last(F.relu(self.third(x.flatten(1))))


class Block(nn.Module):
    """Pre-norm attention and a feed-forward part."""

    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.qkv, self.out = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.between, self.up, self.down = nn.LayerNorm(width), nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs, records first."""
        q, k, v = self.qkv(self.before(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        x = x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(-2))
        return x + self.down(F.relu(self.up(self.between(x))))


class Transformer(nn.Module):
    """Two blocks over 64 tokens, 533 thousand parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(WORDS, WIDTH), nn.Embedding(TIME, WIDTH)
        self.blocks = nn.ModuleList(Block(WIDTH, 4, 512) for _ in range(2))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs, records first."""
        h = self.tokens(x) + self.places(torch.arange(TIME).repeat(len(x), 1))
        for block in self.blocks:
            h = block(h)
        return self.head(self.norm(h).mean(1))


def perceptron() -> nn.Module:
    """100 features, three hidden layers of 256, two classes: 158 thousand parameters."""
    return nn.Sequential(
        nn.Linear(100, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 2),
    )


def made(name: str) -> tuple[nn.Module, Tensor, Tensor]:
    """A model with a batch, the same in every process."""
    torch.manual_seed(0)
    if name == "mlp":
        return perceptron(), torch.randn(1024, 100), torch.randint(0, 2, (1024,))
    if name == "cnn":
        return Convolutions(), torch.randn(512, 1, 28, 28), torch.randint(0, 10, (512,))
    return Transformer(), torch.randint(0, WORDS, (128, TIME)), torch.randint(0, 2, (128,))


__all__ = ["TIME", "WIDTH", "WORDS", "Step", "Transformer", "made", "serve"]
