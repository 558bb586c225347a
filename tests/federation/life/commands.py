"""Commands in processes of their own, with people at their keyboards, on the loopback address."""

from __future__ import annotations

import os
import queue
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO

SOURCE = Path(__file__).resolve().parents[3] / "src"
FINGERPRINT = r"[A-Z2-7]{4}(?:-[A-Z2-7]{4}){3}"
PATIENCE = 240.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


class Command:
    """One `tacit` command that runs, and what it has said so far."""

    def __init__(self, folder: Path, *arguments: object) -> None:
        environment = {**os.environ, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        program = "from tacit.cli import main; main()"
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, *map(str, arguments)], cwd=folder, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        self.said = ""
        self._arrived: queue.Queue[str] = queue.Queue()
        self._readers = [self._read(stream) for stream in (self.process.stdout, self.process.stderr)]

    def _read(self, stream: IO[str] | None) -> threading.Thread:
        def work() -> None:
            while stream is not None and (sign := stream.read(1)):
                self._arrived.put(sign)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        return thread

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first match in what it says; everything up to its end is used up."""
        end = time.monotonic() + PATIENCE
        while True:
            found = re.search(pattern, self.said)
            if found is not None:
                self.said = self.said[found.end() :]
                return found
            try:
                self.said += self._arrived.get(timeout=0.2)
            except queue.Empty:
                ended = self.process.poll() is not None and not any(reader.is_alive() for reader in self._readers)
                if (ended and self._arrived.empty()) or time.monotonic() > end:
                    raise AssertionError(f"expected {pattern!r}; the command said {self.said!r}") from None

    def type(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def end(self) -> tuple[int, str]:
        """Wait for it; its exit code and the rest of what it said."""
        code = self.process.wait(PATIENCE)
        for reader in self._readers:
            reader.join(10)
        while not self._arrived.empty():
            self.said += self._arrived.get()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        return code, self.said

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.end()


def done(folder: Path, *arguments: object) -> str:
    """A command that ends by itself, and well."""
    code, said = Command(folder, *arguments).end()
    assert code == 0, said
    return said
