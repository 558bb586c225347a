"""How anonymous is an output: which identities are still readable in it, and what linkage attacks find."""

from __future__ import annotations

from tacit.logs.leaks.examining import leak_report
from tacit.logs.leaks.exposure import LEAK, NO_LEAK, NOT_TESTED, Exposure, LeakReport, Table
from tacit.logs.leaks.residuals import Residuals, residuals
from tacit.logs.leaks.sample import RECORDS, Sample
from tacit.logs.leaks.spelling import ambiguous
from tacit.logs.leaks.views import FORMS

__all__ = [
    "FORMS", "LEAK", "NOT_TESTED", "NO_LEAK", "RECORDS", "Exposure", "LeakReport", "Residuals", "Sample", "Table", "ambiguous", "leak_report",
    "residuals",
]
