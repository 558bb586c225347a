"""Linear models: logistic regression by noisy gradients, ridge regression from one answer about second moments."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tacit.domain import Category, Domain, Numeric
from tacit.errors import UsageError
from tacit.guard import Aggregator, Plan, skellam_variance
from tacit.learn.discovery import MOST_VALUES
from tacit.learn.driver import Steps
from tacit.learn.spending import Outlay, planned, preparation, unit_clip, with_rest
from tacit.learn.training import LearnSpec, Outlays, Preparation, evidence_of, most_outputs, open_and_run, provenance_of
from tacit.models import LinearModel
from tacit.questions import GRID, LinearGradient, Moments, Target
from tacit.questions.linear import DESIGN_UNIT, design_names
from tacit.questions.losses import MARGIN_UNIT, first_length, squared_length
from tacit.randomness.skellam import MAX_VARIANCE

ITERATIONS = 80
RATE, MOMENTUM, RIDGE, UPHILL = 4.0, 0.95, 20.0, 2.0
_RIDGE = 0.05
LEAST_SHARE, HALF = 0.005, 0.5
LOUD = 0.01  # noise of a mean gradient from which on steps are not lengthened
TOO_LOUD, FEWEST = 0.02, 10  # noise, over the root of the parts, above which fewer steps learn more; but not fewer than these
_MOST_FOUND = 4_000


@dataclass(frozen=True)
class Pace:
    """How many steps a training takes, and where it clips: by its noise, which is public, and by nothing else.

    With loud noise a record's gradient is clipped at the length that a usual record's has at weights zero: a record that is predicted well is not
    touched, and one that is predicted badly pulls no more than others did at the beginning, for half of the noise or less. And the louder the noise
    is, the fewer answers it is spread over.

    Args:
        iterations: steps.
        clipped: whether gradients are clipped.

    >>> Pace.at(0.005, most=80, clip=0.5, parts=9), Pace.at(0.2, most=80, clip=0.5, parts=9)
    (Pace(iterations=80, clipped=False), Pace(iterations=28, clipped=True))
    """

    iterations: int
    clipped: bool

    @classmethod
    def at(cls, noise: float, *, most: int, clip: float, parts: int) -> Pace:
        """The pace at which to learn.

        Args:
            noise: standard deviation of a coordinate of one gradient of the mean loss, if there are ``most`` steps and nothing is clipped.
            most: as many steps as there may be.
            clip: by how much clipping would lessen the noise; 1 if it cannot.
            parts: features and the intercept, with which steps get shorter.
        """
        if noise <= LOUD:
            return cls(most, False)
        fewer = max(FEWEST, math.floor(most * min(1.0, TOO_LOUD * math.sqrt(parts) / (noise * clip)) ** 2))
        return cls(min(most, fewer), clip < 1)


def usual_length(loss: str, kinds: Sequence[Numeric | Category | None], outputs: int = 1) -> float:
    """Length of a record's gradient at weights zero, if its numbers are spread evenly over their bounds: then their squares are a third on average.

    Args:
        loss: of classes.
        kinds: of the features; ``None`` where it is not known.
        outputs: margins per record.

    >>> round(usual_length("logistic", [Numeric(0, 1)] * 6 + [Category(("a", "b"))]), 6)
    1.0
    """
    return first_length(loss, outputs) * math.sqrt(1 + sum(1 / 3 if isinstance(kind, Numeric) else 1 for kind in kinds))


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
    """Logistic regression by noisy gradient sums over a noised number of units.

    Args:
        question: what is asked, at weights zero.
        size: noised number of units.
        iterations: steps.
        sigma: standard deviation of a coordinate of one answer, in natural units.
        first_step: where in the plan they begin.
    """

    question: LinearGradient
    size: int
    iterations: int
    sigma: float
    first_step: int = 0

    def steps(self) -> Steps[NDArray[np.float64]]:
        """The conversation; returns weights ``[outputs, width]``."""
        zero, size = self.question, float(max(self.size, 1))
        shape = zero.weights.shape
        descent = Descent(shape, columns=len(zero.domain.columns), iterations=self.iterations, noise=self.sigma / size)
        for step in range(self.iterations):
            asked = replace(zero, weights=np.rint(descent.weights * MARGIN_UNIT).astype(np.int32))
            answer: NDArray[np.int64] = yield self.first_step + step, asked
            gradient = answer.reshape(shape) / (GRID * DESIGN_UNIT / zero.step * size)
            if step == 0 and zero.clip is None:
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

    Args:
        spec: what to learn.
        aggregator: one guard, or many.
        iterations: steps of logistic regression; `Pace` takes fewer where the noise is loud.

    Raises:
        UsageError: if several sites would have to share more noise than integers can hold; nothing is charged then.
    """
    room = Room.of(spec, aggregator)
    room.require(aggregator, iterations)

    def learn(target: Target, domain: Domain, preparation_: Preparation) -> Steps[NDArray[np.float64]]:
        plan, first, size = preparation_.plan, preparation_.next_step, preparation_.size
        if target.bounds:
            clip = unit_clip(aggregator, float(2 + len(domain.columns)) * GRID)
            moments = Moments(domain, 2, target, clip)
            return Ridge(target, domain, size, plan.step(first).noise_multiplier * moments.bounds(plan.relation).l2 / GRID, clip, first).steps()
        pace = room.pace(aggregator, size, iterations)
        shown = room.gradient(target, domain, aggregator, clipped=pace.clipped)
        noise = plan.step(first).noise_multiplier * shown.bounds(plan.relation).l2 * shown.step / (GRID * DESIGN_UNIT)
        return Logistic(shown, size, pace.iterations, noise, first).steps()

    return _run_linear(spec, aggregator, lambda size: room.outlays(aggregator, room.pace(aggregator, size, iterations)), learn)


