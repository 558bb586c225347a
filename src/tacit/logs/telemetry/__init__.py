"""What sensors write: telemetry of the simulated enterprise in many formats, with the ground truth of who is mentioned."""

from __future__ import annotations

from tacit.logs.telemetry.spec import TelemetrySpec
from tacit.logs.telemetry.telemetry import TELEMETRY_SCHEMA, Frames, Identities, Telemetry, Written

__all__ = ["TELEMETRY_SCHEMA", "Frames", "Identities", "Telemetry", "TelemetrySpec", "Written"]
