"""Noise that hides a model in the noise of its answers.

What decrypting leaves beside the score depends on the model. Adding a sum of three uniform integers from a range that is W wide hides it: two such
sums, one shifted by a vector e, are at statistical distance at most ½·√4.57·|e|/W (half the root of the Fisher information for location of the sum
of three uniforms, 4.562/W², times the length; the root of the information of independent coordinates adds up as lengths do). The support ends at
1.5 W, so that it never decrypts wrongly where there is room for that much; a Gaussian would need 2.3 times the room.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence

import numpy as np

from tacit.encrypted.parameters import FLOOD_BITS
from tacit.encrypted.words import Words, add

_FACTOR = 0.5 * math.sqrt(4.57)
_LIMB = 16


def flood_bits_for(length: float) -> int:
    """log2 of the width W that puts noise of this Euclidean length at statistical distance 2^-40.

    >>> flood_bits_for(2.0**20)
    61
    """
    return math.ceil(math.log2(_FACTOR * length) + FLOOD_BITS)


def reach(flood_bits: int) -> float:
    """The largest absolute value that is drawn."""
    return 1.5 * 2.0**flood_bits


def flood(count: int, flood_bits: int, moduli: Sequence[int]) -> list[Words]:
    """``count`` draws, each modulo every prime: sums of three uniform integers from -W/2 to W/2 - 1, from the operating system's randomness.

    Args:
        count: of coefficients.
        flood_bits: log2 of W.
        moduli: primes below 2^47, or any below 2^60 where W is small.
    """
    limbs = _limbs(count, flood_bits)
    offset = 3 * (1 << (flood_bits - 1))
    return [_reduced(limbs, modulus, (-offset) % modulus) for modulus in moduli]


def _limbs(count: int, bits: int) -> list[Words]:
    """Sums of three uniform integers of so many bits, as 16-bit limbs with carries left in them, the highest first."""
    widths = [bits % _LIMB, *[_LIMB] * (bits // _LIMB)] if bits % _LIMB else [_LIMB] * (bits // _LIMB)
    drawn = np.frombuffer(secrets.token_bytes(2 * 3 * count * len(widths)), "<u2").reshape(len(widths), 3, count)
    return [(part & np.uint16((1 << width) - 1)).sum(axis=0, dtype=np.uint64) for part, width in zip(drawn, widths, strict=True)]


def _reduced(limbs: Sequence[Words], modulus: int, offset: int) -> Words:
    """Horner's rule modulo a prime, at most 63 bits at a time."""
    step = min(_LIMB, 63 - modulus.bit_length())
    total = np.zeros_like(limbs[0])
    for limb in limbs:
        for done in range(0, _LIMB, step):
            total = (total << np.uint64(min(step, _LIMB - done))) % np.uint64(modulus)
        total = (total + limb) % np.uint64(modulus)
    return add(total, np.full_like(total, offset), modulus)
