"""``tacit logs serve --listen``."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from tacit.cli.logs import logs
from tacit.errors import UsageError

from .conftest import wait_for

POLICY = "{version: 1, source: web, format: json, fields: {user: user, n: keep}}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "policy.yaml").write_text(POLICY)
    done = CliRunner().invoke(logs, ["keys", "init", "--keys", str(tmp_path / "keys.json"), "--tenant", "t"], catch_exceptions=False)
    assert done.exit_code == 0
    return tmp_path


def options(folder: Path, *more: str) -> list[str]:
    return ["serve", "--policy", str(folder / "policy.yaml"), "--keys", str(folder / "keys.json"), "--to", f"file:{folder / 'out.jsonl'}",
            "--dead-letters", str(folder / "dead.jsonl"), *more]


def free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def serving(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    port = free()
    (folder / "app.log").write_bytes(b'{"n":1,"user":"alice"}\n')
    command = options(folder, "--listen", f"tcp://127.0.0.1:{port}", "--listen", f"follow:{folder / 'app.log'}", "--state", str(folder / "state"))
    with (folder / "errors").open("wb") as errors:
        process = subprocess.Popen([sys.executable, "-m", "tacit", "logs", *command], stderr=errors)
    yield process, port
    process.kill()
    process.wait(10)


def test_records_arrive_and_sigterm_delivers_what_was_sent(serving: tuple[subprocess.Popen[bytes], int], folder: Path) -> None:
    process, port = serving
    wait_for(lambda: b"listening: tcp://127.0.0.1:" in (folder / "errors").read_bytes(), 60)
    wait_for(lambda: (folder / "out.jsonl").exists() and (folder / "out.jsonl").stat().st_size)
    with socket.create_connection(("127.0.0.1", port)) as sender:
        sender.sendall(b"".join(b'{"n":%d,"user":"alice"}\n' % number for number in range(2, 1_000)))
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    events = [json.loads(line) for line in (folder / "out.jsonl").read_bytes().splitlines()]
    assert sorted(event["n"] for event in events) == list(range(1, 1_000))
    assert all(event["user"].startswith("u-") for event in events)


@pytest.mark.parametrize(("more", "match"), [
    (["--listen", "tcp://0.0.0.0:514"], "--client-ca"),
    (["--listen", "http://127.0.0.1:1"], "Expected --listen"),
    (["--listen", "tls://127.0.0.1:0"], "--tls-cert"),
    (["--listen", "follow:/a/b"], "--state"),
    ([], "Expected a listener"),
    (["--listen", "tcp://127.0.0.1:0", "--to", "kafka:host:1"], "Expected --to kafka"),
    (["--listen", "tcp://127.0.0.1:0", "--to", "nats:host:1/x?what=1"], "Expected --to nats"),
])
def test_what_is_wrong_is_said_before_anything_is_taken(folder: Path, more: list[str], match: str) -> None:
    done = CliRunner().invoke(logs, options(folder, *more))
    assert isinstance(done.exception, UsageError)
    assert match in str(done.exception)
