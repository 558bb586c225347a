"""Records from a topic of Kafka; how far they were read is committed after delivery."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tacit.errors import ConfigError, DataError, MissingExtra, StorageError
from tacit.logs.stages.listeners.base import Door
from tacit.logs.stages.submissions import Receipt

if TYPE_CHECKING:
    from tacit.logs.stages.listeners.spec import Setting, Spec

_LOG = logging.getLogger("tacit.logs.stages")
_AT_ONCE, _WAIT = 500, 0.2
_REACHED = 10.0
_OWN = {"enable.auto.commit", "enable.auto.offset.store", "bootstrap.servers", "group.id"}


class KafkaListener:
    """A member of a consumer group.

    Guarantees:
        Offsets are committed after delivery, never by a timer: what a crash leaves uncommitted is read again, as the same bytes. While the pipeline
        is full, partitions are paused and the group's heartbeat goes on, so that a long stop of an outlet costs no rebalance.

    Args:
        servers: ``host:port`` of brokers.
        topic: to read.
        group: of consumers.
        door: where records are handed in.
        more: further settings of librdkafka, such as those of TLS and SASL.

    Raises:
        MissingExtra: confluent-kafka is not installed.
        ConfigError: librdkafka does not know a setting.
    """

    def __init__(self, servers: str, topic: str, *, group: str, door: Door, more: Mapping[str, str] | None = None) -> None:
        self.name = door.listener
        self._topic, self._door = topic, door
        self._paused = False
        self._stopping = threading.Event()
        settings = {"auto.offset.reset": "earliest", "queued.max.messages.kbytes": 16_384, "fetch.message.max.bytes": 1 << 20} | dict(more or {})
        settings |= {"bootstrap.servers": servers, "group.id": group, "enable.auto.commit": False, "enable.auto.offset.store": False}
        self._client = client()
        try:
            self._consumer = self._client.Consumer(settings | {"error_cb": self._fault, "logger": _quiet()})
        except self._client.KafkaException as error:
            raise ConfigError(f"Kafka's client refuses its settings ({code(error)}). Check the file of config=.") from None

    async def start(self) -> None:
        """See `Listener`."""
        try:
            found = await asyncio.to_thread(self._consumer.list_topics, self._topic, _REACHED)
        except self._client.KafkaException as error:
            await asyncio.to_thread(self._consumer.close)
            raise StorageError(f"Cannot reach Kafka ({code(error)}). Check the address and the settings.") from None
        if found.topics[self._topic].error is not None:
            await asyncio.to_thread(self._consumer.close)
            raise StorageError(f"Kafka does not give the topic of {self.name} ({found.topics[self._topic].error.name()}). Check its name.")
        self._consumer.subscribe([self._topic], on_assign=self._assigned)

    async def run(self) -> None:
        """See `Listener`."""
        loop = asyncio.get_running_loop()
        reading = asyncio.ensure_future(asyncio.to_thread(self._read, loop))
        try:
            await asyncio.shield(reading)
        finally:
            self._stopping.set()
            await reading

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        """In a thread of its own, since the client blocks."""
        try:
            while not self._stopping.is_set():
                messages = self._consumer.consume(_AT_ONCE, _WAIT)
                good = [message for message in messages if message.error() is None]
                for message in messages:
                    if message.error() is not None:
                        self._fault(message.error())
                if good:
                    self._deliver(good, loop)
        finally:
            self._consumer.close()

    def _deliver(self, messages: list[Any], loop: asyncio.AbstractEventLoop) -> None:
        lines = [value for message in messages if (value := message.value())]
        if lines:
            marks = [f"{message.topic()}/{message.partition()}/{message.offset()}".encode() for message in messages if message.value()]
            done = asyncio.run_coroutine_threadsafe(self._door.deliver(lines, marks), loop)
            self._await(done)
            done.result()
        last = {message.partition(): message.offset() + 1 for message in messages}
        places = [self._client.TopicPartition(self._topic, partition, offset) for partition, offset in last.items()]
        try:
            self._consumer.commit(offsets=places, asynchronous=False)
            self._door.checkpoint()
        except self._client.KafkaException as error:  # a rebalance has taken the partition: whoever has it now reads it again
            self._door.count("commit failed")
            _LOG.warning("%s could not commit (%s); the records may come twice", self.name, code(error))

    def _await(self, done: Future[Receipt]) -> None:
        """Wait, and let the client send its heartbeats."""
        try:
            done.exception(_WAIT)
            return
        except TimeoutError:
            pass
        self._paused = True
        self._consumer.pause(self._consumer.assignment())
        while not done.done():
            self._consumer.poll(0)
            if self._stopping.wait(_WAIT):
                done.exception()
        self._paused = False
        self._consumer.resume(self._consumer.assignment())

    def _assigned(self, consumer: Any, partitions: list[Any]) -> None:
        if self._paused:
            consumer.assign(partitions)
            consumer.pause(partitions)

    def _fault(self, error: Any) -> None:
        self._door.count("fault")
        _LOG.warning("%s: Kafka says %s", self.name, error.name())


def kafka(spec: Spec, setting: Setting) -> KafkaListener:
    """The listener of a spec."""
    door = Door(setting.delivery, setting.form, listener="kafka", metrics=setting.metrics)
    more = properties(Path(spec.options["config"])) if "config" in spec.options else {}
    host = f"[{spec.host}]" if ":" in spec.host else spec.host
    return KafkaListener(f"{host}:{spec.port}", spec.parts[0], group=spec.options.get("group", "tacit"), door=door, more=more)


def properties(path: Path) -> dict[str, str]:
    """Settings of librdkafka from a file of ``name=value`` lines.

    Raises:
        DataError: it cannot be read.
        ConfigError: a line is none, or sets what Tacit must set itself.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"Cannot read {path} ({type(error).__name__}). Check the name.") from error
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals:
            raise ConfigError(f"Expected name=value in line {number} of {path}.")
        if name.strip() in _OWN:
            raise ConfigError(f"Line {number} of {path} sets «{name.strip()}», which Tacit sets itself. Delete the line.")
        found[name.strip()] = value.strip()
    return found


def client() -> Any:
    """confluent_kafka."""
    try:
        import confluent_kafka
    except ImportError:
        raise MissingExtra("kafka", purpose="Kafka") from None
    return confluent_kafka


def code(error: Any) -> str:
    """The name of an error of the client's, without words that may hold what it was given."""
    try:
        return str(error.args[0].name())
    except (AttributeError, IndexError):
        return type(error).__name__


def _quiet() -> logging.Logger:
    """The client's own log is not ours to show: it may name what it was given."""
    quiet = logging.getLogger("tacit.logs.stages.kafka")
    quiet.setLevel(logging.CRITICAL)
    return quiet


