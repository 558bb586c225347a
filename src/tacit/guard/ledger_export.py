"""The ledger as a file of JSON lines, written all or nothing."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tacit.crypto import canonical_bytes
from tacit.errors import StorageError


def write_lines(path: Path, lines: Iterable[dict[str, Any]]) -> int:
    """Write each dict as canonical JSON on a line of its own; the file appears complete or not at all.

    Raises:
        StorageError: if it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    count = 0
    try:
        with temporary.open("xb") as file:
            for line in lines:
                file.write(canonical_bytes(line) + b"\n")
                count += 1
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise StorageError(f"Cannot write {path}: {error.strerror}. Nothing was written; check the folder and the space on the disk.") from error
    finally:
        temporary.unlink(missing_ok=True)
    return count
