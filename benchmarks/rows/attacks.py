"""Attacks and audits: learned fusion, peers on the same targets, the step's self-test, our own bounds, memory."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, t

from benchmarks.contest import Failed, run, workplace
from benchmarks.environments import ART, OPACUS_WITH_TACIT, PRIVACY_METER, SACROML, TF_PRIVACY, Unavailable
from benchmarks.result import Check, Incomplete, Measured, Options, Row
from benchmarks.tasks import TASKS

TARGETS = 16
BEHIND = 0.02
SHARE = 1 / 20
SEEDS_OF_SELFTEST = 1_000
DRAWS = 400
GIB = 1 << 30
PEERS = (
    ("ART", "benchmarks.peers.mia_art", ART), ("SACRO-ML", "benchmarks.peers.mia_sacroml", SACROML),
    ("TensorFlow Privacy", "benchmarks.peers.mia_tf_privacy", TF_PRIVACY),
    ("ML Privacy Meter", "benchmarks.peers.mia_privacy_meter", PRIVACY_METER),
)


def _answer(module: str, *arguments: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(run(module, list(arguments)).splitlines()[-1])
    except Failed as error:
        raise Incomplete(str(error)) from error
    return found


def fusion(options: Options) -> Measured:
    """Sixteen targets of four kinds; the differences are paired."""
    targets = TARGETS if options.seeds >= 5 else 4
    found = {name: _answer("benchmarks.workers.fusion", name, str(targets)) for name in TASKS}
    checks, table = [], {}
    for name, answer in found.items():
        rates = {attack: np.array(values) for attack, values in answer["rates"].items()}
        learned, ratio = rates.pop("fusion, 6"), rates.pop("likelihood ratio, 64")
        low, _ = _interval(learned[:, 0] - ratio[:, 0])
        checks.append(Check(f"{name}: TPR at 1 % FPR beyond the likelihood ratio's on 64 shadows, low end", low, -BEHIND))
        best = max(rates, key=lambda attack: rates[attack][:, 0].mean())
        _, high = _interval(learned[:, 0] - rates[best][:, 0])
        checks.append(Check(f"{name}: TPR at 1 % FPR beyond the best single attack's on 6 shadows ({best}), high end", high, 0.0))
        means = {attack: values.mean(axis=0).tolist() for attack, values in {"fusion, 6": learned, "likelihood ratio, 64": ratio, **rates}.items()}
        table[name] = {"about": TASKS[name].about, "right": answer["right"], "tpr_at_fpr_0.01_0.001": means, "cpu": answer["cpu"]}
    cpu = found["places"]["cpu"]
    ours, theirs = cpu["six shadows"] + cpu["fusion"], 64 * cpu["one after another"] + cpu["likelihood ratio"]
    checks.append(Check("places: CPU of six shadows and the fusion over 64 shadows one after another", ours / theirs, SHARE, at_least=False))
    rates_at = table["places"]["tpr_at_fpr_0.01_0.001"]
    return Measured(
        rates_at["fusion, 6"][0], "TPR at 1 % FPR, 6 shadows", "likelihood ratio on 64 shadows", rates_at["likelihood ratio, 64"][0], tuple(checks),
        {"targets": targets, "tasks": table},
    )


def peers(options: Options) -> Measured:
    """The same targets for everybody: logits, weights, labels; what each is told besides stands in its module."""
    count, found, missing = (4 if options.seeds >= 5 else 2), [], {}
    with workplace() as folder:
        answer = json.loads(run("benchmarks.workers.targets", [str(folder), str(count)]).splitlines()[-1])
        for name, module, environment in PEERS:
            try:
                found.append(json.loads(run(module, [str(folder)], environment).splitlines()[-1]))
            except (Failed, Unavailable) as error:
                missing[name] = str(error)
    table = {name: _means(lines, name) for lines in (answer["ours"], *found) for name in lines[0]}
    for name, line in table.items():
        if "references" in name:  # they were trained for it, as ours are, all at once
            line["cpu_seconds"] += answer["references_cpu"]
    tacit = {name: table.pop(name) for name in list(table) if name.startswith("Tacit")}
    own = tacit["Tacit, 6 shadows"]
    if not table:
        raise Incomplete(f"No peer answered: {missing}")
    best = {figure: max(table, key=lambda name: table[name][figure]) for figure in ("tpr_at_0.01", "tpr_at_0.001")}
    checks = [
        Check(f"{figure} against the best peer's ({name})", own[figure], table[name][figure]) for figure, name in best.items()
    ]
    reaching = table[best["tpr_at_0.01"]]
    ours_each, theirs_each = (line["cpu_seconds"] / max(line["tpr_at_0.01"], 1e-6) for line in (own, reaching))
    checks.append(Check("CPU seconds per share of members recognised, over the best peer's", ours_each / theirs_each, 1.0, at_least=False))
    details = {"targets": count, "by_contestant": {**tacit, **table}, "missing": missing}
    return Measured(own["tpr_at_0.01"], "TPR at 1 % FPR", best["tpr_at_0.01"], reaching["tpr_at_0.01"], tuple(checks), details)


def _means(lines: list[dict[str, Any]], name: str) -> dict[str, float]:
    return {figure: float(np.mean([line[name][figure] for line in lines])) for figure in lines[0][name]}


def _interval(differences: NDArray[np.float64]) -> tuple[float, float]:
    """The paired 95 % interval of a mean difference."""
    half = float(t.ppf(0.975, len(differences) - 1)) * float(differences.std(ddof=1)) / math.sqrt(len(differences))
    return float(differences.mean()) - half, float(differences.mean()) + half


def others(options: Options) -> Measured:
    """Each attack wins on an undefended model and loses behind some defence."""
    found = _answer("benchmarks.workers.others")
    checks = []
    for attack, rows in found.items():
        checks.append(Check(f"{attack}: wins on an undefended model", rows["none"]["wins"], 1))
        lost = [name for name, row in rows.items() if not row["wins"]]
        checks.append(Check(f"{attack}: loses under at least one defence ({', '.join(lost)})", len(lost), 1))
    shown = found["inversion"]
    return Measured(shown["none"]["figure"], "correlation with what sets a class apart, undefended", "the same behind labels only",
                    shown["labels only"]["figure"], tuple(checks), found)


def selftest(options: Options) -> Measured:
    """Broken steps caught, correct ones passed, Tacit's engine and Opacus among them."""
    found = _answer("benchmarks.workers.selftest", str(SEEDS_OF_SELFTEST if options.seeds >= 5 else 100))
    checks = [
        Check("broken steps that are caught, of all", found["caught"] / found["bugs"], 1.0), Check("broken steps", found["bugs"], 25),
        Check("correct steps that fail", found["false_alarms"], 0, at_least=False),
        Check("CPU seconds", found["cpu_seconds"], 2.0, at_least=False), Check("Tacit's engine passes", found["engine"]["passed"], 1),
        Check("CPU seconds on Tacit's engine", found["engine"]["cpu_seconds"], 2.0, at_least=False),
    ]
    try:
        opacus: dict[str, Any] = json.loads(run("benchmarks.peers.opacus_selftest", [], OPACUS_WITH_TACIT).splitlines()[-1])
    except (Failed, Unavailable) as error:
        raise Incomplete(f"Opacus did not answer: {error}") from error
    checks += [
        Check("Opacus passes", opacus["correct"]["passed"], 1),
        Check("Opacus per layer at C over the root of the layers passes", opacus["per layer"]["passed"], 1),
        Check("Opacus per layer at C each is caught", not opacus["per layer, misused"]["passed"], 1),
    ]
    return Measured(found["caught"], "broken steps caught", "of as many", found["bugs"], tuple(checks), {**found, "opacus": opacus})


