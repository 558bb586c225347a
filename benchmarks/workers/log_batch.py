"""Our own treatment of a file of events: ``python -m benchmarks.workers.log_batch EVENTS OUT WAY``.

Ways: ``lines`` (JSON lines to JSON lines), ``parquet``, ``stream`` (256 events at a time), ``latency`` (events that come evenly; the fourth argument
says how many a second), ``plain`` (as ``lines``, without the compiled reader).
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peak import peak_mebibytes
from tacit.logs.anonymise import Anonymiser, Lines
from tacit.logs.formats import batches, by_name
from tacit.logs.keys import EpochKey
from tacit.logs.policies import SourcePolicy
from tacit.logs.stages import LINES, DeadLetters, LinesSink, ParquetSink, run

STREAM = 256
EXAMPLES = 20_000


def main(arguments: list[str]) -> int:
    source, target, way = arguments[:3]
    policy = SourcePolicy.pack("ecs")
    anonymiser = Anonymiser(policy, EpochKey.for_tests(), compiled=way != "plain")
    answer = _latency(source, anonymiser, float(arguments[3])) if way == "latency" else _timed(source, target, way, anonymiser)
    answer["compiled"] = anonymiser.compiled
    sys.stdout.write(json.dumps(answer | {"peak_bytes": round(peak_mebibytes() * (1 << 20))}) + "\n")
    return 0


def _timed(source: str, target: str, way: str, anonymiser: Anonymiser) -> dict[str, Any]:
    marks: list[tuple[int, float]] = [(0, time.process_time())]

    def marked(parts: Iterable[list[bytes]]) -> Iterator[list[bytes]]:
        for lines in parts:
            yield lines
            marks.append((marks[-1][0] + len(lines), time.process_time()))

    with Path(source).open("rb") as file, Path(target).open("wb") as out, DeadLetters(f"{target}.dead") as dead:
        sink = ParquetSink(out, anonymiser.policy) if way == "parquet" else LinesSink(out, flush=way == "stream")
        tally = run(marked(batches(file, lines=STREAM if way == "stream" else LINES)), by_name("ecs"), anonymiser, sink=sink, dead=dead)
        if isinstance(sink, ParquetSink):
            sink.close()
    seconds = time.process_time() - marks[0][1]
    half = max(1, min(range(len(marks)), key=lambda place: abs(marks[place][0] - tally.read / 2)))
    first, second = marks[half][1] - marks[0][1], marks[-1][1] - marks[half][1]
    flat = (second / max(1, tally.read - marks[half][0])) / (first / marks[half][0])
    return {"events": tally.read, "written": tally.written, "cpu_seconds": seconds, "second_half_over_first": flat}


def _latency(source: str, anonymiser: Anonymiser, rate: float) -> dict[str, Any]:
    """Events arrive evenly; whatever has arrived is treated, at most 256 at a time. Latency is from arrival to treated text."""
    with Path(source).open("rb") as file:
        lines = [line.rstrip(b"\n") for line in islice(file, EXAMPLES)]
    form, latencies, place, begin = by_name("ecs"), [], 0, time.perf_counter()
    while place < len(lines):
        arrived = min(len(lines), int((time.perf_counter() - begin) * rate), place + STREAM)
        if arrived <= place:
            time.sleep(0.0005)
            continue
        anonymiser.texts(Lines(lines[place:arrived], form))
        now = time.perf_counter() - begin
        latencies += [now - number / rate for number in range(place, arrived)]
        place = arrived
    p50, p99 = np.quantile(latencies, (0.5, 0.99)) * 1_000
    return {"events": len(lines), "rate": rate, "p50_ms": float(p50), "p99_ms": float(p99)}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
