"""Listeners on connections: syslog over TCP and TLS, RELP, RELP over TLS."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from tacit.errors import TacitError, UsageError
from tacit.logs.formats import LineFormat
from tacit.logs.stages.delivery import Delivery
from tacit.logs.stages.listeners.base import Bounds, Door, readable, receipt, refused_address, unique
from tacit.logs.stages.listeners.framing import Dialect, Item, Malformed, RelpStream, SyslogStream
from tacit.logs.stages.metrics import Metrics
from tacit.logs.stages.submissions import Receipt

_LOG = logging.getLogger("tacit.logs.stages")
_READ = 64 << 10
_HANDSHAKE = 10.0
_PAUSE = 0.5
_QUIET, _INSTANT = 0.1, 0.02
_Flight = tuple[Future[Receipt] | None, list[Item]]


@dataclass(frozen=True)
class Certificates:
    """What a TLS listener shows and asks for; TLS 1.2 or newer.

    Args:
        certificate: file of the server's certificate, with its chain (PEM).
        key: file of its private key (PEM).
        clients: file of the authorities whose certificates a client must show; without it no client needs one.
    """

    certificate: Path
    key: Path
    clients: Path | None = None

    def context(self) -> ssl.SSLContext:
        """For the server's side.

        Raises:
            UsageError: a file cannot be read or is not what it should be.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self.certificate, self.key, password=_no_password)
            if self.clients is not None:
                context.load_verify_locations(self.clients)
                context.verify_mode = ssl.CERT_REQUIRED
        except (OSError, ValueError) as error:
            raise UsageError(f"Cannot use the TLS files {self.certificate}, {self.key}{_and(self.clients)} ({type(error).__name__}). "
                             "Expected PEM files: a certificate, its key without passphrase, and authorities.") from error
        return context


