"""Ed25519 signatures (RFC 8032) with a context, and keys on disk that nobody else can read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tacit.crypto.digests import framed
from tacit.crypto.key_files import create_key_file, load_private, read_key_file, save_private
from tacit.crypto.public_keys import PublicKey
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
        return cls(load_private(Path(path), Ed25519PrivateKey, name="signing", algorithm="Ed25519"))  # type: ignore[type-abstract]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the key as PEM (PKCS #8), mode 0600, all or nothing; an existing file is never replaced.

        Raises:
            UsageError: the file exists.
            StorageError: it cannot be written.
        """
        save_private(Path(path), self._private)

    def sign(self, payload: bytes, *, context: str) -> bytes:
        """Sign ``payload`` for the purpose ``context``; the signature is good for no other purpose. 64 bytes."""
        return self._private.sign(framed(b"signature", context) + payload)

    def __reduce__(self) -> NoReturn:
        raise UsageError("A signing key was to be copied or pickled. Expected it to stay where it is; pass its path instead")

    def __repr__(self) -> str:
        return f"SigningKey({self.public.fingerprint})"


class VerifyKey(PublicKey):
    """A public Ed25519 key. ``verify`` raises or returns nothing; there is no answer to forget to look at."""

    _algorithm, _purpose = "Ed25519", "key"

    def __init__(self, public: Ed25519PublicKey) -> None:
        self._public, self.raw = public, public.public_bytes_raw()

    @classmethod
    def _of(cls, data: bytes) -> VerifyKey:
        return cls(Ed25519PublicKey.from_public_bytes(data))

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
    def pem(self) -> str:
        """The key as PEM text (SubjectPublicKeyInfo)."""
        encoded = self._public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        return encoded.decode("ascii")
