"""The two halves of a key. The secret one opens scores and never leaves but under a passphrase; the public one encrypts and may go anywhere."""

from __future__ import annotations

import os
import secrets
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from numpy.typing import NDArray

from tacit.crypto import SigningKey, VerifyKey, canonical_bytes, from_canonical, hexdigest
from tacit.crypto.key_files import create_key_file
from tacit.encrypted.library import Ring, library, ring
from tacit.encrypted.parameters import Parameters
from tacit.encrypted.wire import Kind, field, parse, prefix_of
from tacit.encrypted.words import Words
from tacit.errors import MessageDamaged, StorageError, UsageError, WrongKey

_SCRYPT = {"length": 32, "n": 1 << 17, "r": 8, "p": 1}
_LEAST_PASSPHRASE = 12


class EncryptionKey:
    """A public key: whoever has it can encrypt for its owner, and read nothing.

    It carries the owner's Ed25519 key too, with which requests are signed. Compare `fingerprint` with the owner before you trust it.
    """

    def __init__(self, parameters: Parameters, public: bytes, verify: VerifyKey) -> None:
        self.parameters, self.verify, self._data = parameters, verify, public

    @cached_property
    def id(self) -> str:
        """SHA-256 of everything in it, hex."""
        return hexdigest({"parameters": self.parameters.to_dict(), "public": self._data, "verify": self.verify.raw}, domain="tacit.encrypted.key")

    @property
    def fingerprint(self) -> str:
        """Eighty bits of `id` for people to compare."""
        text = self.id[:20]
        return "-".join(text[place : place + 5] for place in range(0, 20, 5))

    @cached_property
    def _encryptor(self) -> Any:
        made = ring(self.parameters)
        return library().Encryptor(made.context, made.context.from_public_str(self._data))

    def encrypt(self, coefficients: NDArray[np.int64]) -> Words:
        """Encrypt polynomials: int64 ``[count, N]`` to words ``[count, 2, primes, N]``."""
        return _encrypted(ring(self.parameters), self._encryptor.encrypt, coefficients)

    def encrypt_zero(self) -> Words:
        """A fresh encryption of nothing, ``[2, primes, N]``: it makes another ciphertext unlinkable."""
        return ring(self.parameters).words(self._encryptor.encrypt_zero())

    def to_bytes(self) -> bytes:
        """The key as a message."""
        header = {"parameters": self.parameters.to_dict(), "verify": self.verify.raw}
        words = self._data[len(ring(self.parameters).public_head) :]
        return prefix_of(Kind.PUBLIC_KEY, header, len(words)) + words

    @classmethod
    def from_bytes(cls, data: bytes) -> EncryptionKey:
        """The key that `to_bytes` wrote.

        Raises:
            MessageDamaged: it is cut short, changed beyond reading, or none.
            VerificationError: its parameters are none of Tacit's.
        """
        message = parse(data, Kind.PUBLIC_KEY)
        parameters = _parameters(message.header)
        made = ring(parameters)
        if len(message.body) != 16 * parameters.degree * len(made.key_moduli) or message.seal:
            raise MessageDamaged("Expected a public key of the size of its parameters; it was cut short or lengthened. Fetch it again")
        words = np.frombuffer(message.body, "<u8").reshape(2, len(made.key_moduli), parameters.degree)
        made.require_reduced(words, made.key_moduli)
        try:
            return cls(parameters, made.public_head + bytes(message.body), VerifyKey.from_bytes(field(message.header, "verify", bytes)))
        except UsageError as error:
            raise MessageDamaged("Expected an Ed25519 key of 32 bytes in the public key. Fetch it again") from error

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EncryptionKey) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"EncryptionKey({self.fingerprint})"


