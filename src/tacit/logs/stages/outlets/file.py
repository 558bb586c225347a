"""JSON lines in a file, on the disk before it is said that they are."""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime
from pathlib import Path

from tacit.errors import StorageError
from tacit.logs.stages.outlets.base import OutletError
from tacit.replacing import sync_folder


class FileOutlet:
    """Appends, synchronises with the disk after every batch, and begins a new file when one is full.

    A line that was cut by a crash was never acknowledged; it is cut off when the file is opened again, so that what is sent again does not
    continue it.

    Args:
        path: of the file; mode 0600 if it is new.
        most_bytes: after which the file is set aside as ``NAME.TIME`` and a new one begun; 0 for never.
        name: for metrics and messages.

    Raises:
        StorageError: it cannot be opened.
    """

    def __init__(self, path: str | Path, *, most_bytes: int = 0, name: str = "file") -> None:
        self._path, self._most, self.name = Path(path), most_bytes, name
        self._file, self._size = -1, 0
        try:
            self._open()
        except OSError as error:
            raise StorageError(f"Cannot write {path}: {error.strerror}. Name a file in a folder that exists and may be written.") from error

    def deliver(self, texts: list[str]) -> None:
        """See `Outlet`."""
        data = memoryview(("\n".join(texts) + "\n").encode())
        try:
            if self._file < 0:
                self._open()
            elif self._most and self._size and self._size + len(data) > self._most:
                self._rotate()
            begin = self._size
            try:
                while data:
                    data = data[os.write(self._file, data) :]
                os.fsync(self._file)
            except OSError:
                os.ftruncate(self._file, begin)
                raise
            self._size = os.fstat(self._file).st_size
        except OSError as error:
            self.close()  # after a failed fsync the state of the pages is unknown: begin anew
            raise OutletError(f"cannot write {self._path.name}: {error.strerror}") from error

    def close(self) -> None:
        """See `Outlet`."""
        if self._file >= 0:
            with contextlib.suppress(OSError):
                os.close(self._file)
            self._file = -1

    def _open(self) -> None:
        new = not self._path.exists()
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        if new:
            sync_folder(self._path.parent)
        self._size = _whole_lines(self._file)

    def _rotate(self) -> None:
        self.close()
        base = f"{self._path.name}.{datetime.now(UTC):%Y%m%dT%H%M%S}"
        names = (base + (f"-{number}" if number else "") for number in range(1_000_000))
        self._path.rename(next(path for name in names if not (path := self._path.with_name(name)).exists()))
        self._open()


def _whole_lines(file: int) -> int:
    """Cut off what follows the last newline of a regular file; returns the size."""
    size = end = os.lseek(file, 0, os.SEEK_END)
    while end:
        begin = max(0, end - (1 << 16))
        found = os.pread(file, end - begin, begin).rfind(b"\n")
        if found >= 0:
            end = begin + found + 1
            break
        end = begin
    if end < size:
        os.ftruncate(file, end)
        os.fsync(file)
    return end
