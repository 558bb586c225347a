"""From a specification and an aggregator to a model: plan, charge, find the domain, bin, learn, sign off."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tacit import __version__
from tacit.crypto import PublicSeed
from tacit.domain import Category, Domain, Numeric
from tacit.errors import DataError, UsageError
from tacit.guarantee import Budget
from tacit.guard import Aggregator, Conversation, Plan, rehearse_answers
from tacit.learn.bins import binning_of, stride_for
from tacit.learn.boosting import Boosting, BoostingShape
from tacit.learn.discovery import MOST_VALUES, found_domain, texts_among
from tacit.learn.driver import Steps, converse
from tacit.learn.spending import Outlay, planned, preparation, unit_clip, values_per_unit, with_rest
from tacit.models import AdditiveModel, Provenance
from tacit.questions import GRID, CellSums, Frame, Histogram, Profile, Select, Target, Update
from tacit.questions.losses import squared_length
from tacit.questions.structure import MOST_CELLS


@dataclass(frozen=True)
class TargetSpec:
    """What to predict; what is not declared is found by charged questions.

    Args:
        column: the label's column.
        task: ``"classify"`` or ``"predict"`` (a number).
        classes: the public classes, if they are declared.
        positive: a value that is told apart from all others; then no classes are needed.
        bounds: the public bounds of a number, if they are declared.
    """

    column: str
    task: str = "classify"
    classes: tuple[str, ...] | None = None
    positive: str | None = None
    bounds: tuple[float, float] | None = None

    def declared(self) -> Target | None:
        """The target, where nothing has to be asked."""
        if self.task == "predict":
            return None if self.bounds is None else Target(self.column, bounds=self.bounds)
        if self.positive is not None:
            return Target(self.column, classes=("other", self.positive), positive=self.positive)
        return None if self.classes is None else Target(self.column, classes=self.classes)


@dataclass(frozen=True)
class LearnSpec:
    """What to learn from which columns for how much. Public.

    Args:
        features: the columns to learn from.
        target: what to predict.
        budget: what the model may cost, with the noised count it uses.
        domain: declared columns; features that it lacks are found by charged questions.
        purpose: what a person reads in the ledger.
        run: public name of the run, which public structure is drawn from; drawn afresh if ``None``.
    """

    features: tuple[str, ...]
    target: TargetSpec
    budget: Budget
    domain: Domain | None = None
    purpose: str = "train a detector"
    run: str | None = None

    def __post_init__(self) -> None:
        if not self.features:
            raise UsageError("Expected at least one feature; name the columns to learn from.")
        if self.target.column in self.features:
            raise UsageError(f"Expected a target that is not a feature; got «{self.target.column}» as both.")

    @property
    def undeclared(self) -> tuple[str, ...]:
        """Features that the domain lacks."""
        known = self.domain.names if self.domain is not None else ()
        return tuple(name for name in self.features if name not in known)

    @property
    def asked(self) -> tuple[str, ...]:
        """Columns whose domain has to be found: undeclared features, and the target where it is not declared."""
        return self.undeclared if self.target.declared() is not None else (*self.undeclared, self.target.column)


@dataclass
class Grounds:
    """What is known before learning: about how many records there are, the frame, and the public randomness."""

    size: int
    frame: Frame
    rng: np.random.Generator


@dataclass
class Preparation:
    """The steps before learning: find the domain, then the bins."""

    spec: LearnSpec
    aggregator: Aggregator
    plan: Plan
    size: int
    next_step: int = 0
    notes: dict[str, Any] = field(default_factory=dict)

    def steps(self) -> Steps[Frame]:
        """The conversation; returns the frame."""
        domain, target = yield from self.domain()
        binning_step = yield from self._binning(domain)
        loss = "squared" if target.bounds else ("softmax" if target.outputs > 1 else "logistic")
        return Frame(target, loss, binning_step)

    def _sigma(self, question: Profile | Histogram) -> float:
        return self.plan.step(self.next_step).noise_multiplier * question.bounds(self.plan.relation).l2 / GRID

    @property
    def _known(self) -> int | None:
        return self.size if self.aggregator.unit.is_record else None

    def _clip(self, columns: int) -> int | None:
        return unit_clip(self.aggregator, GRID * math.sqrt(columns))

    def domain(self) -> Steps[tuple[Domain, Target]]:
        """The first steps: what the columns and the target are."""
        spec, declared = self.spec, self.spec.target.declared()
        if not spec.asked:
            return _whole(spec, None), _require(declared)
        profile = Profile(spec.asked, clip=self._clip(len(spec.asked)))
        sigma = self._sigma(profile)
        answer: NDArray[np.int64] = yield self.next_step, profile
        common = yield from self._common(self._texts(answer))
        self.next_step += 2
        found = found_domain(spec.asked, answer, common, sigma=sigma, size=self._known)
        return _whole(spec, found), declared or _target(spec.target, found, common)

    def _texts(self, answer: NDArray[np.int64]) -> tuple[str, ...]:
        texts = texts_among(answer, self.spec.asked, size=self._known)
        target = self.spec.target
        if target.declared() is not None or target.task == "predict":
            return texts
        return (*(name for name in texts if name != target.column), target.column)

    def _common(self, texts: tuple[str, ...]) -> Steps[dict[str, tuple[str, ...]]]:
        if not texts:
            return {}
        found: dict[str, tuple[str, ...]] = yield self.next_step + 1, Select(texts, values_per_unit(self.aggregator))
        return found

    def _binning(self, domain: Domain) -> Steps[Any]:
        numeric = tuple(name for name, kind in domain.columns if isinstance(kind, Numeric))
        if not numeric:
            self.next_step += 1
            return binning_of(domain, None, None, sigma=1.0, size=max(self.size, 1))
        coarse = Histogram(domain.select(numeric), clip=self._clip(len(numeric)))
        question = Histogram(coarse.domain, stride=stride_for(self.size, self._sigma(coarse)), clip=coarse.clip)
        sigma = self._sigma(question)
        answer: NDArray[np.int64] = yield self.next_step, question
        self.next_step += 1
        return binning_of(domain, question, answer, sigma=sigma, size=max(self.size, 1))


def _require(target: Target | None) -> Target:
    if target is None:
        raise UsageError("Expected a declared target.")
    return target


def _whole(spec: LearnSpec, found: Domain | None) -> Domain:
    known = dict(spec.domain.columns) if spec.domain is not None else {}
    extra = dict(found.columns) if found is not None else {}
    return Domain(tuple((name, known.get(name) or extra[name]) for name in spec.features))


def _target(spec: TargetSpec, found: Domain, common: dict[str, tuple[str, ...]]) -> Target:
    if spec.task == "predict":
        kind = found.column(spec.column)
        if isinstance(kind, Category):
            raise DataError(f"Expected numbers in the target «{spec.column}»; it holds text. Classify it, or choose another column.")
        return Target(spec.column, bounds=(kind.lower, kind.upper))
    classes = tuple(sorted(common.get(spec.column, ())[:MOST_VALUES], key=_natural))
    if len(classes) < 2:
        raise DataError(
            f"Expected at least two classes in the target «{spec.column}»; the charged selection found {len(classes)}. Check the column, declare the "
            "classes, name the positive value, or raise the budget: rare classes hide under the noise."
        )
    return Target(spec.column, classes=classes)


def _natural(text: str) -> tuple[int, float, str]:
    try:
        return 0, float(text), text
    except ValueError:
        return 1, 0.0, text


Learn = Callable[[Grounds, Plan, int], Steps[tuple[Update, ...]]]
Fitted = TypeVar("Fitted")
Outlays = list[Outlay] | Callable[[int], list[Outlay]]
"""A plan's steps, or what they are for so many units (noised)."""


