"""Small models of every layer kind, each with a kind of input."""

from __future__ import annotations

import torch
from torch import Tensor, nn

TIME, WORDS, CLASSES = 6, 20, 3


class Positions(nn.Module):
    def __init__(self, mode: str) -> None:
        super().__init__()
        self.tokens, self.places, self.head, self.mode = nn.Embedding(WORDS, 8, padding_idx=0), nn.Embedding(TIME, 8), nn.Linear(8, CLASSES), mode

    def forward(self, x: Tensor) -> Tensor:
        places = torch.arange(TIME)
        if self.mode == "row":
            places = places[None]
        elif self.mode == "expanded":
            places = places.expand(len(x), TIME)
        return self.head((self.tokens(x) + self.places(places)).tanh().mean(1))


class Attention(nn.Module):
    def __init__(self, *, batch_first: bool = True, weights: bool = False, kdim: int | None = None) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(WORDS, 8), nn.Linear(8, CLASSES)
        self.attend = nn.MultiheadAttention(8, 2, batch_first=batch_first, kdim=kdim, vdim=kdim)
        self.batch_first, self.weights = batch_first, weights

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x) if self.batch_first else self.embed(x).transpose(0, 1)
        out, _ = self.attend(h, h, h, key_padding_mask=padding(x), need_weights=self.weights)
        return self.head((out if self.batch_first else out.transpose(0, 1)).mean(1))


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.Module], **settings: object) -> None:
        super().__init__()
        self.embed, self.run = nn.Embedding(WORDS, 8), kind(8, 5, batch_first=True, **settings)
        self.head = nn.Linear(10 if settings.get("bidirectional") else 5, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.run(self.embed(x))[0].mean(1))


class Tied(nn.Module):
    """One layer called twice, one matrix used as table and as map."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.mix, self.out = nn.Embedding(WORDS, 8), nn.Linear(8, 8), nn.Linear(8, WORDS, bias=False)
        self.out.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.mix(self.mix(self.embed(x)).tanh()).mean(1))[:, :CLASSES]


class Own(nn.Module):
    """Parameters that belong to no known layer."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.shift, self.head = nn.Parameter(torch.randn(6)), nn.Parameter(torch.zeros(())), nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.sin(x * self.scale) + self.shift)


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.embed, self.head = nn.Embedding(WORDS, 8), nn.Linear(8, CLASSES)
        self.encode = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encode(self.embed(x), src_key_padding_mask=padding(x)).mean(1))


def padding(x: Tensor) -> Tensor:
    return (x == 0) & (torch.arange(x.shape[1]) > 0)


def flat(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(*layers)


def models() -> dict[str, tuple[nn.Module, str]]:
    linear = nn.Linear
    return {
        "mlp": (flat(linear(6, 7), nn.ReLU(inplace=True), linear(7, CLASSES)), "numbers"),
        "no bias": (flat(linear(6, 7, bias=False), nn.Tanh(), linear(7, CLASSES)), "numbers"),
        "frozen": (flat(linear(6, 7).requires_grad_(False), nn.ReLU(), linear(7, CLASSES)), "numbers"),
        "layer norm": (flat(linear(6, 8), nn.LayerNorm(8), nn.ReLU(), linear(8, CLASSES)), "numbers"),
        "rms norm": (flat(linear(6, 8), nn.RMSNorm(8), nn.ReLU(), linear(8, CLASSES)), "numbers"),
        "conv2d": (flat(
            nn.Conv2d(2, 4, 3, stride=2, padding=1), nn.GroupNorm(2, 4), nn.ReLU(), nn.Conv2d(4, 6, 3, padding="same", groups=2, dilation=2),
            nn.Flatten(), linear(96, CLASSES),
        ), "images"),
        "conv1d": (flat(
            nn.Conv1d(2, 4, 3, stride=2, padding=1, padding_mode="circular"), nn.ReLU(), nn.Conv1d(4, 6, 3, groups=2, bias=False), nn.Flatten(),
            linear(36, CLASSES),
        ), "signals"),
        "instance norm": (flat(nn.Conv1d(2, 4, 3), nn.InstanceNorm1d(4, affine=True), nn.ReLU(), nn.Flatten(), linear(56, CLASSES)), "signals"),
        "positions": (Positions("plain"), "tokens"), "positions, row": (Positions("row"), "tokens"),
        "positions, expanded": (Positions("expanded"), "tokens"),
        "attention": (Attention(), "tokens"), "attention, time first": (Attention(batch_first=False, weights=True), "tokens"),
        "attention, own keys": (Attention(weights=True, kdim=8), "tokens"),
        "lstm": (Recurrent(nn.LSTM), "tokens"), "lstm, deep": (Recurrent(nn.LSTM, bidirectional=True, num_layers=2), "tokens"),
        "gru": (Recurrent(nn.GRU), "tokens"), "gru, deep": (Recurrent(nn.GRU, bidirectional=True, num_layers=2, bias=False), "tokens"),
        "tied": (Tied(), "tokens"), "own parameters": (Own(), "numbers"),
        "prelu": (flat(linear(6, 7), nn.PReLU(), linear(7, CLASSES)), "numbers"), "encoder": (Encoder(), "tokens"),
        "weight norm": (flat(nn.utils.parametrizations.weight_norm(linear(6, 7)), nn.ReLU(), linear(7, CLASSES)), "numbers"),
    }


def inputs(kind: str, rows: int) -> Tensor:
    if kind == "tokens":
        return torch.randint(0, WORDS, (rows, TIME))
    return torch.randn(rows, *{"numbers": (6,), "images": (2, 8, 8), "signals": (2, 16)}[kind])
