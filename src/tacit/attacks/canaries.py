"""Canaries: made-up examples that a coin puts in or leaves out, and what their scores prove about a training run and its claim."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tacit.attacks.bounds import LowerBound, lower_bounds
from tacit.attacks.judging import CONTRADICTION
from tacit.errors import UsageError
from tacit.guarantee import Guarantee
from tacit.guard import FULL, gdp_epsilon

if TYPE_CHECKING:
    from tacit.networks import TrainingPlan

LEAST_RUNS = 20
_LEVELS = 0.95, 1 - CONTRADICTION
"""Confidence of the bounds that are reported, and of those that contradict a claim."""


@dataclass(frozen=True)
class CanaryAudit:
    """What canaries prove.

    Args:
        claim: the ε that was promised, ``None`` for no promise.
        delta: at which.
        bounds: lower bounds at 95 %.
        strict: the same at 99.9 %, which is what a claim is held against.
        inside: canaries that were in.
        outside: canaries that were not.
    """

    claim: float | None
    delta: float
    bounds: tuple[LowerBound, ...]
    strict: tuple[LowerBound, ...]
    inside: int
    outside: int

    @property
    def contradicted(self) -> tuple[LowerBound, ...]:
        """Bounds above the claim at 99.9 %."""
        return () if self.claim is None else tuple(bound for bound in self.strict if bound.epsilon > self.claim)

    @property
    def verdict(self) -> str:
        """``inconsistent with the claim``, or the most that was proved. Never «safe»: a lower bound says nothing about what nobody tried."""
        if any(bound.any_mechanism for bound in self.contradicted):
            return "inconsistent with the claim"
        if self.contradicted:
            return f"inconsistent with the claim, if {self.contradicted[-1].assumption}"
        best = max(self.bounds, key=lambda bound: bound.epsilon)
        claimed = "no claim" if self.claim is None else f"the claim is {self.claim:.3g}"
        return f"no contradiction; ε is at least {best.epsilon:.3g} if {best.assumption}; {claimed}"

    def to_dict(self) -> dict[str, Any]:
        """Plain form."""
        return {
            "format": "tacit.canaries@1", "released": False, "claim": self.claim, "delta": self.delta, "verdict": self.verdict,
            "inside": self.inside, "outside": self.outside, "bounds": [bound.to_dict() for bound in self.bounds],
        }


def audit_canaries(
    inside: NDArray[np.float64], outside: NDArray[np.float64], *, claim: Guarantee | None = None, delta: float = 1e-5, seed: int = 0,
) -> CanaryAudit:
    """Hold the scores of canaries against a claim: the second tier of an audit, on one training run and whatever can be asked of its model.

    Args:
        inside: scores of canaries that a coin put in, larger for «in», such as the model's confidence in them.
        outside: scores of those that it left out.
        claim: what the training promised; its δ is used.
        delta: where there is no claim.
        seed: see `lower_bounds`.

    Raises:
        UsageError: see `lower_bounds`.
    """
    delta = claim.delta if claim is not None and claim.delta > 0 else delta
    promised = claim.epsilon if claim is not None and claim.holds else None
    return _held_against(promised, inside, outside, delta, seed=seed)


def audit_loop(plan: TrainingPlan, *, steps: int = 40, delta: float = 1e-5, seed: int = 0) -> CanaryAudit:
    """Estimate ε of a plan's own step in its own loop: the first tier of an audit, a few seconds.

    Each coordinate of a made-up model is a canary's gradient, longer than the clip; a coin puts it into every step or none. The claim is that of as
    many steps in which everybody takes part: what the plan's sampler adds is tested apart (see `self_test`), and correlated noise is taken as
    independent.

    Args:
        plan: its clip, noise and normaliser are used; nothing is charged and no record is read.
        steps: how many are run.
        delta: at which ε is estimated.
        seed: of the coins.

    Raises:
        MissingExtra: without PyTorch.
        UsageError: for fewer than one step.
    """
    from tacit.networks.rehearsal import LAYERS, Stage

    if steps < 1:
        raise UsageError(f"Expected at least one step; got {steps}.")
    size, factor = sum(LAYERS), plan.relation.factor
    joined = np.random.default_rng(seed).random(size) < 0.5
    shape = replace(plan, sampler=FULL, correlation=None, adaptive=None, expected_batch=size, rows_per_unit=1, steps=1 << 20, run="audit")
    stage = Stage.set(shape)
    gradients = 10 * plan.clip * np.eye(size)[joined]
    total = np.zeros(size)
    for _ in range(steps):
        total += stage(gradients)
    claimed = gdp_epsilon(math.sqrt(steps) / (plan.noise_multiplier * factor), delta)
    return _held_against(claimed, total[joined], total[~joined], delta, seed=seed)


def _held_against(claim: float | None, inside: NDArray[np.float64], outside: NDArray[np.float64], delta: float, *, seed: int) -> CanaryAudit:
    usual, strict = (lower_bounds(inside, outside, delta, level=level, seed=seed) for level in _LEVELS)
    return CanaryAudit(claim, delta, usual, strict, len(inside), len(outside))


def audit_runs(score: Callable[[bool, int], float], *, runs: int = 40, claim: Guarantee | None = None, delta: float = 1e-5) -> CanaryAudit:
    """The third tier: train many times with and without one canary, whose scores are then independent (Jagielski et al. 2020).

    Slow, and the least is assumed.

    Args:
        score: trains with (``True``) or without the canary, from the seed that is passed, and returns the canary's score.
        runs: trainings on either side.
        claim: what training promises.
        delta: where there is no claim.

    Raises:
        UsageError: for fewer than 20 runs on either side.
    """
    if runs < LEAST_RUNS:
        raise UsageError(f"Expected at least {LEAST_RUNS} runs with and without the canary; got {runs}.")
    inside, outside = (np.array([score(joined, 2 * number + joined) for number in range(runs)], np.float64) for joined in (True, False))
    return audit_canaries(inside, outside, claim=claim, delta=delta)


def exposure(inserted: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """By how many bits a model prefers an inserted text to others of the same form (Carlini et al. 2019, section 4.2): float64 ``[inserted]``.

    >>> exposure(np.array([-1.0, -9.0]), np.linspace(-20, -2, 1023)).round(1).tolist()
    [10.0, 1.4]

    Args:
        inserted: log-likelihoods of the inserted texts.
        others: of texts of the same form that were not inserted; the more, the larger an exposure can be told.
    """
    if len(others) < 1:
        raise UsageError("Expected at least one text that was not inserted.")
    below = len(others) - np.searchsorted(np.sort(others), np.asarray(inserted, np.float64), side="left")
    return np.asarray(math.log2(len(others) + 1) - np.log2(below + 1.0))
