"""How long an event waits for its receipt over ``_bulk``: ``python -m benchmarks.workers.log_bulk [EVENTS [SECONDS]]``, one line of JSON.

``tacit logs serve`` runs in a process of its own, with the pack for ECS, from plain HTTP to a file that is synchronised before anything is
acknowledged. First four connections send 500 events a request, as much as it takes; then events come evenly at half of that rate, and the four
connections share what has come, each request at least 5 ms after the one before. An event's latency is from when it came to when its sender has read
that it is durable. No event is sent twice, since known values cost less: the first half of the file is for the first part, the second for the other,
and a part ends early where its half does. Without EVENTS some are made.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from tacit.logs.anonymise import Anonymiser
from tacit.logs.keys import EpochKey, Keyring
from tacit.logs.policies import SourcePolicy
from tacit.logs.telemetry import Telemetry, TelemetrySpec

CONNECTIONS, TOGETHER, LINGER, EVENTS, SECONDS = 4, 500, 0.005, 600_000, 20.0
_HEAD = b'{"create":{}}\n'
Taking = Callable[[], tuple[int, int] | None]


class Sender:
    """Events by their numbers, over one connection per thread.

    Args:
        lines: of the events.
        port: of the server.
    """

    def __init__(self, lines: list[bytes], port: int) -> None:
        self.lines, self._port = lines, port
        self.done: list[tuple[int, int, float]] = []
        """First event, the one after the last, and when they were acknowledged."""

    def run(self, take: Taking) -> None:
        """Send what is taken, until nothing is."""
        threads = [threading.Thread(target=self._send, args=(take,)) for _ in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _send(self, take: Taking) -> None:
        connection, lines = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60), self.lines
        while (taken := take()) is not None:
            body = b"".join(_HEAD + line for line in lines[slice(*taken)])
            connection.request("POST", "/logs/_bulk", body, {"Content-Type": "application/x-ndjson"})
            response = connection.getresponse()
            answer = response.read()
            if response.status != 200 or b'"errors":false' not in answer[:100]:
                raise RuntimeError(f"the server answered {response.status}")
            self.done.append((*taken, time.perf_counter()))


def most(sender: Sender, seconds: float) -> float:
    """Events per second, as much as it takes."""
    lock, next_one, began = threading.Lock(), [0], time.perf_counter()

    def take() -> tuple[int, int] | None:
        with lock:
            begin = next_one[0]
            next_one[0] += TOGETHER
        return (begin, begin + TOGETHER) if begin + TOGETHER <= len(sender.lines) // 2 and time.perf_counter() < began + seconds else None

    sender.run(take)
    over = max(when for *_, when in sender.done)
    begun = began + (over - began) / 4  # caches are filled by then
    return sum(end - begin for begin, end, when in sender.done if when > begun) / (over - begun)


def evenly(sender: Sender, rate: float, seconds: float) -> dict[str, Any]:
    """Latencies of events that come evenly."""
    lock, first = threading.Lock(), len(sender.lines) // 2
    begun, last, count = [0], [0.0], min(int(rate * seconds), first)
    began = time.perf_counter()

    def take() -> tuple[int, int] | None:
        with lock:
            if begun[0] >= count:
                return None
            time.sleep(max(0.0, last[0] + LINGER - time.perf_counter()))
            while (come := min(count, int((time.perf_counter() - began) * rate))) <= begun[0]:
                time.sleep(0.001)
            begin, end = begun[0], min(come, begun[0] + TOGETHER)
            begun[0], last[0] = end, time.perf_counter()
        return first + begin, first + end

    sender.done.clear()
    sender.run(take)
    waited = np.concatenate([when - began - np.arange(begin - first, end - first) / rate for begin, end, when in sender.done])
    p50, p90, p99, top = 1_000 * np.quantile(waited, (0.5, 0.9, 0.99, 1.0))
    return {"events": count, "rate": rate, "p50_ms": float(p50), "p90_ms": float(p90), "p99_ms": float(p99), "max_ms": float(top),
            "events_per_request": count / len(sender.done)}


def used(process: int) -> float:
    """CPU seconds of a process so far, where the system says so."""
    path = Path(f"/proc/{process}/stat")
    parts = path.read_text().rsplit(")", 1)[1].split() if path.exists() else ["0"] * 13
    return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")


def measured(lines: list[bytes], folder: Path, seconds: float) -> dict[str, Any]:
    """Both parts, against one server."""
    Keyring.create(folder / "keys.json", tenant="acme")
    command = [sys.executable, "-m", "tacit", "logs", "serve", "--policy", "pack:ecs", "--keys", "keys.json"]
    command += ["--http", "127.0.0.1:0", "--to", "file:out"]
    with (folder / "said").open("wb") as said, subprocess.Popen(command, cwd=folder, stderr=said) as server:
        try:
            sender = Sender(lines, _port(server, folder / "said"))
            before = used(server.pid)
            full = most(sender, seconds)
            between, sent = used(server.pid), sum(end - begin for begin, end, _ in sender.done)
            half = evenly(sender, full / 2, seconds)
            after = used(server.pid)
        finally:
            server.terminate()
    written = sum(1 for _ in (folder / "out").open("rb"))
    if written != sent + half["events"]:
        raise RuntimeError(f"{sent + half['events']:,} events were acknowledged, {written:,} are in the file")
    return {
        "events_per_second": full, "events_per_cpu_second": sent / max(between - before, 0.01), "half_load": half,
        "half_load_events_per_cpu_second": half["events"] / max(after - between, 0.01), "load": os.getloadavg()[0],
        "compiled": Anonymiser(SourcePolicy.pack("ecs"), EpochKey.for_tests()).compiled,
    }


def _port(server: subprocess.Popen[bytes], said: Path) -> int:
    for _ in range(600):
        if found := re.search(rb"listening: http://\S+:(\d+)\n", said.read_bytes()):
            return int(found[1])
        if server.poll() is not None:
            break
        time.sleep(0.1)
    raise RuntimeError(said.read_text())


def main(arguments: list[str]) -> int:
    seconds = float(arguments[1]) if len(arguments) > 1 else SECONDS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments:
            source = Path(arguments[0])
        else:
            source = folder / "events.ndjson"
            Telemetry(TelemetrySpec(events=EVENTS, simulation=TelemetrySpec.million(seed=1).simulation)).write_ndjson(source)
        with source.open("rb") as file:
            lines = list(islice(file, EVENTS))
        sys.stdout.write(json.dumps(measured(lines, folder, seconds)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
