"""A topic of Kafka."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from tacit.errors import ConfigError, MissingExtra
from tacit.logs.stages.outlets.base import OutletError

_STEP = 0.2
_TOO_LARGE = "MSG_SIZE_TOO_LARGE"


class KafkaOutlet:
    """One message per event, its JSON text as the value and ``tacit.id`` as the key.

    Guarantees:
        A batch is delivered when all in-sync replicas have acknowledged every message (``acks=all``); the producer is idempotent, so that its own
        repetitions make no second message. After a crash of Tacit an event may come twice, with the same key: compact the topic, or compare keys.

    Args:
        servers: ``host:port`` of brokers.
        topic: to write to.
        more: further settings of librdkafka, such as those of TLS and SASL.
        name: for metrics and messages.
        timeout: seconds for a batch.

    Raises:
        MissingExtra: confluent-kafka is not installed.
        ConfigError: librdkafka does not know a setting.
    """

    def __init__(self, servers: str, topic: str, *, more: Mapping[str, str] | None = None, name: str = "kafka", timeout: float = 30.0) -> None:
        self.name, self._topic, self._timeout = name, topic, timeout
        try:
            import confluent_kafka
        except ImportError:
            raise MissingExtra("kafka", purpose="writing to Kafka") from None
        settings = {"linger.ms": 5, "compression.type": "lz4"} | dict(more or {})
        settings |= {"bootstrap.servers": servers, "acks": "all", "enable.idempotence": True, "message.timeout.ms": int(timeout * 1000)}
        try:
            self._producer: Any = confluent_kafka.Producer(settings | {"error_cb": lambda error: None})
        except confluent_kafka.KafkaException as error:
            raise ConfigError(f"Kafka's client refuses its settings ({error.args[0].name()}). Check the file of config=.") from None

    def deliver(self, texts: list[str]) -> list[tuple[int, str]]:
        """See `Outlet`."""
        done: dict[int, str | None] = {}
        until = time.monotonic() + self._timeout + 2 * _STEP
        for place, text in enumerate(texts):
            self._send(place, text, done, until)
        while len(done) < len(texts) and time.monotonic() < until:
            self._producer.poll(_STEP)
        failed = {name for name in done.values() if name not in (None, _TOO_LARGE)}
        if failed or len(done) < len(texts):
            raise OutletError(f"Kafka has not taken everything ({', '.join(sorted(map(str, failed))) or 'no answer'})")
        return [(place, "too large") for place, name in sorted(done.items()) if name == _TOO_LARGE]

    def close(self) -> None:
        """See `Outlet`."""
        self._producer.flush(_STEP)

    def _send(self, place: int, text: str, done: dict[int, str | None], until: float) -> None:
        def told(error: Any, message: Any) -> None:
            done[place] = None if error is None else error.name()

        while True:
            try:
                self._producer.produce(self._topic, text.encode(), key=identifier(text), on_delivery=told)
            except BufferError:
                if time.monotonic() > until:
                    raise OutletError("Kafka has not taken everything (its queue is full)") from None
                self._producer.poll(_STEP)
            except Exception as error:
                code = getattr(error.args[0] if error.args else None, "name", None)
                done[place] = code() if code is not None else type(error).__name__
                return
            else:
                self._producer.poll(0)
                return


def identifier(text: str) -> str | None:
    """The ``tacit.id`` at the end of an event's text, where the delivery has put it.

    >>> identifier('{"n":1,"tacit.id":"00ff"}')
    '00ff'
    """
    _, found, rest = text[-48:].rpartition('"tacit.id":"')
    return rest[:-2] if found else None