def bounds(options: Options) -> Measured:
    """Each bound's share of draws in which it is false, and how much of ε it shows."""
    draws = DRAWS if options.seeds >= 5 else 60
    found = _answer("benchmarks.workers.bounds", str(draws))
    most = float(binom.ppf(1 - 1e-4 / 20, draws, 0.05)) / draws
    checks = [
        Check(f"share of draws in which «{name}» is false at ε={epsilon}; 5 % and chance", row["wrong"], most, at_least=False)
        for epsilon, table in found.items() for name, row in table.items()
    ]
    at_eight = found["8"]
    checks += [
        Check("Gaussian fit at ε=8 on 1,000 canaries", at_eight["Gaussian fit"]["mean"], 6.0),
        Check("one run, Gaussian curve, at ε=8 on 1,000 canaries", at_eight["one run, Gaussian curve"]["mean"], 3.0),
    ]
    return Measured(at_eight["Gaussian fit"]["mean"], "ε shown of 8", "true", 8.0, tuple(checks), {"draws": draws, "by_epsilon": found})


def memory(options: Options) -> Measured:
    """Peak memory of a whole attack."""
    found = _answer("benchmarks.workers.memory", "1000000", "16")
    check = Check("GiB at the peak, 1,000,000 records under 16 shadows", found["peak_bytes"] / GIB, 4.0, at_least=False)
    return Measured(found["peak_bytes"] / GIB, "GiB at the peak", "a matrix of records by others, 8 bytes", 500_000**2 * 8 / GIB, (check,), found)


ROWS = (
    Row("attacks.fusion", "Learned fusion on 6 shadows against the likelihood ratio on 64, four tasks and three families of models", fusion),
    Row("attacks.peers", "Membership inference on the same targets: ART, TensorFlow Privacy, SACRO-ML, ML Privacy Meter", peers),
    Row("attacks.others", "Inversion, extraction, attribute inference and gradient leakage, undefended and behind defences, with utility", others),
    Row("attacks.selftest", "The step's self-test on broken and correct steps, Tacit's and Opacus's", selftest),
    Row("attacks.bounds", "Coverage and tightness of the lower bounds on ε", bounds),
    Row("attacks.memory", "Peak memory of an attack on a million records", memory),
)
