"""The sites as the coordinator speaks to them: signed requests out, signed answers or reasons back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tacit.crypto import SigningKey, canonical_bytes, from_canonical
from tacit.errors import ProtocolViolation, TacitError
from tacit.federation.bundles import bundled, unbundled
from tacit.federation.roster import COORDINATOR, Roster
from tacit.federation.rounds.wire import Address, Control, Message, address_of, read
from tacit.federation.transports import Missing, Transport

GONE = "missing"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a site did not answer: ``kind`` is the class of its error, or ``"missing"`` if nothing that can be read came back."""

    kind: str
    reason: str

    def __str__(self) -> str:
        return self.reason if self.kind == GONE else f"{self.kind}: {self.reason}"


class Sites:
    """Sends requests to sites and sorts what comes back.

    Args:
        roster: who they are.
        key: the coordinator's signing key.
        transport: what reaches them.
        timeout: seconds for each call.
    """

    def __init__(self, roster: Roster, *, key: SigningKey, transport: Transport, timeout: float) -> None:
        self.roster, self.key = roster, key
        self._transport, self._timeout = transport, timeout
        self.calls = self.sent = self.received = 0

    def control(self, control: Control, *, run: str, content: Mapping[str, Any], sites: Iterable[str]) -> tuple[dict[str, Any], dict[str, Refusal]]:
        """What each site says to one request that is the same for all: contents, and refusals."""
        address = Address(self.roster.id, run, 0)
        request = Message(address, control, COORDINATOR, b"", canonical_bytes(dict(content))).signed(self.key)
        answers, refusals = self.exchange(control.name.lower(), {site: [request] for site in sites})
        found: dict[str, Any] = {}
        for site, (answer,) in answers.items():
            if not answer:
                continue
            try:
                found[site] = from_canonical(read(answer, roster=self.roster, address=address, stage=control, sender=site).body)
            except TacitError as error:
                refusals[site] = [Refusal(GONE, f"garbled: {error}")]
        return found, {site: reasons[0] for site, reasons in refusals.items()}

    def exchange(self, stage: str, requests: Mapping[str, Sequence[bytes]]) -> tuple[dict[str, list[bytes]], dict[str, list[Refusal]]]:
        """One call to all named sites, several requests to each.

        Returns the answers of each site that sent any, in order, with empty bytes for a refusal; and for each site that refused anything or is
        missing one refusal per request, with an empty kind for an answer.
        """
        messages = {site: bundled(parts) for site, parts in requests.items()}
        replies = self._transport.call(stage, messages, timeout=self._timeout) if messages else {}
        self.calls, self.sent = self.calls + 1, self.sent + sum(map(len, messages.values()))
        answers: dict[str, list[bytes]] = {}
        refusals: dict[str, list[Refusal]] = {}
        for site, parts in requests.items():
            reply = replies.get(site, Missing("unreachable"))
            self.received += 0 if isinstance(reply, Missing) else len(reply)
            answers[site], refusals[site] = self._sorted(site, reply, len(parts))
        return {site: found for site, found in answers.items() if found}, {site: found for site, found in refusals.items() if any(map(_said, found))}

    def _sorted(self, site: str, reply: bytes | Missing, count: int) -> tuple[list[bytes], list[Refusal]]:
        """The answers (empty bytes for each that was refused), and a refusal for each."""
        if isinstance(reply, Missing):
            return [], [Refusal(GONE, reply.reason)] * count
        try:
            parts = unbundled(reply)
        except ProtocolViolation as error:
            return [], [Refusal(GONE, f"garbled: {error}")] * count
        if len(parts) != count:
            return [], [self._refusal(site, parts[0]) or Refusal(GONE, "garbled: it answered another number of requests")] * count
        reasons = [self._refusal(site, part) for part in parts]
        return [b"" if reason else part for part, reason in zip(parts, reasons, strict=True)], [reason or Refusal("", "") for reason in reasons]

    def _refusal(self, site: str, data: bytes) -> Refusal | None:
        """The refusal that an answer is, if it is one."""
        try:
            address, stage = address_of(data, federation=self.roster.id)
            if stage is not Control.REFUSED:
                return None
            content = read(data, roster=self.roster, address=address, stage=stage, sender=site).content("kind", "reason")
        except TacitError as error:
            return Refusal(GONE, f"garbled: {error}")
        return Refusal(str(content["kind"])[:80], str(content["reason"])[:2000])


def _said(refusal: Refusal) -> bool:
    return bool(refusal.kind)
