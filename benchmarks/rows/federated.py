"""Four hospitals, one model: what noise that sites share under a masked sum is worth, against every site adding all of it."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.heart import DELTA, FullNoise, Hospitals, hospitals, masked, on_the_wire
from benchmarks.result import Check, Measured, Options, Row
from tacit.federation import LocalFederation, Parties
from tacit.guard import Aggregator, Guard
from tacit.learn import fit_boosted, fit_linear

RUNS = 20
"""For each of the seeds: 100 in all."""
EPSILONS = (0.3, 0.5, 1.0, 3.0)
LEAST = 0.780
MAIN = 0.5
LEARNERS: dict[str, Callable[..., Any]] = {"linear": fit_linear, "boosted trees": fit_boosted}
FEATURES = {"public": False, "standardised": True}


def one_missing(guards: Sequence[Guard]) -> LocalFederation:
    """As `masked`; another site is missing at each step."""
    return LocalFederation(guards, parties=Parties.of(len(guards)), absent=lambda step: (step % len(guards),))


WIRE = "masked rounds"
"""Every message of them; the others draw the same noise of the same guards in one process, which is quicker."""
FEDERATIONS: dict[str, Callable[[Sequence[Guard]], LocalFederation]] = {"masked": masked, "one site missing": one_missing, "full noise": FullNoise}
AGGREGATORS: dict[str, Callable[[Sequence[Guard]], Aggregator]] = {**FEDERATIONS, WIRE: on_the_wire}


def measured(centres: Hospitals, *, epsilon: float, learner: str, federation: str, runs: int) -> dict[str, float]:
    """AUC of so many fits with fresh noise, each with new books."""
    found = []
    for _ in range(runs):
        model = LEARNERS[learner](centres.spec(epsilon), AGGREGATORS[federation](centres.guards(epsilon)))
        found.append(centres.auc(model.margins(centres.together)[:, 0]))
    return {"auc": statistics.fmean(found), "sd": statistics.stdev(found) if runs > 1 else 0.0, "runs": runs}


def planned(*, features: str, runs: int) -> list[tuple[str, float, str, int]]:
    """Learner, ε, federation and number of fits: all of them where a limit is held against, a fifth for what stands beside it."""
    few = max(runs // 5, 1)
    fits = [("linear", MAIN, federation, runs) for federation in FEDERATIONS]
    fits += [("linear", epsilon, federation, few) for epsilon in EPSILONS if epsilon != MAIN for federation in ("masked", "full noise")]
    if features == "public":
        fits += [("linear", MAIN, WIRE, few), ("boosted trees", MAIN, "masked", runs), ("boosted trees", MAIN, "full noise", few)]
        return fits + [("boosted trees", epsilon, "masked", few) for epsilon in EPSILONS if epsilon != MAIN]
    return [*fits, ("boosted trees", MAIN, "masked", few)]


def heart(options: Options) -> Measured:
    table: dict[str, Any] = {}
    for features, standardised in FEATURES.items():
        centres = hospitals(standardised=standardised)
        table[features] = {"no privacy": centres.without_privacy()}
        for learner, epsilon, federation, runs in planned(features=features, runs=RUNS * options.seeds):
            sys.stderr.write(f"{features}: {learner}, ε={epsilon:g}, {federation}\n")
            place = table[features].setdefault(learner, {}).setdefault(f"{epsilon:g}", {})
            place[federation] = measured(centres, epsilon=epsilon, learner=learner, federation=federation, runs=runs)

    def auc(features: str, learner: str, federation: str) -> float:
        return float(table[features][learner][f"{MAIN:g}"][federation]["auc"])

    ours, theirs = auc("public", "linear", "masked"), auc("public", "linear", "full noise")
    checks = (
        Check(f"pooled AUC at ε={MAIN:g}, linear, public bounds", ours, LEAST),
        Check(f"pooled AUC at ε={MAIN:g}, linear, FLamby's standardised features", auc("standardised", "linear", "masked"), LEAST),
        Check(f"pooled AUC at ε={MAIN:g}, linear, public bounds, message for message", auc("public", "linear", WIRE), LEAST),
        Check(f"pooled AUC at ε={MAIN:g}, boosted trees, public bounds", auc("public", "boosted trees", "masked"), LEAST),
        Check(f"pooled AUC at ε={MAIN:g}, linear, public bounds, less that with full noise at each site", ours - theirs, 0.0),
        Check(f"pooled AUC at ε={MAIN:g}, linear, another site missing at each step", auc("public", "linear", "one site missing"), LEAST),
    )  # fmt: skip
    details = {
        "delta": DELTA, "unit": "patient at one site", "parties": str(Parties.of(4)), "auc": table,
        "notes": "Skellam noise of variance σ²/(t - c) at each site, fresh in every run; guards, questions, sampler and accountant as shipped; one "
        "default for all. No privacy: scikit-learn's LogisticRegression as it comes. Standardised features are read off the training patients "
        "and not charged; published figures are about them.",
    }  # fmt: skip
    return Measured(ours, f"pooled AUC at ε={MAIN:g}", "every site adds all the noise", theirs, checks, details)


ROWS = (Row("federated.heart", "pooled AUC of four hospitals at ε=0.5 with shared Skellam noise, against full noise at each site", heart),)
