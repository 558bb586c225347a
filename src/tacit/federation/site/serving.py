"""A site that takes part: records behind a guard, an agent behind the study's admission, and one outbound connection."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tacit.errors import ConfigError
from tacit.federation.agent import SiteAgent
from tacit.federation.mock import MARK
from tacit.federation.roster import Roster
from tacit.federation.site.admission import Admission
from tacit.federation.site.folder import SiteFolder
from tacit.federation.transports import Handler
from tacit.guard import Guard, Ledger, Records

_GRACE = 1.0


@contextmanager
def agent_of(folder: SiteFolder, roster: Roster, *, mock: bool = False) -> Iterator[SiteAgent]:
    """The site's agent, for as long as the records are open.

    Raises:
        ConfigError: if the policy names no records, or mock ones without ``mock``.
    """
    policy = folder.policy
    if policy.source is None:
        raise ConfigError('Expected records in the policy; there are none. Set source = "FILE" in [files] of tacit.toml.')
    with Records.open(policy.source, unit=policy.unit, max_rows_per_unit=policy.limits.max_rows_per_unit) as records:
        if MARK in records.names and not mock:
            raise ConfigError("These are mock records. Name the real ones in [files] of tacit.toml, or say --mock to take part with these.")
        ledger = Ledger.open(policy.ledger, key=policy.key)
        guard, name = Guard(records, policy=policy, ledger=ledger), folder.connection.name
        admission = Admission(name, roster=roster, guard=guard, ledger=ledger, keep=folder.keep_study)
        yield SiteAgent(name=name, roster=roster, key=folder.key, guard=guard, positions=folder.positions, admit=admission)


@dataclass
class Told:
    """A handler that says which studies come and go, and, with ``once``, stops after the first that was opened.

    Args:
        inner: what answers.
        say: is given one line for each.
        stop: is set a moment after the first run has ended, with ``once``.
        once: whether it is.
    """

    inner: Handler
    say: Callable[[str], None]
    stop: threading.Event
    once: bool = False
    _open: bool = False

    def handle(self, stage: str, message: bytes) -> bytes:
        """The inner handler's answer."""
        if stage == "open":
            self._open = True
            self.say("a study was opened; its whole cost is in the ledger")
        answer = self.inner.handle(stage, message)
        if stage == "close" and self._open:
            self._open = False
            self.say("the study is over")
            if self.once:
                threading.Timer(_GRACE, self.stop.set).start()
        return answer
