"""One charged conversation: each step of the plan is answered at most once, with noise, in order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from tacit.errors import OffPlan, UsageError
from tacit.guarantee import PrivacyUnit
from tacit.guard.accounting import skellam_variance
from tacit.guard.plan import LOCAL_KINDS, Plan, PlanStep, is_sampled
from tacit.guard.sampler import FULL, drawn
from tacit.guard.sources import OfUnit
from tacit.questions import DenseGradient, Frame, Question, RecordSource, Select, SelectKeys, SessionCache, Update, is_known, restore
from tacit.questions.base import Bounds, Sums
from tacit.questions.select import Found
from tacit.randomness import SecureRandom, rounded_gaussian, rounded_laplace, skellam


class Session:
    """What a guard hands out for a charged plan.

    Guarantees:
        An answer is the question's exact sum plus noise of the plan's multiplier times the question's own bound, and nothing else. A step
        answers once; a question that the plan does not contain, one whose bounds are looser than planned, or one of no known class is
        refused before any record is read. No accounting happens here: it happened before the session existed.

    Args:
        plan: the charged plan.
        records: what questions are evaluated on.
        source: where noise comes from.
        share: which part of the noise's variance this session adds; 1 for a curator, 1/k for one of k sites.
        begin: the first step that may be answered; later than 0 where an earlier session of the plan may have answered what comes before.
    """

    def __init__(self, plan: Plan, records: RecordSource, *, source: SecureRandom, share: Fraction = Fraction(1), begin: int = 0) -> None:
        if not 0 < share <= 1 or (plan.mechanism != "skellam" and share != 1):
            raise UsageError(
                f"Expected a share of 1 for Gaussian and Laplace noise, and within (0, 1] for Skellam; got {share}. Plan with Skellam to share noise."
            )
        self._plan, self._records, self._source, self._share = plan, OfUnit(records, plan.unit), source, share
        self._cache = SessionCache()
        self._next = begin
        self._closed = False

    def answer(self, step: int, question: Question) -> Sums:
        """The noisy sum, int64 ``[question.size]``.

        Raises:
            OffPlan: if it is not this step's turn or the question is not what was charged.
            NeedsContext: if the session does not remember the model the question builds on; `supply` it, then ask again.
        """
        planned = self._planned(step, question)
        bounds = question.bounds(self._plan.relation)
        if question.size > planned.cells or bounds.l0 > planned.touched or bounds.l2 < planned.l2:
            raise OffPlan(
                f"Expected at most {planned.cells} coordinates of which {planned.touched} can differ, on a grid with l2 >= {planned.l2}; got "
                f"{question.size}, {bounds.l0} and {bounds.l2}. Open a plan that covers the question."
            )
        self._require_unit_clip(question)
        total = self._summed(planned, question)
        self._next = step + 1
        return total + self._noise(self._scale(planned, bounds), question.size)

    def _summed(self, planned: PlanStep, question: Question) -> Sums:
        """The exact sum over everybody, or over a sample that is drawn here, once for each answer, and forgotten."""
        if isinstance(question, DenseGradient) and is_sampled(planned):
            sample = drawn(planned.sampler.rate, question.units(self._records, self._cache), self._source)
            return question.evaluate(self._records, self._cache, sample=sample)
        return question.evaluate(self._records, self._cache)

    def take(self, step: int, *, kind: str, size: int) -> PlanStep:
        """Use up one step whose sum the curator's own code computes, samples and noises: the training of networks.

        Args:
            step: the step.
            kind: of `LOCAL_KINDS`.
            size: coordinates of the answer.

        Raises:
            OffPlan: if it is not this step's turn, or not what was charged.
        """
        self._require_open()
        planned = self._turn(step)
        if kind not in LOCAL_KINDS or planned.kind != kind or size > planned.cells or self._plan.mechanism != "gaussian":
            raise OffPlan(f"Expected «{planned.kind}» of at most {planned.cells} cells at step {step}; got «{kind}» of {size}. Ask what was charged.")
        self._next = step + 1
        return planned

    @property
    def local_records(self) -> RecordSource:
        """The records, for code of the curator's own that the plan has steps for; nothing computed from them may leave but by those steps.

        Raises:
            OffPlan: if the plan has no such step.
        """
        if not set(self._plan.kinds) & set(LOCAL_KINDS):
            raise OffPlan("Expected a plan with steps for the curator's own code; this one has questions only. Ask those.")
        return self._records

    @property
    def source(self) -> SecureRandom:
        """Where samples and noise come from."""
        return self._source

    def select(self, step: int, question: Select | SelectKeys) -> dict[str, tuple[str, ...]]:
        """The common values of each column, most common first (by noisy count).

        Raises:
            OffPlan: as `answer`; also under Skellam noise, because selection needs one curator.
        """
        planned = self._planned(step, question)
        if self._plan.mechanism == "skellam":
            raise OffPlan("Expected one curator for a selection; sites that share noise use declared or hashed categories.")
        bounds = question.bounds(self._plan.relation)
        if bounds.l0 > planned.touched or bounds.l2 < planned.l2:
            raise OffPlan(f"Expected a selection in which {planned.touched} counts can differ; got {bounds.l0}. Open a plan that covers it.")
        scale, delta = self._scale(planned, bounds), self._plan.selection_delta / self._selections
        threshold = question.threshold(scale, delta, self._plan.relation, mechanism=self._plan.mechanism)
        counts = question.count(self._records, self._cache)
        self._next = step + 1
        return {name: self._above(found, scale, threshold) for name, found in counts.items()}

    @property
    def _selections(self) -> int:
        """How many answers share the plan's δ of selection."""
        return sum(step.repeats for step in self._plan.steps if step.kind in (Select.kind, SelectKeys.kind))

    def _above(self, found: Found, scale: float, threshold: float) -> tuple[str, ...]:
        names, steps = (sorted(found), np.array([found[name] for name in sorted(found)], np.int64)) if isinstance(found, dict) else found
        noisy = steps + self._noise(scale, len(names))
        above = np.flatnonzero(noisy > threshold)
        return tuple(str(names[int(i)]) for i in above[np.argsort(-noisy[above], kind="stable")])

    def supply(self, frame: Frame, updates: Sequence[Update]) -> None:
        """Give the session a public model again, from which it recomputes what it had forgotten."""
        self._require_open()
        restore(frame, tuple(updates), records=self._records, cache=self._cache)

    def forget(self) -> None:
        """Drop everything that is remembered between steps."""
        self._cache.clear()

    def close(self) -> None:
        """End the session; what was charged stays charged."""
        self._closed = True
        self._cache.clear()

    def _planned(self, step: int, question: Question | Select | SelectKeys) -> PlanStep:
        self._require_open()
        planned = self._turn(step)
        if not is_known(question):
            raise OffPlan(f"Expected a question out of tacit.questions; got a {type(question).__name__}. Only the closed list is answered.")
        if question.kind != planned.kind:
            raise OffPlan(f"Expected a «{planned.kind}» question at step {step}; got «{question.kind}». Ask what was charged.")
        if (planned.sampler != FULL or planned.correlation is not None) and not is_sampled(planned):
            raise OffPlan(f"Expected a step of which every unit is part; step {step} is sampled. Only networks are trained on samples.")
        return planned

    def _turn(self, step: int) -> PlanStep:
        if step < self._next:
            raise OffPlan(f"Expected step {self._next} or a later one; got {step}, which was answered or passed over. Open a new plan to ask again.")
        return self._plan.step(step)

    def _require_open(self) -> None:
        if self._closed:
            raise OffPlan("Expected an open session; this one was closed. Open a new plan.")

    def _require_unit_clip(self, question: Question) -> None:
        unit: PrivacyUnit = self._plan.unit
        if not unit.is_record and getattr(question, "clip", 1) is None:
            raise OffPlan(f"Expected a question that clips each {unit} as one; set clip, because the unit may have several rows.")

    def _scale(self, planned: PlanStep, bounds: Bounds) -> float:
        """σ of the noise, or the scale of Laplace noise: never less than planned, for ε adds up without any slack there."""
        if self._plan.mechanism == "laplace":
            return math.nextafter(planned.noise_multiplier * bounds.l1, math.inf)
        return planned.noise_multiplier * bounds.l2

    def _noise(self, sigma: float, size: int) -> Sums:
        if self._plan.mechanism == "gaussian":
            return rounded_gaussian(self._source, sigma, size)
        if self._plan.mechanism == "laplace":
            return rounded_laplace(self._source, sigma, size)
        return skellam(self._source, skellam_variance(sigma) * float(self._share), size)
