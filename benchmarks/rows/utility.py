"""Utility against peers: same rows, same public domain, δ = 1e-5, fresh noise, every ε, one default configuration."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from benchmarks import EPSILONS
from benchmarks.contest import PEERS, TACIT, Contestant, Failed, NotBuilt, Score, compete
from benchmarks.datasets import CASES, Case, MissingData
from benchmarks.environments import Unavailable
from benchmarks.result import Check, Incomplete, Measured, Options, Row

NEEDED = ("dp_ebm", "xgboost")
"""Peers without whom thresholds cannot be told; the others may be missing, and are named then."""

DP_EBM_CPU, XGBOOST_CPU = 1 / 8, 1 / 10
ADULT_WITHOUT_STRUCTURE, FRAUD_WITHOUT_STRUCTURE = 0.9085, 0.330
"""What random trees with the noise of ε=8 reached before (AUC, average precision): half of the gap from there to XGBoost is the aim."""

TERMINALS = (
    "The TERMINAL_ID columns are built from other people's labels, so the record-level guarantee does not cover them; fraud.no_terminals is "
    "measured without them."
)


@dataclass
class Table:
    """The scores of all contestants on all cases of a row."""

    scores: dict[tuple[str, str], list[Score]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def mean(self, case: str, name: str, epsilon: float | None, *, metric: str = "auc") -> float:
        """Mean over seeds.

        Raises:
            Incomplete: if there is nothing to take the mean of.
        """
        values = [getattr(score, metric) for score in self.scores.get((case, name), []) if score.epsilon == epsilon]
        if not values:
            raise Incomplete(f"Expected answers of {name} on {case}; there are none. {self.missing.get(name, 'Run the row again.')}")
        return statistics.fmean(values)

    def cpu(self, case: str, name: str) -> float:
        """Mean CPU seconds of one fit, over ε and seeds.

        Raises:
            Incomplete: if the contestant did not answer.
        """
        every = {score.epsilon for score in self.scores.get((case, name), [])} or {None}
        return statistics.fmean(self.mean(case, name, epsilon, metric="cpu_seconds") for epsilon in every)

    def plain(self) -> dict[str, Any]:
        """Case, contestant, ε, then means, standard deviations over seeds and CPU seconds of a fit."""
        table: dict[str, dict[str, dict[str, Any]]] = {}
        for (case, name), scores in self.scores.items():
            by_epsilon = {epsilon: [s for s in scores if s.epsilon == epsilon] for epsilon in dict.fromkeys(s.epsilon for s in scores)}
            rows = {"none" if epsilon is None else f"{epsilon:g}": _summary(group) for epsilon, group in by_epsilon.items()}
            table.setdefault(case, {})[name] = rows
        return table


def _summary(scores: Sequence[Score]) -> dict[str, Any]:
    summary: dict[str, Any] = {"fits": len(scores)}
    for metric in ("auc", "ap"):
        values = [getattr(score, metric) for score in scores]
        summary[metric] = statistics.fmean(values)
        summary[f"{metric}_sd"] = statistics.stdev(values) if len(values) > 1 else 0.0
    summary["cpu_seconds"] = statistics.fmean(score.cpu_seconds for score in scores)
    return summary


def contest(cases: Sequence[str], options: Options, contestants: Sequence[Contestant] = (TACIT, *PEERS)) -> Table:
    """Everyone on every case and seed; all contestants on one split before the next, because the speed of a shared machine drifts.

    Raises:
        Incomplete: if the data, a part of Tacit, or a peer that thresholds need is missing.
    """
    table = Table()
    for case in cases:
        for place in range(options.seeds):
            for contestant in contestants:
                if contestant.name not in table.missing:
                    _enter(table, contestant, CASES[case], place, reuse=options.reuse)
    return table


def _enter(table: Table, contestant: Contestant, case: Case, place: int, *, reuse: bool) -> None:
    """Add a contestant's scores on one split, or that it is missing."""
    if place >= len(contestant.seeds):
        return
    sys.stderr.write(f"{case.name}: {contestant.title}, seed {contestant.seeds[place]}\n")
    try:
        found, versions = compete(contestant, case, contestant.seeds[place], reuse=reuse)
    except (Failed, Unavailable) as error:
        if contestant.name in (TACIT.name, *NEEDED):
            raise Incomplete(f"{contestant.title}: {error}") from error
        table.missing[contestant.name] = str(error)
        sys.stderr.write(f"{case.name}: without {contestant.title}, for {error}\n")
        return
    except (MissingData, NotBuilt) as error:
        raise Incomplete(str(error)) from error
    table.scores.setdefault((case.name, contestant.name), []).extend(found)
    table.versions |= versions if contestant is TACIT else {f"{contestant.name}: {name}": text for name, text in versions.items()}


