"""The compiled reader of JSON lines, where the package ``tacit-kernel`` is installed: the same result in a fraction of the time.

It reads lines that are written as our own JSON writer would write them, but for spaces, and leaves every other to the readers that know all of JSON:
escapes that nobody needs, fractions, lists of objects, keys that stand twice, whatever is damaged. It keeps what each different value and token
became, and asks for what is new. What a value becomes is decided by the treatments, here as there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from tacit.logs.anonymise.arrays import Values, spread, values_of
from tacit.logs.anonymise.outcomes import Table, Treated, block_of
from tacit.logs.anonymise.reading import Lines
from tacit.logs.anonymise.shapes import Shapes
from tacit.logs.anonymise.tree import Node
from tacit.logs.formats import JsonLines, LineFormat, json_library
from tacit.logs.treatments import ROUNDS, SIGNS, Text, Tools, Treatment

_INTERFACE = 2
_INSIDE, _VALUE, _DROP, _UNKNOWN, _SLOW = 1, 2, 4, 8, 16
_KEEP, _LOOKED_UP, _SEARCHED, _ELSEWHERE = range(4)
_LONGEST = 1 << 16
_MOST_GUESSED = 200
_DICTIONARY_GONE, _KEYS_GONE = 1, 2
_AN_OBJECT, _NO_OBJECT = 1, 2


@cache
def kernel() -> Any:
    """The compiled module, or ``None``."""
    try:
        import tacit_kernel
    except ImportError:
        return None
    return tacit_kernel if getattr(tacit_kernel, "INTERFACE", None) == _INTERFACE else None


def has_kernel() -> bool:
    """Whether compiled code is installed, in the version that this one uses."""
    return kernel() is not None


def reads(form: LineFormat) -> bool:
    """Whether lines of a format may be given to the compiled reader."""
    return isinstance(form, JsonLines) and form.longest >= _LONGEST


class Native:
    """The compiled reader for one policy and key.

    Args:
        root: the tree of the policy's paths.
        treatments: of its rules.
        dropped: numbers of the rules that leave a field out.
        refuse: whether an event with an unknown field is held back.
        tools: of the key.
        urls: numbers of the rules for URLs.
    """

    def __init__(
        self, root: Node, treatments: Sequence[Treatment | None], *, dropped: frozenset[int], refuse: bool, tools: Tools,
        urls: frozenset[int],
    ) -> None:
        self._treatments, self._dropped, self._refuse = treatments, dropped, refuse
        self._scrubber, self._places, self._addresses, self._urls = tools.scrubber, tools.places, tools.addresses, urls
        self._root = root
        self._holds: Callable[[str], bool] = lambda key: True
        self._nodes: dict[int, tuple[Node | None, str]] = {}
        self._guessed: dict[int, tuple[str, int]] = {}
        self._version = 0
        modes = bytes(_mode(treatment, number in dropped) for number, treatment in enumerate(treatments))
        signs, groups = [sign for sign, _ in SIGNS], [1 << group for _, group in SIGNS]
        self._kernel = kernel().Kernel(modes, self._resolved, signs, groups)
        self._forget()

    def scan(self, lines: list[bytes], holds: Callable[[str], bool], *, columns: bool = False) -> list[int] | None:
        """Read a batch; gives the places of the lines that are left to others, or nothing if all are.

        Args:
            lines: of the batch.
            holds: whether a key that only a pattern matched may be an identity; its field is then treated as unknown.
            columns: whether `columns` is wanted, not `texts` or `block`.
        """
        self._holds = holds
        gone = self._kernel.begin()
        if gone & _DICTIONARY_GONE:
            self._version = 0
        if gone & _KEYS_GONE:
            self._forget()
        for number, (key, flags) in self._guessed.items():
            self._kernel.mark(number, self._unknown if self._holds(key) else flags)
        found: list[int] | None = self._kernel.scan(lines, columns)
        return found

    def tell_unknown(self, shapes: Shapes) -> None:
        """Count the fields without a rule of the lines that were read."""
        for number, count in self._kernel.unknown():
            shapes.not_known(self._nodes[number][1], count)

    def touched(self) -> list[int]:
        """Rules for which there are new values."""
        found: list[int] = self._kernel.touched()
        return found

    def look_ahead(self, numbers: Sequence[int]) -> None:
        """Treat the new addresses of several rules in one call: a few cost as much as many."""
        if len(numbers) > 1:
            values = [value for number in numbers for value in json_library().loads(self._kernel.fresh(number))]
            self._addresses.texts([value for value in values if type(value) is str])

    def treat(self, number: int, write: Callable[[Any], str]) -> None:
        """Treat the new values of a rule."""
        if number in self._urls:
            parts = self._places.parts(self._kernel.urls(number))
            self._kernel.settle_urls(number, parts)
        values, treatment = json_library().loads(self._kernel.fresh(number)), self._treatments[number]
        self._kernel.settle(number, list(map(write, treatment.many(values))) if treatment is not None and values else [])

    def search(self, texts: list[str]) -> list[str]:
        """Search all texts of the batch and these beside them; gives what became of these."""
        own, scrubber = self._kernel, self._scrubber
        numbers = own.add_texts(texts)
        self._sync()
        asked, signs = own.unprepared()
        prepared, lasting = scrubber.prepared(asked, signs, own.accounts)
        own.prepare(prepared, bytes(lasting))
        for turn in range(ROUNDS):
            version = self._sync()
            tokens = own.search(version, turn == 0)
            own.treated(scrubber.tokens(tokens) if tokens else [])
            if scrubber.identities.version == version:
                break
        found: list[str] = own.plain(numbers)
        return found

    def texts(self) -> list[str]:
        """The lines that were read, treated."""
        found: list[str] = self._kernel.lines()
        return found

    def block(self) -> bytes | bytearray:
        """The same in one, each with a newline."""
        found: bytes | bytearray = self._kernel.block()
        return found

    def columns(self) -> dict[str, Values] | None:
        """The columns of what was read, treated; nothing if one has more text than a column of Arrow holds."""
        found: list[tuple[Any, ...]] | None = self._kernel.columns()
        if found is None:
            return None
        return {
            self._nodes[number][1].removesuffix("."): values_of(kind, lists=lists, slots=slots, data=data)
            for number, kind, lists, slots, data in found
        }

    def apart(self, shapes: Shapes) -> bool:
        """Whether objects and other values never share a path, and each path is spelt in one way: then a row's values depend on that row alone."""
        objects, others = shapes.stands()
        seen = [(self._nodes[number][1], what) for number, what in self._kernel.seen()]
        spelt = [path for path, what in seen if what & _NO_OBJECT]
        objects.update(path for path, what in seen if what & _AN_OBJECT)
        plain = len(set(spelt)) == len(spelt) and not any(path.startswith(".") for path in spelt)
        return plain and objects.isdisjoint(others.union(spelt))

    @property
    def _unknown(self) -> int:
        return _SLOW if self._refuse else _UNKNOWN

    def _forget(self) -> None:
        self._nodes, self._guessed = {0: (self._root, "")}, {}

    def _resolved(self, parent: int, key: str, number: int) -> int:
        """What the policy says of a key that was not seen before: flags, and above them the number of the rule, counted from one."""
        above, path = self._nodes[parent]
        node = None if above is None else above.child(key)
        self._nodes[number] = (node, f"{path}{key}.")
        if above is None or node is None:
            return self._unknown
        if node.rule is not None and node.rule in self._dropped:
            return _SLOW if node.children else _DROP
        flags = (_INSIDE if node.children or node.guessed else 0) | (0 if node.rule is None else _VALUE)
        if node.rule is not None and _mode(self._treatments[node.rule], False) == _ELSEWHERE:
            flags = _SLOW
        if above.guessed and not above.named(key):
            if len(self._guessed) >= _MOST_GUESSED:
                flags = _SLOW
            else:
                self._guessed[number] = (key, flags)
                flags = self._unknown if self._holds(key) else flags
        return flags | (0 if node.rule is None else node.rule + 1) << 8

    def _sync(self) -> int:
        """Bring the names that are new into the compiled dictionary; gives the version it has then."""
        identities = self._scrubber.identities
        version = identities.version
        if version != self._version:
            names, pseudonyms, parts, whole = identities.newest(self._version)
            self._kernel.learn(names, pseudonyms, parts, version, whole)
            self._version = version
        return version


