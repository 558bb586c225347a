"""Who takes part, drawn by the secure source; and a watch over what was drawn, so that another sampler cannot slip in unseen."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tacit.errors import UsageError, VerificationError
from tacit.guard import Sampler
from tacit.guard.sampler import joins
from tacit.randomness import SecureRandom

_ALARM = 12.0  # standard deviations: once in 1e32 runs by chance
_EVERY = 25
Places = NDArray[np.int64]


class Drawer:
    """Draws the units of each answer.

    Args:
        sampler: the plan's.
        units: how many there are; never shown.
        source: secret randomness.
        groups: int64 ``[units]``, of a run that goes on; drawn if ``None``.

    Raises:
        UsageError: if a truncated sampler was planned for another number of units.
    """

    def __init__(self, sampler: Sampler, units: int, source: SecureRandom, *, groups: Places | None = None) -> None:
        if sampler.records and sampler.records != units:
            raise UsageError("Expected as many units as the plan's public number says; there are not. Plan with the true number, or with Poisson.")
        self.sampler, self.units, self._source = sampler, units, source
        drawn = _uniform(source, sampler.cycle, units) if sampler.cycle > 1 and groups is None else None
        self.groups = drawn if groups is None else groups
        self._watch = Watch(sampler, units)

    def draw(self, answer: int) -> Places:
        """Places of the units of this answer, ascending: int64.

        Raises:
            VerificationError: if what was drawn so far does not look like the plan's sampler.
        """
        chosen = self._joined(answer)
        self._watch.see(chosen)
        return self._cut(chosen)

    def _joined(self, answer: int) -> Places:
        if self.groups is None:
            return self._picked(np.arange(self.units, dtype=np.int64))
        return self._picked(np.flatnonzero(self.groups == answer % self.sampler.cycle))

    def _picked(self, places: Places) -> Places:
        return places[joins(self.sampler.rate, len(places), self._source)]

    def _cut(self, chosen: Places) -> Places:
        if not self.sampler.cap or len(chosen) <= self.sampler.cap:
            return chosen
        keys = self._source.uint64(len(chosen))
        return np.sort(chosen[np.argsort(keys, kind="stable")[: self.sampler.cap]])


def _uniform(source: SecureRandom, below: int, size: int) -> Places:
    """Whole numbers from 0 to before ``below``, exactly uniform: words beyond the last whole multiple are drawn again."""
    limit = (1 << 64) // below * below - 1
    words = source.uint64(size)
    while (late := np.flatnonzero(words > np.uint64(limit))).size:
        words[late] = source.uint64(len(late))
    return (words % np.uint64(below)).astype(np.int64)


class Watch:
    """Counts how often each unit took part, and raises when that cannot be the plan's sampler.

    The counts depend on random bits alone, not on what the records hold. A sampler that prefers some units, or draws more than planned, spreads or
    shifts them far beyond chance.
    """

    def __init__(self, sampler: Sampler, units: int) -> None:
        self._share, self._counts, self._answers = sampler.share, np.zeros(units, np.int64), 0

    def see(self, chosen: Places) -> None:
        """One more answer.

        Raises:
            VerificationError: on a total or a spread that has no chance.
        """
        self._counts[chosen] += 1
        self._answers += 1
        if self._answers % _EVERY == 0 and 0 < self._share < 1 and len(self._counts):
            self.check()

    def check(self) -> None:
        """Compare mean and spread of the counts with a binomial's."""
        units, mean = len(self._counts), self._answers * self._share
        variance = mean * (1 - self._share)
        total = abs(float(self._counts.sum()) - units * mean)
        spread = float(np.square(self._counts - mean).sum()) / variance
        fourth = 2 + 1 / variance  # variance of one squared, scaled count: at most this
        heavy = _ALARM * math.sqrt(units * fourth) + _ALARM**2 * (1 + 1 / variance)
        if total > _ALARM * math.sqrt(units * variance) + _ALARM**2 or spread > units + heavy:
            raise VerificationError(
                "Expected every unit as often as the plan's sampler draws it; what was drawn is another sampler. Weights belong into the loss, "
                "not into the sampler."
            )
