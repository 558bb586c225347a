"""Timing: a second log with names (of doors, of a VPN, of mail) is laid over the released one, whatever its clock and however exact.

The offset of the clocks is where most events of both fall together. A name then fits a pseudonym if something of it happened whenever the name was
seen, more often than that pseudonym is active anyway (after Sharad & Danezis 2013 and Ma et al. 2010, who link traces of places).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tacit.attacks.linkage.columns import Coded, Floats, Numbers, Trace, close, owners, positions
from tacit.attacks.linkage.matching import Contest, most_frequent, read_as_they_are
from tacit.attacks.linkage.shares import Linked
from tacit.errors import UsageError

_FOLLOWED = 0.9  # share of sightings that leave an event, as the attacker believes
_SIGHTINGS = 2_000  # from which the offset is worked out
_MOST_BINS = 200_000


def attack_timing(
    seen: Trace, released: Trace, *, truth: Sequence[Any], tolerance: tuple[float, float] = (5.0, 5.0), offset: float = 0.0, seed: int = 0
) -> Linked:
    """Match pseudonyms with the names of a second log by when both were active.

    Args:
        seen: the second log: names, and times by its own clock.
        released: pseudonyms and released times.
        truth: the name that each released event really has.
        tolerance: how many seconds a released time may lie before and after a sighting once the clocks agree.
        offset: how far the clocks may be apart, in seconds; 0 if they agree.
        seed: breaks ties.

    Returns:
        Shares of the pseudonyms whose name the second log holds. ``offset`` in the details is what was worked out.

    Raises:
        UsageError: if columns differ in length, or one side is empty.
    """
    if len(truth) != len(released) or not len(seen) or not len(released):
        raise UsageError("Expected at least one sighting and one released event, and the true name of each released event.")
    names, pseudonyms, true = Coded.of(seen.who), Coded.of(released.who), Coded.of(truth)
    shift = _offset(seen.times, released.times, tolerance, offset) if offset > 0 else 0.0
    rows, columns = most_frequent(pseudonyms), most_frequent(names)
    matched = _matched(names, pseudonyms, (seen.times + shift, released.times), tolerance)
    scores = _scores(matched, names.counts.astype(np.float64))[columns][:, rows].T
    kept = tuple(names.values[column] for column in columns)
    scores = read_as_they_are(tuple(pseudonyms.values[row] for row in rows), kept, scores)
    place = np.append(positions(true.values, kept), -1)
    contest = Contest(scores, place[owners(pseudonyms, true)[rows]], pseudonyms.counts[rows])
    sightings = float(np.median(names.counts)) if len(names.values) else 0.0
    clock = f", by a clock that is up to {offset:g} s off" if offset > 0 else ""
    assumed = f"a second log that saw {sightings:g} events of each of {len(names.values):,} people by name (median){clock}"
    return contest.linked("timing", assumed, seed=seed, details={"offset": shift, "sightings": sightings})


def _offset(seen: Floats, released: Floats, tolerance: tuple[float, float], most: float) -> float:
    """How much the second log's clock is behind: the shift at which most events of both fall together."""
    marks = seen[np.isfinite(seen)]
    if len(marks) > _SIGHTINGS:
        marks = marks[np.linspace(0, len(marks) - 1, _SIGHTINGS).astype(np.int64)]
    width = max(sum(tolerance) / 8, 2 * most / _MOST_BINS, 1e-6)
    size = int(np.ceil(2 * most / width)) + 1
    counts = np.zeros(size, np.int64)
    for mark, event in close(marks, released, before=most, after=most):
        bins = ((released[event] - marks[mark] + most) / width).astype(np.int64).clip(0, size - 1)
        counts += np.bincount(bins, minlength=size)
    window = max(1, min(size, round(sum(tolerance) / width)))
    sums = np.convolve(counts, np.ones(window), "valid")
    best = int(sums.argmax())
    return float(best * width - most + tolerance[0])


def _matched(names: Coded, pseudonyms: Coded, times: tuple[Floats, Floats], tolerance: tuple[float, float]) -> Floats:
    """How many sightings of each name fall together with an event of each pseudonym: ``[names, pseudonyms]``."""
    size = len(pseudonyms.values)
    found = np.zeros(len(names.values) * size, np.int64)
    for mark, event in close(*times, before=tolerance[0], after=tolerance[1]):
        good = (pseudonyms.codes[event] >= 0) & (names.codes[mark] >= 0)
        pairs = np.unique(mark[good] * size + pseudonyms.codes[event[good]])
        found += np.bincount(names.codes[pairs // size] * size + pairs % size, minlength=len(found))
    return found.reshape(-1, size).astype(np.float64)


def _scores(matched: Floats, seen: Floats) -> Floats:
    """Log likelihood ratio of «is this pseudonym» to «is another»: how often the others' sightings meet the pseudonym says what is by chance."""
    others = (matched.sum(axis=0)[None, :] - matched + 0.5) / (seen.sum() - seen + 1.0)[:, None]
    usual = np.clip(others, 1e-6, _FOLLOWED)
    hit, miss = np.log(_FOLLOWED / usual), np.log((1 - _FOLLOWED) / (1 - usual))
    return np.asarray(matched * hit + (seen[:, None] - matched) * miss, np.float64)


def in_order(times: Floats) -> Floats:
    """Times that were moved one by one, moved back as far as the order of the records betrays: least squares under increasing times.

    Records that are written in the order in which things happened tell when they did, whatever time stands in them.

    >>> in_order(np.array([0.0, 20.0, 10.0, 30.0])).tolist()
    [0.0, 15.0, 15.0, 30.0]
    """
    from sklearn.isotonic import isotonic_regression

    found = np.asarray(times, np.float64).copy()
    known: Numbers = np.flatnonzero(np.isfinite(found))
    if len(known) > 1:
        found[known] = isotonic_regression(found[known])
    return found
