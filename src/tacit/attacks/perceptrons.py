"""Many small networks at once, in NumPy: every step is one batched product for all of them, so that shadows cost little and need no PyTorch."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tacit.errors import UsageError

Matrix = NDArray[np.float32]

_BETAS = (0.9, 0.999)
_TINY = 1e-8
_WIDE = 8
"""Networks that are trained side by side: more than fit in the cache are slower each."""


@dataclass(frozen=True)
class NetworkRecipe:
    """A multi-layer perceptron and how it is trained: by Adam (Kingma & Ba 2015) on the cross entropy, in shuffled batches.

    Args:
        hidden: widths of the hidden layers.
        activation: ``relu`` or ``tanh``.
        epochs: passes over the members.
        batch: records per step.
        rate: learning rate.
        decay: weight decay, decoupled from the gradient.
        smoothing: share of every label that is spread over all classes.
    """

    hidden: tuple[int, ...] = (128,)
    activation: str = "relu"
    epochs: int = 30
    batch: int = 64
    rate: float = 1e-3
    decay: float = 0.0
    smoothing: float = 0.0

    def __post_init__(self) -> None:
        if any(width < 1 for width in self.hidden) or self.activation not in ("relu", "tanh"):
            raise UsageError(f"Expected hidden layers of at least 1 and relu or tanh; got {self.hidden} and {self.activation!r}.")
        if self.epochs < 1 or self.batch < 1 or not self.rate > 0 or self.decay < 0 or not 0 <= self.smoothing < 1:
            raise UsageError("Expected at least one epoch and one record per batch, a rate above 0, no negative decay and smoothing in [0, 1).")


@dataclass(frozen=True, eq=False)
class Networks:
    """Trained networks: weights ``[networks, inputs, outputs]`` and biases ``[networks, 1, outputs]`` per layer."""

    layers: tuple[tuple[Matrix, Matrix], ...]
    activation: str

    def logits(self, inputs: Matrix) -> Matrix:
        """Of all networks: float32 ``[networks, records, classes]``."""
        return _forward(self.layers, np.broadcast_to(inputs, (len(self.layers[0][0]), *inputs.shape)), self.activation)[-1]

    def only(self, place: int) -> Networks:
        """One of them."""
        return Networks(tuple((weights[[place]], biases[[place]]) for weights, biases in self.layers), self.activation)


def train_networks(
    inputs: Matrix, labels: NDArray[Any], *, members: NDArray[np.bool_], classes: int, recipe: NetworkRecipe, rng: np.random.Generator,
) -> Networks:
    """Train one network per column of ``members``, each on its own records.

    Args:
        inputs: float32 ``[records, features]``; scaled by the caller.
        labels: class numbers ``[records]``, or the chances of every class ``[records, classes]``.
        members: bool ``[records, networks]``.
        classes: how many.
        recipe: the same for all.
        rng: of initial weights and batches; protects nothing.

    Raises:
        UsageError: if a network has no member.
    """
    if not members.any(axis=0).all():
        raise UsageError("Expected at least one member for every network.")
    parts = [members[:, start : start + _WIDE] for start in range(0, members.shape[1], _WIDE)]
    shape = (inputs.shape[1], *recipe.hidden, classes)
    trained = [_Training.of(shape, recipe, part, rng).run(inputs, labels) for part in parts]
    layers = tuple(
        (np.concatenate([part[layer][0] for part in trained]), np.concatenate([part[layer][1] for part in trained]))
        for layer in range(len(recipe.hidden) + 1)
    )
    return Networks(layers, recipe.activation)


@dataclass
class _Training:
    """A few networks side by side: parameters with Adam's two moments, and everybody's members."""

    layers: list[tuple[Matrix, Matrix]]
    moments: list[tuple[Matrix, Matrix]]
    recipe: NetworkRecipe
    members: list[NDArray[np.intp]]
    rng: np.random.Generator
    step: int = 0

    @classmethod
    def of(cls, shape: tuple[int, ...], recipe: NetworkRecipe, members: NDArray[np.bool_], rng: np.random.Generator) -> _Training:
        """Weights and biases uniform within the inverse root of the inputs, as is usual for linear layers."""
        count, layers = members.shape[1], []
        for inputs, outputs in itertools.pairwise(shape):
            limit = 1 / math.sqrt(inputs)
            layers.append(tuple(rng.uniform(-limit, limit, (count, rows, outputs)).astype(np.float32) for rows in (inputs, 1)))
        moments = [(np.zeros_like(part), np.zeros_like(part)) for layer in layers for part in layer]
        return cls(layers, moments, recipe, [np.flatnonzero(column) for column in members.T], rng)  # type: ignore[arg-type]

    def run(self, inputs: Matrix, labels: NDArray[Any]) -> list[tuple[Matrix, Matrix]]:
        """Train to the end. Networks with fewer members than others see some of them once more per pass."""
        largest = max(len(own) for own in self.members)
        batch = min(self.recipe.batch, largest)
        for _ in range(self.recipe.epochs):
            order = np.stack([np.resize(self.rng.permutation(own), largest) for own in self.members])
            for start in range(0, largest, batch):
                chosen = order[:, start : start + batch]
                self._step(inputs[chosen], labels[chosen])
        return self.layers

    def _step(self, inputs: Matrix, labels: NDArray[Any]) -> None:
        values = _forward(self.layers, inputs, self.recipe.activation)
        slopes = self._slopes(values[-1], labels)
        self.step += 1
        for place in range(len(self.layers) - 1, -1, -1):
            weights = self.layers[place][0]
            gradients = values[place].transpose(0, 2, 1) @ slopes, slopes.sum(axis=1, keepdims=True)
            if place:
                slopes = slopes @ weights.transpose(0, 2, 1)
                slopes *= values[place] > 0 if self.recipe.activation == "relu" else 1 - values[place] ** 2
            for part, gradient in enumerate(gradients):
                self._move(2 * place + part, self.layers[place][part], gradient)

    def _slopes(self, logits: Matrix, labels: NDArray[Any]) -> Matrix:
        """Gradient of the mean cross entropy at the logits."""
        p = np.exp(logits - logits.max(axis=2, keepdims=True))
        p /= p.sum(axis=2, keepdims=True)
        smooth = self.recipe.smoothing
        p -= np.float32(smooth / p.shape[2])
        if labels.ndim == 3:
            p -= (1 - smooth) * labels
            return np.asarray(p / np.float32(labels.shape[1]), np.float32)
        np.put_along_axis(p, labels[:, :, None], np.take_along_axis(p, labels[:, :, None], 2) - np.float32(1 - smooth), 2)
        return np.asarray(p / np.float32(labels.shape[1]), np.float32)

    def _move(self, place: int, values: Matrix, gradient: Matrix) -> None:
        """One step of Adam, in place."""
        first, second = self.moments[place]
        first += np.float32(1 - _BETAS[0]) * (gradient - first)
        gradient *= gradient
        gradient -= second
        gradient *= np.float32(1 - _BETAS[1])
        second += gradient
        if self.recipe.decay:
            values *= np.float32(1 - self.recipe.rate * self.recipe.decay)
        np.sqrt(second, out=gradient)
        gradient *= np.float32(1 / math.sqrt(1 - _BETAS[1] ** self.step))
        gradient += np.float32(_TINY)
        np.divide(first, gradient, out=gradient)
        gradient *= np.float32(self.recipe.rate / (1 - _BETAS[0] ** self.step))
        values -= gradient


def _forward(layers: Sequence[tuple[Matrix, Matrix]], inputs: Matrix, activation: str) -> list[Matrix]:
    """What enters each layer, and what leaves the last."""
    values = [inputs]
    for place, (weights, biases) in enumerate(layers):
        found = values[-1] @ weights
        found += biases
        if place < len(layers) - 1:
            if activation == "relu":
                np.maximum(found, 0, out=found)
            else:
                np.tanh(found, out=found)
        values.append(found)
    return values
