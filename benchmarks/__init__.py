"""Ratios against peers, measured in one run: ``python -m benchmarks NAME`` prints one JSON line, ``all`` writes RESULTS.md.

This package runs from a checkout. Peers live in environments of their own and are spoken to through files.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORKSHOP = ROOT / ".bench"
"""Environments, caches and temporary files; never committed."""

EPSILONS = (0.1, 0.5, 1.0, 3.0, 8.0)
DELTA = 1e-5
SEEDS = (0, 1, 2, 3, 4)