def cost_checks(table: Table, case: str) -> tuple[Check, ...]:
    """CPU of one fit against DP-EBM's and against XGBoost's at equal rows."""
    ours = table.cpu(case, "tacit")
    return (
        Check("CPU of a fit over DP-EBM's", ours / table.cpu(case, "dp_ebm"), DP_EBM_CPU, at_least=False),
        Check("CPU of a fit over XGBoost-hist's, equal rows", ours / table.cpu(case, "xgboost"), XGBOOST_CPU, at_least=False),
    )


def _measured(table: Table, case: str, *, metric: str, checks: tuple[Check, ...], options: Options, notes: str = "") -> Measured:
    details = {
        "seeds": options.seeds, "delta": 1e-5, "reuse": options.reuse, "notes": notes, "missing": table.missing,
        "cpu_ratios": {name: _cost(table, name) for name in dict.fromkeys(name for name, _ in table.scores)},
        "table": table.plain(), "versions": table.versions,
    }  # fmt: skip
    unit = "AUC at ε=1" if metric == "auc" else "average precision at ε=1"
    ours, theirs = (table.mean(case, name, 1.0, metric=metric) for name in ("tacit", "dp_ebm"))
    return Measured(ours, unit, "DP-EBM at ε=1", theirs, checks, details)


def _cost(table: Table, case: str) -> dict[str, float]:
    """Our CPU seconds over everyone else's."""
    others = (name for known, name in table.scores if known == case and name != "tacit")
    return {name: table.cpu(case, "tacit") / table.cpu(case, name) for name in others}


def adult(options: Options) -> Measured:
    table = contest(["adult"], options)
    limits = {0.1: 0.858, 1.0: 0.895, 8.0: 0.908}
    checks = tuple(Check(f"AUC at ε={e:g}", table.mean("adult", "tacit", e), limit) for e, limit in limits.items())
    halfway = (ADULT_WITHOUT_STRUCTURE + table.mean("adult", "xgboost", None)) / 2
    aim = Check("AUC at ε=8: half of the gap to XGBoost closed", table.mean("adult", "tacit", 8.0), halfway, decides=False)
    return _measured(table, "adult", metric="auc", checks=(*checks, *cost_checks(table, "adult"), aim), options=options)


def nsl_kdd(options: Options) -> Measured:
    table = contest(["nsl_kdd", "nsl_kdd.official"], options)
    limits = {0.1: 0.997, 1.0: 0.999}
    checks = tuple(Check(f"AUC at ε={e:g}, 70/30", table.mean("nsl_kdd", "tacit", e), limit) for e, limit in limits.items())
    official = tuple(
        Check(f"AUC at ε={e:g}, official test file, against DP-EBM", table.mean("nsl_kdd.official", "tacit", e),
              table.mean("nsl_kdd.official", "dp_ebm", e), decides=False)
        for e in EPSILONS
    )  # fmt: skip
    return _measured(table, "nsl_kdd", metric="auc", checks=(*checks, *cost_checks(table, "nsl_kdd"), *official), options=options)


def fraud(options: Options) -> Measured:
    table = contest(["fraud", "fraud.no_terminals"], options)
    precision = partial(table.mean, "fraud", metric="ap")
    halfway = (FRAUD_WITHOUT_STRUCTURE + precision("xgboost", None)) / 2
    checks = (
        Check("average precision at ε=1", precision("tacit", 1.0), 0.38),
        *cost_checks(table, "fraud"),
        *(Check(f"average precision at ε={e:g}", precision("tacit", e), 0.46, decides=False) for e in (1.0, 8.0)),
        Check("average precision at ε=8: half of the gap to XGBoost closed", precision("tacit", 8.0), halfway, decides=False),
    )
    return _measured(table, "fraud", metric="ap", checks=checks, options=options, notes=TERMINALS)


ROWS = (
    Row("utility.adult", "AUC on census income at ε=1, 25 % test", adult),
    Row("utility.nsl_kdd", "AUC on NSL-KDD at ε=1, 70/30, and on its official test file", nsl_kdd),
    Row("utility.fraud", "average precision on card fraud at ε=1, with and without columns built from others' labels", fraud),
)