@dataclass(frozen=True)
class Room:
    """What the answers of a linear model need of a plan, before any column is known.

    Args:
        spec: what to learn.
        parts: features and the intercept.
        outputs: the most margins per record.
        step: of `LinearGradient`.
    """

    spec: LearnSpec
    parts: int
    outputs: int
    step: int

    @classmethod
    def of(cls, spec: LearnSpec, aggregator: Aggregator) -> Room:
        """Sites send sums in whole steps of GRID: on a finer grid they would send more bits of noise than integers hold."""
        return cls(spec, 1 + len(spec.features), most_outputs(spec), 1 if aggregator.mechanism == "gaussian" else DESIGN_UNIT)

    @property
    def numbers(self) -> bool:
        """Whether a number is predicted."""
        return self.spec.target.task == "predict"

    @property
    def loss(self) -> str:
        """Of classes."""
        return "softmax" if self.outputs > 1 else "logistic"

    @property
    def unit(self) -> float:
        """Answer steps per 1.0."""
        return GRID * DESIGN_UNIT / self.step

    def outlays(self, aggregator: Aggregator, pace: Pace) -> list[Outlay]:
        """The plan's steps."""
        before, width = preparation(undeclared=len(self.spec.asked), binned=0), design_width(self.spec)
        if self.numbers:
            cells, touched = (width + 1) * (width + 2) // 2, (self.parts + 1) * (self.parts + 2) // 2
            return with_rest(before, Moments.kind, repeats=1, cells=cells, l0=touched)
        cells, touched, length = width * self.outputs, self.outputs * self.parts, int(self.unit)
        if pace.clipped:
            touched, length = 0, min(length, self.clip)
        return with_rest(before, LinearGradient.kind, repeats=pace.iterations, cells=cells, l0=touched, l2=length)

    @property
    def clip(self) -> int:
        """Where a record's gradient is clipped if noise is loud, in answer steps."""
        known = {} if self.spec.domain is None else dict(self.spec.domain.columns)
        return math.ceil(self.unit * usual_length(self.loss, [known.get(name) for name in self.spec.features], self.outputs))

    def pace(self, aggregator: Aggregator, size: int, most: int) -> Pace:
        """At which to learn from so many units."""
        if self.numbers:
            return Pace(1, False)
        plan = self._unasked(aggregator, Pace(most, False))
        length = math.sqrt(squared_length(self.loss, hessian=False) * self.parts)
        noise = plan.steps[-1].noise_multiplier * length * math.sqrt(aggregator.rows_per_unit) * plan.relation.factor
        clip = self.clip / (self.unit * length) if aggregator.unit.is_record else 1.0
        return Pace.at(noise / max(size, 1), most=most, clip=clip, parts=self.parts)

    def gradient(self, target: Target, domain: Domain, aggregator: Aggregator, *, clipped: bool) -> LinearGradient:
        """What is asked, at weights zero."""
        loss, columns = "softmax" if target.outputs > 1 else "logistic", 1 + len(domain.columns)
        clip = unit_clip(aggregator, self.unit * math.sqrt(squared_length(loss, hessian=False) * columns))
        weights = np.zeros((target.outputs, len(design_names(domain))), np.int32)
        return LinearGradient(target, loss, domain, weights, self.clip if clipped else clip, self.step)

    def require(self, aggregator: Aggregator, most: int) -> None:
        """Raise `UsageError` if sites would have to share more noise than integers hold."""
        if aggregator.mechanism == "gaussian" or self.spec.asked:
            return
        last = self._unasked(aggregator, Pace(most, False)).steps[-1]
        length = (self.parts + 1) * GRID if self.numbers else math.sqrt(squared_length(self.loss, hessian=False) * self.parts) * self.unit
        if skellam_variance(last.noise_multiplier * length * aggregator.relation.factor * math.sqrt(aggregator.rows_per_unit)) > MAX_VARIANCE:
            raise UsageError(
                f"Expected noise that several sites can share; a linear model of {len(self.spec.features)} columns at "
                f"epsilon={self.spec.budget.epsilon:g} needs more. Fit boosted or additive trees, raise the budget, or use one curator."
            )

    def _unasked(self, aggregator: Aggregator, pace: Pace) -> Plan:
        outlays = self.outlays(aggregator, pace)
        return planned(outlays, budget=self.spec.budget, aggregator=aggregator, purpose=self.spec.purpose, run="a check that is not charged")


Learn = Callable[..., Steps[NDArray[np.float64]]]


def _run_linear(spec: LearnSpec, aggregator: Aggregator, outlays: Outlays, learn: Learn) -> LinearModel:
    def whole(preparation_: Preparation) -> Steps[tuple[Target, Domain, NDArray[np.float64]]]:
        found, target = yield from preparation_.domain()
        domain = trimmed(found, spec)
        weights = yield from learn(target, domain, preparation_)
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
