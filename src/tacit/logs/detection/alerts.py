"""Alerts, and how a SIEM reads them: Elastic Common Schema, and OCSF Detection Finding."""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass, field
from typing import Any

from tacit.logs.detection.techniques import Technique

_FRAMEWORK = "MITRE ATT&CK"
_SEVERITIES = ((0.9, 4, "High"), (0.5, 3, "Medium"), (0.0, 2, "Low"))
OCSF_VERSION = "1.3.0"


@dataclass(frozen=True)
class Evidence:
    """What one feature contributed.

    Args:
        feature: its name.
        meaning: in a sentence.
        value: of the row.
        where: the cell it lies in.
        weight: log odds, or nats for a detector without labels; positive speaks for an alert.
    """

    feature: str
    meaning: str
    value: float | str | None
    where: str
    weight: float


@dataclass(frozen=True)
class Sighting:
    """An account (or host) in a window."""

    entity: str
    name: str
    begin: dt.datetime
    end: dt.datetime


@dataclass(frozen=True)
class Alert:
    """A window worth a look.

    Args:
        sighting: whose, and when.
        score: between 0 and 1; what it means is in ``scale``.
        scale: «probability», or «rank»: the share of training records that were less unusual.
        place: its place among the window's alerts, from 1.
        budget: alerts a day that were asked for.
        detector: digest of the model.
        guarantee: of the model, in words.
        evidence: what spoke for it, the strongest first.
        techniques: that this evidence speaks of.
    """

    sighting: Sighting
    score: float
    scale: str
    place: int
    budget: float
    detector: str
    guarantee: str
    evidence: tuple[Evidence, ...] = ()
    techniques: tuple[Technique, ...] = field(default=())

    @property
    def uid(self) -> str:
        """The same for the same detector, account and window, so that a repeated delivery can be told."""
        parts = (self.detector, self.sighting.entity, self.sighting.name, self.sighting.begin.isoformat(), self.sighting.end.isoformat())
        return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]

    @property
    def title(self) -> str:
        """What an analyst reads first."""
        about = self.techniques[0].name if self.techniques else "Unusual activity"
        return f"{about}: {self.sighting.name} on {self.sighting.begin:%Y-%m-%d %H:%M} UTC"


def to_ecs(alert: Alert) -> dict[str, Any]:
    """As an alert of the Elastic Common Schema 8: https://www.elastic.co/guide/en/ecs/8.17/index.html."""
    sighting = alert.sighting
    document: dict[str, Any] = {
        "@timestamp": _iso(sighting.end),
        "ecs": {"version": "8.17.0"},
        "event": {
            "kind": "alert", "category": ["intrusion_detection"], "type": ["info"], "id": alert.uid, "dataset": "tacit.detection", "module": "tacit",
            "start": _iso(sighting.begin), "end": _iso(sighting.end), "risk_score": round(100 * alert.score, 2),
            "severity": 25 * _severity(alert)[0] - 25,
        },
        "message": alert.title,
        "rule": {"name": "Tacit detector", "uuid": alert.detector[:32], "ruleset": "tacit"},
        "tacit": {"detection": _own(alert)},
    }
    outer, inner = sighting.entity.split(".")
    document[outer] = {inner: sighting.name}
    if alert.techniques:
        document["threat"] = {
            "framework": _FRAMEWORK,
            "tactic": {"id": [one.tactic_uid for one in alert.techniques], "name": [one.tactic for one in alert.techniques]},
            "technique": {
                "id": [one.uid for one in alert.techniques], "name": [one.name for one in alert.techniques],
                "reference": [f"https://attack.mitre.org/techniques/{one.uid.replace('.', '/')}/" for one in alert.techniques],
            },
        }
    return document


def to_ocsf(alert: Alert) -> dict[str, Any]:
    """As an OCSF Detection Finding (class 2004): https://schema.ocsf.io/1.3.0/classes/detection_finding."""
    sighting, (level, name) = alert.sighting, _severity(alert)
    user = sighting.entity == "user.name"
    evidence = {"actor": {"user": {"name": sighting.name}}} if user else {"device": {"hostname": sighting.name, "type_id": 0}}
    return {
        "activity_id": 1, "activity_name": "Create", "category_uid": 2, "category_name": "Findings", "class_uid": 2004,
        "class_name": "Detection Finding", "type_uid": 200401, "type_name": "Detection Finding: Create", "severity_id": level, "severity": name,
        "status_id": 1, "status": "New", "time": _milliseconds(sighting.end), "start_time": _milliseconds(sighting.begin),
        "end_time": _milliseconds(sighting.end), "message": alert.title, "is_alert": True, "risk_score": round(100 * alert.score),
        "metadata": {
            "version": OCSF_VERSION, "product": {"name": "Tacit", "vendor_name": "Tacit"}, "uid": alert.uid, "profiles": ["security_control"],
        },
        "finding_info": {
            "uid": alert.uid, "title": alert.title, "types": ["anomaly"], "created_time": _milliseconds(sighting.end),
            "analytic": {"type_id": 4, "type": "Learning (ML/DL)", "name": "Tacit detector", "uid": alert.detector[:32]},
            "attacks": [
                {"version": "15.1", "tactic": {"uid": one.tactic_uid, "name": one.tactic}, "technique": {"uid": one.uid, "name": one.name}}
                for one in alert.techniques
            ],
        },
        "evidences": [evidence],
        "observables": [{"name": sighting.entity, "type_id": 4 if user else 1, "type": "User Name" if user else "Hostname", "value": sighting.name}],
        "unmapped": {"tacit": _own(alert)},
    }


def _own(alert: Alert) -> dict[str, Any]:
    return {
        "score": round(alert.score, 6), "scale": alert.scale, "place": alert.place, "alerts_per_day": alert.budget, "model": alert.detector,
        "guarantee": alert.guarantee,
        "evidence": [
            {"feature": one.feature, "meaning": one.meaning, "value": one.value, "cell": one.where, "weight": round(one.weight, 4)}
            for one in alert.evidence
        ],
    }


def _severity(alert: Alert) -> tuple[int, str]:
    return next((level, name) for least, level, name in _SEVERITIES if alert.score >= least)


def _iso(when: dt.datetime) -> str:
    return f"{when:%Y-%m-%dT%H:%M:%S}.{when.microsecond // 1_000:03d}Z"


def _milliseconds(when: dt.datetime) -> int:
    return int(when.timestamp() * 1_000)
