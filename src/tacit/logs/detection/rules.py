"""Hits of Sigma rules as alerts: one per rule and event, in the same shapes as those of a detector."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tacit.logs.detection.alerts import ATTACK_VERSION, ecs_alert, ecs_threat, iso, milliseconds, ocsf_finding
from tacit.logs.detection.techniques import TACTICS
from tacit.logs.formats import value_at
from tacit.logs.treatments.coarse import seconds

if TYPE_CHECKING:
    from tacit.logs.content import Rules
    from tacit.logs.formats import Event

_TECHNIQUE = re.compile(r"attack\.(t\d{4}(?:\.\d{3})?)", re.IGNORECASE)
_LEVELS = {"informational": (1, "Informational", 10), "low": (2, "Low", 25), "medium": (3, "Medium", 50), "high": (4, "High", 75),
           "critical": (5, "Critical", 99)}
_TIMES = ("@timestamp", "TimeCreated", "UtcTime", "EventTime", "ts", "timestamp", "time")
_PEOPLE = ("user.name", "TargetUserName", "SubjectUserName", "User")
_MACHINES = ("host.name", "Computer", "Hostname", "ComputerName")


@dataclass(frozen=True)
class RuleHit:
    """A rule that fired on an event.

    Args:
        rule: its identifier.
        title: of the rule.
        level: «informational» to «critical», or empty.
        tags: of the rule, such as «attack.t1059».
        event: what it fired on, as it was read.
    """

    rule: str
    title: str
    level: str
    tags: tuple[str, ...]
    event: Event

    @property
    def uid(self) -> str:
        """The same for the same rule and event, so that a repeated delivery can be told."""
        text = json.dumps(self.event, sort_keys=True, separators=(",", ":"), default=str)
        return hashlib.sha256(f"{self.rule}\0{text}".encode("utf-8", "surrogatepass")).hexdigest()[:32]

    @property
    def techniques(self) -> tuple[str, ...]:
        """Identifiers of ATT&CK techniques that the rule is tagged with."""
        return tuple(dict.fromkeys(found.group(1).upper() for tag in self.tags if (found := _TECHNIQUE.fullmatch(tag))))

    @property
    def tactics(self) -> tuple[tuple[str, str], ...]:
        """Identifiers and names of tactics that it is tagged with."""
        named = (tag.lower().removeprefix("attack.").replace("_", "-") for tag in self.tags)
        return tuple(TACTICS[name] for name in dict.fromkeys(named) if name in TACTICS)


def rule_hits(rules: Rules, events: Sequence[Event]) -> Iterator[RuleHit]:
    """Every hit, in the order of the events.

    Args:
        rules: for events such as these: translated ones (`Rules.translate`) if the events were treated.
        events: a batch.
    """
    known = {rule.id: rule for rule in rules.rules}
    fired = sorted((place, name) for name, places in rules.match(events).items() for place in places)
    for place, name in fired:
        rule = known[name]
        yield RuleHit(rule.id, rule.title, rule.level, rule.tags, events[place])


def hit_to_ecs(hit: RuleHit) -> dict[str, Any]:
    """As an alert of the Elastic Common Schema 8; the event stands in ``tacit.event``."""
    document = ecs_alert(uid=hit.uid, title=hit.title, dataset="tacit.rules", severity=_level(hit)[2])
    document |= {"rule": {"id": hit.rule, "name": hit.title, "ruleset": "sigma"}, "tacit": {"event": hit.event}}
    moment = _moment(hit.event)
    if moment is not None:
        document["@timestamp"] = iso(moment)
    for name, paths in (("user", _PEOPLE), ("host", _MACHINES)):
        value = _reached(hit.event, paths)
        if value is not None:
            document[name] = {"name": value}
    if hit.techniques:
        document["threat"] = ecs_threat(hit.techniques, hit.tactics)
    return document


def hit_to_ocsf(hit: RuleHit) -> dict[str, Any]:
    """As an OCSF Detection Finding (class 2004); the event stands in ``evidences``."""
    moment = _moment(hit.event)
    finding = ocsf_finding(uid=hit.uid, title=hit.title, level=_level(hit)[:2], time=0 if moment is None else milliseconds(moment))
    tactics = {"tactics": [{"uid": uid, "name": title} for uid, title in hit.tactics]} if hit.tactics else {}
    finding["finding_info"] |= {
        "analytic": {"type_id": 1, "type": "Rule", "name": hit.title, "uid": hit.rule},
        "attacks": [{"version": ATTACK_VERSION, "technique": {"uid": one}, **tactics} for one in hit.techniques],
    }
    finding["evidences"] = [{"data": hit.event}]
    return finding


def _level(hit: RuleHit) -> tuple[int, str, int]:
    return _LEVELS.get(hit.level, _LEVELS["medium"])


def _moment(event: Event) -> dt.datetime | None:
    found = seconds(_reached(event, _TIMES))
    try:
        return None if math.isnan(found) else dt.datetime.fromtimestamp(found, dt.UTC)
    except (OverflowError, OSError, ValueError):
        return None


def _reached(event: Event, paths: Sequence[str]) -> Any:
    """The first of some paths that is there, written flat or nested, also below ``Event.System`` and ``Event.EventData``."""
    for path in paths:
        for prefix in ("", "Event.EventData.", "Event.System."):
            value = value_at(event, (prefix + path).split("."))
            if isinstance(value, str | int | float) and value != "-":
                return value
    return None
