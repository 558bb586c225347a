"""How many sites must take part, may be missing, and may collude: one row for each number of sites, and no sliders.

>>> [str(Parties.of(n)) for n in (3, 4, 5, 10, 50)]
['3 sites: 3 needed, 0 may be missing, 1 may collude', '4 sites: 3 needed, 1 may be missing, 1 may collude', \
'5 sites: 4 needed, 1 may be missing, 1 may collude', '10 sites: 7 needed, 3 may be missing, 3 may collude', \
'50 sites: 34 needed, 16 may be missing, 16 may collude']
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from tacit.errors import UsageError
from tacit.guarantee import TrustModel
from tacit.guard import MOST_SITES

LEAST_SITES = 3


@dataclass(frozen=True, slots=True)
class Parties:
    """Numbers that fit together: n sites, of which t must be left at the end, and c may pool what they know with the coordinator.

    Guarantees:
        2t > n + c: two survivor sets with t signatures each share an honest site, which signs once, so a coordinator with c sites on its side
        cannot have two (Bonawitz et al. 2017, §6.2). Any t survivors hold at least t - c honest shares of noise of σ²/(t - c) each.

    Args:
        sites: n.
        threshold: t.
        colluding: c.

    Raises:
        UsageError: unless n >= 3, c >= 1, t <= n and 2t > n + c. A site knows its own noise and sees the answers, so c is at least 1.
    """

    sites: int
    threshold: int
    colluding: int

    def __post_init__(self) -> None:
        n, t, c = self.sites, self.threshold, self.colluding
        if not LEAST_SITES <= n <= MOST_SITES:
            raise UsageError(f"Expected {LEAST_SITES} to {MOST_SITES} sites; got {n}. With two, the sum tells each what the other sent.")
        if not (c >= 1 and t <= n and 2 * t > n + c):
            raise UsageError(f"Expected colluding={c} >= 1, threshold={t} <= sites={n} and 2 threshold > sites + colluding. Use Parties.of({n}).")

    @classmethod
    def of(cls, sites: int) -> Parties:
        """The row of the table: two thirds of the sites and one more are needed, and as many may collude as may be missing."""
        threshold = 2 * sites // 3 + 1
        return cls(sites, threshold, max(1, min(2 * threshold - sites - 1, sites - threshold)))

    @property
    def dropouts(self) -> int:
        """How many sites may be missing: n - t."""
        return self.sites - self.threshold

    @property
    def share(self) -> Fraction:
        """The part of the noise's variance that each site adds: 1 / (t - c)."""
        return Fraction(1, self.threshold - self.colluding)

    @property
    def trust(self) -> TrustModel:
        """As a guarantee states it."""
        return TrustModel.distributed(self.sites, threshold=self.threshold, colluding=self.colluding)

    def __str__(self) -> str:
        return f"{self.sites} sites: {self.threshold} needed, {self.dropouts} may be missing, {self.colluding} may collude"
