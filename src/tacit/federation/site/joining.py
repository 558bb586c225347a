"""Joining a federation: the key is made here, two people compare two fingerprints, and a certificate comes back. Then the roster, signed by all."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from tacit.crypto import VerifyKey
from tacit.errors import ConfigError, Unreachable, UsageError, VerificationError
from tacit.federation.certificates import Address, Connection
from tacit.federation.enrolment import ADMITTED, ENROL, HELD, ROSTER, SIGN, STUDY, Asked, Enrolment, replied
from tacit.federation.https import Caller
from tacit.federation.invite import Invite, spelled
from tacit.federation.roster import Roster
from tacit.federation.site.folder import SiteFolder

_PAUSE = 0.25
_LOST = 20
_LONG_PAUSE = 2.0


@dataclass(frozen=True)
class Joining:
    """One attempt to join.

    Args:
        folder: the site's.
        invite: the coordinator's invitation.
        caller: how the coordinator is asked, its authority already held against the invitation.
    """

    folder: SiteFolder
    invite: Invite
    caller: Caller

    @classmethod
    def begin(cls, folder: SiteFolder, invite: Invite, *, patience: float = 0.0, say: Callable[[str], None] = lambda _: None) -> Joining:
        """Find the coordinator, for up to ``patience`` seconds, and know it by the fingerprint in the invitation.

        Raises:
            UsageError: if the site has joined a federation already.
            VerificationError: if somebody else answers.
            Unreachable: if nobody does.
        """
        if folder.joined:
            raise UsageError(f"Expected a site that has not joined yet; this one is in «{folder.federation}». Use a folder of its own for another.")
        found: list[Caller] = []

        def look() -> bool:
            try:
                found.append(Caller.pinned(Address.parse(invite.address), invite.authority))
            except Unreachable as error:
                say(f"{error} Trying again.")
                raise
            return True

        _until(look, patience=patience, said="The coordinator does not answer.", pause=_LONG_PAUSE)
        folder.keep_invite(invite)
        return cls(folder, invite, found[0])

    @property
    def theirs(self) -> str:
        """What the coordinator reads out: the fingerprint of the authority."""
        return spelled(self.invite.authority)

    @property
    def ours(self) -> str:
        """What this site reads out: the fingerprint of its key."""
        return self.folder.key.public.fingerprint

    def apply(self) -> bool:
        """Ask to be let in; whether that has happened.

        Raises:
            VerificationError: if the invitation is not good, or what came back does not fit.
            Unreachable: if the coordinator does not answer.
        """
        request = self.folder.request(self.invite.site)
        application = Enrolment.make(self.invite.site, self.invite.secret, key=self.folder.key, request=request)
        answer = replied(self.caller.post(ENROL, application.to_bytes()), state=str, certificate=bytes, federation=str, coordinator=bytes)
        if answer["federation"] != self.invite.federation:
            raise VerificationError("The coordinator is of another federation than the invitation. Ask it for another.")
        if answer["state"] != ADMITTED:
            return False
        connection = Connection(self.invite.site, Address.parse(self.invite.address), VerifyKey.from_bytes(answer["coordinator"]))
        self.folder.let_in(answer["certificate"], root=self.caller.root, connection=connection, federation=self.invite.federation)
        return True

    def wait(self, *, patience: float) -> None:
        """Apply until a person at the coordinator has let the site in.

        Raises:
            Unreachable: if that takes longer than ``patience`` seconds; the same command goes on later.
        """
        _until(self.apply, patience=patience, said="The coordinator has not let this site in yet. Run the same command again later: it goes on.")


@dataclass(frozen=True)
class Membership:
    """A site that is in, and the roster that all members sign."""

    folder: SiteFolder
    caller: Caller
    name: str

    @classmethod
    def of(cls, folder: SiteFolder) -> Membership:
        """For a site that has joined."""
        connection = folder.connection
        return cls(folder, Caller(connection.address, folder.authority), connection.name)

    def fetch(self) -> tuple[Roster | None, tuple[str, ...]]:
        """The roster with its signatures so far, if every invited site is in; and whom it waits for.

        Raises:
            VerificationError: if it has another key for this site or the coordinator than what was enrolled, or another federation's name.
            Unreachable: if the coordinator does not answer, or is in the middle of a study.
        """
        answer = replied(self._ask(ROSTER), roster=bytes, waits_for=list)
        waits_for = tuple(str(name) for name in answer["waits_for"])
        return (self._checked(answer["roster"]) if answer["roster"] else None), waits_for

    def sign(self, roster: Roster) -> None:
        """Put this site's signature under the roster, here and at the coordinator."""
        signed = roster.signed_by(self.name, self.folder.key)
        self._ask(SIGN, signed.signatures[self.name])
        self.folder.keep_roster(signed)

    def complete(self, *, accept: Callable[[Roster], bool], patience: float, say: Callable[[str], None] = lambda _: None) -> Roster:
        """Wait for the whole roster, sign it if ``accept`` says so, and wait for everybody's signature.

        Raises:
            ConfigError: if it is not accepted.
            Unreachable: if it takes longer than ``patience`` seconds.
        """
        found: list[Roster] = []
        told: set[str] = set()
        lost: list[Unreachable] = []

        def step() -> bool:
            roster, waits_for = self.fetch()
            text = f"waiting for {', '.join(waits_for)}" if waits_for else ""
            if text and text not in told:
                told.add(text)
                say(text)
            if roster is None:
                return False
            if self.name in waits_for:
                self._accept(roster, accept)
                return False
            if not waits_for:
                roster.require_signed()
                self.folder.keep_roster(roster)
                found.append(roster)
                self._ask(HELD, roster.id)
            return bool(found)

        def until_held() -> bool:
            """A coordinator whose desk closed before it heard that the roster is kept here has the roster itself: it goes on without."""
            try:
                return step()
            except Unreachable as error:
                lost.extend([error] if found else [])
                if len(lost) < _LOST:
                    raise
                return True

        _until(until_held, patience=patience, said="Not every member has joined and signed the roster yet. Run this again later: it goes on.")
        return found[-1]

    def study(self) -> bytes:
        """The signed card of the study that the coordinator has announced; empty if there is none."""
        return bytes(replied(self._ask(STUDY), study=bytes)["study"])

    def _accept(self, roster: Roster, accept: Callable[[Roster], bool]) -> None:
        mine = self.folder.roster()
        if (mine is None or mine.id != roster.id) and not accept(roster):
            raise ConfigError("The roster was not accepted, and nothing was signed. Ask the coordinator about its members, then run this again.")
        self.sign(roster)

    def _checked(self, data: bytes) -> Roster:
        roster, connection = Roster.from_bytes(data), self.folder.connection
        if roster.key(self.name) != self.folder.key.public or roster.coordinator != connection.coordinator:
            raise VerificationError("refused: the roster has another key for this site, or for the coordinator, than the ones that were enrolled.")
        if roster.federation != self.folder.federation:
            raise VerificationError("refused: the roster is of another federation than the invitation.")
        return roster

    def _ask(self, path: str, body: bytes = b"") -> bytes:
        return self.caller.post(path, Asked.now(path, self.name, body).sign(self.folder.key))


def _until(step: Callable[[], bool], *, patience: float, said: str, pause: float = _PAUSE) -> None:
    """Repeat until it is done; a coordinator that is away for a while is waited for."""
    end = time.monotonic() + patience
    last: Unreachable | None = None
    while True:
        try:
            if step():
                return
            last = None
        except Unreachable as error:
            last = error
        if time.monotonic() >= end:
            raise last or Unreachable(said)
        time.sleep(pause)
