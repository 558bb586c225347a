"""Phased roll-out: what privacy costs on the owner's records, what still leaks, and what to do next."""

from __future__ import annotations

from tacit.pilot.data import PilotData, TableSpec, from_file, hospital, simulated
from tacit.pilot.gates import Gates
from tacit.pilot.progress import forget
from tacit.pilot.refresh import Comparison, compare, promote
from tacit.pilot.report import render_html, render_text, write_report
from tacit.pilot.results import PilotResult
from tacit.pilot.run import PilotSpec, run_pilot
from tacit.pilot.synthetic import SyntheticCheck, check_synthetic

__all__ = [
    "Comparison", "Gates", "PilotData", "PilotResult", "PilotSpec", "SyntheticCheck", "TableSpec", "check_synthetic", "compare", "forget",
    "from_file", "hospital", "promote", "render_html", "render_text", "run_pilot", "simulated", "write_report",
]
