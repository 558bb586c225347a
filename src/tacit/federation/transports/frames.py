"""One message each way, as bytes: which call it belongs to, the stage or how it went, and the content.

A question is ``TQ1``, the number of the call (8 bytes), the length of the stage (1 byte), the stage and the message. An answer is ``TA1``, the
number, how it went (1 byte) and the answer. Nothing here is trusted: a connection is authenticated by TLS, a message by its own signature.

>>> Question.parse(Question(b"call no1", "masked", b"sum").to_bytes())
Question(call=b'call no1', stage='masked', message=b'sum')
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass

from tacit.errors import VerificationError
from tacit.federation.transports.base import Missing

NUMBER = 8
LARGEST = 1 << 27
"""Bytes of a message, unless a transport is told otherwise: 128 MiB, or 32 million values of 4 bytes."""
ANSWERED, FAILED, TOO_LARGE = 0, 1, 2
_QUESTION, _ANSWER = b"TQ1", b"TA1"
_STAGE = re.compile(r"[a-z][a-z0-9_-]{0,31}\Z")
OVERHEAD = len(_QUESTION) + NUMBER + 1 + 32

TIMEOUT, UNREACHABLE, GARBLED = Missing("timeout"), Missing("unreachable"), Missing("garbled")
REFUSED = Missing("refused: the site could not answer; its own log says why")


@dataclass(frozen=True, slots=True)
class Question:
    """What the coordinator sends: 8 bytes that no other call of it has, the stage, and the message."""

    call: bytes
    stage: str
    message: bytes

    def to_bytes(self) -> bytes:
        """As it travels."""
        stage = self.stage.encode("ascii")
        return b"".join((_QUESTION, self.call, bytes([len(stage)]), stage, self.message))

    @classmethod
    def parse(cls, data: bytes) -> Question:
        """Read what `to_bytes` wrote.

        Raises:
            VerificationError: it is something else.
        """
        begin = len(_QUESTION) + NUMBER
        if len(data) <= begin or not data.startswith(_QUESTION):
            raise VerificationError("Expected a question of a federation; got something else. Compare the versions of both sides.")
        end = begin + 1 + data[begin]
        stage = data[begin + 1 : end].decode("ascii", "replace")
        if not _STAGE.match(stage) or len(data) < end:
            raise VerificationError("Expected the name of a stage in a question; got something else. Compare the versions of both sides.")
        return cls(data[len(_QUESTION) : begin], stage, data[end:])


@dataclass(frozen=True, slots=True)
class Answer:
    """What a site sends back: the number of the call, how it went, and the answer if it went well."""

    call: bytes
    how: int
    message: bytes = b""

    def to_bytes(self) -> bytes:
        """As it travels."""
        return b"".join((_ANSWER, self.call, bytes([self.how]), self.message))

    @classmethod
    def parse(cls, data: bytes) -> Answer:
        """Read what `to_bytes` wrote.

        Raises:
            VerificationError: it is something else.
        """
        begin = len(_ANSWER) + NUMBER
        if len(data) <= begin or not data.startswith(_ANSWER):
            raise VerificationError("Expected an answer of a site; got something else. Compare the versions of both sides.")
        return cls(data[len(_ANSWER) : begin], data[begin], data[begin + 1 :])

    @property
    def outcome(self) -> bytes | Missing:
        """What a transport returns for it."""
        return self.message if self.how == ANSWERED else REFUSED if self.how == FAILED else GARBLED


def quiet(name: str) -> logging.Logger:
    """A logger that says nothing unless somebody listens, and never what a message holds (which libraries log at the level of debugging)."""
    logger = logging.getLogger(name)
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
        logger.setLevel(logging.WARNING)
    return logger


def is_stage(text: str) -> bool:
    """Whether it can be the name of a stage: 1 to 32 small letters, digits, dashes and underscores, a letter first."""
    return _STAGE.match(text) is not None
