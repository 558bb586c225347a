"""What a site says to a study: the card's signature, dates, purpose and price against the owner's policy and decisions, before the guard looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from tacit.errors import PolicyViolation, Refused, UsageError
from tacit.federation.learners import kinds_of
from tacit.federation.roster import Roster
from tacit.federation.study import StudyCard
from tacit.guarantee import PrivacyUnit, Scope
from tacit.guard import Cost, Entry, Filter, Guard, Ledger, Plan, Policy, plan_cost
from tacit.guard.approvals import Standing, entries_of, propose
from tacit.guard.approvals import approve as approve_plan

STUDY, APPROVAL, DENIAL = "study", "study.approval", "study.denial"
"""Kinds of ledger entries: a study that asked, and what the owner said to it."""


@dataclass(frozen=True)
class Decision:
    """A study this site was asked to take part in, and where it stands.

    Args:
        card: of the study.
        said: ``"approved"``, ``"denied"``, or empty while the owner has said nothing.
        charges: how many plans of it were charged.
    """

    card: StudyCard
    said: str
    charges: int


def decisions(ledger: Ledger, scope: Scope) -> tuple[Decision, ...]:
    """Every study that asked, oldest first."""
    cards = {str(entry.body["digest"]): StudyCard.from_dict(entry.body["card"]) for entry in ledger.find(STUDY, scope)}
    charges = ledger.find("charge", scope)
    return tuple(Decision(card, _said(ledger, scope, digest), len(_charged(charges, card))) for digest, card in cards.items())


def decide(ledger: Ledger, scope: Scope, study: str, *, approve: bool) -> tuple[Entry, StudyCard]:
    """Note the owner's decision about one study, by its name or the beginning of its digest. The last decision counts.

    Raises:
        UsageError: unless exactly one study is meant.
    """
    cards = [known.card for known in decisions(ledger, scope)]
    named = sorted((card for card in cards if card.name == study), key=lambda card: card.edition)
    found = named[-1:] or [card for card in cards if len(study) >= 6 and card.digest.startswith(study)]
    if len(found) != 1:
        raise UsageError(
            f"Expected the name of one study that has asked on {scope}, or the beginning of its digest; {len(found) or 'none'} fit. "
            "See tacit site policy."
        )
    return ledger.record(APPROVAL if approve else DENIAL, scope, {"digest": found[0].digest, "study": found[0].name}), found[0]


class Admission:
    """Decides about studies and their plans; what it lets through, the guard still holds against policy and budget.

    Guarantees:
        A study is answered only if the coordinator signed its card for this very roster, it is about the unit, relation and data set of the
        policy, this site is among those asked, it has not ended, and the owner has not denied it; where plans wait for the owner, only if it was
        approved. A plan is answered only if it is the card's: its purpose, its run, its learner's kinds of questions, and, together with
        everything charged for the study, aborted runs included, within its budget. The card is in the ledger before the first charge.

    Args:
        name: which site this is.
        roster: signed by everybody.
        guard: of the records.
        ledger: the guard's own.
        today: the clock.
    """

    def __init__(
        self, name: str, *, roster: Roster, guard: Guard, ledger: Ledger, today: Callable[[], date] = lambda: datetime.now(UTC).date(),
        keep: Callable[[bytes], None] = lambda _: None,
    ) -> None:
        self._name, self._roster, self._guard, self._ledger, self._today, self._keep = name, roster, guard, ledger, today, keep

    def __call__(self, study: bytes, plan: Plan | None) -> None:
        """Return if the study, and the plan if there is one, may go on to the guard.

        Raises:
            VerificationError: if the card is not signed by the coordinator for this roster.
            PolicyViolation: if it does not fit the policy or the owner's decisions; says what would.
            Refused: while it waits for the owner.
        """
        card = StudyCard.verified(study, self._roster.coordinator, roster=self._roster.id)
        self._keep(study)
        require_card(card, self._guard.policy, name=self._name, roster=self._roster, today=self._today())
        self._require_decided(card)
        if plan is not None:
            self._require_plan(card, plan)

    def _require_decided(self, card: StudyCard) -> None:
        scope, said = self._guard.scope, _said(self._ledger, self._guard.scope, card.digest)
        if not any(entry.body["digest"] == card.digest for entry in self._ledger.find(STUDY, scope)):
            self._ledger.record(STUDY, scope, {"digest": card.digest, "card": card.to_dict()})
        if said == "denied":
            raise PolicyViolation(f"refused: the owner of the records at «{self._name}» has denied the study «{card.name}».")
        if said != "approved" and self._guard.policy.limits.approval != "automatic":
            raise Refused(
                f"refused: every study on «{scope.dataset}» waits for the owner at «{self._name}», who says yes with tacit site approve {card.name}. "
                "Then run it again."
            )

    def _require_plan(self, card: StudyCard, plan: Plan) -> None:
        ledger, scope, policy = self._ledger, self._guard.scope, self._guard.policy
        if plan.purpose != card.purpose or not plan.run.startswith(card.run) or plan.unit != card.unit or plan.relation is not card.relation:
            raise PolicyViolation(f"refused: the plan is not the one of the study «{card.name}»: its purpose, run, unit or relation is another.")
        if other := sorted(set(plan.kinds) - kinds_of(card)):
            raise PolicyViolation(f"refused: the study «{card.name}» learns «{card.learner.kind}», which does not ask «{other[0]}».")
        spent = [Cost.from_dict(entry.body["cost"]) for entry in _charged(ledger.find("charge", scope), card)]
        rule = Filter(card.budget, card.relation, policy.filter)
        if not rule.admits([self._guard.count_cost, *spent, plan_cost(plan)]):
            raise PolicyViolation(
                f"refused: the study «{card.name}» may cost epsilon {card.budget.epsilon:g} in all, and {len(spent)} of its plans were charged here, "
                "aborted runs included. A further run needs a new edition of the card, with a budget of its own."
            )
        if policy.limits.approval != "automatic" and not Standing.of(plan.digest, entries_of(ledger, scope)).is_approved:
            propose(ledger, scope, plan)
            approve_plan(ledger, scope, plan.digest)


def require_card(card: StudyCard, policy: Policy, *, name: str, roster: Roster, today: date) -> None:
    """Return if a study fits a site's policy, budget aside.

    Raises:
        PolicyViolation: with the first thing that does not.
    """
    wrong = next(differences(card, policy, name=name, sites=roster.names, today=today), None)
    if wrong is not None:
        raise PolicyViolation(f"refused: {wrong}")


def differences(card: StudyCard, policy: Policy, *, name: str, sites: Sequence[str], today: date) -> Iterator[str]:
    """In which ways a study does not fit a site's policy, budget aside; each with what would."""
    if today > card.ends:
        yield f"the study «{card.name}» ended on {card.ends.isoformat()}. A new edition of its card can say otherwise."
    if name not in card.sites:
        yield f"the study «{card.name}» does not ask «{name}», but {', '.join(card.sites)}."
    if other := sorted(set(card.sites) - set(sites)):
        yield f"the study «{card.name}» asks «{other[0]}», which the roster does not have."
    if card.dataset != policy.dataset:
        yield f"the study «{card.name}» is about the data set «{card.dataset}»; the policy here is about «{policy.dataset}» ([dataset] name)."
    if card.unit != policy.unit:
        yield f"the study protects the unit {_unit(card.unit)}; the policy protects {_unit(policy.unit)} ([unit]). They must be the same."
    if card.relation is not policy.relation:
        yield f"the study is under {card.relation}; the policy under {policy.relation} ([privacy] relation). They must be the same."
    if card.rows_per_unit != policy.rows_per_unit:
        yield f"the study assumes {card.rows_per_unit} rows of a unit; the policy {policy.rows_per_unit} ([unit] rows). They must be the same."
    allowed = policy.limits.questions
    if denied := sorted(kind for kind in kinds_of(card) if allowed is not None and kind not in allowed):
        yield f"«{card.learner.kind}» may ask «{denied[0]}», which [limits] questions does not allow."


def _unit(unit: PrivacyUnit) -> str:
    told = "" if unit.column is None else f", told by the column «{unit.column}»"
    return f"«{unit.name}»{told}" + ("" if unit.window is None else f", window {unit.window}")


def _said(ledger: Ledger, scope: Scope, digest: str) -> str:
    said = [entry for kind in (APPROVAL, DENIAL) for entry in ledger.find(kind, scope) if entry.body["digest"] == digest]
    last = max(said, key=lambda entry: entry.sequence, default=None)
    return "" if last is None else "approved" if last.kind == APPROVAL else "denied"


def _charged(charges: Sequence[Entry], card: StudyCard) -> list[Entry]:
    return [entry for entry in charges if str(entry.body["plan"]["run"]).startswith(card.run)]
