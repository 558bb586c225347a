"""The one core behind every path: a batch of events in, the same events out with only what the policy lets through.

A file of a million events, a pipe and a listener differ only in how many events they bring at once. Equal values are treated once; everything that
can be is treated for the whole batch in one call.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from tacit.logs.anonymise.native import Native, Scanned, kernel, reads
from tacit.logs.anonymise.outcomes import Table, Treated, block_of
from tacit.logs.anonymise.reading import Lines
from tacit.logs.anonymise.shapes import Column, Shapes
from tacit.logs.anonymise.tree import tree_of
from tacit.logs.formats import Event, json_writer, value_at, with_member
from tacit.logs.keys import Recorder
from tacit.logs.policies import SourcePolicy
from tacit.logs.treatments import FIRST, SECOND, Identities, Key, Note, Rows, Scalar, Text, Tools, Treatment, build

_MOST_REMEMBERED = 200_000
_BETWEEN = "\u00a6"  # a sign that hardly any log holds
_MOST_KEYS, _LONGEST_KEY = 5_000, 64
_Written = TypeVar("_Written", Treated, Table)
UNKNOWN_FIELD = "a field that the policy does not name"


class Anonymiser:
    """A policy with a key, ready for batches.

    >>> from tacit.logs.keys import EpochKey
    >>> policy = SourcePolicy.parse("{version: 1, source: web, format: json, fields: {user: user, bytes: keep, note: scrub}}")
    >>> treated = Anonymiser(policy, EpochKey.for_tests()).batch([{"user": "anna", "bytes": 17, "note": "Anna, again", "extra": "x"}])
    >>> event = treated.events[0]
    >>> event["user"][:5], event["bytes"], event["note"][-7:], treated.unknown
    ('u-k7-', 17, ', again', Counter({'extra': 1}))

    Args:
        policy: of the source.
        key: of the epoch.
        prior: the former epoch's key while an overlap lasts: events then carry earlier pseudonyms too, in ``tacit.prior``.
        identities: a dictionary learned beforehand; it is extended.
        compiled: use the compiled reader, if it is installed.
        recorder: keeps what a pseudonym stands for, sealed; what a batch named is durable before the batch is returned.
    """

    def __init__(
        self, policy: SourcePolicy, key: Key, *, prior: Key | None = None, identities: Identities | None = None, recorder: Recorder | None = None,
        compiled: bool = True,
    ) -> None:
        self.policy, self._recorder = policy, recorder
        self.tools = _tools(policy, key, identities, None if recorder is None else recorder.note)
        self._rules = list(policy.fields.values())
        self._root = tree_of(policy.fields)
        self._dropped = frozenset(number for number, rule in enumerate(self._rules) if rule.treatment == "drop")
        self._treatments: list[Treatment | None] = [build(rule.treatment, self.tools, rule.options) for rule in self._rules]
        self._memos: tuple[list[dict[Any, Any]], ...] = tuple([{} for _ in self._rules] for _ in range(2))
        self._keys: dict[str, tuple[int, bool]] = {}
        self._prior = None if prior is None else _Prior(policy, _tools(policy, prior, None))
        self._context = [name.split(".") if name else None for name in (policy.time, policy.entity, policy.unit)]
        self._rowwise = prior is not None or any(treatment is not None and not treatment.alone for treatment in self._treatments)
        self._wanted = compiled and not self._rowwise
        self._native: Native | None = None
        self.restart()

    @property
    def compiled(self) -> bool:
        """Whether lines are read by compiled code, as far as it can."""
        return self._native is not None

    def keep(self) -> None:
        """Put away what the recorder was told and could not write.

        Raises:
            StorageError: it still cannot; nothing is lost.
        """
        if self._recorder is not None:
            self._recorder.flush()

    def restart(self) -> None:
        """Let compiled code begin anew: after an exception it may be in the midst of a batch."""
        self._native = None if not self._wanted or kernel() is None else Native(
            self._root, self._treatments, dropped=self._dropped, refuse=self.policy.unknown == "refuse", tools=self.tools,
            urls=frozenset(number for number, rule in enumerate(self._rules) if rule.treatment == "url"),
        )

    def batch(self, events: Iterable[Event]) -> Treated:
        """Treat events."""
        return self._treated(events, Shapes.put_together)

    def texts(self, events: Iterable[Event]) -> Treated:
        """The same, as JSON texts without spaces: what `batch` gives, written by a JSON writer.

        Of `Lines` a compiled reader takes what it can, where it is installed.
        """
        return self._natively(events, lambda scanned, refused: scanned.merged(refused, block=False)) or self._treated(events, Shapes.lines)

    def table(self, events: Iterable[Event]) -> Table:
        """The same, as one list per path. An overlap's earlier pseudonyms are not attached."""
        with _no_collection():
            shapes = self._shapes(events, text=False)
            columns, places = shapes.table(), shapes.passed()
            if len(places) < shapes.count:
                columns = {path: list(map(values.__getitem__, places)) for path, values in columns.items()}
        return Table(places, _refused(shapes), shapes.unknown, columns)

    def arrays(self, events: Iterable[Event]) -> Table:
        """What `table` gives; a column is an array of Arrow where compiled code has read its values and all are of one kind."""
        return self._natively(events, Scanned.table, columns=True) or self.table(events)

    def block(self, events: Iterable[Event]) -> Treated:
        """The same, as lines in one block of bytes: the only one of `events`."""
        treated = self._natively(events, lambda scanned, refused: scanned.merged(refused, block=True))
        if treated is None:
            treated = self._treated(events, Shapes.lines)
            treated.events = [block_of(treated.events)]
        return treated

    def learn(self, events: Iterable[Event], *, everywhere: bool = False) -> int:
        """Enter what structured fields name into the dictionary, and treat nothing; returns how many identities it holds.

        A first pass over a file finds names also in texts that come before the first field that holds them.

        Args:
            events: to learn from.
            everywhere: also what addresses of pages, paths and texts announce, where no field holds it. After a pass without and one with it, what
                comes of a file hardly depends on the order of its records.
        """
        with _no_collection():
            scanned = None if everywhere else self._scanned(events, lambda key: False)
            if scanned is None:
                shapes = Shapes(self._root, dropped=self._dropped, key_holds=lambda key: False)
                shapes.take_apart(events)
            else:
                shapes = scanned.shapes
            touched, last = scanned.touched if scanned else frozenset(), SECOND if everywhere else FIRST
            self._by_column(shapes, None, text=scanned is not None, touched=touched, last=last)
            if everywhere:
                self.tools.scrubber.texts(_distinct(self._texts(shapes)))
        return len(self.tools.identities)

    def know(self, *, users: Iterable[str] = (), hosts: Iterable[str] = ()) -> int:
        """Enter accounts, e-mail addresses and hosts from a directory; returns how many identities the dictionary holds."""
        for user in users:
            self.tools.names.user(user)
        for host in hosts:
            self.tools.names.host(host)
        return len(self.tools.identities)

    def _natively(
        self, events: Iterable[Event], write: Callable[[Scanned, list[tuple[int, str]]], _Written | None], *, columns: bool = False
    ) -> _Written | None:
        """What is written of lines, most of them read by compiled code; nothing where that cannot be."""
        with _no_collection():
            scanned = self._scanned(events, self._holds, columns=columns)
            if scanned is None:
                return None
            shapes, native = scanned.shapes, scanned.native
            self._by_column(shapes, None, text=not columns, touched=scanned.touched)
            _searched(self._texts(shapes), native.search, None if columns else json_writer())
            self.keep()
            found = write(scanned, _refused(shapes))
        if found is None and isinstance(events, Lines):
            events.forget()
        return found

    def _scanned(self, events: Iterable[Event], holds: Callable[[str], bool], *, columns: bool = False) -> Scanned | None:
        """Lines read by compiled code, and the events of those that it leaves to others."""
        native = self._native
        if native is None or not isinstance(events, Lines) or not reads(events.form):
            return None
        others = native.scan(events.lines, holds, columns=columns)
        if others is None:
            return None
        shapes = Shapes(self._root, dropped=self._dropped, key_holds=holds, refuse=self.policy.unknown == "refuse")
        shapes.take_apart(events.some(others))
        if shapes.irregular or (columns and not native.apart(shapes)):
            events.forget()
            return None
        native.tell_unknown(shapes)
        return Scanned(native, events, others=others, shapes=shapes)

    def _treated(self, events: Iterable[Event], write: Callable[[Shapes], list[Any]]) -> Treated:
        text = write is Shapes.lines
        with _no_collection():
            shapes = self._shapes(events, text=text)
            found = write(shapes)
            if self._prior is not None:
                found = self._prior.added(found, shapes.columns, text)
        places = shapes.passed()
        return Treated(places, _refused(shapes), shapes.unknown, list(map(found.__getitem__, places)))

    def _shapes(self, events: Iterable[Event], *, text: bool) -> Shapes:
        """A batch, taken apart, with every column treated."""
        refuse = self.policy.unknown == "refuse"
        shapes = Shapes(self._root, dropped=self._dropped, key_holds=self._holds, refuse=refuse, rowwise=self._rowwise)
        context = _Context(self._context) if self._rowwise else None
        shapes.take_apart(events if context is None else context.watched(events))
        self._by_column(shapes, context, text=text)
        _searched(self._texts(shapes), self.tools.scrubber.texts, json_writer() if text else None)
        self.keep()
        return shapes

    def _by_column(
        self, shapes: Shapes, context: _Context | None, *, text: bool, touched: frozenset[int] = frozenset(), last: int = SECOND
    ) -> None:
        """Treat every column but those of texts, in the order of the rules: always the same, as of two pseudonyms of a name the first is kept.

        Args:
            shapes: whose columns.
            context: of the rows, where a treatment needs it.
            text: whether JSON texts are wanted.
            touched: rules with new values among the lines that compiled code has read.
            last: of the stages.
        """
        if touched and self._native is not None:
            self._native.look_ahead([number for number in sorted(touched) if self._rules[number].treatment == "address"])
        for stage in (FIRST, SECOND)[: last + 1]:
            for number in sorted({*shapes.columns, *touched}):
                if self._stage(number) != stage:
                    continue
                if number in touched and self._native is not None:
                    self._native.treat(number, json_writer())
                if number in shapes.columns:
                    self._column(number, shapes.columns[number], context, text)

    def _stage(self, number: int) -> int:
        treatment = self._treatments[number]
        return SECOND if treatment is None else treatment.stage

    def _texts(self, shapes: Shapes) -> list[tuple[Text, Column]]:
        return [(treatment, column) for number, column in shapes.columns.items() if isinstance(treatment := self._treatments[number], Text)]

    def _holds(self, key: str) -> bool:
        """Whether a key that only a pattern matched may itself name somebody."""
        version = self.tools.identities.version
        known = self._keys.get(key)
        if known is None or known[0] != version:
            if len(self._keys) > _MOST_KEYS:
                self._keys.clear()
            known = self._keys[key] = (version, len(key) > _LONGEST_KEY or self.tools.scrubber.texts([key])[0] != key)
        return known[1]

    def _column(self, number: int, column: Column, rows: _Context | None, text: bool) -> None:
        treatment, write = self._treatments[number], json_writer() if text else None
        if treatment is None:
            column.out = _kept(column.values, write) if write else column.values
        elif treatment.alone:
            memo = self._memos[text][number] if treatment.stable else {}
            column.out = _looked_up(memo, column.values, treatment, write)
        else:
            column.out = _with_rows(treatment, column, rows, write)


