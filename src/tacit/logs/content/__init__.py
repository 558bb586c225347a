"""Detection content under the policy and key of the events: Sigma rules and lists of indicators keep working on pseudonyms, or say why not."""

from __future__ import annotations

from tacit.logs.content.indicators import KINDS, Indicator, Indicators
from tacit.logs.content.reading import Rule
from tacit.logs.content.rules import Rules, Translation
from tacit.logs.content.translating import ELSEWHERE, LOST, VERDICTS, WEAKER, WORKS, Report
from tacit.logs.content.writing import to_yaml

__all__ = [
    "ELSEWHERE", "KINDS", "LOST", "VERDICTS", "WEAKER", "WORKS", "Indicator", "Indicators", "Report", "Rule", "Rules", "Translation", "to_yaml",
]
