"""What a noisy profile says of a column: bounds that hold the values, and are not moved by noise where there are none."""

from __future__ import annotations

import numpy as np

from tacit.domain import Numeric
from tacit.learn.discovery import found_domain
from tacit.questions import GRID, Profile

SIGMA = 10.0


def profile(**octaves: float) -> np.ndarray:
    counts = np.zeros(Profile.PER_COLUMN)
    for name, count in octaves.items():
        counts[Profile.ZERO + 33 + int(name.removeprefix("o"))] = count
    return counts


def found(counts: np.ndarray) -> Numeric:
    answer = np.rint(counts * GRID).astype(np.int64)
    kind = found_domain(["x"], answer, {}, sigma=SIGMA, size=4_000).select(("x",)).columns[0][1]
    assert isinstance(kind, Numeric)
    return kind


def test_noise_on_empty_octaves_does_not_move_the_bounds() -> None:
    rng = np.random.default_rng(0)
    body = profile(o2=500, o3=2_000, o4=1_500)
    uppers = np.array([found(body + rng.normal(0, SIGMA, len(body))).upper for _ in range(4_000)])
    assert uppers.min() >= 32
    assert (uppers > 64).mean() < 1e-3  # one octave more is a margin; more than 1 in 200 would be wrong if 4 deviations were enough anywhere
    assert uppers.max() <= 2**9


def test_a_far_octave_that_noise_cannot_explain_is_believed_and_a_near_one_sooner() -> None:
    body = profile(o2=500, o3=2_000)
    assert found(body + profile(o20=8 * SIGMA)).upper >= 2**20
    assert found(body + profile(o20=5 * SIGMA)).upper < 2**10
    assert found(body + profile(o5=5 * SIGMA)).upper >= 2**6


def test_the_only_octave_in_sight_makes_the_bounds() -> None:
    assert found(profile(o6=5 * SIGMA)).upper >= 2**6
    assert found(profile()) == Numeric(0.0, 1.0)
