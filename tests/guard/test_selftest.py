"""The self-test passes a correct step, and each of many broken ones fails it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tacit.errors import UsageError, VerificationError
from tacit.guard.selftest import ALPHA, SelfTest, StepClaim, self_test

SIZE, LAYERS, CLIP, SIGMA, BATCH, UNITS, RATE = 1024, 4, 1.3, 1.0, 64, 2_000, 0.032
CLAIM = StepClaim(CLIP, SIGMA, BATCH, (SIZE // LAYERS,) * LAYERS, RATE, UNITS)


def clipped(gradients: np.ndarray, clip: float = CLIP) -> np.ndarray:
    lengths = np.linalg.norm(gradients, axis=1, keepdims=True)
    return gradients * np.minimum(1, clip / np.maximum(lengths, 1e-12))


class Stepper:
    """DP-SGD's step in NumPy; a bug is an override of one of its parts."""

    def __init__(self, seed: int = 0) -> None:
        self.rng, self.kept, self.count = np.random.default_rng(seed), np.zeros(SIZE), 0

    def total(self, gradients: np.ndarray) -> np.ndarray:
        return clipped(gradients).sum(axis=0)

    def noise(self, gradients: np.ndarray) -> np.ndarray:
        return self.rng.normal(0, SIGMA * CLIP, SIZE)

    def divisor(self, gradients: np.ndarray) -> float:
        return BATCH

    def remember(self, gradients: np.ndarray, answer: np.ndarray) -> None:
        self.kept = 0.9 * self.kept + 0.1 * answer**2

    def __call__(self, gradients: np.ndarray) -> np.ndarray:
        self.count += 1
        answer = (self.total(gradients) + self.noise(gradients)) / self.divisor(gradients)
        self.remember(gradients, answer)
        return answer

    def draw(self) -> np.ndarray:
        return np.flatnonzero(self.rng.random(UNITS) < RATE)


def pieces(gradients: np.ndarray, size: int) -> list[np.ndarray]:
    return [gradients[start : start + size] for start in range(0, len(gradients), size)]


def by_value(self: Stepper, g: np.ndarray) -> np.ndarray:
    return np.clip(g, -CLIP, CLIP).sum(axis=0)


def by_largest(self: Stepper, g: np.ndarray) -> np.ndarray:
    return (g * np.minimum(1, CLIP / np.maximum(np.abs(g).max(axis=1, keepdims=True), 1e-12))).sum(axis=0) if len(g) else np.zeros(SIZE)


def centred(self: Stepper, g: np.ndarray) -> np.ndarray:
    return clipped(g - g.mean(axis=0)).sum(axis=0) if len(g) > 1 else clipped(g).sum(axis=0)


def normalised(self: Stepper, g: np.ndarray) -> np.ndarray:
    """As batch normalisation does: every example is scaled by what the whole batch is like."""
    return clipped(g / (np.sqrt((g**2).mean()) * 30 + 1e-9) * CLIP * 0.3).sum(axis=0) if len(g) and g.any() else clipped(g).sum(axis=0)


def median_clip(self: Stepper, g: np.ndarray) -> np.ndarray:
    return clipped(g, float(np.median(np.linalg.norm(g, axis=1)))).sum(axis=0) if len(g) and g.any() else np.zeros(SIZE)


def accumulated(self: Stepper, g: np.ndarray) -> np.ndarray:
    """Micro-batches are accumulated and never cleared."""
    self.left = getattr(self, "left", np.zeros(SIZE)) * 0.5 + clipped(g).sum(axis=0)
    return self.left


