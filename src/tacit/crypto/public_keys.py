"""What all public keys of 32 bytes have in common: how they are written, compared and read aloud."""

from __future__ import annotations

import base64
import hashlib
from typing import ClassVar, Self

from tacit.crypto.digests import framed
from tacit.errors import UsageError

KEY_BYTES = 32


class PublicKey:
    """A public key of 32 bytes; two of one class are equal if their bytes are."""

    _algorithm: ClassVar[str]
    _purpose: ClassVar[str]
    """What the fingerprint is bound to, so that keys for different uses never look alike."""
    raw: bytes
    """The 32 bytes of the key."""

    @classmethod
    def _of(cls, data: bytes) -> Self:
        """The key with these 32 bytes."""
        raise NotImplementedError

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read the 32 raw bytes of a key.

        Raises:
            UsageError: there are not 32 of them.
        """
        if len(data) != KEY_BYTES:
            raise UsageError(f"Expected {KEY_BYTES} bytes of an {cls._algorithm} public key, got {len(data)}; pass the raw key")
        return cls._of(data)

    @classmethod
    def from_hex(cls, text: str) -> Self:
        """Read 64 hexadecimal characters.

        Raises:
            UsageError: the text is something else.
        """
        try:
            return cls.from_bytes(bytes.fromhex(text.strip()))
        except ValueError:
            raise UsageError(f"Expected 64 hexadecimal characters of an {cls._algorithm} public key; see {cls.__name__}.hex") from None

    @property
    def hex(self) -> str:
        """The key as 64 hexadecimal characters."""
        return self.raw.hex()

    @property
    def fingerprint(self) -> str:
        """A short form for people to compare: 80 bits of the key's SHA-256 in base32, such as ``K7QF-ZZ2A-PLMB-3WYD``."""
        text = base64.b32encode(hashlib.sha256(framed(b"fingerprint", self._purpose) + self.raw).digest()[:10]).decode("ascii")
        return "-".join(text[i : i + 4] for i in range(0, 16, 4))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.fingerprint})"
