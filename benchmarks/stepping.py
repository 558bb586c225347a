"""The conversation with a process that times training steps. Needs nothing but Python."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

Step = Callable[[], Any]


def serve(contestants: dict[str, Callable[[], Step]]) -> None:
    """Answer lines «contestant steps»: make the contestant on first mention, take steps, say how long the fastest took."""
    ready: dict[str, Step] = {}
    for line in sys.stdin:
        name, count = line.split()
        answer: dict[str, Any] = {}
        try:
            if name not in ready:
                ready[name] = contestants[name]()
                before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
                ready[name]()
                answer["extra_mb"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
                ready[name]()
            answer["seconds"] = min(timed(ready[name]) for _ in range(int(count)))
        except Exception as error:
            answer["error"] = f"{type(error).__name__}: {str(error).splitlines()[0][:160] if str(error) else ''}"
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def timed(step: Step) -> float:
    """Seconds of one step."""
    began = time.perf_counter()
    step()
    return time.perf_counter() - began
