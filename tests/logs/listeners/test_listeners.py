"""Listeners in this process: what arrives, what is answered when, and what hostile senders reach."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tacit.errors import StorageError, UsageError
from tacit.logs.stages import Limits
from tacit.logs.stages.listeners import FORMS, Bounds, Certificates, Spec

from .certificates import write
from .conftest import Here, record, wait_for

ANY = "tcp://127.0.0.1:0"


def lines(numbers: range) -> bytes:
    return b"".join(record(number) + b"\n" for number in numbers)


def ends(connection: socket.socket) -> bool:
    """Whether the other side has closed, in whatever way."""
    connection.settimeout(10)
    try:
        while connection.recv(65536):
            pass
    except (ConnectionError, ssl.SSLError):
        pass
    return True


def trickle(connection: socket.socket, until: float) -> None:
    while time.monotonic() < until:
        connection.sendall(b"x")
        time.sleep(0.05)


def flood(sender: RelpSender) -> None:
    for _ in range(1000):
        sender.send(b"syslog", b'{"n":1,"pad":"' + b"x" * 65536 + b'"}')


def test_lines_and_counted_records_over_tcp(here: Callable[..., Here]) -> None:
    running = here(ANY)
    with running.connect() as one, running.connect() as other:
        one.sendall(lines(range(500)) + record(500))
        other.sendall(b"".join(b"%d %s" % (len(record(number)), record(number)) for number in range(501, 1000)))
    wait_for(lambda: len(running.outlet.texts) == 1000)
    assert sorted(running.outlet.numbers) == list(range(1000))
    assert b"alice" not in "".join(running.outlet.texts).encode()


def test_what_cannot_be_read_is_in_the_dead_letters(here: Callable[..., Here]) -> None:
    running = here(ANY, bounds=Bounds(longest=1000))
    with running.connect() as one:
        one.sendall(b'{"n":1,"user":"\xff\xfe"}\n' + b'{"n":"' + b"x" * 5000 + b'"}\n' + b'{"n":\x00}\n' + record(5) + b"\n")
    wait_for(lambda: running.outlet.numbers == [5])
    wait_for(lambda: len(running.dead()) == 3)


def test_an_endless_line_is_passed_over_in_bounded_memory(here: Callable[..., Here]) -> None:
    running = here(ANY)
    with running.connect() as one:
        for _ in range(64):
            one.sendall(b"x" * (1 << 20))
        one.sendall(b"\n" + record(1) + b"\n")
    wait_for(lambda: running.outlet.numbers == [1])
    assert len(running.dead()) == 1
    assert running.dead_path.stat().st_size < 3 << 20


def test_a_count_of_a_trillion_closes_the_connection(here: Callable[..., Here]) -> None:
    running = here(ANY)
    with running.connect() as one:
        one.sendall(b"1000000000000 <1>")
        assert ends(one)
    wait_for(lambda: running.happened("malformed") == 1)


def test_who_is_too_slow_is_closed_and_who_is_silent_is_not(here: Callable[..., Here]) -> None:
    running = here(ANY, bounds=Bounds(patience=0.5))
    with running.connect() as silent, running.connect() as slow:
        slow.settimeout(0.1)
        began = time.monotonic()
        with pytest.raises(ConnectionError):  # one byte at a time never completes a record
            trickle(slow, began + 10)
        silent.sendall(record(1) + b"\n")
        wait_for(lambda: running.outlet.numbers == [1])
    wait_for(lambda: running.happened("too slow") == 1)


def test_connections_are_limited_and_the_longest_silent_one_makes_room(here: Callable[..., Here]) -> None:
    running = here(ANY, bounds=Bounds(connections=2, patience=0.5))
    with running.connect() as first, running.connect() as second, running.connect() as third:
        assert ends(third)
        assert running.happened("connection refused") == 1
        time.sleep(0.6)
        second.sendall(record(2) + b"\n")
        wait_for(lambda: running.outlet.numbers == [2])
        with running.connect() as fourth:
            fourth.sendall(record(4) + b"\n")
            wait_for(lambda: running.outlet.numbers == [2, 4])
            assert ends(first)


def test_a_full_pipeline_stops_reading_and_loses_nothing(here: Callable[..., Here]) -> None:
    running = here(ANY, limits=Limits(most_bytes=1 << 20), bounds=Bounds(longest=1 << 17))
    running.outlet.fails = True
    sent = threading.Event()
    count = 15_000
    padded = b"".join(record(number)[:-1] + b',"pad":"' + b"x" * 1_000 + b'"}\n' for number in range(count))
    with running.connect() as one:

        def send() -> None:
            one.sendall(padded)
            sent.set()

        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        assert not sent.wait(1.5), "fifteen megabytes were taken by a pipeline of one"
        assert running.delivery.waiting <= 1 << 20
        running.outlet.fails = False
        assert sent.wait(60)
    wait_for(lambda: len(running.outlet.texts) == count, 60)
    assert sorted(running.outlet.numbers) == list(range(count))


def test_what_was_sent_before_an_orderly_stop_is_delivered(here: Callable[..., Here]) -> None:
    running = here(ANY)
    with running.connect() as one:
        one.sendall(lines(range(20_000)))
        running.group.stop()
        running.group.join()
    running.delivery.close()
    assert len(running.outlet.texts) == 20_000


class RelpSender:
    """A client of RELP, as small as it can be."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._file, self._number = connection, connection.makefile("rb"), 0
        offers = b"relp_version=0\nrelp_software=test\ncommands=syslog"
        self.send(b"open", offers)
        assert self.answer()[1].startswith(b"200 OK")

    def send(self, command: bytes, content: bytes) -> int:
        self._number += 1
        body = b"%d %s" % (len(content), content) if content else b"0"
        self._connection.sendall(b"%d %s %s\n" % (self._number, command, body))
        return self._number

    def answer(self) -> tuple[int, bytes]:
        head = b""
        while head.count(b" ") < 3 and not head.endswith(b"\n"):
            head += self._file.read(1)
        number, _, length = head.split()[:3]
        content = self._file.read(int(length) + 1)[:-1] if head.endswith(b" ") else b""
        return int(number), content


