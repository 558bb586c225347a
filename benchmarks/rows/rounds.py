"""What a masked round costs over a network, beside a plain round of NVFlare."""

from __future__ import annotations

import importlib.util
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.environments import NVFLARE
from benchmarks.result import Check, Incomplete, Measured, Options, Row
from benchmarks.rows.steps import Process, process

LIMITS = {"small": 0.6, "large": 1.5}
COUNT = {"small": 10, "large": 2}


def rounds(options: Options) -> Measured:
    """The median round: ours masked, noised and charged, NVFlare's plain. They take turns."""
    if importlib.util.find_spec("websockets") is None:
        raise Incomplete("the extra «federation» is not installed; pip install 'tacit[federation]', then again")
    with tempfile.TemporaryDirectory() as scratch:
        folder = str(Path(scratch) / "parties")
        with process("benchmarks.workers.rounds", [folder, "1"], None, torch=False) as ours:
            _turn(ours, "small", 2)
            with process("benchmarks.peers.nvflare_rounds", [folder, "1"], NVFLARE) as theirs:
                _turn(theirs, "small", 2)
                turns = [{model: (_turn(ours, model, COUNT[model]), _turn(theirs, model, COUNT[model])) for model in LIMITS}
                         for _ in range(2 * min(options.seeds, 2))]  # the plan has 60 steps  # fmt: skip
    ours_, theirs_ = ({model: [turn[model][side] for turn in turns] for model in LIMITS} for side in (0, 1))
    mine, peers = ({model: _median(found[model]) for model in LIMITS} for found in (ours_, theirs_))
    checks = tuple(Check(f"seconds of a round of three sites, {ours_[model][0]['size']:,} numbers", mine[model], limit, at_least=False)
                   for model, limit in LIMITS.items())  # fmt: skip
    table = {
        model: {"numbers": found[0]["size"], "ours_s": mine[model], "nvflare_plain_s": peers[model], **_costs(found)}
        for model, found in ours_.items()
    }
    details = {"load_per_core": os.getloadavg()[0] / (os.cpu_count() or 1), "rounds": table}
    return Measured(mine["small"], "seconds, a masked round of 32 numbers", "NVFlare's cells, a plain round", peers["small"], checks, details)


def _turn(worker: Process, model: str, count: int) -> dict[str, Any]:
    answer = worker.ask(model, count)
    if "error" in answer:
        raise Incomplete(f"a round could not be measured: {answer['error']}")
    return answer


def _median(turns: list[dict[str, Any]]) -> float:
    return statistics.median(second for turn in turns for second in turn["seconds"])


def _costs(turns: list[dict[str, Any]]) -> dict[str, float]:
    return {
        "ours_fastest_s": min(second for turn in turns for second in turn["seconds"]),
        "coordinator_cpu_s": statistics.median(turn["cpu"] for turn in turns),
        "site_cpu_s": statistics.median(turn["site_cpu"] for turn in turns),
        "bytes_per_number_up": turns[-1]["received"] / turns[-1]["size"] / 3,
        "bytes_down_per_site": turns[-1]["sent"] / 3,
    }


ROWS = (
    Row("sums.round", "a masked round of three sites over mutual TLS, beside a plain round of NVFlare", rounds),
)
