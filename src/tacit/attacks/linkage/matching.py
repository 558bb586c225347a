"""From scores of all pairs to guesses: the best one-to-one matching, ranks of the truth, and what both are worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.stats import rankdata

from tacit.attacks.linkage.columns import Coded, Floats, Numbers, positions
from tacit.attacks.linkage.shares import Linked, Share

MOST = 2_000
"""Names and pseudonyms that are matched; of more, the most frequent."""

READ = 1e12
"""Score of a name that stands there as it is."""

TOP = (1, 5, 10)


@dataclass(frozen=True, eq=False)
class Contest:
    """Who is guessed: names and pseudonyms by number, which name each pseudonym really has (-1: one unknown to the attacker), and its events.

    ``scores`` is ``[pseudonyms, names]``; higher is likelier. Ties are broken at random.
    """

    scores: Floats
    truth: Numbers
    events: Numbers

    def guesses(self, rng: np.random.Generator) -> Numbers:
        """The name of each pseudonym by the best one-to-one matching; -1 for none."""
        found = np.full(len(self.scores), -1, np.int64)
        if self.scores.size:
            finite = np.nan_to_num(self.scores, nan=-READ, neginf=-READ, posinf=READ)
            # In a random order, so that what is tied is not decided by where it happens to stand.
            rows, columns = rng.permutation(finite.shape[0]), rng.permutation(finite.shape[1])
            first, second = linear_sum_assignment(finite[rows][:, columns], maximize=True)
            found[rows[first]] = columns[second]
        return found

    def ranks(self) -> Floats:
        """Place of the true name among all names for each pseudonym whose name is known, from 1; ties share their mean place."""
        known = np.flatnonzero(self.truth >= 0)
        if not len(known):
            return np.zeros(0)
        ranked = rankdata(-self.scores[known], axis=1)
        return np.asarray(ranked[np.arange(len(known)), self.truth[known]], np.float64)

    def linked(self, attack: str, assumed: str, *, seed: int, details: Mapping[str, Any] | None = None) -> Linked:
        """What the matching is worth."""
        known = self.truth >= 0
        right = (self.guesses(np.random.default_rng(seed)) == self.truth)[known]
        pseudonyms, names = self.scores.shape
        chance = 1 / max(pseudonyms, names, 1)
        ranks = self.ranks()
        more = {"pseudonyms": pseudonyms, "names": names, "known_to_the_attacker": int(known.sum()), **(details or {})}
        return Linked(
            attack, assumed, Share.of(right, chance=chance), Share.of(right, chance=chance, weights=self.events[known]),
            {k: Share.of(ranks <= k, chance=min(1.0, k / max(names, 1))) for k in TOP if k < max(names, 2)},
            float(np.median(ranks)) if len(ranks) else float("nan"), names, more,
        )  # fmt: skip


def most_frequent(coded: Coded) -> Numbers:
    """Numbers of the values that are matched, the most frequent first."""
    return np.argsort(-coded.counts, kind="stable")[:MOST]


def read_as_they_are(pseudonyms: tuple[str, ...], names: tuple[str, ...], scores: Floats) -> Floats:
    """The scores, with names that were never replaced: whoever reads needs not guess."""
    same = positions(pseudonyms, names)
    rows: NDArray[np.intp] = np.flatnonzero(same >= 0)
    found = scores.copy()
    found[rows, same[rows]] = READ
    return found