def ids(running: Here) -> list[str]:
    return [json.loads(text)["tacit.id"] for text in running.outlet.texts]


def test_equal_records_are_two_unless_the_sender_may_have_repeated_one(here: Callable[..., Here], tmp_path: Path) -> None:
    plain = here(ANY)
    for count in (1, 2):
        with plain.connect() as sender:
            sender.sendall(record(1) + b"\n")
        wait_for(lambda count=count: len(plain.outlet.texts) == count)  # type: ignore[misc]
    assert len(set(ids(plain))) == 2
    answering = here("relp://127.0.0.1:0")
    for _ in range(2):
        with answering.connect() as connection:
            sender_ = RelpSender(connection)
            sender_.send(b"syslog", record(1))
            assert sender_.answer()[1].startswith(b"200")
    assert len(set(ids(answering))) == 1


def test_relp_answers_when_it_is_durable_and_says_what_was_refused(here: Callable[..., Here]) -> None:
    running = here("relp://127.0.0.1:0")
    running.outlet.fails = True
    with running.connect() as connection:
        sender = RelpSender(connection)
        first = sender.send(b"syslog", record(1))
        connection.settimeout(0.5)
        with pytest.raises(TimeoutError):
            connection.recv(1)
    running.outlet.fails = False
    with running.connect() as connection:
        sender = RelpSender(connection)
        first = sender.send(b"syslog", record(2))
        second = sender.send(b"syslog", b"not JSON at all")
        third = sender.send(b"syslog", record(3))
        answers = [sender.answer() for _ in range(3)]
        assert [number for number, _ in answers] == [first, second, third]
        assert [content[:3] for _, content in answers] == [b"200", b"500", b"200"]
        assert b"not JSON at all" not in answers[1][1]
        last = sender.send(b"close", b"")
        assert sender.answer() == (last, b"")
        assert ends(connection)
    assert running.outlet.numbers == [1, 2, 3]


def test_relp_window_is_bounded(here: Callable[..., Here]) -> None:
    running = here("relp://127.0.0.1:0", limits=Limits(most_bytes=1 << 20), bounds=Bounds(longest=1 << 17))
    running.outlet.fails = True
    with running.connect() as connection:
        sender = RelpSender(connection)
        connection.settimeout(2)
        with pytest.raises(TimeoutError):
            flood(sender)
        assert running.delivery.waiting <= 1 << 20
    running.outlet.fails = False


def test_datagrams_and_how_many_the_kernel_dropped(here: Callable[..., Here]) -> None:
    running = here("udp://127.0.0.1:0")
    count = 20_000
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for number in range(count):
            sender.sendto(record(number) + b"\n", ("127.0.0.1", running.port))
        wait_for(lambda: running.outlet.texts)
        time.sleep(1)
        sender.sendto(record(count), ("127.0.0.1", running.port))  # the kernel tells of drops with the next datagram
        wait_for(lambda: running.outlet.numbers[-1] == count)
    assert len(running.outlet.texts) + running.happened("dropped") == count + 1


