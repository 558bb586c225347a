"""Sums of ciphertexts with integer weights, computed on their raw words.

A ciphertext is two polynomials; each coefficient is one word for every prime. A weighted sum of ciphertexts is the same weighted sum of each word
modulo its prime, on words that everybody may see: a matrix product (Bae, Cheon, Hanrot, Park, Stehlé, CRYPTO 2024, reduce it to products in the clear
in the same way). It is exact: for many outputs in double precision, with words split into halves so short that no sum of products reaches 2^53; for
few in 64-bit integers that wrap around, with double precision for the quotient only.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tacit.errors import PlanImpossible

Words = NDArray[np.uint64]
Weights = NDArray[np.int64]

EXACT = 1 << 53
_WORD, _FEW = 54, 3
_TILE, _COLUMNS = 2_048, 128
_LOW = 0 if sys.byteorder == "little" else 1
_SPACE = threading.local()


def limb_bits(weights: Weights) -> int:
    """How many low bits of a word go into the first half: 32 where that is exact, else 27.

    Raises:
        PlanImpossible: the weights of one output add up to 2^26 or more.
    """
    reach = int(np.abs(weights).sum(axis=1, dtype=np.int64).max(initial=0))
    for bits in (32, 27):
        if reach << bits < EXACT:
            return bits
    raise PlanImpossible(f"Expected weights that add up to less than 2^26 for each output, got {reach:,}; quantise more coarsely")


def mix(words: Words, weights: Weights, modulus: int) -> Words:
    """``weights @ words`` modulo a prime below 2^54.

    >>> mix(np.array([[5, 6], [7, 8]], np.uint64), np.array([[1, -1], [2, 3]]), 97).tolist()
    [[95, 95], [31, 36]]

    Args:
        words: uint64 ``[inputs, places]``, each below the modulus.
        weights: int64 ``[outputs, inputs]``.
        modulus: the prime.

    Raises:
        PlanImpossible: the products would not be exact.
    """
    if modulus >= 1 << _WORD:
        raise PlanImpossible(f"Expected a prime below 2^{_WORD}, got one of {modulus.bit_length()} bits; its words have halves too long to be exact")
    bits = limb_bits(weights)
    return _wrapped(words, weights, modulus) if len(weights) < _FEW else _halved(words, weights, bits, modulus)


def _wrapped(words: Words, weights: Weights, modulus: int) -> Words:
    """For few outputs: the sums modulo 2^64, and in double precision what they are about; the quotient by the prime is at most one off."""
    total, about = np.zeros((len(weights), words.shape[1]), np.int64), np.zeros((len(weights), words.shape[1]))
    factors = weights.astype(np.float64)
    for columns, places in _tiles(words):
        block = words[columns, places].view(np.int64)
        (numbers,) = _space(1, *block.shape)
        numbers[...] = block
        for own, exact, near, weight in zip(factors, total, about, weights, strict=True):
            near[places] += own[columns] @ numbers
            exact[places] += np.einsum("k,km->m", weight[columns], block)
    return _reduced(total - np.rint(about / modulus).astype(np.int64) * np.int64(modulus), modulus)


def _halved(words: Words, weights: Weights, bits: int, modulus: int) -> Words:
    """For many outputs: two exact products in double precision, of the low and the high halves of all words."""
    factors = weights.astype(np.float64)
    low, high = np.zeros((len(weights), words.shape[1])), np.zeros((len(weights), words.shape[1]))
    for columns, places in _tiles(words):
        block = words[columns, places]
        one, two = _space(2, *block.shape)
        _split(block, bits, one, two)
        low[:, places] += factors[:, columns] @ one
        high[:, places] += factors[:, columns] @ two
    quotient = np.rint(high * (2.0**bits / modulus)).astype(np.int64)
    return _reduced((high.astype(np.int64) << np.int64(bits)) - quotient * np.int64(modulus) + low.astype(np.int64), modulus)


def _tiles(words: Words) -> Iterator[tuple[slice, slice]]:
    """Pieces that stay in the cache: some inputs, some places."""
    inputs, places = words.shape
    for first in range(0, inputs, _COLUMNS):
        for start in range(0, places, _TILE):
            yield slice(first, min(first + _COLUMNS, inputs)), slice(start, min(start + _TILE, places))


def _space(parts: int, inputs: int, places: int) -> NDArray[np.float64]:
    """Room for a tile that is kept by each thread, so that no page is touched for the first time again and again."""
    kept = getattr(_SPACE, "kept", None)
    if kept is None or kept.size < parts * inputs * places:
        _SPACE.kept = kept = np.empty(2 * _COLUMNS * _TILE)
    return np.asarray(kept[: parts * inputs * places].reshape(parts, inputs, places))


def _split(block: Words, bits: int, low: NDArray[np.float64], high: NDArray[np.float64]) -> None:
    if bits == 32:
        pairs = block.view(np.uint32)
        low[...], high[...] = pairs[:, _LOW::2], pairs[:, 1 - _LOW :: 2]
    else:
        low[...] = (block & np.uint64((1 << bits) - 1)).view(np.int64)
        high[...] = (block >> np.uint64(bits)).view(np.int64)


def _reduced(left: Weights, modulus: int) -> Words:
    """What a quotient left, within the modulus and 2^54 of zero, modulo the prime; 64-bit arithmetic that wraps around got it exactly."""
    above = modulus * (2 + (1 << _WORD) // modulus)
    return np.asarray((left + np.int64(above)).view(np.uint64) % np.uint64(modulus))


def shifted(words: Words, bits: int, modulus: int) -> Words:
    """``words * 2^bits`` modulo a prime below 2^60."""
    step = 63 - modulus.bit_length()
    for done in range(0, bits, step):
        words = (words << np.uint64(min(step, bits - done))) % np.uint64(modulus)
    return words


def add(one: Words, two: Words, modulus: int) -> Words:
    """The sum of words below a prime, modulo it."""
    total = one + two
    return np.where(total >= np.uint64(modulus), total - np.uint64(modulus), total)


def lifted(value: int, plain: int, moduli: Sequence[int]) -> list[int]:
    """What a ciphertext's first polynomial gains where a constant is added to a coefficient: q·value/t, rounded, modulo each prime."""
    whole = 1
    for modulus in moduli:
        whole *= modulus
    raised = (2 * whole * value + plain) // (2 * plain)
    return [raised % modulus for modulus in moduli]
