"""How far a followed file was read, kept so that a crash loses nothing."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from tacit.errors import DataError, StorageError
from tacit.replacing import replacing

HEAD = 1024
"""Bytes at the beginning of a file by which it is known again."""


@dataclass(frozen=True)
class Position:
    """A place in a file, and by what the file is known again.

    Args:
        device: number of its file system.
        inode: its number there.
        offset: bytes of whole lines that were delivered.
        head: bytes at its beginning that ``digest`` is of.
        digest: SHA-256 of them, in hexadecimal digits. Numbers of files are used again; contents are not.
        cut: whether ``offset`` is inside a line that was too long, the rest of which is passed over.
    """

    device: int
    inode: int
    offset: int
    head: int
    digest: str
    cut: bool = False

    @classmethod
    def of(cls, descriptor: int, offset: int, *, cut: bool = False) -> Position:
        """The place in an open file."""
        status = os.fstat(descriptor)
        head = os.pread(descriptor, min(HEAD, offset), 0)
        return cls(status.st_dev, status.st_ino, offset, len(head), hashlib.sha256(head).hexdigest(), cut)

    def same_file(self, descriptor: int) -> bool:
        """Whether an open file is this one: its number and its beginning."""
        status = os.fstat(descriptor)
        return (status.st_dev, status.st_ino) == (self.device, self.inode) and self.same_content(descriptor)

    def same_content(self, descriptor: int) -> bool:
        """Whether an open file begins as this one does and is at least as long as was read."""
        if os.fstat(descriptor).st_size < self.offset:
            return False
        return hashlib.sha256(os.pread(descriptor, self.head, 0)).hexdigest() == self.digest


class Checkpoint:
    """A position in a file of its own, replaced as a whole.

    Args:
        path: of the checkpoint.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> Position | None:
        """What was stored last; nothing the first time.

        Raises:
            DataError: it is damaged.
        """
        try:
            return Position(**json.loads(self.path.read_bytes()))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"Cannot read the checkpoint {self.path}: {error.strerror}. Check its folder.") from error
        except (ValueError, TypeError):
            raise DataError(f"The checkpoint {self.path} is damaged. Delete it to read the file from its beginning.") from None

    def store(self, position: Position) -> None:
        """Durably.

        Raises:
            StorageError: the disk refuses.
        """
        with replacing(self.path) as file:
            file.write(json.dumps(asdict(position)).encode())
