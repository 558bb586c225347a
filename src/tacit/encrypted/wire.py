"""The layout of every message: fixed lengths first, a canonical header, a body of raw words, a seal. No pickle, and no length taken on trust.

======  =======================================================
bytes   content
======  =======================================================
8       ``TACITENC``
2       version, 1
2       kind: 1 public model, 2 public key, 3 request, 4 answer, 5 secret key under a passphrase, 6 contribution,
        7 total, 8 weights, which stay with the scorer, 9 survey
4       length of the header
8       length of the body
...     header: canonical text (`tacit.crypto.canonical_bytes`) of a dict
...     body
...     seal: whatever remains, at most 256 bytes
======  =======================================================

Integers are little endian.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from tacit.crypto import canonical_bytes, from_canonical
from tacit.errors import MessageDamaged, VerificationError

VERSION = 1
MAGIC = b"TACITENC"
MOST_HEADER = 1 << 26
MOST_BODY = 1 << 30
MOST_SEAL = 256
_HEAD = struct.Struct("<8sHHIQ")


class Kind(IntEnum):
    """What a message is."""

    MODEL = 1
    PUBLIC_KEY = 2
    REQUEST = 3
    ANSWER = 4
    SECRET_KEY = 5
    CONTRIBUTION = 6
    TOTAL = 7
    WEIGHTS = 8
    SURVEY = 9


@dataclass(frozen=True)
class Message:
    """A message taken apart; nothing in it has been verified beyond its lengths.

    Args:
        kind: what it says it is.
        prefix: the bytes up to the body, which a seal binds.
        header: the dict.
        body: a view of the message.
        seal: the bytes after the body.
    """

    kind: Kind
    prefix: bytes
    header: dict[str, Any]
    body: memoryview
    seal: bytes


def prefix_of(kind: Kind, header: dict[str, Any], body_bytes: int) -> bytes:
    """Everything before the body."""
    text = canonical_bytes(header)
    return _HEAD.pack(MAGIC, VERSION, kind, len(text), body_bytes) + text


def parse(data: bytes, kind: Kind) -> Message:
    """Take a message apart.

    Raises:
        MessageDamaged: it is no such message, of another version, cut short or too long, or its header cannot be read.
    """
    if len(data) < _HEAD.size:
        raise MessageDamaged(f"Expected an encrypted message of at least {_HEAD.size} bytes, got {len(data)}; it was cut short. Fetch it again")
    magic, version, found, header_bytes, body_bytes = _HEAD.unpack_from(data)
    if magic != MAGIC or version != VERSION or found != kind:
        raise MessageDamaged(f"Expected a message «{kind.name.lower()}» of version {VERSION}; this is something else. Check what was sent")
    begin, end = _HEAD.size + header_bytes, _HEAD.size + header_bytes + body_bytes
    if header_bytes > MOST_HEADER or body_bytes > MOST_BODY or not end <= len(data) <= end + MOST_SEAL:
        raise MessageDamaged(f"Expected the length that the message states, got {len(data):,} bytes; it was cut short or lengthened. Fetch it again")
    try:
        header = from_canonical(data[_HEAD.size : begin])
    except VerificationError as error:
        raise MessageDamaged("Expected a readable header; the message was changed. Fetch it again") from error
    if not isinstance(header, dict):
        raise MessageDamaged("Expected a header with names; the message was changed. Fetch it again")
    return Message(kind, data[:begin], header, memoryview(data)[begin:end], data[end:])


def field(header: dict[str, Any], name: str, kind: type) -> Any:
    """One entry of a header.

    Raises:
        MessageDamaged: it is absent or of another type.
    """
    value = header.get(name)
    if type(value) is not kind:
        raise MessageDamaged(f"Expected «{name}» in the header as {kind.__name__}; the message was changed. Fetch it again")
    return value


def count(header: dict[str, Any], name: str, most: int) -> int:
    """One whole number of a header, from 1 to ``most``.

    Raises:
        MessageDamaged: it is absent or outside.
    """
    value: int = field(header, name, int)
    if not 1 <= value <= most:
        raise MessageDamaged(f"Expected «{name}» from 1 to {most:,}, got {value}; send less at a time")
    return value
