"""The step that trains networks is tested before it meets a record, and one that was tampered with trains nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: make torch")

from tacit import Budget, Relation  # noqa: E402
from tacit.errors import VerificationError  # noqa: E402
from tacit.guard import FULL, MemoryBooks, PlanStep, Sampler  # noqa: E402
from tacit.learn import NetworkClassifier, NetworkShape  # noqa: E402
from tacit.networks import BookKeeping, TrainingPlan, private_step, rehearsal  # noqa: E402
from tacit.networks.rehearsal import rehearse  # noqa: E402
from tacit.networks.release import Independent  # noqa: E402
from tacit.networks.step import PrivateStep  # noqa: E402


@pytest.fixture(autouse=True)
def _tested_anew() -> Iterator[None]:
    rehearsal._rehearsed.cache_clear()
    yield
    rehearsal._rehearsed.cache_clear()


def step_of(multiplier: float, sampler: Sampler = FULL) -> PlanStep:
    return PlanStep("network@1", 10, multiplier, 100, sampler=sampler)


@pytest.mark.parametrize(("clip", "multiplier", "relation", "sampler"), [
    (1.0, 1.0, Relation.ADD_REMOVE, Sampler.poisson(0.01)), (0.1, 0.4, Relation.ADD_REMOVE, Sampler.poisson(0.2)), (7.0, 3.0, Relation.REPLACE, FULL),
    (1.0, 12.0, Relation.ZERO_OUT, Sampler.truncated(0.05, records=2_000)),
])
def test_the_engine_passes(clip: float, multiplier: float, relation: Relation, sampler: Sampler) -> None:
    found = rehearse(step_of(multiplier, sampler), clip, relation)
    assert found.passed
    assert len(found.p_values) >= 36
    assert ("sampler: rate" in found.p_values) == (sampler is not FULL)


def scaled_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Independent.__init__
    monkeypatch.setattr(Independent, "__init__", lambda self, sigma, source: original(self, 0.95 * sigma, source))


def no_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    original = BookKeeping.__init__

    def wide(self: Any, model: Any, loss: Any, *, clip: float, **rest: Any) -> None:
        original(self, model, loss, clip=1e6 * clip, **rest)

    monkeypatch.setattr(BookKeeping, "__init__", wide)


def divided_by_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    original = PrivateStep.__call__

    def call(self: PrivateStep) -> None:
        original(self)
        self.engine.flat.gradient.mul_(self.plan.expected_batch / max(1, len(self._y)))

    monkeypatch.setattr(PrivateStep, "__call__", call)


def repeated_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    def call(self: Independent, total: Any) -> Any:
        if not hasattr(self, "kept"):
            self.kept = torch.randn(total.shape) * self.sigma
        return (total + self.kept).float()

    monkeypatch.setattr(Independent, "__call__", call)


def twice_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    original = rehearsal.Drawer

    def drawer(sampler: Sampler, units: int, source: Any) -> Any:
        return original(Sampler.poisson(min(1.0, 2 * sampler.rate)), units, source)

    monkeypatch.setattr(rehearsal, "Drawer", drawer)


@pytest.mark.parametrize("sabotage", [scaled_noise, no_clip, divided_by_the_batch, repeated_noise, twice_the_rate])
def test_a_step_that_was_tampered_with_is_refused(sabotage: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    sabotage(monkeypatch)
    with pytest.raises(VerificationError, match="not what its plan promises"):
        rehearse(step_of(1.0, Sampler.poisson(0.01)), 1.3, Relation.ADD_REMOVE)


def test_nothing_is_charged_for_a_step_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    scaled_noise(monkeypatch)
    ledger, model = MemoryBooks(), torch.nn.Linear(3, 1)
    plan = TrainingPlan.for_budget(Budget(3.0, 1e-5), units=100, batch=10, steps=5)
    before = ledger.head
    with pytest.raises(VerificationError):
        private_step(
            model, lambda out, y: (out[:, 0] - y) ** 2, torch.optim.SGD(model.parameters(), 0.1), plan, data=(torch.zeros(100, 3), torch.zeros(100)),
            ledger=ledger,
        )
    assert ledger.head == before


def test_the_result_stays_with_the_model() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 3))
    fit = NetworkClassifier(Budget(3.0, 1e-5), classes=[0, 1], shape=NetworkShape(steps=5)).fit(X, (X[:, 0] > 0).astype(int))
    evidence = fit.model_.evidence[0]
    assert evidence["kind"] == "step self-test"
    assert evidence["passed"] is True
    assert evidence["tests"] >= 36


def test_it_is_fast_and_done_once() -> None:
    import time

    before = time.process_time()
    rehearse(step_of(1.0, Sampler.poisson(0.01)), 1.0, Relation.ADD_REMOVE)
    first = time.process_time() - before
    rehearse(step_of(1.0, Sampler.poisson(0.01)), 1.0, Relation.ADD_REMOVE)
    assert time.process_time() - before - first < 0.05
    assert first < 4
