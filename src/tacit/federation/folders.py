"""Folders on disk that sites and coordinators keep: made as a whole or not at all, every file replaced as a whole."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tacit.errors import ConfigError, StorageError, UsageError
from tacit.replacing import replacing, sync_folder

_LARGEST = 1 << 22


@contextmanager
def made_whole(folder: Path) -> Iterator[Path]:
    """A folder to fill, which appears under its name when the block ends well, readable by its owner alone; else nothing appears.

    Raises:
        UsageError: if there is one already.
        StorageError: if it cannot be written.
    """
    if folder.exists():
        raise UsageError(f"Expected no folder at «{folder}»; there is one, and it stays as it is. Name another, or move it away first.")
    partial = folder.with_name(f".{folder.name}.{secrets.token_hex(8)}.tmp")
    try:
        partial.mkdir(parents=True, mode=0o700)
        yield partial
        sync_folder(partial)
        partial.rename(folder)
        sync_folder(folder.parent)
    except OSError as error:
        raise StorageError(f"Cannot write «{folder}»: {error.strerror}. Nothing was written; check the folder and the disk.") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Replace a file as a whole, durably; its folder is made if need be."""
    try:
        path.parent.mkdir(exist_ok=True, mode=0o700)
    except OSError as error:
        raise StorageError(f"Cannot write «{path.parent}»: {error.strerror}. Nothing was written; check the folder and the disk.") from error
    with replacing(path) as file:
        file.write(data)


def write_fields(path: Path, fields: dict[str, Any]) -> None:
    """Replace a file of plain fields, as JSON that a person can read."""
    write_bytes(path, (json.dumps(fields, indent=1, ensure_ascii=False) + "\n").encode())


def read_bytes(path: Path, *, hint: str) -> bytes:
    """What is in a file.

    Raises:
        ConfigError: if it cannot be read; ``hint`` says what to do.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"Cannot read {path}: {error.strerror}. {hint}") from None
    if len(data) > _LARGEST:
        raise ConfigError(f"Expected at most {_LARGEST:,} bytes in {path}. {hint}")
    return data


def read_fields(path: Path, names: set[str], *, hint: str) -> dict[str, Any]:
    """What `write_fields` wrote.

    Raises:
        ConfigError: if it cannot be read, or has other fields than ``names``.
    """
    try:
        fields = json.loads(read_bytes(path, hint=hint))
    except ValueError:
        fields = None
    if not isinstance(fields, dict) or fields.keys() != names:
        raise ConfigError(f"Expected {', '.join(sorted(names))} in {path}; it holds something else. {hint}")
    return fields
