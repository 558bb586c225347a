from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from tacit.errors import UsageError
from tacit.networks import noise
from tacit.randomness import SecureRandom

TINY = 1e-9


def drawn(sigma: float, seed: int, *, start: float = 0.0, size: int = 200_000) -> np.ndarray:
    return noise.noised(torch.full((size,), start), sigma, SecureRandom.for_testing(seed)).double().numpy()


def spread_out(values: np.ndarray, cell: float, seed: int) -> np.ndarray:
    return values + np.random.default_rng(seed).uniform(-cell / 2, cell / 2, len(values))


@pytest.mark.parametrize("sigma", [0.7, 1.0, 37.0])
def test_noise_is_gaussian_and_a_tenth_less_is_told_apart(sigma: float) -> None:
    cell = noise.cell_of(sigma)
    smooth = spread_out(drawn(sigma, 1, start=0.3 * sigma), cell, 1)
    assert stats.kstest(smooth, stats.norm(0.3 * sigma, sigma).cdf).pvalue > TINY
    wrong = spread_out(drawn(0.95 * sigma, 1, start=0.3 * sigma), cell, 1)
    assert stats.kstest(wrong, stats.norm(0.3 * sigma, sigma).cdf).pvalue < TINY


def test_both_of_a_pair_are_independent_and_tails_are_there() -> None:
    values = drawn(1.0, 2, size=2_000_000)
    half = len(values) // 2
    assert abs(np.corrcoef(values[:half], values[half:])[0, 1]) < 6 / np.sqrt(half)
    assert abs(np.corrcoef(np.abs(values[:half]), np.abs(values[half:]))[0, 1]) < 6 / np.sqrt(half)
    for z in (2.0, 3.0, 4.0):
        border = z + noise.cell_of(1.0) / 2
        expected = 2 * stats.norm.sf(border)
        assert abs((np.abs(values) > border).mean() / expected - 1) < 7 / np.sqrt(expected * len(values))


@pytest.mark.parametrize("seed", range(4))
def test_more_bits_never_change_what_the_first_bits_decided(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same words, once with the fast path and once with every sample drawn to the end."""
    total = torch.from_numpy(np.random.default_rng(seed).normal(0, 3, 60_001).astype(np.float32))
    fast = noise.noised(total, 1.3, SecureRandom.for_testing(seed))
    monkeypatch.setattr(noise, "BAND", 0.4999999)
    slow = noise.noised(total, 1.3, SecureRandom.for_testing(seed))
    assert int((fast != slow).sum()) <= 1  # one that the first bits leave open may be settled by other further bits


def test_double_precision_and_256_bits_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    total = torch.linspace(-5, 5, 2_001)
    monkeypatch.setattr(noise, "BAND", 0.4999999)
    double = noise.noised(total, 1.3, SecureRandom.for_testing(5))
    monkeypatch.setattr(noise, "_FINE_BAND", 0.4999999)
    assert torch.equal(double, noise.noised(total, 1.3, SecureRandom.for_testing(5)))


def test_float64_sums_and_odd_sizes() -> None:
    for size in (1, 2, 3, noise.CHUNK * 2 + 1):
        out = noise.noised(torch.zeros(size, dtype=torch.float64), 2.0, SecureRandom())
        assert out.shape == (size,)
        assert out.dtype == torch.float64
        assert torch.equal(out / noise.cell_of(2.0), (out / noise.cell_of(2.0)).round())


def test_what_is_released_lies_on_the_grid_whatever_the_sum_was() -> None:
    total = torch.randn(10_000) * 1e-3
    out = noise.noised(total, 1.0, SecureRandom())
    assert torch.equal(out / noise.cell_of(1.0), (out / noise.cell_of(1.0)).round())


def test_sums_that_are_not_finite_are_refused() -> None:
    with pytest.raises(UsageError, match="finite"):
        noise.noised(torch.tensor([1.0, float("inf")]), 1.0, SecureRandom())
    with pytest.raises(UsageError, match="sigma"):
        noise.noised(torch.zeros(2), 0.0, SecureRandom())
