"""Our own bounds are audited: each holds its level where it must, and is tight where it says so."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tacit.attacks import audit_canaries, exposure, lower_bounds
from tacit.errors import UsageError
from tacit.guarantee import Guarantee, PrivacyUnit, Relation, Scope, TrustModel
from tacit.guard import gdp_mu

DELTA = 1e-5
Scores = Callable[[np.random.Generator, int, int], tuple[np.ndarray, np.ndarray]]


def gaussian(epsilon: float) -> Scores:
    mu = gdp_mu(epsilon, DELTA) if epsilon else 0.0
    return lambda rng, k, n: (rng.normal(mu, 1, k), rng.normal(0, 1, n))


def flips(epsilon: float) -> Scores:
    """Randomised response: ε is exactly what the error rates say, and no Gaussian curve describes it."""
    kept = 1 / (1 + np.exp(-epsilon))
    return lambda rng, k, n: ((rng.random(k) < kept).astype(float), (rng.random(n) > kept).astype(float))


def drawn(scores: Scores, canaries: int, draws: int, seed: int = 0) -> tuple[np.ndarray, tuple[bool, ...]]:
    rng, found = np.random.default_rng(seed), []
    for number in range(draws):
        inside = int(rng.binomial(canaries, 0.5))
        found.append(lower_bounds(*scores(rng, inside, canaries - inside), DELTA, seed=number))
    return np.array([[bound.epsilon for bound in bounds] for bounds in found]), tuple(bound.any_mechanism for bound in found[0])


@pytest.mark.parametrize("epsilon", [0.0, 1.0, 4.0, 8.0])
@pytest.mark.parametrize("canaries", [100, 600])
def test_every_bound_holds_its_level_on_gaussian_noise(epsilon: float, canaries: int) -> None:
    """Of 300 draws at most 5 % and what chance adds may lie above the true value; a bound false in one of seven draws is caught."""
    found, _ = drawn(gaussian(epsilon), canaries, 300)
    wrong = (found > epsilon + 1e-9).sum(axis=0)
    assert (wrong <= 32).all(), wrong


@pytest.mark.parametrize("epsilon", [0.5, 2.0])
def test_bounds_for_any_mechanism_hold_on_another_one(epsilon: float) -> None:
    found, general = drawn(flips(epsilon), 400, 300)
    wrong = (found > epsilon + 1e-9).sum(axis=0)
    assert (wrong[list(general)] <= 32).all()
    assert not all(general)


def test_bounds_are_tight_where_the_assumption_holds() -> None:
    """The figures that other auditors of one run reach at ε = 8 on a thousand canaries: 2 by counting, 3 and 6 by the curve."""
    means = drawn(gaussian(8.0), 1_000, 8)[0].mean(axis=0)
    assert means[0] > 1.4
    assert means[1] > 2.0
    assert means[2] >= 3.0
    assert means[3] > 4.5
    assert means[4] >= 6.0


def test_scores_that_tell_nothing_bound_nothing() -> None:
    rng = np.random.default_rng(1)
    assert max(bound.epsilon for bound in lower_bounds(np.zeros(50), np.zeros(50), DELTA)) == 0
    assert max(bound.epsilon for bound in lower_bounds(rng.normal(-3, 1, 200), rng.normal(0, 1, 200), DELTA)) < 6.5


def test_perfect_scores_are_bounded_by_how_many_there_are() -> None:
    small, large = (lower_bounds(np.ones(n) + np.arange(n), -np.ones(n) - np.arange(n), DELTA)[0].epsilon for n in (30, 300))
    assert 0.5 < small < large < 6


def test_a_claim_is_contradicted_only_by_what_holds_for_any_mechanism() -> None:
    rng = np.random.default_rng(2)
    claim = Guarantee(1.0, DELTA, PrivacyUnit(), Relation.ADD_REMOVE, Scope("d"), TrustModel.curator(), "pld")
    mu = gdp_mu(16.0, DELTA)
    loud = audit_canaries(rng.normal(mu, 1, 500), rng.normal(0, 1, 500), claim=claim)
    assert loud.verdict == "inconsistent with the claim"
    mild = audit_canaries(rng.normal(gdp_mu(3.0, DELTA), 1, 500), rng.normal(0, 1, 500), claim=claim)
    assert mild.verdict.startswith("inconsistent with the claim, if")
    true = audit_canaries(rng.normal(gdp_mu(1.0, DELTA), 1, 500), rng.normal(0, 1, 500), claim=claim)
    assert true.verdict.startswith("no contradiction")
    assert true.to_dict()["released"] is False
    assert all(bound.assumption for bound in true.bounds)


def test_what_cannot_be_bounded_is_refused() -> None:
    with pytest.raises(UsageError, match="at least 20 canaries"):
        lower_bounds(np.zeros(5), np.zeros(50), DELTA)
    with pytest.raises(UsageError, match="at least 20 canaries"):
        lower_bounds(np.full(50, np.nan), np.zeros(50), DELTA)
    with pytest.raises(UsageError, match="delta"):
        lower_bounds(np.zeros(50), np.zeros(50), 0.0)


def test_a_loop_is_estimated_close_to_its_accountant_and_a_weaker_one_contradicts(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="needs PyTorch: make torch")
    from tacit import Budget
    from tacit.attacks import audit_loop
    from tacit.guard import Sampler
    from tacit.networks import TrainingPlan
    from tacit.networks.release import Independent

    plan = TrainingPlan(Budget(8.0, 1e-5), 100, Sampler.poisson(0.01), 50, 4.0, clip=0.7)
    audit = audit_loop(plan)
    assert audit.claim is not None
    assert 0.5 * audit.claim < audit.bounds[-1].epsilon < audit.claim * 1.3
    assert audit.verdict.startswith("no contradiction")
    original = Independent.__init__
    monkeypatch.setattr(Independent, "__init__", lambda self, sigma, source: original(self, 0.5 * sigma, source))
    assert audit_loop(plan).verdict.startswith("inconsistent with the claim")


def test_many_runs_of_a_mechanism_without_noise_contradict_its_claim() -> None:
    from tacit.attacks import audit_runs

    claim = Guarantee(0.5, DELTA, PrivacyUnit(), Relation.ADD_REMOVE, Scope("d"), TrustModel.curator(), "pld")
    loud = audit_runs(lambda joined, seed: 100.0 * joined + np.random.default_rng(seed).normal(), runs=60, claim=claim)
    assert loud.verdict == "inconsistent with the claim"
    quiet = audit_runs(lambda joined, seed: gdp_mu(0.5, DELTA) * joined + np.random.default_rng(seed).normal(), runs=60, claim=claim)
    assert quiet.verdict.startswith("no contradiction")
    with pytest.raises(UsageError, match="at least 20 runs"):
        audit_runs(lambda joined, seed: 0.0, runs=5)


def test_exposure_counts_bits() -> None:
    assert exposure(np.array([5.0]), np.zeros(1023))[0] == pytest.approx(10.0)
    assert exposure(np.array([-5.0]), np.zeros(1023))[0] == pytest.approx(0.0)
