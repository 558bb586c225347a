"""Means of bounded numbers, missing values left out, with noise that is what it is said to be."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tacit import Budget, PrivacyUnit, Relation
from tacit.domain import Category, Domain, Numeric
from tacit.errors import UsageError
from tacit.federation import LocalFederation, Parties
from tacit.guard import Curator, Guard, Limits, MemoryBooks, Policy, Records
from tacit.learn import fit_means

BUDGET = Budget(1.0, 1e-5)
DOMAIN = Domain.of(pressure=Numeric(80, 220), depth=Numeric(-3, 7), share=Numeric(0, 1))


def table(rows: int, seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    share = [None if missing else float(value) for missing, value in zip(rng.random(rows) < 0.4, rng.beta(2, 6, rows), strict=True)]
    who = [str(row // 3) for row in range(rows)]
    return pa.table({"pressure": rng.normal(135, 15, rows), "depth": rng.normal(1, 1, rows), "share": share, "who": who})


def guard(data: pa.Table, **changes: Any) -> Guard:
    unit = changes.pop("unit", PrivacyUnit("patient"))
    policy = Policy("clinic", unit=unit, relation=Relation.ADD_REMOVE, budget=BUDGET, limits=Limits(0), **changes)
    return Guard(Records.open(data, unit=unit), policy=policy, ledger=MemoryBooks())


def truth(data: pa.Table) -> dict[str, float]:
    return {name: float(np.nanmean(np.array(data[name].to_pylist(), np.float64))) for name in DOMAIN.names}


@pytest.mark.parametrize("sites", [1, 4])
def test_means_are_right_within_their_noise(sites: int) -> None:
    data = table(20_000)
    parts = [guard(data.take(np.arange(site, len(data), sites))) for site in range(sites)]
    found = fit_means(DOMAIN, Curator(parts[0]) if sites == 1 else LocalFederation(parts, parties=Parties.of(sites)), budget=BUDGET)
    for name, expected in truth(data).items():
        assert abs(found.values[name] - expected) < 6.5 * found.deviations[name] + 1e-3 * abs(expected)
    assert found.deviations["pressure"] < 1.0
    assert found.counts["share"] == pytest.approx(12_000, abs=800)
    assert found.guarantee.epsilon <= BUDGET.epsilon


def test_the_noise_is_as_large_as_stated() -> None:
    data = table(600)
    expected = truth(data)
    found = [fit_means(DOMAIN, Curator(guard(data)), budget=BUDGET) for _ in range(150)]
    for name in DOMAIN.names:
        ratios = [(one.values[name] - expected[name]) / one.deviations[name] for one in found]
        assert 0.6 < float(np.sqrt(np.mean(np.square(ratios)))) < 1.5, name


def test_units_with_several_rows_are_clipped_together() -> None:
    unit = PrivacyUnit("patient", column="who")
    found = fit_means(DOMAIN, Curator(guard(table(6_000), unit=unit, rows_per_unit=3)), budget=BUDGET)
    assert math.isfinite(found.values["pressure"])
    assert 80 <= found.values["pressure"] <= 220


def test_a_category_has_no_mean() -> None:
    with pytest.raises(UsageError, match="«kind» is declared as a category"):
        fit_means(Domain.of(kind=Category(("a",))), Curator(guard(table(10))), budget=BUDGET)
