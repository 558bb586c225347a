"""Where events come from and go to: files, pipes, Parquet, listeners and outlets; with everything that cannot be treated put aside."""

from __future__ import annotations

from tacit.logs.stages.delivery import Busy, Closed, Delivery, Limits
from tacit.logs.stages.metrics import Metrics
from tacit.logs.stages.parquet import ParquetSink
from tacit.logs.stages.running import LINES, DeadLetters, FormatSink, LinesSink, Sink, Tally, learn, letter, run
from tacit.logs.stages.submissions import Receipt

__all__ = [
    "LINES", "Busy", "Closed", "DeadLetters", "Delivery", "FormatSink", "Limits", "LinesSink", "Metrics", "ParquetSink", "Receipt", "Sink", "Tally",
    "learn", "letter", "run",
]
