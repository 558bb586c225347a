"""Who takes part in an answer: public rates and sizes, drawn anew for every answer from the secure source.

>>> Sampler.poisson(0.01).kind, Sampler.truncated(0.01, records=50_000).cap
('poisson', 634)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tacit.errors import UsageError
from tacit.questions import Sample
from tacit.randomness import SecureRandom

KINDS = ("full", "poisson", "truncated_poisson", "cyclic_poisson", "passes")
RATE_UNIT = 1 << 32
"""Rates are multiples of 1 / RATE_UNIT: a 32-bit word decides exactly."""
DEVIATIONS = 6.0
"""How many standard deviations above the mean batch a truncated sample is cut: ε then rises by less than a thousandth."""


@dataclass(frozen=True, slots=True)
class Sampler:
    """How units are chosen for the answers of a step.

    ==================  =========================================================================================================
    full                every unit, in every answer
    poisson             every unit joins every answer with probability ``rate``, independently of all others
    truncated_poisson   the same, but no more than ``cap`` units, chosen at random among those that joined; ``records`` is public
    cyclic_poisson      units are split at random into ``cycle`` groups; group t mod cycle is sampled with ``rate`` for answer t
    passes              every unit joins one answer of each ``cycle`` answers, drawn at random; accounted without amplification
    ==================  =========================================================================================================

    Raises:
        UsageError: for what no accountant here knows.
    """

    kind: str = "full"
    rate: float = 1.0
    records: int = 0
    cap: int = 0
    cycle: int = 1

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"Expected sampler={self.kind!r} to be one of {', '.join(KINDS)}, which an accountant knows.")
        if not 0 < self.rate <= 1 or self.rate * RATE_UNIT != int(self.rate * RATE_UNIT):
            raise UsageError(f"Expected a rate={self.rate} in (0, 1] that is a multiple of 2^-32; use Sampler.poisson, which rounds it up.")
        if isinstance(self.cycle, bool) or not isinstance(self.cycle, int) or self.cycle < 1:
            raise UsageError(f"Expected cycle={self.cycle!r} to be an integer >= 1.")
        truncated = self.kind == "truncated_poisson"
        if truncated != (self.records > 0) or truncated != (self.cap > 0):
            raise UsageError(f"Expected records and cap for a truncated sampler, and for no other; got records={self.records}, cap={self.cap}.")
        if self.kind in ("full", "passes") and self.rate != 1:
            raise UsageError(f"Expected no rate for sampler={self.kind!r}; got {self.rate}.")

    @classmethod
    def poisson(cls, rate: float) -> Sampler:
        """Poisson sampling; the rate is rounded up to a multiple of 2^-32."""
        return cls("poisson", rounded_rate(rate))

    @classmethod
    def truncated(cls, rate: float, *, records: int, cap: int | None = None) -> Sampler:
        """Poisson sampling of a public number of records, at most ``cap`` at a time: by default mean + 6 standard deviations."""
        rate = rounded_rate(rate)
        most = math.ceil(records * rate + DEVIATIONS * math.sqrt(records * rate * (1 - rate)))
        return cls("truncated_poisson", rate, records=records, cap=min(records, most if cap is None else cap))

    @classmethod
    def cyclic(cls, rate: float, *, cycle: int) -> Sampler:
        """Poisson sampling of one of ``cycle`` groups at a time, in turn; ``rate`` is that within the group."""
        return cls("cyclic_poisson", rounded_rate(rate), cycle=cycle)

    @classmethod
    def passes(cls, length: int) -> Sampler:
        """Every unit once in ``length`` answers."""
        return cls("passes", cycle=length)

    @property
    def share(self) -> float:
        """Which share of the units one answer has, on average."""
        return self.rate / self.cycle

    def to_dict(self) -> dict[str, Any]:
        """Plain form; ``Sampler(**sampler.to_dict())`` is the sampler again."""
        return {name: getattr(self, name) for name in self.__slots__}


FULL = Sampler()


def rounded_rate(rate: float) -> float:
    """The next multiple of 2^-32 that is not below ``rate``.

    Raises:
        UsageError: unless 0 < rate <= 1.
    """
    if not 0 < rate <= 1:
        raise UsageError(f"Expected 0 < sampling rate={rate} <= 1; it is the expected batch over the number of units.")
    return math.ceil(rate * RATE_UNIT) / RATE_UNIT


def joins(rate: float, units: int, source: SecureRandom) -> NDArray[np.bool_]:
    """Which units join one answer, each with probability ``rate`` exactly and independently of all others: bool ``[units]``."""
    if rate == 1:
        return np.ones(units, np.bool_)
    words = source.uint64(-(-units // 2)).view(np.uint32)[:units]
    return np.asarray(words < np.uint32(int(rate * RATE_UNIT)))


def drawn(rate: float, units: int, source: SecureRandom) -> Sample:
    """One answer's sample, and beside it as many of the others as make up the mean and six standard deviations: work then has one size."""
    taken = joins(rate, units, source)
    most = min(units, math.ceil(units * rate + DEVIATIONS * math.sqrt(units * rate * (1 - rate))))
    others = np.flatnonzero(~taken)[: max(0, most - int(taken.sum()))]
    computed = taken.copy()
    computed[others] = True
    return Sample(taken, computed)
