"""Arrays that outgrow memory: appended block by block, read back in order, gone when the process is."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from tacit.errors import StorageError

Block = NDArray[np.uint8]

IN_MEMORY = 128 << 20


class BlockStore:
    """uint8 matrices ``[features, rows]``, kept in memory up to a limit and in an unnamed temporary file beyond.

    The file has no name from its first moment, so that nothing stays behind even if the process is killed.
    """

    def __init__(self, *, limit: int = IN_MEMORY) -> None:
        self._limit = limit
        self._shapes: list[tuple[int, ...]] = []
        self._memory: list[Block] = []
        self._bytes = 0
        self._file: BinaryIO | None = None
        self._map: mmap.mmap | None = None

    def append(self, block: Block) -> None:
        """Add one matrix.

        Raises:
            StorageError: if the temporary directory is full.
        """
        self._shapes.append(block.shape)
        self._bytes += block.nbytes
        if self._file is None and self._bytes <= self._limit:
            self._memory.append(np.ascontiguousarray(block))
            return
        try:
            self._spill()
            self._write(block)
        except OSError as error:
            raise StorageError(
                f"Expected room for {self._bytes >> 20} MiB in «{tempfile.gettempdir()}»; {os.strerror(error.errno or 0)}. "
                "Set TMPDIR to a larger disk."
            ) from None

    def _spill(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="tacit-")  # noqa: SIM115 - lives as long as the store
            for block in self._memory:
                self._write(block)
            self._memory = []

    def _write(self, block: Block) -> None:
        if self._file is not None:
            self._file.write(np.ascontiguousarray(block).data)

    def __len__(self) -> int:
        return len(self._shapes)

    def __iter__(self) -> Iterator[Block]:
        if self._file is None:
            yield from self._memory
            return
        self._file.flush()
        if self._map is None:
            self._map = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        offset = 0
        for shape in self._shapes:
            size = int(np.prod(shape))
            yield np.frombuffer(self._map, dtype=np.uint8, count=size, offset=offset).reshape(shape)
            offset += size