def _refused(shapes: Shapes) -> list[tuple[int, str]]:
    return [(place, UNKNOWN_FIELD) for place in sorted(shapes.unknown_rows)]


def _tools(policy: SourcePolicy, key: Key, identities: Identities | None, note: Note | None = None) -> Tools:
    return Tools(key, identities, accounts=policy.accounts, domains=policy.domains, networks=policy.networks, note=note)


class _Context:
    """Time, entity and unit of every event of a batch."""

    def __init__(self, paths: Sequence[list[str] | None]) -> None:
        self._paths = paths
        self._columns: list[list[Scalar]] = [[] for _ in paths]

    def watched(self, events: Iterable[Event]) -> Iterator[Event]:
        """The events, noted while they pass."""
        for event in events:
            for path, column in zip(self._paths, self._columns, strict=True):
                column.append(_scalar_at(event, path) if path else None)
            yield event

    def of(self, rows: Sequence[int]) -> Rows:
        """Of the values of some rows."""
        time, entity, unit = ([column[row] for row in rows] for column in self._columns)
        return Rows(time, entity, unit)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Without the collector of cycles: a batch makes a million objects and no cycle, and looking for one takes longer than all else."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _scalar_at(event: Event, path: Sequence[str]) -> Scalar:
    value = value_at(event, path)
    return value if isinstance(value, str | int | float) else None


