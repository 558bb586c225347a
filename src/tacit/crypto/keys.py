"""Ed25519 signatures (RFC 8032) with a context, and keys on disk that nobody else can read."""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path
from typing import NoReturn

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tacit.crypto.digests import framed
from tacit.crypto.key_files import create_key_file, read_key_file
from tacit.errors import SignatureInvalid, UsageError


class SigningKey:
    """A private Ed25519 key. It never shows itself: not in ``repr``, not through pickle.

    >>> key = SigningKey.generate()
    >>> signature = key.sign(b"head 17", context="tacit.ledger")
    >>> key.public.verify(b"head 17", signature, context="tacit.ledger")
    >>> key.public.verify(b"head 18", signature, context="tacit.ledger")
    Traceback (most recent call last):
    tacit.errors.SignatureInvalid: The signature for «tacit.ledger» does not belong to this content and key. Fetch both again
    """

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public = VerifyKey(private.public_key())

    @classmethod
    def generate(cls) -> SigningKey:
        """Make a new key from the operating system's randomness."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> SigningKey:
        """Read a key that ``save`` wrote (PEM, PKCS #8).

        Raises:
            StorageError: the file cannot be read.
            UsageError: others may read the file, or it holds no unencrypted Ed25519 private key.
        """
        data = read_key_file(Path(path), private=True)
        try:
            private = serialization.load_pem_private_key(data, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            private = None
        if not isinstance(private, Ed25519PrivateKey):
            raise UsageError(f"No signing key in {path}. Expected an unencrypted Ed25519 private key as PEM; write one with SigningKey.save")
        return cls(private)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the key as PEM (PKCS #8), mode 0600, all or nothing; an existing file is never replaced.

        Raises:
            UsageError: the file exists.
            StorageError: it cannot be written.
        """
        pem = self._private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        create_key_file(Path(path), pem, mode=0o600)

    def sign(self, payload: bytes, *, context: str) -> bytes:
        """Sign ``payload`` for the purpose ``context``; the signature is good for no other purpose. 64 bytes."""
        return self._private.sign(framed(b"signature", context) + payload)

    def __reduce__(self) -> NoReturn:
        raise UsageError("A signing key was to be copied or pickled. Expected it to stay where it is; pass its path instead")

    def __repr__(self) -> str:
        return f"SigningKey({self.public.fingerprint})"


class VerifyKey:
    """A public Ed25519 key. ``verify`` raises or returns nothing; there is no answer to forget to look at."""

    def __init__(self, public: Ed25519PublicKey) -> None:
        self._public = public

    @classmethod
    def from_bytes(cls, data: bytes) -> VerifyKey:
        """Read the 32 raw bytes of a key.

        Raises:
            UsageError: there are not 32 of them.
        """
        if len(data) != 32:
            raise UsageError(f"Expected 32 bytes of an Ed25519 public key, got {len(data)}; pass the raw key")
        return cls(Ed25519PublicKey.from_public_bytes(data))

    @classmethod
    def from_hex(cls, text: str) -> VerifyKey:
        """Read 64 hexadecimal characters.

        Raises:
            UsageError: the text is something else.
        """
        try:
            return cls.from_bytes(bytes.fromhex(text.strip()))
        except ValueError:
            raise UsageError("Expected 64 hexadecimal characters of an Ed25519 public key; see VerifyKey.hex") from None

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> VerifyKey:
        """Read a public key from a file, PEM or hexadecimal.

        Raises:
            StorageError: the file cannot be read.
            UsageError: it holds neither.
        """
        data = read_key_file(Path(path), private=False)
        if not data.lstrip().startswith(b"-----BEGIN"):
            return cls.from_hex(data.decode("ascii", "replace"))
        try:
            public = serialization.load_pem_public_key(data)
        except (ValueError, UnsupportedAlgorithm):
            public = None
        if not isinstance(public, Ed25519PublicKey):
            raise UsageError(f"No public key in {path}. Expected an Ed25519 public key as PEM or hexadecimal; write one with VerifyKey.save")
        return cls(public)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the key as PEM, all or nothing; an existing file is never replaced.

        Raises:
            UsageError: the file exists.
            StorageError: it cannot be written.
        """
        create_key_file(Path(path), self.pem.encode("ascii"), mode=0o644)

    def verify(self, payload: bytes, signature: bytes, *, context: str) -> None:
        """Return if ``signature`` was made over ``payload`` for ``context`` with this key, else raise.

        Raises:
            SignatureInvalid: it was not.
        """
        try:
            self._public.verify(signature, framed(b"signature", context) + payload)
        except InvalidSignature:
            message = f"The signature for «{context}» does not belong to this content and key. Fetch both again"
            raise SignatureInvalid(message) from None

    @property
    def raw(self) -> bytes:
        """The 32 bytes of the key."""
        return self._public.public_bytes_raw()

    @property
    def hex(self) -> str:
        """The key as 64 hexadecimal characters."""
        return self.raw.hex()

    @property
    def pem(self) -> str:
        """The key as PEM text (SubjectPublicKeyInfo)."""
        encoded = self._public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        return encoded.decode("ascii")

    @property
    def fingerprint(self) -> str:
        """A short form for people to compare: 80 bits of the key's SHA-256 in base32, such as ``K7QF-ZZ2A-PLMB-3WYD``."""
        text = base64.b32encode(hashlib.sha256(framed(b"fingerprint", "key") + self.raw).digest()[:10]).decode("ascii")
        return "-".join(text[i : i + 4] for i in range(0, 16, 4))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VerifyKey) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        return f"VerifyKey({self.fingerprint})"
