"""Which ring, moduli and plaintext modulus, and how much noise they are proved to bear.

Everything here is BFV with coefficients as slots: a plaintext is a polynomial of degree below N with coefficients modulo t, and only sums with
integer weights are computed. Security is that of the HomomorphicEncryption.org standard (ternary secrets, 128 bits, classical): log2 of all moduli
together is at most 54, 109, 218 for N = 2048, 4096, 8192; the library refuses more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tacit.errors import PlanImpossible, VerificationError

SECURITY_BITS = 128
MOST_BITS = {2048: 54, 4096: 109, 8192: 218}
"""log2 of all moduli together that keeps 128 bits of security, by ring degree."""

FAILURE_BITS = 60
"""A coefficient is wrong with probability below 2^-60 for each ciphertext."""

FLOOD_BITS = 40
"""What flooding leaves of the noise is at statistical distance below 2^-40 for each ciphertext."""

_TAIL = math.sqrt(2 * math.log(2) * (FAILURE_BITS + 14))
"""How many standard deviations a sub-Gaussian may stray, for 2^-60 over 8,192 coefficients and both signs."""

_ERROR_VARIANCE = 10.5
"""Of one coefficient of a fresh error: the centred binomial of 42 bits that SEAL draws; also its sub-Gaussian proxy."""

_SPREAD = 32.0
"""What a product with a polynomial can concentrate: see `fresh_deviation`."""


@dataclass(frozen=True)
class Parameters:
    """One set of BFV parameters.

    Args:
        degree: N, coefficients of a plaintext.
        bits: of every prime of the modulus; the last of several is the library's special prime and carries no data.
        plain_bits: the plaintext modulus t is 2 to this power; sums are exact from -t/2 to t/2 - 1.

    Raises:
        PlanImpossible: the set is below 128 bits of security or cannot hold a plaintext.
    """

    degree: int
    bits: tuple[int, ...]
    plain_bits: int

    def __post_init__(self) -> None:
        most = MOST_BITS.get(self.degree, 0)
        if sum(self.bits) > most or not all(16 <= bits <= 60 for bits in self.bits):
            raise PlanImpossible(f"Expected at most {most} bits of modulus for N={self.degree} for 128 bits of security, got {sum(self.bits)}")
        if not 2 <= self.plain_bits <= min(48, self.data_bits - 4):
            raise PlanImpossible(f"Expected a plaintext of 2 to {min(48, self.data_bits - 4)} bits, got {self.plain_bits}; quantise more coarsely")

    @property
    def data_primes(self) -> int:
        """Primes that a ciphertext has."""
        return max(1, len(self.bits) - 1)

    @property
    def data_bits(self) -> int:
        """log2 of a ciphertext's modulus, rounded down a little."""
        return sum(self.bits[: self.data_primes])

    @property
    def plain(self) -> int:
        """The plaintext modulus t."""
        return 1 << self.plain_bits

    @property
    def polynomial_bytes(self) -> int:
        """Bytes of one polynomial modulo all data primes."""
        return 8 * self.degree * self.data_primes

    def room(self, primes: int | None = None) -> float:
        """The largest noise that still decrypts, with this many data primes left."""
        used = self.bits[: self.data_primes if primes is None else primes]
        return float(2.0 ** (sum(used) - len(used) / 64 - self.plain_bits - 1) - 2)

    def fresh_deviation(self, *, symmetric: bool, product: bool) -> float:
        """Sub-Gaussian parameter of one coefficient of fresh noise, for weights of length one that are met with it.

        Encrypted with the secret key, it is the error alone. With the public key it is e0 + e1·s + u·e: 1 + N + 2N errors at most (the length of the
        public key's error is at most twice its mean but with probability below 2^-128). A special prime divides that and leaves the rounding,
        (1 + N)/12. In a product with a polynomial the terms e1·s of neighbouring coefficients are not independent; the length of a fixed polynomial
        times a random ternary one is at most √32 times its mean (Hanson and Wright's inequality, with the largest spectrum there is), but with
        probability below 2^-60.
        """
        if symmetric:
            return math.sqrt(_ERROR_VARIANCE)
        spread = _SPREAD if product else 1.0
        variance = _ERROR_VARIANCE * (1 + 3 * self.degree)
        if len(self.bits) > 1:
            variance = variance / 4.0 ** (self.bits[-1] - 1) + self.rounding_deviation**2
        return math.sqrt(variance * spread)

    @property
    def rounding_deviation(self) -> float:
        """Of the noise that dividing by one prime adds: both polynomials are rounded, one meets the secret."""
        return math.sqrt((1 + self.degree) / 12)

    def to_dict(self) -> dict[str, Any]:
        """Plain form."""
        return {"degree": self.degree, "bits": list(self.bits), "plain_bits": self.plain_bits}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Parameters:
        """The parameters that `to_dict` described, which must be one of the sets that Tacit chooses from.

        Raises:
            VerificationError: they are another's.
            PlanImpossible: they are insecure.
        """
        found = cls(int(data["degree"]), tuple(int(bits) for bits in data["bits"]), int(data["plain_bits"]))
        if (found.degree, found.bits) not in RINGS:
            raise VerificationError("Expected one of Tacit's own parameter sets; this message names another. Update Tacit or fetch it again")
        return found


RINGS = ((2048, (54,)), (4096, (54, 55)), (4096, (46, 47, 16)), (8192, (54, 54, 54, 55)))
"""Ring degree and bits of the primes, cheapest first."""


def tail(deviation: float) -> float:
    """The bound that a sub-Gaussian with this parameter exceeds in none of a ciphertext's coefficients, but with probability 2^-60."""
    return _TAIL * deviation
