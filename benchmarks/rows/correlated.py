"""Whether correlated noise helps on real records: the same network, budget and steps, ten seeds. The error is 1 - AUC, of the last iterate."""

from __future__ import annotations

import importlib.util
import json
import statistics
from typing import Any

from scipy.stats import ttest_rel

from benchmarks.contest import Failed, run
from benchmarks.result import Check, Incomplete, Measured, Options, Row


def correlated(options: Options) -> Measured:
    if importlib.util.find_spec("torch") is None:
        raise Incomplete("PyTorch is not installed here; `make torch`, then again")
    try:
        found = json.loads(run("benchmarks.workers.correlated", [str(2 * options.seeds)]))
    except Failed as error:
        raise Incomplete(str(error)) from error
    table: dict[str, dict[str, Any]] = {}
    checks = []
    for epsilon in sorted({item["epsilon"] for item in found}):
        of_epsilon = [item for item in found if item["epsilon"] == epsilon]
        best = {noise: errors([item for item in of_epsilon if item["noise"] == noise]) for noise in ("independent", "banded")}
        p = float(ttest_rel(best["banded"], best["independent"]).pvalue)
        table[str(epsilon)] = {noise: statistics.fmean(losses) for noise, losses in best.items()} | {"p": p}
        ratio = table[str(epsilon)]["banded"] / table[str(epsilon)]["independent"]
        checks.append(Check(f"1 - AUC, banded over independent, ε={epsilon:g}", ratio, 1.0, at_least=False))
        checks.append(Check(f"p of no difference, ε={epsilon:g}", p, 0.01, at_least=False))
    details = {"by_epsilon": table, "auc": means(found, "auc"), "loss": means(found, "loss"), "bands": sorted({item["bands"] for item in found})}
    first = table["4.0"]
    return Measured(first["banded"], "1 - AUC at ε=4", "independent noise", first["independent"], tuple(checks), details)


def errors(items: list[dict[str, Any]]) -> list[float]:
    """Errors, seed by seed."""
    return [1 - item["auc"] for item in items]


def means(found: list[dict[str, Any]], figure: str) -> dict[str, float]:
    keys = sorted({(item["epsilon"], item["noise"], item["rate"]) for item in found})
    return {
        f"ε={epsilon:g}, {noise}, rate {rate}": statistics.fmean(
            item[figure] for item in found if (item["epsilon"], item["noise"], item["rate"]) == (epsilon, noise, rate)
        ) for epsilon, noise, rate in keys
    }  # fmt: skip


ROWS = (Row("noise.correlated", "error (1 - AUC) with banded against independent noise on census income, ten seeds", correlated),)
