"""A site's agent: what arrives from the coordinator goes through its guard and its rounds, and only signed messages leave."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tacit.crypto import SigningKey, canonical_bytes, from_canonical
from tacit.errors import (
    ConfigError,
    DataError,
    LedgerCorrupted,
    NeedsContext,
    ProtocolViolation,
    Refused,
    RollbackDetected,
    TacitError,
    UsageError,
    VerificationError,
)
from tacit.federation.bundles import bundled, unbundled
from tacit.federation.positions import Positions
from tacit.federation.roster import COORDINATOR, Roster
from tacit.federation.rounds.site import SiteRound
from tacit.federation.rounds.wire import Address, Control, Message, Stage, address_of, read
from tacit.guard import Guard, Plan, Session, charge_of
from tacit.questions import Frame, Update, parse
from tacit.questions.base import Sums

Admit = Callable[[bytes, Plan | None], None]
"""Raises unless the site takes part in a study (its card's bytes) and, where one is given, answers a plan."""

COUNT_RUN = "count:"
_LOG = logging.getLogger(__name__)
_TOLD = (Refused, NeedsContext, UsageError, VerificationError)
_UNTOLD = (ConfigError, DataError, LedgerCorrupted, RollbackDetected)
_OPEN_ROUNDS = 3
_OPEN_RUNS = 16


@dataclass
class _Run:
    """One charged plan, or the one count."""

    session: Session | None
    charge: tuple[int, str]
    rounds: OrderedDict[int, SiteRound] = field(default_factory=OrderedDict)


class SiteAgent:
    """Answers a coordinator for one site.

    Guarantees:
        Nothing about records leaves but masked vectors, each of them a charged step's sum with this site's share of noise; opening a plan charges
        this site's own ledger for the whole of it. A step is answered once, also across crashes: how far a run was answered is on disk first.
        Whatever arrives, the answer is a signed message, if only a refusal; a refusal names public parameters and noised counts.

    Args:
        name: which site this is.
        roster: who takes part, signed by everybody.
        key: the site's signing key.
        guard: records, policy and ledger.
        positions: folder that says how far each run was answered; ``None`` for tests and notebooks.
        admit: looks at the study's card, and at each plan, before the guard does.

    Raises:
        VerificationError: if the roster is not signed by everybody.
    """

    def __init__(
        self, *, name: str, roster: Roster, key: SigningKey, guard: Guard, positions: Path | None = None, admit: Admit | None = None,
    ) -> None:
        roster.require_signed()
        if roster.key(name) != key.public:
            raise UsageError(f"Expected the key that the roster has for «{name}»; got another. Join again with this key, or find the old one.")
        self._name, self._roster, self._key, self._guard = name, roster, key, guard
        self._positions = Positions(positions)
        self._admit = admit
        self._runs: OrderedDict[str, _Run] = OrderedDict()
        self._lock = threading.Lock()

    def handle(self, stage: str, message: bytes) -> bytes:
        """The answers to a bundle of requests, in a bundle; see `tacit.federation.transports.Handler`."""
        with self._lock:
            try:
                requests = unbundled(message)
            except ProtocolViolation as error:
                return bundled([self._refusal(Address(self._roster.id, "unknown", 0), error)])
            return bundled([self._answer(request) for request in requests])

    def _answer(self, request: bytes) -> bytes:
        address = Address(self._roster.id, "unknown", 0)
        try:
            address, stage = address_of(request, federation=self._roster.id)
            if isinstance(stage, Stage):
                return self._round(address).handle(stage, request)
            message = read(request, roster=self._roster, address=address, stage=stage, sender=COORDINATOR)
            body = canonical_bytes(_CONTROLS[stage](self, message))
            return Message(address, stage, self._name, b"", body).signed(self._key)
        except TacitError as error:
            return self._refusal(address, error)
        except Exception as error:
            return self._refusal(address, TacitError(f"{type(error).__name__} at this site; see its own log."))

    def _refusal(self, address: Address, error: TacitError) -> bytes:
        """What may be said of an error: refusals and broken rules in full; of files, disks and records only that there is something."""
        _LOG.warning("%s: %s", type(error).__name__, error)
        told = isinstance(error, _TOLD) and not isinstance(error, _UNTOLD)
        reason = str(error)[:2000] if told else "this site cannot answer; its own log says why. Ask its owner."
        body = canonical_bytes({"kind": type(error).__name__, "reason": reason})
        return Message(address, Control.REFUSED, self._name, b"", body).signed(self._key)

    def _terms(self, message: Message) -> Mapping[str, Any]:
        """What this site's policy says, as far as a plan has to fit it."""
        self._require_admitted(message.content("study")["study"], None)
        run, policy = message.address.run, self._guard.policy
        if run.startswith(COUNT_RUN) and run not in self._runs:
            self._keep(run, _Run(None, (0, "")))
        return {
            "policy": policy.to_dict(), "scope": {"dataset": self._guard.scope.dataset, "window": self._guard.scope.window},
            "count_cost": self._guard.count_cost.to_dict(), "counts_units": policy.counts_units, "deterministic": self._guard.deterministic,
        }

    def _ask(self, message: Message) -> Mapping[str, Any]:
        """Whether a plan would be opened."""
        study, plan = self._planned(message)
        self._require_admitted(study, plan)
        self._guard.require(plan)
        return {}

    def _open(self, message: Message) -> Mapping[str, Any]:
        """Charge a plan, once per run."""
        study, plan = self._planned(message)
        run = self._runs.get(plan.run) or self._rejoined(plan.run)
        if run is None:
            self._require_admitted(study, plan)
            session = self._guard.open(plan, share=self._roster.parties.share)
            self._positions.set(plan.run, 0)
            run = self._keep(plan.run, _Run(session, charge_of(self._guard)))
        return {"sequence": run.charge[0], "digest": run.charge[1]}

    def _supply(self, message: Message) -> Mapping[str, Any]:
        """Take the public model again."""
        content = message.content("frame", "updates")
        session = self._known(message.address.run).session
        if session is None or not isinstance(content["frame"], dict) or not isinstance(content["updates"], list):
            raise ProtocolViolation("Expected a model for a charged run.")
        try:
            frame = Frame.from_dict(content["frame"])
            updates = [Update.from_dict(update, frame.target.outputs) for update in content["updates"]]
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise ProtocolViolation(f"Expected a model; {type(error).__name__} while reading it.") from error
        session.supply(frame, updates)
        return {}

    def _close(self, message: Message) -> Mapping[str, Any]:
        """End a run; what was charged stays charged."""
        run = self._runs.pop(message.address.run, None)
        if run is not None and run.session is not None:
            run.session.close()
        return {}

    def _planned(self, message: Message) -> tuple[bytes, Plan]:
        content = message.content("study", "plan")
        plan = Plan.from_dict(content["plan"])
        if plan.run != message.address.run or plan.mechanism != "skellam" or plan.run.startswith(COUNT_RUN):
            raise ProtocolViolation("Expected a plan with shared (Skellam) noise, of the run that the message names.")
        return content["study"], plan

    def _require_admitted(self, study: object, plan: Plan | None) -> None:
        if not isinstance(study, bytes):
            raise ProtocolViolation("Expected the study's card as bytes.")
        if self._admit is not None:
            self._admit(study, plan)

    def _round(self, address: Address) -> SiteRound:
        """The round of a message; a new one if it is later than all before."""
        run = self._known(address.run)
        if address.round in run.rounds:
            return run.rounds[address.round]
        first = self._positions.get(address.run) or 0
        if address.round < max([first, *(number + 1 for number in run.rounds)]):
            raise Refused(f"refused: round {address.round} is over at this site, or it was not there when it began. The next one includes it again.")

        def contribute(question: bytes, size: int) -> Sums:
            return self._contribution(address, run, question=question, size=size)

        found = SiteRound(self._roster, self._name, key=self._key, address=address, contribute=contribute)
        run.rounds[address.round] = found
        while len(run.rounds) > _OPEN_ROUNDS:
            run.rounds.popitem(last=False)[1].forget()
        return found

    def _contribution(self, address: Address, run: _Run, *, question: bytes, size: int) -> Sums:
        """This step's noised sum, after noting durably that the step is used up."""
        if run.session is None:
            return self._count(question, size)
        asked = parse(from_canonical(question))
        if asked.size != size:  # type: ignore[union-attr]
            raise ProtocolViolation(f"Expected as many coordinates as the question has; got {size}.")
        self._positions.set(address.run, address.round + 1)
        return run.session.answer(address.round, asked)  # type: ignore[arg-type]

    def _count(self, question: bytes, size: int) -> Sums:
        """The guard's own noised count: released once, charged once, the same however often it is summed."""
        import numpy as np

        if question != COUNT_QUESTION or size != 1:
            raise ProtocolViolation("Expected the one count in a run of counts.")
        return np.array([self._guard.size()], np.int64)

    def _known(self, run: str) -> _Run:
        found = self._runs.get(run) or self._rejoined(run)
        if found is None:
            raise Refused("refused: no plan of this run is open at this site. Open it first.")
        return found

    def _rejoined(self, run: str) -> _Run | None:
        """A run that was charged before this site was stopped."""
        begin = self._positions.get(run)
        if begin is None:
            return None
        _, session = self._guard.rejoin(run, share=self._roster.parties.share, begin=begin)
        return self._keep(run, _Run(session, charge_of(self._guard)))

    def _keep(self, name: str, run: _Run) -> _Run:
        self._runs[name] = run
        while len(self._runs) > _OPEN_RUNS:
            old = self._runs.popitem(last=False)[1]
            if old.session is not None:
                old.session.close()
        return run


COUNT_QUESTION = canonical_bytes({"kind": "noised count of units"})

_CONTROLS: Mapping[Control, Callable[[SiteAgent, Message], Mapping[str, Any]]] = {
    Control.TERMS: SiteAgent._terms, Control.ASK: SiteAgent._ask, Control.OPEN: SiteAgent._open, Control.SUPPLY: SiteAgent._supply,
    Control.CLOSE: SiteAgent._close,
}
