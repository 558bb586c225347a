"""Noise that partly cancels over the steps of a training run: a banded matrix factorisation, and the binary tree.

With independent noise the sum of t answers carries t times the variance of one. A training run follows such sums, so it is better to add noise
to other combinations C·g of the answers and to compute the answers from those (Denisov et al. 2022, arXiv:2202.08312). What it costs is the length
of a column of C, because a unit that takes part in one answer moves one column.

>>> plain, banded = Correlation("banded", 1, 100), Correlation.banded(8, 100)
>>> round(plain.error, 2), banded.error < 0.7 * plain.error
(7.11, True)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.signal import lfilter

from tacit.errors import UsageError

KINDS = ("banded", "tree")
_STEP = 2.0**-20


@dataclass(frozen=True, slots=True)
class Correlation:
    """How the noise of a step's answers hangs together.

    Args:
        kind: ``"banded"``: C is lower triangular and Toeplitz with ``size`` bands (Choquette-Choo et al. 2023, arXiv:2306.08153);
            ``"tree"``: partial sums over the nodes of a binary tree over ``size`` answers, begun anew with each pass (Kairouz et al. 2021,
            arXiv:2103.00039: DP-FTRL).
        size: bands, or answers of one pass.
        steps: answers in all.
    """

    kind: str
    size: int
    steps: int

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"Expected correlation={self.kind!r} to be one of {', '.join(KINDS)}.")
        if not 1 <= self.size <= max(1, self.steps):
            raise UsageError(f"Expected 1 <= size={self.size} <= steps={self.steps}.")

    @classmethod
    def banded(cls, bands: int, steps: int) -> Correlation:
        """Bands that are best for the sums of ``steps`` answers."""
        return cls("banded", bands, steps)

    @classmethod
    def tree(cls, length: int, *, steps: int) -> Correlation:
        """A tree over each ``length`` answers."""
        return cls("tree", length, steps)

    @property
    def coefficients(self) -> tuple[float, ...]:
        """The first column of C, from its diagonal down: 1 first; multiples of 2^-20.

        Raises:
            UsageError: for a tree, which is no Toeplitz matrix.
        """
        if self.kind != "banded":
            raise UsageError("Expected banded noise; a tree has no coefficients.")
        return _banded(self.size, self.steps)

    @property
    def sensitivity(self) -> float:
        """How far one participation moves all combinations together, in clipping bounds: the longest column of C."""
        if self.kind == "tree":
            return math.sqrt(math.floor(math.log2(self.size)) + 1)
        return math.sqrt(math.fsum(c * c for c in self.coefficients)) * (1 + 1e-12)

    @property
    def error(self) -> float:
        """Root mean square error of the sums of 1 to ``steps`` answers, for noise of one standard deviation per combination and unit sensitivity."""
        if self.kind == "banded":
            return float(_error(np.array(self.coefficients), self.steps)) * self.sensitivity
        nodes = np.array([bin(t % self.size or self.size).count("1") for t in range(1, self.steps + 1)])
        before = np.array([(t - 1) // self.size * bin(self.size).count("1") for t in range(1, self.steps + 1)])
        return float(np.sqrt(np.mean(nodes + before))) * self.sensitivity

    def to_dict(self) -> dict[str, Any]:
        """Plain form; ``Correlation(**correlation.to_dict())`` is it again."""
        return {name: getattr(self, name) for name in self.__slots__}


def _error(column: NDArray[np.float64], steps: int) -> float:
    """Root mean square of the rows of A C⁻¹, where A sums: Toeplitz again, with the running sums of C⁻¹'s column."""
    impulse = np.zeros(steps)
    impulse[0] = 1.0
    sums = np.cumsum(lfilter([1.0], column, impulse))
    return float(np.sqrt(np.dot(np.square(sums), np.arange(steps, 0, -1)) / steps))


@lru_cache(maxsize=64)
def _banded(bands: int, steps: int) -> tuple[float, ...]:
    """The best bands, found from those of the square root of A by descent on the exact error times the column's length."""
    start = np.cumprod([1.0] + [(2 * k - 1) / (2 * k) for k in range(1, bands)])
    if bands == 1:
        return (1.0,)

    def cost(rest: NDArray[np.float64]) -> float:
        column = np.concatenate([[1.0], rest])
        return math.log(_error(column, steps)) + 0.5 * math.log(float(column @ column))

    found = minimize(cost, start[1:], method="L-BFGS-B", bounds=[(0.0, 1.0)] * (bands - 1), options={"maxiter": 60})
    rest = np.asarray(found.x if found.fun < cost(np.asarray(start[1:], np.float64)) else start[1:], np.float64)
    return (1.0, *(float(x) for x in np.rint(rest / _STEP) * _STEP))
