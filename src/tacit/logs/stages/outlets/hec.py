"""Splunk, by its HTTP Event Collector."""

from __future__ import annotations

import json

from tacit.logs.stages.outlets.base import OutletError, divided
from tacit.logs.stages.outlets.wire import Wire

_WRONG = {"5", "6", "12", "13", "15"}
"""Codes that say something of an event, not of the collector or its token."""


class HecOutlet:
    """Sends events to ``/services/collector/event``.

    Splunk says 200 when it has taken events into its queue, not when they are indexed: how durable that is, is Splunk's.

    Args:
        wire: to the server, with ``Splunk TOKEN`` as its authorization.
        sourcetype: of the events.
        index: of Splunk; its token's default if absent.
        name: for metrics and messages.
    """

    def __init__(self, wire: Wire, *, sourcetype: str = "_json", index: str | None = None, name: str = "hec") -> None:
        self.name, self._wire = name, wire
        about = {"sourcetype": sourcetype} | ({"index": index} if index else {})
        self._head = json.dumps(about)[:-1] + ',"event":'

    def deliver(self, texts: list[str]) -> list[tuple[int, str]]:
        """See `Outlet`. A batch that Splunk finds wrong is divided, until the one event is found."""
        body = "".join(f"{self._head}{text}}}\n" for text in texts).encode()
        answer = self._wire.post("/services/collector/event", body, kind="application/json")
        if answer.status == 413 or (answer.status == 400 and _code(answer.body) in _WRONG):
            return divided(texts, self.deliver, reason=f"{answer.status}, code {_code(answer.body)}")
        if answer.status != 200:
            raise OutletError(f"the collector answered {answer.status}, code {_code(answer.body)}")
        return []

    def close(self) -> None:
        """See `Outlet`."""
        self._wire.close()


def _code(body: bytes) -> str:
    try:
        code = json.loads(body)["code"]
    except (ValueError, KeyError, TypeError):
        return "none"
    return str(code) if isinstance(code, int) else "none"
