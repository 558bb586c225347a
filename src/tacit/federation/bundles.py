"""Several messages in one call: the end of one round and the beginning of the next travel together."""

from __future__ import annotations

from collections.abc import Sequence

from tacit.errors import ProtocolViolation

MOST = 16


def bundled(messages: Sequence[bytes]) -> bytes:
    """How many, then each behind its length of 8 bytes."""
    return b"".join([bytes([len(messages)]), *(part for message in messages for part in (len(message).to_bytes(8, "big"), message))])


def unbundled(data: bytes) -> list[bytes]:
    """What `bundled` put together.

    Raises:
        ProtocolViolation: if it is something else, or there are none or more than 16.
    """
    if not data or not 1 <= data[0] <= MOST:
        raise ProtocolViolation(f"Expected 1 to {MOST} messages in one call; the bytes are none. Compare the versions of both sides.")
    messages, place = [], 1
    for _ in range(data[0]):
        length = int.from_bytes(data[place : place + 8], "big")
        messages.append(data[place + 8 : place + 8 + length])
        if len(messages[-1]) != length:
            raise ProtocolViolation("Messages in one call are cut short. Send them again.")
        place += 8 + length
    if place != len(data):
        raise ProtocolViolation("More bytes than messages in one call. Send them again.")
    return messages
