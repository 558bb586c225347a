"""Messages of a masked round: a header that binds them to one federation, run, round, stage and sender, a body, and a signature under both.

::

    «TCT1» · stage (1 byte) · header length (4 bytes, big endian) · header (canonical text) · body length (8 bytes) · body · signature (64 bytes)

Nothing may follow, and nothing else is read. The signature is Ed25519 over SHA-256 of all that precedes it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from tacit.crypto import SigningKey, canonical_bytes, from_canonical
from tacit.errors import ProtocolViolation, SignatureInvalid, VerificationError
from tacit.federation.roster import COORDINATOR, Roster

MAGIC = b"TCT1"
LONGEST_HEADER = 1 << 10
LONGEST_BODY = 1 << 30
SIGNATURE = 64
_CONTEXT = "tacit.round"
_FIELDS = {"federation", "run", "round", "sender", "transcript"}
_MOST_ROUNDS = 1 << 31


class Stage(IntEnum):
    """What a message is. A request of the coordinator and a site's answer to it have the same stage."""

    ADVERTISE = 1
    SHARE = 2
    MASKED = 3
    AGREE = 4
    UNMASK = 5


class Control(IntEnum):
    """What a message outside of a round is."""

    TERMS = 16
    ASK = 17
    OPEN = 18
    SUPPLY = 19
    CLOSE = 20
    REFUSED = 31


_CODES = {int(code): code for kind in (Stage, Control) for code in kind}


@dataclass(frozen=True, slots=True)
class Address:
    """Which round a message belongs to.

    Args:
        federation: the roster's id, 32 bytes.
        run: the public name of a run: one plan, one charge.
        round: the step of the plan.
    """

    federation: bytes
    run: str
    round: int

    def __post_init__(self) -> None:
        if not (isinstance(self.federation, bytes) and len(self.federation) == 32 and isinstance(self.run, str) and 1 <= len(self.run) <= 128):
            raise ProtocolViolation("Expected a federation of 32 bytes and a run of 1 to 128 characters in a message's header.")
        if type(self.round) is not int or not 0 <= self.round < _MOST_ROUNDS:
            raise ProtocolViolation("Expected a round from 0 to 2^31 in a message's header.")

    def to_dict(self) -> dict[str, Any]:
        """Plain form, as headers and transcripts hold it."""
        return {"federation": self.federation, "run": self.run, "round": self.round}


@dataclass(frozen=True, slots=True)
class Message:
    """One message, read or to be sent.

    Args:
        address: which round.
        stage: which step of it.
        sender: a site's name, or «coordinator».
        transcript: digest of everything its sender has accepted in this round before, 32 bytes; empty at first.
        body: what it says.
    """

    address: Address
    stage: Stage | Control
    sender: str
    transcript: bytes
    body: bytes

    def signed(self, key: SigningKey) -> bytes:
        """The bytes to send."""
        header = canonical_bytes({**self.address.to_dict(), "sender": self.sender, "transcript": self.transcript})
        head = MAGIC + bytes([self.stage]) + len(header).to_bytes(4, "big") + header + len(self.body).to_bytes(8, "big")
        return b"".join((head, self.body, key.sign(_hash(head, self.body), context=_CONTEXT)))

    def content(self, *fields: str) -> dict[str, Any]:
        """The body as canonical text with exactly these fields.

        Raises:
            ProtocolViolation: if it is something else.
        """
        try:
            found = from_canonical(self.body)
        except VerificationError:
            found = None
        if not isinstance(found, dict) or found.keys() != set(fields):
            raise ProtocolViolation(f"Expected a body of {', '.join(fields) or 'nothing'} at stage {self.stage.name}; it says something else.")
        return found


def read(data: bytes, *, roster: Roster, address: Address, stage: Stage | Control, sender: str) -> Message:
    """The message in ``data``, if ``sender`` sent it for this round and stage.

    Raises:
        ProtocolViolation: if it is damaged, too long, or of another federation, run, round, stage or sender.
        SignatureInvalid: if the sender's key did not sign it.
    """
    end = _require_frame(data, stage)
    header, start = _header(data)
    named = Address(header["federation"], header["run"], header["round"])
    if named != address or header["sender"] != sender:
        raise ProtocolViolation(f"A message of another federation, run, round or sender came in at round {address.round}. Send it where it belongs.")
    view = memoryview(data)
    roster.key(sender).verify(_hash(view[:start], view[start:end]), data[end:], context=_CONTEXT)
    return Message(named, stage, sender, header["transcript"], data[start:end])


def address_of(data: bytes, *, federation: bytes) -> tuple[Address, Stage | Control]:
    """What a message says that it is; its signature is not looked at.

    Raises:
        ProtocolViolation: if it is damaged or of another federation.
    """
    if len(data) < 5 or data[4] not in _CODES:
        raise ProtocolViolation("Expected a message of a masked round; the bytes are none. Compare the versions of both sides.")
    stage = _CODES[data[4]]
    _require_frame(data, stage)
    header, _ = _header(data)
    address = Address(header["federation"], header["run"], header["round"])
    if address.federation != federation:
        raise ProtocolViolation("A message of another federation came in. Compare the rosters of both sides.")
    return address, stage


def _require_frame(data: bytes, stage: Stage | Control) -> int:
    """Where the signature begins, if lengths fit."""
    if len(data) < 17 + SIGNATURE or data[:4] != MAGIC or len(data) > LONGEST_BODY + LONGEST_HEADER + 81:
        raise ProtocolViolation("Expected a message of a masked round; the bytes are none. Compare the versions of both sides.")
    if data[4] != stage:
        raise ProtocolViolation(f"Expected a message of stage {stage.name}; got one of another stage.")
    header = int.from_bytes(data[5:9], "big")
    end = len(data) - SIGNATURE
    if header > LONGEST_HEADER or 17 + header > end or int.from_bytes(data[9 + header : 17 + header], "big") != end - 17 - header:
        raise ProtocolViolation("A message is longer or shorter than it says. Send it again.")
    return end


def _header(data: bytes) -> tuple[dict[str, Any], int]:
    length = int.from_bytes(data[5:9], "big")
    try:
        header = from_canonical(data[9 : 9 + length])
    except VerificationError as error:
        raise ProtocolViolation("The header of a message cannot be read. Send it again.") from error
    fits = isinstance(header, dict) and header.keys() == _FIELDS
    if not (fits and isinstance(header["transcript"], bytes) and isinstance(header["sender"], str)):
        raise ProtocolViolation("The header of a message has other fields than expected. Compare the versions of both sides.")
    return header, 17 + length


def _hash(*parts: bytes | memoryview) -> bytes:
    state = hashlib.sha256()
    for part in parts:
        state.update(part)
    return state.digest()


def read_answers(answers: Mapping[str, bytes], *, roster: Roster, address: Address, stage: Stage) -> tuple[dict[str, Message], dict[str, str]]:
    """The messages that are what they should be, and for each other site the reason why it counts as missing."""
    read_well: dict[str, Message] = {}
    reasons: dict[str, str] = {}
    for site, data in answers.items():
        try:
            read_well[site] = read(data, roster=roster, address=address, stage=stage, sender=site)
        except (ProtocolViolation, SignatureInvalid, VerificationError) as error:
            reasons[site] = f"garbled: {error}"
    return read_well, reasons


__all__ = ["COORDINATOR", "LONGEST_BODY", "MAGIC", "Address", "Message", "Stage", "address_of", "read", "read_answers"]
