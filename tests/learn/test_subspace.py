"""Anomalies by principal components: what goes against the grain is found, and a distance can be read as a share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.base import clone
from sklearn.metrics import roc_auc_score

from tacit import Budget
from tacit.crypto import SigningKey
from tacit.domain import Category, Domain, Numeric
from tacit.errors import UsageError
from tacit.federation import LocalFederation
from tacit.guarantee import PrivacyUnit, Relation
from tacit.guard import Guard, Limits, MemoryBooks, Policy, Records
from tacit.learn import UNLABELLED, AnomalyDetector, LearnSpec, TargetSpec, fit_subspace
from tacit.learn.subspace import components, distance_edges
from tacit.models import SubspaceModel, load, save
from tacit.questions import SpreadCounts
from tacit.questions.linear import design, design_names
from tacit.questions.losses import MARGIN_UNIT
from tacit.questions.spread import DIRECTION_UNIT, distances

NAMES = ("a", "b", "c")
DOMAIN = Domain((*((name, Numeric(-4, 4)) for name in NAMES), ("kind", Category(("x", "y")))))


def usual(rows: int, seed: int) -> dict[str, Any]:
    """Two columns that go together, one that does not, a category."""
    rng = np.random.default_rng(seed)
    first = rng.normal(size=rows)
    return {"a": first, "b": first + 0.2 * rng.normal(size=rows), "c": rng.normal(size=rows), "kind": rng.choice(["x", "y"], rows)}


def against_the_grain(rows: int) -> dict[str, Any]:
    found = usual(rows, 2)
    return found | {"b": -found["a"] + np.sign(found["a"])}


def auc(detector: AnomalyDetector) -> float:
    scores = np.concatenate([-detector.score_samples(usual(4_000, 1)), -detector.score_samples(against_the_grain(1_000))])
    return float(roc_auc_score(np.repeat([0, 1], [4_000, 1_000]), scores))


@pytest.mark.parametrize(("epsilon", "least"), [(1.0, 0.74), (0.1, 0.6)])
def test_what_goes_against_the_grain_is_found(epsilon: float, least: float) -> None:
    """Usual: .80 to .85 at 1, .69 to .73 at .1; single columns see nothing of it: .46."""
    detector = AnomalyDetector(Budget(epsilon, 1e-5), domain=DOMAIN, method="components").fit(usual(30_000, 0))
    assert detector.guarantee_.epsilon <= epsilon
    assert auc(detector) > least
    assert auc(AnomalyDetector(Budget(epsilon, 1e-5), domain=DOMAIN, trees=0).fit(usual(30_000, 0))) < 0.55


def test_a_margin_is_read_as_a_share() -> None:
    detector = AnomalyDetector(Budget(1, 1e-5), domain=DOMAIN, method="components", contamination=0.05).fit(usual(30_000, 0))
    assert (detector.predict(usual(10_000, 5)) == -1).mean() == pytest.approx(0.05, abs=0.03)
    assert (detector.unusual(usual(10_000, 5)) > 0.5).mean() == pytest.approx(0.5, abs=0.1)


def test_components_take_out_the_centre_and_the_spread() -> None:
    """Without noise the distance is Mahalanobis's."""
    rng = np.random.default_rng(0)
    table = usual(5_000, 0)
    arrow = {name: pa.array(values) for name, values in table.items()}
    matrix = design(arrow, 5_000, DOMAIN).astype(np.float64) / 1024
    moments = (matrix.T @ matrix)[np.triu_indices(matrix.shape[1])]
    directions = components(moments, matrix.shape[1], sigma=0.0)
    found = distances(arrow, 5_000, domain=DOMAIN, directions=directions) / MARGIN_UNIT
    centred = matrix[:, 1:] - matrix[:, 1:].mean(axis=0)
    spread = np.cov(centred.T, bias=True) + 1e-4 * np.eye(centred.shape[1])
    wanted = np.einsum("ij,jk,ik->i", centred, np.linalg.inv(spread), centred) / 2
    assert found == pytest.approx(wanted, rel=0.02, abs=0.02)
    chosen = rng.permutation(5_000)[:100]
    alone = [distances({n: v.take(pa.array([i])) for n, v in arrow.items()}, 1, domain=DOMAIN, directions=directions)[0] for i in chosen]
    assert np.array_equal(alone, np.rint(found[chosen] * MARGIN_UNIT))


