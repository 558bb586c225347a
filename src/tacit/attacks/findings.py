"""Findings: what follows from an attack, by rules with stable ids that gates, tickets and auditors can name."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from tacit.attacks.judging import exact_interval
from tacit.errors import UsageError

if TYPE_CHECKING:
    from tacit.attacks.judging import AttackResult
    from tacit.attacks.outcome import Outcome
    from tacit.attacks.report import AttackReport

SEVERITIES = ("info", "low", "medium", "high", "critical")
_GAP = 0.1
_SATURATED = 0.2
_SMALL, _MODERATE = 0.02, 0.1


@dataclass(frozen=True)
class Rule:
    """What can be found; see ``rules.yaml``."""

    id: str
    name: str
    title: str
    severity: str
    atlas: tuple[str, ...]
    owasp: tuple[str, ...]
    text: str
    advice: str


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Args:
        rule: its id.
        severity: one of `SEVERITIES`.
        message: in a sentence, with the figures.
        figure: the number it rests on, with its 95 % interval, where there is one.
        low: lower end.
        high: upper end.
        facts: what else a machine may want.
    """

    rule: str
    severity: str
    message: str
    figure: float | None = None
    low: float | None = None
    high: float | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain form, with what the rule says."""
        rule = rules()[self.rule]
        return {**asdict(self), "title": rule.title, "advice": rule.advice, "atlas": list(rule.atlas), "owasp": list(rule.owasp)}


@cache
def rules() -> dict[str, Rule]:
    """All rules by id."""
    import yaml

    found = yaml.safe_load(files("tacit.attacks").joinpath("rules.yaml").read_text(encoding="utf-8"))
    return {
        key: Rule(key, item["name"], item["title"], item["severity"], tuple(item["atlas"]), tuple(item["owasp"]), item["text"], item["advice"])
        for key, item in found["rules"].items()
    }


def at_least(findings: tuple[Finding, ...], severity: str) -> tuple[Finding, ...]:
    """Findings of this severity or a higher one.

    Raises:
        UsageError: for an unknown severity.
    """
    if severity not in SEVERITIES:
        raise UsageError(f"Expected a severity among {', '.join(SEVERITIES)}; got {severity!r}.")
    bar = SEVERITIES.index(severity)
    return tuple(finding for finding in findings if SEVERITIES.index(finding.severity) >= bar)


def findings_of(report: AttackReport) -> tuple[Finding, ...]:
    """What follows from a report on membership inference, worst first."""
    found = [*_verdict(report), *_groups(report), *_training(report), *(finding_of(outcome) for outcome in report.outcomes if outcome.wins)]
    return tuple(sorted(found, key=lambda finding: -SEVERITIES.index(finding.severity)))


def finding_of(outcome: Outcome) -> Finding:
    """The finding that an attack makes if it wins; a small excess is never more than low, a moderate one never more than medium."""
    figure, control = (round(value, 2) + 0.0 for value in (outcome.figure, outcome.control))
    message = f"{outcome.attack}: {figure:.2f}, without the model {control:.2f} ({outcome.unit}); {outcome.meaning}."
    most = "low" if outcome.low < _SMALL else "medium" if outcome.low < _MODERATE else "critical"
    severity = min(rules()[outcome.rule].severity, most, key=SEVERITIES.index)
    return Finding(
        outcome.rule, severity, message, outcome.figure, outcome.control + outcome.low, outcome.control + outcome.high,
        {"control": outcome.control, **outcome.details},
    )


def _verdict(report: AttackReport) -> list[Finding]:
    auc, rate = report.power
    facts: dict[str, Any] = {"verdict": report.verdict, "detectable_auc": auc, "detectable_tpr_at_fpr_0.01": rate}
    if report.verdict == "not tested":
        return [Finding("TA191", "medium", report.explained, facts=facts)]
    if report.verdict == "no leak found":
        return [Finding("TA190", "info", report.explained, report.first.auc, report.first.auc_low, report.first.auc_high, facts)]
    if report.verdict == "inconsistent with the claim":
        worst = next(result for result in report.results if result.contradicts)
        return [_membership("TA102", "critical", report, worst)]
    leaking = report.leaking or report.first
    return [_membership("TA101", by_rate(leaking), report, leaking)]


def _membership(rule: str, severity: str, report: AttackReport, result: AttackResult) -> Finding:
    rate = result.at(0.01)
    facts = {"attack": result.name, "auc": result.auc, "fpr": 0.01, "p_value": result.p_value, "shadows": result.shadows}
    return Finding(rule, severity, report.explained, rate.tpr, rate.low, rate.high, facts)


def by_rate(result: AttackResult) -> str:
    """How bad a leak is: by how many times likelier a member than another is flagged, counted at the unfavourable ends of both intervals.

    At least twenty times is high, at least four medium, anything else that is beyond chance low.
    """
    others = result.nonmembers
    factor = max(rate.low / exact_interval(int(rate.fpr * others), others)[1] for rate in result.rates)
    return "high" if factor >= 20 else "medium" if factor >= 4 or result.auc_low >= 0.65 else "low"


def _groups(report: AttackReport) -> list[Finding]:
    everybody = report.first.at(0.01)
    risky = [group for group in report.groups if group.leaks and group.rate.low > everybody.high]
    return [
        Finding(
            "TA103", "medium", f"{100 * group.rate.tpr:.0f} % of the {group.members:,} members with {group.grouping} «{group.value}» are recognised "
            f"at 1 % false alarms, of all members {100 * everybody.tpr:.0f} %.", group.rate.tpr, group.rate.low, group.rate.high,
            {"grouping": group.grouping, "value": group.value, "auc": group.auc},
        )
        for group in sorted(risky, key=lambda group: -group.rate.tpr)
    ]


def _training(report: AttackReport) -> list[Finding]:
    found, described = [], report.described
    if described.correct is not None and described.correct[0] - described.correct[1] > _GAP:
        inside, outside = described.correct
        found.append(Finding("TA104", "low", f"{100 * inside:.0f} % of members are answered correctly, and {100 * outside:.0f} % of the others.",
                             inside - outside))
    if described.saturated > _SATURATED and described.access not in ("label", "top-k"):
        message = f"{100 * described.saturated:.0f} % of the answers have the highest confidence there is, and say no more than that."
        found.append(Finding("TA105", "info", message, described.saturated))
    return found
