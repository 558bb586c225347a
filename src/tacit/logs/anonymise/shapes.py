"""Events column by column: events of one shape are taken apart together, and put together again after their values were treated.

Events are grouped by their keys, level by level, so that a column is one call in C however many events there are. What is put together again holds
only what a rule has let through: a field without a rule is never looked at.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import compress, islice
from operator import itemgetter
from typing import Any

from tacit.logs.anonymise.tree import Node
from tacit.logs.formats import Event, json_writer

_DEEPEST = 100
_CHUNK = 1_024
_PLAIN = re.compile(r"[A-Za-z_@$][A-Za-z0-9_@$ .:/-]{0,79}")
_MOST_UNKNOWN = 200  # names of a batch that are looked at: an event with 10,000 keys must not hold up the others
UNREADABLE = "(a name that is not shown)"


@dataclass(eq=False)
class Column:
    """All values that one rule treats in one batch, and the rows they come from."""

    values: list[Any] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    out: Sequence[Any] = ()


@dataclass(eq=False)
class _Pool:
    """All values of one chunk that stand at one path, whatever the shapes of the objects around them; `cell` says what became of them."""

    node: Node
    path: str
    values: list[Any] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    cell: Cell | None = None


@dataclass(eq=False)
class _Values:
    column: Column
    begin: int
    end: int


@dataclass(eq=False)
class _Objects:
    count: int
    groups: list[tuple[list[int], list[tuple[str, _Pool, int, int]]]]
    """For objects of one shape: their places, and for each key the pool that holds its values, and where in it."""


@dataclass(eq=False)
class _Lists:
    lengths: list[int]
    inner: Cell


@dataclass(eq=False)
class _Mixed:
    count: int
    parts: list[tuple[list[int], Cell]]


Cell = _Values | _Objects | _Lists | _Mixed


class Shapes:
    """One batch, taken apart.

    Args:
        root: the tree of the policy's paths.
        dropped: numbers of the rules that leave a field out.
        key_holds: whether a key that only a pattern matched may be an identity; such a field is treated as unknown.
        refuse: whether the rows with unknown fields are to be known.
        rowwise: whether the columns' rows are.
    """

    def __init__(
        self, root: Node, *, dropped: frozenset[int], key_holds: Callable[[str], bool], refuse: bool = False, rowwise: bool = False
    ) -> None:
        self._root, self._dropped, self._key_holds, self._refuse = root, dropped, key_holds, refuse
        self.columns: dict[int, Column] = defaultdict(Column)
        self.unknown: Counter[str] = Counter()
        self.unknown_rows: set[int] = set()
        self._looked = 0
        self._rows = refuse or rowwise
        self.count = 0
        self.irregular = False
        """Whether a field had a value of a kind for which there is no rule: what is left of it then depends on the events beside it."""
        self._tops: list[_Objects] = []

    def take_apart(self, events: Iterable[Event]) -> None:
        """Read all events into columns.

        A few hundred at a time, so that each is read while it still is in the processor's cache; where they are made on the way, none is kept.
        """
        source = iter(events)
        while chunk := list(islice(source, _CHUNK)):
            rows = list(range(self.count, self.count + len(chunk))) if self._rows else []
            self._tops.append(self._objects(_Pool(self._root, "", chunk, rows), 0))
            self.count += len(chunk)

    def passed(self) -> list[int]:
        """Places of the events that are not held back for a field without a rule."""
        return [place for place in range(self.count) if place not in self.unknown_rows] if self.unknown_rows else list(range(self.count))

    def put_together(self) -> list[Event]:
        """The events again, from what is in the columns' ``out``."""
        return [event for top in self._tops for event in _built(top)]

    def lines(self) -> list[str]:
        """The events again as JSON texts, where ``out`` holds the texts of the values."""
        return [line for top in self._tops for line in _written(top)]

    def table(self) -> dict[str, list[Any]]:
        """One list per path with a value per event, ``None`` where it is absent; lists stay lists, lists of objects become JSON texts."""
        found: dict[str, list[Any]] = {}
        begin = 0
        for top in self._tops:
            _spread(top, list(range(begin, begin + top.count)), "", (found, self.count))
            begin += top.count
        return found

    def stands(self) -> tuple[set[str], set[str]]:
        """Paths, each with a dot at its end, at which objects stand, and those at which anything else does; what is inside of lists is not looked at.

        A path that is spelt in two ways is among both.
        """
        objects: set[str] = set()
        others: set[str] = set()
        for top in self._tops:
            own: set[str] = set()
            for path, cell in _beneath(top):
                if isinstance(cell, _Objects) or path in own:
                    objects.add(path)
                else:
                    own.add(path)
            others |= own
        return objects, others

    def _objects(self, pool: _Pool, depth: int) -> _Objects:
        shapes: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for place, keys in enumerate(map(tuple, pool.values)):
            shapes[keys].append(place)
        pools: dict[str, _Pool | None] = {}
        members = [(places, self._members(pool, keys, places, pools)) for keys, places in shapes.items()]
        for inner in pools.values():
            if inner is not None:
                inner.cell = self._cell(inner, depth)
        groups = [(places, [member for member in some if member[1].cell is not None]) for places, some in members]
        return _Objects(len(pool.values), groups)

    def _members(
        self, pool: _Pool, keys: tuple[str, ...], places: list[int], pools: dict[str, _Pool | None]
    ) -> list[tuple[str, _Pool, int, int]]:
        whole = len(places) == len(pool.values)
        some = pool.values if whole else list(map(pool.values.__getitem__, places))
        rows = pool.rows if whole or not pool.rows else list(map(pool.rows.__getitem__, places))
        found = []
        for key in keys:
            if key not in pools:
                pools[key] = self._pool(pool, key)
            inner = pools[key]
            if inner is None:
                self._not_known(pool.path, key, rows, len(places))
                continue
            begin = len(inner.values)
            inner.values += map(itemgetter(key), some)
            inner.rows += rows
            found.append((key, inner, begin, begin + len(places)))
        return found

    def _pool(self, pool: _Pool, key: str) -> _Pool | None:
        """Where the values of a key go; ``None`` if the policy names no such field."""
        child = pool.node.child(key)
        if child is None or (pool.node.guessed and not pool.node.named(key) and self._key_holds(key)):
            return None
        return _Pool(child, f"{pool.path}{key}.")

    def _cell(self, pool: _Pool, depth: int) -> Cell | None:
        node = pool.node
        if node.rule is not None and node.rule in self._dropped and not node.children:
            return None
        types = set(map(type, pool.values))
        if dict not in types and list not in types:
            return self._scalars(pool)
        if depth >= _DEEPEST or (types == {dict} and not node.children and not node.guessed):
            self.irregular = True
            self._not_known(pool.path, "", pool.rows, len(pool.values))
            return None
        if types == {dict}:
            return self._objects(pool, depth + 1)
        return self._lists(pool, depth) if types == {list} else self._mixed(pool, depth)

    def _lists(self, pool: _Pool, depth: int) -> Cell | None:
        lengths = list(map(len, pool.values))
        rows = [row for row, length in zip(pool.rows, lengths, strict=True) for _ in range(length)] if pool.rows else []
        flat = [item for value in pool.values for item in value]
        inner = self._cell(_Pool(pool.node, pool.path, flat, rows), depth + 1) if flat else _Mixed(0, [])
        return None if inner is None else _Lists(lengths, inner)

    def _mixed(self, pool: _Pool, depth: int) -> Cell | None:
        """Values of which some are objects or lists: each kind apart. What has no rule as it is becomes null, so that places are kept."""
        kinds = [dict if type(value) is dict else list if type(value) is list else None for value in pool.values]
        parts = []
        for kind in (dict, list, None):
            chosen = [own is kind for own in kinds]
            if any(chosen):
                rows = list(compress(pool.rows, chosen)) if pool.rows else []
                cell = self._cell(_Pool(pool.node, pool.path, list(compress(pool.values, chosen)), rows), depth)
                if cell is not None:
                    parts.append((list(compress(range(len(kinds)), chosen)), cell))
        return _Mixed(len(kinds), parts) if parts else None

    def _scalars(self, pool: _Pool) -> Cell | None:
        if pool.node.rule is None or pool.node.rule in self._dropped:
            self.irregular = True
        if pool.node.rule is None:
            if any(value is not None for value in pool.values):
                self._not_known(pool.path, "", pool.rows, len(pool.values))
            return None
        if pool.node.rule in self._dropped:
            return None
        column = self.columns[pool.node.rule]
        begin = len(column.values)
        column.values += pool.values
        column.rows += pool.rows
        return _Values(column, begin, len(column.values))

    def _not_known(self, path: str, key: str, rows: list[int], count: int) -> None:
        self.not_known(f"{path}{key}", count)
        if self._refuse:
            self.unknown_rows.update(rows)

    def not_known(self, path: str, count: int) -> None:
        """Note how many events had a field without a rule."""
        name = path.strip(".")
        if name not in self.unknown:
            self._looked += 1
            if self._looked > _MOST_UNKNOWN or _PLAIN.fullmatch(name) is None or self._key_holds(name):
                name = UNREADABLE
        self.unknown[name] += count


