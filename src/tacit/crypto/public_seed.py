"""Public randomness for public structure: every party expands the same seed to the same bins, splits and shapes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from tacit.crypto.digests import digest, framed
from tacit.errors import UsageError


class PublicSeed:
    """A public 32-byte seed, fixed before any data is seen, that expands **structure only**.

    Whoever knows the roster knows the seed. Noise, Poisson samples, masks and keys must never derive from it: they come from
    ``tacit.randomness.SecureRandom``.

    >>> seed = PublicSeed.of(study="lateral movement", roster=["north", "south"], run="r1")
    >>> seed.generator("splits").integers(0, 100, 3).tolist() == seed.generator("splits").integers(0, 100, 3).tolist()
    True
    """

    def __init__(self, value: bytes) -> None:
        if len(value) != 32:
            raise UsageError(f"Expected 32 bytes of a public seed, got {len(value)}; make one with PublicSeed.of")
        self._value = bytes(value)

    @classmethod
    def of(cls, *, study: str, roster: Sequence[str], run: str) -> PublicSeed:
        """Derive the seed from what all parties agree on: SHA-256 over study, members in any order, and run."""
        return cls(digest({"study": study, "roster": sorted(roster), "run": run}, domain="tacit.public-seed"))

    @property
    def value(self) -> bytes:
        """The 32 bytes."""
        return self._value

    def generator(self, label: str) -> np.random.Generator:
        """Return a fresh generator for one purpose: Philox-4x64 keyed with 128 bits of SHA-256 over label and seed.

        Raw words are the same everywhere; NumPy may change how distributions use them between minor releases, so parties with different
        NumPy compare the digest of the expanded structure before they use it.
        """
        key = hashlib.sha256(framed(b"public-seed", label) + self._value).digest()
        return np.random.Generator(np.random.Philox(key=int.from_bytes(key[:16], "little")))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicSeed) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return f"PublicSeed({self._value.hex()})"
