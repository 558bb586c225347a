"""Statistics of a log that keep a guarantee: counts, units, distinct values, histograms, quantiles and the commonest keys, from one charged plan."""

from __future__ import annotations

from tacit.logs.stats.choosing import Cut
from tacit.logs.stats.releasing import Release, Terms, release
from tacit.logs.stats.requests import (
    AUTO,
    METRICS,
    Bounds,
    Calendar,
    FoundKeys,
    PublicKeys,
    Request,
    TimeBins,
    even_edges,
    log_edges,
)
from tacit.logs.stats.tables import Table

__all__ = [
    "AUTO", "METRICS", "Bounds", "Calendar", "Cut", "FoundKeys", "PublicKeys", "Release", "Request", "Table", "Terms", "TimeBins", "even_edges",
    "log_edges", "release",
]
