"""How anonymous is an output: which identities are still readable in it."""

from __future__ import annotations

from tacit.logs.leaks.residuals import Residuals, residuals
from tacit.logs.leaks.spelling import ambiguous
from tacit.logs.leaks.views import FORMS

__all__ = ["FORMS", "Residuals", "ambiguous", "residuals"]
