"""The attack wins on an overfit model, loses on a private one, and never flatters."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from sklearn.ensemble import RandomForestClassifier

from tacit import Budget
from tacit.attacks import (
    Pool,
    attack_membership,
    batched_shadows,
    confidence,
    evaluate,
    exact_interval,
    implied_bound,
    log_odds,
    paired_membership,
    sequential_shadows,
)
from tacit.learn import BoostedTreesClassifier


def pool(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, 12))
    return X, (rng.random(rows) < 0.5).astype(int)


def attacked(budget: Budget, noise: float | None, rows: int = 1600) -> list[object]:
    X, y = pool(rows)
    rng = np.random.default_rng(1)
    member = rng.random(rows) < 0.5
    fit = BoostedTreesClassifier(budget, classes=[0, 1], trees=150).fit(X[member], y[member])
    model, table = fit.model_, {f"x{i}": pa.array(X[:, i]) for i in range(X.shape[1])}
    bins = model.frame.binning.bins(table, rows)
    membership = paired_membership(rows, 16, rng=rng)
    shadows = batched_shadows(model, Pool(bins, y), membership=membership, noise_multiplier=noise, rng=rng)
    target = confidence(model.margins(table)[:, 0], y)
    guarantee = fit.guarantee_ if budget.epsilon < 100 else None
    return list(attack_membership(target, confidence(shadows, y), membership, is_member=member, guarantee=guarantee))


def test_it_wins_on_an_overfit_model() -> None:
    X, y = pool(800)
    rng = np.random.default_rng(6)
    member, membership = rng.random(800) < 0.5, paired_membership(800, 16, rng=rng)

    def train(mask: np.ndarray) -> object:
        fit = RandomForestClassifier(30, random_state=0).fit(X[mask], y[mask])
        return lambda: log_odds(fit.predict_proba(X)[:, 1] * 0.98 + 0.01)

    shadows = confidence(sequential_shadows(train, membership), y)
    found = attack_membership(confidence(train(member)(), y), shadows, membership, is_member=member)
    assert max(result.at(0.01).low for result in found) > 0.05
    assert all(result.verdict == "leak found" for result in found)


def test_the_bound_holds_on_a_private_model() -> None:
    for result in attacked(Budget(1.0, 1e-5), 60.0):
        rate = result.at(0.01)
        low, _ = exact_interval(round(rate.tpr * result.members), result.members, level=1 - 1e-9)
        assert low <= rate.bound


def test_shadows_at_once_equal_shadows_one_by_one() -> None:
    X, y = pool(300)
    fit = BoostedTreesClassifier(Budget(12, 1e-5), classes=[0, 1], trees=20).fit(X, y)
    bins = fit.model_.frame.binning.bins({f"x{i}": pa.array(X[:, i]) for i in range(12)}, 300)
    membership = paired_membership(300, 4, rng=np.random.default_rng(2))
    together = batched_shadows(fit.model_, Pool(bins, y), membership=membership, noise_multiplier=None, rng=np.random.default_rng(3))
    for s in range(4):
        alone = batched_shadows(fit.model_, Pool(bins, y), membership=membership[:, [s]], noise_multiplier=None, rng=np.random.default_rng(3))
        np.testing.assert_allclose(together[:, s], alone[:, 0], atol=1e-4)


def test_a_useless_score_reads_chance() -> None:
    rng = np.random.default_rng(4)
    result = evaluate("null", rng.normal(size=4000), rng.random(4000) < 0.5, shadows=0)
    assert result.auc_low < 0.5 < result.auc_high
    assert result.at(0.01).low <= 0.01
    assert not result.at(0.001).resolvable


def test_a_constant_score_is_no_attack() -> None:
    result = evaluate("ties", np.zeros(2000), np.arange(2000) % 2 == 0, shadows=0)
    assert result.auc == pytest.approx(0.5)
    assert result.at(0.01).tpr < 0.04


def test_exact_intervals_cover() -> None:
    rng = np.random.default_rng(5)
    hits = rng.binomial(200, 0.03, 2000)
    covered = [low <= 0.03 <= high for low, high in (exact_interval(int(h), 200) for h in hits)]
    assert np.mean(covered) >= 0.95


def test_the_bound_grows_with_the_false_positive_rate() -> None:
    fit = BoostedTreesClassifier(Budget(1, 1e-5), classes=[0, 1], trees=5).fit(*pool(500))
    bounds = [implied_bound(fpr, fit.guarantee_) for fpr in (0.001, 0.01, 0.1)]
    assert bounds == sorted(bounds)
    assert all(b > f for b, f in zip(bounds, (0.001, 0.01, 0.1), strict=True))


def test_a_claim_is_called_inconsistent_only_where_chance_is_out_of_the_question() -> None:
    """An attacker exactly on the bound is called inconsistent in one run of a thousand at most, one far above it always."""
    rng = np.random.default_rng(8)
    fit = BoostedTreesClassifier(Budget(1, 1e-5), classes=[0, 1], trees=5).fit(*pool(500))
    bound = implied_bound(0.01, fit.guarantee_)
    assert bound is not None
    found = []
    for rate in (bound, 8 * bound):
        verdicts = []
        for _ in range(400):
            scores = np.concatenate([rng.random(3_000) < rate, rng.random(3_000) < 0.01]).astype(float)
            result = evaluate("", scores + rng.random(6_000) / 10, np.arange(6_000) < 3_000, shadows=2, guarantee=fit.guarantee_)
            verdicts.append(result.verdict == "inconsistent with the claim")
        found.append(sum(verdicts))
    assert found[0] <= 4
    assert found[1] == 400
