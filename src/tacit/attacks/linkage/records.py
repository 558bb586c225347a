"""Linkage: whose records are these? A pseudonymised table is matched with what an attacker knows about people (Narayanan & Shmatikov 2008)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from tacit.attacks.attribute import column_of
from tacit.attacks.outcome import LEVEL, Outcome
from tacit.attacks.tables import rows_of
from tacit.errors import DataError, UsageError

_EXACT = -1.0
_CLOSE = 3.0


def attack_linkage(released: Any, known: Any, *, columns: Sequence[str], truth: Any, noise: Mapping[str, float] | None = None) -> Outcome:
    """Match every known person with the released record that fits best.

    Args:
        released: the pseudonymised table, one record per person.
        known: what the attacker knows: the same columns, with or without errors.
        columns: which are compared: numbers by distance, everything else by equality.
        truth: for each known person the place of their record in ``released``, or -1 if they are not in it.
        noise: how far a number may be off, per column; a hundredth of its spread where nothing is said.

    Returns:
        The share of people who are in the table and were matched with their own record and no other, beside what guessing among all reaches.

    Raises:
        DataError: if a column is missing.
        UsageError: if nobody is in the table.
    """
    truth = np.asarray(truth, np.int64)
    if len(truth) != rows_of(known) or not (truth >= 0).any():
        raise UsageError("Expected the place of every known person in the released table, -1 for none, and at least one who is in it.")
    scores = _Scores.of(released, known, tuple(columns), dict(noise or {}))
    present = truth >= 0
    right = np.array([scores.matched(int(person)) == truth[person] for person in np.flatnonzero(present)])
    hits, people = int(right.sum()), int(present.sum())
    ends, chance = binomtest(hits, people).proportion_ci(LEVEL), 1 / rows_of(released)
    return Outcome(
        "linkage", "TA901", hits / people, chance, float(ends.low) - chance, float(ends.high) - chance, "share of people matched with their record",
        "pseudonyms are taken off by what else stands in the record", {"people": people, "columns": list(columns), "released": rows_of(released)},
    )


class _Scores:
    """How well records fit people."""

    def __init__(self, pairs: list[tuple[NDArray[Any], NDArray[Any], float]]) -> None:
        self._pairs = pairs

    @classmethod
    def of(cls, released: Any, known: Any, columns: tuple[str, ...], noise: dict[str, float]) -> _Scores:
        if not columns:
            raise DataError("Expected at least one column to compare.")
        pairs = []
        for name in columns:
            first, second = column_of(released, name), column_of(known, name)
            if first.dtype.kind in "biuf" and second.dtype.kind in "biuf":
                wide = float(np.nanstd(first.astype(np.float64))) or 1.0
                pairs.append((first.astype(np.float64), second.astype(np.float64), noise.get(name, 0.01 * wide)))
            else:
                values, codes = np.unique(np.concatenate([first.astype(str), second.astype(str)]), return_inverse=True)
                # Rare values tell more: agreement counts by how surprising it is.
                weight = -np.log(np.bincount(codes[: len(first)], minlength=len(values)).clip(1) / len(first))
                own = codes[len(first) :]
                pairs.append((codes[: len(first)].astype(np.float64), np.stack([own.astype(np.float64), weight[own]]), _EXACT))
        return cls(pairs)

    def matched(self, person: int) -> int:
        """The record that fits a person best; -1 if several fit alike."""
        total = np.zeros(len(self._pairs[0][0]))
        for records, people, width in self._pairs:
            if width == _EXACT:
                total += people[1, person] * (records == people[0, person])
            else:
                total += np.exp(-0.5 * np.minimum(((records - people[person]) / max(width, 1e-12)) ** 2, 1e3)) * _CLOSE
        best = int(total.argmax())
        return best if (total >= total[best] - 1e-9).sum() == 1 else -1
