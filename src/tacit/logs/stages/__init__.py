"""Where events come from and go to: files, pipes, Parquet; with everything that cannot be treated put aside."""

from __future__ import annotations

from tacit.logs.stages.parquet import ParquetSink
from tacit.logs.stages.running import LINES, DeadLetters, FormatSink, LinesSink, Sink, Tally, learn, run

__all__ = ["LINES", "DeadLetters", "FormatSink", "LinesSink", "ParquetSink", "Sink", "Tally", "learn", "run"]
