"""A site's end: it connects to the coordinator, answers what it is asked, and comes back whenever the connection is lost."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tacit.errors import UsageError, VerificationError
from tacit.federation.certificates import Member, read_connection
from tacit.federation.roster import COORDINATOR
from tacit.federation.transports import tls
from tacit.federation.transports.base import Handler
from tacit.federation.transports.frames import ANSWERED, FAILED, LARGEST, OVERHEAD, TOO_LARGE, Answer, Question, quiet
from tacit.federation.transports.websocket import HEARTBEAT, LOGGER, MALFORMED, PATH, PIECE, REPLACED, keep_little_unsent, pieces, require_extra

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 4.0


def _silent(line: str) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class SiteOptions:
    """How a site connects.

    Args:
        stop: set it to end `serve`; an answer that is being made is finished first.
        report: is given one line when the connection comes and goes; never content.
        heartbeat: seconds between signs of life.
        largest: bytes of a message, in either direction.
    """

    stop: threading.Event = field(default_factory=threading.Event)
    report: Callable[[str], None] = _silent
    heartbeat: float = HEARTBEAT
    largest: int = LARGEST


def serve(handler: Handler, folder: Path, *, options: SiteOptions | None = None) -> None:
    """Answer the coordinator's questions until ``options.stop`` is set. The connection is outbound; an ``https_proxy`` of the environment is used.

    The handler is called in one thread, one question at a time. While the network fails, the site tries again, at least every six seconds.

    Args:
        handler: the site.
        folder: with ``rootCA.pem``, ``client.crt``, ``client.key`` and ``connection.json`` (`certificates.lay_out_site`).
        options: see `SiteOptions`.

    Raises:
        MissingExtra: without the extra «federation».
        ConfigError: the certificates or ``connection.json`` cannot be used.
        VerificationError: one side refuses the other's certificate, which trying again will not mend.
        UsageError: another process connected with this site's certificate.
    """
    require_extra("connecting to a federation")
    site = _Site(handler, folder, options or SiteOptions())
    asyncio.run(site.run())


class _Site:
    def __init__(self, handler: Handler, folder: Path, options: SiteOptions) -> None:
        self._handler, self._folder, self._options = handler, folder, options
        self._way, self._context = read_connection(folder), tls.connecting(folder)
        self._pause = FIRST_PAUSE
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="tacit-site")

    async def run(self) -> None:
        """Connect, answer, connect again."""
        working = asyncio.ensure_future(self._forever())
        stopping = asyncio.ensure_future(self._stopped())
        try:
            await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                working.result()
        finally:
            for task in (working, stopping):
                task.cancel()
            await asyncio.gather(working, stopping, return_exceptions=True)
            self._worker.shutdown()

    async def _stopped(self) -> None:
        while not self._options.stop.is_set():
            await asyncio.sleep(0.1)

    async def _forever(self) -> None:
        from websockets.exceptions import WebSocketException

        while True:
            try:
                await self._connected()
                why = "the connection was closed"
            except (OSError, WebSocketException, TimeoutError) as error:
                self._require_hope(error)
                why = type(error).__name__
            self._options.report(f"not connected to {self._way.address} ({why}); trying again")
            await asyncio.sleep(self._pause * random.uniform(0.5, 1.5))  # noqa: S311  so that sites do not all come back at once
            self._pause = min(2 * self._pause, LONGEST_PAUSE)

    async def _connected(self) -> None:
        from websockets.asyncio.client import connect

        options = self._options
        tls.require_valid(self._folder)
        async with connect(
            f"wss://{self._way.address}{PATH}{self._way.name}", ssl=self._context, compression=None, max_size=options.largest + OVERHEAD,
            write_limit=2 * PIECE, ping_interval=options.heartbeat, ping_timeout=2 * options.heartbeat, close_timeout=1.0,
            user_agent_header=None, logger=quiet(LOGGER),
        ) as connection:
            keep_little_unsent(connection)
            self._require_coordinator(connection)
            options.report(f"connected to {self._way.address}")
            self._pause = FIRST_PAUSE
            await self._answering(connection)

    def _require_coordinator(self, connection: ClientConnection) -> None:
        if tls.peer(connection.transport.get_extra_info("ssl_object")) != Member(COORDINATOR, self._way.coordinator):
            raise VerificationError(f"{self._way.address} has a certificate of the federation, but is not its coordinator. Ask the coordinator.")

    async def _answering(self, connection: ClientConnection) -> None:
        while True:
            data = await connection.recv()
            try:
                question = Question.parse(data if isinstance(data, bytes) else b"")
            except VerificationError:
                await connection.close(MALFORMED, "expected a question")
                return
            answer = await asyncio.get_running_loop().run_in_executor(self._worker, self._answer, question)
            await connection.send(pieces(answer) if len(answer) > PIECE else answer)

    def _answer(self, question: Question) -> bytes:
        """The answer as it travels. What the handler raises stays at the site."""
        try:
            message = self._handler.handle(question.stage, question.message)
        except Exception as error:
            self._options.report(f"could not answer «{question.stage}»: {type(error).__name__}")
            return Answer(question.call, FAILED).to_bytes()
        if len(message) > self._options.largest:
            self._options.report(f"could not answer «{question.stage}»: {len(message):,} bytes are more than {self._options.largest:,}")
            return Answer(question.call, TOO_LARGE).to_bytes()
        return Answer(question.call, ANSWERED, message).to_bytes()

    def _require_hope(self, error: Exception) -> None:
        """Return if trying again can help."""
        from websockets.exceptions import ConnectionClosed, InvalidStatus

        if isinstance(error, ConnectionClosed) and error.rcvd is not None and error.rcvd.code == REPLACED:
            raise UsageError(f"Another process has connected to {self._way.address} as «{self._way.name}». Stop one of the two.") from None
        why, fix = tls.refusal(error), "A proxy that opens TLS, a wrong clock or an expired certificate is usual: run tacit site preflight."
        if isinstance(error, InvalidStatus) and error.response.status_code == 403:
            said = (error.response.body or b"")[:200].decode("utf-8", "replace").strip()
            why, fix = f"the coordinator refused this site: {said}", "Ask it which name and key its roster has for this site."
        if why is not None:
            raise VerificationError(f"Not connected to {self._way.address}: {why}. {fix}") from None
