"""Sealed boxes: anybody can put something in, only the holder of the private key can take it out.

X25519 (RFC 7748) with a fresh ephemeral key, HKDF-SHA256 (RFC 5869) over the shared secret, bound to a context and to both public keys, then
ChaCha20-Poly1305 (RFC 8439). Many messages can be sealed under one ephemeral key; the nonce of each is its number in the batch, and the key of a
batch is forgotten with it, so that no nonce is ever used twice.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from tacit.crypto.hkdf import derive
from tacit.crypto.key_files import create_key_file, load_private, read_key_file, save_private
from tacit.crypto.public_keys import KEY_BYTES, PublicKey
from tacit.crypto.shamir import combine_shares, split_secret
from tacit.crypto.shares import Share
from tacit.errors import UsageError, VerificationError

_MOST = 1 << 32


@dataclass(frozen=True, slots=True)
class SealedBatch:
    """Messages that were sealed together.

    Args:
        ephemeral: the 32 bytes of the sender's public key for this batch, needed to open any of the boxes.
        boxes: one per message, 16 bytes longer than it; box ``i`` is opened with the number ``i``.
    """

    ephemeral: bytes
    boxes: list[bytes]


class SealedTo(PublicKey):
    """A public X25519 key: whoever has it can seal, and cannot open what is sealed.

    Guarantees:
        Without the private key a box says nothing but how long its content is, not even to whoever can guess the content. A box that was changed, or
        moved to another number, batch, context or ``bound``, or meant for another key does not open. It does not say who sealed it.
    """

    _algorithm, _purpose = "X25519", "sealing key"

    def __init__(self, public: X25519PublicKey) -> None:
        self._public, self.raw = public, public.public_bytes_raw()

    @classmethod
    def _of(cls, data: bytes) -> SealedTo:
        return cls(X25519PublicKey.from_public_bytes(data))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> SealedTo:
        """Read a file that ``save`` wrote.

        Raises:
            StorageError: it cannot be read.
            UsageError: it holds no such key.
        """
        return cls.from_hex(read_key_file(Path(path), private=False).decode("ascii", "replace"))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the key in hexadecimal, all or nothing; an existing file is never replaced.

        Raises:
            UsageError: the file exists.
            StorageError: it cannot be written.
        """
        create_key_file(Path(path), self.hex.encode("ascii") + b"\n", mode=0o644)

    def seal(self, message: bytes, *, context: str, bound: bytes = b"") -> bytes:
        """Seal one message: 48 bytes longer than it. ``bound`` is not in the box, and needed again to open it."""
        batch = self.seal_many([message], context=context, bound=[bound])
        return batch.ephemeral + batch.boxes[0]

    def seal_many(self, messages: Sequence[bytes], *, context: str, bound: Iterable[bytes] | None = None) -> SealedBatch:
        """Seal up to 2^32 messages under one ephemeral key, each bound to its number and to its entry of ``bound``.

        A box stands alone: whoever stores them can leave one out.

        Raises:
            UsageError: there are too many messages, not as many entries in ``bound``, or the public key is none (a point of low order).
        """
        if len(messages) > _MOST:
            raise UsageError(f"Expected at most {_MOST:,} messages in a batch, got {len(messages):,}; make several batches")
        ephemeral = X25519PrivateKey.generate()
        public = ephemeral.public_key().public_bytes_raw()
        try:
            cipher = _cipher(ephemeral, self._public, context=context, parties=(public, self.raw))
        except ValueError:
            raise UsageError("This public key is none that anything can be sealed to. Fetch it again from its owner") from None
        encrypt = cipher.encrypt
        try:
            triples = zip(range(len(messages)), messages, repeat(b"", len(messages)) if bound is None else bound, strict=True)
            return SealedBatch(public, [encrypt(number.to_bytes(12, "big"), message, with_it) for number, message, with_it in triples])
        except ValueError:
            raise UsageError("Expected as many entries in bound= as messages; pass one for each") from None



