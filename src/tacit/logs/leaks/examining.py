"""The leak report of a log before and after: readable identities, then each linkage attack on what pseudonyms leave."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tacit.attacks.linkage import (
    Linked,
    Trace,
    attack_frequency,
    attack_injection,
    attack_timing,
    frequency_controls,
    in_order,
    injection_controls,
    timing_controls,
)
from tacit.logs.leaks.exposure import NO_LEAK, NOT_TESTED, Exposure, LeakReport, Table, judged
from tacit.logs.leaks.readable import readable
from tacit.logs.leaks.sample import Column, Sample
from tacit.logs.leaks.standing import kind_of_event, prefixes, uniqueness
from tacit.page.numbers import percent

_PEOPLE = ("user", "principal", "email", "sid", "id")
_CAUSED = (1, 3, 10)
_COARSER = (("second", 1), ("minute", 60), ("hour", 3_600), ("day", 86_400))
_TARGETS, _SIGHTINGS = 200, 10
_CLOCK, _INEXACT = 300.0, 2.0
_FEW = 5
_HOURS = 3_600.0


@dataclass(frozen=True, eq=False)
class Side:
    """The people of a log: names and pseudonyms row by row, and times before and after."""

    path: str
    names: Column
    pseudonyms: Column
    times: NDArray[np.float64]
    released: NDArray[np.float64]

    @property
    def moved(self) -> tuple[float, float]:
        """How far the policy moved times: at most so many seconds earlier and later."""
        both = np.isfinite(self.times) & np.isfinite(self.released)
        if not both.any():
            return 0.0, 0.0
        away = self.released[both] - self.times[both]
        return max(0.0, float(-away.min())) + 1e-3, max(0.0, float(away.max())) + 1e-3


def leak_report(sample: Sample, *, directory: Mapping[str, Collection[str]] | None = None, seed: int = 0) -> LeakReport:
    """Try everything on a sample.

    Args:
        sample: the same records before and after.
        directory: by kind (``user``, ``host``, ``email``): names to look for beyond those that fields hold.
        seed: of the draws of what the attacker knows.
    """
    begun = time.monotonic()
    people = side_of(sample, _PEOPLE)
    whose = None if people is None else people.pseudonyms
    found = [readable(sample, directory), *_by_frequency(sample, people, seed)]
    found += [_injection(sample, people, seed), _timing(people, seed), prefixes(sample, seed), uniqueness(sample, whose, seed)]
    return LeakReport(sample.policy.source, sample.count, tuple(found), time.monotonic() - begun)


def side_of(sample: Sample, treatments: tuple[str, ...]) -> Side | None:
    """The field that attacks go for: the policy's unit or entity where it is of this kind, or else the fullest; ``None`` if there is none."""
    paths = [path for treatment in treatments for path in sample.paths(treatment) if path in sample.original]
    wanted = [path for path in (sample.policy.unit, sample.policy.entity) if path in paths]
    for path in (*wanted, *sorted(paths, key=lambda path: sample.released[path].count(None))):
        names = [None if value is None else str(value).casefold() for value in sample.original[path]]
        side = Side(path, names, sample.released[path], sample.times(sample.original), sample.times(sample.released))
        if len(set(names) - {None}) >= 2:
            return side
    return None


def _by_frequency(sample: Sample, people: Side | None, seed: int) -> Iterator[Exposure]:
    for kind, side in (("people", people), ("machines", side_of(sample, ("host",))), ("addresses", side_of(sample, ("address",)))):
        if side is not None:
            yield _frequency(sample, kind, side, seed)


