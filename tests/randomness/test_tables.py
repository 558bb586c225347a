"""The tables against 60-digit arithmetic, and the sampler against a naive reading of the same table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise

import mpmath
import numpy as np
import pytest
from scipy.signal import fftconvolve
from scipy.special import ndtr

from tacit.randomness import SecureRandom, tables
from tacit.randomness.gaussian import Levels, Sampler
from tacit.randomness.tables import ARITHMETIC_DISTANCE, COLUMNS, REACH, ROUNDING_DISTANCE, TOTAL


def _distance(weights: list[int], exact: list[mpmath.mpf]) -> float:
    """Total variation between integer weights and exact masses at 0, 1, 2, ... (symmetric; the tail counts as missing)."""
    side = [abs(mpmath.mpf(weights[REACH + x]) / TOTAL - p) for x, p in enumerate(exact)]
    lost = 1 - exact[0] - 2 * sum(exact[1:])
    return float((side[0] + 2 * sum(side[1:]) + abs(lost)) / 2)


def _rounding(masses: list[int]) -> float:
    """The proved bound for as many cells as can be above half a unit, the stated one for arithmetic, and the tail beyond 9.6 sigma."""
    cells = sum(mass * TOTAL > sum(masses) for mass in masses)
    assert cells * 2.0**-128 <= ROUNDING_DISTANCE
    return cells * 2.0**-128 + ARITHMETIC_DISTANCE + 2.0**-69


def _reached(sigma: float) -> int:
    return min(REACH, int(14 * sigma) + 4)


@pytest.mark.parametrize("sigma", [0.5, 0.731, 1.0, 3.3, 20.0, 107.25, 213.0])
def test_the_rounded_table_against_sixty_digits(sigma: float) -> None:
    with mpmath.workdps(60):
        edges = [mpmath.erfc((x - mpmath.mpf("0.5")) / (sigma * mpmath.sqrt(2))) / 2 for x in range(_reached(sigma) + 2)]
        exact = [a - b for a, b in pairwise(edges)]
        masses = tables.rounded_masses(Fraction(sigma) ** 2)
        assert _distance(tables.symmetric_weights(masses), exact) < _rounding(masses)
        wrong = tables.symmetric_weights(tables.gaussian_masses(Fraction(sigma) ** 2))
        assert _distance(wrong, exact) > 1e-8


@pytest.mark.parametrize("sigma", [47.9, 99.25, 213.0])
def test_the_lattice_table_against_sixty_digits(sigma: float) -> None:
    with mpmath.workdps(60):
        values = [mpmath.exp(-(mpmath.mpf(x) ** 2) / (2 * mpmath.mpf(sigma) ** 2)) for x in range(int(20 * sigma))]
        whole = values[0] + 2 * sum(values[1:])
        masses = tables.gaussian_masses(Fraction(sigma) ** 2)
        assert _distance(tables.symmetric_weights(masses), [v / whole for v in values[: REACH + 1]]) < _rounding(masses)


@pytest.mark.parametrize("variance", [2.0**-10, 0.37, 1.0, 50.0, 3001.5, 2.0**15])
def test_the_skellam_table_against_sixty_digits(variance: float) -> None:
    with mpmath.workdps(60):
        v = mpmath.mpf(variance)
        above, value, values = mpmath.mpf(0), mpmath.mpf(1), []
        for x in range(4000, 0, -1):
            values.append(value)
            above, value = value, above + 2 * x / v * value
        values.append(value)
        values.reverse()
        whole = values[0] + 2 * sum(values[1:])
        exact = [p / whole for p in values[: REACH + 1]]
        assert mpmath.almosteq(exact[1], mpmath.besseli(1, v, maxterms=10**6) * mpmath.exp(-v), 1e-50)
        masses = tables.skellam_masses(Fraction(variance))
        assert _distance(tables.symmetric_weights(masses), exact) < _rounding(masses)


@pytest.mark.parametrize("sigma", [0.5, 4.0, 213.0])
def test_the_alias_table_realises_its_weights_exactly(sigma: float) -> None:
    masses = tables.rounded_masses(Fraction(sigma) ** 2)
    table, weights = tables.symmetric_table(masses), tables.symmetric_weights(masses)
    realised: Counter[int] = Counter()
    for column, (own, other) in enumerate(table.values.reshape(-1, 2).tolist()):
        share = (int(table.bounds[column]) << 64) + int(table.lower[column]) - (column << 116)
        assert 0 <= share < 1 << 116
        realised[own] += share
        realised[other] += (1 << 116) - share
    assert sum(realised.values()) == TOTAL
    assert all(realised[x - REACH] == weight for x, weight in enumerate(weights))


def test_drawing_is_what_the_table_says() -> None:
    table = tables.symmetric_table(tables.gaussian_masses(Fraction(90) ** 2))
    edges = [*table.bounds, *(bound - np.uint64(1) for bound in table.bounds[1:])]
    words = np.concatenate([SecureRandom.for_testing(4).uint64(5000), np.array(edges, np.uint64)])
    naive = []
    for word in words.tolist():
        column = word >> 52
        inside = word < int(table.bounds[column])
        naive.append(int(table.values[2 * column + (0 if inside else 1)]))
    assert table.draw(words, lambda n: np.full(n, 2**64 - 1, np.uint64)).tolist() == naive


def test_the_lower_half_of_a_word_decides_where_the_upper_does_not() -> None:
    table = tables.symmetric_table(tables.gaussian_masses(Fraction(90) ** 2))
    columns = np.flatnonzero((table.lower > 0) & (table.lower < 2**64 - 1))
    assert len(columns) > 1000
    own, other = table.values.reshape(-1, 2)[columns].T
    asked: list[int] = []

    def lower(shift: int) -> Callable[[int], np.ndarray]:
        return lambda n: (asked.append(n), table.lower[columns] + np.uint64(shift) - np.uint64(1))[1]

    assert np.array_equal(table.draw(table.bounds[columns], lower(0)), own)
    assert np.array_equal(table.draw(table.bounds[columns], lower(1)), other)
    assert asked == [len(columns)] * 2
    table.draw(table.bounds[columns] - np.uint64(1), lower(0))
    assert len(asked) == 2


@pytest.mark.parametrize(("s", "k"), [(3.0, 4), (4.0, 5), (6.0, 10), (8.0, 8)])
def test_the_lattice_bound_holds_where_it_can_be_seen(s: float, k: int) -> None:
    """With levels much closer than Tacit uses, the distance of the exact convolution is visible, and below its bound."""
    levels = Levels(Fraction(s) ** 2, k, 2)
    reach = int(11 * s)
    low = _floats(tables.rounded_masses(levels.variance), reach)
    high = _floats(tables.gaussian_masses(levels.variance), reach)
    spread = np.zeros(2 * reach * k + 1)
    spread[::k] = high
    law = np.convolve(low, spread)
    exact = _floats(tables.rounded_masses(Fraction(s) ** 2 * (1 + k * k)), len(law) // 2)
    distance = 0.5 * float(np.abs(law - exact).sum())
    assert distance <= levels.lattice_distance() + 1e-15
    assert distance >= levels.lattice_distance() / 100 or levels.lattice_distance() < 1e-13


@pytest.mark.parametrize("sigma", [250.0, 300.0, 1100.0])
def test_the_law_of_two_levels_is_the_rounded_gaussian(sigma: float) -> None:
    """The exact law of what the sampler adds up, against the exact rounded Gaussian, to the resolution of float64."""
    sampler = Sampler(Levels.of(sigma))
    assert sampler.upper is not None
    spread = np.zeros(2 * REACH * sampler.levels.factor + 1)
    spread[:: sampler.levels.factor] = _law(sampler.upper)
    law = fftconvolve(_law(sampler.lowest), spread)
    x = np.arange(-(len(law) // 2), 1.0)
    exact = ndtr((x + 0.5) / sigma) - ndtr((x - 0.5) / sigma)
    assert np.abs(law[: len(x)] - exact).sum() < 1e-12
    lattice = np.exp(-(x**2) / (2 * sigma**2)) / np.sqrt(2 * np.pi * sigma**2)
    assert np.abs(law[: len(x)] - lattice).sum() > 1e-9


def _law(table: tables.AliasTable) -> np.ndarray:
    share = (table.bounds & np.uint64(2**52 - 1)).astype(np.float64) * 2.0**-64
    law = np.zeros(2 * REACH + 2)
    np.add.at(law, table.values[0::2] + REACH, share)
    np.add.at(law, table.values[1::2] + REACH, 2.0**-12 - share)
    return law[:-1]


def _floats(masses: list[int], reach: int) -> np.ndarray:
    side = np.zeros(reach + 1)
    side[: len(masses)] = [m / 2.0**128 for m in masses[: reach + 1]]
    both = np.concatenate([side[:0:-1], side])
    return both / both.sum()


@pytest.mark.parametrize("sigma", [213.3, 300.0, 26_000.0, 2.0**20, 2.0**30, 3.0**28, 2.0**45])
def test_levels_add_up_and_stay_apart(sigma: float) -> None:
    levels = Levels.of(sigma)
    assert levels.variance * sum(levels.factor ** (2 * i) for i in range(levels.count)) == Fraction(sigma) ** 2
    assert levels.lattice_distance() < 2.0**-75
    assert 9.59 * float(levels.variance) ** 0.5 <= REACH + 0.5 < COLUMNS
