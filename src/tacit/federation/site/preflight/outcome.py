"""What a check says, and what it has to look at."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from tacit.errors import TacitError
from tacit.federation.certificates import Connection
from tacit.federation.site.folder import SiteFolder
from tacit.federation.study import StudyCard
from tacit.guard import Policy

RENEW = "Ask the coordinator for a new invitation; then move the folder site/ away (the policy and the ledger stay), and join again."
PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One check's result.

    Args:
        check: which.
        state: ``passed``, ``failed`` or ``skipped``.
        said: what was found, in one line.
        fix: what to do; empty unless it failed.
    """

    check: str
    state: str
    said: str
    fix: str = ""

    def to_dict(self) -> dict[str, str]:
        """Plain form."""
        return {"check": self.check, "state": self.state, "said": self.said, "fix": self.fix}


class Failed(Exception):
    """A check found something; ``fix`` says what to do."""

    def __init__(self, said: str, fix: str) -> None:
        super().__init__(said)
        self.fix = fix


class Skipped(Exception):
    """A check has nothing to look at yet."""


@dataclass(frozen=True)
class Bench:
    """What checks look at.

    Args:
        folder: the site's.
        given: a study card that was named, instead of the one that came last.
        timeout: seconds for one connection.
    """

    folder: SiteFolder
    given: StudyCard | None = None
    timeout: float = 5.0

    @property
    def connection(self) -> Connection:
        """The way to the coordinator.

        Raises:
            Skipped: before the site has joined.
        """
        if not self.folder.joined:
            raise Skipped("not joined yet: tacit site join INVITATION")
        return self.folder.connection

    @cached_property
    def policy(self) -> Policy:
        """The owner's policy.

        Raises:
            Skipped: if it cannot be read, which a check of its own says.
        """
        try:
            return self.folder.policy
        except TacitError:
            raise Skipped("the policy cannot be read") from None

    @cached_property
    def card(self) -> StudyCard:
        """The study.

        Raises:
            Skipped: if there is none.
        """
        roster, signed = self.folder.roster(), self.folder.study()
        if self.given is not None:
            return self.given
        if roster is None or not signed:
            raise Skipped("no study card yet: it comes with the first study, or name one with --study")
        return StudyCard.verified(signed, roster.coordinator, roster=roster.id)
