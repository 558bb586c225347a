"""The paths of a policy as a tree, so that flat and nested spellings of a path are the same."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

_MOST_REMEMBERED = 10_000


@dataclass(eq=False)
class Node:
    """What a policy says about everything that begins with one path."""

    rule: int | None = None
    """Number of the rule for a value that stands here."""
    below: int | None = None
    """Number of the rule for everything below (``**``)."""
    children: dict[str, Node] = field(default_factory=dict)
    any: Node | None = None
    _found: dict[str, Node | None] = field(default_factory=dict)

    def child(self, key: str) -> Node | None:
        """The node of a key, which may itself be a path with dots; ``None`` if the policy names nothing there."""
        if key in self._found:
            return self._found[key]
        node = self._search(key)
        if len(self._found) < _MOST_REMEMBERED:
            self._found[key] = node
        return node

    @property
    def guessed(self) -> bool:
        """Whether keys below are matched by a pattern, so that a key itself may be data."""
        return self.any is not None or self.below is not None

    def named(self, key: str) -> bool:
        """Whether the policy names this key itself."""
        return key in self.children or (("." in key) and self._direct(key) is not None)

    def _search(self, key: str) -> Node | None:
        direct = self._direct(key)
        if direct is not None:
            return direct
        if self.any is not None:
            return self.any
        return Node(rule=self.below, below=self.below) if self.below is not None else None

    def _direct(self, key: str) -> Node | None:
        if key in self.children:
            return self.children[key]
        head, dot, rest = key.partition(".")
        while dot:
            if head in self.children:
                found = self.children[head].child(rest)
                if found is not None:
                    return found
            more, dot, rest = rest.partition(".")
            head = f"{head}.{more}"
        return None


def tree_of(paths: Iterable[str]) -> Node:
    """The tree of paths; rules are numbered in their order.

    >>> root = tree_of(["source.ip", "labels.*", "data.**"])
    >>> root.child("source.ip").rule, root.child("source").child("ip").rule, root.child("labels").child("x").rule, root.child("data").child("a").rule
    (0, 0, 1, 2)
    """
    root = Node()
    for number, path in enumerate(paths):
        node = root
        for key in path.split("."):
            if key == "**":
                node.below = number
                break
            if key == "*":
                node.any = node.any or Node()
                node = node.any
            else:
                node = node.children.setdefault(key, Node())
        else:
            node.rule = number
    return root