class SecretKey:
    """A secret key. It never shows itself: not in ``repr``, not through pickle, not in a copy; `save` writes it under a passphrase only.

    Make one for each model, and never show anybody what it decrypts except as what the scores are used for.
    """

    def __init__(self, parameters: Parameters, secret: Any, signing: Ed25519PrivateKey) -> None:
        made = ring(parameters)
        generator = library().KeyGenerator(made.context, secret)
        self.parameters = parameters
        self.signing = SigningKey(signing)
        self.public = EncryptionKey(parameters, generator.create_public_key().to_string(), self.signing.public)
        self._secret, self._ed25519 = secret, signing
        self._decryptor = library().Decryptor(made.context, secret)
        self._encryptor = library().Encryptor(made.context, secret)

    @classmethod
    def generate(cls, parameters: Parameters) -> SecretKey:
        """Make a new key from the operating system's randomness, for the parameters of a plan."""
        return cls(parameters, library().KeyGenerator(ring(parameters).context).secret_key(), Ed25519PrivateKey.generate())

    def encrypt(self, coefficients: NDArray[np.int64]) -> Words:
        """Encrypt polynomials with the secret key, faster and with less noise than with the public one: as `EncryptionKey.encrypt`."""
        return _encrypted(ring(self.parameters), self._encryptor.encrypt_symmetric, coefficients)

    def decrypt(self, words: Words) -> NDArray[np.int64]:
        """Decrypt one ciphertext ``[2, primes, N]``: int64 ``[N]``."""
        made = ring(self.parameters)
        return made.coefficients(self._decryptor.decrypt(made.cipher(words)))

    def save(self, path: str | os.PathLike[str], *, passphrase: str) -> None:
        """Write the key under a passphrase: scrypt (RFC 7914; n=2^17, r=8, p=1: 128 MiB) and ChaCha20-Poly1305 (RFC 8439).

        Raises:
            UsageError: the passphrase is shorter than 12 characters, or the file exists.
            StorageError: it cannot be written.
        """
        if len(passphrase) < _LEAST_PASSPHRASE:
            raise UsageError(f"Expected a passphrase of at least {_LEAST_PASSPHRASE} characters, got {len(passphrase)}; four random words will do")
        salt, public = secrets.token_bytes(16), self.public.to_bytes()
        content = canonical_bytes({"secret": self._secret.to_string(), "signing": self._ed25519.private_bytes_raw(), "public": public})
        prefix = prefix_of(Kind.SECRET_KEY, {"parameters": self.parameters.to_dict(), "salt": salt}, len(content) + 16)
        create_key_file(Path(path), prefix + _cipher(passphrase, salt).encrypt(bytes(12), content, prefix), mode=0o600)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, passphrase: str) -> SecretKey:
        """Read a key that `save` wrote.

        Raises:
            StorageError: the file cannot be read.
            MessageDamaged: it is cut short, or none.
            WrongKey: the passphrase is another, or the file was changed.
        """
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise StorageError(f"Cannot read the key file {path}: {error.strerror}. Expected a readable file; check the path") from error
        message = parse(data, Kind.SECRET_KEY)
        parameters, salt = _parameters(message.header), field(message.header, "salt", bytes)
        try:
            content = from_canonical(_cipher(passphrase, salt).decrypt(bytes(12), bytes(message.body), message.prefix))
        except InvalidTag:
            raise WrongKey(f"The key in {path} does not open: the passphrase is another, or the file was changed") from None
        made = ring(parameters)
        loaded = cls(parameters, made.context.from_secret_str(content["secret"]), Ed25519PrivateKey.from_private_bytes(content["signing"]))
        loaded.public = EncryptionKey.from_bytes(content["public"])
        return loaded

    def __reduce__(self) -> NoReturn:
        raise UsageError("A secret key was to be copied or pickled. Expected it to stay where it is; use save with a passphrase")

    def __repr__(self) -> str:
        return f"SecretKey({self.public.fingerprint})"


def _encrypted(made: Ring, encrypt: Any, coefficients: NDArray[np.int64]) -> Words:
    primes, degree = len(made.moduli), made.parameters.degree
    found = np.empty((len(coefficients), 2, primes, degree), np.uint64)
    for place, row in enumerate(coefficients):
        found[place] = made.words(encrypt(made.plaintext(row)))
    return found


def _parameters(header: dict[str, Any]) -> Parameters:
    try:
        return Parameters.from_dict(field(header, "parameters", dict))
    except (KeyError, TypeError, ValueError) as error:
        raise MessageDamaged("Expected parameters in the header; the message was changed. Fetch it again") from error


def _cipher(passphrase: str, salt: bytes) -> ChaCha20Poly1305:
    return ChaCha20Poly1305(Scrypt(salt=salt, **_SCRYPT).derive(passphrase.encode("utf-8")))


