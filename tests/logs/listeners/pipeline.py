"""A pipeline as a process of its own, so that tests can kill it: ``python pipeline.py FOLDER SPEC...``; its ports are in FOLDER/ports.

It prints nothing. What it delivers is in FOLDER/out.jsonl, synchronised before anything is acknowledged.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from tacit.logs.anonymise import Anonymiser
from tacit.logs.formats import JsonLines
from tacit.logs.keys import EpochKey
from tacit.logs.policies import SourcePolicy
from tacit.logs.stages import DeadLetters, Delivery
from tacit.logs.stages.listeners import Certificates, FollowListener, Listeners, Setting, Spec, listener
from tacit.logs.stages.metrics import Metrics

POLICY = SourcePolicy.parse("{version: 1, source: web, format: json, fields: {user: user, n: keep}}")


class Appended:
    """Lines at the end of a file; a last line that a kill has cut in two is taken back."""

    name = "file"

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        size = os.fstat(self._file).st_size
        while size and os.pread(self._file, 1, size - 1) != b"\n":
            size -= 1
        os.ftruncate(self._file, size)
        os.lseek(self._file, size, os.SEEK_SET)

    def deliver(self, texts: list[str]) -> None:
        os.write(self._file, ("\n".join(texts) + "\n").encode())
        os.fsync(self._file)

    def close(self) -> None:
        os.close(self._file)


def main(folder: Path, specs: list[str]) -> None:
    FollowListener.poll, FollowListener.linger = 0.02, 0.2
    metrics = Metrics()
    tls = Certificates(folder / "server.pem", folder / "server.key", folder / "ca.pem") if (folder / "server.pem").exists() else None
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    with DeadLetters(folder / "dead.jsonl") as dead:
        delivery = Delivery(Anonymiser(POLICY, EpochKey.for_tests()), [Appended(folder / "out.jsonl")], dead=dead, metrics=metrics)
        setting = Setting(delivery, JsonLines("json"), metrics, tls=tls, state=folder / "state")
        group = Listeners([listener(Spec.parse(spec), setting) for spec in specs], failed=lambda _: stopped.set())
        group.start()
        (folder / "ports.tmp").write_text(" ".join(str(getattr(one, "port", 0)) for one in group.listeners))
        (folder / "ports.tmp").replace(folder / "ports")
        stopped.wait()
        group.stop()
        group.join()
        delivery.close()
        (folder / "metrics").write_bytes(metrics.text())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