class StreamListener:
    """Connections that bring records.

    A connection is read only while few of its submissions wait for their receipt: a full pipeline stops its senders, it does not collect. Plain
    syslog has no acknowledgement: what a sender has sent and Tacit has not read when either dies is lost. RELP is answered when records are durable.

    Args:
        address: host and port; port 0 takes a free one, see `port`.
        dialect: makes what reads one connection.
        door: where records are handed in.
        bounds: how much is taken at once.
        tls: for connections under TLS.
    """

    def __init__(
        self, address: tuple[str, int], dialect: Callable[[int], Dialect], *, door: Door, bounds: Bounds | None = None,
        tls: Certificates | None = None,
    ) -> None:
        self.name = door.listener
        self.port = address[1]
        self._host, self._dialect, self._door, self._bounds = address[0], dialect, door, bounds or Bounds()
        self._tls = None if tls is None else tls.context()
        self._sockets: list[socket.socket] = []
        self._open: dict[_Session, asyncio.Task[None]] = {}

    async def start(self) -> None:
        """See `Listener`."""
        try:
            found = await asyncio.get_running_loop().getaddrinfo(self._host or None, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            for family, *_, address in dict.fromkeys(found):
                listening = socket.create_server((address[0], self.port), family=family, backlog=512, dualstack_ipv6=False)
                listening.setblocking(False)
                self._sockets.append(listening)
                self.port = listening.getsockname()[1]
        except OSError as error:
            self._close()
            raise refused_address(f"{self._host}:{self.port}", error) from error

    async def run(self) -> None:
        """See `Listener`."""
        try:
            await asyncio.gather(*(self._accepting(listening) for listening in self._sockets))
        finally:
            # Senders of connections that wait in the kernel believe that they are heard.
            for listening in self._sockets:
                with contextlib.suppress(OSError):
                    self._take_waiting(listening)
            self._close()
            for session in self._open:
                session.stop()
            if self._open:
                await asyncio.wait(list(self._open.values()))

    def _close(self) -> None:
        for listening in self._sockets:
            listening.close()

    async def _accepting(self, listening: socket.socket) -> None:
        while True:
            await readable(listening)
            try:
                self._take_waiting(listening)
            except OSError as error:  # no more file descriptors, say: those that are open go on
                self._door.count("accept failed")
                _LOG.warning("%s cannot accept a connection (%s)", self.name, type(error).__name__)
                await asyncio.sleep(_PAUSE)

    def _begin(self, accepted: socket.socket) -> None:
        if len(self._open) >= self._bounds.connections and not self._made_room():
            self._door.count("connection refused")
            accepted.close()
            return
        self._door.count("connection")
        session = _Session(accepted, self._dialect(self._bounds.longest), self._door, self._bounds, self._tls)
        self._open[session] = task = asyncio.create_task(session.run())
        task.add_done_callback(lambda _: self._open.pop(session, None))

    def _take_waiting(self, listening: socket.socket) -> None:
        """Connections that the kernel has accepted already; nothing can come between taking one and serving it."""
        with contextlib.suppress(BlockingIOError):
            while True:
                accepted, _ = listening.accept()
                accepted.setblocking(False)
                self._begin(accepted)

    def _made_room(self) -> bool:
        """Close the connection that has been silent longest, if it was silent for long."""
        silent = min(self._open, key=lambda session: session.heard)
        if time.monotonic() - silent.heard < self._bounds.patience or silent.flying:
            return False
        self._open.pop(silent).cancel()
        return True


class _Session:
    """One connection."""

    def __init__(self, accepted: socket.socket, dialect: Dialect, door: Door, bounds: Bounds, tls: ssl.SSLContext | None) -> None:
        self._socket, self._dialect, self._door, self._bounds, self._tls = accepted, dialect, door, bounds, tls
        self.heard = time.monotonic()
        self.flying = 0
        self._flights: asyncio.Queue[_Flight | None] = asyncio.Queue(bounds.flying)
        self._timeout: asyncio.Timeout | None = None
        self._ends: float | None = None
        self._deadline = asyncio.get_running_loop().time() + bounds.patience

    async def run(self) -> None:
        _keep_alive(self._socket)
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(_READ)
        protocol = asyncio.StreamReaderProtocol(reader)
        try:
            transport, _ = await loop.connect_accepted_socket(
                lambda: protocol, self._socket, ssl=self._tls,
                ssl_handshake_timeout=None if self._tls is None else min(_HANDSHAKE, self._bounds.patience),
            )
        except (OSError, EOFError):
            self._door.count("handshake failed" if self._tls else "connection lost")
            self._socket.close()
            return
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        try:
            await self._exchange(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                await asyncio.wait_for(writer.wait_closed(), 1.0)
            writer.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answering = asyncio.create_task(self._answering(writer))
        reading = asyncio.create_task(self._reading(reader))
        try:
            await asyncio.wait((answering, reading), return_when=asyncio.FIRST_COMPLETED)
            if reading.done() and not answering.done():
                await self._flights.put(None)
                await answering
        finally:
            for task in (reading, answering):
                task.cancel()
            done = await asyncio.gather(reading, answering, return_exceptions=True)
            for error in done:
                self._tell(error)

    def _tell(self, error: object) -> None:
        if isinstance(error, Malformed):
            self._door.count("malformed")
            _LOG.info("%s closed a connection: %s", self._door.listener, error)
        elif isinstance(error, TimeoutError):
            self._door.count("too slow")
        elif isinstance(error, OSError):
            self._door.count("connection lost")
        elif isinstance(error, TacitError):
            self._door.count("not delivered")
        elif isinstance(error, Exception):
            self._door.count("fault")
            _LOG.error("%s closed a connection after a %s", self._door.listener, type(error).__name__)

    def stop(self) -> None:
        """Read what the sender has already sent, and end."""
        self._ends = asyncio.get_running_loop().time() + self._bounds.drain
        if self._timeout is not None:
            self._timeout.reschedule(self._until())

    async def _reading(self, reader: asyncio.StreamReader) -> None:
        """Read and hand in until the end, a fault, or the wish to stop."""
        while data := await self._read(reader):
            self.heard = time.monotonic()
            began = self._dialect.waiting
            items, fault = _fed(self._dialect, data)
            if items:
                await self._hand_in(items)
            if fault is not None:
                raise fault
            if items and items[-1].last:
                return
            if items or not began:
                self._deadline = asyncio.get_running_loop().time() + self._bounds.patience
        if self._ends is None and (items := list(self._dialect.end())):
            await self._hand_in(items)

    async def _read(self, reader: asyncio.StreamReader) -> bytes:
        """What has come; nothing at the end, or when Tacit stops and the sender is quiet."""
        try:
            async with asyncio.timeout_at(self._until()) as self._timeout:
                return await reader.read(_READ)
        except TimeoutError:
            if self._ends is None:
                raise
        finally:
            self._timeout = None
        # What came in the moment in which the time was over is there already.
        with contextlib.suppress(TimeoutError):
            return await asyncio.wait_for(reader.read(_READ), _INSTANT)
        return b""

    def _until(self) -> float | None:
        if self._ends is not None:
            return min(asyncio.get_running_loop().time() + _QUIET, self._ends)
        return self._deadline if self._dialect.waiting else None

    async def _hand_in(self, items: list[Item]) -> None:
        lines = [item.line for item in items if item.line is not None]
        self.flying += 1
        await self._flights.put((await self._door.submit(lines, self._marks(len(lines))) if lines else None, items))

    def _marks(self, count: int) -> list[bytes] | None:
        """A record that its sender does not send again is itself, also if another is equal to it."""
        return None if self._dialect.acknowledges else unique(count)

    async def _answering(self, writer: asyncio.StreamWriter) -> None:
        """Answer what is durable, in the order in which it came."""
        while (flight := await self._flights.get()) is not None:
            future, items = flight
            refused = {} if future is None else dict((await receipt(future)).refused)
            self.flying -= 1
            if answers := self._answers(items, refused):
                writer.write(answers)
                async with asyncio.timeout(self._bounds.patience):
                    await writer.drain()

    def _answers(self, items: list[Item], refused: dict[int, str]) -> bytes:
        answers, place = [], 0
        for item in items:
            if item.line is None:
                answers.append(item.reply)
            else:
                answers.append(self._dialect.answer(item, refused.get(place)))
                place += 1
        return b"".join(answers)


def tcp(address: tuple[str, int], delivery: Delivery, form: LineFormat, *, metrics: Metrics, bounds: Bounds | None = None,
        tls: Certificates | None = None) -> StreamListener:
    """Syslog over TCP, or over TLS (RFC 5425, RFC 6587)."""
    door = Door(delivery, form, listener="tcp" if tls is None else "tls", metrics=metrics)
    return StreamListener(address, SyslogStream, door=door, bounds=bounds, tls=tls)


def relp(address: tuple[str, int], delivery: Delivery, form: LineFormat, *, metrics: Metrics, bounds: Bounds | None = None,
         tls: Certificates | None = None) -> StreamListener:
    """RELP, plain or under TLS."""
    door = Door(delivery, form, listener="relp" if tls is None else "relp-tls", metrics=metrics)
    return StreamListener(address, RelpStream, door=door, bounds=bounds, tls=tls)


def _fed(dialect: Dialect, data: bytes) -> tuple[list[Item], Malformed | None]:
    """What was complete, and the fault behind it."""
    items: list[Item] = []
    try:
        for item in dialect.feed(data):
            items.append(item)
    except Malformed as fault:
        return items, fault
    return items, None


def _keep_alive(connection: socket.socket) -> None:
    """Find out within minutes that a sender is gone."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _no_password() -> str:
    """OpenSSL would ask at the terminal."""
    raise ValueError("the key has a passphrase")


def _and(path: Path | None) -> str:
    return "" if path is None else f" and {path}"
