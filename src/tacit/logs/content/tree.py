"""A rule's condition as a small tree of our own: what is translated, evaluated and written again.

pySigma reads rules and resolves everything that Sigma writes in short: modifiers, «1 of them», lists. What remains are tests of one field against one
value, and «and», «or», «not».
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any


class Wild(Enum):
    """A place in a pattern that any text may take."""

    ANY = "*"
    ONE = "?"


Parts = tuple[str | Wild, ...]
"""A pattern: texts, and what may stand between them."""


@dataclass(frozen=True)
class Text:
    """A text of a field, or somewhere in the event, like a pattern.

    Args:
        parts: the pattern; the empty one is the empty text.
        cased: whether upper and lower case differ.
    """

    parts: Parts
    cased: bool = False


@dataclass(frozen=True)
class Scalar:
    """A number or truth value."""

    value: int | float | bool


@dataclass(frozen=True)
class Null:
    """The field is absent or null."""


@dataclass(frozen=True)
class Exists:
    """The field is there (with any value but null), or is not."""

    there: bool


@dataclass(frozen=True)
class Regex:
    """A regular expression found anywhere in the text; flags out of «ims»."""

    pattern: str
    flags: str = ""


@dataclass(frozen=True)
class Network:
    """The field is an address of this network, or a network inside it."""

    cidr: str


@dataclass(frozen=True)
class Compared:
    """The field is a number for which this holds: ``lt``, ``lte``, ``gt``, ``gte`` or ``neq``."""

    operator: str
    number: int | float


@dataclass(frozen=True)
class Reference:
    """The field equals another one, or begins or ends with it."""

    field: str
    begins: bool = False
    ends: bool = False


@dataclass(frozen=True)
class Unreadable:
    """What cannot be evaluated, and why."""

    reason: str


Value = Text | Scalar | Null | Exists | Regex | Network | Compared | Reference | Unreadable


@dataclass(frozen=True)
class Test:
    """One field against one value; without a field, the value is looked for in the whole event."""

    field: str | None
    value: Value


@dataclass(frozen=True)
class Constant:
    """Always, or never."""

    holds: bool


@dataclass(frozen=True)
class Both:
    """All of them."""

    of: tuple[Tree, ...]


@dataclass(frozen=True)
class Either:
    """At least one of them."""

    of: tuple[Tree, ...]


@dataclass(frozen=True)
class Negated:
    """Not this."""

    of: Tree


Tree = Test | Constant | Both | Either | Negated


def both(of: list[Tree]) -> Tree:
    """All of them, without what says nothing.

    >>> both([Constant(True), Test("a", Null())])
    Test(field='a', value=Null())
    """
    if any(item == Constant(False) for item in of):
        return Constant(False)
    rest = tuple(dict.fromkeys(item for item in of if not isinstance(item, Constant)))
    return Constant(True) if not rest else rest[0] if len(rest) == 1 else Both(rest)


def either(of: list[Tree]) -> Tree:
    """At least one of them, without what says nothing."""
    if any(item == Constant(True) for item in of):
        return Constant(True)
    rest = tuple(dict.fromkeys(item for item in of if not isinstance(item, Constant)))
    return Constant(False) if not rest else rest[0] if len(rest) == 1 else Either(rest)


def negated(of: Tree) -> Tree:
    """Not this; twice is nothing."""
    if isinstance(of, Constant):
        return Constant(not of.holds)
    return of.of if isinstance(of, Negated) else Negated(of)


def mapped(tree: Tree, change: Callable[[Test], Tree]) -> Tree:
    """The tree with something else in the place of every test."""
    if isinstance(tree, Test):
        return change(tree)
    if isinstance(tree, Negated):
        return negated(mapped(tree.of, change))
    if isinstance(tree, Constant):
        return tree
    inner = [mapped(item, change) for item in tree.of]
    return both(inner) if isinstance(tree, Both) else either(inner)


def leaves(tree: Tree) -> list[Test]:
    """Every test in a tree, in order."""
    found: list[Test] = []
    waiting: list[Any] = [tree]
    while waiting:
        item = waiting.pop()
        if isinstance(item, Test):
            found.append(item)
        elif isinstance(item, Negated):
            waiting.append(item.of)
        elif not isinstance(item, Constant):
            waiting.extend(reversed(item.of))
    return found
