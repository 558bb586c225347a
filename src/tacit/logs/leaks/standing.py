"""What a log gives away without any event being known: shared prefixes of addresses, and fields that single out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tacit.attacks.linkage import (
    Anonymity,
    PrefixesKnown,
    anonymity,
    attack_prefixes,
    octets_of,
    points_needed,
    prefix_controls,
    smallest_sets,
    uniqueness_controls,
)
from tacit.errors import UsageError
from tacit.logs.leaks.exposure import LEAK, NO_LEAK, NOT_TESTED, Exposure, Table, judged
from tacit.logs.leaks.sample import Column, Sample
from tacit.page.numbers import decimal, percent

_PAIRS = (1, 4, 16, 64)
_MOST_ADDRESSES, _FEWEST = 5_000, 20
_MOST_FIELDS, _LEAST_FULL = 14, 0.05
_NUMBERING = 0.98
_POINTS = (1, 2, 4, 8)
_MINUTE, _HOUR = 60.0, 3_600.0


def prefixes(sample: Sample, seed: int) -> Exposure:
    """How much a few known pairs say about all other addresses."""
    title = "Do known addresses give others away?"
    pairs = _addresses(sample)
    if pairs is None:
        return Exposure.untested("prefixes", title, f"Fewer than {_FEWEST} different addresses have a pseudonym of the same form.")
    originals, pseudonyms = pairs
    found = [attack_prefixes(originals, pseudonyms, pairs=count, seed=seed) for count in _PAIRS if 2 * count < len(originals)]
    worst = found[-1]
    controls = prefix_controls(originals, pseudonyms, pairs=worst.pairs, seed=seed)
    leaks = any(known.leaks for known in found)
    verdict, severity = judged(worst.networks, controls, leaks=leaks)
    text = (
        f"{worst.pairs} known pairs give away {decimal(worst.right, digits=1)} of {worst.width} leading bits of each of the {worst.others:,} other "
        f"addresses (mean; {decimal(worst.control, digits=1)} are what any have in common), the network (/{24 if worst.width == 32 else 64}) of "
        f"{percent(worst.networks.value)} and every bit of {percent(worst.whole.value)}."
    )
    means = {
        LEAK: "Subnets stay subnets, which detection needs; so each machine that is recognised locates its neighbours. Whoever can make addresses of "
              "his choice appear learns most.",
        NO_LEAK: "Known pairs say no more here than what addresses have in common anyway.",
        NOT_TESTED: "A control read wrong: this attack says nothing here.",
    }[verdict]
    return Exposure(
        "prefixes", title, verdict, severity, f"the addresses behind {worst.pairs} pseudonyms, drawn at random", text, means,
        () if verdict == NO_LEAK else _PREFIX_ADVICE, worst.networks, (_prefix_table(found),), controls,
        {"attacks": [known.to_dict() for known in found]},
    )  # fmt: skip


_PREFIX_ADVICE = (
    "Do not hand prefix-preserving addresses to outsiders: «generalise» with «prefix: [24, 48]», or «id» where subnets do not matter.",
    "Rotate epochs more often (tacit logs keys rotate): known pairs are then of no use for other epochs.",
)


def _addresses(sample: Sample) -> tuple[NDArray[np.uint8], NDArray[np.uint8]] | None:
    """Different addresses that have a pseudonym of the same length, of the more frequent family; those that the policy leaves are none."""
    pairs = {
        (str(a), str(b)) for path in sample.paths("address") if path in sample.original
        for a, b in zip(sample.original[path], sample.released[path], strict=True) if a is not None and b is not None
    }  # fmt: skip
    listed = sorted({first: second for first, second in sorted(pairs)}.items())
    before, after = octets_of([a for a, _ in listed]), octets_of([b for _, b in listed])
    best = None
    for length, (places, octets) in before.items():
        other = after.get(length)
        shared = np.intersect1d(places, other[0]) if other is not None else np.zeros(0, np.int64)
        if other is not None and len(shared) >= _FEWEST and (best is None or len(shared) > len(best[0])):
            best = octets[np.searchsorted(places, shared)], other[1][np.searchsorted(other[0], shared)]
    if best is None:
        return None
    chosen = np.random.default_rng(0).permutation(len(best[0]))[:_MOST_ADDRESSES]
    return best[0][chosen], best[1][chosen]


def _prefix_table(found: list[PrefixesKnown]) -> Table:
    rows = tuple(
        (f"{known.pairs}", decimal(known.right, digits=1), decimal(known.control, digits=1),
         *(percent(share.value) for share in (known.networks, known.whole)))
        for known in found
    )
    heads = ("Known pairs", "Leading bits known of each other address", "If pseudonyms were dealt out anew", "Network known", "Whole address known")
    return Table(f"What known pairs say about the others, of {found[0].width} bits", heads, rows)


def uniqueness(sample: Sample, people: Column | None, seed: int) -> Exposure:
    """Which kept fields, taken together, point at one person."""
    title = "Do kept fields single people out?"
    columns, numbering = quasi_identifiers(sample)
    if len(columns) < 2:
        return Exposure.untested("uniqueness", title, "Fewer than two fields are kept or made coarser.")
    sets = smallest_sets(columns, units=people, share=0.5, most=3, seed=seed)
    controls = uniqueness_controls(sample.count)
    worst, whole = sets[0], anonymity(columns, units=people, seed=seed)
    tables = [_set_table([*sets, whole], people is not None)]
    known = _known_points(sample, people, seed)
    if known is not None:
        tables.append(known)
    share = worst.single
    low = share.interval[0]
    verdict, severity = (NOT_TESTED, "medium") if not all(c.passed for c in controls) else (NO_LEAK, "info") if share.value == 0 else (
        LEAK, "medium" if low >= 0.25 else "low")  # fmt: skip
    whose = "belong to one person alone" if people is not None else "are unique"
    text = (
        f"{percent(share.value)} of {worst.rows:,} records {whose} by «{'» and «'.join(worst.columns)}» ({percent(low)} to "
        f"{percent(share.interval[1])}), {percent(whole.single.value)} by all {len(columns)} fields that were looked at. The smallest group has "
        f"{worst.smallest}, the median one {worst.median:g}."
    )
    if numbering:
        text += f" Number records, and so were left out: «{'», «'.join(numbering[:4])}». They link the output with any copy of the original."
    return Exposure(
        "uniqueness", title, verdict, severity, "these fields of an event, from somewhere else; in this sample (in more records fewer are unique)",
        text, _SINGLED if verdict == LEAK else "Nobody is alone in these fields in this sample.",
        () if verdict == NO_LEAK else _unique_advice(worst, numbering),
        share, tuple(tables), controls, {"sets": [found.to_dict() for found in sets], "all": whole.to_dict(), "numbering": numbering},
    )  # fmt: skip


_SINGLED = "Whoever knows these fields of an event from elsewhere finds it here, and with it the pseudonym and everything else that stands under it."


def quasi_identifiers(sample: Sample) -> tuple[dict[str, Column], list[str]]:
    """Fields of the output that somebody may know from elsewhere: those that are not replaced; and those that number records, which are apart.

    Times are taken to the minute: who remembers an event seldom knows more.
    """
    found: dict[str, Column] = {}
    numbering: list[str] = []
    clock = sample.time
    for path in sample.paths("keep", "generalise", "jitter", "suppress"):
        column = sample.released[path]
        there = [value for value in column if value is not None]
        distinct = len(set(map(str, there)))
        if path == clock:
            found[path] = [None if moment != moment else int(moment // _MINUTE) for moment in sample.times(sample.released).tolist()]
        elif distinct >= _NUMBERING * len(column) and len(column) > 1:
            numbering.append(path)
        elif distinct > 1 and len(there) >= _LEAST_FULL * len(column) and len(found) < _MOST_FIELDS:
            found[path] = column
    return found, numbering


def kind_of_event(sample: Sample) -> str | None:
    """A kept field of few values, the one that tells most of them apart."""
    best, most = None, 0.0
    for path in sample.paths("keep"):
        values = [value for value in sample.released[path] if value is not None]
        counts = np.unique(np.array(list(map(str, values)), dtype=object).astype(str), return_counts=True)[1] if values else np.zeros(0)
        if 2 <= len(counts) <= 50 and path in sample.original:
            shares = counts / sample.count
            entropy = float(-(shares * np.log(shares)).sum())
            best, most = (path, entropy) if entropy > most else (best, most)
    return best


def _set_table(sets: list[Anonymity], people: bool) -> Table:
    rows = tuple(
        (" + ".join(found.columns) if len(found.columns) <= 4 else f"all {len(found.columns)} fields", percent(found.single.value),
         percent(found.single.chance), percent(found.below[5]), percent(found.below[20]), f"{found.median:g}")
        for found in sets
    )  # fmt: skip
    heads = ("Fields", "One person's alone" if people else "Unique", "If fields were independent", "Groups under 5", "Under 20", "Median k")
    return Table("Smallest sets of fields that single out, and all fields", heads, rows)


def _known_points(sample: Sample, people: Column | None, seed: int) -> Table | None:
    """How many events of somebody must be known, each only by its hour and its kind."""
    times, kind = sample.times(sample.released), kind_of_event(sample)
    named: dict[str, Column] = {"the hour": [None if moment != moment else int(moment // _HOUR) for moment in times.tolist()]}
    if kind is not None:
        named[kind] = sample.released[kind]
    if people is None or (kind is None and not np.isfinite(times).any()):
        return None
    rows = []
    for points in _POINTS:
        try:
            linked = points_needed(named, people, points=points, targets=200, seed=seed)
        except UsageError:
            break
        low, high = linked.named.interval
        share = f"{percent(linked.named.value)} ({percent(low)} to {percent(high)})"
        rows.append((str(points), share, percent(linked.named.chance), f"{linked.rank:g}"))
    if not rows:
        return None
    heads = ("Different events known", "Person found", "By guessing", "People whom they fit (median)")
    return Table(f"Known events of a person, by «{'», «'.join(named)}» alone", heads, tuple(rows))


def _unique_advice(worst: Anonymity, numbering: list[str]) -> tuple[str, ...]:
    first = f"Make «{'» or «'.join(worst.columns)}» coarser («generalise»), or drop one of them: that set is enough."
    more = (f"Treat «{numbering[0]}» as «id», or drop it: it numbers records.",) if numbering else ()
    return (first, *more, "Suppress values that fewer than k people have («suppress» with «units: k»).",
            "For counts and quantiles a guarantee does not depend on what others know: tacit logs stats.")  # fmt: skip
