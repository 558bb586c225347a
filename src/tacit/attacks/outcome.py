"""What an attack other than membership inference reached, beside what anybody reaches without the model: only the excess counts."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

LEVEL = 0.99
"""Of the intervals that decide."""

_DEVIATIONS = float(-ndtri((1 - LEVEL) / 2))


@dataclass(frozen=True)
class Outcome:
    """One attack on one target. Owner-side: measured on records, not private.

    Args:
        attack: its name.
        rule: id of the finding that it makes if it wins.
        figure: what the attacker reached.
        control: what the same attacker reaches without the model, or on one that cannot have leaked.
        low: low end of the excess, figure - control, at 99 %.
        high: its high end.
        unit: of figure and control, in words.
        meaning: what a win means, in a sentence.
        details: everything else, plain.
    """

    attack: str
    rule: str
    figure: float
    control: float
    low: float
    high: float
    unit: str
    meaning: str
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def wins(self) -> bool:
        """Whether the attacker learned more than without the model, beyond chance."""
        return self.low > 0

    @property
    def verdict(self) -> str:
        """``leak found`` or ``no leak found``; never «safe»."""
        if self.wins:
            return "leak found"
        return f"no leak found; an excess of {max(self.high, 0.0):.3f} or more is excluded"

    def to_dict(self) -> dict[str, Any]:
        """Plain form."""
        return {**asdict(self), "verdict": self.verdict, "released": False}

    def __str__(self) -> str:
        return f"{self.attack}: {self.figure:.3f}, without the model {self.control:.3f} ({self.unit}); {self.verdict}"


def paired(first: NDArray[np.float64], second: NDArray[np.float64]) -> tuple[float, float]:
    """Interval of the mean of ``first - second``, record by record, at `LEVEL`; for values within one of each other."""
    differences = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    half = _DEVIATIONS * math.sqrt(_variance(differences))
    return float(differences.mean()) - half, float(differences.mean()) + half


def apart(first: NDArray[np.float64], second: NDArray[np.float64]) -> tuple[float, float]:
    """Interval of the difference of two means over different records, at `LEVEL`."""
    middle, half = float(np.mean(first) - np.mean(second)), _DEVIATIONS * math.sqrt(_variance(first) + _variance(second))
    return middle - half, middle + half


def _variance(values: NDArray[np.float64]) -> float:
    """Of a mean, as if there were one more value of 1 and of -1: rare events would otherwise look certain (after Agresti & Caffo 2000)."""
    more = np.append(np.asarray(values, np.float64), [1.0, -1.0])
    return float(more.var(ddof=1)) / len(more)
