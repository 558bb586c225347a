"""What plans are charged, on a fine grid, and by Rényi divergences. ``python -m benchmarks.workers.accounting``."""

from __future__ import annotations

import json
import sys
from typing import Any

from benchmarks import DELTA
from tacit import Budget, PrivacyUnit, Relation
from tacit.guard import Correlation, Filter, Plan, PlanStep, Sampler, plan_cost
from tacit.guard.accounting import EXTRAS_SHARE
from tacit.guard.subsampling import pld_epsilon, renyi_epsilon

FINE = 1e-5
CASES: tuple[tuple[str, float, int, Sampler, Correlation | None], ...] = (
    ("plain, 10,000 steps", 1.0, 10_000, Sampler.poisson(0.01), None),
    ("plain, 1,000 steps", 0.75, 1_000, Sampler.poisson(512 / 50_000), None),
    ("truncated", 1.0, 1_000, Sampler.truncated(512 / 50_000, records=50_000), None),
    ("banded, 16 bands", 1.7, 1_000, Sampler.cyclic(16 * 512 / 50_000, cycle=16), Correlation.banded(16, 1_000)),
    ("tree, 10 passes", 10.0, 1_000, Sampler.passes(100), Correlation.tree(100, steps=1_000)),
)


def measured(name: str, noise: float, steps: int, sampler: Sampler, correlation: Correlation | None) -> dict[str, Any]:
    relation = Relation.ZERO_OUT if sampler.cap else Relation.ADD_REMOVE
    step = PlanStep("network@1", steps, noise, 1000, sampler=sampler, correlation=correlation)
    cost = plan_cost(Plan(name, PrivacyUnit(), relation, (step,)))
    # The charge keeps a tenth of δ for the samplers of noise, so that the event is charged at the rest: all are compared there.
    delta = (1 - EXTRAS_SHARE) * DELTA
    charged = Filter(Budget(20.0, DELTA), relation, "single").epsilon([cost])
    count = -(-steps // sampler.cycle)
    # Cutting a sample six deviations above its mean cannot lower ε: the plain sampler's bounds hold for the truncated one from below.
    fine_event = plan_cost(Plan(name, PrivacyUnit(), Relation.ADD_REMOVE, (PlanStep("network@1", count, noise, 1000, sampler=plain(sampler)),))).event
    return {
        "name": name, "charged": charged, "fine": pld_epsilon(fine_event, delta, Relation.ADD_REMOVE, grid=FINE),
        "renyi": renyi_epsilon(fine_event, delta, Relation.ADD_REMOVE), "case": [sampler.rate, noise, count, delta],
    }  # fmt: skip


def plain(sampler: Sampler) -> Sampler:
    """The sampler of one unit's participations, without cycles and caps."""
    return Sampler() if sampler.rate == 1 else Sampler("poisson", sampler.rate)


if __name__ == "__main__":
    sys.stdout.write(json.dumps([measured(*case) for case in CASES]))
