"""Shadows within a budget: how many the time allows, which are already on disk, and what each says of every record."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from tacit.attacks.membership import Membership
from tacit.attacks.shadows import paired_membership
from tacit.attacks.signals import Answers
from tacit.attacks.tables import fingerprint, rows_of
from tacit.attacks.trainers import ShadowData, Trainer
from tacit.errors import StorageError, UsageError
from tacit.replacing import replacing

Confidence = Callable[[Answers], dict[str, NDArray[np.float64]]]
FEWEST, MOST = 2, 64
ENOUGH = 16
"""Shadows beyond which the learned attack gains little, so that time is left over."""


@dataclass(frozen=True, eq=False)
class Shadows:
    """What shadows say.

    Args:
        confidences: per reading float32 ``[records, shadows]``.
        membership: bool ``[records, shadows]``, in complementary pairs.
        seconds: that training and asking took.
        cached: how many came from the cache.
    """

    confidences: dict[str, NDArray[np.float32]]
    membership: Membership
    seconds: float
    cached: int

    @property
    def count(self) -> int:
        """How many."""
        return int(self.membership.shape[1])

    @cached_property
    def best_reading(self) -> str:
        """The reading in which shadows tell each other's members best: chosen without looking at the target, so that it costs no significance."""
        if len(self.confidences) == 1 or not self.count:
            return next(iter(self.confidences))
        return max(self.confidences, key=lambda reading: _told(self.confidences[reading], self.membership))


def _told(confidences: NDArray[np.float32], membership: Membership) -> float:
    """Mean AUC of a shadow's confidence, beyond that of its complement, for its own members."""
    found = []
    for place in range(0, membership.shape[1], 2):
        inside = membership[:, place]
        ranks = rankdata(confidences[:, place] - confidences[:, place + 1])
        members, others = int(inside.sum()), int((~inside).sum())
        found.append((ranks[inside].sum() - members * (members + 1) / 2) / max(1, members * others))
    return float(np.mean(found))


@dataclass
class Shadowing:
    """Trains shadows until the budget is spent.

    Args:
        trainer: how.
        data: on what.
        confidence: from a shadow's answers to confidences per reading, each ``[units]``.
        owner: the unit of each record, dense from 0; ``None`` if every record is one.
        cache: folder where confidences are kept under a digest of records, members, recipe, seed and how they are seen; ``None`` for none.
        seen: in words, what decides on confidences beside answers: access, readings, rounding, copies.
    """

    trainer: Trainer
    data: ShadowData
    confidence: Confidence
    owner: NDArray[np.int64] | None = None
    cache: Path | None = None
    seen: str = ""
    cached: int = 0
    _records: str = ""

    def within(self, seconds: float, *, count: int | None = None) -> Shadows:
        """As many pairs of shadows as fit in the time, at least one and at most eight; or as many as are asked for.

        Raises:
            UsageError: if ``count`` is odd or out of range.
        """
        if count is not None and (count % 2 or not FEWEST <= count <= MOST):
            raise UsageError(f"Expected an even number of shadows from {FEWEST} to {MOST}; got {count}.")
        started, found = time.perf_counter(), self._some(0, 2)
        if count is None:
            each = max(1e-3, time.perf_counter() - started)
            count = int(min(ENOUGH, max(FEWEST, 2 * (1 + (seconds - each) // each))))
        if count > 2:
            found += self._some(2, count)
        readings = {name: np.stack([one[name] for one in found], axis=1) for name in found[0]}
        return Shadows(readings, self._membership(0, count), time.perf_counter() - started, self.cached)

    def _membership(self, first: int, after: int) -> Membership:
        """Of some shadows: bool ``[units, shadows]``. Each pair has draws of its own, so that more shadows are the same ones and others."""
        units = rows_of(self.data.X) if self.owner is None else int(self.owner.max()) + 1
        pairs = [paired_membership(units, 2, rng=np.random.default_rng([self.data.seed, number])) for number in range(first, after, 2)]
        return np.concatenate(pairs, axis=1)

    def _some(self, first: int, after: int) -> list[dict[str, NDArray[np.float32]]]:
        membership = self._membership(first, after)
        membership = membership if self.owner is None else membership[self.owner]
        kept = [self._kept(column, first + place) for place, column in enumerate(membership.T)]
        if all(one is not None for one in kept):
            self.cached += len(kept)
            return [one for one in kept if one is not None]
        found = []
        for place, answers in enumerate(self.trainer.answers(self.data, membership, first=first)):
            one = {name: values.astype(np.float32) for name, values in self.confidence(answers).items()}
            self._keep(membership[:, place], first + place, one)
            found.append(one)
        return found

    def _path(self, column: NDArray[np.bool_], number: int) -> Path | None:
        if self.cache is None or self.trainer.key is None:
            return None
        if not self._records:
            labels = b"" if self.data.y is None else np.asarray(self.data.y).astype(str).tobytes()
            self._records = hashlib.sha256(fingerprint(self.data.X).encode() + labels).hexdigest()
        parts = (self._records, np.packbits(column).tobytes().hex(), self.trainer.key, self.data.seed, number, self.seen)
        return self.cache / f"{hashlib.sha256(repr(parts).encode()).hexdigest()}.npz"

    def _kept(self, column: NDArray[np.bool_], number: int) -> dict[str, NDArray[np.float32]] | None:
        path = self._path(column, number)
        if path is None or not path.is_file():
            return None
        try:
            with np.load(path, allow_pickle=False) as file:
                found = {name: np.asarray(file[name], np.float32) for name in file.files}
        except (OSError, ValueError, KeyError, EOFError):
            return None
        return found if found and all(values.ndim == 1 for values in found.values()) else None

    def _keep(self, column: NDArray[np.bool_], number: int, values: dict[str, NDArray[np.float32]]) -> None:
        path = self._path(column, number)
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as file:
                np.savez(file, allow_pickle=False, **values)
        except OSError as problem:
            raise StorageError(f"Expected to keep shadows in «{path.parent}»; {problem.strerror}. Choose another folder, or no cache.") from None
