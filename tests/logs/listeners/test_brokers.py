"""Kafka (librdkafka's own mock of a cluster) and NATS JetStream (a real server): sources that are killed, outlets that say when it is stored."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tacit.errors import ConfigError, StorageError
from tacit.logs.stages.listeners import properties
from tacit.logs.stages.outlets import KafkaOutlet, NatsOutlet, OutletError

from .conftest import Apart, Here, record, wait_for

confluent_kafka = pytest.importorskip("confluent_kafka", reason="confluent-kafka is not installed (extra: kafka)")
nats = pytest.importorskip("nats", reason="nats-py is not installed (extra: nats)")
SERVER = shutil.which("nats-server", path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")
needs_nats = pytest.mark.skipif(SERVER is None, reason="nats-server is not installed (Debian: nats-server)")


@pytest.fixture
def cluster() -> Iterator[tuple[str, Any]]:
    """A broker's address, and a producer that has it inside."""
    producer = confluent_kafka.Producer({"bootstrap.servers": "inside", "test.mock.num.brokers": 1, "log_level": 0})
    broker = next(iter(producer.list_topics(timeout=10).brokers.values()))
    yield f"{broker.host}:{broker.port}", producer
    producer.flush(5)


@pytest.fixture
def spec(cluster: tuple[str, Any], tmp_path: Path) -> str:
    """With a short session, since the mock waits for its end before it gives partitions to the next member."""
    (tmp_path / "kafka.properties").write_text("# quick, for the test\nsession.timeout.ms=6000\n")
    return f"kafka://{cluster[0]}/events?group=g&config={tmp_path / 'kafka.properties'}"


def produce(producer: Any, numbers: range, topic: str = "events") -> None:
    for number in numbers:
        producer.produce(topic, record(number))
    assert producer.flush(30) == 0


def test_records_of_a_topic(here: Callable[..., Here], cluster: tuple[str, Any], spec: str) -> None:
    _, producer = cluster
    produce(producer, range(2_000))
    running = here(spec)
    wait_for(lambda: len(running.outlet.texts) == 2_000, 120)
    running.close()
    produce(producer, range(2_000, 2_100))
    again = here(spec)
    wait_for(lambda: len(again.outlet.texts) >= 100, 120)
    assert sorted(again.outlet.numbers) == list(range(2_000, 2_100)), "what was committed does not come again"
    produce(producer, range(2_000, 2_001))
    wait_for(lambda: len(again.outlet.texts) == 101, 120)
    assert len({json.loads(text)["tacit.id"] for text in again.outlet.texts}) == 101


def test_what_is_not_delivered_is_not_committed(here: Callable[..., Here], cluster: tuple[str, Any], spec: str) -> None:
    _, producer = cluster
    produce(producer, range(100))
    running = here(spec)
    running.outlet.fails = True
    wait_for(lambda: running.delivery.waiting > 0, 120)
    running.delivery.close(timeout=0.1)
    wait_for(lambda: not running.group.alive, 120)
    again = here(spec)
    wait_for(lambda: sorted(set(again.outlet.numbers)) == list(range(100)), 120)


@pytest.mark.slow
def test_a_killed_consumer_of_kafka_loses_nothing(apart: Callable[..., Apart], cluster: tuple[str, Any], spec: str) -> None:
    _, producer = cluster
    running = apart(spec)
    produce(producer, range(10_000))
    for share in (2_000, 6_000):
        running.start()
        wait_for(lambda share=share: running.size() > share * 70, 180)  # type: ignore[misc]
        running.kill()
    running.start()
    wait_for(lambda: len(running.numbers()) == 10_000, 240)
    assert_one_id_each(running)


def assert_one_id_each(running: Apart) -> None:
    found: dict[int, set[str]] = {}
    for event in running.events():
        found.setdefault(event["n"], set()).add(event["tacit.id"])
    assert all(len(ids) == 1 for ids in found.values())
    assert len({next(iter(ids)) for ids in found.values()}) == len(found)


def test_a_topic_as_an_outlet(cluster: tuple[str, Any]) -> None:
    address, _ = cluster
    outlet = KafkaOutlet(address, "out", timeout=10)
    texts = [f'{{"n":{number},"tacit.id":"{number:024x}"}}' for number in range(1_000)]
    assert outlet.deliver(texts) == []
    assert outlet.deliver(['{"n":"' + "x" * (2 << 20) + '"}', '{"n":1}']) == [(0, "too large")]
    consumer = confluent_kafka.Consumer({"bootstrap.servers": address, "group.id": "g", "auto.offset.reset": "earliest", "log_level": 0})
    consumer.subscribe(["out"])
    found: dict[bytes | None, str] = {}
    until = time.monotonic() + 30
    while len(found) < 1_001 and time.monotonic() < until:
        for message in consumer.consume(500, 0.5):
            if message.error() is None:
                found[message.key()] = message.value().decode()
    consumer.close()
    outlet.close()
    assert {key.decode(): value for key, value in found.items() if key} == {json.loads(text)["tacit.id"]: text for text in texts}