def open_and_run(
    spec: LearnSpec, aggregator: Aggregator, outlays: Outlays, *, whole: Callable[[Preparation], Steps[Fitted]],
) -> tuple[Fitted, Plan, Conversation]:
    """One plan, charged once, then the whole conversation; what it returned, and what paid for it.

    Raises:
        Refused: if the plan is refused; nothing is charged then.
    """
    require_declared(spec, aggregator)
    size = aggregator.size()
    found = outlays if isinstance(outlays, list) else outlays(size)
    plan = planned(found, budget=spec.budget, aggregator=aggregator, purpose=spec.purpose, run=spec.run)
    fitted, conversation = run_plan(spec, aggregator, plan, size=size, whole=whole)
    return fitted, plan, conversation


def require_declared(spec: LearnSpec, aggregator: Aggregator) -> None:
    """Raise `UsageError` where something would have to be found that only one curator can find."""
    if spec.asked and aggregator.mechanism != "gaussian":
        raise UsageError(
            f"Expected a declared domain and declared classes for several sites; «{spec.asked[0]}» is not declared. Only one curator can find them."
        )


def run_plan(
    spec: LearnSpec, aggregator: Aggregator, plan: Plan, *, size: int, whole: Callable[[Preparation], Steps[Fitted]],
) -> tuple[Fitted, Conversation]:
    """Open one plan and have the whole conversation: what it returned, and what paid for it.

    Raises:
        Refused: if the plan is refused; nothing is charged then.
    """
    conversation = aggregator.open(plan)
    try:
        return converse(whole(Preparation(spec, aggregator, plan, size)), conversation), conversation
    finally:
        conversation.close()


