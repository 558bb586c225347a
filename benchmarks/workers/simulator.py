"""Generate and write events, then write some of them with Python's json. ``python -m benchmarks.workers.simulator FOLDER``."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from benchmarks.peers.common import cpu
from tacit.logs import SimulationSpec, simulate

SPEC = SimulationSpec(users=4_000, days=7, hosts=4_600, intrusions=40, seed=1)
FEWER = SimulationSpec(users=4_000, days=1, hosts=4_600, intrusions=5, seed=1)


def by_json(path: Path, spec: SimulationSpec) -> int:
    """The same lines as `write_ndjson` writes, one ``json.dumps`` each."""
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for frame in simulate(spec).events():
            texts = frame.with_columns(frame["@timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%S.%3fZ"))
            for event in texts.iter_rows(named=True):
                file.write(json.dumps({name: value for name, value in event.items() if value is not None}, separators=(",", ":")) + "\n")
            count += frame.height
    return count


def main(arguments: list[str]) -> int:
    ours, theirs = Path(arguments[0]) / "events.ndjson", Path(arguments[0]) / "json.ndjson"
    wall = time.perf_counter()
    with cpu() as clock:
        count = simulate(SPEC).write_ndjson(ours)
    wall = time.perf_counter() - wall
    with cpu() as other:
        fewer = by_json(theirs, FEWER)
    found = {
        "events": count, "cpu_seconds": clock.seconds, "wall_seconds": wall, "events_per_second": count / clock.seconds,
        "bytes_per_event": ours.stat().st_size / count, "json_events": fewer, "json_events_per_second": fewer / other.seconds,
        "json_bytes_per_event": theirs.stat().st_size / fewer,
    }  # fmt: skip
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
