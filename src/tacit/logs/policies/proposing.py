"""A policy for a source nobody has written one for: what its fields look like, what they are called, and what that suggests."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tacit.logs.policies.policy import FieldRule, SourcePolicy

_FEW = 20
_MOST_VALUES = 2_000
_PATTERNS: tuple[tuple[str, str, re.Pattern[str]], ...] = (
    ("address", "addresses", re.compile(r"\d{1,3}(?:\.\d{1,3}){3}|[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:]{0,40}:[0-9A-Fa-f:.]{0,15}")),
    ("mac", "hardware addresses", re.compile(r"[0-9A-Fa-f]{2}([:-])[0-9A-Fa-f]{2}(?:\1[0-9A-Fa-f]{2}){4}")),
    ("email", "e-mail addresses", re.compile(r"[^@\s]{1,64}@[^@\s]{1,253}\.[A-Za-z]{2,}")),
    ("sid", "Windows security identifiers", re.compile(r"S-1-\d+(?:-\d+)+")),
    ("url", "URLs", re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")),
    ("path", "file paths", re.compile(r"(?:[A-Za-z]:\\|\\\\|/)[^\s\"'|<>]*(?:[\\/][^\s\"'|<>]*)*")),
    ("keep", "times", re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(?::\d{2})?\S*")),
    ("keep", "digests", re.compile(r"[0-9a-fA-F]{32}|[0-9a-fA-F]{40}|[0-9a-fA-F]{64}")),
    ("id", "identifiers", re.compile(r"\{?[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\}?")),
)
_NAMED: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("drop", re.compile(r"(?:^|[._-])(?:password|passwd|pwd|secret|token|cookie|authorization|api_?key|ssn|iban|credit_?card)s?$", re.IGNORECASE)),
    ("email", re.compile(r"(?:e?mail|recipient|sender)(?:_?address)?$", re.IGNORECASE)),
    ("user", re.compile(r"(?:user|account|acct|login|owner|employee|patient|customer|person|subject|actor|full|first|last|sur)(?:[._]?(?:name|id))?$",
                        re.IGNORECASE)),
    ("principal", re.compile(r"(?:principal|spn|sname)(?:[._]?name)?s?$", re.IGNORECASE)),
    ("host", re.compile(r"(?:host|computer|workstation|machine|device|server|domain|fqdn)(?:[._]?name)?$", re.IGNORECASE)),
)

_PACKS = {"json": "ecs", "csv": "ecs", "apache": "web", "nginx": "web", "zeek-json": "zeek"}
"""The pack of a format, where its name is another."""


@dataclass
class _Field:
    """What a sample holds at one path."""

    count: int = 0
    values: set[Any] = field(default_factory=set)
    types: set[type] = field(default_factory=set)

    def see(self, value: Any) -> None:
        self.count += 1
        self.types.add(type(value))
        if len(self.values) < _MOST_VALUES:
            self.values.add(value)


def propose(events: Iterable[dict[str, Any]], *, source: str, form: str = "json") -> str:
    """A policy as YAML, with a reason for every field.

    A field that a pack knows is treated as there. Otherwise its name and the look of its values decide, names of people and machines before all else;
    what cannot be told is searched as free text, and what looks like a secret is dropped. Values never appear in the proposal.

    >>> print(propose([{"user": "anna", "bytes": 17, "client": "192.0.2.7"}], source="web"))  # doctest: +ELLIPSIS
    # A proposal...
    version: 1
    source: web
    format: json
    unknown: drop
    fields:
      user:
        treatment: user
        why: its name says that it names somebody
      bytes:
        treatment: keep
        why: numbers
      client:
        treatment: address
        why: all values are addresses
    <BLANKLINE>

    Args:
        events: a sample.
        source: its public name.
        form: how its records are written, one of `tacit.logs.formats.NAMES`; a pack of that format is the one that is looked into.
    """
    found: dict[str, _Field] = {}
    for event in events:
        for path, value in _leaves(event, ""):
            found.setdefault(path, _Field()).see(value)
    pack = _PACKS.get(form, form)
    known = SourcePolicy.pack(pack).fields
    rules = {path: _rule(path, seen, known.get(path), pack) for path, seen in found.items()}
    policy = SourcePolicy(source, form, rules)
    return "# A proposal from a sample: read every line before you use it.\n" + policy.to_yaml()


def _leaves(value: Any, path: str, depth: int = 0) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if depth < 20 and key and len(key) < 100 and "*" not in key:
                yield from _leaves(inner, f"{path}.{key}" if path else key, depth + 1)
    elif isinstance(value, list):
        for inner in value[:50]:
            yield from _leaves(inner, path, depth + 1)
    elif value is not None:
        yield path, value


def _rule(path: str, seen: _Field, known: FieldRule | None, pack: str) -> FieldRule:
    if known is not None:
        return FieldRule(path, known.treatment, known.options, known.why or f"as in the pack «{pack}»")
    for treatment, pattern in _NAMED:
        if pattern.search(path):
            return FieldRule(path, treatment, why=f"its name says that it {'is secret' if treatment == 'drop' else 'names somebody'}")
    if str not in seen.types:
        return FieldRule(path, "keep", why="numbers" if seen.types != {bool} else "yes or no")
    texts = [value for value in seen.values if isinstance(value, str) and value not in ("", "-")]
    for treatment, what, pattern in _PATTERNS:
        if texts and all(pattern.fullmatch(text) for text in texts):
            return FieldRule(path, treatment, why=f"all values are {what}")
    if texts and all(re.fullmatch(r"-?\d{1,18}(?:\.\d+)?", text) for text in texts):
        return FieldRule(path, "keep", why="numbers, written as text")
    if len(texts) <= _FEW < seen.count // 10 and all(re.fullmatch(r"[A-Za-z][A-Za-z0-9_ -]{0,30}", text) for text in texts):
        return FieldRule(path, "scrub", why="few different values, each of them common; consider «keep»")
    return FieldRule(path, "scrub", why="free text, or something that cannot be told from a sample")
