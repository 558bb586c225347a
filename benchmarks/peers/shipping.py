"""What the daemons among the peers share: the first lines of a file, and CPU seconds until all of them have come out. The standard library alone."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from itertools import islice
from pathlib import Path

PATIENCE = 300


def first(source: str | Path, target: Path, count: int) -> None:
    """Write the first lines of a file into another."""
    with Path(source).open("rb") as lines, target.open("wb") as out:
        out.writelines(islice(lines, count))


def shipped(process: subprocess.Popen[bytes], target: Path, count: int) -> tuple[int, float]:
    """Lines that a daemon has written, and its CPU seconds, once they are as many, it has ended, or patience has."""
    begin = time.monotonic()
    while _lines(target) < count and time.monotonic() - begin < PATIENCE and not _ended(process.pid):
        time.sleep(1)
    os.kill(process.pid, signal.SIGTERM)  # not through the object, which would take the account of one that has ended
    _, _, used = os.wait4(process.pid, 0)
    return _lines(target), used.ru_utime + used.ru_stime


def _ended(pid: int) -> bool:
    """Whether the process has ended; its account is left for the kernel to give."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _lines(path: Path) -> int:
    if not path.is_file():
        return 0
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
