"""A federation whose sites need to trust nobody with their sums: the aggregator that learners are driven by, over masked rounds."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tacit.crypto import SigningKey, canonical_bytes
from tacit.errors import BudgetExceeded, OffPlan, PolicyViolation, Refused, RoundAborted, UsageError
from tacit.federation.agent import COUNT_QUESTION, COUNT_RUN
from tacit.federation.roster import Roster
from tacit.federation.rounds.coordinator import CoordinatorRound
from tacit.federation.rounds.masks import BITS
from tacit.federation.rounds.wire import Address, Control
from tacit.federation.sites import Refusal, Sites
from tacit.federation.steps import RoundOnLine
from tacit.federation.transports import Transport
from tacit.guarantee import Budget, Guarantee, PrivacyUnit, Relation, Scope
from tacit.guard import Cost, Filter, Plan, stated
from tacit.questions import Frame, Question, Select, SelectKeys, Update
from tacit.questions.base import Sums

_REFUSALS: Mapping[str, type[Refused]] = {"BudgetExceeded": BudgetExceeded, "PolicyViolation": PolicyViolation}
_DEVIATIONS = 12.0


@dataclass(frozen=True)
class Terms:
    """What the policies of all sites agree on, and the dearest of their counts."""

    unit: PrivacyUnit
    relation: Relation
    rows_per_unit: int
    rule: Filter
    scope: Scope
    count_cost: Cost
    counts_units: bool
    deterministic: bool


@dataclass(frozen=True, slots=True)
class RoundReport:
    """What became of one step.

    Args:
        step: of the plan.
        survivors: whose contributions are in the sum.
        missing: the other sites, and why.
        bits: of a coordinate.
        seconds: from the question to the sum.
        sent: bytes to all sites.
        received: bytes from all sites.
    """

    step: int
    survivors: tuple[str, ...]
    missing: Mapping[str, str]
    bits: int
    seconds: float
    sent: int
    received: int


class MaskedFederation:
    """An aggregator whose sums are masked: the coordinator sees them only added up, with enough noise in the sum.

    Guarantees:
        With (n, t, c) from `Parties`: whoever holds the coordinator's keys and those of c sites sees, of all other sites, sums over at least t - c of
        them, each with Skellam noise of at least the plan's variance, and nothing else (docs/protocol.md). Every site charges its own ledger for
        the whole plan before it answers, and aborted rounds stay charged. Sites that refuse or are missing are left out while t are left.

    Args:
        roster: who takes part, signed by everybody.
        key: the coordinator's signing key.
        transport: what reaches the sites.
        study: canonical bytes of the study's card, for sites that ask for one.
        timeout: seconds that a site has for one call.
        run: public name, from which the name of the one round of counts is made; drawn afresh if ``None``.

    Raises:
        VerificationError: if the roster is not signed by everybody.
    """

    mechanism = "skellam"

    def __init__(
        self, roster: Roster, key: SigningKey, transport: Transport, *, study: bytes = b"", timeout: float = 60.0, run: str | None = None,
    ) -> None:
        roster.require_signed()
        self.roster, self.study = roster, study
        self.sites = Sites(roster, key=key, transport=transport, timeout=timeout)
        self._count_run = COUNT_RUN + (run or secrets.token_hex(16))
        self.missing: dict[str, str] = {}

    @property
    def noise(self) -> str:
        """Which noise a plan must have."""
        return self.mechanism

    @cached_property
    def terms(self) -> Terms:
        """What the sites' policies agree on.

        Raises:
            Refused: if too few sites answer.
            UsageError: if they disagree on unit, relation, rows per unit or delta.
        """
        found = self._enough(Control.TERMS, self._count_run, {"study": self.study})
        policies = [found[site]["policy"] for site in sorted(found)]
        alike = {canonical_bytes([p["unit"], p["relation"], p["rows_per_unit"], p["delta"], p["filter"]]) for p in policies}
        if len(alike) != 1:
            raise UsageError("Expected policies that agree on unit, relation, rows per unit, delta and filter; these do not. Align them first.")
        return _terms([found[site] for site in sorted(found)], self.roster.federation)

    @property
    def unit(self) -> PrivacyUnit:
        """Who is protected: a unit at one site."""
        return self.terms.unit

    @property
    def relation(self) -> Relation:
        """The neighbouring relation."""
        return self.terms.relation

    @property
    def rows_per_unit(self) -> int:
        """Public assumption on how many rows a unit has."""
        return self.terms.rows_per_unit

    @property
    def count_cost(self) -> Cost:
        """The dearest of the sites' noised counts: one unit lies at one site."""
        return self.terms.count_cost

    @property
    def counts_units(self) -> bool:
        """Whether `size` can be asked beside a plan."""
        return self.terms.counts_units

    @property
    def accounting(self) -> Filter:
        """The filter that decides about plans."""
        return self.terms.rule

    @property
    def deterministic(self) -> bool:
        """Whether any site's noise comes from a test seed."""
        return self.terms.deterministic

    def size(self) -> int:
        """The sum of the sites' noised counts, itself computed under masks: nobody learns one site's."""
        return self._size

    @cached_property
    def _size(self) -> int:
        if not self.terms.counts_units:
            raise UsageError("Expected policies that release a noised count of units; these do not. Make the count a step of the plan.")
        total = self.round(self._count_run, 0).total(COUNT_QUESTION, bits=BITS[-1], size=1)
        return max(0, int(total[0]))

    def round(self, run: str, number: int) -> RoundOnLine:
        """A new round of a run."""
        return RoundOnLine(self.sites, CoordinatorRound(self.roster, key=self.sites.key, address=Address(self.roster.id, run, number)))

    def open(self, plan: Plan) -> MaskedConversation:
        """Charge the whole plan with every site that agrees, after all have been asked whether they would.

        Raises:
            Refused: what the sites say, if too few would take part; nothing is charged then.
            RoundAborted: if too few are left when it comes to charging; what was charged stays charged.
        """
        terms = self.terms
        willing, content = self.require(plan), self._content(plan)
        charged, refusals = self.sites.control(Control.OPEN, run=plan.run, content=content, sites=willing)
        self.missing |= {site: str(refusal) for site, refusal in refusals.items()}
        if len(charged) < self.roster.parties.threshold:
            reasons = "; ".join(f"«{site}»: {why}" for site, why in sorted(self.missing.items()))
            needed = self.roster.parties.threshold
            raise RoundAborted(f"Only {len(charged)} sites opened the plan, {needed} are needed ({reasons}). They stay charged.")
        charges = {site: (int(entry["sequence"]), str(entry["digest"])) for site, entry in sorted(charged.items())}
        return MaskedConversation(self, plan, terms=terms, charges=charges)

    def require(self, plan: Plan) -> list[str]:
        """The sites that would open the plan; nothing is charged.

        Raises:
            Refused: what the sites say, if too few would take part.
        """
        if plan.mechanism != self.mechanism:
            raise UsageError(f"Expected a plan with Skellam noise, which sites can share; got {plan.mechanism}. Plan for this aggregator.")
        return sorted(self._enough(Control.ASK, plan.run, self._content(plan)))

    def _content(self, plan: Plan) -> dict[str, Any]:
        return {"study": self.study, "plan": plan.to_dict()}

    def _enough(self, control: Control, run: str, content: Mapping[str, Any]) -> dict[str, Any]:
        """What the sites say, if enough say yes; else what the first that refuses says."""
        found, refusals = self.sites.control(control, run=run, content=content, sites=self.roster.names)
        self.missing = {site: str(refusal) for site, refusal in refusals.items()}
        if len(found) < self.roster.parties.threshold:
            raise _refused(refusals, found=len(found), needed=self.roster.parties.threshold)
        return found