class SealingKey:
    """A private X25519 key. It never shows itself: not in ``repr``, not through pickle.

    >>> key = SealingKey.generate()
    >>> box = key.public.seal(b"anna.keller", context="tacit.vault", bound=b"u-k7-0f3a")
    >>> key.open(box, context="tacit.vault", bound=b"u-k7-0f3a")
    b'anna.keller'
    >>> key.open(box, context="tacit.vault", bound=b"u-k7-0f3b")
    Traceback (most recent call last):
    tacit.errors.VerificationError: The box for «tacit.vault» does not open: it was changed, moved, or sealed to another key. Fetch it again
    """

    def __init__(self, private: X25519PrivateKey) -> None:
        self._private = private
        self.public = SealedTo(private.public_key())

    @classmethod
    def generate(cls) -> SealingKey:
        """Make a new key from the operating system's randomness."""
        return cls(X25519PrivateKey.generate())

    @classmethod
    def from_shares(cls, shares: Iterable[Share]) -> SealingKey:
        """Put together a key that was split.

        Raises:
            UsageError: there are too few shares, or one was given twice.
            VerificationError: they do not belong together, were changed, or are shares of something else.
        """
        secret = combine_shares(shares)
        if len(secret) != KEY_BYTES:
            raise VerificationError("These are shares of something else. Expected those of a sealing key; compare the name of the set")
        return cls(X25519PrivateKey.from_private_bytes(secret))

    def split(self, *, shares: int = 3, threshold: int = 2) -> list[Share]:
        """Share the key among several holders; see `split_secret`."""
        return split_secret(self._private.private_bytes_raw(), shares=shares, threshold=threshold)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> SealingKey:
        """Read a key that ``save`` wrote (PEM, PKCS #8).

        Raises:
            StorageError: the file cannot be read.
            UsageError: others may read the file, or it holds no unencrypted X25519 private key.
        """
        return cls(load_private(Path(path), X25519PrivateKey, name="sealing", algorithm="X25519"))  # type: ignore[type-abstract]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the key as PEM (PKCS #8), mode 0600, all or nothing; an existing file is never replaced.

        Raises:
            UsageError: the file exists.
            StorageError: it cannot be written.
        """
        save_private(Path(path), self._private)

    def open(self, box: bytes, *, context: str, bound: bytes = b"") -> bytes:
        """Open what `SealedTo.seal` made.

        Raises:
            VerificationError: it was changed, or sealed to another key, for another context or bound to something else.
        """
        return self.opener(box[:KEY_BYTES], context=context).open(0, box[KEY_BYTES:], bound=bound)

    def opener(self, ephemeral: bytes, *, context: str) -> Opener:
        """What opens the boxes of one batch.

        Raises:
            VerificationError: ``ephemeral`` is no public key that a sender can have used.
        """
        try:
            sender = X25519PublicKey.from_public_bytes(ephemeral)
            return Opener(_cipher(self._private, sender, context=context, parties=(ephemeral, self.public.raw)), context)
        except ValueError:
            raise _does_not_open(context) from None

    def __reduce__(self) -> NoReturn:
        raise UsageError("A sealing key was to be copied or pickled. Expected it to stay where it is; pass its path instead")

    def __repr__(self) -> str:
        return f"SealingKey({self.public.fingerprint})"


class Opener:
    """Opens the boxes of one batch; `SealingKey.opener` makes it."""

    def __init__(self, cipher: ChaCha20Poly1305, context: str) -> None:
        self._cipher, self._context = cipher, context

    def open(self, number: int, box: bytes, *, bound: bytes = b"") -> bytes:
        """Open the box with this number.

        Raises:
            VerificationError: it was changed, has another number, or is bound to something else.
        """
        try:
            return self._cipher.decrypt(number.to_bytes(12, "big"), box, bound)
        except (InvalidTag, OverflowError):
            raise _does_not_open(self._context) from None

    def __reduce__(self) -> NoReturn:
        raise UsageError("An opener was to be copied or pickled. Expected it to stay where the key is; make a new one there")

    def __repr__(self) -> str:
        return f"Opener({self._context})"


def _cipher(private: X25519PrivateKey, public: X25519PublicKey, *, context: str, parties: tuple[bytes, bytes]) -> ChaCha20Poly1305:
    return ChaCha20Poly1305(derive(private.exchange(public), purpose="tacit.sealed", bound_to=(_named(context), *parties)))


def _named(context: str) -> str:
    if not context:
        raise UsageError("Expected a context such as 'tacit.vault', not an empty one; it keeps boxes of different purposes apart")
    return context


def _does_not_open(context: str) -> VerificationError:
    return VerificationError(f"The box for «{context}» does not open: it was changed, moved, or sealed to another key. Fetch it again")
