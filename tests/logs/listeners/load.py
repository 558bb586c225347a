"""``tacit logs serve`` under load over ``_bulk``: how long requests take, and whether memory stays flat.

    python tests/logs/listeners/load.py --seconds 600                  # as much as it takes, from four connections
    python tests/logs/listeners/load.py --seconds 300 --rate 4000      # so many events a second

prints a JSON line: events, requests' latency from the moment in which they were due (so that waiting counts), resident memory every ten seconds,
CPU seconds of the server, and the machine's load.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import os
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from senders import HOST, Served, acknowledged

CONNECTIONS = 4


def body(begin: int, count: int) -> bytes:
    return "".join(
        f'{{"index":{{}}}}\n{{"n":{n},"user":"user{n % 20_011}","message":"user{n % 20_011} logged in from 10.{n % 199}.{n % 251}.7, session {n}"}}\n'
        for n in range(begin, begin + count)
    ).encode()


def drive(port: int, *, seconds: float, rate: float, size: int) -> list[float]:
    """Latencies of all requests, in seconds."""
    numbers, found, began = itertools.count(), [], time.monotonic()

    def send() -> None:
        connection = http.client.HTTPConnection(HOST, port, timeout=120)
        while (number := next(numbers)) is not None and time.monotonic() < began + seconds:
            content = body(number * size, size)
            due = began + number * size / rate if rate else time.monotonic()
            time.sleep(max(0.0, due - time.monotonic()))
            while not acknowledged(connection, "/logs/_bulk", content):
                time.sleep(0.01)
            found.append(time.monotonic() - due)

    threads = [threading.Thread(target=send) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def sampled(process: int, memory: list[int], load: list[float], over: threading.Event) -> None:
    while not over.wait(10):
        status = Path(f"/proc/{process}/statm").read_text().split()
        memory.append(int(status[1]) * os.sysconf("SC_PAGE_SIZE") >> 20)
        load.append(os.getloadavg()[0])


def used(process: int) -> float:
    parts = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--rate", type=float, default=0, help="events a second; 0 for as many as it takes")
    parser.add_argument("--size", type=int, default=500, help="events of a request")
    options = parser.parse_args()
    memory: list[int] = []
    load: list[float] = []
    over = threading.Event()
    with tempfile.TemporaryDirectory() as folder:
        served = Served(Path(folder), "bulk")
        served.start()
        try:
            watching = threading.Thread(target=sampled, args=(served.process.pid, memory, load, over))
            watching.start()
            before = used(served.process.pid)
            times = sorted(drive(served.port, seconds=options.seconds, rate=options.rate, size=options.size))
            cpu = used(served.process.pid) - before
        finally:
            over.set()
            served.kill()
        result: dict[str, Any] = {
            "events": len(times) * options.size, "seconds": options.seconds, "cpu_seconds": round(cpu, 1),
            "per_second": round(len(times) * options.size / options.seconds), "per_cpu_second": round(len(times) * options.size / cpu),
            "lines": served.lines(),
        }
    result |= {f"p{share:g}_ms": round(1000 * times[int(share / 100 * len(times))], 1) for share in (50, 90, 99)}
    print(json.dumps(result | {"resident_mib": memory, "load": [round(min(load), 1), round(max(load), 1)]}))


if __name__ == "__main__":
    main()
