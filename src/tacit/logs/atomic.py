"""Files that appear complete or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from tacit.errors import StorageError


@contextmanager
def writing(path: str | Path) -> Iterator[BinaryIO]:
    """A binary file that takes the place of ``path`` when the block ends well, and vanishes when it does not.

    Raises:
        StorageError: if the folder or the disk refuses; an existing ``path`` is unchanged.
    """
    target = Path(path)
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".partial")
    except OSError as error:
        raise StorageError(
            f"Cannot create a file in the folder of {target} ({error.strerror}); name a folder that exists and may be written."
        ) from error
    partial = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.chmod(0o644)
        partial.replace(target)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise StorageError(
            f"Writing {target} failed ({error.strerror}); nothing was changed. Free some space or name another folder."
        ) from error
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
