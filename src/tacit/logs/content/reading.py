"""Sigma rules from YAML files, read by pySigma (extra «logs»)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from tacit.errors import MissingExtra, StorageError, UsageError
from tacit.logs.content.expressions import UNKNOWN, compiled
from tacit.logs.content.tree import (
    Compared,
    Constant,
    Exists,
    Network,
    Null,
    Reference,
    Regex,
    Scalar,
    Test,
    Text,
    Tree,
    Unreadable,
    Value,
    Wild,
    both,
    either,
    mapped,
    negated,
)

_LARGEST = 1 << 20
_MOST_FILES = 100_000
_ENDINGS = (".yml", ".yaml")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Rule:
    """A Sigma rule.

    Args:
        id: its identifier, or its file's name where it has none.
        title: for people.
        tree: when it fires.
        product: of the log source, such as «windows».
        category: of the log source, such as «process_creation».
        service: of the log source, such as «security».
        level: «informational» to «critical».
        tags: such as «attack.t1059».
    """

    id: str
    title: str
    tree: Tree
    product: str | None = None
    category: str | None = None
    service: str | None = None
    level: str = ""
    tags: tuple[str, ...] = ()

    def renamed(self, names: dict[str, str]) -> Rule:
        """The same for events that call fields otherwise."""

        def change(test: Test) -> Tree:
            value = test.value
            if isinstance(value, Reference):
                value = replace(value, field=names.get(value.field, value.field))
            return Test(None if test.field is None else names.get(test.field, test.field), value)

        return replace(self, tree=mapped(self.tree, change))


def read(path: str | Path) -> tuple[list[Rule], list[tuple[str, str]]]:
    """All rules of a file or a folder, and the files that could not be read, with the reason.

    Raises:
        MissingExtra: pySigma is not installed.
        StorageError: there is no such file or folder.
    """
    _library()
    place = Path(path)
    if not place.exists():
        raise StorageError(f"Expected Sigma rules at {place}; there is nothing. Name a file or a folder of .yml files.")
    rules: list[Rule] = []
    broken: list[tuple[str, str]] = []
    for file in _files(place):
        try:
            rules += parse(_text(file), name=file.stem)
        except UsageError as error:
            broken.append((file.name, str(error)))
    return rules, broken


def parse(text: str, *, name: str = "rule") -> list[Rule]:
    """The rules of one YAML text.

    Args:
        text: one or several documents.
        name: what a rule without an identifier is called.

    Raises:
        MissingExtra: pySigma is not installed.
        UsageError: it is no Sigma rule, or one that correlates others, which is not evaluated here.
    """
    sigma = _library()
    from sigma.exceptions import SigmaError
    from sigma.rule import SigmaRule

    if len(text) > _LARGEST:
        raise UsageError(f"Expected a rule file of at most {_LARGEST:,} characters.")
    try:
        found = sigma.SigmaCollection.from_dicts(list(yaml.load_all(text, Loader=_LOADER)))
        if not found.rules:
            raise UsageError("Expected a Sigma rule; the file holds none.")
        if not all(isinstance(rule, SigmaRule) for rule in found.rules):
            raise UsageError("A correlation of rules is not evaluated here; translate the rules that it names.")
        return [_rule(rule, name if place == 1 else f"{name}-{place}") for place, rule in enumerate(found.rules, 1)]
    except UsageError:
        raise
    except SigmaError as error:
        raise UsageError(f"Expected a Sigma rule; pySigma refuses it: {type(error).__name__}.") from None
    except Exception as error:  # pySigma and its parsers let many kinds through, for input that was made to break them
        raise UsageError(f"Expected a Sigma rule; it cannot be read: {type(error).__name__}.") from None


def _library() -> Any:
    try:
        import sigma.collection as found
    except ImportError:
        raise MissingExtra("logs", purpose="Sigma rules") from None
    return found


def _files(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
        return
    found = sorted(file for file in place.rglob("*") if file.suffix in _ENDINGS and file.is_file())
    if len(found) > _MOST_FILES:
        raise UsageError(f"Expected at most {_MOST_FILES:,} rule files in a folder; got {len(found):,}.")
    yield from found


def _text(file: Path) -> str:
    try:
        with file.open(encoding="utf-8") as opened:
            return opened.read(_LARGEST + 1)
    except OSError as error:
        raise UsageError(f"It cannot be opened: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise UsageError("Expected UTF-8 text.") from None


def _rule(rule: Any, name: str) -> Rule:
    tree = either([_tree(condition.parsed) for condition in rule.detection.parsed_condition])
    source = rule.logsource
    return Rule(
        str(rule.id or name), str(rule.title), tree, source.product, source.category, source.service,
        rule.level.name.lower() if rule.level else "", tuple(map(str, rule.tags)),
    )  # fmt: skip


def _tree(item: Any) -> Tree:
    from sigma.conditions import ConditionAND, ConditionNOT, ConditionOR
    from sigma.types import SigmaExpansion

    if item is None:
        return Constant(False)
    if isinstance(item, ConditionNOT):
        return negated(_tree(item.args[0]))
    if isinstance(item, ConditionAND | ConditionOR):
        inner = [_tree(one) for one in item.args]
        return both(inner) if isinstance(item, ConditionAND) else either(inner)
    field = getattr(item, "field", None)
    if isinstance(item.value, SigmaExpansion):
        return either([Test(field, _value(value)) for value in _flat(item.value)])
    return Test(field, _value(item.value))


def _flat(expansion: Any) -> Iterator[Any]:
    for value in expansion.values:
        yield from _flat(value) if hasattr(value, "values") else (value,)


def _value(value: Any) -> Value:
    import sigma.types as kinds

    if isinstance(value, kinds.SigmaString):
        return _pattern(value, kinds)
    if isinstance(value, kinds.SigmaNull):
        return Null()
    if isinstance(value, kinds.SigmaExists):
        return Exists(value.exists)
    if isinstance(value, kinds.SigmaTimestampPart | kinds.SigmaQueryExpression):
        return Unreadable("a modifier that is not evaluated here")
    if isinstance(value, kinds.SigmaNumber):
        return Scalar(value.number)
    if isinstance(value, kinds.SigmaBool):
        return Scalar(value.boolean)
    if isinstance(value, kinds.SigmaRegularExpression):
        flags = "".join(sorted(flag.name[0].lower() if flag.name != "DOTALL" else "s" for flag in value.flags))
        return _expression(Regex(str(value.regexp), flags))
    if isinstance(value, kinds.SigmaCIDRExpression):
        return Network(str(value.network))
    if isinstance(value, kinds.SigmaCompareExpression):
        return Compared(value.op.name.lower(), value.number.number)
    if isinstance(value, kinds.SigmaFieldReference):
        return Reference(value.field, value.starts_with, value.ends_with)
    return Unreadable("a modifier that is not evaluated here")


def _expression(value: Regex) -> Value:
    try:
        compiled(value)
    except ValueError:
        return Unreadable(UNKNOWN)
    return value


def _pattern(value: Any, kinds: Any) -> Value:
    wild = {kinds.SpecialChars.WILDCARD_MULTI: Wild.ANY, kinds.SpecialChars.WILDCARD_SINGLE: Wild.ONE}
    parts: list[str | Wild] = []
    for part in value.s:
        if isinstance(part, kinds.Placeholder):
            return Unreadable("a placeholder that nothing fills in")
        new = wild.get(part, part)
        if new is Wild.ANY and parts and parts[-1] is Wild.ANY:
            continue
        if new != "":
            parts.append(new)
    return Text(tuple(parts), isinstance(value, kinds.SigmaCasedString))
