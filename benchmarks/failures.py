"""Made-up failed logons: 100 hosts, a week of hours, users with uneven habits; what all contestants count by host and hour."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

HOSTS, DAYS = 100, 7
HOURS = 24 * DAYS
CELLS = HOSTS * HOURS
BEGIN = 1_767_571_200
"""2026-01-05, a Monday; seconds since 1970."""

USERS = 20_000
_PIECE = 1_000_000


def host(number: int) -> str:
    """The name of a host."""
    return f"host-{number:03d}.corp.example"


def write(folder: Path, events: int, *, users: int = USERS, packed: bool = True) -> None:
    """``events.parquet`` as a shipper would leave it; ``packed.npz`` with units and cells as integers, for whoever prefers them, and the truth.

    A user's events are a Poisson number around a lognormal habit; half of them on a host of its own, a quarter at an hour of its own. A week has
    about 116,000 user-days in a million events; bounds of 10 cells and 2 events per cell lose about a fifth of those.
    """
    rng = np.random.default_rng(20_260_105)
    weights = rng.lognormal(0.0, 0.9, users)
    home, habit = rng.integers(0, HOSTS, users), rng.integers(0, 24, users)
    names = pa.array([f"user{number:06d}" for number in range(users)])
    hosts = pa.array([host(number) for number in range(HOSTS)])
    truth, units, cells = np.zeros(CELLS, np.int64), [], []
    schema = pa.schema({
        "@timestamp": pa.timestamp("ms", tz="UTC"), "user.name": pa.string(), "host.name": pa.string(), "event.outcome": pa.string(),
    })  # fmt: skip
    with pq.ParquetWriter(folder / "events.parquet", schema, compression="zstd") as file:
        for start in range(0, events, _PIECE):
            rows = min(_PIECE, events - start)
            user = rng.choice(users, rows, p=weights / weights.sum())
            at = np.where(rng.random(rows) < 0.5, home[user], rng.integers(0, HOSTS, rows))
            day, hour = rng.integers(0, DAYS, rows), np.where(rng.random(rows) < 0.25, habit[user], rng.integers(0, 24, rows))
            cell = at * HOURS + day * 24 + hour
            seconds = BEGIN + day * 86_400 + hour * 3_600 + rng.integers(0, 3_600, rows)
            moment = pa.array(seconds * 1_000, pa.timestamp("ms", tz="UTC"))
            outcome = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array(["failure"])).cast(pa.string())
            file.write_table(pa.table([moment, names.take(pa.array(user)), hosts.take(pa.array(at)), outcome], schema=schema))
            truth += np.bincount(cell, minlength=CELLS)
            if packed:
                units.append(user * DAYS + day)
                cells.append(cell)
    if packed:
        np.savez(folder / "packed.npz", unit=np.concatenate(units), cell=np.concatenate(cells))
    np.save(folder / "truth.npy", truth)
