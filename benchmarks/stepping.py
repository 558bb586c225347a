"""The conversation with a process that times training steps. Needs nothing but Python."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks.peak import peak_mebibytes

Step = Callable[..., Any]
"""Takes a step; those whose memory is measured also take how many of the records to step with."""
FEW = 8


def serve(contestants: dict[str, Callable[[], Step]]) -> None:
    """Answer lines «contestant steps»: make the contestant on first mention, take steps, say what the fastest took, by clock and in CPU seconds.

    With no steps, the answer is what the first full step adds to the peak of memory after one with `FEW` records has brought the libraries in.
    """
    ready: dict[str, Step] = {}
    for line in sys.stdin:
        name, count = line.split()
        answer: dict[str, Any] = {}
        try:
            answer = grown(contestants[name]()) if count == "0" else taken(contestants, ready, name, int(count))
        except Exception as error:
            answer["error"] = f"{type(error).__name__}: {str(error).splitlines()[0][:160] if str(error) else ''}"
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def taken(contestants: dict[str, Callable[[], Step]], ready: dict[str, Step], name: str, count: int) -> dict[str, float]:
    """The fastest of some steps; a contestant that is new takes two before."""
    if name not in ready:
        ready[name] = contestants[name]()
        ready[name]()
        ready[name]()
    found = [timed(ready[name]) for _ in range(count)]
    return {"seconds": min(wall for wall, _ in found), "cpu_seconds": min(cpu for _, cpu in found)}


def grown(step: Step) -> dict[str, float]:
    """Mebibytes of one step."""
    step(FEW)
    before = peak_mebibytes()
    step()
    return {"extra_mb": peak_mebibytes() - before}


def timed(step: Step) -> tuple[float, float]:
    """Seconds of one step by the clock, and those of all threads of this process."""
    began, used = time.perf_counter(), time.process_time()
    step()
    return time.perf_counter() - began, time.process_time() - used
