"""Before the first real round: what would fail, found early, each with what to do about it."""

from __future__ import annotations

from tacit.federation.site.preflight.outcome import Bench, Outcome
from tacit.federation.site.preflight.running import CHECKS, preflight

__all__ = ["CHECKS", "Bench", "Outcome", "preflight"]
