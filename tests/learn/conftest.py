from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tacit import Budget, Guarantee, PrivacyUnit, Relation, Scope, TrustModel
from tacit.domain import Category, Domain, Numeric
from tacit.guard import Cost, Guard, Limits, MemoryBooks, Plan, Policy, Records
from tacit.learn import BoostingShape, FullBatchShape, LearnSpec, TargetSpec, fit_boosted, fit_full_batch, fit_linear
from tacit.questions import GRID, Batch, Select, SessionCache

NAMES = ("x", "z", "noise", "kind")
DOMAIN = Domain.of(x=Numeric(-4, 4), z=Numeric(-4, 4), noise=Numeric(0, 100), kind=Category(("a", "b", "c")))
SMALL = BoostingShape(passes=2, trees=30)

Fit = Callable[..., Any]
LEARNERS: dict[str, Fit] = {
    "boosted": lambda spec, aggregator: fit_boosted(spec, aggregator, SMALL),
    "full batch": lambda spec, aggregator: fit_full_batch(spec, aggregator, FullBatchShape(iterations=25, trees=3)),
    "linear": lambda spec, aggregator: fit_linear(spec, aggregator, iterations=25),
}
TASKS: dict[str, TargetSpec] = {
    "two classes": TargetSpec("label", classes=("good", "bad")),
    "one against all": TargetSpec("label", positive="bad"),
    "three classes": TargetSpec("level", classes=("low", "mid", "high")),
    "a number": TargetSpec("amount", task="predict", bounds=(-6.0, 6.0)),
}


def easy(rows: int, *, seed: int = 0) -> dict[str, Any]:
    """Records in which x and kind say a lot, z a little, noise nothing; users with five rows each."""
    rng = np.random.default_rng(seed)
    x, z = rng.normal(size=(2, rows))
    kind = rng.choice(["a", "b", "c"], rows)
    score = 1.5 * x + 0.5 * z + np.select([kind == "a", kind == "b"], [1.0, -1.0], 0.0)
    noisy = score + rng.logistic(size=rows) * 0.5
    return {
        "x": x, "z": z, "noise": rng.exponential(10, rows), "kind": kind.astype(object), "user": np.arange(rows) // 5,
        "label": np.where(noisy > 0, "bad", "good").astype(object), "amount": noisy,
        "level": np.select([noisy < -1, noisy < 1], ["low", "mid"], "high").astype(object),
    }


def spec_of(task: str, *, budget: Budget | None = None, **changes: Any) -> LearnSpec:
    parts: dict[str, Any] = {"domain": DOMAIN, "run": "fixed", **changes}
    return LearnSpec(NAMES, TASKS[task], budget or Budget(3.0, 1e-5), **parts)


def guard_of(data: dict[str, Any], *, budget: Budget, by: str | None = None, **changes: Any) -> Guard:
    """A guard with a ledger in memory."""
    unit = PrivacyUnit() if by is None else PrivacyUnit(by, column=by)
    parts: dict[str, Any] = {"relation": Relation.ADD_REMOVE, "rows_per_unit": 1 if by is None else 5, "limits": Limits(minimum_units=0), **changes}
    policy = Policy(dataset="records", unit=unit, budget=budget, **parts)
    return Guard(Records.open(pa.table({name: pa.array(column) for name, column in data.items()}), unit=unit), policy=policy, ledger=MemoryBooks())


@dataclass
class InMemory:
    """An aggregator with no guard behind it: sums of records in memory, with noise of the planned size times ``noise``."""

    batches_: tuple[Batch, ...]
    count: int
    noise: float = 0.0
    unit: PrivacyUnit = field(default_factory=PrivacyUnit)
    relation: Relation = Relation.ADD_REMOVE
    rows_per_unit: int = 1
    mechanism: str = "gaussian"
    deterministic: bool = False
    count_cost: Cost = field(default_factory=lambda: Cost(None, 0.0))
    asked: list[tuple[int, Any]] = field(default_factory=list)
    answered: list[Any] = field(default_factory=list)
    plans: list[Plan] = field(default_factory=list)
    closed: int = 0

    @classmethod
    def of(cls, data: dict[str, Any], **changes: Any) -> InMemory:
        rows = len(next(iter(data.values())))
        columns = {name: pa.array(column) for name, column in data.items()}
        return cls((Batch(columns, rows),), changes.pop("count", rows), **changes)

    def size(self) -> int:
        return self.count

    def open(self, plan: Plan) -> InMemory:
        self.plans.append(plan)
        self._cache, self._rng = SessionCache(), np.random.default_rng(7)
        return self

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[Batch]:
        return iter(self.batches_)

    def ask(self, step: int, question: Any, *, model: Any = None) -> Any:
        total = question.evaluate(self, self._cache)
        sigma = self.noise * self.plans[-1].step(step).noise_multiplier * question.bounds(self.relation).l2
        return self._note(step, question, total + np.rint(self._rng.normal(size=len(total)) * sigma).astype(np.int64))

    def select(self, step: int, question: Select) -> dict[str, tuple[str, ...]]:
        counts = question.count(self, self._cache)
        common = {name: [key for key, count in Counter(found).most_common() if count > 5 * GRID] for name, found in counts.items()}
        return self._note(step, question, {name: tuple(keys) for name, keys in common.items()})

    def _note(self, step: int, question: Any, answer: Any) -> Any:
        self.asked.append((step, question))
        self.answered.append(answer)
        return answer

    @property
    def guarantee(self) -> Guarantee:
        return Guarantee(math.inf, 1e-5, self.unit, self.relation, Scope("memory"), TrustModel.curator(), "none")

    @property
    def charge(self) -> tuple[int, str]:
        return 1, "00" * 32

    def close(self) -> None:
        self.closed += 1


@dataclass
class Replay(InMemory):
    """An aggregator that has no records at all: it repeats answers given before."""

    answers: list[Any] = field(default_factory=list)

    def ask(self, step: int, question: Any, *, model: Any = None) -> Any:
        return self._note(step, question, self.answers[len(self.asked)])

    def select(self, step: int, question: Select) -> dict[str, tuple[str, ...]]:
        return self.ask(step, question)  # type: ignore[no-any-return]


@pytest.fixture(params=list(LEARNERS))
def learner(request: pytest.FixtureRequest) -> Fit:
    return LEARNERS[request.param]


@pytest.fixture(scope="session")
def learners() -> dict[str, Fit]:
    return LEARNERS


@pytest.fixture(params=list(TASKS))
def task(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def easy_records() -> Callable[..., dict[str, Any]]:
    return easy


@pytest.fixture(scope="session")
def spec() -> Callable[..., LearnSpec]:
    return spec_of


@pytest.fixture(scope="session")
def guard() -> Callable[..., Guard]:
    return guard_of


@pytest.fixture(scope="session")
def in_memory() -> type[InMemory]:
    return InMemory


@pytest.fixture(scope="session")
def replay() -> type[Replay]:
    return Replay
