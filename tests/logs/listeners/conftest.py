"""Pipelines of the listeners' tests: in this process, and as processes that can be killed."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tacit.logs.anonymise import Anonymiser
from tacit.logs.formats import JsonLines
from tacit.logs.keys import EpochKey
from tacit.logs.policies import SourcePolicy
from tacit.logs.stages import DeadLetters, Delivery, Limits
from tacit.logs.stages.listeners import Bounds, Certificates, Listeners, Setting, Spec, listener
from tacit.logs.stages.metrics import Metrics

POLICY = SourcePolicy.parse("{version: 1, source: web, format: json, fields: {user: user, n: keep}}")
PROGRAM = Path(__file__).with_name("pipeline.py")

collect_ignore = ["load.py", "senders.py"]  # programs, run as such


class Memory:
    """An outlet that holds events in memory and can be told to fail."""

    name = "memory"

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.fails = False

    def deliver(self, texts: list[str]) -> None:
        if self.fails:
            raise OSError
        self.texts += texts

    def close(self) -> None:
        pass

    @property
    def numbers(self) -> list[int]:
        return [json.loads(text)["n"] for text in self.texts]


class Here:
    """Listeners in this process."""

    def __init__(self, folder: Path, specs: list[str], *, limits: Limits | None = None, bounds: Bounds | None = None,
                 tls: Certificates | None = None) -> None:
        self.metrics, self.outlet = Metrics(), Memory()
        self.dead_path = folder / "dead.jsonl"
        self._dead = DeadLetters(self.dead_path)
        self.faults: list[Exception] = []
        self.delivery = Delivery(Anonymiser(POLICY, EpochKey.for_tests()), [self.outlet], dead=self._dead, metrics=self.metrics, limits=limits)
        setting = Setting(self.delivery, JsonLines("json"), self.metrics, bounds=bounds or Bounds(), tls=tls, state=folder / "state")
        self.group = Listeners([listener(Spec.parse(spec), setting) for spec in specs], failed=self.faults.append)
        self.group.start()

    @property
    def port(self) -> int:
        return int(self.group.listeners[0].port)  # type: ignore[attr-defined]

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def happened(self, what: str) -> float:
        return sum(sample.value for family in self.metrics.registry.collect() for sample in family.samples
                   if sample.name == "tacit_listener_happenings_total" and sample.labels["what"] == what)

    def dead(self) -> list[dict[str, Any]]:
        """What is in the dead letters; a last line that is still being written is not."""
        lines = self.dead_path.read_bytes().split(b"\n")[:-1] if self.dead_path.exists() else []
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        self.group.stop()
        self.group.join()
        self.delivery.close(timeout=5)
        self._dead.__exit__(None, None, None)


class Apart:
    """The same as a process of its own."""

    def __init__(self, folder: Path, specs: list[str]) -> None:
        self.folder, self.specs = folder, specs
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, ports: list[int] | None = None) -> list[int]:
        specs = self.specs if ports is None else [spec.replace(":0", f":{port}") for spec, port in zip(self.specs, ports, strict=True)]
        (self.folder / "ports").unlink(missing_ok=True)
        with (self.folder / "errors").open("ab") as errors:
            self.process = subprocess.Popen([sys.executable, str(PROGRAM), str(self.folder), *specs], stderr=errors)
        wait_for(lambda: (self.folder / "ports").exists() or self.process.poll() is not None, 60)  # type: ignore[union-attr]
        return [int(port) for port in (self.folder / "ports").read_text().split()]

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, number: int) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(60)
            self.process = None

    def events(self) -> list[dict[str, Any]]:
        path = self.folder / "out.jsonl"
        whole = path.read_bytes().rpartition(b"\n")[0] if path.exists() else b""
        return [json.loads(line) for line in whole.splitlines()]

    def size(self) -> int:
        path = self.folder / "out.jsonl"
        return path.stat().st_size if path.exists() else 0

    def numbers(self) -> Counter[int]:
        return Counter(event["n"] for event in self.events())


def wait_for(condition: Callable[[], Any], seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            pytest.fail(f"waited {seconds} seconds in vain")
        time.sleep(0.01)


def record(number: int) -> bytes:
    return b'{"n":%d,"user":"alice"}' % number


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Callable[..., Here]]:
    made: list[Here] = []

    def make(*specs: str, **more: Any) -> Here:
        made.append(Here(tmp_path, list(specs), **more))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def apart(tmp_path: Path) -> Iterator[Callable[..., Apart]]:
    made: list[Apart] = []

    def make(*specs: str) -> Apart:
        made.append(Apart(tmp_path, list(specs)))
        return made[-1]

    yield make
    for one in made:
        one.kill()
