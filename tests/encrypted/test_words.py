from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.encrypted.flooding import flood, flood_bits_for, reach
from tacit.encrypted.words import add, lifted, limb_bits, mix, shifted
from tacit.errors import PlanImpossible

PRIMES = (97, 70368743669761, 140737488273409, 18014398509404161, (1 << 59) + 55)


def exact(words: np.ndarray, weights: np.ndarray, modulus: int) -> list[list[int]]:
    columns = [[int(word) for word in row] for row in words]
    return [[sum(int(w) * c[place] for w, c in zip(row, columns, strict=True)) % modulus for place in range(words.shape[1])] for row in weights]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(PRIMES[:4]), st.integers(1, 40), st.integers(1, 3), st.sampled_from([1, 1 << 7, 1 << 15, 1 << 20]), st.integers(0, 2**32))
def test_a_product_of_words_is_the_product_of_integers(prime: int, inputs: int, outputs: int, size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    words = rng.integers(0, prime, (inputs, 7), dtype=np.uint64)
    words[0, :2] = prime - 1
    weights = rng.integers(-size, size + 1, (outputs, inputs))
    assert mix(words, weights, prime).tolist() == exact(words, weights, prime)


@pytest.mark.parametrize("prime", PRIMES[1:4])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_weights_there_may_be_are_exact(prime: int, sign: int) -> None:
    for reach_ in ((1 << 21) - 1, 1 << 21, (1 << 26) - 1):
        words = np.full((1, 300), prime - 1, np.uint64)
        assert mix(words, np.array([[sign * reach_]]), prime)[0, 0] == (sign * reach_ * (prime - 1)) % prime


def test_one_more_is_refused() -> None:
    assert limb_bits(np.array([[(1 << 26) - 1]])) == 27
    with pytest.raises(PlanImpossible, match="2\\^26"):
        limb_bits(np.array([[1 << 26]]))
    with pytest.raises(PlanImpossible, match="2\\^54"):
        mix(np.zeros((1, 1), np.uint64), np.array([[1]]), PRIMES[4])


@given(st.sampled_from(PRIMES), st.integers(0, 70), st.integers(0, 2**62))
def test_shifts_and_sums(prime: int, bits: int, value: int) -> None:
    word = np.array([value % prime], np.uint64)
    assert int(shifted(word, bits, prime)[0]) == (value << bits) % prime
    assert int(add(word, word, prime)[0]) == 2 * (value % prime) % prime


@given(st.integers(-(2**20), 2**20), st.integers(2, 30))
def test_a_lifted_constant_rounds_to_itself(value: int, bits: int) -> None:
    moduli, plain = (70368743669761, 140737488273409), 1 << bits
    whole = moduli[0] * moduli[1]
    first, second = lifted(value, plain, moduli)
    joined = next(iter({(first + moduli[0] * k) % whole for k in [((second - first) * pow(moduli[0], -1, moduli[1])) % moduli[1]]}))
    assert (2 * joined * plain + whole) // (2 * whole) % plain == value % plain


@pytest.mark.parametrize("bits", [1, 15, 16, 33, 64, 70])
def test_flooding_is_one_integer_modulo_every_prime_and_stays_in_reach(bits: int) -> None:
    moduli = (70368743669761, 140737488273409)
    first, second = (part.astype(object) for part in flood(500, bits, moduli))
    whole, inverse = moduli[0] * moduli[1], pow(moduli[0], -1, moduli[1])
    values = [int(a) + moduli[0] * (((int(b) - int(a)) * inverse) % moduli[1]) for a, b in zip(first, second, strict=True)]
    centred = np.array([float(value if value < whole // 2 else value - whole) for value in values])
    assert np.abs(centred).max() <= reach(bits)
    if bits > 1:  # variance W²/4 and mean near zero: ten standard errors
        scale = centred / 2.0**bits
        assert abs(scale.mean() + 1.5 / 2.0**bits) < 10 * 0.5 / np.sqrt(500)
        assert abs((scale**2).mean() - 0.25) < 10 * 0.25 * np.sqrt(2 / 500)


def test_flooding_is_wide_enough_for_the_distance_it_states() -> None:
    """The exact distance of two shifted discrete sums of three uniforms, for a width that can be enumerated."""
    width = 1 << 8
    one = np.ones(width) / width
    density = np.convolve(np.convolve(one, one), one)
    for shift in (1, 3, 8):
        padded = np.zeros(len(density) + shift)
        padded[: len(density)] += density
        padded[shift:] -= density
        distance = np.abs(padded).sum() / 2
        assert distance <= 0.5 * np.sqrt(4.57) * shift / width
    assert 2.0 ** flood_bits_for(1000.0) >= 0.5 * np.sqrt(4.57) * 1000 * 2.0**40
