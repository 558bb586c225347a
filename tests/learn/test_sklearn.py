"""scikit-learn's own checks, and its tools: pipelines, searches, cross-validation, clones."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

from tacit import Budget
from tacit.domain import Domain, Numeric
from tacit.errors import BudgetExceeded, UsageError
from tacit.guard import Ledger, MemoryBooks
from tacit.learn import (
    AdditiveClassifier,
    AdditiveRegressor,
    AnomalyDetector,
    BoostedTreesClassifier,
    BoostedTreesRegressor,
    DetectionClassifier,
    LinearClassifier,
    LinearRegressor,
)

# The checks have 10 to 200 records: at any useful budget no private learner can tell them apart. This one guarantees next to nothing.
LOUD = Budget(15.0, 0.9)
ESTIMATORS = [
    BoostedTreesClassifier(LOUD, trees=3, test_seed=1), AdditiveClassifier(LOUD, iterations=6, test_seed=1),
    LinearClassifier(LOUD, iterations=20, test_seed=1), BoostedTreesRegressor(LOUD, trees=3, test_seed=1),
    AdditiveRegressor(LOUD, iterations=6, test_seed=1), LinearRegressor(LOUD, test_seed=1),
    AnomalyDetector(LOUD, trees=8, test_seed=1, contamination=0.1),
]
CLASSES_ARE_SELECTED = "the classes are found by a charged selection, which no class of so few records may pass"
THRESHOLD_IS_NOISY = "how many records are called outliers follows from a noisy quantile, so that it is not exactly the share asked for"
FORCED: dict[str, dict[str, str]] = {
    "classifier": {"check_fit2d_1sample": CLASSES_ARE_SELECTED, "check_fit2d_1feature": CLASSES_ARE_SELECTED},
    "outlier_detector": {"check_outliers_train": THRESHOLD_IS_NOISY, "check_outliers_fit_predict": THRESHOLD_IS_NOISY},
    "regressor": {"check_regressors_train": "200 records do not explain half of the variance at the noise of the largest budget there is"},
}


def forced(estimator: Any) -> dict[str, str]:
    return FORCED[estimator._estimator_type if hasattr(estimator, "_estimator_type") else estimator.__sklearn_tags__().estimator_type]


@parametrize_with_checks(ESTIMATORS, expected_failed_checks=forced)
def test_scikit_learns_checks_pass(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks([DetectionClassifier(LOUD, test_seed=1)], expected_failed_checks=forced)
def test_scikit_learns_checks_pass_with_everything_chosen(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


def test_what_is_excused_is_little() -> None:
    assert sum(map(len, FORCED.values())) == 5


DOMAIN = Domain.of(a=Numeric(-4, 4), b=Numeric(-4, 4))
BUDGET = Budget(2.0, 1e-5)
ALL: list[Callable[..., Any]] = [
    BoostedTreesClassifier, AdditiveClassifier, LinearClassifier, DetectionClassifier, BoostedTreesRegressor, AdditiveRegressor, LinearRegressor,
]


def frame(rows: int = 3000) -> tuple[pd.DataFrame, np.ndarray]:
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(rows, 2)), columns=["a", "b"])
    return X, np.where(X["a"] + X["b"] > 0, "bad", "good")


def quick(**changes: Any) -> BoostedTreesClassifier:
    return BoostedTreesClassifier(BUDGET, **{"domain": DOMAIN, "classes": ["good", "bad"], "trees": 4, **changes})


@pytest.mark.parametrize("kind", ALL)
def test_settings_are_read_and_set_as_scikit_learn_does(kind: Callable[..., Any]) -> None:
    estimator = kind(BUDGET, domain=DOMAIN, rows_per_unit=3, test_seed=5)
    twin = clone(estimator)
    assert twin is not estimator
    assert twin.get_params() == estimator.get_params()
    assert twin.set_params(test_seed=None, relation="replace").get_params()["relation"] == "replace"
    assert estimator.relation == "add/remove"
    assert not hasattr(estimator, "model_")
    assert repr(estimator).startswith(kind.__name__)


def test_pipelines_and_cross_validation_work() -> None:
    X, y = frame()
    pipeline = make_pipeline(FunctionTransformer(lambda X: X * 0.5), quick())
    assert cross_val_score(pipeline, X, y, cv=3).min() > 0.8
    assert cross_val_score(pipeline, X, y, cv=3, scoring="roc_auc").min() > 0.85
    found = cross_val_predict(quick(classes=None), X, y, cv=3, method="predict_proba")  # scikit-learn numbers the classes first
    assert ((found[:, 0] > 0.5) == (y == "bad")).mean() > 0.8


def test_a_search_over_settings_works() -> None:
    X, y = frame()
    search = GridSearchCV(quick(), {"passes": [2, 4], "trees": [2]}, cv=2).fit(X, y)
    assert search.best_score_ > 0.75
    assert search.best_estimator_.guarantee_.epsilon <= 2.0


def test_units_reach_the_fit_through_scikit_learns_tools() -> None:
    X, y = frame()
    unit = np.arange(len(y)) // 3
    search = GridSearchCV(quick(rows_per_unit=3), {"passes": [2]}, cv=2).fit(X, y, unit=unit)
    assert search.best_estimator_.guarantee_.unit.name == "unit"
    with config_context(enable_metadata_routing=True):
        found = cross_validate(quick(rows_per_unit=3).set_fit_request(unit=True), X, y, cv=2, params={"unit": unit}, return_estimator=True)
    assert [fitted.guarantee_.unit.name for fitted in found["estimator"]] == ["unit", "unit"]


def test_calibration_and_importances_are_measured_as_usual() -> None:
    X, y = frame()
    calibrated = CalibratedClassifierCV(quick(), cv=2).fit(X, y)
    assert calibrated.score(X, y) > 0.8
    X["a"] *= 3
    importance = permutation_importance(quick().fit(X, np.where(X["a"] > 0, "bad", "good")), X, np.where(X["a"] > 0, "bad", "good"), n_repeats=2)
    assert importance.importances_mean[0] > 0.2 > importance.importances_mean[1]


def test_a_fitted_estimator_can_be_kept() -> None:
    X, y = frame()
    fitted = quick().fit(X, y)
    again = pickle.loads(pickle.dumps(fitted))  # noqa: S301
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))
    assert again.guarantee_ == fitted.guarantee_
    assert again.model_ == fitted.model_


@pytest.mark.parametrize("books", [MemoryBooks, Ledger.ephemeral])
def test_clones_share_the_ledger_and_never_copy_it(books: Callable[[], Any]) -> None:
    ledger = books()
    estimator = quick(ledger=ledger, total=Budget(3.0, 1e-5))
    assert clone(estimator).ledger is ledger
    assert clone(clone(estimator)).total == Budget(3.0, 1e-5)
    assert make_pipeline(clone(estimator)).steps[0][1].ledger is ledger
    with pytest.raises(UsageError, match="a copy of the ledger could be spent a second time"):
        pickle.dumps(estimator)


def test_a_search_with_a_ledger_cannot_spend_more_than_the_total() -> None:
    X, y = frame()
    ledger = MemoryBooks()
    estimator = quick(ledger=ledger, total=Budget(4.0, 1e-5))  # three fits of 2: noise adds up in squares
    scores = cross_val_score(estimator, X, y, cv=3)
    assert scores.min() > 0.75
    with pytest.raises(BudgetExceeded):
        [clone(estimator).fit(X, y) for _ in range(3)]
    charges = [note for note in ledger.notes if note.kind == "charge"]
    assert 4 <= len(charges) <= 7
