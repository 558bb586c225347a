"""The step self-test on correct and broken steps: ``python -m benchmarks.workers.selftest SEEDS``. Prints one JSON line.

The broken steps are those of the tests, loaded from their file.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from typing import Any

from benchmarks import ROOT


def main(arguments: list[str]) -> int:
    cases = _cases()
    caught = {name: not cases.result_of(changes, 5).passed for name, changes in cases.BUGS.items()}
    before, alarms, seeds = time.process_time(), 0, int(arguments[0])
    for seed in range(seeds):
        alarms += not cases.result_of({}, 10_000 + seed).passed
    seconds = (time.process_time() - before) / max(1, seeds)
    line = {"bugs": len(caught), "caught": sum(caught.values()), "missed": [name for name, found in caught.items() if not found],
            "false_alarms": alarms, "seeds": seeds, "cpu_seconds": seconds, "engine": _engine()}
    sys.stdout.write(json.dumps(line) + "\n")
    return 0


def _engine() -> dict[str, Any]:
    """Tacit's own step. Whoever trains has made an optimiser before, which loads half of PyTorch."""
    import torch

    from tacit import Relation
    from tacit.guard import PlanStep, Sampler
    from tacit.networks.rehearsal import rehearse

    torch.optim.Adam([torch.zeros(1, requires_grad=True)])
    before = time.process_time()
    found = rehearse(PlanStep("network@1", 10, 1.1, 100, sampler=Sampler.poisson(0.01)), 1.0, Relation.ADD_REMOVE)
    return {"passed": found.passed, "cpu_seconds": time.process_time() - before}


def _cases() -> Any:
    spec = importlib.util.spec_from_file_location("selftest_cases", ROOT / "tests" / "guard" / "test_selftest.py")
    if spec is None or spec.loader is None:
        raise FileNotFoundError("tests/guard/test_selftest.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
