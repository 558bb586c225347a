"""Injection: whoever can cause events of somebody, at times that he notes, looks up under which pseudonym they were released.

A failed logon, a mail, a request is enough. The pseudonym that was there at all of the noted times is the one, and everything else under it with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tacit.attacks.linkage.columns import Coded, Floats, Numbers, Trace, close, owners, positions
from tacit.attacks.linkage.matching import TOP
from tacit.attacks.linkage.shares import Linked, Share
from tacit.errors import UsageError

_MOMENTS = 1_000


def attack_injection(
    known: Trace, released: Trace, *, truth: Sequence[Any], events: int = 3, tolerance: tuple[float, float] = (1.0, 1.0), seed: int = 0
) -> Linked:
    """Let an attacker cause so many events of each target, and look for their pseudonym.

    The caused events are drawn from those that there are, so that nothing about them is conspicuous: an attacker who sends unusual sizes, or at
    unusual hours, finds more.

    Args:
        known: the log in the clear: names, true times, marks (such as sizes) as the attacker would see them in the release.
        released: pseudonyms, released times, marks.
        truth: the name that each released event really has.
        events: how many are caused of each target.
        tolerance: how many seconds before and after the true time a released time may be.
        seed: draws the events, and breaks ties.

    Returns:
        Shares of the targets; ``events`` counts all their released events.

    Raises:
        UsageError: if columns differ in length, or nobody has so many events.
    """
    if len(truth) != len(released):
        raise UsageError("Expected the true name of each released event.")
    rng = np.random.default_rng(seed)
    names, pseudonyms, true = Coded.of(known.who), Coded.of(released.who), Coded.of(truth)
    caused = _drawn(names, known, events, rng)
    if not len(caused):
        raise UsageError(f"Expected somebody with at least {events} events at known times; pass a longer log, or fewer events.")
    targets, who = np.unique(names.codes[caused], return_inverse=True)
    own = np.append(positions(true.values, [names.values[target] for target in targets]), -1)[owners(pseudonyms, true)]
    matched = _matches(caused, who, (known, released), pseudonyms, tolerance)
    same = positions([names.values[target] for target in targets], pseudonyms.values)
    matched[np.flatnonzero(same >= 0), same[same >= 0]] = events + 1
    return _linked(matched, own, pseudonyms, _usual(released, pseudonyms, tolerance, rng), rng, events=events)


def _drawn(names: Coded, known: Trace, events: int, rng: np.random.Generator) -> Numbers:
    """Places of the caused events: so many of each name that has as many."""
    usable = np.flatnonzero((names.codes >= 0) & np.isfinite(known.times))
    usable = rng.permutation(usable)
    usable = usable[np.argsort(names.codes[usable], kind="stable")]
    codes = names.codes[usable]
    if not len(codes):
        return usable
    first = np.searchsorted(codes, codes, "left")
    total = np.searchsorted(codes, codes, "right") - first
    return np.asarray(usable[(np.arange(len(codes)) - first < events) & (total >= events)], np.int64)


def _matches(caused: Numbers, who: Numbers, sides: tuple[Trace, Trace], pseudonyms: Coded, tolerance: tuple[float, float]) -> Numbers:
    """How many of each target's caused events have an event of each pseudonym near them: int64 ``[targets, pseudonyms]``."""
    known, released = sides
    marks = _marks(known, released)
    size = len(pseudonyms.values)
    found = np.zeros((int(who.max()) + 1) * size, np.int64)
    for mark, event in close(known.times[caused], released.times, before=tolerance[0], after=tolerance[1]):
        good = pseudonyms.codes[event] >= 0
        if marks is not None:
            good &= marks[0][caused[mark]] == marks[1][event]
        pairs = np.unique(mark[good] * size + pseudonyms.codes[event[good]])
        found += np.bincount(who[pairs // size] * size + pairs % size, minlength=len(found))
    return found.reshape(-1, size)


def _marks(known: Trace, released: Trace) -> tuple[Numbers, Numbers] | None:
    """Marks of both sides as the same numbers."""
    if known.marks is None or released.marks is None:
        return None
    both = Coded.of([*known.marks, *released.marks]).codes
    return both[: len(known)], both[len(known) :]


def _usual(released: Trace, pseudonyms: Coded, tolerance: tuple[float, float], rng: np.random.Generator) -> Floats:
    """Share of some moments, drawn from the released times, near which each pseudonym has an event: how often it fits by chance."""
    size = len(pseudonyms.values)
    moments = rng.permutation(released.times[np.isfinite(released.times)])[:_MOMENTS] + (tolerance[0] - tolerance[1]) / 2
    found = np.zeros(size, np.int64)
    for moment, event in close(moments, released.times, before=tolerance[0], after=tolerance[1]):
        good = pseudonyms.codes[event] >= 0
        found += np.bincount(np.unique(moment[good] * size + pseudonyms.codes[event[good]]) % size, minlength=size)
    return found / max(len(moments), 1)


def _linked(matched: Numbers, own: Numbers, pseudonyms: Coded, usual: Floats, rng: np.random.Generator, *, events: int) -> Linked:
    """``own``: by pseudonym, which target it belongs to. A target may have several pseudonyms, one for each epoch: any of them counts."""
    targets, size = matched.shape
    rows = np.arange(targets)
    # Of those that fit alike, one that seldom has an event near is likelier than one that always does.
    score = matched + 0.5 * (1 - usual) + rng.random(matched.shape) * 1e-6
    guess = score.argmax(axis=1)
    right = own[guess] == rows
    best = np.full(targets, -1.0)
    np.maximum.at(best, own[own >= 0], score[own[own >= 0], np.flatnonzero(own >= 0)])
    there = best >= 0
    ranks = 1 + (score > best[:, None]).sum(axis=1)
    counts = np.bincount(own[own >= 0], weights=pseudonyms.counts[own >= 0], minlength=targets)
    gained = np.where(right, pseudonyms.counts[guess], 0)
    chance = 1 / max(size, 1)
    alone = (matched == matched.max(axis=1, keepdims=True)).sum(axis=1) == 1
    each = counts[there].clip(1)
    share = Share.of(right[there], chance=chance, weights=each)
    linked = float(gained[there].sum() / each.sum()) * share.cases if there.any() else 0.0
    return Linked(
        f"injection of {events}", f"{events} event{'' if events == 1 else 's'} of each target that the attacker caused, and when",
        Share.of(right[there], chance=chance), Share(linked, share.cases, chance),
        {k: Share.of(ranks[there] <= k, chance=min(1.0, k / max(size, 1))) for k in TOP if k < max(size, 2)},
        float(np.median(ranks[there])) if there.any() else float("nan"), size,
        {"targets": int(there.sum()), "one_pseudonym_fits_best": float(alone[there].mean()) if there.any() else 0.0, "caused": events},
    )  # fmt: skip
