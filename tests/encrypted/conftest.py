from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

from tacit.crypto import SealingKey
from tacit.domain import Domain, Numeric
from tacit.encrypted import Client, Compiled, EncryptedScorer, Plan, PublicModel, SecretKey, Settings, compile
from tacit.encrypted.columns import DesignColumns
from tacit.encrypted.plan import choose
from tacit.guarantee import Budget
from tacit.learn import BoostedTreesClassifier, LinearClassifier
from tacit.questions import Target


def lacking(*modules: str) -> str | None:
    """The first of some modules that cannot be imported."""
    for name in modules:
        try:
            importlib.import_module(name)
        except ImportError:
            return name
    return None


class Skipped(pytest.Module):
    """A file of tests that is not even imported, because what it needs is not installed."""

    reason = ""

    def collect(self) -> Any:
        pytest.skip(self.reason)


def skipped(module_path: Path, parent: pytest.Collector, reason: str) -> pytest.Module:
    made: Skipped = Skipped.from_parent(parent, path=module_path)
    made.reason = reason
    return made


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    return skipped(module_path, parent, "needs the extra «encrypted»") if lacking("seal") else None


class Patients:
    """Breast cancer records of scikit-learn; bounds as they are published with them, widened."""

    def __init__(self) -> None:
        data = load_breast_cancer()
        names = [name.replace(" ", "_") for name in data.feature_names]
        lower, upper = data.data.min(axis=0) * 0.5, data.data.max(axis=0) * 1.5
        self.domain = Domain.of(**{n: Numeric(float(low), float(high)) for n, low, high in zip(names, lower, upper, strict=True)})
        train, test, self.y_train, self.y_test = train_test_split(data.data, data.target, test_size=0.3, random_state=0, stratify=data.target)
        self.train = {name: train[:, place] for place, name in enumerate(names)}
        self.test = {name: test[:, place] for place, name in enumerate(names)}

    def some(self, rows: int) -> dict[str, Any]:
        return {name: np.resize(values, rows) for name, values in self.test.items()}


class Parties:
    """A compiled model with its client and its server."""

    def __init__(self, compiled: Compiled, *, budget: int | None = None) -> None:
        self.compiled, self.key = compiled, SecretKey.generate(compiled.plan.parameters)
        self.client, self.scorer = Client(compiled.public, self.key), compiled.scorer(budget=budget)
        self.scorer.admit(self.key.public)

    def score(self, data: Any) -> Any:
        return self.client.open(self.scorer.score(self.client.request(data)))


def parties_for(weights: Any, bias: Any, name: str, packing: str) -> tuple[Client, EncryptedScorer, Plan]:
    columns = weights.shape[1]
    domain = Domain.of(**{f"x{place}": Numeric(-1.0, 1.0) for place in range(columns)})
    design = DesignColumns(domain)
    span = design.reach(weights) + int(np.abs(bias).max())
    plan = choose(weights, span, name=name, packing=packing)
    sealing = SealingKey.generate()
    public = PublicModel(design, _target(len(weights)), plan, 1.0, 0.0, sealing.public)
    key = SecretKey.generate(plan.parameters)
    scorer = EncryptedScorer(public, weights, bias, sealing=sealing)
    scorer.admit(key.public)
    return Client(public, key), scorer, plan


def _target(outputs: int) -> Target:
    return Target("y", tuple("abcdefgh"[: 2 if outputs == 1 else outputs]))


@pytest.fixture(scope="session")
def patients() -> Patients:
    return Patients()


@pytest.fixture(scope="session")
def linear(patients: Patients) -> Any:
    budget = Budget(8, 1e-5)
    return LinearClassifier(budget=budget, domain=patients.domain, classes=[0, 1]).fit(patients.train, patients.y_train).model_


@pytest.fixture(scope="session")
def trees(patients: Patients) -> Any:
    budget = Budget(8, 1e-5)
    return BoostedTreesClassifier(budget=budget, domain=patients.domain, classes=[0, 1]).fit(patients.train, patients.y_train).model_


@pytest.fixture(scope="session")
def compiled(linear: Any, patients: Patients) -> Compiled:
    return compile(linear, patients.test, settings=Settings(packing="single"))


@pytest.fixture
def parties(compiled: Compiled) -> Parties:
    return Parties(compiled)

