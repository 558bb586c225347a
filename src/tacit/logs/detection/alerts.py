"""Alerts, and how a SIEM reads them: Elastic Common Schema, and OCSF Detection Finding."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tacit.logs.detection.techniques import Technique

_FRAMEWORK = "MITRE ATT&CK"
_SEVERITIES = ((0.9, 4, "High"), (0.5, 3, "Medium"), (0.0, 2, "Low"))
_OCSF_VERSION = "1.3.0"
ATTACK_VERSION = "15.1"


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
    document = ecs_alert(uid=alert.uid, title=alert.title, dataset="tacit.detection", severity=25 * _severity(alert)[0] - 25)
    document["@timestamp"] = iso(sighting.end)
    document["event"] |= {"start": iso(sighting.begin), "end": iso(sighting.end), "risk_score": round(100 * alert.score, 2)}
    document["rule"] = {"name": "Tacit detector", "uuid": alert.detector[:32], "ruleset": "tacit"}
    document["tacit"] = {"detection": _own(alert)}
    outer, inner = sighting.entity.split(".")
    document[outer] = {inner: sighting.name}
    if alert.techniques:
        document["threat"] = ecs_threat([one.uid for one in alert.techniques], [(one.tactic_uid, one.tactic) for one in alert.techniques])
        document["threat"]["technique"]["name"] = [one.name for one in alert.techniques]
    return document


def to_ocsf(alert: Alert) -> dict[str, Any]:
    """As an OCSF Detection Finding (class 2004): https://schema.ocsf.io/1.3.0/classes/detection_finding."""
    sighting = alert.sighting
    user = sighting.entity == "user.name"
    finding = ocsf_finding(uid=alert.uid, title=alert.title, level=_severity(alert), time=milliseconds(sighting.end))
    finding |= {
        "start_time": milliseconds(sighting.begin), "end_time": milliseconds(sighting.end), "risk_score": round(100 * alert.score),
        "evidences": [{"actor": {"user": {"name": sighting.name}}} if user else {"device": {"hostname": sighting.name, "type_id": 0}}],
        "observables": [{"name": sighting.entity, "type_id": 4 if user else 1, "type": "User Name" if user else "Hostname", "value": sighting.name}],
        "unmapped": {"tacit": _own(alert)},
    }
    finding["finding_info"] |= {
        "types": ["anomaly"],
        "analytic": {"type_id": 4, "type": "Learning (ML/DL)", "name": "Tacit detector", "uid": alert.detector[:32]},
        "attacks": [
            {"version": ATTACK_VERSION, "tactic": {"uid": one.tactic_uid, "name": one.tactic}, "technique": {"uid": one.uid, "name": one.name}}
            for one in alert.techniques
        ],
    }
    return finding


def ecs_alert(*, uid: str, title: str, dataset: str, severity: int) -> dict[str, Any]:
    """What every alert of ours says in the Elastic Common Schema."""
    return {
        "ecs": {"version": "8.17.0"},
        "event": {
            "kind": "alert", "category": ["intrusion_detection"], "type": ["info"], "id": uid, "dataset": dataset, "module": "tacit",
            "severity": severity,
        },
        "message": title,
    }


def ecs_threat(techniques: Sequence[str], tactics: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Techniques, and identifiers and names of tactics, as the Elastic Common Schema has them."""
    references = [f"https://attack.mitre.org/techniques/{uid.replace('.', '/')}/" for uid in techniques]
    threat: dict[str, Any] = {"framework": _FRAMEWORK, "technique": {"id": list(techniques), "reference": references}}
    if tactics:
        threat["tactic"] = {"id": [uid for uid, _ in tactics], "name": [name for _, name in tactics]}
    return threat


def ocsf_finding(*, uid: str, title: str, level: tuple[int, str], time: int) -> dict[str, Any]:
    """What every alert of ours says as a Detection Finding; time in milliseconds."""
    return {
        "activity_id": 1, "activity_name": "Create", "category_uid": 2, "category_name": "Findings", "class_uid": 2004,
        "class_name": "Detection Finding", "type_uid": 200401, "type_name": "Detection Finding: Create", "severity_id": level[0],
        "severity": level[1], "status_id": 1, "status": "New", "time": time, "message": title, "is_alert": True,
        "metadata": {"version": _OCSF_VERSION, "product": {"name": "Tacit", "vendor_name": "Tacit"}, "uid": uid, "profiles": ["security_control"]},
        "finding_info": {"uid": uid, "title": title, "created_time": time},
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


def iso(when: dt.datetime) -> str:
    """A time in UTC, to the millisecond."""
    return f"{when:%Y-%m-%dT%H:%M:%S}.{when.microsecond // 1_000:03d}Z"


def milliseconds(when: dt.datetime) -> int:
    """Since 1970."""
    return int(when.timestamp() * 1_000)
