"""Statistics over contributors who upload when they can: a public survey, and what each party does with it, apart from all others.

::

    survey, key = Survey.make(terms, evaluator=evaluator_public, contributors={"north": north_public, ...})      # the key holder
    upload = survey.contribute(guard, who="north", signing=north_key)                                           # each site, when it can
    total = survey.total(uploads, signing=evaluator_key)                                                        # the evaluator, without a key
    print(survey.open(total, key=key, kept=Path("survey.key.opened")))                                          # the key holder, once
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tacit.crypto import SigningKey, VerifyKey, hexdigest
from tacit.encrypted.keys import EncryptionKey, SecretKey
from tacit.encrypted.statistics import Statistics, read
from tacit.encrypted.sums import Evaluator, KeyHolder, SumPlan, contribute, contributors_in
from tacit.encrypted.wire import Kind, field, parse, prefix_of
from tacit.errors import MessageDamaged, UsageError, WrongKey
from tacit.guarantee import Budget, Guarantee, PrivacyUnit, Relation, Scope, TrustModel
from tacit.guard import MOST_SITES, Guard, Plan, PlanStep, mu_for, plan_cost, stated
from tacit.guard.filters import Filter
from tacit.questions import Question, Select, SelectKeys
from tacit.questions import parse as question_of

SUM_BITS = 46
"""log2 of the largest sum of all contributors, noise included."""


@dataclass(frozen=True)
class Terms:
    """What is asked of whom, and at which price.

    Args:
        name: for people; two surveys may share it.
        questions: each is answered once by every contributor.
        budget: what all of them together cost a unit at its site, against whoever sees the sum.
        protected: the privacy unit and the relation; contributors' policies have to agree.
        least: k, how many contributors must be in the sum.
        colluding: c, how many of them may help those who see it.

    Raises:
        UsageError: there are no questions, one of them is no bounded sum, or the numbers do not fit.
    """

    name: str
    questions: tuple[Question, ...]
    budget: Budget
    protected: tuple[PrivacyUnit, Relation]
    least: int
    colluding: int = 0

    def __post_init__(self) -> None:
        if not self.name.strip() or not self.questions or any(isinstance(question, Select | SelectKeys) for question in self.questions):
            raise UsageError("Expected a name, and at least one question that is a bounded sum.")
        if not (2 <= self.least <= MOST_SITES and 0 <= self.colluding < self.least - 1):
            raise UsageError(
                f"Expected least={self.least} from 2 to {MOST_SITES} and colluding={self.colluding} below {self.least - 1}; somebody has to be "
                "honest beside the one protected."
            )
        if not self.protected[0].is_record and any(getattr(question, "clip", 1) is None for question in self.questions):
            raise UsageError(f"Expected questions that clip each {self.protected[0]} as one, because it may have several rows; pass rows=...")
        self.steps  # noqa: B018  fails where the budget buys no noise that can be accounted

    @property
    def share(self) -> Fraction:
        """Of the variance of the noise, in each contribution: 1 / (k - c)."""
        return Fraction(1, self.least - self.colluding)

    @property
    def size(self) -> int:
        """Integers of a contribution."""
        return sum(question.size for question in self.questions)

    @cached_property
    def steps(self) -> tuple[PlanStep, ...]:
        """What is charged: equal shares of the budget's μ² for all questions."""
        _, relation = self.protected
        noise = math.sqrt(len(self.questions)) / mu_for(self.budget)
        bounds = [question.bounds(relation) for question in self.questions]
        steps = tuple(PlanStep(q.kind, 1, noise, q.size, l0=b.l0, l2=b.l2) for q, b in zip(self.questions, bounds, strict=True))
        mu_for(self.budget, [plan_cost(self.plan_of(steps, run="terms"))])
        return steps

    def plan_of(self, steps: tuple[PlanStep, ...], *, run: str) -> Plan:
        """The plan that a guard charges."""
        unit, relation = self.protected
        return Plan(f"encrypted contribution to «{self.name}»", unit, relation, steps, mechanism="skellam", run=run)

    def sums(self, contributors: int, name: str) -> SumPlan:
        """The sum that contributions go into."""
        return SumPlan(name, self.size, (1 << SUM_BITS) // contributors, contributors, self.least)

    def to_dict(self) -> dict[str, Any]:
        """Canonical plain form."""
        unit, relation = self.protected
        return {
            "name": self.name, "questions": [question.to_dict() for question in self.questions], "least": self.least, "colluding": self.colluding,
            "epsilon": self.budget.epsilon, "delta": self.budget.delta, "relation": relation.value,
            "unit": {"name": unit.name, "column": unit.column, "window": unit.window},
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Terms:
        """The terms that `to_dict` described.

        Raises:
            UsageError: they are none.
        """
        try:
            asked = tuple(question_of(question) for question in data["questions"])
            protected = (PrivacyUnit(**data["unit"]), Relation(data["relation"]))
            budget = Budget(float(data["epsilon"]), float(data["delta"]))
            return cls(str(data["name"]), asked, budget, protected, int(data["least"]), int(data["colluding"]))  # type: ignore[arg-type]
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise UsageError(f"Expected the terms of a survey; {type(error).__name__} while reading them.") from None


@dataclass(frozen=True, eq=False)
class Survey:
    """Terms and parties: public, the same for all. Compare `fingerprint` before anything is contributed.

    Args:
        terms: what is asked.
        key: the key holder's public key.
        evaluator: who adds.
        contributors: who may contribute, by name.

    Raises:
        UsageError: there are fewer contributors than are needed or more than 64, or the key is for another survey.
    """

    terms: Terms
    key: EncryptionKey
    evaluator: VerifyKey
    contributors: Mapping[str, VerifyKey]

    def __post_init__(self) -> None:
        if not self.terms.least <= len(self.contributors) <= MOST_SITES or len(set(self.contributors.values())) != len(self.contributors):
            raise UsageError(f"Expected {self.terms.least} to {MOST_SITES} contributors with a key each; got {len(self.contributors)}.")
        if self.key.parameters != self.sums.parameters:
            raise UsageError("Expected a key that was made for this survey. Make both with Survey.make.")

    @classmethod
    def make(cls, terms: Terms, *, evaluator: VerifyKey, contributors: Mapping[str, VerifyKey]) -> tuple[Survey, SecretKey]:
        """A survey, and the secret key that opens its one sum.

        Raises:
            UsageError: see the class.
        """
        key = SecretKey.generate(terms.sums(max(len(contributors), terms.least), "parameters").parameters)
        return cls(terms, key.public, evaluator, contributors), key

    @cached_property
    def id(self) -> str:
        """SHA-256 of all of it, hex: the run that guards charge, and the name of the sum."""
        return hexdigest(self._header() | {"key": self.key.id}, domain="tacit.encrypted.survey")

    @property
    def fingerprint(self) -> str:
        """Eighty bits of `id` for people to compare."""
        return "-".join(self.id[place : place + 5] for place in range(0, 20, 5))

    @cached_property
    def plan(self) -> Plan:
        """What each guard charges, before it answers."""
        return self.terms.plan_of(self.terms.steps, run=self.id)

    @cached_property
    def sums(self) -> SumPlan:
        """The one sum."""
        return self.terms.sums(len(self.contributors), self.id)

    @property
    def guarantee(self) -> Guarantee:
        """For one unit at one site, against whoever sees the sum, and up to ``colluding`` other contributors."""
        return self._stated(self.plan)

    @property
    def alone(self) -> Guarantee:
        """For one unit at one site, against evaluator and key holder together: they open its single contribution."""
        return self._stated(with_share(self.plan, self.terms.share))

    def _stated(self, plan: Plan) -> Guarantee:
        trust = TrustModel.distributed(len(self.contributors), threshold=self.terms.least, colluding=self.terms.colluding)
        rule = Filter(self.terms.budget, plan.relation)
        return stated(plan, others=[], rule=rule, scope=Scope(self.terms.name), trust=trust, deterministic=False)

    def explain(self) -> str:
        """What is asked, what it costs, and whom it trusts."""
        kinds = ", ".join(f"{question.kind} ({question.size:,})" for question in self.terms.questions)
        return (
            f"questions   {kinds}\n"
            f"contribute  {self.terms.least} or more of {', '.join(self.contributors)}\n"
            f"the sum     {self.guarantee}\n"
            f"one alone   epsilon {self.alone.epsilon:.4g} for whoever is both evaluator and key holder\n"
            + self.sums.explain().partition("\n")[2]
        )

    def contribute(self, guard: Guard, *, who: str, signing: SigningKey) -> bytes:
        """One site's answers: charged to its ledger, noised with its share, encrypted for the key holder, and signed.

        Raises:
            WrongKey: the survey does not know this contributor by this key; nothing is charged.
            Refused: the site's policy or budget says no; nothing is charged.
        """
        if self.contributors.get(who) != signing.public:
            raise WrongKey(f"The survey has another key for «{who}», or none. Send its maker your public key, and take part in the next one")
        with closing(guard.open(self.plan, share=self.terms.share)) as session:
            answers = [session.answer(step, question) for step, question in enumerate(self.terms.questions)]
        return contribute(self.sums, np.concatenate(answers), who=who, key=self.key, signing=signing)

    def total(self, uploads: Iterable[bytes], *, signing: SigningKey) -> bytes:
        """The encrypted sum of all contributions, for the key holder: what the evaluator does.

        Raises:
            WrongKey: this is not the survey's evaluator, or a contribution is for another key or from a stranger.
            MessageDamaged, SignatureInvalid, WrongModel, Replayed: as `Evaluator.add`.
            Refused: too few have contributed.
        """
        if signing.public != self.evaluator:
            raise WrongKey("The survey names another evaluator. Use the key whose public half its maker has")
        adding = Evaluator(self.sums, key=self.key, contributors=self.contributors, signing=signing)
        for upload in uploads:
            adding.add(upload)
        return adding.total()

    def open(self, total: bytes, *, key: SecretKey, kept: Path | None) -> tuple[tuple[str, ...], Statistics]:
        """Who contributed, and the statistics of all of them together: what the key holder does, once.

        Args:
            total: from the evaluator.
            key: the secret key.
            kept: the file that remembers which sum was opened; ``None`` keeps it in no file, for tests.

        Raises:
            WrongKey, WrongModel, MessageDamaged, SignatureInvalid, Refused, Replayed: as `KeyHolder.open`.
        """
        sums = KeyHolder(key, evaluator=self.evaluator, kept=kept).open(self.sums, total)
        who = contributors_in(total)
        variance = float(self.terms.share * len(who))
        noise = [step.noise_multiplier * step.l2 * math.sqrt(variance) for step in self.terms.steps]
        ends = np.cumsum([question.size for question in self.terms.questions])[:-1]
        return who, read(self.terms.questions, np.split(sums, ends), noise)

    def _header(self) -> dict[str, Any]:
        return {
            "terms": self.terms.to_dict(), "evaluator": self.evaluator.raw,
            "contributors": {name: key.raw for name, key in sorted(self.contributors.items())},
        }

    def to_bytes(self) -> bytes:
        """The survey as a message, for everybody."""
        body = self.key.to_bytes()
        return prefix_of(Kind.SURVEY, self._header(), len(body)) + body

    @classmethod
    def from_bytes(cls, data: bytes) -> Survey:
        """The survey that `to_bytes` wrote.

        Raises:
            MessageDamaged: it is cut short, changed beyond reading, or none.
        """
        message = parse(data, Kind.SURVEY)
        key, given = EncryptionKey.from_bytes(bytes(message.body)), field(message.header, "contributors", dict)
        try:
            terms = Terms.from_dict(field(message.header, "terms", dict))
            contributors = {name: VerifyKey.from_bytes(raw) for name, raw in given.items()}
            found = cls(terms, key, VerifyKey.from_bytes(field(message.header, "evaluator", bytes)), contributors)
        except (UsageError, TypeError, AttributeError) as error:
            raise MessageDamaged(f"Expected a survey; its terms or keys cannot be used ({type(error).__name__}). Fetch it again") from error
        if message.seal:
            raise MessageDamaged("Expected a survey without a seal; it was lengthened. Fetch it again")
        return found


def with_share(plan: Plan, share: Fraction) -> Plan:
    """The plan as it is against whoever sees one contribution, whose noise has that share of the variance."""
    factor = math.sqrt(share)
    return replace(plan, steps=tuple(replace(step, noise_multiplier=step.noise_multiplier * factor) for step in plan.steps))
