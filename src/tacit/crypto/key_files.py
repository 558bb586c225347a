"""Files with keys: never overwritten, written as a whole, and refused when others may read what is private."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import TypeVar

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from tacit.errors import StorageError, UsageError
from tacit.replacing import sync_folder

_MAX_KEY_FILE = 1 << 16
Private = TypeVar("Private", bound=PrivateKeyTypes)


def read_key_file(path: Path, *, private: bool) -> bytes:
    """Up to 64 KiB of a key file.

    Raises:
        StorageError: it cannot be read.
        UsageError: with ``private``, others may use it.
    """
    try:
        with path.open("rb") as file:
            if private and os.name == "posix":
                _refuse_shared(path, os.fstat(file.fileno()).st_mode)
            return file.read(_MAX_KEY_FILE)
    except OSError as error:
        raise StorageError(f"Cannot read the key file {path}: {error.strerror}. Expected a readable file; check the path") from error


def load_private(path: Path, kind: type[Private], *, name: str, algorithm: str) -> Private:
    """The private key of a PEM file that `save_private` wrote.

    Args:
        path: of the file.
        kind: the class of the key.
        name: what people call the key: «signing» or «sealing».
        algorithm: what it is for.

    Raises:
        StorageError: the file cannot be read.
        UsageError: others may read the file, or it holds no unencrypted private key of this kind.
    """
    data = read_key_file(path, private=True)
    try:
        private = serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        private = None
    if not isinstance(private, kind):
        owner = f"{name.capitalize()}Key.save"
        raise UsageError(f"No {name} key in {path}. Expected an unencrypted {algorithm} private key as PEM; write one with {owner}")
    return private


def save_private(path: Path, private: PrivateKeyTypes) -> None:
    """Write a private key as PEM (PKCS #8), mode 0600, all or nothing; an existing file is never replaced.

    Raises:
        UsageError: the file exists.
        StorageError: it cannot be written.
    """
    pem = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    create_key_file(path, pem, mode=0o600)


def _refuse_shared(path: Path, mode: int) -> None:
    if mode & 0o077:
        raise UsageError(f"Others may use the key file {path} (mode {mode & 0o777:04o}). Expected 0600; run: chmod 600 {path}")


def create_key_file(path: Path, data: bytes, *, mode: int) -> None:
    """Write a new file in one step: a complete temporary file beside it is linked to its name, which fails where the name is taken.

    Raises:
        UsageError: the file exists.
        StorageError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        try:
            _write(temporary, data, mode)
            os.link(temporary, path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()
        sync_folder(path.parent)
    except FileExistsError:
        raise UsageError(f"The file {path} exists; keys are never overwritten. Expected a new name; move the old file away first") from None
    except OSError as error:
        raise StorageError(f"Cannot write {path}: {error.strerror}. Expected a writable directory; nothing was written") from error


def _write(path: Path, data: bytes, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())

