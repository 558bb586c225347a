"""Until everybody is in: the desk is open, a person types what each site reads out, and every member signs one roster."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tacit.errors import Unreachable, VerificationError
from tacit.federation.certificates import Address
from tacit.federation.coordinator.desk import Desk
from tacit.federation.coordinator.listening import DeskServer
from tacit.federation.roster import COORDINATOR, Roster

_PAUSE = 0.1
_TRIES = 3


@dataclass
class Gathering:
    """Lets sites in until the roster is whole.

    Args:
        desk: what answers them.
        hear: asks a person for the fingerprint that a site reads out; ``None`` if nobody is there to be asked.
        say: is given one line for everything that happens.
    """

    desk: Desk
    hear: Callable[[str], str | None]
    say: Callable[[str], None]
    _tries: dict[str, int] = field(default_factory=dict)
    _deaf: bool = False
    _told: set[str] = field(default_factory=set)

    def whole(self) -> Roster | None:
        """The roster, if every member has signed it and has it."""
        roster = self.desk.folder.roster()
        if roster is None or {COORDINATOR, *roster.names} - set(roster.signatures):
            return None
        return roster if self.desk.folder.holders(roster) >= set(roster.names) else None

    def until_whole(self, listen: Address, *, patience: float) -> Roster:
        """Open the desk until the roster is whole.

        Raises:
            Unreachable: if that takes longer than ``patience`` seconds; who is in stays in.
            UsageError: if it cannot listen there.
        """
        found = self.whole()
        if found is not None:
            return found
        end = time.monotonic() + patience
        server = DeskServer(self.desk.handle, self.desk.folder.path, listen=listen)
        self.say(f"the desk is open on {listen}; waiting for {self._absent() or 'signatures'}")
        try:
            while (found := self.whole()) is None:
                if time.monotonic() >= end:
                    waits_for = self._absent() or "signatures"
                    raise Unreachable(f"Not everybody has joined and signed the roster yet ({waits_for}). Run this again: it goes on.")
                self._admit_waiting()
                self._announce()
                time.sleep(_PAUSE)
            time.sleep(2 * _PAUSE)  # the last site is reading its roster
        finally:
            server.close()
        self.say(f"the roster is whole: {found.parties}")
        return found

    def _admit_waiting(self) -> None:
        for name in self.desk.folder.waiting():
            if self._deaf or self._tries.get(name, 0) >= _TRIES:
                self._once(f"«{name}» waits to be let in: tacit coordinator admit {name} FINGERPRINT")
                continue
            typed = self.hear(name)
            if typed is None:
                self._deaf = True
                continue
            self._tries[name] = self._tries.get(name, 0) + 1
            try:
                self.desk.admit(name, typed)
            except VerificationError as error:
                self.say(str(error))
            else:
                self.say(f"«{name}» is in")

    def _announce(self) -> None:
        roster = self.desk.folder.roster()
        for name in roster.names if roster is not None else ():
            if name in roster.signatures:  # type: ignore[union-attr]
                self._once(f"«{name}» has signed the roster")

    def _once(self, line: str) -> None:
        if line not in self._told:
            self._told.add(line)
            self.say(line)

    def _absent(self) -> str:
        folder = self.desk.folder
        return ", ".join(sorted(set(folder.invited()) - set(folder.members())))