def _terms(found: Sequence[Mapping[str, Any]], federation: str) -> Terms:
    policy, names = found[0]["policy"], {site["scope"]["dataset"] for site in found}
    budget, relation = Budget(policy["epsilon"], policy["delta"]), Relation(policy["relation"])
    scope = Scope(names.pop() if len(names) == 1 else federation, found[0]["scope"]["window"])
    costs = [Cost.from_dict(site["count_cost"]) for site in found]
    return Terms(
        PrivacyUnit(**policy["unit"]), relation, int(policy["rows_per_unit"]), Filter(budget, relation, policy["filter"]), scope,
        max(costs, key=lambda cost: cost.mu_squared or 0.0), all(site["counts_units"] for site in found),
        any(site["deterministic"] for site in found),
    )


def _refused(refusals: Mapping[str, Refusal], *, found: int, needed: int) -> Refused:
    said = {site: refusal for site, refusal in sorted(refusals.items()) if refusal.kind in _REFUSALS} or dict(sorted(refusals.items()))
    first = next(iter(said.values()), Refusal("Refused", "no site answered"))
    reasons = "; ".join(f"«{site}»: {refusal.reason}" for site, refusal in said.items())
    return _REFUSALS.get(first.kind, Refused)(f"refused: {found} of the sites would take part, {needed} are needed. {reasons}")


