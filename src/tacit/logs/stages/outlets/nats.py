"""A subject of NATS JetStream."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import TimeoutError as Late
from contextlib import suppress
from typing import Any

from tacit.errors import MissingExtra
from tacit.logs.stages.outlets.base import OutletError
from tacit.logs.stages.outlets.kafka import identifier

_FLYING = 256


class NatsOutlet:
    """One message per event, with ``tacit.id`` as its ``Nats-Msg-Id``.

    Guarantees:
        A batch is delivered when the stream has stored every message. What is delivered twice within the stream's window for duplicates (two minutes
        by default) is stored once.

    Args:
        server: its URL.
        subject: to write to; a stream must take it.
        options: further arguments of the client's connect, such as ``tls`` and ``user_credentials``.
        name: for metrics and messages.
        timeout: seconds for a batch.

    Raises:
        MissingExtra: nats-py is not installed.
    """

    def __init__(self, server: str, subject: str, *, options: dict[str, Any] | None = None, name: str = "nats", timeout: float = 30.0) -> None:
        try:
            import nats
        except ImportError:
            raise MissingExtra("nats", purpose="writing to NATS") from None
        self._client = nats
        self.name, self._server, self._subject, self._options, self._timeout = name, server, subject, options or {}, timeout
        self._connection: Any = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tacit-nats", daemon=True)
        self._thread.start()

    def deliver(self, texts: list[str]) -> None:
        """See `Outlet`."""
        sending = asyncio.run_coroutine_threadsafe(self._send(texts), self._loop)
        try:
            sending.result(self._timeout)
        except Late:
            sending.cancel()
            raise OutletError("NATS has not taken everything (no answer)") from None
        except Exception as error:
            raise OutletError(f"NATS has not taken everything ({type(error).__name__})") from None

    def close(self) -> None:
        """See `Outlet`."""
        if self._connection is not None:
            with suppress(Exception):
                asyncio.run_coroutine_threadsafe(self._connection.close(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        if not self._thread.is_alive():
            self._loop.close()

    async def _send(self, texts: list[str]) -> None:
        if self._connection is None:
            self._connection = await self._client.connect(
                self._server, max_reconnect_attempts=-1, connect_timeout=5, error_cb=_quiet, **self._options
            )
        stream = self._connection.jetstream()
        for begin in range(0, len(texts), _FLYING):
            await asyncio.gather(*(self._one(stream, text) for text in texts[begin : begin + _FLYING]))

    async def _one(self, stream: Any, text: str) -> None:
        name = identifier(text)
        await stream.publish(self._subject, text.encode(), timeout=self._timeout, headers=None if name is None else {"Nats-Msg-Id": name})


async def _quiet(error: Exception) -> None:
    """What fails is told by `NatsOutlet.deliver`."""
