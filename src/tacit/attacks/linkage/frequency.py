"""Frequency matching: whoever knows how often people appear finds the pseudonym that appears as often (after Naveed, Kamara & Wright 2015)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import gammaln

from tacit.attacks.linkage.columns import Coded, Floats, owners, positions
from tacit.attacks.linkage.matching import Contest, most_frequent, read_as_they_are
from tacit.attacks.linkage.shares import Linked
from tacit.errors import UsageError

_SMOOTH = 2.0
_DISPERSION = 4.0
_MOST_CELLS = 1_000


def attack_frequency(
    known: Sequence[Any], released: Sequence[Any], *, truth: Sequence[Any], context: tuple[Sequence[Any], Sequence[Any]] | None = None, seed: int = 0
) -> Linked:
    """Match pseudonyms with names by how often they appear, and, where a context is given, with what.

    Counts are taken as negative binomial around those of the known period, which makes matching by rank the best there is; contexts (such as the
    hour, the kind of event) as multinomial. All pairs are scored and the best one-to-one matching is the guess.

    Args:
        known: names, one per event that the attacker saw: of another period, or of another log.
        released: pseudonyms, one per released event.
        truth: the name that each of these events really has.
        context: what stands beside them on both sides.
        seed: breaks ties.

    Returns:
        Shares of the pseudonyms whose name the attacker knows at all; ``known_to_the_attacker`` says how many those are.

    Raises:
        UsageError: if columns that belong together differ in length, or one is empty.
    """
    _check(known, released, truth, context)
    names, pseudonyms, true = Coded.of(known), Coded.of(released), Coded.of(truth)
    rows, columns = most_frequent(pseudonyms), most_frequent(names)
    before, after = _counts(names, pseudonyms, context)
    scores = _scores(before[columns], after[rows])
    kept = tuple(names.values[column] for column in columns)
    scores = read_as_they_are(tuple(pseudonyms.values[row] for row in rows), kept, scores)
    place = np.append(positions(true.values, kept), -1)
    contest = Contest(scores, place[owners(pseudonyms, true)[rows]], pseudonyms.counts[rows])
    assumed = f"how often each of {len(names.values):,} names appeared in {int((names.codes >= 0).sum()):,} other events" + (
        "" if context is None else ", and with what"
    )
    return contest.linked("frequency" if context is None else "profile", assumed, seed=seed)


def _check(known: Sequence[Any], released: Sequence[Any], truth: Sequence[Any], context: tuple[Sequence[Any], Sequence[Any]] | None) -> None:
    if not len(known) or not len(released):
        raise UsageError("Expected at least one event on both sides; pass what the attacker knows, and what was released.")
    if len(released) != len(truth) or (context is not None and (len(context[0]) != len(known) or len(context[1]) != len(released))):
        raise UsageError("Expected the truth, and the context, to be as long as the events that they belong to.")


def _counts(names: Coded, pseudonyms: Coded, context: tuple[Sequence[Any], Sequence[Any]] | None) -> tuple[Floats, Floats]:
    """Events by value and cell of the context, the rarest cells together in the last."""
    if context is None:
        return names.counts[:, None].astype(np.float64), pseudonyms.counts[:, None].astype(np.float64)
    first, second = (Coded.of(side) for side in context)
    cells = [first.values[number] for number in np.argsort(-first.counts, kind="stable")[: _MOST_CELLS - 1]]
    return _table(names, first, cells), _table(pseudonyms, second, cells)


def _table(who: Coded, what: Coded, cells: list[str]) -> Floats:
    place = np.append(positions(what.values, cells), -1)[what.codes]
    place[place < 0] = len(cells)
    there = who.codes >= 0
    size = len(cells) + 1
    return np.bincount(who.codes[there] * size + place[there], minlength=len(who.values) * size).reshape(-1, size).astype(np.float64)


def _scores(before: Floats, after: Floats) -> Floats:
    """Log likelihood ``[pseudonyms, names]``, up to what is the same for all names."""
    known, seen = before.sum(axis=1), after.sum(axis=1)
    mean = (known + 0.5) * max(seen.sum(), 1.0) / max(known.sum(), 1.0)
    log = gammaln(seen[:, None] + _DISPERSION) - gammaln(seen[:, None] + 1) + _DISPERSION * np.log(_DISPERSION / (_DISPERSION + mean))[None, :]
    log = log + seen[:, None] * np.log(mean / (_DISPERSION + mean))[None, :]
    if before.shape[1] > 1:
        everybody = (before.sum(axis=0) + 0.5) / (known.sum() + 0.5 * before.shape[1])
        profile = (before + _SMOOTH * everybody) / (known + _SMOOTH)[:, None]
        log = log + after @ np.log(profile).T
    return np.asarray(log, np.float64)
