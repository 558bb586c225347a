"""Rules under a policy and a key: every value that a rule looks for becomes what the treatment of its field makes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tacit.logs.anonymise.tree import tree_of
from tacit.logs.content import structures
from tacit.logs.content.reading import Rule
from tacit.logs.content.searched import Searched
from tacit.logs.content.sources import Source
from tacit.logs.content.structures import Became
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
    either,
    leaves,
    mapped,
)
from tacit.logs.policies import FieldRule, SourcePolicy
from tacit.logs.treatments import Identities, Key, Tools, build

WORKS, WEAKER, LOST, ELSEWHERE = "works", "weaker", "lost", "elsewhere"
VERDICTS = (WORKS, WEAKER, LOST, ELSEWHERE)
"""A rule fires as before; on fewer or more events; never or always; or it is not about this source."""

DROPPED = "the policy leaves the field out"
UNNAMED = "the policy does not name the field, so that it is left out"
EMPTY = "the policy leaves the field out, so that it is always empty"
OVER = "a regular expression over pseudonyms"
SEEN = "a regular expression over text in which names have become pseudonyms"
APART = "it compares fields whose pseudonyms have nothing in common"
PARTLY = "it compares a field as it was with one that was searched for names"
COARSE = "values are coarser: it fires on the whole range"
MOVED = "times are moved"
RARE = "rare values are hidden"
NOISED = "values are randomised: no single event can be trusted"
BLANKED = "texts are reduced to what all messages of a kind have in common"
ORDER = "numbers have become pseudonyms, which have no order"
FOREIGN = "a network, where the field holds no addresses"
_REFERABLE = frozenset(("keep", "user", "host", "principal", "email", "address", "mac", "sid", "id", "url", "path", "scrub"))
_STAYS: dict[str, str] = {"suppress": RARE, "randomise": NOISED}


@dataclass(frozen=True)
class Report:
    """What becomes of one rule.

    Args:
        rule: its identifier.
        title: for people.
        verdict: one of `VERDICTS`.
        reasons: fields and what is lost in them; never a value.
    """

    rule: str
    title: str
    verdict: str
    reasons: tuple[tuple[str, str], ...] = ()


class Translator:
    """A policy with a key and a dictionary, for rules and indicators.

    Args:
        policy: of the source.
        key: of the epoch.
        identities: the dictionary of the events' anonymiser; it is read and not extended.
    """

    def __init__(self, policy: SourcePolicy, key: Key, identities: Identities | None = None) -> None:
        self.policy, self._key = policy, key
        self.source = Source(policy.format)
        self._identities = identities or Identities()
        self._root, self._rules = tree_of(policy.fields), list(policy.fields.values())
        self.tools = self._fresh()
        self.searched = Searched(self._fresh, self._identities)
        self._known: dict[Test, tuple[Tree, tuple[tuple[str, str], ...]]] = {}

    def _fresh(self) -> Tools:
        known = Identities(dict(self._identities.items()))
        return Tools(self._key, known, accounts=self.policy.accounts, domains=self.policy.domains, networks=self.policy.networks)

    def rules(self, rules: Iterable[Rule]) -> tuple[list[Rule], list[Report]]:
        """The rules that are left, and what became of each."""
        some = list(rules)
        self.searched.learn(text for rule in some for test in leaves(rule.tree) for text in _texts(test.value))
        done = [self._rule(rule) for rule in some]
        return [rule for rule, report in done if report.verdict in (WORKS, WEAKER)], [report for _, report in done]

    def _rule(self, rule: Rule) -> tuple[Rule, Report]:
        elsewhere = self.source.wanted(rule)
        if isinstance(elsewhere, str):
            return rule, Report(rule.id, rule.title, ELSEWHERE, (("", elsewhere),))
        reasons: list[tuple[str, str]] = []

        def change(test: Test) -> Tree:
            tree, why = self.test(test)
            reasons.extend(why)
            return tree

        tree = mapped(rule.tree, change)
        verdict = LOST if isinstance(tree, Constant) else WEAKER if reasons else WORKS
        return replace(rule, tree=tree), Report(rule.id, rule.title, verdict, tuple(dict.fromkeys(reasons)))

    def test(self, test: Test) -> tuple[Tree, tuple[tuple[str, str], ...]]:
        """One test, and what is lost by its translation: field and reason."""
        if test not in self._known:
            became = self._keyword(test.value) if test.field is None else self._field(test.field, test.value)
            tree = became if isinstance(became, Constant) else either([Test(test.field, value) for value in became.values])
            reasons = _ABSENT[became.holds] if isinstance(became, Constant) else became.reasons
            if isinstance(became, Constant) and self.rule_of(test.field or "") is None and not became.holds:
                reasons = (UNNAMED,)
            self._known[test] = (tree, tuple((test.field or "", reason) for reason in reasons))
        return self._known[test]

    def rule_of(self, field: str) -> FieldRule | None:
        """What the policy says about a field of a rule."""
        for place in self.source.places(field):
            node = self._root.child(place)
            if node is not None and node.rule is not None:
                return self._rules[node.rule]
        return None

    def _keyword(self, value: Value) -> Became:
        return self.searched.became(value) if isinstance(value, Text) else _regex(value)

    def _field(self, field: str, value: Value) -> Became | Constant:
        rule = self.rule_of(field)
        if rule is None or rule.treatment == "drop":
            return Constant(isinstance(value, Null) or value == Exists(there=False))
        if isinstance(value, Unreadable):
            return Became((), (value.reason,))
        if isinstance(value, Reference):
            return self._reference(rule, value)
        if rule.treatment == "keep" or isinstance(value, Null | Exists):
            return Became((value,))
        if rule.treatment in _STAYS:
            return Became((value,), (_STAYS[rule.treatment],))
        return self._treated(rule, value)

    def _reference(self, rule: FieldRule, value: Reference) -> Became:
        other = self.rule_of(value.field)
        kinds = {rule.treatment, "" if other is None else other.treatment}
        partial = value.begins or value.ends
        if len(kinds) == 1 and kinds <= _REFERABLE and (not partial or kinds <= {"keep", "scrub"}):
            return Became((value,))
        return Became((value,), (PARTLY,)) if kinds == {"keep", "scrub"} else Became((), (APART,))

    def _treated(self, rule: FieldRule, value: Value) -> Became:
        treatment = rule.treatment
        if treatment in ("generalise", "jitter"):
            return Became((), (MOVED,)) if treatment == "jitter" or "to" in rule.options else self._coarse(rule, value)
        if isinstance(value, Regex):
            return Became((value,), (SEEN,)) if treatment in ("scrub", "template") else Became((), (OVER,))
        if isinstance(value, Network):
            if treatment not in ("address", "scrub", "host"):
                return Became((), (FOREIGN,))
            return Became(tuple(Network(image) for image in self.tools.addresses.networks(value.cidr)))
        if isinstance(value, Compared):
            return Became((value,)) if treatment == "scrub" else Became((), (ORDER,))
        if isinstance(value, Scalar):
            return self._number(treatment, value)
        return self._text(treatment, value) if isinstance(value, Text) else Became((), (OVER,))

    def _number(self, treatment: str, value: Scalar) -> Became:
        if treatment == "id":
            # Events may hold the number as one or as a text; each has a pseudonym of its own.
            found = [self.tools.numbers.identifier(value.value), self.tools.numbers.identifier(str(value.value))]
            return Became(tuple(Scalar(one) if isinstance(one, int) else Text((one,)) for one in found))
        if treatment in ("scrub", "template"):
            return Became((value,))
        return self._text(treatment, Text((str(value.value),)))

    def _text(self, treatment: str, value: Text) -> Became:
        tools = self.tools
        if treatment == "scrub":
            return self.searched.became(value)
        if treatment == "template":
            found = self.searched.became(value)
            return replace(found, reasons=(*found.reasons, BLANKED))
        if treatment == "address":
            return structures.address(value, tools)
        if treatment == "url":
            value = structures.literal(value)
        return structures.structured(value, *_STRUCTURES[treatment](tools))

    def _coarse(self, rule: FieldRule, value: Value) -> Became:
        treatment = build(rule.treatment, self.tools, rule.options)
        if isinstance(value, Network):
            return Became((value,), (COARSE,))
        plain: Any = value.value if isinstance(value, Scalar) else "".join(map(str, value.parts)) if isinstance(value, Text) else None
        if plain is None or treatment is None or (isinstance(value, Text) and not all(isinstance(part, str) for part in value.parts)):
            return Became((), (COARSE,))
        found = treatment.many([plain])[0]
        return Became(() if found is None else (Text((found,)) if isinstance(found, str) else Scalar(found),), (COARSE,))


def _regex(value: Value) -> Became:
    if isinstance(value, Unreadable):
        return Became((), (value.reason,))
    return Became((value,), (SEEN,)) if isinstance(value, Regex) else Became((value,))


def _texts(value: Value) -> Sequence[str]:
    return [part for part in value.parts if isinstance(part, str)] if isinstance(value, Text) else ()


_ABSENT = {True: (EMPTY,), False: (DROPPED,)}
_Structure = tuple[Callable[[str], str], structures.Stretch]
_STRUCTURES: dict[str, Callable[[Tools], _Structure]] = {
    "user": lambda tools: (tools.names.user, structures.user(tools)),
    "email": lambda tools: (tools.names.email, structures.user(tools)),
    "host": lambda tools: (tools.names.host, structures.host(tools)),
    "principal": lambda tools: (tools.names.principal, structures.principal(tools)),
    "path": lambda tools: (tools.places.path, structures.place(tools)),
    "url": lambda tools: (tools.places.url, structures.url(tools)),
    "sid": lambda tools: (tools.numbers.sid, structures.sid(tools)),
    "mac": lambda tools: (tools.numbers.mac, structures.mac(tools)),
    "id": lambda tools: (lambda text: str(tools.numbers.identifier(text)), structures.opaque),
}
