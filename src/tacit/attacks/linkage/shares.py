"""What a linkage attack reached: shares with intervals, beside what guessing reaches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc
from scipy.stats import beta

ALPHA = 1e-3
"""Chance at most of calling a share more than guessing that is not."""

_TAIL = 0.025


@dataclass(frozen=True)
class Share:
    """How many of so many were linked, and how many guessing links.

    Where cases weigh differently (people with many events and with few) both numbers are effective ones, so that the interval is as wide as so
    uneven weights make it (Korn & Graubard 1998).

    >>> Share(8, 10, 0.1).beats_chance, Share(1, 10, 0.1).beats_chance
    (True, False)

    Args:
        hits: cases that were linked rightly.
        cases: of so many.
        chance: the share that guessing reaches.
    """

    hits: float
    cases: float
    chance: float

    @classmethod
    def of(cls, right: NDArray[np.bool_], *, chance: float, weights: NDArray[Any] | None = None) -> Share:
        """From cases and their weights, such as the number of events of each person."""
        if not len(right):
            return cls(0.0, 0.0, chance)
        if weights is None:
            return cls(float(right.sum()), float(len(right)), chance)
        heavy = np.asarray(weights, np.float64)
        total = heavy.sum()
        if total <= 0:
            return cls(0.0, 0.0, chance)
        effective = float(total**2 / (heavy**2).sum())
        return cls(float((heavy * right).sum() / total) * effective, effective, chance)

    @property
    def value(self) -> float:
        """The share; 0 if there was no case."""
        return self.hits / self.cases if self.cases else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Exact interval at 95 % (Clopper & Pearson 1934), as if cases were independent."""
        misses = self.cases - self.hits
        low = float(beta.ppf(_TAIL, self.hits, misses + 1)) if self.hits > 1e-9 else 0.0
        high = float(beta.ppf(1 - _TAIL, self.hits + 1, misses)) if misses > 1e-9 else 1.0
        return low, high

    @property
    def p_value(self) -> float:
        """Chance that guessing reaches as much: the binomial tail, also of fractions."""
        if self.hits <= 1e-9:
            return 1.0
        return float(betainc(self.hits, max(self.cases - self.hits, 0.0) + 1, min(self.chance, 1.0)))

    @property
    def beats_chance(self) -> bool:
        """Whether guessing does not explain it, with an error of at most `ALPHA`."""
        return self.p_value <= ALPHA

    def to_dict(self) -> dict[str, float]:
        """Plain form."""
        low, high = self.interval
        return {"share": self.value, "low": low, "high": high, "chance": self.chance, "cases": self.cases, "p_value": self.p_value}


@dataclass(frozen=True)
class Linked:
    """One linkage attack. Owner-side: measured on records, not released.

    Args:
        attack: its name.
        assumed: what the attacker knows, in words.
        named: share of people (or machines, or whatever pseudonyms stand for) to whom the first guess gives the right pseudonym.
        events: share of their events that is linked with that.
        top: by k: how many are among the k likeliest.
        rank: median place of the truth among all candidates, from 1.
        candidates: how many there were to choose from.
        details: everything else, plain.
    """

    attack: str
    assumed: str
    named: Share
    events: Share
    top: Mapping[int, Share]
    rank: float
    candidates: int
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def leaks(self) -> bool:
        """Whether more were linked than guessing explains."""
        return self.named.beats_chance or any(share.beats_chance for share in self.top.values())

    def to_dict(self) -> dict[str, Any]:
        """Plain form; values are never in it."""
        return {
            "attack": self.attack, "assumed": self.assumed, "named": self.named.to_dict(), "events": self.events.to_dict(),
            "top": {str(k): share.to_dict() for k, share in self.top.items()}, "median_rank": self.rank, "candidates": self.candidates,
            "leaks": self.leaks, "details": dict(self.details), "released": False,
        }

    def __str__(self) -> str:
        return (
            f"{self.attack}: {100 * self.named.value:.1f} % linked at the first guess ({100 * self.named.chance:.2f} % by guessing), "
            f"{100 * self.events.value:.1f} % of their events; the truth is at place {self.rank:g} of {self.candidates:,}"
        )
