"""Events per second of the simulator, written as JSON lines, against writing the same events with Python's own json."""

from __future__ import annotations

import json

from benchmarks.contest import Failed, run, workplace
from benchmarks.result import Check, Incomplete, Measured, Options, Row


def events(options: Options) -> Measured:
    with workplace() as folder:
        try:
            runs = [json.loads(run("benchmarks.workers.simulator", [str(folder)])) for _ in range(min(3, options.seeds))]
        except Failed as error:
            raise Incomplete(str(error)) from error
    best = max(runs, key=lambda found: float(found["events_per_second"]))
    check = Check("events per CPU second, written", best["events_per_second"], 200_000.0)
    unit, peer = "events per CPU second, generated and written", "the same generator, lines by Python's json"
    return Measured(best["events_per_second"], unit, peer, best["json_events_per_second"], (check,), {"best": best, "runs": runs})


ROWS = (Row("simulator.events", "events per second of the SOC simulator including NDJSON, one core", events),)