def _built(cell: Cell) -> list[Any]:
    if isinstance(cell, _Objects):
        found: list[Any] = [None] * cell.count
        for places, keys, columns in _columns(cell, _built):
            rows = zip(*columns, strict=True) if columns else ((),) * len(places)
            for place, row in zip(places, rows, strict=True):
                found[place] = dict(zip(keys, row, strict=True))
        return found
    return _gathered(cell, _built, list, None)


def _written(cell: Cell) -> list[str]:
    if isinstance(cell, _Objects):
        write, found = json_writer(), [""] * cell.count
        for places, keys, columns in _columns(cell, _written):
            template = "{" + ",".join(write(key).replace("%", "%%") + ":%s" for key in keys) + "}"
            texts = [template % row for row in zip(*columns, strict=True)] if columns else ["{}"] * len(places)
            if len(places) == cell.count:
                return texts
            for place, text in zip(places, texts, strict=True):
                found[place] = text
        return found
    return _gathered(cell, _written, lambda items: "[" + ",".join(items) + "]", "null")


def _spread(cell: Cell, rows: list[int], path: str, target: tuple[dict[str, list[Any]], int]) -> None:
    """Put the values of a cell into the lists of their paths."""
    if isinstance(cell, _Objects):
        pools: dict[str, tuple[_Pool, list[int]]] = {}
        for places, members in cell.groups:
            own = [rows[place] for place in places]
            for key, pool, _, _ in members:
                pools.setdefault(key, (pool, []))[1].extend(own)
        for key, (pool, inner) in pools.items():
            if pool.cell is not None:
                _spread(pool.cell, inner, f"{path}.{key}" if path else key, target)
        return
    columns, count = target
    column = columns.setdefault(path, [None] * count)
    for row, value in zip(rows, _built(cell), strict=True):
        column[row] = value


