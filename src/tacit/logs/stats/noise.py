"""The noise of released counts, as a reader needs it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.special import ndtri

from tacit.questions import GRID
from tacit.randomness import laplace_deviation


@dataclass(frozen=True)
class Noise:
    """The noise of every count of an answer.

    Args:
        mechanism: «laplace», «gaussian» or «skellam».
        scale: of Laplace noise, or the standard deviation; in counts.
    """

    mechanism: str
    scale: float

    @property
    def deviation(self) -> float:
        """Standard deviation."""
        return laplace_deviation(self.scale * GRID) / GRID if self.mechanism == "laplace" and self.scale else self.scale

    @property
    def margin(self) -> float:
        """What the noise of a count stays within, either way, with probability 95 %."""
        return self.beyond(0.025)

    def beyond(self, chance: float) -> float:
        """What the noise of a count exceeds, upwards, with this chance (below one half).

        >>> round(Noise("laplace", 10.0).beyond(0.025), 3), round(Noise("gaussian", 10.0).beyond(0.025), 3)
        (29.957, 19.6)
        """
        return -self.scale * (math.log(2 * chance) if self.mechanism == "laplace" else float(ndtri(chance)))

