"""Rules evaluated over a batch of events: each test once for each different value, whatever number of rules and events share it.

What Sigma means is kept: texts are compared without regard to case unless a rule says otherwise, ``*`` and ``?`` stand for any text and any sign,
numbers equal the texts that write them, a list fits if any of its items does, and a field that is absent fits nothing but «null».
Patterns take time proportional to the text; regular expressions are RE2's, which do not backtrack.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tacit.logs.content.columns import Column, Columns, Mask
from tacit.logs.content.expressions import compiled
from tacit.logs.content.reading import Rule
from tacit.logs.content.sources import Source, Wanted
from tacit.logs.content.tree import (
    Both,
    Compared,
    Constant,
    Exists,
    Negated,
    Network,
    Null,
    Parts,
    Reference,
    Regex,
    Scalar,
    Test,
    Text,
    Tree,
    Wild,
)
from tacit.logs.formats import Event

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "lt": lambda a, b: a < b, "lte": lambda a, b: a <= b, "gt": lambda a, b: a > b, "gte": lambda a, b: a >= b, "neq": lambda a, b: a != b,
}  # fmt: skip


def matches(rules: Sequence[Rule], events: Sequence[Event], source: Source) -> dict[str, list[int]]:
    """Which events each rule fires on: places by the rule's identifier, for the rules that fire at all."""
    batch = Batch(events, source)
    found: dict[str, list[int]] = {}
    for rule in rules:
        rows = batch.rows(rule)
        if rows:
            found[rule.id] = sorted({*found.get(rule.id, ()), *rows})
    return found


class Batch:
    """Events, and what tests said of them."""

    def __init__(self, events: Sequence[Event], source: Source) -> None:
        self._columns, self._source = Columns(events, source), source
        self._count = len(events)
        self._known: dict[Test, Mask] = {}
        self._scopes: dict[tuple[Any, ...], Mask] = {}

    def rows(self, rule: Rule) -> list[int]:
        """The events that a rule fires on."""
        wanted = self._source.wanted(rule)
        if isinstance(wanted, str):
            return []
        scope = None if wanted is None else self._scope(wanted)
        if scope is not None and not scope.any():
            return []
        found = self._tree(rule.tree)
        return [int(row) for row in np.flatnonzero(found if scope is None else found & scope)]

    def _scope(self, wanted: Wanted) -> Mask:
        key = tuple(wanted.channels.items())
        if key not in self._scopes:
            found = np.zeros(self._count, bool)
            for (channel, number), rows in self._columns.labels().items():
                if channel in wanted.channels and (not wanted.channels[channel] or number in wanted.channels[channel]):
                    found[rows] = True
            self._scopes[key] = found
        return self._scopes[key]

    def _tree(self, tree: Tree) -> Mask:
        if isinstance(tree, Test):
            if tree not in self._known:
                self._known[tree] = self._test(tree)
            return self._known[tree]
        if isinstance(tree, Constant):
            return np.full(self._count, tree.holds)
        if isinstance(tree, Negated):
            return ~self._tree(tree.of)
        conjunction = isinstance(tree, Both)
        found = np.full(self._count, conjunction)
        for item in tree.of:
            found = found & self._tree(item) if conjunction else found | self._tree(item)
            if conjunction and not found.any():
                break
        return found

    def _test(self, test: Test) -> Mask:
        column, value = self._columns.of(test.field), test.value
        if isinstance(value, Null):
            return ~column.present
        if isinstance(value, Exists):
            return column.present if value.there else ~column.present
        if isinstance(value, Reference):
            return self._referenced(column, value)
        return column.spread(_hits(column, value, anywhere=test.field is None))

    def _referenced(self, column: Column, value: Reference) -> Mask:
        other = self._columns.of(value.field)
        theirs, found = other.by_event(), np.zeros(self._count, bool)
        for row, codes in column.by_event().items():
            pairs = ((column.lows[code], other.lows[theirs_code]) for code in codes for theirs_code in theirs.get(row, ()))
            found[row] = any(
                own.startswith(their) if value.begins else own.endswith(their) if value.ends else own == their for own, their in pairs
            )
        return found


def _hits(column: Column, value: Any, *, anywhere: bool) -> Mask:
    if isinstance(value, Text):
        return _texts(column, value, anywhere)
    if isinstance(value, Scalar):
        text = str(value.value).lower() if isinstance(value.value, bool) else str(value.value)
        return _each(column.lows, lambda own: text in own) if anywhere else column.equal(text)
    if isinstance(value, Regex):
        search = compiled(value)
        return _each(column.texts, lambda text: search(text) is not None)
    if isinstance(value, Network):
        network = ipaddress.ip_network(value.cidr)
        return _each(column.texts, lambda text: _inside(text, network))
    if isinstance(value, Compared):
        return _each(column.texts, lambda text: _compared(text, value))
    return np.zeros(len(column.texts), bool)


