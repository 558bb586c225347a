"""What leaves a step: the sum with noise, independent from step to step or correlated."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from tacit.guard import PlanStep
from tacit.networks.noise import Ahead, noised
from tacit.randomness import SecureRandom


class Release(Protocol):
    """Adds the noise of one run; keeps what correlated noise needs, in memory and nowhere else."""

    def __call__(self, total: Tensor) -> Tensor:
        """The noisy sum of this answer, as float32 ``[d]``."""
        ...


def release_of(step: PlanStep, bound: float, source: SecureRandom) -> Release:
    """What the plan's step says.

    Args:
        step: planned.
        bound: the most one unit can move a sum between neighbours, float slack included.
        source: secret randomness.
    """
    sigma = step.noise_multiplier * bound
    if step.correlation is None:
        return Independent(sigma, source)
    sigma *= step.correlation.sensitivity
    if step.correlation.kind == "banded":
        return Banded(step.correlation.coefficients, sigma, source)
    return Tree(step.correlation.size, sigma, source)


class Independent:
    """Fresh noise for every answer."""

    def __init__(self, sigma: float, source: SecureRandom) -> None:
        self.sigma, self._source = sigma, source
        self._ahead: Ahead | None = None

    def __call__(self, total: Tensor) -> Tensor:
        """See `Release`."""
        if self._ahead is None:
            self._ahead = Ahead(total.numel(), self.sigma, self._source)
        return self._ahead(total).float()


class Banded:
    """Releases Σ_j c_j g_{t-j} + noise and works back to g_t from what was released before, which is public by then.

    After a break it begins anew: the first columns of C are then shorter, never longer.
    """

    def __init__(self, coefficients: tuple[float, ...], sigma: float, source: SecureRandom) -> None:
        self.sigma, self._coefficients, self._source = sigma, coefficients, source
        self._sums: list[Tensor] = []
        self._answers: list[Tensor] = []

    def __call__(self, total: Tensor) -> Tensor:
        """See `Release`."""
        mixed = total.double()
        rest = self._coefficients[1:]
        for c, before in zip(rest, self._sums, strict=False):
            mixed = torch.add(mixed, before, alpha=c)
        answer = noised(mixed, self.sigma, self._source)
        for c, before in zip(rest, self._answers, strict=False):
            answer = torch.add(answer, before, alpha=-c)
        keep = len(rest)
        self._sums = [total.float().clone(), *self._sums][:keep]
        self._answers = [answer.float(), *self._answers][:keep]
        return answer.float()


class Tree:
    """Sums over the nodes of a binary tree; a prefix is the sum of as many noisy nodes as its number has ones."""

    def __init__(self, length: int, sigma: float, source: SecureRandom) -> None:
        self.sigma, self._length, self._source = sigma, length, source
        self._begin()

    def _begin(self) -> None:
        self._answer = 0
        self._open: dict[int, Tensor] = {}
        self._nodes: dict[int, Tensor] = {}
        self._prefix: Tensor | None = None

    def __call__(self, total: Tensor) -> Tensor:
        """See `Release`."""
        if self._answer == self._length:
            self._begin()
        self._answer += 1
        for level in range(self._length.bit_length()):
            self._open[level] = self._open[level] + total.double() if level in self._open else total.double()
        lowest = (self._answer & -self._answer).bit_length() - 1
        self._nodes[lowest] = noised(self._open[lowest], self.sigma, self._source)
        for level in range(lowest + 1):
            self._open.pop(level)
            if level < lowest:
                self._nodes.pop(level, None)
        prefix = torch.stack([self._nodes[level] for level in range(self._length.bit_length()) if self._answer >> level & 1]).sum(0)
        before, self._prefix = self._prefix, prefix
        return (prefix if before is None else prefix - before).float()
