"""Linear models: logistic regression by noisy gradients, ridge regression from one answer about second moments."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tacit.domain import Category, Domain
from tacit.errors import UsageError
from tacit.guard import Aggregator, Plan, skellam_variance
from tacit.learn.discovery import MOST_VALUES
from tacit.learn.driver import Steps
from tacit.learn.spending import Outlay, planned, preparation, unit_clip, with_rest
from tacit.learn.training import LearnSpec, Preparation, evidence_of, most_outputs, open_and_run, provenance_of
from tacit.models import LinearModel
from tacit.questions import GRID, LinearGradient, Moments, Target
from tacit.questions.linear import DESIGN_UNIT, design_names
from tacit.questions.losses import MARGIN_UNIT, squared_length
from tacit.randomness.skellam import MAX_VARIANCE

ITERATIONS = 80
RATE, MOMENTUM, RIDGE, UPHILL = 4.0, 0.95, 20.0, 2.0
_RIDGE = 0.05
LEAST_SHARE, HALF = 0.005, 0.5
LOUD = 0.01  # noise of a mean gradient from which on steps are not lengthened
_MOST_FOUND = 4_000


class Descent:
    """Gradient descent with momentum from zero; the second half of the iterates is averaged.

    Where the noise is known, weights are held near zero as for a Gaussian prior, so that few records give small weights; and momentum that
    visibly points uphill is dropped (O'Donoghue & Candès 2015), so that the intercept of a rare class does not shoot past it.

    Args:
        shape: of the weights; rows move independently of each other.
        columns: features of the design, which the rate falls with.
        iterations: steps there will be.
        noise: standard deviation of a coordinate of one gradient of the mean loss, one for all rows or ``[rows, 1]``; ``None`` if not known.
    """

    def __init__(self, shape: tuple[int, ...], *, columns: int, iterations: int, noise: NDArray[np.float64] | float | None = None) -> None:
        self.weights, self._speed, self._tail = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        self._half, self._iterations, self._step, self._noise = iterations // 2, iterations, 0, noise
        self._ridge = 0.0 if noise is None else RIDGE * np.square(noise) / iterations
        self._columns = columns
        self._rate: NDArray[np.float64] | float = 1 / ((1 + columns) / RATE + self._ridge)

    def start(self, gradient: NDArray[np.float64], *, even: float) -> None:
        """Take the first step. Where the noise is small, begin where every record gets its class's share, with a rate for the curvature there.

        A logistic loss is flat where a class is rare: its curvature is share · (1 − share), and never above a quarter. The gradient at zero
        tells the share. With more noise, larger steps would only carry it further.

        Args:
            gradient: of the mean loss at weights zero; the first column is the intercept's.
            even: the share that weights of zero give each class.
        """
        quiet = np.zeros((len(gradient), 1)) if self._noise is None else np.broadcast_to(self._noise, (len(gradient), 1)) / LOUD
        if (quiet >= 1).any():
            self.move(gradient)
            return
        self._step += 1
        share = np.clip(even - gradient[:, :1], LEAST_SHARE, 1 - LEAST_SHARE)
        self.weights[:, :1] = np.log(share) - np.log(1 - share if even == HALF else even)
        curvature = np.maximum(4 * share * (1 - share), quiet)
        self._rate = 1 / ((1 + self._columns) * curvature / RATE + self._ridge)
        self._tail += self.weights * (self._step > self._half)

    def move(self, gradient: NDArray[np.float64]) -> None:
        """Take one step against the gradient of the mean loss."""
        self._step += 1
        gradient = gradient + self._ridge * self.weights
        if self._noise is not None:
            uphill = (gradient * self._speed).sum(axis=1, keepdims=True)
            sure = UPHILL * self._noise * np.sqrt(np.square(self._speed).sum(axis=1, keepdims=True))
            self._speed = np.where(uphill > sure, 0.0, self._speed)
        self._speed = MOMENTUM * self._speed - self._rate * gradient
        self.weights = self.weights + self._speed
        self._tail += self.weights * (self._step > self._half)

    @property
    def average(self) -> NDArray[np.float64]:
        """The weights, once all steps are taken."""
        return np.asarray(self._tail / (self._iterations - self._half))


@dataclass
class Logistic:
    """Logistic regression by noisy gradient sums over a noised number of units."""

    target: Target
    loss: str
    domain: Domain
    size: int
    iterations: int
    sigma: float
    clip: int | None = None
    first_step: int = 0

    def steps(self) -> Steps[NDArray[np.float64]]:
        """The conversation; returns weights ``[outputs, width]``."""
        shape = (self.target.outputs, len(design_names(self.domain)))
        descent = Descent(shape, columns=len(self.domain.columns), iterations=self.iterations, noise=self.sigma / max(self.size, 1))
        for step in range(self.iterations):
            units = np.rint(descent.weights * MARGIN_UNIT).astype(np.int32)
            question = LinearGradient(self.target, self.loss, self.domain, units, self.clip)
            answer: NDArray[np.int64] = yield self.first_step + step, question
            gradient = answer.reshape(shape) / (GRID * DESIGN_UNIT * float(max(self.size, 1)))
            if step == 0 and self.clip is None:
                descent.start(gradient, even=1 / max(2, shape[0]))
            else:
                descent.move(gradient)
        return descent.average


@dataclass
class Ridge:
    """Ridge regression from noisy second moments, with a ridge that outweighs the noise (Wang 2018, AdaSSP).

    Means are taken out before, so that the ridge does not pull predictions to the middle of the bounds, and products that do not stand out
    of the noise count little (Breiman 1995, the non-negative garrote): without that, noise on many features outweighs the signal on a few.
    """

    target: Target
    domain: Domain
    size: int
    sigma: float
    clip: int | None = None
    first_step: int = 0

    def steps(self) -> Steps[NDArray[np.float64]]:
        """The conversation; returns weights ``[1, width]`` for labels scaled to [-1, 1]."""
        question = Moments(self.domain, 2, self.target, self.clip)
        answer: NDArray[np.int64] = yield self.first_step, question
        products = np.zeros((question.width, question.width))
        products[np.triu_indices(question.width)] = answer / float(GRID)
        products += np.triu(products, 1).T
        counted = max(1.0, products[0, 0] + 2 * self.sigma)
        rows = counted if self.clip is not None else min(float(max(self.size, 1)), counted)
        means, level = self._above_noise(products[0, 1:-1]) / rows, float(np.clip(products[0, -1] / rows, -1, 1))
        slopes = self._above_noise(products[1:-1, -1] - rows * level * means)
        ridge = _RIDGE + self.sigma * math.sqrt(question.width)
        spread = products[1:-1, 1:-1] - rows * np.outer(means, means) + ridge * np.eye(len(means))
        values, vectors = np.linalg.eigh(spread)
        weights = (vectors / np.maximum(values, ridge)) @ (vectors.T @ slopes)
        return np.concatenate([[level - means @ weights], weights])[None, :]

    def _above_noise(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(sums * np.maximum(0.0, 1 - 2 * self.sigma**2 / np.maximum(sums**2, 1e-12)))


def fit_linear(spec: LearnSpec, aggregator: Aggregator, *, iterations: int = ITERATIONS) -> LinearModel:
    """Fit logistic regression to classes, ridge regression to a number.

    Raises:
        UsageError: if several sites would have to share more noise than integers can hold; nothing is charged then.
    """
    outputs = most_outputs(spec)
    numbers = spec.target.task == "predict"
    width = design_width(spec)
    parts = 1 + len(spec.features)
    before = preparation(undeclared=len(spec.asked), binned=0)
    if numbers:
        steps = with_rest(before, Moments.kind, repeats=1, cells=(width + 1) * (width + 2) // 2, l0=(parts + 1) * (parts + 2) // 2)
    else:
        steps = with_rest(
            before, LinearGradient.kind, repeats=iterations, cells=width * outputs, l0=outputs * parts, l2=GRID * DESIGN_UNIT,
        )

    def learn(target: Target, domain: Domain, size: int, *, plan: Plan, first: int) -> Steps[NDArray[np.float64]]:
        question = _question(target, domain, aggregator)
        sigma = plan.step(first).noise_multiplier * question.bounds(plan.relation).l2 / GRID
        if isinstance(question, Moments):
            return Ridge(target, domain, size, sigma, question.clip, first).steps()
        return Logistic(target, question.loss, domain, size, iterations, sigma / DESIGN_UNIT, question.clip, first).steps()

    _require_room(spec, aggregator, steps)
    return _run_linear(spec, aggregator, steps, learn)


def _question(target: Target, domain: Domain, aggregator: Aggregator) -> Moments | LinearGradient:
    """What is asked about this target and these columns, at weights zero."""
    columns = 1 + len(domain.columns)
    if target.bounds:
        return Moments(domain, 2, target, unit_clip(aggregator, float(columns + 1) * GRID))
    loss = "softmax" if target.outputs > 1 else "logistic"
    clip = unit_clip(aggregator, GRID * DESIGN_UNIT * math.sqrt(squared_length(loss, hessian=False) * columns))
    return LinearGradient(target, loss, domain, np.zeros((target.outputs, len(design_names(domain))), np.int32), clip)


def _require_room(spec: LearnSpec, aggregator: Aggregator, outlays: list[Outlay]) -> None:
    target = spec.target.declared()
    if aggregator.mechanism == "gaussian" or spec.asked or spec.domain is None or target is None:
        return
    plan = planned(outlays, budget=spec.budget, aggregator=aggregator, purpose=spec.purpose, run="a check that is not charged")
    bounds = _question(target, spec.domain.select(spec.features), aggregator).bounds(plan.relation)
    if skellam_variance(plan.steps[-1].noise_multiplier * bounds.l2) > MAX_VARIANCE:
        raise UsageError(
            f"Expected noise that several sites can share; a linear model of {len(spec.features)} columns at epsilon={spec.budget.epsilon:g} needs "
            "more. Fit boosted or additive trees, raise the budget, or use one curator."
        )


Learn = Callable[..., Steps[NDArray[np.float64]]]


def _run_linear(spec: LearnSpec, aggregator: Aggregator, outlays: list[Outlay], learn: Learn) -> LinearModel:
    def whole(preparation_: Preparation) -> Steps[tuple[Target, Domain, NDArray[np.float64]]]:
        found, target = yield from preparation_.domain()
        domain = trimmed(found, spec)
        weights = yield from learn(target, domain, preparation_.size, plan=preparation_.plan, first=preparation_.next_step)
        return target, domain, weights

    (target, domain, weights), plan, conversation = open_and_run(spec, aggregator, outlays, whole=whole)
    loss = "squared" if target.bounds else ("softmax" if target.outputs > 1 else "logistic")
    return LinearModel(target, loss, domain, weights, conversation.guarantee, provenance_of(plan, conversation, aggregator), evidence_of(aggregator))


def design_width(spec: LearnSpec) -> int:
    """The most columns the design may have: what is declared, and what undeclared features can turn out to be."""
    declared = () if spec.domain is None else tuple(column for column in spec.domain.columns if column[0] in spec.features)
    most = len(spec.undeclared) * (MOST_VALUES + 1)
    return len(design_names(Domain(declared))) + min(most, max(_MOST_FOUND, len(spec.undeclared)))


def trimmed(domain: Domain, spec: LearnSpec) -> Domain:
    """The domain as it was planned for: undeclared features keep their most common values, as many of each as fit."""
    for kept in range(MOST_VALUES, 0, -1):
        if len(design_names(domain)) <= design_width(spec):
            return domain
        domain = Domain(tuple(
            (name, Category(kind.values[: kept - 1]) if name in spec.undeclared and isinstance(kind, Category) else kind)
            for name, kind in domain.columns
        ))
    return domain
