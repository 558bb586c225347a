"""A small made-up log, owners of it, and the truth that a release is held against."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest

from tacit.guarantee import Budget, PrivacyUnit, Relation
from tacit.guard import Curator, Guard, Limits, MemoryBooks, Policy, Records
from tacit.randomness import SecureRandom

DAY = 86_400
BEGIN = 1_767_571_200  # 2026-01-05
HOSTS = tuple(f"h{i:02d}" for i in range(12))
USER_DAY = PrivacyUnit("user-day", "user.name", "day")
Owner = Callable[..., Curator]


def log(rows: int = 40_000, users: int = 3_000, days: int = 3, seed: int = 0) -> pl.DataFrame:
    """Events of users with uneven habits."""
    rng = np.random.default_rng(seed)
    weights = rng.lognormal(0, 0.8, users)
    user = rng.choice(users, rows, p=weights / weights.sum())
    home = rng.integers(0, len(HOSTS), users)
    host = np.where(rng.random(rows) < 0.6, home[user], rng.integers(0, len(HOSTS), rows))
    return pl.DataFrame({
        "user.name": [f"u{i}" for i in user], "host.name": [HOSTS[i] for i in host],
        "@timestamp": (BEGIN + rng.integers(0, days * DAY, rows)).astype(np.float64),
        "event.outcome": rng.choice(["failure", "success"], rows, p=[0.3, 0.7]),
        "bytes": rng.lognormal(6, 1.5, rows), "source.ip": [f"10.0.{a}.{b}" for a, b in zip(user % 50, rng.integers(0, 4, rows), strict=True)],
    })  # fmt: skip


@pytest.fixture(scope="session")
def events() -> pl.DataFrame:
    return log()


@pytest.fixture
def owner(events: pl.DataFrame) -> Owner:
    """Who answers, under a policy of its own."""

    def build(
        epsilon: float = 20.0, *, table: Any = None, seed: int | None = None, unit: PrivacyUnit = USER_DAY, **fields: Any,
    ) -> Curator:
        given = {"filter": "pure", "limits": Limits(minimum_units=0), "count_share": 1e-4, **fields}
        policy = Policy(dataset="log", unit=unit, relation=Relation.ADD_REMOVE, budget=Budget(epsilon, 1e-6), **given)
        source = events if table is None else table
        time = "@timestamp" if unit.window else None
        records = Records.open_columns(source, ["host.name", "event.outcome", "bytes", "source.ip", "@timestamp"], unit=unit, time=time)
        return Curator(Guard(records, policy=policy, ledger=MemoryBooks(), source=None if seed is None else SecureRandom.for_testing(seed)))

    return build
