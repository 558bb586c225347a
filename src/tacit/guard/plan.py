"""What will be asked, fixed and public before any data is touched: the whole of it is charged before the first answer.

>>> from tacit.guarantee import PrivacyUnit, Relation
>>> plan = Plan("bins and 200 trees", PrivacyUnit(), Relation.ADD_REMOVE,
...             (PlanStep("histogram@1", 1, 30.0, 1024), PlanStep("cells@1", 200, 60.0, 128, l0=2)), run="example")
>>> plan.total_steps, plan.step(0).kind, plan.step(200).kind, plan.samples
(201, 'histogram@1', 'cells@1', 1424)
"""

from __future__ import annotations

import math
import re
import secrets
from dataclasses import dataclass, field
from typing import Any

from tacit.crypto import digest
from tacit.errors import OffPlan, UsageError
from tacit.guarantee import PrivacyUnit, Relation
from tacit.guard.correlation import Correlation
from tacit.guard.sampler import FULL, Sampler
from tacit.questions import DenseGradient

MECHANISMS = ("gaussian", "skellam", "laplace")
LOCAL_KINDS = ("network@1",)
"""Sums that no question describes: the curator's own code computes them, and draws noise that is exact (`tacit.networks.noise`)."""
SAMPLED_KINDS = (DenseGradient.kind,)
"""Questions that can be asked about a sample of the units, which the guard draws and never shows."""
_KIND = re.compile(r"[a-z][a-z0-9_]*@[1-9][0-9]*\Z")
_DIGEST_DOMAIN = "tacit.plan@1"


