"""From events to alerts: what each account did in each window, a private detector of it, and findings a SIEM understands."""

from __future__ import annotations

from tacit.logs.detection.alerts import Alert, Evidence, Sighting, to_ecs, to_ocsf
from tacit.logs.detection.detector import Detector, DetectorSpec
from tacit.logs.detection.rules import RuleHit, hit_to_ecs, hit_to_ocsf, rule_hits
from tacit.logs.detection.surprises import Surprise, surprise_to_ecs, surprise_to_ocsf, surprises
from tacit.logs.detection.techniques import TACTICS, TECHNIQUES, Technique
from tacit.logs.detection.windows import Windows, event_frames, labelled

__all__ = [
    "TACTICS", "TECHNIQUES", "Alert", "Detector", "DetectorSpec", "Evidence", "RuleHit", "Sighting", "Surprise", "Technique", "Windows",
    "event_frames", "hit_to_ecs", "hit_to_ocsf", "labelled", "rule_hits", "surprise_to_ecs", "surprise_to_ocsf", "surprises", "to_ecs", "to_ocsf",
]