class Scanned:
    """A batch of lines of which compiled code has read the most.

    Args:
        native: has read them.
        lines: all.
        others: places of those that were left to other readers.
        shapes: the events of those.
    """

    def __init__(self, native: Native, lines: Lines, *, others: list[int], shapes: Shapes) -> None:
        self.native, self.shapes, self._lines, self._others = native, shapes, lines, others
        self.touched = frozenset(native.touched())

    def merged(self, refused: list[tuple[int, str]], *, block: bool) -> Treated:
        """The texts of all lines in their order.

        Args:
            refused: places among the events of `shapes` that are held back, with the reason.
            block: as lines in one block of bytes.
        """
        if not self._others:
            return Treated(*self._in_order([]), self.shapes.unknown, [self.native.block()] if block else self.native.texts())
        written, own, passed = self.shapes.lines(), self._lines.places, self.shapes.passed()
        found = dict(zip(self._read(), self.native.texts(), strict=True)) | {own[event]: written[event] for event in passed}
        places, held = self._in_order(refused)
        texts = [found[place] for place in sorted(found)]
        return Treated(places, held, self.shapes.unknown, [block_of(texts)] if block else texts)

    def table(self, refused: list[tuple[int, str]]) -> Table | None:
        """The same as columns; nothing if one has more text than a column of Arrow holds."""
        columns = self.native.columns()
        if columns is None:
            return None
        count = len(self._lines.lines) - len(self._others)
        if self.shapes.count:
            own, passed, more = self._lines.places, self.shapes.passed(), self.shapes.table()
            order = sorted(range(count + len(passed)), key=[*self._read(), *(own[event] for event in passed)].__getitem__)
            more = {path: list(map(values.__getitem__, passed)) for path, values in more.items()}
            columns = spread(columns, more, count=count, order=order)
        places, held = self._in_order(refused)
        return Table(places, held, self.shapes.unknown, columns)

    def _read(self) -> list[int]:
        """Places of the lines that compiled code has read."""
        left = set(self._others)
        return [place for place in range(len(self._lines.lines)) if place not in left]

    def _in_order(self, refused: list[tuple[int, str]]) -> tuple[list[int], list[tuple[int, str]]]:
        """Number all events in the order of their lines; gives the numbers of those that passed, and `refused` with them."""
        if not self._others:
            self._lines.places = list(range(len(self._lines.lines)))
            return self._lines.places, []
        own, held = self._lines.places, {event for event, _ in refused}
        self._lines.places = sorted([*self._read(), *own])
        number = {place: event for event, place in enumerate(self._lines.places)}
        out = {number[own[event]] for event in held}
        passed = [event for event in range(len(number)) if event not in out]
        return passed, sorted((number[own[event]], reason) for event, reason in refused)


def _mode(treatment: Treatment | None, dropped: bool) -> int:
    if dropped or treatment is None:
        return _KEEP
    if isinstance(treatment, Text):
        return _SEARCHED if treatment.after is None else _ELSEWHERE
    return _LOOKED_UP if treatment.alone and treatment.stable else _ELSEWHERE
