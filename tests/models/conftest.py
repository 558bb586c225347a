from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tacit import Guarantee, PrivacyUnit, Relation, Scope, TrustModel
from tacit.domain import Category, Domain, Numeric
from tacit.models import AdditiveModel, LinearModel, Provenance
from tacit.questions import Binning, Frame, Partition, Target, Update
from tacit.questions.linear import design_names

DOMAIN = Domain.of(
    bytes_out=Numeric(0, 1e6), score=Numeric(-3, 3), year=Numeric(1990, 2030), protocol=Category(("tcp", "udp", "icmp")),
    flag=Category(("true", "false")),
)
NUMBERS = Domain.of(a=Numeric(0, 100), b=Numeric(-1, 1), c=Numeric(5, 9))
TARGETS = {
    "binary": Target("label", classes=("benign", "attack")),
    "multiclass": Target("label", classes=("benign", "probe", "flood")),
    "number": Target("label", bounds=(-5.0, 20.0)),
}
LOSSES = {"binary": "logistic", "multiclass": "softmax", "number": "squared"}
KINDS = tuple(TARGETS)

Build = Callable[..., Any]


def some_guarantee() -> Guarantee:
    return Guarantee(0.9, 1e-5, PrivacyUnit("customer", column="id"), Relation.ADD_REMOVE, Scope("payments", "2026-11"), TrustModel.curator(), "gdp")


def some_provenance(**changes: Any) -> Provenance:
    facts = {"plan": "ab" * 32, "ledger_head": "cd" * 32, "charge": 3, "run": "run", "version": "0.1.0", "created": "2026-11-01T00:00:00+00:00"}
    return Provenance(**{**facts, **changes})


def coarse(kind: Any, bins: int) -> NDArray[np.uint8]:
    if isinstance(kind, Category):
        return np.arange(kind.code_count, dtype=np.uint8)
    codes = np.arange(kind.code_count)
    return np.where(codes == 0, 0, 1 + (codes - 1) * (bins - 1) // (kind.code_count - 1)).astype(np.uint8)


def additive(task: str, *, seed: int = 0, trees: int = 12, domain: Domain = DOMAIN, **changes: Any) -> AdditiveModel:
    """A model of random values: an intercept, every feature twice, trees over several features, some over one alone, one tree twice."""
    rng = np.random.default_rng(seed)
    binning = Binning(domain, tuple(coarse(kind, 20) for _, kind in domain.columns))
    frame = Frame(TARGETS[task], LOSSES[task], binning)
    partitions = [Partition((0,), (np.zeros(binning.counts[0], np.uint8),), 1)]
    partitions += [Partition.of_feature(i, bins) for i, bins in enumerate(binning.counts)] * 2
    for tree in range(trees):
        features = rng.choice(len(binning.counts), int(rng.integers(1, 4)), replace=False)
        levels = [int(f) for f in (*features, features[0])]
        partitions.append(Partition.oblivious(levels, [rng.integers(0, 2, binning.counts[f]).astype(bool) for f in levels]))
        if tree == 0:
            partitions.append(partitions[-1])
    values = [rng.integers(-3000, 3000, (p.size, frame.target.outputs)).astype(np.int32) for p in partitions]
    parts: dict[str, Any] = {"guarantee": some_guarantee(), "provenance": some_provenance(), **changes}
    return AdditiveModel(frame, tuple(map(Update, partitions, values)), **parts)


def linear(task: str, *, seed: int = 0, domain: Domain = DOMAIN, **changes: Any) -> LinearModel:
    target = TARGETS[task]
    weights = np.random.default_rng(seed).normal(size=(target.outputs, len(design_names(domain))))
    parts: dict[str, Any] = {"guarantee": some_guarantee(), "provenance": some_provenance(), **changes}
    return LinearModel(target, LOSSES[task], domain, weights, **parts)


def awkward(rows: int, *, seed: int = 1) -> dict[str, Any]:
    """Records as they come: heavy tails, missing, infinite, out of bounds, unknown and untidy."""
    rng = np.random.default_rng(seed)
    size = np.round(rng.lognormal(6, 4, rows), 2)
    size[rng.random(rows) < 0.2] = 0.0
    score = rng.normal(0, 2, rows)
    year = rng.uniform(1980, 2040, rows)
    for column in (size, score, year):
        for odd in (math.nan, math.inf, -math.inf, -0.0, 1e300, -1e300, 5e-324):
            column[rng.random(rows) < 0.03] = odd
    protocol = rng.choice(np.array(["tcp", "udp", "icmp", " tcp ", "TCP", "gre", "", None], dtype=object), rows)
    return {"bytes_out": size, "score": score, "year": year, "protocol": protocol, "flag": rng.random(rows) < 0.5}


@pytest.fixture(params=KINDS)
def task(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["additive", "linear"])
def build(request: pytest.FixtureRequest) -> Build:
    return additive if request.param == "additive" else linear


@pytest.fixture
def build_additive() -> Build:
    return additive


@pytest.fixture
def build_linear() -> Build:
    return linear


@pytest.fixture
def records() -> Callable[..., dict[str, Any]]:
    return awkward


@pytest.fixture
def numbers_alone() -> Domain:
    return NUMBERS


@pytest.fixture
def provenance() -> Callable[..., Provenance]:
    return some_provenance


@pytest.fixture
def guarantee() -> Guarantee:
    return some_guarantee()
