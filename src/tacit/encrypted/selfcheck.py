"""Does the library write ciphertexts as we believe? Asked once for each parameter set, with a key that is thrown away.

Three encryptions of known numbers, their weighted sum with a constant computed on raw words, and the sum decrypted by the library. Where words are
not what they are taken for, sums fall back to the library's own products, which are slower and need no words; where not even the bytes of one
ciphertext make a ciphertext again, nothing can be sent and the library is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tacit.encrypted.words import add, lifted, mix
from tacit.errors import PlanImpossible

if TYPE_CHECKING:
    from tacit.encrypted.library import Ring

_WEIGHTS = np.array([[3, -2, 1]])
_CONSTANT = 1


def check(ring: Ring) -> None:
    """Set ``ring.raw`` to whether words may be computed with.

    Raises:
        PlanImpossible: ciphertexts cannot be taken apart and put together.
    """
    from tacit.encrypted.library import library

    seal = library()
    made = seal.KeyGenerator(ring.context)
    encryptor, decryptor = seal.Encryptor(ring.context, made.secret_key()), seal.Decryptor(ring.context, made.secret_key())
    degree = ring.parameters.degree
    known = (np.arange(3 * degree).reshape(3, degree) * 7919) % min(ring.parameters.plain // 16 + 1, 251)
    ciphers = [encryptor.encrypt_symmetric(ring.plaintext(row)) for row in known]
    if not _round_trip(ring, decryptor, ciphers[0], known[0]):
        raise PlanImpossible("This version of seal-python writes ciphertexts in another way; install one that Tacit's self-check accepts (4.4)")
    ring.raw = _words_add_up(ring, decryptor, ciphers, _WEIGHTS[0] @ known + _CONSTANT)


def _round_trip(ring: Ring, decryptor: Any, cipher: Any, known: Any) -> bool:
    try:
        return bool((ring.coefficients(decryptor.decrypt(ring.cipher(ring.words(cipher)))) == known).all())
    except (ValueError, RuntimeError, KeyError):
        return False


def _words_add_up(ring: Ring, decryptor: Any, ciphers: list[Any], expected: Any) -> bool:
    try:
        words = np.stack([ring.words(cipher) for cipher in ciphers])
        total = np.stack([mixed_words(words, _WEIGHTS, place=place, modulus=modulus) for place, modulus in enumerate(ring.moduli)], axis=2)[0]
        for place, addend in enumerate(lifted(_CONSTANT, ring.parameters.plain, ring.moduli)):
            total[0, place] = add(total[0, place], np.full(ring.parameters.degree, addend, np.uint64), ring.moduli[place])
        found = ring.coefficients(decryptor.decrypt(ring.cipher(total)))
    except (ValueError, RuntimeError, IndexError):
        return False
    half = ring.parameters.plain // 2
    return bool((found == (expected + half) % ring.parameters.plain - half).all())


def mixed_words(words: Any, weights: Any, *, place: int, modulus: int) -> Any:
    """Weighted sums of ciphertexts' words ``[inputs, 2, primes, N]`` modulo one prime: uint64 ``[outputs, 2, N]``."""
    inputs, _, primes, degree = words.shape
    if primes == 1:
        return mix(words.reshape(inputs, 2 * degree), weights, modulus).reshape(-1, 2, degree)
    return np.stack([mix(words[:, half, place, :], weights, modulus) for half in range(2)], axis=1)