def _each(texts: Sequence[str], holds: Callable[[str], bool]) -> Mask:
    return np.fromiter(map(holds, texts), bool, len(texts))


def _texts(column: Column, value: Text, anywhere: bool) -> Mask:
    parts = value.parts if value.cased else tuple(part.lower() if isinstance(part, str) else part for part in value.parts)
    if anywhere:
        parts = _open(parts)
    if not value.cased and all(isinstance(part, str) for part in parts):
        return column.equal("".join(map(str, parts)))
    return _each(column.texts if value.cased else column.lows, pattern(parts))


def _open(parts: Parts) -> Parts:
    """A keyword is looked for anywhere in a value."""
    begin = () if parts[:1] == (Wild.ANY,) else (Wild.ANY,)
    end = () if parts[-1:] == (Wild.ANY,) else (Wild.ANY,)
    return (*begin, *parts, *end) if parts else (Wild.ANY,)


def pattern(parts: Parts) -> Callable[[str], bool]:
    """Whether a text fits a pattern, in time proportional to the text for each of the pattern's texts.

    >>> fits = pattern(("a", Wild.ANY, "b", Wild.ONE))
    >>> fits("a..b!"), fits("ab"), fits("xab!")
    (True, False, False)
    """
    pieces = _pieces(parts)
    if len(pieces) == 1:
        whole = pieces[0]
        return (lambda text: text == whole) if isinstance(whole, str) else (lambda text: whole.fullmatch(text) is not None)
    if all(isinstance(piece, str) for piece in pieces):
        return _plain([str(piece) for piece in pieces])
    return lambda text: _walk(text, pieces)


def _pieces(parts: Parts) -> list[str | re.Pattern[str]]:
    """What stands between the places that any text may take: a text, or an expression without repetition where a single sign is free."""
    groups: list[list[str | Wild]] = [[]]
    for part in parts:
        if part is Wild.ANY:
            groups.append([])
        else:
            groups[-1].append(part)
    return [
        "".join(map(str, group)) if all(isinstance(part, str) for part in group)
        else re.compile("".join("." if isinstance(part, Wild) else re.escape(part) for part in group), re.DOTALL)
        for group in groups
    ]  # fmt: skip


def _plain(pieces: Sequence[str]) -> Callable[[str], bool]:
    begin, *middle, end = pieces
    if not begin and not end and len(middle) == 1:
        only = middle[0]
        return lambda text: only in text
    if not middle:
        if not begin:
            return lambda text: text.endswith(end)
        if not end:
            return lambda text: text.startswith(begin)

    def fits(text: str) -> bool:
        if not text.startswith(begin) or not text.endswith(end) or len(text) < len(begin) + len(end):
            return False
        place, last = len(begin), len(text) - len(end)
        for piece in middle:
            found = text.find(piece, place, last)
            if found < 0:
                return False
            place = found + len(piece)
        return True

    return fits


def _walk(text: str, pieces: Sequence[str | re.Pattern[str]]) -> bool:
    expressions = [re.compile(re.escape(piece)) if isinstance(piece, str) else piece for piece in pieces]
    first = expressions[0].match(text)
    if first is None:
        return False
    place = first.end()
    for expression in expressions[1:-1]:
        found = expression.search(text, place)
        if found is None:
            return False
        place = found.end()
    length = sum(len(part) for part in (pieces[-1],)) if isinstance(pieces[-1], str) else _width(pieces[-1])
    start = len(text) - length
    return start >= place and expressions[-1].fullmatch(text, start) is not None


def _width(expression: re.Pattern[str]) -> int:
    """How many signs an expression without repetition takes."""
    return len(re.sub(r"\\(.)", r"\1", expression.pattern, flags=re.DOTALL))


def _inside(text: str, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    try:
        own = ipaddress.ip_network(text.strip("[]").partition("%")[0], strict=False)
    except ValueError:
        return False
    mapped = own.network_address.ipv4_mapped if isinstance(own, ipaddress.IPv6Network) and own.prefixlen == 128 else None
    if mapped is not None and network.version == 4:
        own = ipaddress.ip_network(str(mapped))
    return own.version == network.version and own.subnet_of(network)  # type: ignore[arg-type]


def _compared(text: str, value: Compared) -> bool:
    try:
        number = float(text)
    except ValueError:
        return False
    return _OPERATORS[value.operator](number, value.number)
