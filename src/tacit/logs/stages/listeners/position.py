"""How far followed files were read, kept so that a crash loses nothing."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tacit.errors import DataError, StorageError
from tacit.replacing import replacing

SPAN = 1024
"""Bytes at the beginning of a file, and before a place in it, by which it is known again."""


@dataclass(frozen=True)
class Position:
    """A place in a file, and by what the file is known again: here, under another name, or as a copy.

    Args:
        name: of the content, drawn at random when it is first seen; it stays through renaming, copying and restarts.
        device: number of its file system.
        inode: its number there.
        offset: bytes of whole lines that were delivered.
        head: bytes at its beginning that ``digest`` is of.
        digest: SHA-256 of them, cut to 32 hexadecimal digits. Numbers of files are used again; contents are not.
        tail: the same of the last bytes before ``offset``.
        cut: whether ``offset`` is inside a line that was too long, the rest of which is passed over.
        done: whether it was read to its end and is no longer written to.
    """

    name: str
    device: int
    inode: int
    offset: int
    head: int
    digest: str
    tail: str
    cut: bool = False
    done: bool = False

    @classmethod
    def of(cls, descriptor: int, offset: int, *, done: bool = False) -> Position:
        """The place in an open file that was not seen before."""
        status, head = os.fstat(descriptor), os.pread(descriptor, SPAN, 0)
        return cls(secrets.token_hex(8), status.st_dev, status.st_ino, offset, len(head), _digest(head), _tail(descriptor, offset), done=done)

    def at(self, descriptor: int, offset: int, *, cut: bool = False, done: bool = False) -> Position:
        """A later place in the same content."""
        return replace(self.of(descriptor, offset), name=self.name, cut=cut, done=done)

    def same_number(self, status: os.stat_result) -> bool:
        """Whether a file has this one's number."""
        return (status.st_dev, status.st_ino) == (self.device, self.inode)

    def covers(self, descriptor: int) -> bool:
        """Whether an open file has what was read here at its beginning; of an empty file nothing is known but its number."""
        status = os.fstat(descriptor)
        if self.head == 0:
            return self.same_number(status)
        return status.st_size >= self.offset and self.begins(descriptor) and _tail(descriptor, self.offset) == self.tail

    def starts(self, data: bytes) -> bool:
        """Whether bytes from the beginning of a file fit what is known of it."""
        return len(data) >= self.head and _digest(data[: self.head]) == self.digest

    def begins(self, descriptor: int) -> bool:
        """Whether an open file begins as this one."""
        return _digest(os.pread(descriptor, self.head, 0)) == self.digest


class Checkpoint:
    """The positions of all files that a log was written to, in a file of its own that is replaced as a whole.

    Args:
        path: of the checkpoint.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> list[Position] | None:
        """What was stored last; ``None`` the first time.

        Raises:
            DataError: it is damaged.
            StorageError: it cannot be read.
        """
        try:
            return [Position(**entry) for entry in json.loads(self.path.read_bytes())["files"]]
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"Cannot read the checkpoint {self.path}: {error.strerror}. Check its folder.") from error
        except (ValueError, TypeError, KeyError):
            raise DataError(f"The checkpoint {self.path} is damaged. Delete it to read the file from its beginning.") from None

    def store(self, positions: Iterable[Position]) -> None:
        """Durably.

        Raises:
            StorageError: the disk refuses.
        """
        with replacing(self.path) as file:
            file.write(json.dumps({"files": [asdict(position) for position in positions]}).encode())


def _tail(descriptor: int, offset: int) -> str:
    begin = max(0, offset - SPAN)
    return _digest(os.pread(descriptor, offset - begin, begin))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]
