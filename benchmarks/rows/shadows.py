"""64 shadow models at once against one after another, on one core."""

from __future__ import annotations

import json

from benchmarks.contest import Failed, run
from benchmarks.result import Check, Incomplete, Measured, Options, Row

COMPARED = "Training alone decides; with_scoring adds the margins of the whole pool, which the joint form has already and the others need as well."


def batched(options: Options) -> Measured:
    try:
        runs = [json.loads(run("benchmarks.workers.shadows", [])) for _ in range(min(3, options.seeds))]
    except Failed as error:
        raise Incomplete(str(error)) from error
    together, guard, bare, scoring = (min(float(found[name]) for found in runs) for name in ("joint", "as_a_guard", "bare", "scoring"))
    one_by_one = min(guard, bare)
    check = Check("CPU of 64 shadows at once over one after another", together / one_by_one, 1 / 3, at_least=False)
    details = {
        "one_by_one": {"as a guard evaluates": guard, "bare NumPy loop": bare}, "with_scoring": together / (one_by_one + scoring),
        "runs": runs, "notes": COMPARED,
    }  # fmt: skip
    return Measured(together, "CPU seconds, 64 shadows", "one after another on members only, the faster of two ways", one_by_one, (check,), details)


ROWS = (Row("shadows.batched", "CPU of 64 shadow models at once, against one after another", batched),)
