"""The coordinator's desk: who asks to join, who is let in by whom, and the roster that all must sign. Bytes in, bytes out; no network in here."""

from __future__ import annotations

import hmac
import threading
from collections.abc import Callable
from datetime import UTC, datetime

from tacit import __version__
from tacit.errors import ConfigError, TacitError, UsageError, VerificationError
from tacit.federation.certificates import issue
from tacit.federation.coordinator.folder import CoordinatorFolder
from tacit.federation.enrolment import ADMITTED, AUTHORITY, ENROL, HELD, ROSTER, SIGN, STUDY, TIME, WAITING, Asked, Enrolment, reply
from tacit.federation.invite import receipt_of, same_fingerprint
from tacit.federation.roster import COORDINATOR

_PATHS = (AUTHORITY, TIME, ENROL, ROSTER, SIGN, HELD, STUDY)


class Desk:
    """Answers the questions of `tacit.federation.enrolment`.

    Guarantees:
        Nobody is let in by the desk alone: a valid invitation makes an application, and `admit` by a person who has heard the fingerprint makes a
        member. One invitation takes one key. What is refused tells nothing but that it was.

    Args:
        folder: the coordinator's.
        now: the clock.
    """

    def __init__(self, folder: CoordinatorFolder, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.folder, self._now, self._lock = folder, now, threading.Lock()
        self.study = b""
        self.seen: dict[str, datetime] = {}

    def handle(self, path: str, body: bytes) -> tuple[int, bytes]:
        """An HTTP status and the answer to one question."""
        if path == AUTHORITY:
            return 200, self.folder.authority
        if path == TIME:
            return 200, reply(at=int(self._now().timestamp()), version=__version__)
        if path not in _PATHS:
            return 404, reply(error="There is nothing here but the desk of a Tacit federation.")
        try:
            with self._lock:
                return 200, self._enrol(body) if path == ENROL else self._asked(path, body)
        except (VerificationError, UsageError) as error:
            return 403, reply(error=str(error))
        except TacitError as error:
            return 503, reply(error=str(error))

    def _enrol(self, body: bytes) -> bytes:
        application = Enrolment.from_bytes(body)
        try:
            receipt = self.folder.receipt(application.site)
        except ConfigError:
            receipt = ""
        if not hmac.compare_digest(receipt, receipt_of(application.secret)):
            raise VerificationError("refused: the invitation is not known, or no longer good. Ask the coordinator for another.")
        member = self.folder.members().get(application.site)
        if member is None:
            self.folder.apply(application)
        elif member.key != application.key:
            raise VerificationError("refused: the invitation was used by another key. Tell the coordinator, and ask for another.")
        fields = {"federation": self.folder.federation, "coordinator": self.folder.key.public.raw}
        return reply(state=WAITING if member is None else ADMITTED, certificate=b"" if member is None else member.certificate, **fields)

    def _asked(self, path: str, body: bytes) -> bytes:
        asked = Asked.claimed(body)
        member = self.folder.members().get(asked.site)
        if member is None:
            raise VerificationError("refused: only sites that are in may ask that. Join first: tacit site join.")
        asked.require(body, member.key, path=path, now=self._now())
        self.seen[asked.site] = self._now()
        if path == SIGN:
            self.folder.countersign(asked.site, asked.body)
        roster = self.folder.roster()
        if path == STUDY:
            return reply(study=self.study)
        missing = set() if roster is None else {COORDINATOR, *roster.names} - set(roster.signatures)
        if path == HELD and roster is not None and not missing and asked.body == roster.id:
            self.folder.hold(asked.site, roster)
        absent = sorted(set(self.folder.invited()) - set(self.folder.members())) if roster is None else sorted(missing)
        return reply(roster=b"" if roster is None else roster.to_bytes(), waits_for=absent)

    def admit(self, name: str, typed: str) -> None:
        """Let a site in whose fingerprint a person has heard from it and typed.

        Raises:
            UsageError: if no site of that name has applied.
            VerificationError: if it is another fingerprint: somebody else may hold the invitation.
        """
        with self._lock:
            application = self.folder.application(name)
            if application is None:
                raise UsageError(f"Expected a site that has applied; «{name}» has not. It runs: tacit site join INVITATION.")
            if not same_fingerprint(typed, application.key.fingerprint):
                raise VerificationError(
                    f"refused: «{name}» applied with another key than the one whose fingerprint was typed. Compare all 16 characters again by phone. "
                    f"If they differ, somebody else holds the invitation: run tacit coordinator invite {name} for a new one."
                )
            certificate = issue(self.folder.path, application.request, name, member=application.key)
            self.folder.admit(application, certificate)
