"""Keys wrapped by a passphrase: scrypt (RFC 7914), then ChaCha20-Poly1305 (RFC 8439) for each key."""

from __future__ import annotations

import os
import secrets
import unicodedata
from collections.abc import Callable
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from tacit.errors import UsageError, VerificationError

VARIABLE = "TACIT_PASSPHRASE"
Passphrase = str | Callable[[], str] | None
_N, _R, _P = 1 << 17, 8, 1
"""128 MiB and about half a second for each guess."""
_LARGEST_N, _LARGEST_P = 1 << 20, 16
_SALT, _NONCE = 16, 12
_SHORTEST = 12


class Lock:
    """What opens and closes the keys of one file, once the passphrase is known. It never shows itself.

    >>> lock = Lock.make("correct horse battery staple")
    >>> Lock.open(lock.parameters, "correct horse battery staple").opened(lock.closed(b"key", bound=b"k7"), bound=b"k7")
    b'key'
    """

    def __init__(self, parameters: dict[str, Any], key: bytes) -> None:
        self.parameters, self._cipher = parameters, ChaCha20Poly1305(key)

    @classmethod
    def make(cls, passphrase: str) -> Lock:
        """A new lock with a salt of its own.

        Raises:
            UsageError: the passphrase has fewer than 12 characters.
        """
        if len(passphrase) < _SHORTEST:
            raise UsageError(f"Expected a passphrase of at least {_SHORTEST} characters; several words are good.")
        parameters = {"kdf": "scrypt", "n": _N, "r": _R, "p": _P, "salt": secrets.token_bytes(_SALT)}
        return cls(parameters, _stretched(parameters, passphrase))

    @classmethod
    def open(cls, parameters: dict[str, Any], passphrase: str) -> Lock:
        """The lock that was made with these parameters. Whether the passphrase is right shows when a key is opened.

        Raises:
            ValueError: the parameters are none that `make` writes, or ask for more than a gigabyte.
        """
        require_lock(parameters)
        return cls(parameters, _stretched(parameters, passphrase))

    def closed(self, key: bytes, *, bound: bytes) -> bytes:
        """A key, wrapped and bound to its place."""
        nonce = secrets.token_bytes(_NONCE)
        return nonce + self._cipher.encrypt(nonce, key, bound)

    def opened(self, box: bytes, *, bound: bytes) -> bytes:
        """The key in a box.

        Raises:
            VerificationError: the passphrase is wrong, or the box was changed or moved.
        """
        try:
            return self._cipher.decrypt(box[:_NONCE], box[_NONCE:], bound)
        except (InvalidTag, ValueError):
            raise VerificationError("The passphrase does not open this keyring. Try it again; if it is right, restore the file.") from None

    def __repr__(self) -> str:
        return "Lock(scrypt)"


def require_lock(parameters: dict[str, Any]) -> None:
    """Raise ``ValueError`` unless these are parameters as `Lock.make` writes them, with a cost that can be paid."""
    n, p, salt = parameters["n"], parameters["p"], parameters["salt"]
    if parameters.keys() != {"kdf", "n", "r", "p", "salt"} or parameters["kdf"] != "scrypt" or parameters["r"] != _R:
        raise ValueError("another lock")
    if type(n) is not int or not 1 < n <= _LARGEST_N or n & (n - 1) or type(p) is not int or not 1 <= p <= _LARGEST_P:
        raise ValueError("a cost that nobody asked for")
    if not isinstance(salt, bytes) or len(salt) != _SALT:
        raise ValueError("no salt")


def asked(passphrase: Passphrase, path: object) -> str:
    """The passphrase: as given, else from TACIT_PASSPHRASE, else by asking.

    Raises:
        UsageError: there is none.
    """
    if isinstance(passphrase, str):
        return passphrase
    found = os.environ.get(VARIABLE)
    if found is not None:
        return found
    if passphrase is None:
        raise UsageError(f"The keyring {path} is locked with a passphrase. Expected it in the variable {VARIABLE}.")
    return passphrase()


def _stretched(parameters: dict[str, Any], passphrase: str) -> bytes:
    words = unicodedata.normalize("NFC", passphrase).encode("utf-8", "surrogatepass")
    return Scrypt(parameters["salt"], 32, n=parameters["n"], r=parameters["r"], p=parameters["p"]).derive(words)
