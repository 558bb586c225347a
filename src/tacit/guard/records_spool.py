"""A private temporary folder on the owner's side that does not outlive its process for long."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tacit.errors import StorageError

_PREFIX = "tacit-spool-"
_LOCK = ".lock"
_YOUNG = 60.0
_ROW_GROUP = 1 << 17


class Spool:
    """A folder only its owner can enter (mode 0700), removed on `close`, at exit, and after a kill by the next process that opens one.

    A lock held for the life of the process tells a folder in use from one that was left behind: the system drops it however the process
    ends, where a process id may be reused. Removal unlinks, and does not overwrite:
    point ``TMPDIR`` at an encrypted disk where that matters.

    Raises:
        StorageError: if the folder cannot be made.
    """

    def __init__(self) -> None:
        remove_abandoned()
        with storing(Path(tempfile.gettempdir())):
            self.path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
            self._lock = os.open(self.path / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._finalizer = weakref.finalize(self, _remove, self.path, self._lock, os.getpid())

    def close(self) -> None:
        """Remove the folder and what is in it; again has no effect."""
        self._finalizer()


def _remove(path: Path, lock: int, process: int) -> None:
    if os.getpid() == process:  # A forked child must not take the folder away from its parent.
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def remove_abandoned() -> None:
    """Remove the folders that killed processes of this user left behind."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            state = path.lstat()
            if stat.S_ISDIR(state.st_mode) and state.st_uid == os.getuid() and _is_abandoned(path, state.st_mtime):
                shutil.rmtree(path, ignore_errors=True)
        except OSError:
            continue


def _is_abandoned(path: Path, modified: float) -> bool:
    try:
        lock = os.open(path / _LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return time.time() - modified > _YOUNG
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(lock)
    return True


@contextmanager
def storing(folder: Path) -> Iterator[None]:
    """Turn a failure to write below ``folder`` into a `StorageError` that quotes nothing that was being written."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        number = getattr(error, "errno", None)
        reason = os.strerror(number) if number else "the write failed"
        raise StorageError(
            f"Cannot write a temporary copy of the records below {folder}: {reason}. Free some space, or point TMPDIR at a larger disk."
        ) from None


class ParquetSink:
    """A Parquet file of a spool that is being written."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path, self.rows, self.size = path, 0, 0
        with storing(path.parent):
            self._writer = pq.ParquetWriter(path, schema, compression="lz4", write_statistics=False)

    def write(self, table: pa.Table) -> None:
        """Append rows."""
        self.rows += table.num_rows
        self.size += table.nbytes
        with storing(self.path.parent):
            self._writer.write_table(table, row_group_size=_ROW_GROUP)

    def close(self) -> None:
        """Write the footer."""
        with storing(self.path.parent):
            self._writer.close()
