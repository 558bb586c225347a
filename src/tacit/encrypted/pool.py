"""Encryption in several processes: the library holds the interpreter's lock, so that threads would not help."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from types import TracebackType
from typing import NoReturn, Self

import numpy as np
from numpy.typing import NDArray

from tacit.encrypted.keys import EncryptionKey
from tacit.encrypted.library import ring
from tacit.encrypted.words import Words
from tacit.errors import UsageError

_KEY: list[EncryptionKey] = []


class Encryptors:
    """Processes that encrypt for one public key; a context manager.

    Args:
        key: the public key; no process ever gets the secret one.
        processes: how many; the default is one for each processor.
    """

    def __init__(self, key: EncryptionKey, *, processes: int | None = None) -> None:
        count = processes or os.cpu_count() or 1
        if not 1 <= count <= 256:
            raise UsageError(f"Expected 1 to 256 processes, got {count}")
        self.key, self.processes = key, count
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(count, mp_context=context, initializer=_start, initargs=(key.to_bytes(),))

    def encrypt(self, polynomials: NDArray[np.int64]) -> Words:
        """As `EncryptionKey.encrypt`."""
        parts = np.array_split(polynomials.astype(np.int32 if np.abs(polynomials).max(initial=0) < 1 << 31 else np.int64), 4 * self.processes)
        made = ring(self.key.parameters)
        found = np.empty((len(polynomials), 2, len(made.moduli), self.key.parameters.degree), np.uint64)
        place = 0
        for words in self._pool.map(_work, [part for part in parts if len(part)]):
            found[place : place + len(words)] = words
            place += len(words)
        return found

    def close(self) -> None:
        """End the processes."""
        self._pool.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise UsageError("A pool of encryptors was to be copied or pickled. Expected it to stay where it is")


def _start(key: bytes) -> None:
    _KEY[:] = [EncryptionKey.from_bytes(key)]


def _work(polynomials: NDArray[np.int64]) -> Words:
    return _KEY[0].encrypt(polynomials.astype(np.int64))