@dataclass(frozen=True, slots=True)
class PlanStep:
    """``repeats`` answers of one kind, each with Gaussian noise of σ = ``noise_multiplier`` · l2 on every coordinate.

    In a plan with Laplace noise its scale is ``noise_multiplier`` · l1.

    Args:
        kind: the question's ``kind@major``.
        repeats: how many answers.
        noise_multiplier: σ of one coordinate over the L2 bound between neighbours; for Laplace noise its scale over the L1 bound.
        cells: the most coordinates one answer may have.
        l0: the most coordinates in which two neighbours' sums may differ; 0 means all of them. Coordinates in which neighbours agree
            have the same distribution whatever the sampler, so only this many are charged for the sampler.
        l2: the least L2 bound, in grid integers, that a question of this step has. A finer grid makes integer noise indistinguishable
            from Gaussian noise; 1 is the worst case.
        sampler: who takes part in each answer.
        correlation: how the noise of the answers hangs together; ``None``: not at all. The noise multiplier is then over the L2 bound times
            `Correlation.sensitivity`.
    """

    kind: str
    repeats: int
    noise_multiplier: float
    cells: int
    l0: int = 0
    l2: int = 1
    sampler: Sampler = FULL
    correlation: Correlation | None = None

    def __post_init__(self) -> None:
        if not _KIND.match(self.kind):
            raise UsageError(f"Expected a question kind such as «histogram@1»; got kind={self.kind!r}.")
        if not (math.isfinite(self.noise_multiplier) and self.noise_multiplier > 0):
            raise UsageError(f"Expected noise_multiplier={self.noise_multiplier} > 0 and finite.")
        for name, least in (("repeats", 1), ("cells", 1), ("l0", 0), ("l2", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise UsageError(f"Expected {name}={value!r} to be an integer >= {least}.")
        _require_match(self.sampler, self.correlation, self.repeats)

    @property
    def touched(self) -> int:
        """The most coordinates of one answer in which neighbours may differ."""
        return min(self.l0, self.cells) if self.l0 else self.cells

    def to_dict(self) -> dict[str, Any]:
        """Plain form; `from_dict` reverses it. What is not sampled and not correlated is written as it always was."""
        plain = {name: getattr(self, name) for name in ("kind", "repeats", "noise_multiplier", "cells", "l0", "l2")}
        if self.sampler != FULL:
            plain["sampler"] = self.sampler.to_dict()
        if self.correlation is not None:
            plain["correlation"] = self.correlation.to_dict()
        return plain

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> PlanStep:
        """The step that `to_dict` described."""
        fields = dict(data)
        if "sampler" in fields:
            fields["sampler"] = Sampler(**fields["sampler"])
        if "correlation" in fields:
            fields["correlation"] = Correlation(**fields["correlation"])
        return cls(**fields)


def is_sampled(step: PlanStep) -> bool:
    """Whether the step's question is answered about a Poisson sample that the guard draws."""
    return step.sampler.kind == "poisson" and step.correlation is None and step.kind in SAMPLED_KINDS


def _require_match(sampler: Sampler, correlation: Correlation | None, repeats: int) -> None:
    """A unit's participations must be so far apart that they move different columns of C, none of which overlap."""
    if correlation is None:
        return
    if correlation.kind == "banded" and not (sampler.kind in ("cyclic_poisson", "passes") and sampler.cycle >= correlation.size):
        raise UsageError(f"Expected cyclic_poisson or passes with a cycle >= {correlation.size} bands; got {sampler.kind!r}, cycle {sampler.cycle}.")
    if correlation.kind == "tree" and not (sampler.kind == "passes" and sampler.cycle == correlation.size):
        raise UsageError(f"Expected sampler='passes' with a cycle of {correlation.size}, the tree's; got {sampler.kind!r}, cycle {sampler.cycle}.")
    if correlation.steps != repeats:
        raise UsageError(f"Expected a correlation over repeats={repeats} answers; got one over {correlation.steps}.")


@dataclass(frozen=True, slots=True)
class Plan:
    """A frozen conversation: what the owner is asked to pay for, as a whole.

    Args:
        purpose: what a person reads in the ledger.
        unit: who is protected.
        relation: the neighbouring relation that the bounds are taken under.
        steps: in the order they are asked.
        mechanism: ``"gaussian"`` (one curator, rounded Gaussian), ``"skellam"`` (each site adds a share) or ``"laplace"`` (one curator, rounded
            Laplace: ε without δ).
        sampler: ``"full"``; steps that are sampled say so themselves.
        selection_delta: δ of all answers together that choose keys above a noisy threshold.
        run: a public random name; two runs of the same steps are two plans and two charges.

    Raises:
        UsageError: for anything that cannot be planned.
    """

    purpose: str
    unit: PrivacyUnit
    relation: Relation
    steps: tuple[PlanStep, ...]
    mechanism: str = "gaussian"
    sampler: str = "full"
    selection_delta: float = 0.0
    run: str = field(default_factory=lambda: secrets.token_hex(16))

    def __post_init__(self) -> None:
        if not self.purpose.strip():
            raise UsageError("Expected a purpose that the owner can read, such as «train a detector»; got an empty one.")
        if not self.steps or not isinstance(self.steps, tuple):
            raise UsageError("Expected a non-empty tuple of PlanStep; an empty plan buys nothing.")
        if self.mechanism not in MECHANISMS:
            raise UsageError(f"Expected mechanism={self.mechanism!r} to be one of {', '.join(MECHANISMS)}.")
        if self.sampler != "full":
            raise UsageError(f"Expected sampler='full'; got {self.sampler!r}. A step that is sampled says so itself: PlanStep(sampler=...).")
        self._require_samplers()
        if not 0 <= self.selection_delta < 1:
            raise UsageError(f"Expected 0 <= selection_delta={self.selection_delta} < 1.")
        if not self.run:
            raise UsageError("Expected a run name that is not empty; leave it out to draw a random one.")

    def _require_samplers(self) -> None:
        for step in self.steps:
            if step.sampler.kind == "full":
                continue
            if self.mechanism != "gaussian" and not (self.mechanism == "skellam" and is_sampled(step)):
                raise UsageError(
                    f"Expected every unit in answers with {self.mechanism} noise, or a Poisson sample where sites share noise and are asked for "
                    f"{', '.join(SAMPLED_KINDS)}; got sampler={step.sampler.kind!r} for «{step.kind}». Use one curator."
                )
            if step.sampler.kind == "truncated_poisson" and self.relation is Relation.ADD_REMOVE:
                raise UsageError(
                    "Expected zero-out or replace for a truncated sampler, because the number of records is public then; got add/remove. Use "
                    "Sampler.poisson, or state that the number of records is public."
                )
            if step.sampler.kind != "passes" and self.relation is Relation.REPLACE:
                raise UsageError("Expected add/remove or zero-out for a sampled step; got replace. No tight accounting is known here.")

    @property
    def total_steps(self) -> int:
        """How many answers the plan buys."""
        return sum(step.repeats for step in self.steps)

    @property
    def samples(self) -> int:
        """How many noise samples neighbours can be told apart by: what the sampler's distance is charged for."""
        return sum(step.repeats * step.touched for step in self.steps)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The question kinds it asks, each once, in order of appearance."""
        return tuple(dict.fromkeys(step.kind for step in self.steps))

    def step(self, index: int) -> PlanStep:
        """The step that answer number ``index`` (from 0, over all repeats) belongs to.

        Raises:
            OffPlan: if the plan has no such answer.
        """
        left = index
        for step in self.steps:
            if 0 <= left < step.repeats:
                return step
            left -= step.repeats
        raise OffPlan(f"Expected a step from 0 to {self.total_steps - 1}; got {index}. Open a new plan to ask more.")

    def to_dict(self) -> dict[str, Any]:
        """Plain, canonical form; `from_dict` reverses it."""
        return {
            "purpose": self.purpose,
            "unit": {"name": self.unit.name, "column": self.unit.column, "window": self.unit.window},
            "relation": self.relation.value,
            "steps": [step.to_dict() for step in self.steps],
            "mechanism": self.mechanism,
            "sampler": self.sampler,
            "selection_delta": self.selection_delta,
            "run": self.run,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Plan:
        """The plan that `to_dict` described.

        Raises:
            UsageError: if it is not a plan.
        """
        try:
            fields = dict(data)
            fields["unit"] = PrivacyUnit(**fields["unit"])
            fields["relation"] = Relation(fields["relation"])
            fields["steps"] = tuple(PlanStep.from_dict(step) for step in fields["steps"])
            return cls(**fields)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UsageError(f"Expected a plan as written by Plan.to_dict; got one that does not fit ({type(error).__name__}).") from error

    @property
    def digest(self) -> str:
        """SHA-256 over the canonical form, hex: what approvals and ledger entries refer to."""
        return digest(self.to_dict(), domain=_DIGEST_DOMAIN).hex()
