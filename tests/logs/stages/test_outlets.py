"""Outlets against a server that is there: Tacit's own endpoints, which other tests hold against other people's clients."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tacit.logs.stages.outlets import BulkOutlet, FileOutlet, HecOutlet, OutletError, SyslogOutlet, Wire, basic

from .conftest import TOKEN, Serving


def test_bulk_and_hec_deliver_and_say_when_they_cannot(serving: Callable[..., Serving]) -> None:
    server = serving("--token-file", "tokens")
    texts = [f'{{"n":{n},"tacit.id":"{n:024x}"}}' for n in range(5)]
    bulk = BulkOutlet(Wire(server.url, authorization=basic("shipper", TOKEN)), index="logs")
    hec = HecOutlet(Wire(server.url, authorization=f"Splunk {TOKEN}"))
    assert bulk.deliver([*texts, "[1]"]) == [(5, "400 document_parsing_exception")]
    assert hec.deliver(texts) == []
    assert [event["n"] for event in server.events()] == [0, 1, 2, 3, 4] * 2
    for outlet in (BulkOutlet(Wire(server.url), index="logs"), HecOutlet(Wire(server.url, authorization="Splunk wrong"))):
        with pytest.raises(OutletError, match=r"answered 40[13]"):
            outlet.deliver(texts)
    server.kill()
    for outlet in (bulk, hec):
        with pytest.raises(OutletError, match="no answer"):
            outlet.deliver(texts)
        outlet.close()


def test_syslog_counts_octets() -> None:
    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def receive() -> None:
            connection, _ = server.accept()
            with connection:
                while piece := connection.recv(1 << 16):
                    received.append(piece)

        thread = threading.Thread(target=receive)
        thread.start()
        outlet = SyslogOutlet("127.0.0.1", server.getsockname()[1])
        outlet.deliver(['{"user":"ü"}', '{"n":2}'])
        outlet.close()
        thread.join(10)
    data, messages = b"".join(received), []
    while data:
        length, _, rest = data.partition(b" ")
        messages.append(rest[: int(length)])
        data = rest[int(length) :]
    assert [json.loads(message.partition(b" - tacit - event - ")[2]) for message in messages] == [{"user": "ü"}, {"n": 2}]
    assert all(message.startswith(b"<110>1 2") for message in messages)


def test_a_full_file_is_set_aside(tmp_path: Path) -> None:
    outlet = FileOutlet(tmp_path / "out.jsonl", most_bytes=100)
    for n in range(10):
        outlet.deliver([f'{{"n":{n},"x":"{"x" * 40}"}}'])
    outlet.close()
    files = sorted(tmp_path.glob("out.jsonl*"))
    assert len(files) == 10
    assert sorted(json.loads(line)["n"] for file in files for line in file.read_text().splitlines()) == list(range(10))
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in files)
