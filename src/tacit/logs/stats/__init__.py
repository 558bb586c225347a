"""Statistics of a log that keep a guarantee: counts, units, distinct values, histograms, quantiles and the commonest keys, from one charged plan."""

from __future__ import annotations

from tacit.logs.stats.choosing import Cut
from tacit.logs.stats.grammar import Reader
from tacit.logs.stats.noise import Noise
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
from tacit.logs.stats.writing import arrow_table, as_csv, as_json, as_text, metric_documents, write_metrics, write_parquet

__all__ = [
    "AUTO", "METRICS", "Bounds", "Calendar", "Cut", "FoundKeys", "Noise", "PublicKeys", "Reader", "Release", "Request", "Table", "Terms", "TimeBins",
    "arrow_table", "as_csv", "as_json", "as_text", "even_edges", "log_edges", "metric_documents", "release", "write_metrics", "write_parquet",
]
