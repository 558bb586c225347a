"""Private weights meet ciphertexts: as a matrix product on words for many records, as a product of polynomials for one."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tacit.encrypted.flooding import flood
from tacit.encrypted.keys import EncryptionKey
from tacit.encrypted.library import Ring
from tacit.encrypted.plan import Plan
from tacit.encrypted.selfcheck import mixed_words
from tacit.encrypted.words import Weights, Words, add, lifted


class Evaluator(Protocol):
    """Scores the ciphertexts of one block: words ``[ciphertexts, 2, primes, N]`` to ``[outputs, 2, primes, N]``."""

    def __call__(self, words: Words) -> Words:
        """The scores' ciphertexts."""
        ...


class BatchEvaluator:
    """One ciphertext per column, a record per coefficient: each score is a weighted sum of ciphertexts.

    Args:
        made: the ring.
        weights: int64 ``[outputs, columns]``.
        bias: int64 ``[outputs]``.
    """

    def __init__(self, made: Ring, weights: Weights, bias: NDArray[np.int64]) -> None:
        self._ring, self._weights, self._bias = made, weights, bias

    def __call__(self, words: Words) -> Words:
        """The scores' ciphertexts."""
        return self._on_words(words) if self._ring.raw else self._by_library(words)

    def _on_words(self, words: Words) -> Words:
        parts = [mixed_words(words, self._weights, place=place, modulus=modulus) for place, modulus in enumerate(self._ring.moduli)]
        found = np.stack(parts, axis=2) if len(parts) > 1 else parts[0][:, :, None]
        for output, value in enumerate(self._bias.tolist()):
            for place, addend in enumerate(lifted(value, self._ring.parameters.plain, self._ring.moduli)):
                modulus = self._ring.moduli[place]
                found[output, 0, place] = add(found[output, 0, place], np.full(found.shape[-1], addend, np.uint64), modulus)
        return found

    def _by_library(self, words: Words) -> Words:
        evaluator, ciphers = self._ring.evaluator, [self._ring.cipher(one) for one in words]
        return np.stack([self._sum(evaluator, ciphers, *pair) for pair in zip(self._weights, self._bias.tolist(), strict=True)])

    def _sum(self, evaluator: Any, ciphers: list[Any], weights: NDArray[np.int64], bias: int) -> Words:
        total = None
        for cipher, weight in zip(ciphers, weights.tolist(), strict=True):
            if weight:
                scaled = evaluator.multiply_plain(cipher, self._ring.plaintext(_constant(self._ring, weight)))
                total = scaled if total is None else evaluator.add(total, scaled)
        everywhere = np.full(self._ring.parameters.degree, bias, np.int64)
        return self._ring.words(evaluator.add_plain(total, self._ring.plaintext(everywhere)))


class SingleEvaluator:
    """One record's columns are coefficients: the score is the constant coefficient of a product with the weights, written backwards.

    Args:
        made: the ring.
        weights: int64 ``[outputs, columns]``.
        bias: int64 ``[outputs]``.
    """

    def __init__(self, made: Ring, weights: Weights, bias: NDArray[np.int64]) -> None:
        self._ring = made
        self._factors = [[self._transformed(part) for part in _backwards(own, made.parameters.degree)] for own in weights]
        self._bias = [made.plaintext(_constant(made, value)) for value in bias.tolist()]

    def _transformed(self, part: NDArray[np.int64]) -> Any:
        """In the form in which products are pointwise; nothing where all weights are zero."""
        if not part.any():
            return None
        plain = self._ring.plaintext(part)
        self._ring.evaluator.transform_to_ntt_inplace(plain, self._ring.context.first_parms_id())
        return plain

    def __call__(self, words: Words) -> Words:
        """The scores' ciphertexts."""
        evaluator = self._ring.evaluator
        ciphers = [evaluator.transform_to_ntt(self._ring.cipher(one)) for one in words]
        return np.stack([self._score(ciphers, output) for output in range(len(self._factors))])

    def _score(self, ciphers: list[Any], output: int) -> Words:
        evaluator, total = self._ring.evaluator, None
        for cipher, factor in zip(ciphers, self._factors[output], strict=True):
            if factor is not None:
                product = evaluator.multiply_plain(cipher, factor)
                total = product if total is None else evaluator.add(total, product)
        return self._ring.words(evaluator.add_plain(evaluator.transform_from_ntt(total), self._bias[output]))


def hidden(made: Ring, words: Words, *, kept: int, plan: Plan, key: EncryptionKey) -> Words:
    """One answer ``[2, primes, N]``, re-randomised, with the noise of its first ``kept`` coefficients flooded; the others must not be sent."""
    zero, drawn = key.encrypt_zero(), flood(kept, plan.flood_bits, made.moduli)
    found = np.empty_like(words)
    for place, modulus in enumerate(made.moduli):
        found[:, place] = add(words[:, place], zero[:, place], modulus)
        found[0, place, :kept] = add(found[0, place, :kept], drawn[place], modulus)
    return found


def switched(made: Ring, words: Words, primes: int) -> Words:
    """The same score with fewer primes."""
    if words.shape[1] == primes:
        return words
    cipher = made.cipher(words)
    for _ in range(words.shape[1] - primes):
        cipher = made.evaluator.mod_switch_to_next(cipher)
    return made.words(cipher)


def _constant(made: Ring, value: int) -> NDArray[np.int64]:
    found = np.zeros(made.parameters.degree, np.int64)
    found[0] = value
    return found


def _backwards(weights: NDArray[np.int64], degree: int) -> list[NDArray[np.int64]]:
    """Polynomials whose products with a record's have its score as constant coefficient, as x^N = -1: w_0 at 0, and -w_k at N - k."""
    padded = np.zeros(-(-len(weights) // degree) * degree, np.int64)
    padded[: len(weights)] = weights
    parts = padded.reshape(-1, degree)
    return [np.concatenate([part[:1], -part[:0:-1]]) for part in parts]
