"""A model card in CycloneDX 1.6 (Ecma-424): what was measured of a model's privacy, where an inventory of software and models looks for it."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tacit.attacks.findings import rules

if TYPE_CHECKING:
    from tacit.attacks.report import AttackReport


def as_cyclonedx(report: AttackReport) -> str:
    """One component, the target, with its model card; and one vulnerability per finding that is no mere note."""
    import tacit

    card = {"quantitativeAnalysis": {"performanceMetrics": _metrics(report)}, "considerations": _considerations(report)}
    component = {
        "type": "machine-learning-model", "bom-ref": "target", "name": report.described.name, "modelCard": card,
        "properties": [
            {"name": "tacit:verdict", "value": report.verdict}, {"name": "tacit:access", "value": report.described.access},
            {"name": "tacit:released", "value": "false"}, *_claim(report),
        ],
    }
    bom = {
        "bomFormat": "CycloneDX", "specVersion": "1.6", "serialNumber": f"urn:uuid:{uuid.uuid4()}", "version": 1,
        "metadata": {
            "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
            "tools": {"components": [{"type": "application", "name": "tacit", "version": tacit.__version__}]},
        },
        "components": [component], "vulnerabilities": _vulnerabilities(report),
    }
    return json.dumps(bom, indent=2)


def _metrics(report: AttackReport) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for result in report.results:
        auc = {"lowerBound": f"{result.auc_low:.4f}", "upperBound": f"{result.auc_high:.4f}"}
        found.append({"type": f"membership inference, {result.name}: AUC", "value": f"{result.auc:.4f}", "confidenceInterval": auc})
        found += [
            {"type": f"membership inference, {result.name}: TPR at {rate.fpr:g} FPR", "value": f"{rate.tpr:.4f}",
             "confidenceInterval": {"lowerBound": f"{rate.low:.4f}", "upperBound": f"{rate.high:.4f}"}}
            for rate in result.rates if rate.resolvable
        ]
    for group in report.groups:
        ends = {"lowerBound": f"{group.rate.low:.4f}", "upperBound": f"{group.rate.high:.4f}"}
        found.append({"type": "membership inference: TPR at 0.01 FPR", "value": f"{group.rate.tpr:.4f}", "slice": f"{group.grouping}: {group.value}",
                      "confidenceInterval": ends})
    return found + [{"type": f"{outcome.attack}: {outcome.unit}", "value": f"{outcome.figure:.4f}"} for outcome in report.outcomes]


def _considerations(report: AttackReport) -> dict[str, Any]:
    auc, rate = report.power
    found = [rules()[finding.rule] for finding in report.findings]
    return {
        "technicalLimitations": [
            report.explained, f"Detectable with nine chances in ten: AUC {auc:.3f}, or TPR {rate:.3f} at 1 % FPR.",
            *([f"Assumed: {report.described.assumption}."] if report.described.assumption else []),
        ],
        "ethicalConsiderations": [{"name": rule.title, "mitigationStrategy": rule.advice} for rule in found],
    }


def _claim(report: AttackReport) -> list[dict[str, str]]:
    return [] if report.claim is None else [{"name": "tacit:claim", "value": str(report.claim)}]


def _vulnerabilities(report: AttackReport) -> list[dict[str, Any]]:
    return [
        {
            "bom-ref": f"{finding.rule}-{place}", "id": finding.rule, "source": {"name": "Tacit"}, "description": finding.message,
            "recommendation": rules()[finding.rule].advice, "affects": [{"ref": "target"}],
            "ratings": [{"severity": finding.severity, "method": "other"}],
            "properties": [{"name": "tacit:atlas", "value": name} for name in rules()[finding.rule].atlas],
        }
        for place, finding in enumerate(report.findings) if finding.severity != "info"
    ]
