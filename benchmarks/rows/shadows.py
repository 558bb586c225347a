"""64 shadow models at once against one after another, on one core."""

from __future__ import annotations

import json

from benchmarks.contest import Failed, run
from benchmarks.result import Check, Incomplete, Measured, Options, Row

COMPARED = (
    "64 fits of the product with scores of the pool decide (measured on 8). over_loops: against training alone on members' bins, as a guard "
    "evaluates and in a bare NumPy loop, which lack the margins of half of the pool; with_scoring adds those to the faster one."
)


def batched(options: Options) -> Measured:
    try:
        runs = [json.loads(run("benchmarks.workers.shadows", [])) for _ in range(min(3, options.seeds))]
    except Failed as error:
        raise Incomplete(str(error)) from error
    names = ("joint", "fits", "as_a_guard", "bare", "scoring")
    together, one_by_one, guard, bare, scoring = (min(float(found[name]) for found in runs) for name in names)
    check = Check("CPU of 64 shadows at once over one after another", together / one_by_one, 1 / 3, at_least=False)
    details = {
        "over_loops": {"as a guard evaluates": together / guard, "bare NumPy loop": together / bare},
        "with_scoring": together / (min(guard, bare) + scoring),
        "runs": runs, "notes": COMPARED,
    }  # fmt: skip
    return Measured(together, "CPU seconds, 64 shadows", "64 fits one after another", one_by_one, (check,), details)


ROWS = (Row("shadows.batched", "CPU of 64 shadow models at once, against one after another", batched),)
