"""Who may send: tokens from a file that only its owner can read."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from tacit.errors import ConfigError, StorageError, UsageError

_LARGEST = 1 << 20
_SHORTEST = 16


class Tokens:
    """Names and secrets, and whether a request shows one of them.

    Accepted are ``Bearer SECRET``, ``Splunk SECRET``, ``Basic`` with name and secret (or with the name ``x``, as Splunk allows), and ``ApiKey`` with
    name and secret in base64, as Elasticsearch writes it.

    >>> tokens = Tokens({"fluent": "0123456789abcdef"})
    >>> tokens.allow("Bearer 0123456789abcdef"), tokens.allow("Splunk 0123456789abcdeg"), tokens.allow(None)
    (True, False, False)

    Args:
        secrets: by name; each of at least 16 characters.

    Raises:
        ConfigError: there is none, or one is too short.
    """

    def __init__(self, secrets: Mapping[str, str]) -> None:
        if not secrets or min(map(len, secrets.values())) < _SHORTEST:
            raise ConfigError(f"Expected tokens of at least {_SHORTEST} characters each, and at least one; make one with: openssl rand -hex 32")
        self._known = [(_digest(shown), name) for name, secret in secrets.items() for shown in (secret, f"{name}:{secret}")]

    def __repr__(self) -> str:
        return f"Tokens({len(self._known) // 2})"

    @classmethod
    def load(cls, path: str | Path) -> Tokens:
        """Read a file with one ``NAME:SECRET`` per line; empty lines and those that begin with # are passed over.

        Raises:
            StorageError: it cannot be read.
            UsageError: others may read it.
            ConfigError: a line is no such pair.
        """
        return cls(dict(_pairs(read_private(path, "tokens").splitlines(), path)))

    @property
    def names(self) -> frozenset[str]:
        """Who has a token."""
        return frozenset(name for _, name in self._known)

    def allow(self, header: str | None) -> bool:
        """Whether an ``Authorization`` header shows a token. Takes the same time for every wrong one."""
        return self.name_of(header) is not None

    def name_of(self, header: str | None) -> str | None:
        """Whose token an ``Authorization`` header shows; ``None`` if it is nobody's. Takes the same time for every wrong one.

        >>> Tokens({"fluent": "0123456789abcdef"}).name_of("Bearer 0123456789abcdef")
        'fluent'
        """
        shown = _digest(_shown(header or ""))
        found = None
        for known, name in self._known:
            if hmac.compare_digest(known, shown):
                found = name
        return found


def read_private(path: str | Path, what: str) -> str:
    """The text of a small file that only its owner can read.

    Args:
        path: of the file.
        what: what it holds, for messages.

    Raises:
        StorageError: it cannot be read.
        UsageError: others may read it.
    """
    try:
        with Path(path).open("rb") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise UsageError(f"Others may read the {what} {path}. Expected mode 0600: chmod 600 {path}")
            return file.read(_LARGEST).decode("utf-8", "replace")
    except OSError as error:
        raise StorageError(f"Cannot read the {what} {path}: {error.strerror}. Check the path.") from error


def _pairs(lines: Iterable[str], path: str | Path) -> Iterable[tuple[str, str]]:
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.startswith("#"):
            name, colon, secret = line.strip().partition(":")
            if not (name and colon and secret) or not secret.isprintable() or " " in secret:
                raise ConfigError(f"Expected NAME:SECRET in line {number} of the tokens {path}.")
            yield name, secret


def _shown(header: str) -> str:
    """The credential of a header: a secret, or name and secret."""
    scheme, _, value = header.strip().partition(" ")
    value = value.strip()
    if scheme.lower() in ("bearer", "splunk"):
        return value if ":" not in value else ""
    if scheme.lower() in ("basic", "apikey"):
        try:
            pair = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, ValueError):
            return ""
        return pair.removeprefix("x:")
    return ""


def _digest(credential: str) -> bytes:
    return hashlib.sha256(credential.encode("utf-8", "surrogatepass")).digest()
