"""A private step, tested before it touches a record: is the noise what is claimed, and can one example move the answer by no more than it may?

The step is a black box that turns per-example gradients into the noisy mean that the optimiser gets. Made-up gradients, hostile ones among them,
are put in; what comes out is compared with the claim by exact or nearly exact tests. Bugs of the kind that the guarantee cannot survive (a clip per
batch, a layer without noise, a normaliser from the data) change what comes out by many standard deviations, so that a second is enough to see them.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from tacit.errors import UsageError, VerificationError

Vector = NDArray[np.float64]
Step = Callable[[Vector], Vector]
Draw = Callable[[], NDArray[np.int64]]

ALPHA = 1e-6
"""Chance that a correct step fails, over all tests together."""

_HOSTILE = 50.0
_DRAWS = 400
_SHORT = 8
_GROWN = 10.0
_SAME, _COARSE = 1e-4, 0.5


@dataclass(frozen=True)
class StepClaim:
    """What a step promises, in the units of the gradients that are put in.

    Args:
        clip: most length of one example's gradient in the sum.
        noise_multiplier: standard deviation of the noise on the sum, as a multiple of ``clip``.
        batch: what the sum is divided by, whatever the number of examples that took part.
        layers: coordinates of each layer, in order.
        rate: chance of every example to take part in a step; ``None`` if the sampler is not tested.
        units: how many examples the sampler draws from.
        independent: whether the noise of one step is independent of that of others; false for correlated noise.
        per_layer: whether every layer is clipped by itself, to the clip over the root of their number: together that is no longer than the clip.
    """

    clip: float
    noise_multiplier: float
    batch: float
    layers: tuple[int, ...]
    rate: float | None = None
    units: int = 0
    independent: bool = True
    per_layer: bool = False

    def __post_init__(self) -> None:
        if not (self.clip > 0 and self.noise_multiplier > 0 and self.batch > 0 and self.layers and min(self.layers) >= 8):
            raise UsageError("Expected clip, noise multiplier and batch above 0, and layers of at least 8 coordinates.")

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return sum(self.layers)

    @property
    def scale(self) -> float:
        """What a noisy mean is multiplied by, so that its noise has a standard deviation of 1."""
        return self.batch / (self.noise_multiplier * self.clip)

    def clipped(self, gradients: Vector) -> Vector:
        """What each gradient may contribute: ``[examples, size]``."""
        edges = np.cumsum([0, *self.layers]) if self.per_layer else np.array([0, self.size])
        limit, parts = self.clip / math.sqrt(len(edges) - 1), []
        for start, end in itertools.pairwise(edges):
            part = gradients[:, start:end]
            parts.append(part * np.minimum(1.0, limit / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-300)))
        return np.concatenate(parts, axis=1)


@dataclass(frozen=True)
class SelfTest:
    """What was tested: the p-value of each test, and how long it took."""

    p_values: Mapping[str, float]
    seconds: float

    @property
    def failed(self) -> tuple[str, ...]:
        """Tests that a correct step passes but for one time in a million, all of them together."""
        return tuple(name for name, p in self.p_values.items() if p < ALPHA / len(self.p_values))

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return not self.failed

    def require(self) -> SelfTest:
        """Itself, or `VerificationError` that names what failed."""
        if self.failed:
            raise VerificationError(
                f"The training step is not what its plan promises: {', '.join(self.failed)}. Nothing was trained. If the step is Tacit's own, please "
                "report it; see SECURITY.md."
            )
        return self

    def to_dict(self) -> dict[str, Any]:
        """What a model keeps as evidence."""
        return {"kind": "step self-test", "tests": len(self.p_values), "passed": self.passed, "failed": list(self.failed), "alpha": ALPHA}


def self_test(step: Step, claim: StepClaim, *, draw: Draw | None = None, state: Callable[[], Vector] | None = None, rounds: int = 48) -> SelfTest:
    """Test a step against its claim; takes a second or two.

    Args:
        step: from gradients ``[examples, size]`` to the noisy mean ``[size]``.
        claim: what it promises.
        draw: one draw of the sampler: indexes of the examples that take part; needed to test ``claim.rate``.
        state: what the optimiser remembers after a step; it may depend on gradients through the noisy mean only.
        rounds: how often each test repeats a step.

    Guarantees:
        A step that keeps its claim fails with a chance of at most `ALPHA`. A step that does not may pass: this is a test, not a proof.
    """
    started = time.perf_counter()
    bench = _Bench(step, claim, rounds, np.random.default_rng(20_231))
    found = {**bench.noise(), **bench.influence(), **bench.whole_batches(), **bench.memory()}
    if state is not None:
        found |= bench.state(state)
    if draw is not None and claim.rate is not None:
        found |= _sampler(draw, claim.rate, claim.units)
    return SelfTest({name: float(p) for name, p in found.items()}, time.perf_counter() - started)


@dataclass
class _Bench:
    """Made-up gradients, and what the step makes of them in units of the noise's standard deviation."""

    step: Step
    claim: StepClaim
    rounds: int
    rng: np.random.Generator

    def __post_init__(self) -> None:
        count = max(4, min(64, round(self.claim.batch)) - 1)
        parts = self.rng.normal(size=(count, self.claim.size))
        self.background = parts * (0.3 * self.claim.clip / np.linalg.norm(parts, axis=1, keepdims=True))

    def _many(self, gradients: Vector) -> Vector:
        """Noisy sums of all rounds, in deviations of the claimed noise: ``[rounds, size]``."""
        return np.stack([np.asarray(self.step(gradients), np.float64) * self.claim.scale for _ in range(self.rounds)])

    # -------------------------------------------------------------------------------------------------------------------- noise

    def noise(self) -> dict[str, float]:
        """What comes out where nothing goes in: variance, shape, layer by layer, and whether coordinates or steps repeat each other."""
        drawn = self._many(np.zeros((1, self.claim.size)))
        return noise_tests(drawn, layers=self.claim.layers, independent=self.claim.independent)

    # ---------------------------------------------------------------------------------------------------------------- influence

    def _directions(self) -> dict[str, Vector]:
        """Where a hostile gradient may point: along one coordinate, everywhere, and into every layer alike."""
        size, edges = self.claim.size, np.cumsum([0, *self.claim.layers])
        one, everywhere, layers = np.zeros(size), self.rng.normal(size=size), np.zeros(size)
        one[size // 3] = 1
        layers[(edges[:-1] + edges[1:]) // 2] = 1
        return {name: vector / np.linalg.norm(vector) for name, vector in (("one coordinate", one), ("everywhere", everywhere), ("layers", layers))}

    def influence(self) -> dict[str, float]:
        """By how much one example moves the mean answer: along itself the clip if it is long, its own length if it is short; nowhere else."""
        found: dict[str, float] = {}
        without = self._many(self.background)
        for name, direction in self._directions().items():
            for word, length in (("hostile", _HOSTILE), ("short", 0.4)):
                example = length * self.claim.clip * direction
                inside = self._many(np.vstack([self.background, example]))
                expected = self.claim.clipped(example[None, :])[0]
                off = inside.mean(axis=0) - without.mean(axis=0) - expected / (self.claim.noise_multiplier * self.claim.clip)
                moved, toward = off / math.sqrt(2 / self.rounds), expected / np.linalg.norm(expected)
                along = float(moved @ toward)
                found[f"{word} gradient, {name}: length"] = _two_sided(along)
                rest = moved - along * toward
                found[f"{word} gradient, {name}: elsewhere"] = float(stats.chi2.sf(rest @ rest, self.claim.size - 1))
                found[f"{word} gradient, {name}: noise"] = _variance(inside - inside.mean(axis=0), self.rounds - 1)
        return found

    # -------------------------------------------------------------------------------------------------------------------- whole batches

    def whole_batches(self) -> dict[str, float]:
        """Batches of other sizes and lengths: divided by the same number, noised alike, every example clipped by itself."""
        batch, clip = self.background, self.claim.clip
        short = batch[: max(1, len(batch) // _SHORT)]
        long = batch * (_HOSTILE / 0.3)
        alike = np.tile(batch[:1] / 0.3 * _HOSTILE, (len(batch), 1))
        found = {}
        for name, gradients in (("a short batch", short), ("a batch of long gradients", long), ("a batch of equal gradients", alike)):
            drawn = self._many(gradients)
            total = self.claim.clipped(gradients).sum(axis=0) / (self.claim.noise_multiplier * clip)
            found[f"{name}: sum"] = _mean(drawn, total)
            found[f"{name}: noise"] = _variance(drawn - drawn.mean(axis=0), self.rounds - 1)
        empty = self._many(np.zeros((0, self.claim.size)))
        return {**found, "an empty batch: noise": _variance(empty), "an empty batch: mean": _mean(empty, np.zeros(self.claim.size))}

    def memory(self) -> dict[str, float]:
        """What a hostile example leaves behind for the step after it: nothing."""
        direction = self._directions()["everywhere"]
        hostile = np.vstack([self.background, 1e4 * self.claim.clip * direction])
        after = []
        for _ in range(self.rounds):
            self.step(hostile)
            after.append(np.asarray(self.step(np.zeros((1, self.claim.size))), np.float64) * self.claim.scale)
        drawn = np.stack(after)
        nothing = np.zeros(self.claim.size)
        return {"the step after a hostile one: mean": _mean(drawn, nothing), "the step after a hostile one: noise": _variance(drawn)}

    def state(self, state: Callable[[], Vector]) -> dict[str, float]:
        """What the optimiser remembers of a long gradient and of one a thousand times as long, which are clipped to the same."""
        direction, kept = self._directions()["everywhere"], []
        for length in (_HOSTILE, 1e3 * _HOSTILE):
            seen = []
            for _ in range(self.rounds):
                self.step(np.vstack([self.background, length * self.claim.clip * direction]))
                seen.append(float(np.linalg.norm(np.asarray(state(), np.float64))))
            kept.append(float(np.mean(seen[self.rounds // 2 :])))
        # What is remembered builds up over steps, so that no exact test applies; a gradient that got through is a thousand times larger at least.
        grown = kept[1] / max(kept[0], 1e-300)
        return {"what the optimiser remembers": 1.0 if 1 / _GROWN < grown < _GROWN else 0.0}


def noise_tests(drawn: Vector, *, layers: Sequence[int], independent: bool = True) -> dict[str, float]:
    """Whether noise ``[rounds, size]``, in its claimed deviations, is what was claimed: p-values by name.

    Args:
        drawn: noise alone.
        layers: coordinates of each part, in order.
        independent: whether rounds have nothing in common.
    """
    edges = np.cumsum([0, *layers])
    parts = [_variance(drawn[:, start:end]) for start, end in itertools.pairwise(edges)]
    found = {
        "noise variance": _variance(drawn), "noise shape": _shape(drawn.ravel()[:60_000]), "noise of every layer": min(1.0, len(parts) * min(parts)),
        "noise of neighbouring coordinates": _correlation(drawn[:, 1:], drawn[:, :-1]), "noise of every coordinate": _each(drawn),
        "mean of the noise": two_sided_mean(drawn),
    }
    if independent:
        found |= {"noise of successive steps": _correlation(drawn[1:], drawn[:-1]), "noise of any two steps": _pairs(drawn)}
    return found


def two_sided_mean(drawn: Vector) -> float:
    """Whether noise ``[rounds, size]`` has mean zero, over all coordinates together."""
    return _mean(drawn, np.zeros(drawn.shape[1]))


def _shape(drawn: Vector) -> float:
    """Whether noise is normal (Kolmogorov-Smirnov). Noise on a grid, unless it is a coarse one, is spread evenly within its cells first."""
    values = np.unique(drawn)
    gaps = np.diff(values)
    cell = float(gaps[gaps > _SAME].min(initial=np.inf)) if len(values) < len(drawn) / 2 else 0.0
    if cell > _COARSE:
        return 0.0
    return float(stats.kstest(drawn + cell * (np.random.default_rng(1).random(len(drawn)) - 0.5), "norm").pvalue)


def _variance(drawn: Vector, freedom: int | None = None) -> float:
    """Two-sided p-value of the sum of squares, whose coordinates have variance 1 if the claim holds."""
    count = drawn.size if freedom is None else freedom * drawn.shape[1]
    total = float((drawn**2).sum())
    return 2 * min(float(stats.chi2.cdf(total, count)), float(stats.chi2.sf(total, count)))


def _each(drawn: Vector) -> float:
    """Whether any single coordinate has another variance: a p-value that counts how many there are."""
    total = (drawn**2).sum(axis=0)
    lowest = 2 * np.minimum(stats.chi2.cdf(total, len(drawn)), stats.chi2.sf(total, len(drawn))).min()
    return float(min(1.0, float(lowest) * drawn.shape[1]))


def _mean(drawn: Vector, expected: Vector) -> float:
    """Whether the mean over rounds is ``expected``: a p-value over all coordinates together."""
    off = (drawn.mean(axis=0) - expected) * math.sqrt(len(drawn))
    total = float(off @ off)
    return 2 * min(float(stats.chi2.cdf(total, len(off))), float(stats.chi2.sf(total, len(off))))


def _correlation(first: Vector, second: Vector) -> float:
    return _two_sided(float((first * second).sum()) / math.sqrt(first.size))


def _pairs(drawn: Vector) -> float:
    """Whether any two steps have noise in common: a p-value that counts how many pairs there are."""
    products = drawn @ drawn.T / math.sqrt(drawn.shape[1])
    pairs = products[np.triu_indices(len(drawn), 1)]
    return min(1.0, _two_sided(float(np.abs(pairs).max())) * len(pairs))


def _two_sided(z: float) -> float:
    return 2 * float(stats.norm.sf(abs(z)))


def _sampler(draw: Draw, rate: float, units: int) -> dict[str, float]:
    """Poisson sampling: everybody joins by a coin of their own, at the claimed rate, every time anew."""
    joined = np.zeros((_DRAWS, units), bool)
    twice = 0
    for row in joined:
        chosen = np.asarray(draw())
        row[chosen] = True
        twice += len(chosen) - int(row.sum())
    spread, sizes, counts = rate * (1 - rate), joined.sum(axis=1), joined.sum(axis=0)
    off = joined - rate
    mean, freedom = _DRAWS * rate, _DRAWS * spread
    dispersion = float((((counts - mean) ** 2) / freedom).sum() - units) / math.sqrt(units * (2 + (1 - 6 * spread) / freedom))
    squares = float(((sizes - units * rate) ** 2).sum() / (units * spread))
    return {
        "sampler: rate": _two_sided(float(sizes.sum() - _DRAWS * units * rate) / math.sqrt(_DRAWS * units * spread)),
        "sampler: spread of batch sizes": 2 * min(float(stats.chi2.cdf(squares, _DRAWS)), float(stats.chi2.sf(squares, _DRAWS))),
        "sampler: everybody alike": _two_sided(dispersion),
        "sampler: every time anew": _two_sided(float((off[1:] * off[:-1]).sum()) / (spread * math.sqrt(off[1:].size))),
        "sampler: neighbours apart": _two_sided(float((off[:, 1:] * off[:, :-1]).sum()) / (spread * math.sqrt(off[:, 1:].size))),
        "sampler: nobody twice": 1.0 if twice == 0 else 0.0,
    }
