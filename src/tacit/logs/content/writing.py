"""Translated rules as Sigma rules again, so that any pySigma backend can compile them for any product."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import yaml

from tacit.logs.content.reading import Rule
from tacit.logs.content.tree import (
    Both,
    Compared,
    Constant,
    Either,
    Exists,
    Negated,
    Network,
    Null,
    Reference,
    Regex,
    Scalar,
    Test,
    Text,
    Tree,
    Value,
    Wild,
)

_NEVER = "never"
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def to_yaml(rule: Rule) -> str:
    r"""A rule as YAML.

    A rule whose identifier is no UUID is written without it, as Sigma asks.
    The condition is written out: each test, or list of values of one field, is a detection of its own.

    >>> from tacit.logs.content.tree import Both, Test, Text, Wild
    >>> tree = Both((Test("Image", Text((Wild.ANY, "\\a.exe"))), Test("EventID", Scalar(1))))
    >>> print(to_yaml(Rule("7e5cbd00-0000-4000-8000-000000000000", "An example", tree, "windows")))
    title: An example
    id: 7e5cbd00-0000-4000-8000-000000000000
    logsource:
      product: windows
    detection:
      d1:
        Image: '*\a.exe'
      d2:
        EventID: 1
      condition: d1 and d2
    <BLANKLINE>

    Args:
        rule: translated or not.
    """
    detections: dict[str, Any] = {}
    condition = _written(rule.tree, detections)
    source = {name: value for name in ("product", "category", "service") if (value := getattr(rule, name))}
    own = {"id": rule.id} if _UUID.fullmatch(rule.id) else {}
    body = {"title": rule.title, **own, "logsource": source, "detection": {**detections, "condition": condition}}
    more: dict[str, Any] = {"level": rule.level} if rule.level else {}
    if rule.tags:
        more["tags"] = list(rule.tags)
    return str(yaml.safe_dump(body | more, sort_keys=False, allow_unicode=True, width=150))


def _written(tree: Tree, detections: dict[str, Any]) -> str:
    if isinstance(tree, Test):
        return _detection([tree], detections)
    if isinstance(tree, Negated):
        return f"not {_inner(tree.of, detections)}"
    if isinstance(tree, Constant):
        own = _detection([Test(_NEVER, Exists(there=True))], detections)
        return f"not {own}" if tree.holds else own
    if isinstance(tree, Both):
        return " and ".join(_inner(item, detections) for item in tree.of)
    groups: dict[tuple[str | None, str], list[Test]] = {}
    pieces = []
    for item in tree.of:
        if isinstance(item, Test):
            groups.setdefault((item.field, _modifier(item.value)), []).append(item)
        else:
            pieces.append(_inner(item, detections))
    return " or ".join([*(_detection(group, detections) for group in groups.values()), *pieces])


def _inner(tree: Tree, detections: dict[str, Any]) -> str:
    text = _written(tree, detections)
    return f"({text})" if isinstance(tree, Either | Both) and " " in text else text


def _detection(tests: Sequence[Test], detections: dict[str, Any]) -> str:
    name = f"d{len(detections) + 1}"
    values = [_plain(test.value) for test in tests]
    modifier, field = _modifier(tests[0].value), tests[0].field
    value = values[0] if len(values) == 1 else values
    # A keyword without modifier is a list; with one, its field has no name.
    detections[name] = values if field is None and not modifier else {f"{field or ''}{modifier}": value}
    return name


def _modifier(value: Value) -> str:
    if isinstance(value, Text):
        return "|cased" if value.cased else ""
    if isinstance(value, Regex):
        return "|re" + "".join(f"|{flag}" for flag in value.flags)
    if isinstance(value, Compared):
        return f"|{value.operator}"
    if isinstance(value, Reference):
        return "|fieldref" + ("|startswith" if value.begins else "|endswith" if value.ends else "")
    return {Network: "|cidr", Exists: "|exists"}.get(type(value), "")


def _plain(value: Value) -> Any:
    if isinstance(value, Text):
        return "".join(_part(value.parts, place) for place in range(len(value.parts)))
    if isinstance(value, Scalar):
        return value.value
    if isinstance(value, Null):
        return None
    if isinstance(value, Exists):
        return value.there
    if isinstance(value, Regex):
        return value.pattern
    if isinstance(value, Network):
        return value.cidr
    return value.number if isinstance(value, Compared) else value.field if isinstance(value, Reference) else _NEVER


def _part(parts: Sequence[str | Wild], place: int) -> str:
    """A text with what Sigma would read as a wildcard written so that it is none."""
    part = parts[place]
    if isinstance(part, Wild):
        return part.value
    found = []
    for number, sign in enumerate(part):
        following = part[number + 1 : number + 2]
        wild_next = number + 1 == len(part) and place + 1 < len(parts)
        if sign in "*?" or (sign == "\\" and (following in ("*", "?", "\\") or wild_next)):
            found.append("\\" + sign)
        else:
            found.append(sign)
    return "".join(found)
