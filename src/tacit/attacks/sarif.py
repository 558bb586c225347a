"""Findings in SARIF 2.1.0 (OASIS, 2020): what code scanning and other gates read."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from tacit.attacks.findings import Finding, Rule, rules

_LEVELS = {"info": "note", "low": "note", "medium": "warning", "high": "error", "critical": "error"}
_SCORES = {"info": "0.0", "low": "3.0", "medium": "5.0", "high": "8.0", "critical": "9.5"}
_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def as_sarif(findings: Iterable[Finding], *, target: str) -> str:
    """One run with one result per finding; ``target`` is the artefact that they are about."""
    import tacit

    found = list(findings)
    used = sorted({finding.rule for finding in found})
    driver = {
        "name": "Tacit", "version": tacit.__version__, "semanticVersion": tacit.__version__,
        "rules": [_rule(rules()[key]) for key in used],
    }
    run = {
        "tool": {"driver": driver}, "artifacts": [{"location": {"uri": target.replace(" ", "%20")}}],
        "results": [_result(finding, used.index(finding.rule), target) for finding in found],
        "properties": {"released": False, "note": "measured on records; not private"},
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id, "name": rule.name, "shortDescription": {"text": rule.title}, "fullDescription": {"text": rule.text},
        "help": {"text": rule.advice}, "defaultConfiguration": {"level": _LEVELS.get(rule.severity, "warning")},
        "properties": {"tags": ["privacy", *rule.atlas, *rule.owasp]},
    }


def _result(finding: Finding, place: int, target: str) -> dict[str, Any]:
    properties: dict[str, Any] = {"severity": finding.severity, "security-severity": _SCORES[finding.severity], **finding.facts}
    for name in ("figure", "low", "high"):
        if getattr(finding, name) is not None:
            properties[name] = getattr(finding, name)
    return {
        "ruleId": finding.rule, "ruleIndex": place, "level": _LEVELS[finding.severity], "message": {"text": finding.message},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": target.replace(" ", "%20"), "index": 0}}}],
        "partialFingerprints": {"tacit/v1": f"{finding.rule}:{finding.facts.get('value', '')}"}, "properties": properties,
    }
