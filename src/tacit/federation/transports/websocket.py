"""The coordinator's end: sites connect to one port over TLS 1.3 with their certificates, and are asked over that connection (RFC 6455)."""

from __future__ import annotations

import asyncio
import http
import os
import secrets
import socket
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tacit.crypto import VerifyKey
from tacit.errors import MissingExtra, UsageError, VerificationError
from tacit.federation.certificates import Address
from tacit.federation.transports import tls
from tacit.federation.transports.base import Missing
from tacit.federation.transports.frames import GARBLED, LARGEST, NUMBER, OVERHEAD, TIMEOUT, UNREACHABLE, Answer, Question, is_stage, quiet

if TYPE_CHECKING:
    from websockets.asyncio.connection import Connection
    from websockets.asyncio.server import ServerConnection
    from websockets.exceptions import ConnectionClosed
    from websockets.http11 import Request, Response

PATH, LOGGER = "/tacit/1/", "tacit.federation.transports"
PIECE = 1 << 18
PATIENCE, HEARTBEAT = 8.0, 10.0
TOO_BIG, REPLACED, MALFORMED = 1009, 4001, 4002
TOO_LARGE_FOR_IT = Missing("refused: the message is larger than the site takes")


class WebSocketTransport:
    """Listens, and asks the sites that have connected.

    A question is sent at most once. A site that is not connected has ``patience`` seconds since it was last seen, or since the transport began, to
    come back; after that it is missing at once until it does. One question at a time is with a site: while an earlier, late one is still being
    answered the next waits, and the late answer is dropped.

    Args:
        folder: with ``rootCA.pem``, ``server.crt`` and ``server.key`` (`certificates.lay_out_coordinator`).
        members: the key of each site, by name: `Roster.sites`. A certificate for another key under the same name is refused.
        listen: address and port; port 0 is not accepted: sites must know it.
        patience: seconds.
        heartbeat: seconds between signs of life on an idle connection; one that gives none for three of them is given up.
        largest: bytes of a message, in either direction.

    Raises:
        MissingExtra: without the extra «federation».
        ConfigError: the certificates cannot be used.
        UsageError: it cannot listen there.
    """

    def __init__(
        self, folder: Path, members: Mapping[str, VerifyKey], *, listen: Address,
        patience: float = PATIENCE, heartbeat: float = HEARTBEAT, largest: int = LARGEST,
    ) -> None:
        require_extra("connecting the sites of a federation")
        self._lines: dict[str, _Line] = {}
        self._members, self._patience, self._heartbeat, self._largest = dict(members), patience, heartbeat, largest
        self._context, self._listen = tls.listening(folder), listen
        self._loop = asyncio.new_event_loop()
        ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="tacit-federation", daemon=True)
        self._thread.start()
        ready.result()

    @property
    def sites(self) -> tuple[str, ...]:
        """The names of the sites it can address, connected or not."""
        return tuple(sorted(self._members))

    @property
    def connected(self) -> tuple[str, ...]:
        """The names of the sites that are connected now."""
        return tuple(sorted(name for name, line in self._lines.items() if line.connection is not None))

    def call(self, stage: str, messages: Mapping[str, bytes], *, timeout: float) -> dict[str, bytes | Missing]:
        """See `Transport`.

        Raises:
            UsageError: for a name that cannot be a stage's, a message that is too large, or after `close`. Nothing was sent.
        """
        longest = max((len(message) for message in messages.values()), default=0)
        if not is_stage(stage) or longest > self._largest:
            raise UsageError(f"Expected a stage's name and messages of at most {self._largest:,} bytes; got {stage[:40]!r} and {longest:,}.")
        if not self._thread.is_alive():
            raise UsageError("The transport is closed. Make a new one.")
        return asyncio.run_coroutine_threadsafe(self._all(stage, messages, timeout), self._loop).result()

    def close(self) -> None:
        """Stop listening and end the connections; sites try to come back until they are stopped."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()

    def _run(self, ready: Future[None]) -> None:
        try:
            self._loop.run_until_complete(self._listening(ready))
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)
        finally:
            self._loop.close()

    async def _listening(self, ready: Future[None]) -> None:
        from websockets.asyncio.server import serve

        self._stopping = asyncio.Event()
        self._lines = {name: _Line(self._patience, self._largest) for name in self._members}
        server = serve(
            self._joined, self._listen.host, self._listen.port, ssl=self._context, process_request=self._door, compression=None,
            logger=quiet(LOGGER), max_size=self._largest + OVERHEAD, write_limit=2 * PIECE, server_header=None,
            ping_interval=self._heartbeat, ping_timeout=2 * self._heartbeat, close_timeout=1.0,
        )
        try:
            async with server:
                ready.set_result(None)
                await self._stopping.wait()
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno and error.errno > 0 else "no such address"
            raise UsageError(f"Cannot listen on {self._listen}: {reason}. Name another address or port.") from error

    async def _door(self, connection: ServerConnection, request: Request) -> Response | None:
        """Refuse whoever is not the member that the path names."""
        try:
            member = tls.peer(connection.transport.get_extra_info("ssl_object"))
        except VerificationError:
            return connection.respond(http.HTTPStatus.FORBIDDEN, "the certificate names no member\n")
        if self._members.get(member.name) != member.key:
            return connection.respond(http.HTTPStatus.FORBIDDEN, "the roster has no such member\n")
        if request.path != PATH + member.name:
            return connection.respond(http.HTTPStatus.FORBIDDEN, "the certificate is another member's\n")
        return None

    async def _joined(self, connection: ServerConnection) -> None:
        keep_little_unsent(connection)
        await self._lines[tls.peer(connection.transport.get_extra_info("ssl_object")).name].hold(connection)

    async def _all(self, stage: str, messages: Mapping[str, bytes], timeout: float) -> dict[str, bytes | Missing]:
        found = await asyncio.gather(*(self._one(name, stage, message, timeout) for name, message in messages.items()))
        return dict(zip(messages, found, strict=True))

    async def _one(self, name: str, stage: str, message: bytes, timeout: float) -> bytes | Missing:
        line = self._lines.get(name)
        if line is None:
            return UNREACHABLE
        try:
            async with asyncio.timeout(timeout):
                return await line.ask(stage, message)
        except TimeoutError:
            return TIMEOUT if line.connection is not None else UNREACHABLE


class _Line:
    """The way to one site: its connection, if there is one, and the question that is with it."""

    def __init__(self, patience: float, largest: int) -> None:
        self.connection: ServerConnection | None = None
        self._patience, self._largest, self._seen = patience, largest, asyncio.get_running_loop().time()
        self._arrived, self._turn = asyncio.Event(), asyncio.Lock()
        self._call = b""
        self._outcome: asyncio.Future[bytes | Missing] = asyncio.get_running_loop().create_future()
        self._outcome.set_result(UNREACHABLE)

    async def hold(self, connection: ServerConnection) -> None:
        """Read answers until the connection ends. A newer one takes the place of an older one."""
        from websockets.exceptions import ConnectionClosed

        earlier, self.connection = self.connection, connection
        self._settle(UNREACHABLE)
        self._arrived.set()
        if earlier is not None:
            await earlier.close(REPLACED, "another process of this site has connected")
        end: bytes | Missing = UNREACHABLE
        try:
            while self._takes(await connection.recv()):
                pass
            end = GARBLED
            await connection.close(MALFORMED, "expected an answer")
        except ConnectionClosed as error:
            end = _end(error)
        finally:
            if self.connection is connection:
                self._leave(end)

    def _leave(self, end: bytes | Missing) -> None:
        self.connection, self._seen = None, asyncio.get_running_loop().time()
        self._arrived.clear()
        self._settle(end)

    def _settle(self, outcome: bytes | Missing) -> None:
        if not self._outcome.done():
            self._outcome.set_result(outcome)

    def _takes(self, data: bytes | str) -> bool:
        """Whether it is an answer; one to a question that nobody waits for any more is dropped."""
        try:
            answer = Answer.parse(data if isinstance(data, bytes) else b"")
        except VerificationError:
            return False
        if secrets.compare_digest(answer.call, self._call):
            self._settle(answer.outcome if len(answer.message) <= self._largest else GARBLED)
        return True

    async def ask(self, stage: str, message: bytes) -> bytes | Missing:
        """Send one question as soon as the site has answered, or lost, the one before, and is there."""
        async with self._turn:
            await asyncio.shield(self._outcome)
            connection = await self._reachable()
            if connection is None:
                return UNREACHABLE
            self._call, self._outcome = secrets.token_bytes(NUMBER), asyncio.get_running_loop().create_future()
            await self._send(connection, Question(self._call, stage, message).to_bytes())
            return await asyncio.shield(self._outcome)

    async def _reachable(self) -> ServerConnection | None:
        left = self._seen + self._patience - asyncio.get_running_loop().time()
        if self.connection is None and left > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._arrived.wait(), left)
        return self.connection

    async def _send(self, connection: ServerConnection, data: bytes) -> None:
        """Send all of it, or give the connection up: the rest of a message cut short would be read as its end."""
        from websockets.exceptions import ConnectionClosed

        try:
            await connection.send(pieces(data) if len(data) > PIECE else data)
        except ConnectionClosed:
            self._settle(UNREACHABLE)
        except asyncio.CancelledError:
            connection.transport.abort()
            raise


def pieces(data: bytes) -> Iterator[memoryview]:
    """A long message in parts, between which signs of life find their way."""
    view = memoryview(data)
    return (view[start : start + PIECE] for start in range(0, len(view), PIECE))


def keep_little_unsent(connection: Connection) -> None:
    """Leave what the network cannot take yet with us instead of the kernel, so that a sign of life waits for little before it."""
    found = connection.transport.get_extra_info("socket")
    if found is not None and hasattr(socket, "TCP_NOTSENT_LOWAT"):
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, PIECE)


def require_extra(purpose: str) -> None:
    """Return if the extra «federation» is installed.

    Raises:
        MissingExtra: if it is not.
    """
    try:
        import websockets  # noqa: F401
    except ImportError:
        raise MissingExtra("federation", purpose=purpose) from None


def _end(error: ConnectionClosed) -> Missing:
    """What the end of a connection means for the question that was with the site."""
    if error.sent is not None and error.sent.code == TOO_BIG and not error.rcvd_then_sent:
        return GARBLED
    return TOO_LARGE_FOR_IT if error.rcvd is not None and error.rcvd.code == TOO_BIG else UNREACHABLE