def _frequency(sample: Sample, kind: str, side: Side, seed: int) -> Exposure:
    """The first half of the log is what the attacker knows, in the clear; the second half is what was released."""
    title = f"Do frequencies give {kind} away?"
    order = np.argsort(side.times, kind="stable") if np.isfinite(side.times).any() else np.arange(sample.count)
    early, late = np.sort(order[: len(order) // 2]), np.sort(order[len(order) // 2 :])
    known, pseudonyms, truth = _at(side.names, early), _at(side.pseudonyms, late), _at(side.names, late)
    if not set(truth) & set(known) - {None}:
        return Exposure.untested(f"frequency.{kind}", title, "Nobody is in both halves of the log; pass more records.")
    what, before, after = _context(sample, side)
    context = (_at(before, early), _at(after, late))
    plain = attack_frequency(known, pseudonyms, truth=truth, seed=seed)
    full = attack_frequency(known, pseudonyms, truth=truth, context=context, seed=seed)
    controls = frequency_controls(
        lambda given, true: attack_frequency(known, given, truth=true, context=context, seed=seed), truth, pseudonyms, seed=seed
    )
    best = max((plain, full), key=lambda linked: linked.named.value)
    verdict, severity = judged(best.named, controls, leaks=plain.leaks or full.leaks)
    if plain.named.cases < _FEW:
        verdict, severity = NOT_TESTED, "info"
    rows = (_row("how often each appears", plain), _row(f"and with what: {what}", full))
    advice = (
        f"Rotate epochs more often (tacit logs keys rotate): counts are then those of a shorter time{_longest(sample, side)}.",
        f"Keep less beside «{side.path}»: coarser times, fewer kept fields; suppress values that fewer than k have.",
        "Where figures are all that is needed, release those with a guarantee instead: tacit logs stats.",
    )
    return Exposure(
        f"frequency.{kind}", title, verdict, severity,
        f"how often each name appeared in the first half of the log (field «{side.path}»), and with what ({what})", _sentence(best, kind),
        _meaning(verdict, f"a pseudonym in «{side.path}» hides a name from whoever knows no habits, and only from them"),
        () if verdict == NO_LEAK else advice, best.named, (Table(f"Pseudonyms in «{side.path}»", _HEADS, rows),), controls,
        {"field": side.path, "attacks": [plain.to_dict(), full.to_dict()]},
    )  # fmt: skip


def _context(sample: Sample, side: Side) -> tuple[str, Column, Column]:
    """What stands beside names and pseudonyms alike: hours of the day, and the kept field that tells most."""
    path = kind_of_event(sample)
    kept: tuple[Column, Column] = ([""] * sample.count,) * 2 if path is None else (sample.original[path], sample.released[path])
    hours = [[int(t // _HOURS) % 24 // 3 if np.isfinite(t) else -1 for t in times.tolist()] for times in (side.times, side.released)]
    cells = [[f"{hour}|{value}" for hour, value in zip(hour_column, column, strict=True)] for hour_column, column in zip(hours, kept, strict=True)]
    what = " and ".join(["hours of the day", *([] if path is None else [f"«{path}»"])])
    return what, cells[0], cells[1]


def _injection(sample: Sample, side: Side | None, seed: int) -> Exposure:
    """Some people's own events serve as those that the attacker caused."""
    title = "Can somebody be found who was made to appear in the log?"
    if side is None or not np.isfinite(side.released).any():
        return Exposure.untested("injection", title, "No time was released, or no pseudonyms of people; the order of records was not attacked.")
    known = _targets(side, seed)
    port = _number(sample)
    marks: tuple[Column | None, Column | None] = (None, None) if port is None else (sample.original[port], sample.released[port])
    attacks = [
        attack_injection(known, Trace(side.pseudonyms, side.released), truth=side.names, events=k, tolerance=side.moved, seed=seed)
        for k in _CAUSED if _enough(known, k)
    ]
    if not attacks:
        return Exposure.untested("injection", title, "Nobody has an event at a known time.")
    rows = [_row(f"{_events(linked.details['caused'])}", linked) for linked in attacks]
    if port is not None:
        sides = Trace(known.who, known.times, marks[0]), Trace(side.pseudonyms, side.released, marks[1])
        marked = attack_injection(*sides, truth=side.names, events=1, tolerance=side.moved, seed=seed)
        rows.append(_row(f"when 1 event was, and its «{port}»", marked))
        attacks.append(marked)
    events = 3 if _enough(known, 3) else 1
    rows += _if_coarser(side, known, events, seed)
    plain = Trace(side.pseudonyms, side.released)
    controls = injection_controls(
        lambda given, true: attack_injection(known, given, truth=true, events=1, tolerance=side.moved, seed=seed), plain, side.names, seed=seed
    )
    best = max(attacks, key=lambda linked: linked.named.value)
    verdict, severity = judged(best.named, controls, leaks=any(linked.leaks for linked in attacks))
    return Exposure(
        "injection", title, verdict, severity, "when events of somebody were that the attacker caused, and how far the policy moves times",
        _sentence(best, "targets"), _meaning(verdict, _FOUND), () if verdict == NO_LEAK else _coarsen(sample), best.named,
        (Table(f"Targets found in «{side.path}»", _HEADS, tuple(rows)), *_epochs(side)), controls,
        {"field": side.path, "attacks": [linked.to_dict() for linked in attacks]},
    )  # fmt: skip


_FOUND = (
    "whoever can send somebody a mail, or fail to log on as them, finds their pseudonym, and reads all else that stands under it until the epoch ends"
)


def _events(count: int) -> str:
    return "when 1 event was" if count == 1 else f"when {count} events were"


def _if_coarser(side: Side, known: Trace, events: int, seed: int) -> list[tuple[str, ...]]:
    """The same attack if times were rounded down further: what that would be worth."""
    rows = []
    for name, width in _COARSER:
        if width > sum(side.moved) and len(known) * width < 2e9:
            coarse = np.floor(side.times / width) * width
            tried = attack_injection(known, Trace(side.pseudonyms, coarse), truth=side.names, events=events, tolerance=(width, 0.0), seed=seed)
            rows.append(_row(f"{_events(events)}, if times were rounded to the {name}", tried))
    return rows


def _epochs(side: Side) -> tuple[Table, ...]:
    """How many of a person's events hang together by one pseudonym, and would if epochs were shorter."""
    there = np.array([value is not None for value in side.pseudonyms]) & np.isfinite(side.times)
    if not there.any():
        return ()
    who = np.unique(np.array([str(value) for value in side.names], dtype=object)[there].astype(str), return_inverse=True)[1]
    shown = np.unique(np.array([str(value) for value in side.pseudonyms], dtype=object)[there].astype(str), return_inverse=True)[1]
    rows = [("as released", percent(_together(who, shown)))]
    times = side.times[there]
    for name, width in (("week", 604_800), ("day", 86_400), ("hour", 3_600)):
        if times.max() - times.min() > width:
            rows.append((f"an epoch of one {name}", percent(_together(who, np.floor(times / width).astype(np.int64)))))
    return (Table("Linked once one event is: share of a person's events under the same pseudonym", ("Epochs", "Share of their events"), tuple(rows)),)


def _together(who: NDArray[np.int64], part: NDArray[np.int64]) -> float:
    """Chance that another event of the same person is in the same part, averaged over events."""
    pairs = np.unique(np.stack([who, part]), axis=1, return_counts=True)
    totals = np.bincount(who)
    return float((pairs[1].astype(np.float64) ** 2 / totals[pairs[0][0]]).sum() / totals.sum())


def _timing(side: Side | None, seed: int) -> Exposure:
    """A second log is drawn from the original: some events of everybody, by a clock that is off, not exact."""
    title = "Can a second log with names be laid over it?"
    if side is None or not np.isfinite(side.released).any():
        return Exposure.untested("timing", title, "No time was released, or no pseudonyms of people; the order of records was not attacked.")
    seen = _second_log(side, seed)
    ways = [("times as released", side.released, side.moved)]
    if sum(side.moved) > 1 and not (np.diff(side.released[np.isfinite(side.released)]) >= 0).all():
        ways.append(("times put back by the order of the records", in_order(side.released), _usual(in_order(side.released) - side.times)))

    def attack(released: Trace, truth: Column, moved: tuple[float, float]) -> Linked:
        return attack_timing(seen, released, truth=truth, tolerance=(moved[0] + 2 * _INEXACT, moved[1] + 2 * _INEXACT), offset=_CLOCK, seed=seed)

    attacks = [attack(Trace(side.pseudonyms, times), side.names, moved) for _, times, moved in ways]
    rows = [_row(name, linked) for (name, _, _), linked in zip(ways, attacks, strict=True)]
    for name, width in _COARSER:
        if width > sum(side.moved) and len(seen) * width < 2e8:
            coarse = np.floor(side.times / width) * width
            rows.append(_row(f"if times were rounded to the {name}", attack(Trace(side.pseudonyms, coarse), side.names, (width, 0.0))))
    best = max(range(len(attacks)), key=lambda place: attacks[place].named.value)
    times, moved = ways[best][1:]
    controls = timing_controls(lambda given, true: attack(given, list(true), moved), Trace(side.pseudonyms, times), side.names, seed=seed)
    verdict, severity = judged(attacks[best].named, controls, leaks=any(linked.leaks for linked in attacks))
    return Exposure(
        "timing", title, verdict, severity, f"a second log with names (of doors, of a VPN) that saw up to {_SIGHTINGS} events of everybody, "
        f"each to about {_INEXACT:g} s, by a clock up to {_CLOCK:g} s off", _sentence(attacks[best], "people"),
        _meaning(verdict, "whoever holds any other log of the same people with names can put them onto the pseudonyms"),
        () if verdict == NO_LEAK else _COARSEN, attacks[best].named, (Table(f"People found in «{side.path}»", _HEADS, tuple(rows)),), controls,
        {"field": side.path, "attacks": [linked.to_dict() for linked in attacks]},
    )  # fmt: skip


def _second_log(side: Side, seed: int) -> Trace:
    rng = np.random.default_rng(seed + 1)
    rows = rng.permutation(np.flatnonzero(np.isfinite(side.times) & np.array([name is not None for name in side.names])))
    counts: dict[object, int] = {}
    kept = []
    for row in rows.tolist():
        counts[side.names[row]] = counts.get(side.names[row], 0) + 1
        if counts[side.names[row]] <= _SIGHTINGS:
            kept.append(row)
    rows = np.sort(np.array(kept, np.int64))
    clock = rng.uniform(-_CLOCK, _CLOCK) * 0.9
    return Trace(_at(side.names, rows), side.times[rows] + clock + rng.normal(0, _INEXACT, len(rows)))


def _targets(side: Side, seed: int) -> Trace:
    """Some of the people, with all their events."""
    names = sorted({name for name, there in zip(side.names, side.pseudonyms, strict=True) if name is not None and there is not None})
    chosen = {names[place] for place in np.random.default_rng(seed).permutation(len(names))[:_TARGETS]}
    rows = np.array([row for row, name in enumerate(side.names) if name in chosen and side.pseudonyms[row] is not None], np.int64)
    kept: Column = [None] * len(side.names)
    for row in rows.tolist():
        kept[row] = side.names[row]
    return Trace(kept, side.times)


def _enough(known: Trace, events: int) -> bool:
    """Whether at least a few people have so many events at known times."""
    counts: dict[object, int] = {}
    for name, moment in zip(known.who, known.times.tolist(), strict=True):
        if name is not None and moment == moment:
            counts[name] = counts.get(name, 0) + 1
    return sum(count >= events for count in counts.values()) >= (1 if events == 1 else _FEW)


def _number(sample: Sample) -> str | None:
    """The kept number that tells events apart best: what an attacker would note beside the time, such as his port."""
    best, most = None, 0.1 * sample.count
    for path in sample.paths("keep"):
        values = {value for value in sample.released[path] if isinstance(value, int) and not isinstance(value, bool)}
        if len(values) > most and path in sample.original:
            best, most = path, len(values)
    return best


def _usual(away: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.nanquantile(away, [0.02, 0.98])
    return max(0.0, float(-low)) + 1e-3, max(0.0, float(high)) + 1e-3


def _at(column: Column, rows: NDArray[np.int64] | NDArray[np.intp]) -> Column:
    return [column[row] for row in rows.tolist()]


_HEADS = ("What the attacker knows", "Found at the first guess", "By guessing", "Among the 5 likeliest", "Their events linked")
_COARSEN = (
    "Coarsen the time: «generalise» with «to: minute» or «to: hour»; the table says what that is worth here. A «jitter» that leaves records in "
    "order is undone by their order.",
    "Rotate epochs more often (tacit logs keys rotate): a link then holds for a shorter time.",
    "Release statistics with a guarantee (tacit logs stats) to whoever could hold a second log.",
)


def _coarsen(sample: Sample) -> tuple[str, ...]:
    port = _number(sample)
    more = () if port is None else (f"Drop «{port}», or make it coarser: beside a time it points at single events.",)
    return _COARSEN[:1] + more + _COARSEN[1:]


def _row(name: str, linked: Linked) -> tuple[str, ...]:
    low, high = linked.named.interval
    five = linked.top.get(5)
    return (
        name, f"{percent(linked.named.value)} ({percent(low)} to {percent(high)})", percent(linked.named.chance),
        "–" if five is None else percent(five.value), percent(linked.events.value),
    )  # fmt: skip


def _sentence(linked: Linked, whom: str) -> str:
    low, high = linked.named.interval
    return (
        f"{percent(linked.named.value)} of {linked.named.cases:,.0f} {whom} are found at the first guess ({percent(low)} to {percent(high)}; "
        f"guessing finds {percent(linked.named.chance)}), and with them {percent(linked.events.value)} of their events. The truth is at place "
        f"{linked.rank:g} of {linked.candidates:,} (median)."
    )


def _meaning(verdict: str, leak: str) -> str:
    if verdict == NOT_TESTED:
        return "A control read wrong, or there are too few to tell: this attack says nothing here."
    if verdict == NO_LEAK:
        return "This attack, with this knowledge and on this sample, finds no more than guessing. Whoever knows more may."
    return leak[0].upper() + leak[1:] + "."


def _longest(sample: Sample, side: Side) -> str:
    there = side.times[np.isfinite(side.times)]
    hours = (there.max() - there.min()) / _HOURS if len(there) else 0.0
    return f" than the {hours:,.0f} hours here" if hours >= 1 else ""
