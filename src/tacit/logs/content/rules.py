"""Sigma rules, translated and evaluated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tacit.logs.content.matching import matches
from tacit.logs.content.reading import Rule, parse, read
from tacit.logs.content.sources import Source
from tacit.logs.content.translating import VERDICTS, Report, Translator
from tacit.logs.formats import Event
from tacit.logs.policies import SourcePolicy
from tacit.logs.treatments import Identities, Key


@dataclass(frozen=True)
class Rules:
    """Sigma rules for events of one format.

    >>> rules = Rules.parse('''
    ... title: A known account
    ... logsource: {product: windows, service: security}
    ... detection: {selection: {EventID: 4624, TargetUserName: anna.keller}, condition: selection}
    ... ''')
    >>> rules.match([{"Channel": "Security", "EventID": 4624, "TargetUserName": "Anna.Keller"}])
    {'rule': [0]}

    Args:
        rules: in the order of their files.
        format: of the events, one of `tacit.logs.formats.NAMES`.
        broken: files that could not be read, with the reason.
    """

    rules: tuple[Rule, ...]
    format: str = "windows"
    broken: tuple[tuple[str, str], ...] = ()

    @classmethod
    def load(cls, path: str | Path, *, format: str = "windows", names: Mapping[str, str] | None = None) -> Rules:
        """Read a file or a folder.

        Args:
            path: of YAML files.
            format: of the events.
            names: what fields that rules name are called in the events, where they are called otherwise.

        Raises:
            MissingExtra: pySigma is not installed.
            StorageError: there is no such file or folder.
        """
        rules, broken = read(path)
        return cls(tuple(rule.renamed(dict(names)) for rule in rules) if names else tuple(rules), format, tuple(broken))

    @classmethod
    def parse(cls, text: str, *, format: str = "windows") -> Rules:
        """Read rules from YAML.

        Raises:
            MissingExtra: pySigma is not installed.
            UsageError: it is no Sigma rule.
        """
        return cls(tuple(parse(text)), format)

    def __len__(self) -> int:
        return len(self.rules)

    def match(self, events: Sequence[Event]) -> dict[str, list[int]]:
        """Which events each rule fires on: places in ``events`` by the rule's identifier, for rules that fire."""
        return matches(self.rules, events, Source(self.format))

    def translate(self, policy: SourcePolicy, key: Key, identities: Identities | None = None) -> Translation:
        """The rules for events that were treated under a policy and a key.

        Args:
            policy: of the source.
            key: of the epoch.
            identities: the dictionary of the anonymiser that treated the events (``anonymiser.tools.identities``); it is not extended. Without it,
                a name in a free text of a rule stays as it is, and the rule misses it in events. Translate again when it has grown.
        """
        left, reports = Translator(policy, key, identities).rules(self.rules)
        return Translation(Rules(tuple(left), policy.format, self.broken), tuple(reports))


@dataclass(frozen=True)
class Translation:
    """Rules for treated events.

    Args:
        rules: those that can still fire.
        reports: what became of every rule, in order.
    """

    rules: Rules
    reports: tuple[Report, ...]

    @property
    def counts(self) -> dict[str, int]:
        """How many rules have each verdict."""
        found = Counter(report.verdict for report in self.reports)
        return {verdict: found[verdict] for verdict in VERDICTS}

    def match(self, events: Sequence[Event]) -> dict[str, list[int]]:
        """Which treated events each rule fires on."""
        return self.rules.match(events)

    def losses(self) -> Iterable[tuple[str, str, int]]:
        """Fields and reasons, with how many rules of this source each concerns, the commonest first."""
        found = Counter(reason for report in self.reports if report.verdict != "elsewhere" for reason in report.reasons)
        return [(field, reason, count) for (field, reason), count in found.most_common()]
