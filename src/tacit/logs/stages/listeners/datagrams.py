"""Syslog over UDP (RFC 5426): best effort; what the kernel had to drop is counted."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections import deque
from concurrent.futures import Future
from contextlib import suppress

from tacit.logs.formats import LineFormat
from tacit.logs.stages.delivery import Delivery
from tacit.logs.stages.listeners.base import Bounds, Door, readable, receipt, refused_address, unique
from tacit.logs.stages.metrics import Metrics
from tacit.logs.stages.submissions import Receipt

_LOG = logging.getLogger("tacit.logs.stages")
_LARGEST = 65_536
_AT_ONCE, _ROUND = 512, 256 << 10
_KERNEL_BUFFER = 16 << 20
_LAST_ROUNDS = 256
# Linux tells with each datagram how many it has dropped before (SO_RXQ_OVFL of asm-generic/socket.h, SO_RCVBUFFORCE too); Python names neither.
_DROPPED = 40 if sys.platform == "linux" else None
_FORCED_BUFFER = 33
_COUNTER = 1 << 32


class UdpListener:
    """Datagrams, one record each.

    While the pipeline is full nothing is read, and the kernel drops what does not fit its buffer: such drops are counted as «dropped» when the next
    datagram arrives. Nobody can count what the network lost.

    Args:
        address: host and port; port 0 takes a free one, see `port`.
        delivery: that treats and delivers the records.
        form: how they are written.
        metrics: where drops are counted.
        bounds: of what is taken at once.
    """

    def __init__(self, address: tuple[str, int], delivery: Delivery, form: LineFormat, *, metrics: Metrics, bounds: Bounds | None = None) -> None:
        self.name = "udp"
        self.port = address[1]
        self._host, self._bounds = address[0], bounds or Bounds()
        self._door = Door(delivery, form, listener=self.name, metrics=metrics)
        self._socket: socket.socket | None = None
        self._dropped = 0
        self._flights: deque[Future[Receipt]] = deque()

    async def start(self) -> None:
        """See `Listener`."""
        loop = asyncio.get_running_loop()
        try:
            family, *_, address = (await loop.getaddrinfo(self._host or None, self.port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE))[0]
            self._socket = listening = socket.socket(family, socket.SOCK_DGRAM)
            listening.setblocking(False)
            _enlarge(listening)
            if _DROPPED is not None:
                listening.setsockopt(socket.SOL_SOCKET, _DROPPED, 1)
            listening.bind(address)
        except OSError as error:
            if self._socket is not None:
                self._socket.close()
            raise refused_address(f"{self._host}:{self.port}", error) from error
        self.port = listening.getsockname()[1]

    async def run(self) -> None:
        """See `Listener`."""
        listening = self._socket
        if listening is None:
            raise RuntimeError("start() comes first")
        try:
            while True:
                await readable(listening)
                await self._round(listening)
        finally:
            for _ in range(_LAST_ROUNDS):
                if not await self._round(listening):
                    break
            listening.close()
            while self._flights:
                await self._landed()

    async def _round(self, listening: socket.socket) -> int:
        """Hand in what has come; returns how many records that were."""
        lines = self._received(listening)
        if lines:
            while len(self._flights) >= self._bounds.flying or (self._flights and self._flights[0].done()):
                await self._landed()
            self._flights.append(await self._door.submit(lines, unique(len(lines))))
        return len(lines)

    async def _landed(self) -> None:
        with suppress(Exception):  # whoever sends over UDP hears nothing of it; the delivery has counted it
            await receipt(self._flights[0])
        self._flights.popleft()

    def _received(self, listening: socket.socket) -> list[bytes]:
        lines: list[bytes] = []
        size = 0
        while len(lines) < _AT_ONCE and size < _ROUND:
            try:
                data, more, _, _ = listening.recvmsg(_LARGEST, 64)
            except BlockingIOError:
                break
            except OSError as error:
                self._door.count("fault")
                _LOG.warning("udp cannot read a datagram (%s)", type(error).__name__)
                break
            size += len(data)
            for level, kind, content in more:
                if level == socket.SOL_SOCKET and kind == _DROPPED:
                    self._note(int.from_bytes(content[:4], sys.byteorder))
            lines.append(data.rstrip(b"\r\n\0"))
        return [line for line in lines if line]

    def _note(self, dropped: int) -> None:
        self._door.count("dropped", (dropped - self._dropped) % _COUNTER)
        self._dropped = dropped


def _enlarge(listening: socket.socket) -> None:
    """A buffer of the kernel as large as it grants: more than its limit where Tacit has the right to."""
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _KERNEL_BUFFER)
    if sys.platform == "linux":
        with suppress(OSError):
            listening.setsockopt(socket.SOL_SOCKET, _FORCED_BUFFER, _KERNEL_BUFFER)
