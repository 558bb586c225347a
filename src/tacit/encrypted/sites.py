"""Several guards, one encrypted sum: the third aggregator. A learner or a statistic asks it as it asks one guard."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from tacit.crypto import SigningKey
from tacit.encrypted.keys import SecretKey
from tacit.encrypted.sums import Evaluator, KeyHolder, SumPlan, contribute
from tacit.encrypted.survey import SUM_BITS, with_share
from tacit.errors import OffPlan, UsageError
from tacit.guarantee import Guarantee, TrustModel
from tacit.guard import Guard, Plan, Session, SeveralGuards, answer_with, stated
from tacit.questions import Frame, Question, Select, SelectKeys, Update
from tacit.questions.base import Sums


class EncryptedSites(SeveralGuards):
    """Guards of one process whose answers are encrypted, added and opened as they would be between organisations: a rehearsal.

    Where contributors, evaluator and key holder are apart and upload at different times, use `Survey`.

    Guarantees:
        Each of k guards adds Skellam noise of 1/(k - c) of the plan's variance: c of them may leave theirs out, or subtract it, and the sum still
        carries the plan's. Who sees the sum has the plan's guarantee. Evaluator and key holder together see single contributions, which carry
        1/(k - c) of the variance: `EncryptedConversation.alone` says what that guarantees.

    Args:
        guards: at least two, about different records, with policies that agree.
        colluding: c, how many sites may help the key holder; fewer than ``len(guards) - 1``.

    Raises:
        UsageError: too few guards or too many, policies that disagree, or too many colluding.
    """

    def __init__(self, guards: Sequence[Guard], *, colluding: int = 0) -> None:
        super().__init__(guards)
        if not 0 <= colluding < len(guards) - 1:
            raise UsageError(f"Expected colluding={colluding} from 0 to {len(guards) - 2}; somebody has to be honest beside the one protected")
        self.colluding = colluding
        self._sites = {f"site-{place}": SigningKey.generate() for place in range(len(guards))}
        self._evaluator = SigningKey.generate()
        self._keys: dict[Any, tuple[SecretKey, KeyHolder]] = {}

    @property
    def share(self) -> Fraction:
        """Of the plan's variance, in each site's answer: 1 / (k - c)."""
        return Fraction(1, len(self.guards) - self.colluding)

    def open(self, plan: Plan) -> EncryptedConversation:
        """Charge the whole plan with every guard, after all of them have been asked whether they would refuse.

        Raises:
            Refused: what the first guard that refuses says; nothing is charged then.
        """
        sessions, charge = self.opened(plan, self.share)
        return EncryptedConversation(self, plan, dict(zip(self._sites, sessions, strict=True)), charge)

    def add_up(self, answers: Mapping[str, Sums], *, name: str) -> Sums:
        """Encrypt each site's answer, add the ciphertexts, open the sum: exact."""
        count, size = len(self._sites), len(next(iter(answers.values())))
        plan = SumPlan(name, size, (1 << SUM_BITS) // count, count, count)
        secret, holder = self._holder(plan)
        public = {site: key.public for site, key in self._sites.items()}
        evaluator = Evaluator(plan, key=secret.public, contributors=public, signing=self._evaluator)
        for site, key in self._sites.items():
            evaluator.add(contribute(plan, np.asarray(answers[site], np.int64), who=site, key=secret.public, signing=key))
        return holder.open(plan, evaluator.total())

    def _holder(self, plan: SumPlan) -> tuple[SecretKey, KeyHolder]:
        if plan.parameters not in self._keys:
            key = SecretKey.generate(plan.parameters)
            self._keys[plan.parameters] = (key, KeyHolder(key, evaluator=self._evaluator.public))
        return self._keys[plan.parameters]


@dataclasses.dataclass
class EncryptedConversation:
    """A conversation with all guards at once, whose answers nobody but the key holder could read, and he only added up."""

    sites: EncryptedSites
    plan: Plan
    sessions: Mapping[str, Session]
    first_charge: tuple[int, str]

    def ask(self, step: int, question: Question, *, model: tuple[Frame, Sequence[Update]] | None = None) -> Sums:
        """The sum of the guards' noisy sums."""
        answers = {site: answer_with(session, step, question, model=model) for site, session in self.sessions.items()}
        return self.sites.add_up(answers, name=f"{self.plan.run}/{step}/{secrets.token_hex(8)}")

    def select(self, step: int, question: Select | SelectKeys) -> dict[str, tuple[str, ...]]:
        """Not possible without one curator."""
        raise OffPlan("Expected declared categories and classes: selecting common values needs one curator. Declare them in a domain file.")

    @property
    def guarantee(self) -> Guarantee:
        """For one unit at one site, against whoever sees only sums, and up to ``colluding`` other sites."""
        return self._stated(self.plan)

    @property
    def alone(self) -> Guarantee:
        """For one unit at one site, against evaluator and key holder together: they open its single contribution."""
        return self._stated(with_share(self.plan, self.sites.share))

    def _stated(self, plan: Plan) -> Guarantee:
        guards = self.sites.guards
        trust = TrustModel.distributed(len(guards), threshold=len(guards), colluding=self.sites.colluding)
        rule, scope = guards[0].policy.accounting, guards[0].scope
        return stated(plan, others=[self.sites.count_cost], rule=rule, scope=scope, trust=trust, deterministic=self.sites.deterministic)

    @property
    def charge(self) -> tuple[int, str]:
        """The first guard's entry; each guard's ledger has its own."""
        return self.first_charge

    def close(self) -> None:
        """End all sessions."""
        for session in self.sessions.values():
            session.close()
