"""Tacit: train detectors on records nobody may look at, prove what they leak, and run them in the SOC."""

from __future__ import annotations

from tacit.errors import TacitError
from tacit.guarantee import Budget, Guarantee, PrivacyUnit, Relation, Scope, TrustModel

__version__ = "0.1.0"

__all__ = ["Budget", "Guarantee", "PrivacyUnit", "Relation", "Scope", "TacitError", "TrustModel", "__version__"]
