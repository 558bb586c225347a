"""What privacy costs a training step: time and memory over a plain step of the same network, beside Opacus, jax-privacy and `vmap(grad)`.

The contestants' processes live side by side and take turns, a few steps each, so that whatever else the machine does disturbs all of them. One
thread is judged by CPU seconds, which count the thread that draws our noise and not what else the machine does; the clock is reported beside.
Memory that was used once is kept by every process (which favours those that use much).
"""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks import ROOT
from benchmarks.contest import SINGLE_THREAD
from benchmarks.environments import JAX_PRIVACY, OPACUS, Environment, Unavailable
from benchmarks.result import Check, Incomplete, Measured, Options, Row

OURS = ("plain", "tacit", "tacit_compiled", "vmap")
THEIRS = ("opacus", "opacus_ghost", "opacus_ew")
JAX = ("jax_privacy", "jax_privacy_micro")
KEEP = {"MALLOC_MMAP_THRESHOLD_": "1073741824", "MALLOC_TRIM_THRESHOLD_": "1073741824"}
LIMITS = {"mlp": (1.20, 1.06), "cnn": (1.50, 1.10), "transformer": (1.30, 1.26)}
AIMS = {"mlp": 1.10, "cnn": 1.25, "transformer": 1.25}
STEPS = {"mlp": 10, "cnn": 3, "transformer": 2}
LONGEST, FEWEST = 45.0, 3
"""Seconds after which no further round of a contest begins, if there were at least so many."""