def last_layer_unclipped(self: Stepper, g: np.ndarray) -> np.ndarray:
    first, last = g[:, : -SIZE // LAYERS], g[:, -SIZE // LAYERS :]
    return np.concatenate([clipped(first).sum(axis=0), last.sum(axis=0)])


def every_second(self: Stepper, g: np.ndarray) -> np.ndarray:
    if self.count % 2 or not hasattr(self, "cached"):
        self.cached = self.rng.normal(0, SIGMA * CLIP, SIZE)
    return self.cached


def again(self: Stepper, g: np.ndarray) -> np.ndarray:
    return np.random.default_rng(123).normal(0, SIGMA * CLIP, SIZE)


def ring(self: Stepper, g: np.ndarray) -> np.ndarray:
    if not hasattr(self, "drawn"):
        self.drawn = self.rng.normal(0, SIGMA * CLIP, (16, SIZE))
    return self.drawn[self.count % 16]


def skipped(self: Stepper, g: np.ndarray) -> np.ndarray:
    noise = self.rng.normal(0, SIGMA * CLIP, SIZE)
    noise[-SIZE // LAYERS :] = 0
    return noise


def bias_without(self: Stepper, g: np.ndarray) -> np.ndarray:
    noise = self.rng.normal(0, SIGMA * CLIP, SIZE)
    noise[-3:] = 0
    return noise


def shuffled(self: Stepper) -> np.ndarray:
    size = int(UNITS * RATE)
    if not hasattr(self, "order") or self.place + size > UNITS:
        self.order, self.place = self.rng.permutation(UNITS), 0
    self.place += size
    return self.order[self.place - size : self.place]


def weighted(self: Stepper) -> np.ndarray:
    chances = np.where(np.arange(UNITS) % 2 == 0, 1.5, 0.5) * RATE
    return np.flatnonzero(self.rng.random(UNITS) < chances)


def grouped(self: Stepper) -> np.ndarray:
    return np.flatnonzero(np.repeat(self.rng.random(UNITS // 2) < RATE, 2))


def normal(self: Stepper, scale: float) -> np.ndarray:
    return self.rng.normal(0, scale, SIZE)


def scaled_by_data(self: Stepper, g: np.ndarray) -> np.ndarray:
    return normal(self, SIGMA * min(CLIP, float(np.median(np.linalg.norm(g, axis=1)))) if len(g) else SIGMA * CLIP)


BUGS: dict[str, dict[str, Callable[..., Any]]] = {
    "noise not scaled by the clip": {"noise": lambda s, g: normal(s, SIGMA)},
    "noise divided by the batch": {"noise": lambda s, g: normal(s, SIGMA * CLIP / BATCH)},
    "noise a twentieth too small": {"noise": lambda s, g: normal(s, 0.95 * SIGMA * CLIP)},
    "noise a fifth too small": {"noise": lambda s, g: normal(s, 0.8 * SIGMA * CLIP)},
    "noise of the variance's root": {"noise": lambda s, g: normal(s, np.sqrt(SIGMA * CLIP) * 0.7)},
    "uniform noise": {"noise": lambda s, g: s.rng.uniform(-1, 1, SIZE) * SIGMA * CLIP * 3**0.5},
    "Laplace noise": {"noise": lambda s, g: s.rng.laplace(0, SIGMA * CLIP / 2**0.5, SIZE)},
    "a layer without noise": {"noise": skipped},
    "three coordinates without noise": {"noise": bias_without},
    "noise shared by eight coordinates": {"noise": lambda s, g: np.repeat(s.rng.normal(0, SIGMA * CLIP, SIZE // 8), 8)},
    "noise used twice": {"noise": every_second},
    "noise from a ring": {"noise": ring},
    "a seed set at every step": {"noise": again},
    "noise scaled by the data": {"noise": scaled_by_data},
    "noise for every micro-batch": {"noise": lambda s, g: normal(s, SIGMA * CLIP * np.sqrt(max(1, len(pieces(g, 16)))))},
    "no clip": {"total": lambda s, g: g.sum(axis=0)},
    "a clip of the batch": {"total": lambda s, g: clipped(g.mean(axis=0, keepdims=True))[0] * len(g) if len(g) else np.zeros(SIZE)},
    "a clip of micro-batches": {"total": lambda s, g: sum((clipped(p.mean(0, keepdims=True))[0] * len(p) for p in pieces(g, 4)), np.zeros(SIZE))},
    "a clip of every layer": {"total": lambda s, g: np.concatenate([clipped(part) for part in np.split(g, LAYERS, axis=1)], axis=1).sum(axis=0)},
    "a clip of every value": {"total": by_value},
    "a clip of the largest value": {"total": by_largest},
    "a clip after the division": {"total": lambda s, g: clipped(g / BATCH).sum(axis=0) * BATCH},
    "a clip twice as wide": {"total": lambda s, g: clipped(g, 2 * CLIP).sum(axis=0)},
    "a layer that is not clipped": {"total": last_layer_unclipped},
    "a clip at the batch's median": {"total": median_clip},
    "examples centred by the batch": {"total": centred},
    "examples normalised by the batch": {"total": normalised},
    "gradients never cleared": {"total": accumulated},
    "divided by the real batch": {"divisor": lambda s, g: max(1, len(g))},
    "moments of raw gradients": {"remember": lambda s, g, a: setattr(s, "kept", 0.9 * s.kept + 0.1 * (g.sum(axis=0) ** 2 if len(g) else 0))},
    "batches from a shuffle": {"draw": shuffled},
    "batches of fixed size": {"draw": lambda s: s.rng.choice(UNITS, int(UNITS * RATE), replace=False)},
    "batches drawn with replacement": {"draw": lambda s: s.rng.integers(0, UNITS, s.rng.poisson(UNITS * RATE))},
    "twice the rate": {"draw": lambda s: np.flatnonzero(s.rng.random(UNITS) < 2 * RATE)},
    "a weighted sampler": {"draw": weighted},
    "pairs that join together": {"draw": grouped},
}


def result_of(changes: dict[str, Callable[..., Any]], seed: int = 0) -> SelfTest:
    stepper = type("Broken", (Stepper,), changes)(seed)
    return self_test(stepper, CLAIM, draw=stepper.draw, state=lambda: stepper.kept)


def test_there_are_enough_bugs() -> None:
    assert len(BUGS) >= 25


@pytest.mark.parametrize("name", BUGS)
def test_a_broken_step_is_caught(name: str) -> None:
    for seed in (0, 1):
        assert not result_of(BUGS[name], seed).passed


@pytest.mark.parametrize("seed", range(20))
def test_a_correct_step_passes(seed: int) -> None:
    assert result_of({}, seed).failed == ()


def test_clipping_per_layer_passes_as_such_and_not_beyond_its_share() -> None:
    """Each layer to the clip over the root of their number is no longer than the clip together; each to the clip is."""
    claim = dataclasses.replace(CLAIM, rate=None, per_layer=True)
    for share, passes in ((1 / np.sqrt(LAYERS), True), (1.0, False)):

        def total(self: Stepper, g: np.ndarray, share: float = share) -> np.ndarray:
            return np.concatenate([clipped(part, CLIP * share) for part in np.split(g, LAYERS, axis=1)], axis=1).sum(axis=0)

        assert self_test(type("PerLayer", (Stepper,), {"total": total})(3), claim).passed is passes


def test_p_values_of_a_correct_step_are_not_small() -> None:
    """Over twenty runs the smallest p-value is about one in as many as there are tests, not far below."""
    runs = [result_of({}, 100 + seed).p_values for seed in range(20)]
    assert min(min(run.values()) * len(run) for run in runs) > 1e-4
    values = np.array([p for run in runs for p in run.values()])
    assert (values < 0.01).mean() < 0.02


def test_it_takes_less_than_two_seconds() -> None:
    before = time.process_time()
    result_of({})
    assert time.process_time() - before < 2


def test_what_failed_is_named_and_stops_the_training() -> None:
    with pytest.raises(VerificationError, match=r"not what its plan promises: .*noise variance"):
        result_of(BUGS["noise a fifth too small"]).require()
    found = result_of({}).require().to_dict()
    assert found["passed"] is True
    assert found["alpha"] == ALPHA


def test_a_claim_that_says_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="above 0"):
        StepClaim(0, 1, 1, (8,))
