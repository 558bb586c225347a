"""Answers are rehearsed before a plan is charged, and a guard whose noise or clipping was tampered with charges nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from tacit import Budget, Relation
from tacit.errors import VerificationError
from tacit.guard import MemoryBooks, Session, rehearse_answers
from tacit.learn import BoostedTreesClassifier


@pytest.fixture(autouse=True)
def _tested_anew() -> Iterator[None]:
    rehearse_answers.cache_clear()
    yield
    rehearse_answers.cache_clear()


@pytest.mark.parametrize("mechanism", ["gaussian", "skellam", "laplace"])
@pytest.mark.parametrize("relation", list(Relation))
def test_sessions_pass(mechanism: str, relation: Relation) -> None:
    found = rehearse_answers(mechanism, relation)
    assert found.passed
    assert {"noise variance", "a hostile unit: length", "the sum is what was asked"} <= set(found.p_values)


def weaker(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Session._noise
    monkeypatch.setattr(Session, "_noise", lambda self, sigma, size: original(self, 0.9 * sigma, size))


def repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    original, kept = Session._noise, []

    def noise(self: Session, sigma: float, size: int) -> Any:
        if not kept:
            kept.append(original(self, sigma, size))
        return kept[0]

    monkeypatch.setattr(Session, "_noise", noise)


def biased(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Session._noise
    monkeypatch.setattr(Session, "_noise", lambda self, sigma, size: original(self, sigma, size) + int(sigma / 2))


def unclipped(monkeypatch: pytest.MonkeyPatch) -> None:
    from tacit.questions import counts

    original = counts.clipped_counts
    monkeypatch.setattr(counts, "clipped_counts", lambda index, units, *, size, clip: original(index, units, size=size, clip=100 * clip))


@pytest.mark.parametrize("sabotage", [weaker, repeated, biased, unclipped])
def test_a_guard_that_was_tampered_with_charges_nothing(sabotage: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    sabotage(monkeypatch)
    ledger = MemoryBooks()
    before = ledger.head
    with pytest.raises(VerificationError, match="not what its plan promises"):
        BoostedTreesClassifier(Budget(1.0, 1e-5), classes=[0, 1], trees=3, ledger=ledger).fit(np.zeros((50, 2)), np.arange(50) % 2)
    assert ledger.head == before


def test_models_keep_what_was_tested() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3))
    model = BoostedTreesClassifier(Budget(2.0, 1e-5), classes=[0, 1], trees=3).fit(X, (X[:, 0] > 0).astype(int)).model_
    assert model.evidence[0]["kind"] == "step self-test"
    assert model.evidence[0]["passed"] is True


def test_false_alarms_are_rare() -> None:
    """A session that keeps its promise fails once in a million: sixty runs show no p-value near that."""
    least = []
    for _ in range(60):
        rehearse_answers.cache_clear()
        found = rehearse_answers("gaussian", Relation.ADD_REMOVE).p_values
        least.append(min(found.values()) * len(found))
    assert min(least) > 1e-7
