"""The body of the request for a masked vector: boxes and sizes as canonical text, and the question behind it, compressed.

A question may hold the weights of a model. Written as text and deflated, they take about as many bytes as they have information.
"""

from __future__ import annotations

import zlib
from typing import Any

from tacit.crypto import canonical_bytes, from_canonical
from tacit.errors import ProtocolViolation, VerificationError

LONGEST_QUESTION = 1 << 27
_LEVEL = 1


def deflated(question: bytes) -> bytes:
    """A question as it travels (RFC 1950): the same for every site."""
    return zlib.compress(question, _LEVEL)


def asking(packed: bytes, **fields: object) -> bytes:
    """The body: length of the text (4 bytes, big endian), the text, the `deflated` question."""
    text = canonical_bytes(fields)
    return len(text).to_bytes(4, "big") + text + packed


def asked_in(body: bytes, *names: str) -> tuple[bytes, dict[str, Any]]:
    """The question and the named fields.

    Raises:
        ProtocolViolation: if the body is something else, or the question longer than 2^27 bytes.
    """
    end = 4 + int.from_bytes(body[:4], "big")
    try:
        fields = from_canonical(body[4:end])
        reader = zlib.decompressobj()
        question = reader.decompress(body[end:], LONGEST_QUESTION)
    except (VerificationError, zlib.error) as error:
        raise ProtocolViolation("Expected sizes, boxes and a question; the request says something else. Nothing was given away.") from error
    if not isinstance(fields, dict) or fields.keys() != set(names):
        raise ProtocolViolation(f"Expected {', '.join(names)} beside the question; the request has others. Nothing was given away.")
    if not reader.eof or reader.unused_data or reader.unconsumed_tail:
        raise ProtocolViolation(f"A question is cut short, or longer than {LONGEST_QUESTION:,} bytes. Nothing was given away.")
    return question, fields
