"""Telemetry of a simulated enterprise, batch by batch, with the ground truth of who is mentioned."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from tacit.errors import UsageError
from tacit.logs.atomic import writing
from tacit.logs.blocks import Block, cut
from tacit.logs.ecs import EVENT_SCHEMA, LABEL_SCHEMA, text_bytes
from tacit.logs.simulator import Simulation
from tacit.logs.telemetry.columns import Source, columns_of
from tacit.logs.telemetry.ecs import lines_of
from tacit.logs.telemetry.mentions import Seen
from tacit.logs.telemetry.spec import TelemetrySpec
from tacit.logs.telemetry.strings import strings

_BATCH = 50_000
_LEFT_OUT = ("service.name", "network.bytes")
_ADDED: dict[str, Any] = {
    "event.type": pl.String,
    "event.code": pl.String,
    "host.ip": pl.String,
    "host.ipv6": pl.String,
    "host.mac": pl.String,
    "host.os.type": pl.String,
    "host.os.name": pl.String,
    "user.domain": pl.String,
    "user.email": pl.String,
    "user.id": pl.String,
    "source.port": pl.Int32,
    "source.mac": pl.String,
    "process.executable": pl.String,
    "process.pid": pl.Int32,
    "process.hash.sha256": pl.String,
    "url.full": pl.String,
    "http.response.status_code": pl.Int32,
    "file.path": pl.String,
    "message": pl.String,
}
TELEMETRY_SCHEMA: dict[str, Any] = {name: kind for name, kind in EVENT_SCHEMA.items() if name not in _LEFT_OUT} | _ADDED
Identities = dict[str, frozenset[str]]
"""By kind (``user``, ``host``, ``fqdn``, ``email``, ``ip``, ``mac``, ``sid``): every identity that events mention, each in its ordinary spelling."""


@dataclass(frozen=True)
class Written:
    """What a file of telemetry holds."""

    events: int
    identities: Identities


class Frames(Iterator[pl.DataFrame]):
    """Frames of events, one after the other; ``identities`` grows with them."""

    def __init__(self, frames: Iterator[pl.DataFrame], telemetry: Telemetry, seen: Seen) -> None:
        self._frames, self._telemetry, self._seen = frames, telemetry, seen

    def __next__(self) -> pl.DataFrame:
        return next(self._frames)

    @property
    def identities(self) -> Identities:
        """Everybody whom the frames so far mention, in whatever spelling."""
        return self._telemetry.texts(self._seen)


class Telemetry:
    """What sensors write about the events of a simulation: the same accounts, machines, times and labels, and much more text.

    Half of the URLs and command lines are new. Identities stand in fields of their own and in prose, paths, URLs and scripts: with a domain before a
    backslash, in capitals, percent-encoded, in base64, and in UTF-16 within base64. Everything follows from the spec.

    >>> frames = Telemetry(TelemetrySpec.thousand(seed=1)).frames()
    >>> sum(frame.height for frame in frames)
    1000
    >>> sorted(frames.identities)
    ['email', 'fqdn', 'host', 'ip', 'mac', 'sid', 'user']

    """

    def __init__(self, spec: TelemetrySpec) -> None:
        self.spec = spec
        self.simulation = Simulation(spec.simulation)
        seed = spec.simulation.seed
        self._source = Source(self.simulation.enterprise, strings(self.simulation.enterprise, seed=seed), seed)

    def frames(self, *, batch_rows: int = _BATCH, labels: bool = False) -> Frames:
        """Events as frames with the columns of ``TELEMETRY_SCHEMA``, and of ``LABEL_SCHEMA`` where asked for.

        Raises:
            UsageError: if ``batch_rows`` is not a positive integer.
        """
        if isinstance(batch_rows, bool) or not isinstance(batch_rows, int) or batch_rows < 1:
            raise UsageError(f"Expected batch_rows={batch_rows!r} >= 1; pass the number of events per batch, for example 50000.")
        seen = Seen.of(self._source.strings)
        wanted = [*TELEMETRY_SCHEMA, *(LABEL_SCHEMA if labels else ())]
        return Frames((self._frame(*part, seen=seen, labels=labels).select(wanted) for part in self._parts(batch_rows)), self, seen)

    def write_ndjson(self, path: str | Path, *, labels: bool = False) -> Written:
        """Write one nested JSON object per line; the file appears only when it is complete.

        Raises:
            StorageError: if it cannot be written; what was there before is unchanged.
        """
        count, frames = 0, self.frames(labels=labels)
        with writing(path) as file:
            for frame in frames:
                file.write(text_bytes(lines_of(frame.to_dict(), labels=labels)))
                count += frame.height
        return Written(count, frames.identities)

    def texts(self, seen: Seen) -> Identities:
        """Codes of those mentioned as text."""
        return seen.texts(self._source.strings)

    def _parts(self, rows: int) -> Iterator[tuple[dt.date, int, Block]]:
        left = self.spec.events
        for day, first, block in self.simulation.coded(rows):
            yield day, first, cut(block, 0, left)
            left -= len(block["time"])
            if left <= 0:
                return

    def _frame(self, day: dt.date, first: int, block: Block, *, seen: Seen, labels: bool) -> pl.DataFrame:
        plain = self.simulation.frame(block, day=day, first_id=first, labels=labels)
        return plain.with_columns(series.alias(name) for name, series in columns_of(self._source, block, day=day, first=first, seen=seen).items())
