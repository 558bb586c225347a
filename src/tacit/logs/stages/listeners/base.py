"""What every listener has: limits, a door to the delivery that waits while it is busy, and counts of what went wrong."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

from tacit.errors import StorageError
from tacit.logs.formats import LONGEST, LineFormat
from tacit.logs.stages.delivery import Busy, Closed, Delivery
from tacit.logs.stages.metrics import Metrics
from tacit.logs.stages.submissions import Receipt

_FIRST_PAUSE, _LONGEST_PAUSE = 0.005, 0.25


@dataclass(frozen=True)
class Bounds:
    """How much one listener takes upon itself.

    Args:
        longest: bytes of the longest record; of a longer one the first ``longest + 1`` are given on, so that its format refuses it.
        connections: open at once; when there are more, the one that has been silent longest is closed if it was silent for ``patience``.
        patience: seconds in which a record that has begun, or a TLS handshake, must be complete.
        drain: seconds to go on reading what a sender has already sent when Tacit stops.
        flying: submissions of one connection that wait for their receipt; beyond that it is not read.
    """

    longest: int = LONGEST
    connections: int = 1024
    patience: float = 60.0
    drain: float = 1.0
    flying: int = 4


class Listener(Protocol):
    """Something that brings records to a `Delivery`; all its methods are called in one event loop."""

    name: str

    async def start(self) -> None:
        """Begin to listen.

        Raises:
            StorageError: the address, the file or the server cannot be had.
        """

    async def run(self) -> None:
        """Bring records until cancelled; then stop reading, wait for the receipts of what was taken, and answer.

        Raises:
            TacitError: it cannot go on.
        """


class Door:
    """Where a listener hands in lines.

    Args:
        delivery: that treats and delivers them.
        form: how they are written.
        listener: its public name in metrics.
        metrics: where losses and faults are counted.
    """

    def __init__(self, delivery: Delivery, form: LineFormat, *, listener: str, metrics: Metrics) -> None:
        self.listener = listener
        self._delivery, self._form, self._metrics = delivery, form, metrics
        self._counter = _counter(metrics)

    async def submit(self, lines: Sequence[bytes], marks: Sequence[bytes] | None = None) -> Future[Receipt]:
        """Hand lines in; while the queue is full this waits, and its caller reads nothing.

        Args:
            lines: without their newlines.
            marks: see `Delivery.submit`.

        Raises:
            Closed: the pipeline is being closed.
        """
        pause = _FIRST_PAUSE
        while True:
            try:
                return self._delivery.submit(lines, self._form, listener=self.listener, marks=marks)
            except Closed:
                raise
            except Busy:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    async def deliver(self, lines: Sequence[bytes], marks: Sequence[bytes] | None = None) -> Receipt:
        """Hand lines in and wait until they are durable."""
        return await receipt(await self.submit(lines, marks))

    def count(self, what: str, amount: int = 1) -> None:
        """Count a fault or an event of the listener, under a public name."""
        if amount:
            self._counter.labels(self.listener, what).inc(amount)

    def checkpoint(self) -> None:
        """How far the listener is was stored."""
        self._metrics.checkpoint(self.listener)


async def receipt(future: Future[Receipt]) -> Receipt:
    """What became of a submission; cancelling this does not take the submission back."""
    return await asyncio.shield(asyncio.wrap_future(future))


def unique(count: int) -> list[bytes]:
    """Marks that no other record has, for senders that send nothing twice."""
    once = os.urandom(12)
    return [once + number.to_bytes(4, "big") for number in range(count)]


async def readable(listening: socket.socket) -> None:
    """Wait until there is something to read or to accept."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(listening, _tell, ready)
    try:
        await ready
    finally:
        loop.remove_reader(listening)


def _tell(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def refused_address(address: str, error: OSError) -> StorageError:
    """That an address cannot be listened on."""
    return StorageError(f"Cannot listen on {address}: {error.strerror or type(error).__name__}. "
                        "Choose another port, or run with the right to open it.")


def _counter(metrics: Metrics) -> Any:
    """The counter of what happens to listeners, made once per registry."""
    found = getattr(metrics, "_listeners", None)
    if found is None:
        import prometheus_client

        found = prometheus_client.Counter(
            "listener_happenings", "What happened to a listener, by name", ["listener", "what"], namespace="tacit", registry=metrics.registry
        )
        metrics._listeners = found  # type: ignore[attr-defined]
    return found
