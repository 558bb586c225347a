"""All rows, by name, in the order in which they are run."""

from __future__ import annotations

from benchmarks.result import Row
from benchmarks.rows import (
    accounting,
    anomaly,
    attacks,
    correlated,
    encrypted,
    federated,
    forecast,
    fraud,
    log_counts,
    log_detection,
    log_leak,
    log_sigma,
    log_speed,
    logs,
    poisoned,
    rounds,
    shadows,
    simulator,
    steps,
    sums,
    synthetic,
    trees,
    utility,
)  # fmt: skip

_MODULES = (
    utility, trees, shadows, simulator, anomaly, steps, accounting, correlated, forecast, fraud, synthetic, attacks, logs, log_counts, log_speed,
    log_detection, log_sigma, log_leak, sums, rounds, encrypted, federated, poisoned,
)  # fmt: skip
ROWS: dict[str, Row] = {row.name: row for module in _MODULES for row in module.ROWS}

__all__ = ["ROWS"]
