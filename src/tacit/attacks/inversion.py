"""Model inversion: an input that a model takes for a class with certainty (Fredrikson et al. 2015), and whether it resembles anybody.

An input that fools a model is no picture of a person. So two things are measured beside it: how the same inversion does on a model that never learned
the class (the control), and whether what comes out lies nearer to records that the target learned from than to as many others of the same class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from tacit.attacks.outcome import LEVEL, Outcome, apart
from tacit.attacks.targets import Target, as_target
from tacit.errors import UsageError

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Inverter:
    """How inputs are looked for.

    Args:
        inside: whether gradients are used (PyTorch modules only); otherwise only answers, by natural evolution strategies (Wierstra et al. 2014).
        starts: inputs per class.
        steps: of the search.
        queries: answers per step of an evolution strategy.
        rate: length of a step, as a share of the inputs' spread.
        low: least value of an input.
        high: largest.
        seed: of starts and directions.
    """

    inside: bool = False
    starts: int = 6
    steps: int = 120
    queries: int = 60
    rate: float = 0.1
    low: float = 0.0
    high: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.starts, self.steps, self.queries) < 1 or not self.low < self.high or not self.rate > 0:
            raise UsageError("Expected at least one start, step and query, low below high, and a rate above 0.")

    def found(self, target: Target, label: int, size: int, *, access: str) -> Matrix:
        """Inputs that the target takes for a class: float64 ``[starts, size]``."""
        rng = np.random.default_rng([self.seed, label])
        middle, spread = (self.low + self.high) / 2, self.high - self.low
        inputs = np.clip(middle + 0.1 * spread * rng.normal(size=(self.starts, size)), self.low, self.high)
        slope = self._gradient(target, label) if self.inside else self._evolution(target, label, rng, access)
        first, second = np.zeros_like(inputs), np.zeros_like(inputs)
        for step in range(1, self.steps + 1):
            gradient = slope(inputs)
            first += 0.1 * (gradient - first)
            second += 0.01 * (gradient**2 - second)
            moved = first / (1 - 0.9**step) / (np.sqrt(second / (1 - 0.99**step)) + 1e-9)
            inputs = np.clip(inputs + self.rate * spread * 0.3 * moved, self.low, self.high)
        return inputs

    def _evolution(self, target: Target, label: int, rng: np.random.Generator, access: str) -> Callable[[Matrix], Matrix]:
        width = self.rate * (self.high - self.low)

        def slope(inputs: Matrix) -> Matrix:
            half = max(1, self.queries // 2)
            directions = rng.normal(size=(len(inputs), half, inputs.shape[1]))
            asked = np.concatenate([inputs[:, None] + width * directions, inputs[:, None] - width * directions], axis=1)
            flat = np.clip(asked.reshape(-1, inputs.shape[1]), self.low, self.high)
            scores = _score(target.answers(flat.astype(np.float32), access=access), label).reshape(len(inputs), 2, half)
            return np.asarray(np.einsum("ih,ihd->id", scores[:, 0] - scores[:, 1], directions) / (2 * width * half))

        return slope

    def _gradient(self, target: Target, label: int) -> Callable[[Matrix], Matrix]:
        if target.kind != "pytorch":
            raise UsageError("Expected a PyTorch module for an inversion by gradients; pass Inverter(inside=False) for others.")
        import torch

        def slope(inputs: Matrix) -> Matrix:
            x = torch.from_numpy(inputs.astype(np.float32)).requires_grad_(True)
            loss = torch.log_softmax(target.model.eval()(x), dim=1)[:, label].sum()
            return np.asarray(torch.autograd.grad(loss, x)[0].double().numpy())

        return slope


def _score(answers: NDArray[Any], label: int) -> NDArray[np.float64]:
    """How sure answers are of a class."""
    from tacit.attacks.signals import own_label, readings

    values = answers if answers.ndim == 2 else np.column_stack([1 - answers, answers])
    return own_label(np.asarray(values, np.float64), np.full(len(values), label), readings(values)[0])


@dataclass(frozen=True)
class InversionOutcome:
    """What an inversion brought out.

    Args:
        people: whether inputs lie nearer to members than to others of their class: what would be a leak about somebody.
        classes: how alike they are to what their class has in common, beside the control: what would be a leak about a class.
        inputs: what came out, ``[classes · starts, features]``. Owner-side.
        evaluated: share of them that an independent model takes for their class. High values are easy to reach and prove nothing by themselves.
    """

    people: Outcome
    classes: Outcome
    inputs: Matrix
    evaluated: float

    def to_dict(self) -> dict[str, Any]:
        """Plain form, without the inputs."""
        return {"people": self.people.to_dict(), "classes": self.classes.to_dict(), "evaluated": self.evaluated}


def attack_inversion(
    target: Any, members: tuple[Any, Any], nonmembers: tuple[Any, Any], *, control: Any, inverter: Inverter | None = None,
    access: str = "probabilities",
) -> InversionOutcome:
    """Invert a classifier class by class.

    Args:
        target: see `as_target`; takes ``[records, features]``.
        members: ``(X, y)`` that the target learned from, labels as class numbers.
        nonmembers: ``(X, y)`` of the same kind that it did not: half teach the independent model, half are compared with members.
        control: a model of the same kind that never saw these members: trained on others, or on random labels.
        inverter: how inputs are looked for.
        access: what the attacker sees of answers; an attack by gradients sees everything.

    Raises:
        UsageError: for records that are no numbers, or too few of them.
    """
    search, asked, other = inverter or Inverter(), as_target(target), as_target(control)
    X, y = (np.asarray(part) for part in members)
    Z, z = (np.asarray(part) for part in nonmembers)
    if X.ndim != 2 or X.dtype.kind not in "fiub" or min(len(X), len(Z)) < 40:
        raise UsageError("Expected at least 40 members and others as matrices of numbers.")
    half, labels = len(Z) // 2, np.unique(y).astype(int)
    judge = _judge(Z[:half], z[:half])
    found, baseline = ([search.found(model, label, X.shape[1], access=access) for label in labels] for model in (asked, other))
    near = np.concatenate([_nearer(inputs, X[y == label], Z[half:][z[half:] == label]) for inputs, label in zip(found, labels, strict=True)])
    alike, usual = (
        np.concatenate([_alike(inputs, X[y == label].mean(axis=0), X.mean(axis=0)) for inputs, label in zip(side, labels, strict=True)])
        for side in (found, baseline)
    )
    inputs, truth = np.concatenate(found), np.repeat(labels, search.starts)
    name = "by gradients" if search.inside else "by answers"
    return InversionOutcome(_people(near, name), _classes(alike, usual, name), inputs, float((judge(inputs) == truth).mean()))


def _judge(X: Matrix, y: NDArray[Any]) -> Callable[[Matrix], NDArray[np.int64]]:
    from sklearn.svm import SVC

    model = SVC().fit(X, y)
    return lambda inputs: np.asarray(model.predict(inputs), np.int64)


def _nearer(inputs: Matrix, members: Matrix, others: Matrix) -> NDArray[np.float64]:
    """Whether each input lies nearer to the nearest member than to the nearest of as many others: 1, 0, or 1/2 where there is nobody."""
    count = min(len(members), len(others))
    if not count:
        return np.full(len(inputs), 0.5)
    distances = [np.sqrt(((inputs[:, None] - side[None, :count]) ** 2).sum(axis=2)).min(axis=1) for side in (members, others)]
    return np.where(distances[0] < distances[1], 1.0, np.where(distances[0] > distances[1], 0.0, 0.5))


def _alike(inputs: Matrix, mean: Matrix, everybody: Matrix) -> NDArray[np.float64]:
    """Correlation of each input with what sets its class apart from everybody."""
    wanted, shown = mean - everybody, inputs - inputs.mean(axis=1, keepdims=True)
    wanted = wanted - wanted.mean()
    return np.asarray(shown @ wanted / np.maximum(np.linalg.norm(shown, axis=1) * np.linalg.norm(wanted), 1e-12))


def _people(near: NDArray[np.float64], name: str) -> Outcome:
    hits, trials = round(float(near.sum())), len(near)
    ends = binomtest(hits, trials).proportion_ci(LEVEL)
    return Outcome(
        f"inversion {name}, people", "TA302", float(near.mean()), 0.5, float(ends.low) - 0.5, float(ends.high) - 0.5,
        "share nearer to a member than to another of the class", "what comes out resembles the very people the model learned from",
    )


def _classes(alike: NDArray[np.float64], usual: NDArray[np.float64], name: str) -> Outcome:
    low, high = apart(alike, usual)
    return Outcome(
        f"inversion {name}, classes", "TA301", float(alike.mean()), float(usual.mean()), low, high, "correlation with what sets the class apart",
        "what comes out shows what members of a class have in common",
    )
