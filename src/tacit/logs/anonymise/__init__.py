"""The core of every path from events to anonymised events: column by column, each different value once."""

from __future__ import annotations

from tacit.logs.anonymise.arrays import Values
from tacit.logs.anonymise.engine import UNKNOWN_FIELD, Anonymiser
from tacit.logs.anonymise.native import has_kernel
from tacit.logs.anonymise.outcomes import Table, Treated
from tacit.logs.anonymise.reading import Lines

__all__ = ["UNKNOWN_FIELD", "Anonymiser", "Lines", "Table", "Treated", "Values", "has_kernel"]