def test_noise_is_not_divided_by_nothing() -> None:
    rng = np.random.default_rng(1)
    width = 6
    noise = rng.normal(0, 50.0, width * (width + 1) // 2)
    noise[0] = 1_000.0
    directions = components(noise, width, sigma=50.0) / DIRECTION_UNIT
    assert np.isfinite(directions).all()
    assert np.abs(directions).max() < 10


def test_sites_find_the_same_components() -> None:
    guards = []
    for site in range(2):
        policy = Policy(
            dataset=f"site {site}", unit=PrivacyUnit(), relation=Relation.ADD_REMOVE, budget=Budget(3, 1e-5), limits=Limits(minimum_units=0),
        )
        records = Records.open({name: list(values) for name, values in usual(8_000, site).items()})
        guards.append(Guard(records, policy=policy, ledger=MemoryBooks()))
    model = fit_subspace(LearnSpec(DOMAIN.names, UNLABELLED, Budget(2, 1e-5), domain=DOMAIN), LocalFederation(guards))
    margins = [model.margins({name: list(values) for name, values in table.items()})[:, 0] for table in (usual(500, 9), against_the_grain(500))]
    assert roc_auc_score(np.repeat([0, 1], 500), np.concatenate(margins)) > 0.72


def test_the_model_is_signed_and_comes_back(tmp_path: Any) -> None:
    detector = AnomalyDetector(Budget(1, 1e-5), domain=DOMAIN, method="components").fit(usual(3_000, 0))
    key = SigningKey.generate()
    save(detector.model_, tmp_path / "model.tacit", key)
    again = load(tmp_path / "model.tacit", trusted=key.public)
    assert isinstance(again, SubspaceModel)
    assert np.array_equal(again.margins(usual(50, 1)), detector.model_.margins(usual(50, 1)))
    assert clone(detector).method == "components"


def test_a_domain_is_found_where_none_is_declared() -> None:
    detector = AnomalyDetector(Budget(2, 1e-5), method="components").fit(usual(20_000, 0))
    assert auc(detector) > 0.68


def test_edges_increase_from_the_middle_both_ways() -> None:
    for count in (1, 4, 1_000):
        edges = distance_edges(count)
        assert (np.diff(edges) > 0).all()
        assert edges[0] < count / 2 * MARGIN_UNIT < edges[-1]


@pytest.mark.parametrize("bad", [
    {"directions": np.ones((1, 2), np.int32)}, {"directions": np.ones((0, len(design_names(DOMAIN))), np.int32)},
    {"directions": np.full((1, len(design_names(DOMAIN))), 1.0)}, {"edges": np.array([], np.int32)}, {"edges": np.array([5, 5], np.int32)},
])
def test_what_cannot_be_asked_is_refused(bad: dict[str, Any]) -> None:
    good = {"directions": np.ones((2, len(design_names(DOMAIN))), np.int32), "edges": np.array([1, 2], np.int32)}
    with pytest.raises(UsageError, match="Expected"):
        SpreadCounts(DOMAIN, **{**good, **bad})


def test_labels_and_other_methods_are_refused() -> None:
    with pytest.raises(UsageError, match="trees or components"):
        AnomalyDetector(Budget(1, 1e-5), method="magic").fit(usual(50, 0))
    policy = Policy(dataset="d", unit=PrivacyUnit(), relation=Relation.ADD_REMOVE, budget=Budget(3, 1e-5), limits=Limits(minimum_units=0))
    guard = Guard(Records.open({name: list(values) for name, values in usual(50, 0).items()}), policy=policy, ledger=MemoryBooks())
    from tacit.guard import Curator

    with pytest.raises(UsageError, match="UNLABELLED"):
        fit_subspace(LearnSpec(NAMES, TargetSpec("kind", classes=("x", "y")), Budget(1, 1e-5), domain=DOMAIN), Curator(guard))