def _beneath(cell: _Objects) -> Iterator[tuple[str, Cell]]:
    """All that stands beneath, with its path; of mixed values each kind."""
    waiting: list[Cell] = [cell]
    while waiting:
        now = waiting.pop()
        members = [member for _, some in now.groups for member in some] if isinstance(now, _Objects) else ()
        for pool in {id(pool): pool for _, pool, _, _ in members}.values():
            for inner in [part for _, part in pool.cell.parts] if isinstance(pool.cell, _Mixed) else [pool.cell]:
                if inner is not None:
                    waiting.append(inner)
                    yield pool.path, inner


def _columns(cell: _Objects, read: Callable[[Cell], list[Any]]) -> Iterator[tuple[list[int], list[str], list[list[Any]]]]:
    """For each shape: places, keys, and the values of each key. Each pool is read once."""
    pools: dict[int, list[Any]] = {}
    for places, members in cell.groups:
        columns = []
        for _, pool, begin, end in members:
            if id(pool) not in pools and pool.cell is not None:
                pools[id(pool)] = read(pool.cell)
            columns.append(pools[id(pool)][begin:end])
        yield places, [key for key, *_ in members], columns


def _gathered(cell: Cell, read: Callable[[Cell], list[Any]], join: Callable[[list[Any]], Any], nothing: Any) -> list[Any]:
    if isinstance(cell, _Values):
        return list(cell.column.out[cell.begin : cell.end])
    if isinstance(cell, _Lists):
        flat, found, begin = read(cell.inner), [], 0
        for length in cell.lengths:
            found.append(join(flat[begin : begin + length]))
            begin += length
        return found
    mixed = [nothing] * (cell.count if isinstance(cell, _Mixed) else 0)
    for places, inner in cell.parts if isinstance(cell, _Mixed) else ():
        for place, value in zip(places, read(inner), strict=True):
            mixed[place] = value
    return mixed
