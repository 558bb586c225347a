"""A network trained by questions: with a curator, with sites that share noise, and over masked rounds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from tacit.domain import Category, Domain, Numeric
from tacit.errors import UsageError
from tacit.federation import LocalFederation
from tacit.guarantee import Budget, PrivacyUnit, Relation
from tacit.guard import Aggregator, Curator, Guard, Limits, MemoryBooks, Policy, Records
from tacit.learn import LearnSpec, SharedShape, TargetSpec, fit_network, fit_shared_network

BUDGET = Budget(2.0, 1e-5)
DOMAIN = Domain.of(a=Numeric(-4, 4), b=Numeric(-4, 4), c=Category(("x", "y")))
SPEC = LearnSpec(("a", "b", "c"), TargetSpec("y", classes=("0", "1")), BUDGET, domain=DOMAIN)


def rings(rows: int, seed: int) -> pa.Table:
    """What no linear model can tell apart."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, rows))
    inside = np.hypot(a, b) + rng.normal(0, 0.1, rows) < 1.1
    return pa.table({"a": a, "b": b, "c": rng.choice(["x", "y"], rows).tolist(), "y": inside.astype(int).astype(str).tolist()})


def guard(table: pa.Table, site: int = 0, budget: Budget = BUDGET) -> Guard:
    policy = Policy(f"site-{site}", PrivacyUnit(), Relation.ADD_REMOVE, budget, limits=Limits(0))
    return Guard(Records.open(table), policy=policy, ledger=MemoryBooks())


def aggregators(table: pa.Table) -> Iterator[Aggregator]:
    yield Curator(guard(table))
    yield LocalFederation([guard(table.take(np.arange(site, len(table), 3)), site) for site in range(3)])


def auc(model: Any, table: pa.Table) -> float:
    return float(roc_auc_score(np.array(table["y"].to_pylist()) == "1", model.predict_proba(table)[:, 1]))


@pytest.mark.slow
def test_it_learns_what_is_not_linear_with_a_curator_and_with_three_sites() -> None:
    train, test = rings(12_000, 1), rings(4_000, 2)
    for aggregator in aggregators(train):
        model = fit_shared_network(SPEC, aggregator)
        assert auc(model, test) > 0.9
        assert model.guarantee.holds
        assert model.guarantee.epsilon <= BUDGET.epsilon


def test_the_plan_is_one_charge_and_the_noise_is_what_was_planned() -> None:
    found = guard(rings(400, 1))
    fit_shared_network(SPEC, Curator(found), SharedShape(hidden=(3,), steps=2))
    charges = found.ledger.find("charge", found.scope)
    assert [entry.body["plan"]["steps"][-1]["kind"] for entry in charges] == ["count@1", "dense@1"]
    assert charges[1].body["plan"]["steps"][-1]["repeats"] == 2


@pytest.mark.parametrize("wrong", [{"hidden": (0,)}, {"hidden": (4096,)}, {"steps": 0}, {"clip": 0.0}, {"averaging": 0.0}, {"learning_rate": -1.0}])
def test_shapes_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="Expected"):
        SharedShape(**wrong)


def test_a_network_of_pytorch_names_the_way_for_several_sites() -> None:
    sites: Sequence[Guard] = [guard(rings(50, site), site) for site in range(3)]
    with pytest.raises(UsageError, match="fit_shared_network"):
        fit_network(SPEC, LocalFederation(sites))  # type: ignore[arg-type]
