"""How bytes get from the coordinator to the sites and back: one call to all, and an answer or a reason from each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Missing:
    """A site that did not answer, and why: ``timeout``, ``unreachable``, ``refused: …`` or ``garbled``."""

    reason: str


class Handler(Protocol):
    """A site, as a transport sees it: bytes in, bytes out. It never raises for what the other side sent; it answers with a refusal."""

    def handle(self, stage: str, message: bytes) -> bytes:
        """The answer to one message."""
        ...


class Transport(Protocol):
    """Reaches every site of a federation. It authenticates the connection and hides its content from the network; messages protect themselves."""

    @property
    def sites(self) -> tuple[str, ...]:
        """The names of the sites it can address."""
        ...

    def call(self, stage: str, messages: Mapping[str, bytes], *, timeout: float) -> dict[str, bytes | Missing]:
        """Send each named site its message at once, and wait for all answers, at most ``timeout`` seconds.

        Returns exactly one entry for each site in ``messages``; it never raises because of a site.
        """
        ...

    def close(self) -> None:
        """End it."""
        ...