def _looked_up(memo: dict[Any, Any], values: list[Any], treatment: Treatment, write: Callable[[Any], str] | None) -> list[Any]:
    """Each different value once. Values of several types are told apart: 1, 1.0 and true are one key of a dictionary."""
    if set(map(type, values)) == {str}:
        missing = set(values).difference(memo)
        if missing and len(memo) > _MOST_REMEMBERED:
            memo.clear()
            missing = set(values)
        memo.update(_each(list(missing), list(missing), treatment, write))
        return list(map(memo.__getitem__, values))
    keys = [(type(value), value) for value in values]
    distinct = [key for key in set(keys) if key[1] is not None]
    found = dict(_each(distinct, [value for _, value in distinct], treatment, write))
    found[(type(None), None)] = "null" if write else None
    return list(map(found.__getitem__, keys))


def _searched(texts: list[tuple[Text, Column]], search: Callable[[list[str]], list[str]], write: Callable[[Any], str] | None) -> None:
    """Free text of all columns, searched in one call."""
    distinct = _distinct(texts)
    found = dict(zip(distinct, search(distinct), strict=True))
    for treatment, column in texts:
        own = set(column.values) if set(map(type, column.values)) == {str} else None
        if own is None:
            out = [treatment.finished(found[value]) if type(value) is str else value for value in column.values]
            column.out = list(map(write, out)) if write else out
        else:
            done = {value: treatment.finished(found[value]) for value in own}
            written = {value: write(text) for value, text in done.items()} if write else done
            column.out = list(map(written.__getitem__, column.values))


