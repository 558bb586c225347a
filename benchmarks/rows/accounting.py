"""How tight the charge of a training plan is: against a grid ten times finer, and a certified lower bound of another library."""

from __future__ import annotations

import json

from benchmarks.contest import Failed, run
from benchmarks.environments import OPACUS, Unavailable
from benchmarks.result import Check, Incomplete, Measured, Options, Row

WITHIN = 1e-3


def tightness(options: Options) -> Measured:
    try:
        ours = json.loads(run("benchmarks.workers.accounting", []))
        sampled = [item for item in ours if item["case"][0] < 1]
        bounds = json.loads(run("benchmarks.peers.opacus_accounting", [json.dumps([item["case"] for item in sampled])], OPACUS))
    except (Failed, Unavailable) as error:
        raise Incomplete(str(error)) from error
    for item, (lower, upper) in zip(sampled, bounds, strict=True):
        item |= {"prv_lower": lower, "prv_upper": upper}
    gaps = {item["name"]: item["charged"] / item["fine"] - 1 for item in ours}
    checks = [Check(f"above a grid of 1e-5, {name}", gap, WITHIN, at_least=False) for name, gap in gaps.items()]
    checks += [Check(f"over the certified lower bound, {item['name']}", item["charged"] / item["prv_lower"], 1.0) for item in sampled]
    worst = max(gaps.values())
    renyi = max(item["renyi"] / item["fine"] - 1 for item in ours)
    return Measured(worst, "largest relative gap to a fine grid", "Rényi divergences", renyi, tuple(checks), {"plans": ours})


ROWS = (Row("accounting.tightness", "how far the charge of training plans is above a fine grid, and that it is above a lower bound", tightness),)
