"""The homomorphic library behind a narrow door: contexts, plaintexts, and ciphertexts as raw words.

``seal-python`` (Microsoft SEAL) makes keys, encrypts, decrypts and multiplies polynomials; its serialised ciphertext is a header followed by
words, first polynomial first, one prime after the other, one word per coefficient. That layout is private to the library: `check` proves it on
an encryption of known numbers before anything relies on it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tacit.encrypted.parameters import Parameters
from tacit.encrypted.words import Words
from tacit.errors import MessageDamaged, MissingExtra, PlanImpossible

_CONTEXTS = 16


def library() -> Any:
    """The library's module.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import seal
    except ImportError as error:
        raise MissingExtra("encrypted", purpose="computing on ciphertexts") from error
    return seal


class Ring:
    """A parameter set made ready: the library's context, and templates of its formats.

    Raises:
        PlanImpossible: the library refuses the parameters.
        MissingExtra: the library is not installed.
    """

    def __init__(self, parameters: Parameters) -> None:
        seal = library()
        self.parameters, self._none = parameters, seal.compr_mode_type.none
        self.context = _context(seal, parameters)
        self.evaluator = seal.Evaluator(self.context)
        data = self.context.first_context_data()
        self.moduli = _values(data)
        self.key_moduli = _values(self.context.key_context_data())
        self.last_moduli = _values(self.context.last_context_data())
        self._plain_head = seal.Plaintext(parameters.degree).to_bytes(self._none)[: -8 * parameters.degree]
        self._heads: dict[int, bytes] = {}
        self.raw = False
        """Whether words are what they are taken for; `tacit.encrypted.selfcheck.check` finds out."""
        self._learn_heads(seal)

    def _learn_heads(self, seal: Any) -> None:
        """The bytes before the words, for each number of primes; where the plaintext is wide, the chain ends before the last prime."""
        made = seal.KeyGenerator(self.context)
        self.public_head = made.create_public_key().to_string()[: -16 * self.parameters.degree * len(self.key_moduli)]
        found = seal.Encryptor(self.context, made.secret_key()).encrypt_symmetric(self.plaintext(np.zeros(self.parameters.degree, np.int64)))
        least = len(self.last_moduli)
        for primes in range(len(self.moduli), least - 1, -1):
            self._heads[primes] = found.to_string(self._none)[: -16 * self.parameters.degree * primes]
            if primes > least:
                found = self.evaluator.mod_switch_to_next(found)

    def plaintext(self, coefficients: NDArray[np.int64]) -> Any:
        """A plaintext of integers, each taken modulo t; int64 ``[N]``."""
        seal = library()
        words = (coefficients & np.int64(self.parameters.plain - 1)).astype("<u8")
        plain = seal.Plaintext()
        plain.load_bytes(self.context, self._plain_head + words.tobytes())
        return plain

    def coefficients(self, plain: Any) -> NDArray[np.int64]:
        """The integers of a plaintext, from -t/2 to t/2 - 1; int64 ``[N]``."""
        count, data = plain.coeff_count(), plain.to_bytes(self._none)
        found = np.zeros(self.parameters.degree, np.int64)
        found[:count] = np.frombuffer(data, "<u8", offset=len(data) - 8 * count)
        half = self.parameters.plain // 2
        return np.where(found >= half, found - self.parameters.plain, found)

    def words(self, cipher: Any) -> Words:
        """The words of a ciphertext: uint64 ``[2, primes, N]``."""
        data, degree = cipher.to_string(self._none), self.parameters.degree
        primes = (len(data) - 64) // (16 * degree)
        return np.frombuffer(data, "<u8", offset=len(data) - 16 * degree * primes).reshape(2, primes, degree)

    def cipher(self, words: Words) -> Any:
        """The ciphertext with these words: uint64 ``[2, primes, N]``, below their primes."""
        return self.context.from_cipher_str(self._heads[words.shape[1]] + np.ascontiguousarray(words, "<u8").tobytes())

    def require_reduced(self, words: Words, moduli: tuple[int, ...]) -> None:
        """Raise unless all words ``[..., primes, N]`` are below their primes.

        Raises:
            MessageDamaged: one is not.
        """
        for place, modulus in enumerate(moduli):
            if words.size and int(words[..., place, :].max()) >= modulus:
                raise MessageDamaged("Expected ciphertexts with coefficients below their primes; at least one is not. Encrypt again")


@lru_cache(maxsize=_CONTEXTS)
def ring(parameters: Parameters) -> Ring:
    """The ring of a parameter set, made once in a process and checked."""
    from tacit.encrypted.selfcheck import check

    made = Ring(parameters)
    check(made)
    return made


def _context(seal: Any, parameters: Parameters) -> Any:
    asked = seal.EncryptionParameters(seal.scheme_type.bfv)
    asked.set_poly_modulus_degree(parameters.degree)
    asked.set_coeff_modulus(seal.CoeffModulus.Create(parameters.degree, list(parameters.bits)))
    asked.set_plain_modulus(parameters.plain)
    context = seal.SEALContext(asked, True, seal.sec_level_type.tc128)
    if not context.parameters_set():
        raise PlanImpossible(f"The library refuses N={parameters.degree} with {sum(parameters.bits)} bits: {context.parameter_error_name()}")
    return context


def _values(data: Any) -> tuple[int, ...]:
    return tuple(int(modulus.value()) for modulus in data.parms().coeff_modulus())
