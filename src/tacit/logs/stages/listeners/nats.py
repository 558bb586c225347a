"""Records from a stream of NATS JetStream; each is acknowledged after delivery."""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import TYPE_CHECKING, Any

from tacit.errors import MissingExtra, StorageError
from tacit.logs.stages.listeners.base import Door

if TYPE_CHECKING:
    from tacit.logs.stages.listeners.spec import Setting, Spec

_LOG = logging.getLogger("tacit.logs.stages")
_AT_ONCE, _WAIT, _PAUSE = 500, 1.0, 1.0
_LATE = 20.0


class NatsListener:
    """A durable pull consumer.

    Guarantees:
        A message is acknowledged when it is delivered or in the dead letters. What a crash leaves unacknowledged comes again after the consumer's
        ``ack_wait`` (30 seconds if Tacit makes it), as the same bytes. While the pipeline is full the server is told that work goes on.

    Args:
        server: its URL.
        source: a stream of JetStream, which must exist, and the subject to read.
        durable: name of the consumer; made if it does not exist. Several processes with one name share its messages.
        door: where records are handed in.
        options: further arguments of the client's connect, such as ``tls`` and ``user_credentials``.

    Raises:
        MissingExtra: nats-py is not installed.
    """

    def __init__(self, server: str, source: tuple[str, str], *, durable: str, door: Door, options: dict[str, Any] | None = None) -> None:
        self.name = door.listener
        self._server, (self._stream, self._subject), self._durable = server, source, durable
        self._door, self._options = door, options or {}
        self._client = client()
        self._connection: Any = None
        self._subscription: Any = None

    async def start(self) -> None:
        """See `Listener`."""
        try:
            self._connection = await self._client.connect(
                self._server, allow_reconnect=True, max_reconnect_attempts=-1, connect_timeout=5, error_cb=self._fault, **self._options,
            )
            stream = self._connection.jetstream()
            self._subscription = await stream.pull_subscribe(self._subject, durable=self._durable, stream=self._stream)
        except Exception as error:
            if self._connection is not None:
                await self._connection.close()
            raise StorageError(f"Cannot read from NATS ({type(error).__name__}). Check that the server runs with JetStream, that the stream exists, "
                               "and its subject.") from None

    async def run(self) -> None:
        """See `Listener`."""
        round_ = None
        try:
            while True:
                round_ = asyncio.ensure_future(self._round())
                await asyncio.shield(round_)
        finally:
            # What was fetched is delivered and acknowledged before the end.
            if round_ is not None:
                await asyncio.wait([round_])
            await self._connection.close()

    async def _round(self) -> None:
        if messages := await self._fetch():
            await self._deliver(messages)

    async def _fetch(self) -> list[Any]:
        try:
            return list(await self._subscription.fetch(_AT_ONCE, timeout=_WAIT))
        except TimeoutError:
            return []
        except Exception as error:
            await self._fault(error)
            await asyncio.sleep(_PAUSE)
            return []

    async def _deliver(self, messages: list[Any]) -> None:
        lines = [message.data for message in messages if message.data]
        if lines:
            about = [message.metadata for message in messages if message.data]
            marks = [f"{one.stream}/{one.sequence.stream}".encode() for one in about]
            delivering = asyncio.ensure_future(self._door.deliver(lines, marks))
            while not (await asyncio.wait([delivering], timeout=_LATE))[0]:
                await self._each(messages, "in_progress")
            delivering.result()
        await self._each(messages, "ack")
        self._door.checkpoint()

    async def _each(self, messages: list[Any], what: str) -> None:
        """Tell the server; what does not reach it comes again."""
        for message in messages:
            try:
                await getattr(message, what)()
            except Exception as error:
                await self._fault(error)
                return

    async def _fault(self, error: Exception) -> None:
        self._door.count("fault")
        _LOG.warning("%s: %s", self.name, type(error).__name__)


def nats(spec: Spec, setting: Setting) -> NatsListener:
    """The listener of a spec."""
    door = Door(setting.delivery, setting.form, listener="nats", metrics=setting.metrics)
    server = f"nats://{f'[{spec.host}]' if ':' in spec.host else spec.host}:{spec.port}"
    durable = spec.options.get("durable", "tacit")
    return NatsListener(server, (spec.parts[0], spec.parts[1]), durable=durable, door=door, options=connection(spec.options))


def connection(options: dict[str, str]) -> dict[str, Any]:
    """Arguments of the client's connect for ``ca`` and ``creds``.

    Raises:
        StorageError: a file cannot be read.
    """
    found: dict[str, Any] = {}
    try:
        if "ca" in options:
            found["tls"] = ssl.create_default_context(cafile=options["ca"])
    except OSError as error:
        raise StorageError(f"Cannot use the authorities of ca= ({type(error).__name__}). Expected a PEM file.") from error
    if "creds" in options:
        found["user_credentials"] = options["creds"]
    return found


def client() -> Any:
    """nats-py."""
    try:
        import nats
    except ImportError:
        raise MissingExtra("nats", purpose="NATS") from None
    return nats
