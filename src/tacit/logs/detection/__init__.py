"""From events to alerts: what each account did in each window, a private detector of it, and findings a SIEM understands."""

from __future__ import annotations

from tacit.logs.detection.alerts import Alert, Evidence, Sighting, to_ecs, to_ocsf
from tacit.logs.detection.detector import Detector, DetectorSpec
from tacit.logs.detection.techniques import TECHNIQUES, Technique
from tacit.logs.detection.windows import Windows, event_frames, feature_domain, labelled

__all__ = [
    "TECHNIQUES", "Alert", "Detector", "DetectorSpec", "Evidence", "Sighting", "Technique", "Windows", "event_frames", "feature_domain", "labelled",
    "to_ecs", "to_ocsf",
]
