"""A simulated enterprise and its events, day by day and block by block."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from tacit.errors import UsageError
from tacit.logs.activity import make_scene, ordinary, rate_scale
from tacit.logs.atomic import writing
from tacit.logs.blocks import Block, combine, cut
from tacit.logs.ecs import EVENT_SCHEMA, LABEL_SCHEMA, EcsWriter
from tacit.logs.enterprise import Enterprise, build_enterprise
from tacit.logs.intrusions import Campaign, describe, plan_campaigns, strike
from tacit.logs.spec import SimulationSpec
from tacit.logs.vocabulary import DEPARTMENTS, ROLES, SITES

_BLOCK_EVENTS = 250_000  # events in one block of accounts; bounds the memory of generation
_LINES = 10_000  # lines rendered at once; more leaves the processor's cache
_ROW_GROUP = 100_000
DIRECTORY_SCHEMA = {"user.name": pl.String, "department": pl.String, "role": pl.String, "site": pl.String}


class Simulation:
    """One synthetic enterprise; every method replays the same events for the same spec.

    Labels never appear unless asked for with ``labels=True``, in columns of their own (``tacit.label.*``); ``event.id`` joins both.

    >>> simulation = simulate(SimulationSpec.small(seed=1))
    >>> next(simulation.events(batch_rows=1000)).height
    1000
    """

    def __init__(self, spec: SimulationSpec) -> None:
        self.spec = spec
        self._firm = build_enterprise(spec)
        self._plans = plan_campaigns(self._firm, spec)
        self._scale = rate_scale(self._firm, spec)
        self.campaigns: tuple[Campaign, ...] = tuple(describe(plan, self._firm, spec) for plan in self._plans)
        self._ecs = EcsWriter(self._firm.pools, tuple((c.kind, c.id) for c in self.campaigns))

    @property
    def directory(self) -> pl.DataFrame:
        """What a personnel directory knows: one row per account with department, role and site."""
        firm = self._firm
        columns = {
            "user.name": firm.pools.user[1:],
            "department": [DEPARTMENTS[i] for i in firm.department],
            "role": [ROLES[i] for i in firm.role],
            "site": [SITES[i] for i in firm.site],
        }
        return pl.DataFrame(columns, schema=DIRECTORY_SCHEMA)

    def events(self, *, batch_rows: int = 50_000, labels: bool = False) -> Iterator[pl.DataFrame]:
        """All events as frames of at most ``batch_rows`` rows with the columns of ``EVENT_SCHEMA``.

        Days follow one another; within a day events are in order of time, except that an enterprise too large for one block delivers its
        accounts block after block, as shippers of different sites do. Memory depends on the number of accounts, not of events.

        Raises:
            UsageError: if ``batch_rows`` is not a positive integer.
        """
        _check_batch(batch_rows)
        for day, first, block in self.coded(batch_rows):
            yield self._ecs.frame(block, day=day, first_id=first, labels=labels)

    def write_ndjson(self, path: str | Path, *, labels: bool = False) -> int:
        """Write one JSON object per line (flat ECS names, absent fields left out) and return the number of events.

        The file appears only when it is complete; a file of that name is replaced in one step.

        Raises:
            StorageError: if it cannot be written; what was there before is unchanged.
        """
        count = 0
        with writing(path) as file:
            for day, first, block in self.coded(_LINES):
                file.write(self._ecs.lines(block, day=day, first_id=first, labels=labels))
                count += len(block["time"])
        return count

    def write_parquet(self, path: str | Path, *, labels: bool = False) -> int:
        """Write one Parquet file (ordinary row groups) and return the number of events; as atomic as ``write_ndjson``.

        Raises:
            StorageError: if it cannot be written; what was there before is unchanged.
        """
        import pyarrow.parquet as pq

        schema = pl.DataFrame(schema=EVENT_SCHEMA | (LABEL_SCHEMA if labels else {})).to_arrow().schema
        count = 0
        with writing(path) as file, pq.ParquetWriter(file, schema, compression="zstd") as parquet:
            for batch in self.events(batch_rows=_ROW_GROUP, labels=labels):
                parquet.write_table(batch.to_arrow())
                count += batch.height
        return count

    @property
    def enterprise(self) -> Enterprise:
        """The people, machines and services behind the events."""
        return self._firm

    def frame(self, block: Block, *, day: dt.date, first_id: int, labels: bool = False) -> pl.DataFrame:
        """Coded events of ``coded`` as a frame with the columns of ``EVENT_SCHEMA``."""
        return self._ecs.frame(block, day=day, first_id=first_id, labels=labels)

    def coded(self, rows: int) -> Iterator[tuple[dt.date, int, Block]]:
        """All events before they are spelt out, at most ``rows`` at once: day, number of the first one within its day, and codes."""
        for number in range(self.spec.days):
            day, first = self.spec.start + dt.timedelta(days=number), 0
            for block in self._blocks(number):
                size = len(block["time"])
                yield from ((day, first + begin, cut(block, begin, min(begin + rows, size))) for begin in range(0, size, rows))
                first += size

    def _blocks(self, number: int) -> Iterator[Block]:
        """The events of one day; each block of accounts has a generator of its own, so that blocks do not depend on one another."""
        size = max(16, int(_BLOCK_EVENTS / self.spec.events_per_user_day))
        weekday = (self.spec.start.weekday() + number) % 7
        today = [plan for plan in self._plans if plan.first <= number <= plan.last]
        for index, begin in enumerate(range(0, self.spec.users, size)):
            who = np.arange(begin, min(begin + size, self.spec.users))
            rng = np.random.default_rng(np.random.SeedSequence(self.spec.seed, spawn_key=(2, number, index)))
            parts = ordinary(make_scene(self._firm, who, rng=rng, weekday=weekday, scale=self._scale))
            for plan in today:
                victims = plan.victims[(plan.victims >= who[0]) & (plan.victims <= who[-1])]
                parts += strike(self._firm, plan, who=victims, rng=rng) if len(victims) else []
            yield combine(parts)


def simulate(spec: SimulationSpec) -> Simulation:
    """Set up the enterprise of ``spec``; events are generated when they are asked for.

    >>> simulation = simulate(SimulationSpec.small(seed=1))
    >>> sorted({campaign.kind for campaign in simulation.campaigns})
    ['beaconing', 'exfiltration', 'insider_download', 'lateral_movement', 'password_spray']
    """
    return Simulation(spec)


def _check_batch(rows: int) -> None:
    if isinstance(rows, bool) or not isinstance(rows, int) or rows < 1:
        raise UsageError(f"Expected batch_rows={rows!r} >= 1; pass the number of events per batch, for example 50000.")
