"""Gradient leakage: what a site's update in federated learning shows of its records, unless updates are summed under masks or noised.

Three ways: the first layer's gradient *is* the input where one record wakes a neuron alone (Phong et al. 2018; Boenisch et al. 2023); the sign of
the last layer's bias gradient says which labels there are (Zhao et al. 2020); and an input can be sought whose gradient points the same way
(Geiping et al. 2020).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tacit.attacks.outcome import Outcome, apart
from tacit.errors import UsageError

if TYPE_CHECKING:
    from torch import nn

Matrix = NDArray[np.float64]
_SAME = 1e-2
_FLAT = 1e-12


def linear_leak(weights: Matrix, biases: Matrix) -> Matrix:
    """Inputs that stand in the gradients of a layer's weights and biases.

    For one record both are the same slopes, times the input or times one: their ratio is the input. In a batch that holds for every neuron that a
    single record woke.

    >>> x, slopes = np.array([0.2, 0.7]), np.array([3.0, 0.0, -1.0])
    >>> linear_leak(np.outer(slopes, x), slopes).round(6).tolist()
    [[0.2, 0.7], [0.2, 0.7]]

    Args:
        weights: gradient ``[neurons, inputs]``.
        biases: gradient ``[neurons]``.

    Returns:
        One candidate per neuron with a gradient: float64 ``[candidates, inputs]``.
    """
    awake = np.abs(biases) > _FLAT * max(1.0, float(np.abs(biases).max(initial=0)))
    return np.asarray(weights[awake] / biases[awake][:, None], np.float64)


def labels_in(biases: Matrix) -> NDArray[np.int64]:
    """Classes that some record of the batch has, by the gradient of the last layer's biases under cross entropy: those that it pushes up.

    >>> labels_in(np.array([0.3, -0.6, 0.3])).tolist()
    [1]
    """
    return np.flatnonzero(np.asarray(biases) < 0)


def recovered(candidates: Matrix, records: Matrix) -> NDArray[np.float64]:
    """For each record whether a candidate is it, to a hundredth of its spread: float64 0 or 1 ``[records]``."""
    if not len(candidates):
        return np.zeros(len(records))
    spread = max(float(records.std()), 1e-12)
    best = np.full(len(records), np.inf)
    for start in range(0, len(candidates), 256):
        part = candidates[start : start + 256]
        best = np.minimum(best, np.sqrt(((records[:, None] - part[None]) ** 2).mean(axis=2)).min(axis=1))
    return (best < _SAME * spread).astype(np.float64)


@dataclass(frozen=True)
class Update:
    """What the coordinator sees of one round.

    Args:
        gradients: of the model's parameters, in order: float64 arrays.
        records: how many records they are of, which the attacker is assumed to know.
    """

    gradients: tuple[Matrix, ...]
    records: int


def update_of(module: nn.Module, X: Any, y: Any) -> Update:
    """The plain gradient of one batch: what a site without protection sends.

    Raises:
        MissingExtra: without PyTorch.
    """
    import torch

    loss = torch.nn.functional.cross_entropy(module(torch.as_tensor(X)), torch.as_tensor(y))
    found = torch.autograd.grad(loss, [p for p in module.parameters() if p.requires_grad])
    return Update(tuple(part.double().numpy() for part in found), len(X))


def summed(updates: list[Update]) -> Update:
    """The mean over sites: all that is seen under secure aggregation."""
    count = sum(update.records for update in updates)
    parts = zip(*(update.gradients for update in updates), strict=True)
    return Update(tuple(np.asarray(sum(part * (u.records / count) for part, u in zip(group, updates, strict=True))) for group in parts), count)


def noised_update(module: nn.Module, X: Any, y: Any, *, clip: float, noise_multiplier: float, seed: int) -> Update:
    """The update of a site that clips every record's gradient and adds noise before it sends: what differential privacy leaves to see."""
    import torch

    module.zero_grad()
    rng, total = np.random.default_rng(seed), [np.zeros(tuple(p.shape)) for p in module.parameters() if p.requires_grad]
    for row in range(len(X)):
        parts = update_of(module, torch.as_tensor(X)[row : row + 1], torch.as_tensor(y)[row : row + 1]).gradients
        length = float(np.sqrt(sum((part**2).sum() for part in parts)))
        for place, part in enumerate(parts):
            total[place] += part * min(1.0, clip / max(length, 1e-12))
    return Update(tuple((part + rng.normal(0, noise_multiplier * clip, part.shape)) / len(X) for part in total), len(X))


def attack_gradients(update: Update, X: Any, *, reference: Any) -> Outcome:
    """The linear leak on a network whose first parameters are a layer's weights and biases.

    Args:
        update: what is seen.
        X: the records it was computed on, ``[records, inputs]``, to judge what was recovered.
        reference: other records, which must not be recovered: the control.

    Raises:
        UsageError: if the first two gradients are not of a linear layer over these records.
    """
    weights, biases = update.gradients[0], update.gradients[1]
    X, reference = (np.asarray(side, np.float64).reshape(len(side), -1) for side in (X, reference))
    if weights.ndim != 2 or biases.shape != weights.shape[:1] or weights.shape[1] != X.shape[1]:
        raise UsageError("Expected a linear layer with biases first in the model; try `match_gradients` on others.")
    candidates = linear_leak(weights, biases)
    found, control = recovered(candidates, X), recovered(candidates, reference)
    low, high = apart(found, control) if len(found) > 1 else (float(found[0]) - 0.5, 1.0)
    return Outcome(
        "gradient leakage, first layer", "TA501", float(found.mean()), float(control.mean()), low, high, "share of records recovered exactly",
        "whoever sees a single site's update reads records off it", {"records": update.records, "candidates": len(candidates)},
    )


def match_gradients(module: nn.Module, update: Update, *, shape: tuple[int, ...], label: int, steps: int = 300, smoothness: float = 1e-3) -> Matrix:
    """An input whose gradient points the same way as an update of one record: cosine distance and, for images, total variation.

    Args:
        module: the model the update is of.
        update: of one record.
        shape: of an input, such as ``(1, 8, 8)`` for an image or ``(30,)`` for a row.
        label: its class; see `labels_in`.
        steps: of Adam.
        smoothness: weight of the total variation of images.

    Returns:
        The input, float64 of ``shape``.
    """
    import torch

    wanted = torch.cat([torch.from_numpy(part).flatten() for part in update.gradients]).float()
    generator = torch.Generator().manual_seed(0)
    x = (0.1 * torch.randn((1, *shape), generator=generator)).requires_grad_(True)
    optimiser, y = torch.optim.Adam([x], lr=0.05), torch.tensor([label])
    parameters = [p for p in module.parameters() if p.requires_grad]
    for _ in range(steps):
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(module(x), y)
        found = torch.cat([part.flatten() for part in torch.autograd.grad(loss, parameters, create_graph=True)])
        distance = 1 - torch.nn.functional.cosine_similarity(found, wanted, dim=0)
        if x.dim() == 4:
            distance = distance + smoothness * ((x.diff(dim=2) ** 2).mean() + (x.diff(dim=3) ** 2).mean())
        distance.backward()
        optimiser.step()
    return np.asarray(x.detach()[0].double().numpy())
