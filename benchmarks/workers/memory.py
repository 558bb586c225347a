"""A million records under sixteen shadows: ``python -m benchmarks.workers.memory RECORDS SHADOWS``. Prints peak memory and seconds as JSON."""

from __future__ import annotations

import json
import resource
import sys
import time
from typing import Any

import numpy as np

from tacit.attacks import AttackSettings, NetworkRecipe, NetworksTrainer, attack


def main(arguments: list[str]) -> int:
    records, shadows = int(arguments[0]), int(arguments[1])
    rng = np.random.default_rng(0)
    X = rng.standard_normal((records, 20), np.float32)
    y = (X[:, 0] + 2 * rng.standard_normal(records, np.float32) > 0).astype(np.int64)
    half = records // 2
    weights = rng.standard_normal((20, 2)).astype(np.float32)

    def target(rows: Any) -> Any:
        return rows @ weights

    trainer = NetworksTrainer(NetworkRecipe((8,), epochs=1, batch=4_096), search=False)
    before = time.perf_counter()
    report = attack(target, (X[:half], y[:half]), (X[half:], y[half:]), trainer=trainer, settings=AttackSettings(shadows=shadows))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    line = {"peak_bytes": peak, "seconds": time.perf_counter() - before, "shadows": report.described.shadows, "verdict": report.verdict}
    sys.stdout.write(json.dumps(line) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
