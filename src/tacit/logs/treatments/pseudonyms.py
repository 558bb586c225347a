"""Keyed pseudonyms of one epoch: HMAC-SHA256 (RFC 2104), cut to 80 bits, with the key's epoch inside.

A pseudonym is reversible for whoever holds the key and can guess: it is not anonymous, and nothing in Tacit calls it so.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from typing import Protocol

from tacit.logs.keys import ALPHABET, BITS

DIGITS = BITS // 4
"""Hexadecimal digits of a pseudonym."""
LENGTH = DIGITS + 5
"""Characters of a pseudonym: a letter, two of the epoch, two hyphens, and the digits."""

_BLOCK = 64
_INNER, _OUTER = (bytes(value ^ mask for value in range(256)) for mask in (0x36, 0x5C))

WRITTEN = re.compile(rf"[a-z]-[{ALPHABET}]{{2}}-[0-9a-f]{{{DIGITS}}}")
"""What a pseudonym looks like in a text."""


Note = Callable[[str, str, str], None]
"""Told of each pseudonym that is given: its namespace, the pseudonym, and what it stands for."""


class Key(Protocol):
    """An epoch's key: what `tacit.logs.keys.EpochKey` is."""

    @property
    def id(self) -> str:
        """Two characters that name the epoch."""

    def secret(self, purpose: str) -> bytes:
        """32 bytes of key material for one purpose."""


class Pseudonyms:
    """Pseudonyms of one namespace: equal texts of different namespaces have nothing in common.

    >>> from tacit.logs.keys import EpochKey
    >>> users = Pseudonyms(EpochKey.for_tests(), "user", "u")
    >>> users.of("anna.keller") == users.of("anna.keller"), len(users.of("x"))
    (True, 25)

    Args:
        key: of the epoch.
        namespace: which kind of thing is named, such as «user».
        letter: with which pseudonyms of this kind begin.
        note: told of each.
    """

    __slots__ = ("_inner", "_namespace", "_note", "_outer", "_prefix")

    def __init__(self, key: Key, namespace: str, letter: str, *, note: Note | None = None) -> None:
        self._namespace, self._note = namespace, note
        # The two states that HMAC begins with, worked out once: copies of them cost a third of a fresh HMAC.
        secret = key.secret(f"pseudonym/{namespace}").ljust(_BLOCK, b"\0")
        self._inner = hashlib.sha256(secret.translate(_INNER))
        self._outer = hashlib.sha256(secret.translate(_OUTER))
        self._prefix = f"{letter}-{key.id}-"

    def __repr__(self) -> str:
        return f"Pseudonyms({self._prefix}...)"

    def digest(self, text: str) -> bytes:
        """The whole 32 bytes."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(text.encode("utf-8", "surrogatepass"))
        outer.update(inner.digest())
        return outer.digest()

    def of(self, text: str) -> str:
        """The pseudonym of a text."""
        found = self._prefix + self.digest(text).hex()[:DIGITS]
        if self._note is not None:
            self._note(self._namespace, found, text)
        return found

    def each(self, texts: Iterable[str]) -> list[str]:
        """The pseudonyms of texts, in their order."""
        if self._note is not None:
            return list(map(self.of, texts))
        begun, ended, prefix, found = self._inner.copy, self._outer.copy, self._prefix, []
        for text in texts:
            inner, outer = begun(), ended()
            inner.update(text.encode("utf-8", "surrogatepass"))
            outer.update(inner.digest())
            found.append(prefix + outer.hexdigest()[:DIGITS])
        return found

    def number(self, text: str, bits: int) -> int:
        """A number of so many bits (at most 64) instead of a text."""
        return int.from_bytes(self.digest(text)[:8], "big") >> (64 - bits)