@dataclass
class Process:
    """One process that takes steps on demand."""

    process: subprocess.Popen[str]

    def ask(self, name: str, steps: int) -> dict[str, Any]:
        """Seconds of the fastest step, or the error."""
        if self.process.stdin is None or self.process.stdout is None:
            raise Incomplete("the process has no pipes")
        self.process.stdin.write(f"{name} {steps}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        return json.loads(line) if line else {"error": "the process ended"}


@contextmanager
def process(module: str, arguments: Sequence[str], environment: Environment | None, *, torch: bool = True) -> Iterator[Process]:
    """Start a worker, and end it."""
    if environment is None and torch and importlib.util.find_spec("torch") is None:
        raise Incomplete("PyTorch is not installed here; `make torch`, then again")
    try:
        python = environment.python() if environment else sys.executable
    except Unavailable as error:
        raise Incomplete(str(error)) from error
    path = os.pathsep.join([str(ROOT), *([] if environment else [str(ROOT / "src")])])
    threads = {name: arguments[1] for name in SINGLE_THREAD}
    started = subprocess.Popen(
        [python, "-m", module, *arguments], cwd=ROOT, env={**os.environ, **threads, **KEEP, "PYTHONPATH": path},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )
    try:
        yield Process(started)
    finally:
        started.kill()
        started.wait()


def contest(model: str, threads: int, *, rounds: int) -> dict[str, Any]:
    """Ratios of all contestants to the plain step: by their fastest steps, in CPU seconds and by the clock, and the median over rounds."""
    seconds: dict[str, list[float]] = {}
    used: dict[str, list[float]] = {}
    errors: dict[str, str] = {}
    with process("benchmarks.workers.steps", [model, str(threads)], None) as ours, \
            process("benchmarks.peers.opacus_steps", [model, str(threads)], OPACUS) as theirs, \
            process("benchmarks.peers.jax_steps", [model, str(threads)], JAX_PRIVACY) as jax:  # fmt: skip
        began = time.perf_counter()
        for round_ in range(rounds + 1):
            if round_ == 1:
                began = time.perf_counter()
            if round_ > FEWEST and time.perf_counter() - began > LONGEST:
                break
            for name in (*OURS, *THEIRS, *JAX):
                if name in errors:
                    continue
                asked = ours if name in OURS else theirs if name in THEIRS else jax
                answer = asked.ask(name, STEPS[model] if round_ and name not in JAX else 1)
                if "error" in answer:
                    errors[name] = answer["error"]
                elif round_:
                    seconds.setdefault(name, []).append(answer["seconds"])
                    used.setdefault(name, []).append(answer["cpu_seconds"])
    base, least = seconds["plain"], min(used["plain"])
    return {
        "cpu_ratio": {name: min(found) / least for name, found in used.items()}, "rounds": len(base),
        "ratio_of_minima": {name: min(found) / min(base) for name, found in seconds.items()},
        "median_ratio": {name: statistics.median(a / b for a, b in zip(found, base, strict=True)) for name, found in seconds.items()},
        "milliseconds": {name: 1e3 * min(found) for name, found in seconds.items()}, "errors": errors,
    }


def steps(model: str, options: Options) -> Measured:
    one = contest(model, 1, rounds=2 * options.seeds)
    two = contest(model, 2, rounds=options.seeds)
    ratio, clock = one["cpu_ratio"], one["ratio_of_minima"]
    eager, compiled = LIMITS[model]
    checks = [Check("CPU of a private over a plain step, eager, one thread", ratio["tacit"], eager, at_least=False)]
    graph = ratio.get("tacit_compiled", float("nan"))
    checks.append(Check("CPU of a private over a plain step, compiled, one thread", graph, compiled, at_least=False))
    checks.append(Check("eager", ratio["tacit"], AIMS[model], at_least=False, decides=False))
    checks.append(Check("eager, by the clock: noise is drawn on another thread", clock["tacit"], eager, at_least=False, decides=False))
    best = min((ratio[name], name) for name in (*THEIRS, *JAX) if name in ratio)
    details = {"one_thread": one, "two_threads": two, "noise": "ours from AES-CTR, exact after rounding; the others' from torch.randn"}
    return Measured(ratio["tacit"], "CPU of a private over a plain step", f"the best peer ({best[1]})", best[0], tuple(checks), details)


def memory(options: Options) -> Measured:
    found: dict[str, dict[str, float]] = {}
    for model in LIMITS:
        for name in ("plain", "tacit_unchecked", *THEIRS[:2]):
            theirs = name in THEIRS
            module, environment = ("benchmarks.peers.opacus_steps", OPACUS) if theirs else ("benchmarks.workers.steps", None)
            with process(module, [model, "1"], environment) as worker:
                answer = worker.ask(name, 0)
            if "error" not in answer:
                found.setdefault(model, {})[name] = answer["extra_mb"]
    checks = tuple(
        Check(f"peak memory of a private over a plain step, {model}", by["tacit_unchecked"] / max(by["plain"], 1.0), 1.5, at_least=False)
        for model, by in found.items()
    )
    mlp = found["mlp"]
    return Measured(mlp["tacit_unchecked"], "MB above the model, MLP", "Opacus", mlp.get("opacus", float("nan")), checks, {"megabytes": found})


def secure_noise(options: Options) -> Measured:
    """What the secure source costs beyond PyTorch's own generator, as a share of a step."""
    share, table = {}, {}
    for model in LIMITS:
        with process("benchmarks.workers.steps", [model, "1"], None) as worker:
            for name in ("tacit", "tacit_randn"):
                worker.ask(name, 1)
            pairs = [tuple(worker.ask(name, STEPS[model])["seconds"] for name in ("tacit", "tacit_randn")) for _ in range(2 * options.seeds)]
        secure, fast = (min(pair[i] for pair in pairs) for i in range(2))
        share[model], table[model] = (secure - fast) / secure, {"secure_ms": 1e3 * secure, "torch_randn_ms": 1e3 * fast}
    checks = tuple(Check(f"secure noise beyond torch.randn, share of a step, {model}", value, 0.03, at_least=False) for model, value in share.items())
    return Measured(max(share.values()), "largest share of a step", "torch.randn", 0.0, checks, {"share": share, "milliseconds": table})


ROWS = (
    Row("steps.mlp", "a private step over a plain one: 100 features, 3 x 256, batch 1024", lambda options: steps("mlp", options)),
    Row("steps.cnn", "a private step over a plain one: 28 x 28 images, batch 512", lambda options: steps("cnn", options)),
    Row("steps.transformer", "a private step over a plain one: 2 blocks of 128, 64 tokens, batch 128", lambda options: steps("transformer", options)),
    Row("steps.memory", "peak memory of a private step over a plain one", memory),
    Row("noise.secure", "cost of secure noise, as a share of a step", secure_noise),
)
