"""The one source of secret randomness: an AES-256-CTR keystream keyed by the operating system."""

from __future__ import annotations

import builtins
import hashlib
import os
import threading
import weakref
from typing import NoReturn

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes

from tacit.errors import EntropyError, UsageError

KEY_BYTES = 32
COUNTER_BYTES = 16
REKEY_BYTES = 1 << 24
_ZEROS = bytes(1 << 17)
_SLACK_WORDS = 2  # update_into asks for one block more than it writes


class SecureRandom:
    """A cryptographically secure generator: AES-256 in counter mode (NIST SP 800-38A, 6.5).

    Key and first counter come from ``os.urandom`` and from nothing else. They are replaced every 16 MiB, so that an image of this
    process's memory reveals little of what was drawn before, and in a forked child, so that parent and child never share a keystream.
    Threads may share an instance. It cannot be pickled or copied: a copy would repeat the noise.

    >>> source = SecureRandom()
    >>> len(source.bytes(10)), source.uint64(3).dtype, source.deterministic
    (10, dtype('uint64'), False)

    Guarantees
        The output is indistinguishable from uniform to anyone without the key, as far as AES-256 is a pseudo-random permutation
        (switching to a function costs at most 2^-89 per key). A snapshot of a virtual machine that is resumed twice repeats the keystream
        until the next key: do not clone a running owner's machine.

    Raises:
        EntropyError: the operating system gave no randomness; there is no fallback.
    """

    def __init__(self) -> None:
        self._seed: builtins.bytes | None = None
        self._home = self._pid = os.getpid()
        self._drawn = self._generation = 0
        self._lock = threading.Lock()
        self._cipher: CipherContext | None = self._keyed()
        _LIVE.add(self)

    @classmethod
    def for_testing(cls, seed: int) -> SecureRandom:
        """Return a generator whose output ``seed`` fixes: for tests, labs and benchmarks only; what it protects carries no guarantee.

        In a forked child it leaves the sequence, and is no longer reproducible.

        >>> SecureRandom.for_testing(7).bytes(4) == SecureRandom.for_testing(7).bytes(4)
        True
        >>> SecureRandom.for_testing(7).deterministic
        True
        """
        made = cls()
        made._seed, made._generation = b"tacit testing source 1|%d" % int(seed), 0
        made._cipher = made._keyed()
        return made

    @property
    def deterministic(self) -> bool:
        """Whether a seed fixes the output, so that nothing made with it carries a guarantee."""
        return self._seed is not None

    def bytes(self, n: int) -> builtins.bytes:
        """Return ``n`` secret uniform bytes."""
        return self.uint64(-(-_checked(n) // 8)).tobytes()[:n]

    def uint64(self, n: int) -> npt.NDArray[np.uint64]:
        """Return ``n`` secret uniform 64-bit words, shape ``[n]``."""
        out = np.empty(_checked(n) + _SLACK_WORDS, np.uint64)
        view = out.view(np.uint8).data
        with self._lock:
            for start in range(0, 8 * n, len(_ZEROS)):
                size = min(len(_ZEROS), 8 * n - start)
                self._keystream(size).update_into(_ZEROS[:size], view[start:])
        return out[:n]

    def _keystream(self, size: int) -> CipherContext:
        if self._cipher is None or self._pid != os.getpid() or self._drawn + size > REKEY_BYTES:
            self._cipher = self._keyed()
        self._drawn += size
        return self._cipher

    def _keyed(self) -> CipherContext:
        material = self._material()
        self._pid, self._drawn, self._generation = os.getpid(), 0, self._generation + 1
        return Cipher(algorithms.AES(material[:KEY_BYTES]), modes.CTR(material[KEY_BYTES:])).encryptor()

    def _material(self) -> builtins.bytes:
        if self._seed is None:
            return _entropy(KEY_BYTES + COUNTER_BYTES)
        place = 0 if os.getpid() == self._home else os.getpid()
        return hashlib.shake_256(b"%s|%d|%d" % (self._seed, self._generation, place)).digest(KEY_BYTES + COUNTER_BYTES)

    def _forget(self) -> None:
        self._lock = threading.Lock()  # another thread of the parent may have held the old one
        self._cipher = None

    def __reduce__(self) -> NoReturn:
        raise UsageError("A SecureRandom was to be copied or pickled. Expected it to stay in its process; make a new one there")

    def __repr__(self) -> str:
        return f"SecureRandom(deterministic={self.deterministic})"


_LIVE: weakref.WeakSet[SecureRandom] = weakref.WeakSet()


def _forget_all() -> None:
    for source in list(_LIVE):
        source._forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


def _entropy(size: int) -> bytes:
    advice = "Expected the operating system's secure randomness; check /dev/urandom, then run again"
    try:
        material = os.urandom(size)
    except (OSError, NotImplementedError) as error:
        raise EntropyError(f"os.urandom({size}) failed. {advice}") from error
    if len(material) != size:
        raise EntropyError(f"os.urandom({size}) gave {len(material)} bytes. {advice}")
    return material


def _checked(n: int) -> int:
    if n < 0:
        raise UsageError(f"Expected n={n} >= 0; pass the number of values to draw")
    return n