def _distinct(texts: list[tuple[Text, Column]]) -> list[str]:
    return list(dict.fromkeys(value for _, column in texts for value in column.values if type(value) is str))


def _each(keys: list[Any], values: list[Any], treatment: Treatment, write: Callable[[Any], str] | None) -> Iterable[tuple[Any, Any]]:
    """Each key with its value after treatment."""
    treated = treatment.many(values) if values else ()
    return zip(keys, map(write, treated) if write else treated, strict=True)


def _with_rows(treatment: Treatment, column: Column, rows: _Context | None, write: Callable[[Any], str] | None) -> list[Any]:
    """Every value with its event, in the order of the events."""
    places = [place for place, value in enumerate(column.values) if value is not None]
    places.sort(key=column.rows.__getitem__)
    out: list[Any] = [None] * len(column.values)
    if places and rows is not None:
        treated = treatment.many([column.values[place] for place in places], rows.of([column.rows[place] for place in places]))
        for place, value in zip(places, treated, strict=True):
            out[place] = value
    return list(map(write, out)) if write else out


def _kept(values: list[Any], write: Callable[[Any], str]) -> list[str]:
    types = set(map(type, values))
    if types == {int}:
        return list(map(str, values))
    if types == {str}:
        distinct = set(values)
        if 2 * len(distinct) < len(values):
            written = {value: write(value) for value in distinct}
            return list(map(written.__getitem__, values))
        return _quoted(values, write)
    return list(map(write, values))


def _quoted(texts: Sequence[str], write: Callable[[Any], str]) -> list[str]:
    """The JSON texts of many texts. Where none needs an escape, that is one replacement over all of them."""
    joined = _BETWEEN.join(texts)
    if joined.isprintable() and '"' not in joined and "\\" not in joined and joined.count(_BETWEEN) == len(texts) - 1:
        return f'"{joined}"'.replace(_BETWEEN, f'"{_BETWEEN}"').split(_BETWEEN)
    return list(map(write, texts))


_EARLIER = ("user", "host", "principal", "email", "id")
"""Treatments whose pseudonyms carry an epoch."""


class _Prior:
    """Pseudonyms of the former epoch, beside the new ones while the overlap lasts."""

    def __init__(self, policy: SourcePolicy, tools: Tools) -> None:
        self._paths = list(policy.fields)
        self._treatments = {
            number: treatment for number, rule in enumerate(policy.fields.values())
            if rule.treatment in _EARLIER and (treatment := build(rule.treatment, tools, rule.options)) is not None
        }

    def added(self, events: list[Any], columns: dict[int, Column], text: bool) -> list[Any]:
        """The events, each with ``tacit.prior``: path of a field, and the pseudonym that its value had before."""
        prior: list[dict[str, Any]] = [{} for _ in events]
        for number, treatment in self._treatments.items():
            if number in columns:
                column = columns[number]
                out = _looked_up({}, column.values, treatment, None)
                for row, value, original in zip(column.rows, out, column.values, strict=True):
                    if value is not None and value != original:
                        prior[row].setdefault(self._paths[number], value)
        if text:
            return [with_member(event, "tacit.prior", json.dumps(found)) if found else event for event, found in zip(events, prior, strict=True)]
        return [event | {"tacit.prior": found} if found else event for event, found in zip(events, prior, strict=True)]
