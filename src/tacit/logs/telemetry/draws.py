"""Numbers that an event has by its own number: the same however events are cut into batches, and in whatever order they are asked for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.uint64]
Codes = NDArray[np.int64]

_ODD = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)


def mixed(values: Numbers) -> Numbers:
    """Every 64-bit number as another one that looks random: the finaliser of SplitMix64 (Steele, Lea & Flood 2014, section 2)."""
    with np.errstate(over="ignore"):
        values = values + np.uint64(_ODD[0])
        values = (values ^ (values >> np.uint64(30))) * np.uint64(_ODD[1])
        values = (values ^ (values >> np.uint64(27))) * np.uint64(_ODD[2])
        return values ^ (values >> np.uint64(31))


class Draws:
    """Public pseudorandom numbers for events ``numbers`` (uint64 ``[events]``) under a public seed.

    >>> draws = Draws(np.array([7, 8], np.uint64), seed=1)
    >>> bool((draws.below(10, "port") == Draws(np.array([7, 8], np.uint64), seed=1).below(10, "port")).all())
    True
    """

    def __init__(self, numbers: Numbers, *, seed: int) -> None:
        self._base = mixed(numbers + np.uint64(seed % 2**64))

    def raw(self, purpose: str) -> Numbers:
        """64 bits per event; other purposes give other bits."""
        salt = np.uint64(int.from_bytes(purpose.encode()[:8].ljust(8, b"\0"), "little"))
        return mixed(self._base ^ salt)

    def below(self, bound: int | Codes, purpose: str) -> Codes:
        """Integers from 0 to ``bound`` - 1; with a bias below 2⁻³², which test data can bear."""
        return ((self.raw(purpose) >> np.uint64(32)) * np.asarray(bound, np.uint64) >> np.uint64(32)).astype(np.int64)

    def share(self, purpose: str) -> NDArray[np.float64]:
        """Uniform in [0, 1)."""
        return np.asarray(self.raw(purpose) >> np.uint64(11), np.float64) * 2.0**-53
