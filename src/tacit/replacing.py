"""Files that are written as a whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from tacit.errors import StorageError


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A binary file that takes the place of ``path``, durably, when the block ends well, and vanishes when it does not.

    Raises:
        StorageError: if the disk or the folder refuses; what was at ``path`` before is unchanged.
    """
    target = Path(path)
    partial = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
        sync_folder(target.parent)
    except OSError as error:
        raise StorageError(f"Cannot write {target}: {os.strerror(error.errno or 0)}. Nothing was written; check the disk and the folder.") from error
    finally:
        with suppress(OSError):
            partial.unlink()


def sync_folder(path: Path) -> None:
    """Make durable which files a folder holds."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
