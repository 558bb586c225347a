"""Counts at ε=1 and the weeks after them. ``python -m benchmarks.workers.forecast SEEDS FLIGHTS.zip``.

Simulated: eight weeks of an enterprise's events by category, an hour a bin, a user's day as the unit. Real: a year of flights out of three airports,
an hour a bin, an aircraft's day as the unit. Each calendar is counted once, and every forecast sees the weeks before it alone. The exact counts are
those of all records, so that what clipping takes from them counts as an error.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
from numpy.typing import NDArray

from benchmarks import DELTA
from benchmarks.peers.common import cpu
from tacit import Budget
from tacit.learn import CountForecaster, forecast
from tacit.logs import SimulationSpec, simulate
from tacit.models import CountSeries

WEEK = 168
COVERAGE = 0.9


@dataclass(frozen=True)
class Calendar:
    """Records with a time, who they are about, what they are counted by; and the weeks that are forecast, each from so many before it."""

    name: str
    records: pl.DataFrame
    begin: str
    end: str
    keys: tuple[str, ...]
    weeks: tuple[int, ...]
    history: int


def simulated(seed: int) -> Calendar:
    spec = SimulationSpec(users=1_000, hosts=1_200, intrusions=60, days=56, seed=seed)
    events = pl.concat(list(simulate(spec).events(labels=False)))
    day = pl.col("@timestamp").dt.strftime("%Y-%m-%d")
    records = events.select(at=pl.col("@timestamp"), unit=pl.concat_str(pl.col("user.name"), day, separator=" "), series=pl.col("event.category"))
    return Calendar("simulated", records, "2026-01-05", "2026-03-02", ("authentication", "network", "process", "web"), (5, 6, 7), 8)


def flights(path: str) -> Calendar:
    with zipfile.ZipFile(path) as archive:
        table = pl.read_csv(archive.read("flights.csv"), null_values=["NA"], infer_schema_length=None)
    at = pl.datetime("year", "month", "day", "hour")
    unit = pl.concat_str(pl.col("tailnum").fill_null("unknown"), at.dt.strftime("%Y-%m-%d"), separator=" ")
    records = table.select(at=at, unit=unit, series=pl.col("origin"))
    return Calendar("flights", records, "2013-01-01", "2014-01-01", ("EWR", "JFK", "LGA"), (8, 16, 24, 32, 40, 48), 8)


def counted(calendar: Calendar) -> tuple[CountSeries, NDArray[np.float64]]:
    """Released and exact counts ``[bins, series]``."""
    found = CountForecaster(
        Budget(1.0, DELTA), time="at", begin=calendar.begin, end=calendar.end, column="series", keys=calendar.keys,
    ).fit(calendar.records.select("at", "series"), unit=calendar.records["unit"])
    released = found.counts_
    hours = calendar.records.select(hour=(pl.col("at").dt.epoch("s") - released.begin) // 3600, series="series")
    exact = np.stack([
        np.bincount(hours.filter(pl.col("series") == key)["hour"].to_numpy(), minlength=released.bins)[: released.bins] for key in calendar.keys
    ], axis=1).astype(np.float64)  # fmt: skip
    return released, exact


def weeks(calendar: Calendar, seed: int) -> Iterator[dict[str, Any]]:
    released, exact = counted(calendar)
    for week in calendar.weeks:
        past, ahead = slice(max(0, week - calendar.history) * WEEK, week * WEEK), slice(week * WEEK, (week + 1) * WEEK)
        history = dataclasses.replace(released, begin=released.begin + past.start * 3600, counts=np.ascontiguousarray(released.counts[past]))
        with cpu() as clock:
            found = forecast(history, WEEK, coverage=COVERAGE)
        truth, noisy = exact[ahead], released.counts[ahead]
        naive = released.counts[ahead.start - WEEK : ahead.start]
        yield {
            "case": calendar.name, "seed": seed, "week": week, "sigma": released.sigma, "longest": released.longest,
            "released": within(noisy, found.released_lower, found.released_upper), "exact": within(truth, found.lower, found.upper),
            "error": float(np.abs(found.expected - truth).mean()), "naive_error": float(np.abs(naive - truth).mean()),
            "mean": float(truth.mean()), "cpu_seconds": clock.seconds, **smoothing(history.counts, noisy, truth),
        }  # fmt: skip


def smoothing(past: NDArray[np.float64], noisy: NDArray[np.float64], truth: NDArray[np.float64]) -> dict[str, float]:
    """Exponential smoothing with a weekly season, by statsmodels, as one uses it without a thought for the noise."""
    from statsmodels.tsa.exponential_smoothing.ets import ETSModel

    held, errors = [], []
    for place in range(past.shape[1]):
        with warnings.catch_warnings(action="ignore"):
            model = ETSModel(
                pd.Series(past[:, place]), error="add", seasonal="add", seasonal_periods=WEEK, initialization_method="heuristic",
            )
            fit = model.fit(disp=0)
            frame = fit.get_prediction(start=len(past), end=len(past) + WEEK - 1).summary_frame(alpha=1 - COVERAGE)
        held.append(within(noisy[:, place], np.asarray(frame["pi_lower"]), np.asarray(frame["pi_upper"])))
        errors.append(float(np.abs(np.asarray(frame["mean"]) - truth[:, place]).mean()))
    return {"smoothing_released": float(np.mean(held)), "smoothing_error": float(np.mean(errors))}


def within(counts: NDArray[np.float64], lower: NDArray[np.float64], upper: NDArray[np.float64]) -> float:
    return float(((counts >= lower) & (counts <= upper)).mean())


def main(arguments: list[str]) -> int:
    found = []
    real = flights(arguments[1])
    for seed in range(int(arguments[0])):
        for calendar in (simulated(seed), real):
            found += list(weeks(calendar, seed))
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