def structure_generator(spec: LearnSpec, plan: Plan) -> np.random.Generator:
    """The public randomness that a fit's structure is drawn from: anyone can draw it again."""
    return PublicSeed.of(study=spec.purpose, roster=(), run=plan.run).generator("structure")


def evidence_of(aggregator: Aggregator, noise: str | None = None) -> tuple[dict[str, Any], ...]:
    """What the model keeps of the rehearsal that came before the plan was charged."""
    return (rehearse_answers(noise or aggregator.mechanism, aggregator.relation).to_dict(),)


def provenance_of(plan: Plan, conversation: Conversation, aggregator: Aggregator) -> Provenance:
    """Where a model comes from."""
    sequence, head = conversation.charge
    return Provenance(
        plan=plan.digest, ledger_head=head, charge=sequence, run=plan.run, version=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"), deterministic=aggregator.deterministic,
    )


def fit_additive(spec: LearnSpec, aggregator: Aggregator, outlays: list[Outlay], *, learn: Learn) -> AdditiveModel:
    """Run a learner of additive models: from raw columns to a model.

    Args:
        spec: what to learn.
        aggregator: one guard, or many.
        outlays: the plan's steps, as from `spending.with_rest`.
        learn: what asks the last kind of step, given the grounds, the plan and the step it begins at.

    Raises:
        Refused: if the plan is refused; nothing is charged then.
        DataError: if columns are missing or the target cannot be learned.
    """

    def whole(preparation_: Preparation) -> Steps[tuple[Frame, tuple[Update, ...]]]:
        frame = yield from preparation_.steps()
        grounds = Grounds(preparation_.size, frame, structure_generator(spec, preparation_.plan))
        updates = yield from learn(grounds, preparation_.plan, preparation_.next_step)
        return frame, updates

    (frame, updates), plan, conversation = open_and_run(spec, aggregator, outlays, whole=whole)
    return AdditiveModel(frame, updates, conversation.guarantee, provenance_of(plan, conversation, aggregator), evidence_of(aggregator))


def fit_boosted(spec: LearnSpec, aggregator: Aggregator, shape: BoostingShape | None = None) -> AdditiveModel:
    """Boosting over feature bins and random oblivious trees: the default learner. See `tacit.learn.boosting`."""
    shape = shape or BoostingShape()
    outputs = most_outputs(spec)
    steps = with_rest(
        preparation(undeclared=len(spec.asked), binned=len(spec.features)), CellSums.kind,
        repeats=shape.blocks(len(spec.features)), cells=2 * MOST_CELLS * outputs, l0=2 * outputs,
    )

    def learn(grounds: Grounds, plan: Plan, first: int) -> Steps[tuple[Update, ...]]:
        clip = unit_clip(aggregator, GRID * math.sqrt(squared_length(grounds.frame.loss, hessian=True)))
        multiplier = plan.step(first).noise_multiplier * plan.relation.factor
        return Boosting(grounds.frame, shape, multiplier, grounds.rng, grounds.size, clip, first).steps()

    return fit_additive(spec, aggregator, steps, learn=learn)


def most_outputs(spec: LearnSpec) -> int:
    """The most margins per record that the target can turn out to need."""
    target = spec.target.declared()
    if target is not None:
        return target.outputs
    return 1 if spec.target.task == "predict" else MOST_VALUES
