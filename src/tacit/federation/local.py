"""Several guards in one process: each adds its share of Skellam noise, and only the sum is handed on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Sequence
from fractions import Fraction

import numpy as np

from tacit.errors import OffPlan, RoundAborted, UsageError
from tacit.federation.table import Parties
from tacit.guarantee import Guarantee, TrustModel
from tacit.guard import Guard, Plan, Session, SeveralGuards, answer_with, stated
from tacit.questions import Frame, Question, Select, SelectKeys, Update
from tacit.questions.base import Sums

Absent = Callable[[int], Collection[int]]
"""Which sites, by number, do not answer at a step of the plan."""


def _nobody(_step: int) -> Collection[int]:
    return ()


class LocalFederation(SeveralGuards):
    """An aggregator made of guards that share a process.

    Guarantees:
        The sum over k guards carries Skellam noise of the plan's variance: each adds a share of one k-th, and Skellam variables add up
        (Agarwal et al. 2021). Each guard charges its own ledger for the whole plan before any of them answers. The process that adds is
        trusted: a single guard's answer carries one k-th of the noise, and nothing here hides it from the process.

        With ``parties`` the noise is that of a masked round: each guard adds a share of 1 / (t - c), so that t answers less the noise of c
        sites that pool what they know still carry the plan's variance, and n answers carry n / (t - c) times as much.

    Args:
        guards: at least two, about different records, with policies that agree on unit, relation and budget's δ.
        parties: how many are needed and may collude, to simulate a masked federation; by default everyone is needed and the process is trusted.
        absent: who does not answer at which step, to simulate sites that drop out; only with ``parties``.

    Raises:
        UsageError: if there are fewer than two, more than 64, not as many as ``parties`` says, or their policies disagree.
    """

    def __init__(self, guards: Sequence[Guard], *, parties: Parties | None = None, absent: Absent = _nobody) -> None:
        super().__init__(guards)
        if parties is None and absent is not _nobody:
            raise UsageError("Expected parties beside absent: without them every site is needed. Pass parties=Parties.of(number of sites).")
        if parties is not None and parties.sites != len(guards):
            raise UsageError(f"Expected as many guards as parties.sites={parties.sites}; got {len(guards)}. Use Parties.of({len(guards)}).")
        self.parties, self.absent = parties, absent

    @property
    def share(self) -> Fraction:
        """The part of the plan's variance that each guard adds."""
        return Fraction(1, len(self.guards)) if self.parties is None else self.parties.share

    @property
    def trust(self) -> TrustModel:
        """Whom a unit has to trust."""
        sites = len(self.guards)
        return TrustModel.distributed(sites, threshold=sites, colluding=0) if self.parties is None else self.parties.trust

    def answering(self, step: int) -> tuple[int, ...]:
        """The numbers of the sites that answer at a step.

        Raises:
            RoundAborted: if they are fewer than needed; what was charged stays charged.
        """
        missing = set(self.absent(step))
        left = tuple(site for site in range(len(self.guards)) if site not in missing)
        if self.parties is not None and len(left) < self.parties.threshold:
            needed = self.parties.threshold
            raise RoundAborted(f"Expected {needed} sites at step {step}; {len(left)} are left. Nothing was released; open a new plan.")
        return left

    def open(self, plan: Plan) -> FederatedConversation:
        """Charge the whole plan with every guard, after all of them have been asked whether they would refuse.

        If one refuses all the same, because something else was charged meanwhile, those before it stay charged and nothing is answered.

        Raises:
            Refused: what the first guard that refuses says; nothing is charged then.
        """
        sessions, charge = self.opened(plan, self.share)
        return FederatedConversation(self, plan, sessions, charge)


@dataclasses.dataclass
class FederatedConversation:
    """A conversation with all guards at once."""

    federation: LocalFederation
    plan: Plan
    sessions: Sequence[Session]
    first_charge: tuple[int, str]

    def ask(self, step: int, question: Question, *, model: tuple[Frame, Sequence[Update]] | None = None) -> Sums:
        """The noisy sums of the guards that answer, added up.

        Raises:
            RoundAborted: if too few are left.
        """
        answering = [self.sessions[site] for site in self.federation.answering(step)]
        return np.asarray(np.sum([answer_with(session, step, question, model=model) for session in answering], axis=0), np.int64)

    def select(self, step: int, question: Select | SelectKeys) -> dict[str, tuple[str, ...]]:
        """Not possible without one curator."""
        raise OffPlan("Expected declared categories and classes: selecting common values needs one curator. Declare them in a domain file.")

    @property
    def guarantee(self) -> Guarantee:
        """For one unit at one site, against whoever sees only sums."""
        guards = self.federation.guards
        return stated(
            self.plan, others=[self.federation.count_cost], rule=guards[0].policy.accounting, scope=guards[0].scope,
            trust=self.federation.trust, deterministic=self.federation.deterministic,
        )

    @property
    def charge(self) -> tuple[int, str]:
        """The first guard's entry; each guard's ledger has its own."""
        return self.first_charge

    def close(self) -> None:
        """End all sessions."""
        for session in self.sessions:
            session.close()