def test_drops_are_counted_while_the_pipeline_is_full(here: Callable[..., Here]) -> None:
    running = here("udp://127.0.0.1:0", limits=Limits(most_bytes=1 << 20), bounds=Bounds(longest=1 << 17))
    running.outlet.fails = True
    count = 2_000
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for number in range(count):
            sender.sendto(record(number)[:-1] + b',"pad":"' + b"x" * 30_000 + b'"}', ("127.0.0.1", running.port))
        running.outlet.fails = False
        wait_for(lambda: running.delivery.waiting == 0 and running.outlet.texts, 30)
        time.sleep(1)
        sender.sendto(record(count), ("127.0.0.1", running.port))
        wait_for(lambda: running.outlet.numbers[-1] == count)
    assert running.happened("dropped") > 0
    assert len(running.outlet.texts) + running.happened("dropped") == count + 1


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:

    return write(tmp_path_factory.mktemp("tls"))


def client_context(folder: Path, *, shows: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    if shows:
        context.load_cert_chain(folder / "client.pem", folder / "client.key")
    return context


def test_tls_with_and_without_a_client_certificate(here: Callable[..., Here], certificates: Path) -> None:
    running = here("tls://127.0.0.1:0", tls=Certificates(certificates / "server.pem", certificates / "server.key", certificates / "ca.pem"))
    with running.connect() as plain, client_context(certificates, shows=True).wrap_socket(plain, server_hostname="localhost") as one:
        one.sendall(lines(range(100)))
    wait_for(lambda: len(running.outlet.texts) == 100)
    with running.connect() as plain, client_context(certificates, shows=False).wrap_socket(plain, server_hostname="localhost") as one:
        assert ends(one)  # in TLS 1.3 a client hears only now that its certificate was missed
    with running.connect() as garbage:
        garbage.sendall(b"\x16\x03\x01\xff\xff" + b"garbage" * 100)
        assert ends(garbage)
    with running.connect() as plaintext:
        plaintext.sendall(lines(range(100)))
        assert ends(plaintext)
    wait_for(lambda: running.happened("handshake failed") == 3)
    assert len(running.outlet.texts) == 100


def test_who_never_ends_a_handshake_is_closed(here: Callable[..., Here], certificates: Path) -> None:
    running = here("tls://127.0.0.1:0", tls=Certificates(certificates / "server.pem", certificates / "server.key"), bounds=Bounds(patience=0.5))
    with running.connect() as silent:
        assert ends(silent)
    wait_for(lambda: running.happened("handshake failed") == 1)


def test_a_reset_connection_harms_nobody(here: Callable[..., Here]) -> None:
    running = here(ANY)
    for _ in range(20):
        connection = running.connect()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.sendall(b'{"n":')
        connection.close()
    with running.connect() as one:
        one.sendall(record(1) + b"\n")
    wait_for(lambda: 1 in running.outlet.numbers)
    assert running.group.alive


def test_nothing_of_a_record_is_logged(here: Callable[..., Here], caplog: pytest.LogCaptureFixture) -> None:
    running = here(ANY)
    with caplog.at_level("DEBUG"), running.connect() as one:
        one.sendall(b"SECRETWORD\n5 SECRETWORD\n" + record(1) + b"\n")
        with running.connect() as other:
            other.sendall(b"99999999999SECRETWORD")
            assert ends(other)
        wait_for(lambda: running.outlet.numbers == [1])
    assert "SECRETWORD" not in caplog.text
    assert "SECRETWORD" not in running.metrics.text().decode()


def test_a_port_that_is_taken_is_said(here: Callable[..., Here], tmp_path: Path) -> None:
    running = here(ANY)
    with pytest.raises(StorageError, match="Choose another port"):
        here(f"tcp://127.0.0.1:{running.port}")


@pytest.mark.parametrize("text", [
    "tcp", "tcp:0.0.0.0:5", "tcp://0.0.0.0", "tcp://0.0.0.0:99999", "tcp://:5", "http://a:1", "follow:relative", "kafka://host", "kafka://host/a/b",
    "nats://host/stream", "kafka://host/t?what=1", "tcp://h:1/x", "kafka://user:word@host/t", "udp://h:1?x=1",
])
def test_a_spec_that_is_wrong_is_explained(text: str) -> None:
    with pytest.raises(UsageError, match=r"Expected .*--listen"):
        Spec.parse(text)


def test_specs() -> None:
    assert Spec.parse("tls://[::1]:6514") == Spec("tls", "::1", 6514)
    assert Spec.parse("follow:/var/log/a b.log").parts == ("/var/log/a b.log",)
    assert Spec.parse("kafka://broker/events?group=g") == Spec("kafka", "broker", 9092, ("events",), {"group": "g"})
    assert set(FORMS) == {"udp", "tcp", "tls", "relp", "relp+tls", "follow", "kafka", "nats"}
    assert json.dumps(sorted(FORMS))


def test_tls_without_a_certificate_is_refused(here: Callable[..., Here], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--tls-cert"):
        here("tls://127.0.0.1:0")
    with pytest.raises(UsageError, match="TLS files"):
        here("tls://127.0.0.1:0", tls=Certificates(tmp_path / "none.pem", tmp_path / "none.key"))