def test_a_broker_that_is_away(here: Callable[..., Here], tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        outlet = KafkaOutlet(address, "out", timeout=1, more={"log_level": "0"})
        with pytest.raises(OutletError):
            outlet.deliver(['{"n":1}'])
        outlet.close()
        with pytest.raises(StorageError, match="reach Kafka"):
            here(f"kafka://{address}/events")


def test_settings_of_kafka(tmp_path: Path) -> None:
    path = tmp_path / "kafka.properties"
    path.write_text("# TLS\nsecurity.protocol = ssl\n\nssl.ca.location=/etc/ca.pem\n")
    assert properties(path) == {"security.protocol": "ssl", "ssl.ca.location": "/etc/ca.pem"}
    for text, match in (("nonsense\n", "name=value"), ("enable.auto.commit=true\n", "sets itself")):
        path.write_text(text)
        with pytest.raises(ConfigError, match=match):
            properties(path)
    with pytest.raises(ConfigError, match="refuses its settings"):
        KafkaOutlet("127.0.0.1:1", "t", more={"no.such.setting": "1"})


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (tmp_path / "nats.out").open("wb") as output:
        command = [str(SERVER), "-js", "-a", "127.0.0.1", "-p", str(port), "-sd", str(tmp_path / "nats")]
        process = subprocess.Popen(command, stdout=output, stderr=output)
    wait_for(lambda: listens(port))
    yield f"127.0.0.1:{port}"
    process.kill()
    process.wait(10)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def filled(server: str, numbers: range, *, ack_wait: float = 2) -> None:
    connection = await nats.connect(f"nats://{server}")
    stream = connection.jetstream()
    await stream.add_stream(name="LOGS", subjects=["logs.>"])
    await stream.add_consumer("LOGS", durable_name="tacit", filter_subject="logs.>", ack_wait=ack_wait, ack_policy="explicit", max_ack_pending=5_000)
    for number in numbers:
        await connection.publish("logs.web", record(number))
    await connection.flush()
    await connection.close()


async def unacknowledged(server: str) -> tuple[int, int]:
    connection = await nats.connect(f"nats://{server}")
    found = await connection.jetstream().consumer_info("LOGS", "tacit")
    await connection.close()
    return found.num_ack_pending, found.num_pending


@needs_nats
def test_messages_are_acknowledged_after_delivery(here: Callable[..., Here], server: str) -> None:
    asyncio.run(filled(server, range(1_000)))
    running = here(f"nats://{server}/LOGS/logs.>")
    wait_for(lambda: sorted(set(running.outlet.numbers)) == list(range(1_000)), 120)
    wait_for(lambda: asyncio.run(unacknowledged(server)) == (0, 0))
    running.outlet.fails = True
    asyncio.run(more(server, record(1_000)))
    time.sleep(1)
    assert asyncio.run(unacknowledged(server)) == (1, 0)
    running.outlet.fails = False
    wait_for(lambda: asyncio.run(unacknowledged(server)) == (0, 0), 120)
    assert 1_000 in running.outlet.numbers


async def more(server: str, content: bytes) -> None:
    connection = await nats.connect(f"nats://{server}")
    await connection.jetstream().publish("logs.web", content)
    await connection.close()


@needs_nats
@pytest.mark.slow
def test_a_killed_consumer_of_nats_loses_nothing(apart: Callable[..., Apart], server: str) -> None:
    asyncio.run(filled(server, range(10_000)))
    running = apart(f"nats://{server}/LOGS/logs.>")
    for share in (2_000, 6_000):
        running.start()
        wait_for(lambda share=share: running.size() > share * 70, 180)  # type: ignore[misc]
        running.kill()
    running.start()
    wait_for(lambda: len(running.numbers()) == 10_000, 240)
    assert_one_id_each(running)
    wait_for(lambda: asyncio.run(unacknowledged(server)) == (0, 0))


@needs_nats
def test_a_subject_as_an_outlet(server: str) -> None:
    asyncio.run(filled(server, range(0)))
    outlet = NatsOutlet(f"nats://{server}", "logs.out", timeout=10)
    texts = [f'{{"n":{number},"tacit.id":"{number:024x}"}}' for number in range(1_000)]
    outlet.deliver(texts)
    outlet.deliver(texts[:500])
    assert asyncio.run(unacknowledged(server)) == (0, 1_000), "what is delivered twice is stored once"
    outlet.close()
    nowhere = NatsOutlet(f"nats://{server}", "no.stream", timeout=2)
    with pytest.raises(OutletError):
        nowhere.deliver(texts[:1])
    nowhere.close()


@needs_nats
def test_a_stream_that_does_not_exist_is_said(here: Callable[..., Here], server: str) -> None:
    with pytest.raises(StorageError, match="stream exists"):
        here(f"nats://{server}/NONE/logs.>")