class MaskedConversation:
    """A conversation with all sites at once. `reports` says what became of each step, `charges` what each site was charged."""

    def __init__(self, federation: MaskedFederation, plan: Plan, *, terms: Terms, charges: Mapping[str, tuple[int, str]]) -> None:
        self._federation, self.plan, self._terms, self.charges = federation, plan, terms, charges
        self._sites = federation.sites
        self._prepared: tuple[int, RoundOnLine] | None = None
        self.reports: list[RoundReport] = []

    def ask(self, step: int, question: Question, *, model: tuple[Frame, Sequence[Update]] | None = None) -> Sums:
        """The sites' noisy sum.

        Raises:
            RoundAborted: if too few sites are left; the plan stays charged, and later steps can still be asked.
        """
        started, sent, received = time.monotonic(), self._sites.sent, self._sites.received
        round_ = self._round(step)
        following = self._federation.round(self.plan.run, step + 1) if step + 1 < self.plan.total_steps else None
        bits = self._bits(step, question)
        self._prepared = None
        text = canonical_bytes(question.to_dict())
        total = round_.total(text, bits=bits, size=question.size, following=following, model=model)
        if following is not None:
            self._prepared = (step + 1, following)
        done = round_.core
        self.reports.append(RoundReport(
            step, done.survivors, dict(done.missing), bits, time.monotonic() - started, self._sites.sent - sent, self._sites.received - received,
        ))
        return total

    def _round(self, step: int) -> RoundOnLine:
        if self._prepared is not None and self._prepared[0] == step:
            return self._prepared[1]
        return self._federation.round(self.plan.run, step)

    def _bits(self, step: int, question: Question) -> int:
        """The narrowest integers that hold the sum, noise included, for up to twice as many units as were counted and 1,000 more.

        Noise beyond 12 standard deviations has probability below 2^-100 in each coordinate. A sum that does not fit wraps around: it is wrong
        then, and as private as any other.
        """
        if not self._terms.counts_units:
            return BITS[-1]
        bounds, parties = question.bounds(self._terms.relation), self._federation.roster.parties
        deviation = self.plan.step(step).noise_multiplier * bounds.l2 * math.sqrt(parties.sites * parties.share)
        most = (2 * self._federation.size() + 1000) * bounds.linf + _DEVIATIONS * deviation + 1
        return next((bits for bits in BITS if most < 2.0 ** (bits - 1)), BITS[-1])

    def select(self, step: int, question: Select | SelectKeys) -> dict[str, tuple[str, ...]]:
        """Not possible without one curator."""
        raise OffPlan("Expected declared categories and classes: selecting common values needs one curator. Declare them in a domain file.")

    @property
    def guarantee(self) -> Guarantee:
        """For one unit at one site, against the coordinator with c sites, and everybody who sees the answers."""
        terms = self._terms
        return stated(
            self.plan, others=[terms.count_cost], rule=terms.rule, scope=terms.scope, trust=self._federation.roster.parties.trust,
            deterministic=terms.deterministic,
        )

    @property
    def charge(self) -> tuple[int, str]:
        """The first site's entry; `charges` has all."""
        return next(iter(self.charges.values()))

    def close(self) -> None:
        """End the run at every site."""
        self._sites.control(Control.CLOSE, run=self.plan.run, content={}, sites=sorted(self.charges))
