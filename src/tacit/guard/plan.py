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

MECHANISMS = ("gaussian", "skellam")
_KIND = re.compile(r"[a-z][a-z0-9_]*@[1-9][0-9]*\Z")
_DIGEST_DOMAIN = "tacit.plan@1"


@dataclass(frozen=True, slots=True)
class PlanStep:
    """``repeats`` answers of one kind, each with Gaussian noise of σ = ``noise_multiplier`` · l2 on every coordinate.

    Args:
        kind: the question's ``kind@major``.
        repeats: how many answers.
        noise_multiplier: σ of one coordinate over the L2 bound between neighbours.
        cells: the most coordinates one answer may have.
        l0: the most coordinates in which two neighbours' sums may differ; 0 means all of them. Coordinates in which neighbours agree
            have the same distribution whatever the sampler, so only this many are charged for the sampler.
        l2: the least L2 bound, in grid integers, that a question of this step has. A finer grid makes integer noise indistinguishable
            from Gaussian noise; 1 is the worst case.
    """

    kind: str
    repeats: int
    noise_multiplier: float
    cells: int
    l0: int = 0
    l2: int = 1

    def __post_init__(self) -> None:
        if not _KIND.match(self.kind):
            raise UsageError(f"Expected a question kind such as «histogram@1»; got kind={self.kind!r}.")
        if not (math.isfinite(self.noise_multiplier) and self.noise_multiplier > 0):
            raise UsageError(f"Expected noise_multiplier={self.noise_multiplier} > 0 and finite.")
        for name, least in (("repeats", 1), ("cells", 1), ("l0", 0), ("l2", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise UsageError(f"Expected {name}={value!r} to be an integer >= {least}.")

    @property
    def touched(self) -> int:
        """The most coordinates of one answer in which neighbours may differ."""
        return min(self.l0, self.cells) if self.l0 else self.cells

    def to_dict(self) -> dict[str, Any]:
        """Plain form; ``PlanStep(**step.to_dict())`` is the step again."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Plan:
    """A frozen conversation: what the owner is asked to pay for, as a whole.

    Args:
        purpose: what a person reads in the ledger.
        unit: who is protected.
        relation: the neighbouring relation that the bounds are taken under.
        steps: in the order they are asked.
        mechanism: ``"gaussian"`` (one curator, rounded Gaussian) or ``"skellam"`` (each site adds a share).
        sampler: ``"full"``: every record takes part in every answer.
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
            raise UsageError(f"Expected sampler='full'; got {self.sampler!r}, which no accountant here knows.")
        if not 0 <= self.selection_delta < 1:
            raise UsageError(f"Expected 0 <= selection_delta={self.selection_delta} < 1.")
        if not self.run:
            raise UsageError("Expected a run name that is not empty; leave it out to draw a random one.")

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
            fields["steps"] = tuple(PlanStep(**step) for step in fields["steps"])
            return cls(**fields)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UsageError(f"Expected a plan as written by Plan.to_dict; got one that does not fit ({type(error).__name__}).") from error

    @property
    def digest(self) -> str:
        """SHA-256 over the canonical form, hex: what approvals and ledger entries refer to."""
        return digest(self.to_dict(), domain=_DIGEST_DOMAIN).hex()
