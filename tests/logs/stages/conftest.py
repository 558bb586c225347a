"""The real ``tacit logs serve``, in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tacit.logs.keys import Keyring

SOURCE = Path(__file__).resolve().parents[3] / "src"
TOKEN = "0123456789abcdef0123456789abcdef"  # noqa: S105 - of these tests alone


class Serving:
    """A running server, its output and what it says."""

    def __init__(self, folder: Path, *options: str, port: int = 0, policy: str = "policy.yaml") -> None:
        self.folder = folder
        self.options = ("--policy", policy, "--keys", "keys.json", "--http", f"127.0.0.1:{port}", *options)
        if "--to" not in options:
            self.options += ("--to", "file:out.jsonl")
        self.start()

    def start(self) -> None:
        """Begin, or begin again on the same port."""
        environment = os.environ | {"PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
        command = [sys.executable, "-m", "tacit", "logs", "serve", *self.options]
        with (self.folder / "stderr.txt").open("a") as said:
            begin = said.tell()
            self.process = subprocess.Popen(command, cwd=self.folder, env=environment, stderr=said)
        end = time.monotonic() + 60
        while not (found := re.search(r"listening: (https?)://\S+:(\d+)\n", self.said[begin:])):
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(self.said)
            time.sleep(0.02)
        self.port = int(found[2])
        self.url = f"{found[1]}://127.0.0.1:{self.port}"
        self.options = tuple(f"127.0.0.1:{self.port}" if option == "127.0.0.1:0" else option for option in self.options)

    @property
    def said(self) -> str:
        return (self.folder / "stderr.txt").read_text()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def events(self, name: str = "out.jsonl") -> list[dict[str, Any]]:
        path = self.folder / name
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def memory(self) -> int:
        """Bytes that the process holds now."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(re.findall(r"VmRSS:\s+(\d+)", status)[0])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a keyring, a policy and tokens."""
    pytest.importorskip("fastapi", reason="needs the extra «serve»")
    pytest.importorskip("uvicorn", reason="needs the extra «serve»")
    Keyring.create(tmp_path / "keys.json", tenant="acme")
    (tmp_path / "policy.yaml").write_text(
        "{version: 1, source: web, format: json, fields: {user: user, n: keep, message: scrub, hec.time: keep, hec.host: host}}"
    )
    tokens = tmp_path / "tokens"
    tokens.write_text(f"# who may send\nshipper:{TOKEN}\n")
    tokens.chmod(0o600)
    return tmp_path


@pytest.fixture
def serving(folder: Path) -> Iterator[Callable[..., Serving]]:
    made: list[Serving] = []

    def start(*options: str, **more: Any) -> Serving:
        made.append(Serving(folder, *options, **more))
        return made[-1]

    yield start
    for server in made:
        with contextlib.suppress(ProcessLookupError):
            server.kill()
