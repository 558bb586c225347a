"""Lines of files and pipes, a batch at a time, in bounded memory: a line that never ends is cut off, not collected."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tacit.errors import DataError, StorageError, UsageError
from tacit.logs.formats.base import LONGEST

_BLOCK = 1 << 20


@contextmanager
def opened(path: str | Path) -> Iterator[IO[bytes]]:
    """A file for reading; «-» is standard input, ``.gz`` and ``.zst`` are unpacked on the way.

    Raises:
        DataError: it cannot be read.
        UsageError: it is a folder.
    """
    name = str(path)
    if name == "-":
        yield sys.stdin.buffer
        return
    if Path(path).is_dir():
        raise UsageError(f"Expected a file, got the folder {path}; name its files.")
    try:
        with _unpacked(name) as file:
            yield file
    except (FileNotFoundError, PermissionError) as error:
        raise DataError(f"Cannot read {path}: {error.strerror}. Check the name.") from error


def batches(file: IO[bytes], *, lines: int, waiting: bool = False) -> Iterator[list[bytes]]:
    """Lists of at most so many lines, without their newlines.

    A line of more than `LONGEST` bytes is given as its first ``LONGEST + 1``, so that a format refuses it, and the rest is passed over.

    Args:
        file: to read.
        lines: the most lines of a batch.
        waiting: give what has come rather than wait for a full batch: for pipes.

    Raises:
        StorageError: the file is packed and damaged.
    """
    found: list[bytes] = []
    rest, cut = b"", False
    while block := _read(file, waiting):
        pieces = block.split(b"\n")
        if cut:
            if len(pieces) == 1:
                continue
            pieces, cut = pieces[1:], False
        else:
            pieces[0] = rest + pieces[0]
        rest = pieces.pop()
        found += pieces if max(map(len, pieces), default=0) <= LONGEST else [piece[: LONGEST + 1] for piece in pieces]
        while len(found) >= lines:
            yield found[:lines]
            found = found[lines:]
        if len(rest) > LONGEST:
            found.append(rest[: LONGEST + 1])
            rest, cut = b"", True
        if waiting and found:
            yield found
            found = []
    if rest:
        found.append(rest)
    if found:
        yield found


def _read(file: IO[bytes], waiting: bool) -> bytes:
    import zlib

    try:
        read = getattr(file, "read1", file.read) if waiting else file.read
        return read(_BLOCK)
    except (EOFError, zlib.error, OSError) as error:
        raise StorageError(f"Cannot read on: {getattr(error, 'strerror', None) or 'the packed file is damaged'}. Nothing was written.") from error


def _unpacked(name: str) -> IO[bytes]:
    if name.endswith(".gz"):
        import gzip

        return gzip.open(name, "rb")  # type: ignore[return-value]
    if name.endswith(".zst"):
        import pyarrow as pa

        return pa.input_stream(name, compression="zstd")  # type: ignore[no-any-return]
    return Path(name).open("rb")
