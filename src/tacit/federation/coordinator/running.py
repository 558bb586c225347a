"""A study, from its signed card to a model and a report; and a report too where it came to nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tacit import __version__
from tacit.errors import ConfigError, Refused, RoundAborted, StorageError, TacitError
from tacit.federation.coordinator.folder import CoordinatorFolder
from tacit.federation.learners import Learned, learn
from tacit.federation.masked import MaskedConversation, MaskedFederation
from tacit.federation.roster import Roster
from tacit.federation.study import StudyCard
from tacit.federation.transports import Transport
from tacit.guard import Plan

COMPLETED, ABORTED, REFUSED = "completed", "aborted", "refused"


class _Kept(MaskedFederation):
    """Remembers the conversation that a learner opened."""

    conversation: MaskedConversation | None = None

    def open(self, plan: Plan) -> MaskedConversation:
        """See `MaskedFederation`."""
        self.conversation = super().open(plan)
        return self.conversation


@dataclass(frozen=True)
class StudyReport:
    """What became of a study.

    Args:
        card: what was asked.
        roster: of whom.
        outcome: ``completed``, ``refused`` (nothing was charged for it) or ``aborted`` (what was charged stays charged).
        said: why, if it was not completed.
        guarantee: of the model; empty without one.
        charges: entry of each site's own ledger that paid, by site.
        missing: why a site was not, or not always, there.
        rounds: how many were asked, bytes, seconds, and in how many each site took part.
        started: when, UTC.
        seconds: how long it took.
    """

    card: StudyCard
    roster: Roster
    outcome: str
    said: str = ""
    guarantee: str = ""
    charges: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    rounds: Mapping[str, Any] = field(default_factory=dict)
    started: str = ""
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain form."""
        return {
            "version": 1, "tacit": __version__, "study": self.card.to_dict(), "digest": self.card.digest, "roster": self.roster.id.hex(),
            "federation": self.roster.federation, "parties": str(self.roster.parties), "outcome": self.outcome, "said": self.said,
            "guarantee": self.guarantee,
            "charges": {site: {"entry": entry, "head": head} for site, (entry, head) in sorted(self.charges.items())},
            "missing": dict(sorted(self.missing.items())), "rounds": dict(self.rounds), "started": self.started, "seconds": round(self.seconds, 3),
        }


def require_askable(card: StudyCard, roster: Roster) -> None:
    """Return if the study can be asked of this federation today.

    Raises:
        ConfigError: if it asks others than all of its members, or has ended.
    """
    if set(card.sites) != set(roster.names):
        raise ConfigError(f"Expected a study of all members of the roster ([sites] names): {', '.join(roster.names)}; got {', '.join(card.sites)}.")
    if datetime.now(UTC).date() > card.ends:
        raise ConfigError(f"Expected a study that has not ended; [study] ends = {card.ends.isoformat()}. Set a later day, and count edition up.")


def run_study(
    folder: CoordinatorFolder, roster: Roster, card: StudyCard, *, transport: Transport, timeout: float = 60.0, run: str | None = None,
) -> tuple[Learned | None, StudyReport]:
    """Ask a study of all sites; the model, if there is one, and the report. ``run`` is drawn afresh if ``None``.

    Raises:
        ConfigError: if it cannot be asked of this federation.
        StorageError: if something cannot be written.
    """
    require_askable(card, roster)
    signed = card.sign(folder.key, roster=roster.id)
    aggregator = _Kept(roster, folder.key, transport, study=signed, timeout=timeout, run=run)
    begun, started = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
    model: Learned | None = None
    outcome, said = COMPLETED, ""
    try:
        model = learn(card, aggregator, run=run)
    except StorageError:
        raise
    except Refused as error:
        outcome, said = (REFUSED if aggregator.conversation is None else ABORTED), str(error)
    except (RoundAborted, TacitError) as error:
        outcome, said = ABORTED, str(error)
    talk = aggregator.conversation
    return model, StudyReport(
        card, roster, outcome, said, "" if model is None else str(model.guarantee), {} if talk is None else talk.charges,
        _missing(aggregator), _rounds(talk), begun, time.monotonic() - started,
    )


def _missing(aggregator: _Kept) -> dict[str, str]:
    """The last reason of each site that was not always there."""
    found = dict(aggregator.missing)
    for report in aggregator.conversation.reports if aggregator.conversation is not None else ():
        found |= {site: f"from step {report.step} on: {why}" for site, why in report.missing.items() if site not in found}
    return found


def _rounds(talk: MaskedConversation | None) -> dict[str, Any]:
    reports = [] if talk is None else talk.reports
    took_part = {site: sum(site in report.survivors for report in reports) for site in (() if talk is None else sorted(talk.charges))}
    return {
        "asked": len(reports), "planned": 0 if talk is None else talk.plan.total_steps, "sent_bytes": sum(report.sent for report in reports),
        "received_bytes": sum(report.received for report in reports), "seconds": round(sum(report.seconds for report in reports), 3),
        "took_part": took_part,
    }
