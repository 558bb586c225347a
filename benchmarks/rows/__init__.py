"""All rows, by name, in the order in which they are run."""

from __future__ import annotations

from benchmarks.result import Row
from benchmarks.rows import accounting, anomaly, correlated, forecast, shadows, simulator, steps, trees, utility

_ALL = (*utility.ROWS, *trees.ROWS, *shadows.ROWS, *simulator.ROWS, *anomaly.ROWS, *steps.ROWS, *accounting.ROWS, *correlated.ROWS, *forecast.ROWS)
ROWS: dict[str, Row] = {row.name: row for row in _ALL}

__all__ = ["ROWS"]
