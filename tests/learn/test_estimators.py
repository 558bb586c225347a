"""What a data scientist types, and what comes back: labels in their type, frames by name, refusals that say what to do."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy import sparse
from sklearn.exceptions import NotFittedError

from tacit import Budget, Relation
from tacit.domain import Category, Domain, Numeric
from tacit.errors import BudgetExceeded, ConfigError, DataError, TacitError, UsageError
from tacit.guard import Ledger, MemoryBooks, mu_for
from tacit.learn import (
    AdditiveClassifier,
    AdditiveRegressor,
    BoostedTreesClassifier,
    BoostedTreesRegressor,
    DetectionClassifier,
    LinearClassifier,
    LinearRegressor,
)
from tacit.questions import CellSums

ROWS = 3000
BUDGET = Budget(3.0, 1e-5)
CLASSIFIERS = [BoostedTreesClassifier, AdditiveClassifier, LinearClassifier, DetectionClassifier]
REGRESSORS = [BoostedTreesRegressor, AdditiveRegressor, LinearRegressor]
ALL = [*CLASSIFIERS, *REGRESSORS]
APART = [kind for kind in ALL if kind is not DetectionClassifier]

Build = Callable[..., Any]


@pytest.fixture(scope="module", name="X")
def some_numbers() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(ROWS, 2))


@pytest.fixture(scope="module")
def hit(X: np.ndarray) -> np.ndarray:
    return np.asarray(X[:, 0] + X[:, 1] > 0)


@pytest.fixture(scope="module")
def frame(X: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(X, columns=["a", "b"])


def quick(**changes: Any) -> BoostedTreesClassifier:
    return BoostedTreesClassifier(BUDGET, **{"trees": 4, **changes})


def small(kind: Build) -> dict[str, Any]:
    """Settings that make a fit short."""
    if kind in (BoostedTreesClassifier, BoostedTreesRegressor):
        return {"trees": 5}
    return {} if kind in (DetectionClassifier, LinearRegressor) else {"iterations": 10}


def label_for(kind: Build, X: np.ndarray) -> np.ndarray:
    return np.asarray(X[:, 0] if kind in REGRESSORS else X[:, 0] > 0)


LABELS: dict[str, Callable[[np.ndarray], Any]] = {
    "bool": lambda hit: hit,
    "int": lambda hit: np.where(hit, 7, -2),
    "float": lambda hit: np.where(hit, 1.0, 0.0),
    "float32": lambda hit: np.where(hit, 2, 5).astype(np.float32),
    "uint8": lambda hit: hit.astype(np.uint8),
    "huge int": lambda hit: np.where(hit, 10**18 + 1, 10**18 + 3),
    "text": lambda hit: np.where(hit, "attack", "benign"),
    "objects": lambda hit: np.where(hit, "attack", "benign").astype(object),
    "numbers as text": lambda hit: np.where(hit, "9", "10"),
    "a list": lambda hit: ["yes" if one else "no" for one in hit],
    "a series": lambda hit: pd.Series(np.where(hit, "b", "g"), index=range(5, 5 + len(hit))),
    "a category": lambda hit: pd.Series(np.where(hit, "b", "g"), dtype="category"),
    "nullable": lambda hit: pd.Series(hit, dtype="Int64"),
    "arrow": lambda hit: pa.array(np.where(hit, "b", "g")),
    "polars": lambda hit: pl.Series(np.where(hit, "b", "g")),
}


@pytest.mark.parametrize("name", LABELS)
@pytest.mark.parametrize("declared", [False, True])
def test_classes_come_back_in_the_type_of_the_labels(name: str, declared: bool, X: np.ndarray, hit: np.ndarray) -> None:
    y = LABELS[name](hit)
    plain = np.asarray(y)
    expected = np.unique(plain)
    fitted = quick(classes=list(reversed(expected.tolist())) if declared else None).fit(X, y)
    assert fitted.classes_.tolist() == expected.tolist()
    assert fitted.classes_.dtype.kind == expected.dtype.kind
    found = fitted.predict(X)
    assert found.dtype.kind == expected.dtype.kind
    assert (found == plain).mean() > 0.8
    second = fitted.predict_proba(X)[:, 1]
    assert ((fitted.decision_function(X) > 0) == (second > 0.5)).all()
    assert ((second > 0.5) == (plain == expected[1])).mean() > 0.8


@pytest.mark.parametrize(
    ("classes", "y"), [([0, 1], "bool"), ([False, True], "int01"), ([1.0, 0.0], "int01"), (["1", "0"], "int01"), ([1, 0], "float")],
)
def test_classes_may_be_declared_in_a_type_that_means_the_same(classes: list[Any], y: str, X: np.ndarray, hit: np.ndarray) -> None:
    labels = hit.astype(int) if y == "int01" else LABELS[y](hit)
    fitted = quick(classes=classes).fit(X, labels)
    assert fitted.score(X, labels) > 0.8
    assert fitted.classes_.tolist() == sorted(set(labels.tolist()))


@pytest.mark.parametrize(
    ("classes", "complaint"),
    [
        (["attack", "benign"], "Expected classes of the type that y has, int64"), ([1], "at least two different classes"),
        ([1, 1.0], "classes that are all different"), ([0.5, 1], "Expected classes of the type that y has"),
    ],
)
def test_classes_that_cannot_be_right_are_refused_before_anything_is_charged(
    classes: list[Any], complaint: str, X: np.ndarray, hit: np.ndarray,
) -> None:
    ledger = MemoryBooks()
    with pytest.raises(UsageError, match=complaint):
        quick(classes=classes, ledger=ledger).fit(X, hit.astype(int))
    assert ledger.notes == []


def test_a_class_that_nobody_has_is_improbable(X: np.ndarray, hit: np.ndarray) -> None:
    found = quick(classes=["attack", "benign", "fraud"]).fit(X, LABELS["text"](hit)).predict_proba(X)
    assert found[:, 2].mean() < 0.2


def test_classes_are_found_by_a_charged_selection(X: np.ndarray, hit: np.ndarray) -> None:
    fitted = quick(domain=Domain.of(x0=Numeric(-4, 4), x1=Numeric(-4, 4))).fit(X, LABELS["text"](hit))
    kinds = [step["kind"] for step in fitted.ledger_.notes[-1].body["plan"]["steps"]]
    assert kinds == ["profile@1", "select@1", "histogram@1", "cells@1"]
    declared = quick(domain=Domain.of(x0=Numeric(-4, 4), x1=Numeric(-4, 4)), classes=["attack", "benign"]).fit(X, LABELS["text"](hit))
    assert [step["kind"] for step in declared.ledger_.notes[-1].body["plan"]["steps"]] == ["histogram@1", "cells@1"]


@pytest.mark.parametrize("kind", CLASSIFIERS)
@pytest.mark.parametrize("y", [np.zeros(ROWS), np.full(ROWS, "only"), np.ones(ROWS, bool)])
def test_a_constant_target_cannot_be_learned_and_one_is_told_what_to_do(kind: Build, y: np.ndarray, X: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"at least two classes in y; the charged selection found 1\. .*declare the classes") as caught:
        kind(BUDGET).fit(X, y)
    assert isinstance(caught.value, ValueError)  # what scikit-learn's tools look for
    assert caught.value.exit_code == 2
    assert "only" not in str(caught.value)


@pytest.mark.parametrize("kind", REGRESSORS)
def test_a_constant_number_is_predicted_about_as_it_is(kind: Build, X: np.ndarray) -> None:
    found = kind(BUDGET, bounds=(0, 10)).fit(X, np.full(ROWS, 7.0)).predict(X)
    assert abs(found.mean() - 7) < 1


@pytest.mark.parametrize("kind", REGRESSORS)
@pytest.mark.parametrize("y", [lambda x: x, lambda x: x.astype(np.float32), lambda x: (x * 3).astype(int), lambda x: x.tolist(), pd.Series, pa.array])
def test_numbers_of_every_type_are_predicted_as_floats(kind: Build, y: Callable[[np.ndarray], Any], X: np.ndarray) -> None:
    found = kind(BUDGET).fit(X, y(3 * X[:, 0])).predict(X)
    assert found.dtype == np.float64
    assert np.corrcoef(found, X[:, 0])[0, 1] > 0.5


def test_no_budget_is_no_default(X: np.ndarray) -> None:
    for kind in ALL:
        for budget in (None, 1.0, (1.0, 1e-5), "1"):
            with pytest.raises(UsageError, match=r"Expected budget=Budget\(epsilon=..., delta=...\).*no sensible default"):
                kind(budget).fit(X, label_for(kind, X))


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"depth": 9}, "depth to be an integer from 1 to 8; got 9"), ({"depth": 0}, "depth"), ({"depth": 2.0}, "depth"), ({"trees": -1}, "trees"),
        ({"trees": True}, "trees"), ({"passes": 0.5}, "passes"), ({"trees": 0, "passes": 0}, "passes or trees above zero"),
        ({"rows_per_unit": 0}, "rows_per_unit"), ({"relation": "swap"}, "relation to be one of add/remove, replace, zero-out; got 'swap'"),
        ({"test_seed": 1.5}, "test_seed"), ({"total": 5.0}, "total"), ({"total": Budget(9.0, 1e-6)}, "total to be a Budget with the delta of budget"),
        ({"domain": Domain.of(age=Numeric(0, 9))}, "a domain of the features; it has age, X has x0, x1"),
    ],
)
def test_a_wrong_parameter_is_named_and_nothing_is_charged(settings: dict[str, Any], complaint: str, X: np.ndarray, hit: np.ndarray) -> None:
    ledger = MemoryBooks()
    with pytest.raises(UsageError, match=complaint):
        quick(ledger=ledger, **settings).fit(X, hit)
    assert ledger.notes == []


@pytest.mark.parametrize(
    ("kind", "settings"), [(AdditiveClassifier, {"iterations": 0}), (LinearClassifier, {"iterations": -1}), (AdditiveRegressor, {"depth": 20}),
                           (BoostedTreesRegressor, {"bounds": 3}), (BoostedTreesRegressor, {"bounds": (1, 1)}),
                           (LinearRegressor, {"bounds": (0, math.inf)}), (LinearRegressor, {"bounds": ("a", "b")})],
)
def test_every_estimator_checks_its_own_parameters(kind: Build, settings: dict[str, Any], X: np.ndarray) -> None:
    with pytest.raises(UsageError, match="|".join(settings)):
        kind(BUDGET, **settings).fit(X, label_for(kind, X))


VALUE = "Zebulon-4711"
WRONG: dict[str, tuple[Any, Any]] = {
    "one dimension": (np.full(ROWS, 4711.0), None), "three dimensions": (np.zeros((ROWS, 2, 2)), None), "a sparse matrix": (sparse.eye(ROWS), None),
    "a sparse dictionary": (sparse.dok_matrix((ROWS, 3)), None), "no rows": (np.zeros((0, 2)), np.zeros(0)),
    "no columns": (np.zeros((ROWS, 0)), None),
    "an empty frame": (pd.DataFrame({"a": []}), np.zeros(0)), "a frame of no columns": (pd.DataFrame(index=range(ROWS)), None),
    "complex numbers": (np.full((ROWS, 1), 4711j), None), "two columns of one name": (pd.DataFrame([[1, 2]] * ROWS, columns=["a", "a"]), None),
    "a reserved name": (pd.DataFrame({"(target)": range(ROWS)}), None), "text": (VALUE, None), "nothing": (None, None),
    "columns of unequal length": ({"a": [1.0] * ROWS, "b": [1.0]}, None),
    "labels that are missing": (None, np.array([VALUE, None] * (ROWS // 2), dtype=object)),
    "labels that are no numbers": (None, np.array([4711.0, math.nan] * (ROWS // 2))),
    "labels pandas lacks": (None, pd.Series([VALUE, pd.NA] * (ROWS // 2), dtype=object)),
    "too few labels": (None, np.zeros(ROWS - 1)), "no labels": (None, None), "two columns of labels": (None, np.zeros((ROWS, 2))),
    "labels that are times": (None, np.arange(ROWS).astype("datetime64[s]")), "labels that are bytes": (None, np.full(ROWS, VALUE.encode())),
    "labels that are lists": (None, [[VALUE]] * (ROWS - 1) + [[1, 2]]), "labels that are continuous": (None, np.linspace(0, 4711.5, ROWS)),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_cannot_be_used_is_refused_without_a_word_of_it(name: str, X: np.ndarray, hit: np.ndarray) -> None:
    wrong, labels = WRONG[name]
    features = X if wrong is None and name not in ("text", "nothing") else wrong
    y = labels if labels is not None or name == "no labels" else hit
    ledger = MemoryBooks()
    with pytest.raises((TacitError, ValueError, TypeError)) as caught:
        quick(ledger=ledger).fit(features, y)
    message = str(caught.value)
    assert ledger.notes == []
    assert VALUE not in message
    assert "4711" not in message
    assert "\n" not in message
    if "sparse" not in name:
        assert isinstance(caught.value, UsageError)


def test_text_numbers_are_numbers_and_text_is_no_number(X: np.ndarray, hit: np.ndarray) -> None:
    fitted = BoostedTreesRegressor(BUDGET, trees=2).fit(X, np.char.mod("%.6f", X[:, 0]))
    assert np.corrcoef(fitted.predict(X), X[:, 0])[0, 1] > 0.5
    for y in (np.full(ROWS, VALUE), np.full(ROWS, VALUE, dtype=object)):
        with pytest.raises(DataError, match="Expected numbers in y; it holds text") as caught:
            BoostedTreesRegressor(BUDGET).fit(X, y)
        assert VALUE not in str(caught.value)


@pytest.mark.parametrize("kind", ALL)
def test_before_a_fit_there_is_no_model(kind: Build, X: np.ndarray) -> None:
    with pytest.raises(NotFittedError):
        kind(BUDGET).predict(X)


MAKERS: dict[str, Callable[[pd.DataFrame], Any]] = {
    "pandas": lambda frame: frame, "polars": lambda frame: pl.DataFrame({name: frame[name].to_numpy() for name in frame}),
    "arrow": lambda frame: pa.table({name: frame[name].to_numpy() for name in frame}),
    "a batch": lambda frame: pa.record_batch({name: frame[name].to_numpy() for name in frame}),
    "a mapping": lambda frame: {name: frame[name].to_numpy() for name in frame},
}


@pytest.mark.parametrize("name", MAKERS)
def test_frames_of_every_kind_give_the_same_model(name: str, frame: pd.DataFrame, hit: np.ndarray) -> None:
    first, other = (quick(test_seed=3).fit(given, hit) for given in (frame, MAKERS[name](frame)))
    np.testing.assert_array_equal(other.predict_proba(MAKERS[name](frame)), first.predict_proba(frame))
    assert other.feature_names_in_.tolist() == ["a", "b"]
    assert other.n_features_in_ == 2
    backwards = MAKERS[name](frame[["b", "a"]].assign(more=1.0))
    np.testing.assert_array_equal(other.predict(backwards), first.predict(frame))
    with pytest.raises(DataError, match="«b»"):
        other.predict(MAKERS[name](frame[["a"]]))


def test_frames_and_matrices_can_stand_in_for_each_other(frame: pd.DataFrame, X: np.ndarray, hit: np.ndarray) -> None:
    by_matrix, by_frame = quick(test_seed=3).fit(X, hit), quick(test_seed=3).fit(frame, hit)
    np.testing.assert_array_equal(by_matrix.predict(frame), by_matrix.predict(X))
    with pytest.warns(UserWarning, match="valid feature names"):
        found = by_frame.predict(X)
    np.testing.assert_array_equal(found, by_frame.predict(frame))
    with pytest.raises(ValueError, match="X has 1 features, but BoostedTreesClassifier is expecting 2"):
        by_matrix.predict(X[:, :1])


def test_an_index_is_no_feature(frame: pd.DataFrame, hit: np.ndarray) -> None:
    users = frame.assign(user=[f"u{i}" for i in range(ROWS)]).set_index("user")
    fitted = quick(test_seed=3).fit(users, hit)
    assert fitted.feature_names_in_.tolist() == ["a", "b"]
    np.testing.assert_array_equal(fitted.predict(frame), fitted.predict(users))


def test_columns_of_every_type_are_read_as_what_they_are(frame: pd.DataFrame, hit: np.ndarray) -> None:
    rng = np.random.default_rng(1)
    mixed = frame.assign(
        when=pd.date_range("2026-01-01", periods=ROWS, freq="min", tz="UTC"), day=[datetime.date(2026, 1, 1 + i % 28) for i in range(ROWS)],
        kind=pd.Categorical(np.where(rng.random(ROWS) < 0.5, "u", "v")), text=np.where(hit, "yes", "no"), nothing=None, never=np.nan,
        count=pd.array(rng.integers(0, 3, ROWS), dtype="Int64"), flag=pd.array(rng.random(ROWS) < 0.3, dtype="boolean"),
        lists=[[1, 2]] * ROWS, odd=[1, "a", None] * (ROWS // 3), lasted=pd.to_timedelta(rng.random(ROWS), "s"), truth=rng.random(ROWS) < 0.5,
    )
    fitted = quick(passes=2).fit(mixed, hit)
    found = {name: type(kind) for name, kind in fitted.model_.domain.columns}
    assert found["kind"] is found["text"] is Category
    assert found["when"] is found["count"] is found["lasted"] is found["a"] is found["truth"] is Numeric
    assert fitted.score(mixed, hit) > 0.8
    assert fitted.predict_proba(mixed.iloc[:1]).shape == (1, 2)


def test_a_matrix_of_text_and_numbers_has_categories(X: np.ndarray, hit: np.ndarray) -> None:
    texts = np.where(hit, "yes", "no")
    objects, strings = (np.column_stack([X[:, 0].astype(kind), texts]) for kind in (object, str))
    for matrix in (objects, strings, list(zip(X[:, 0], texts, strict=True))):
        fitted = quick().fit(matrix, hit)
        assert fitted.score(matrix, hit) > 0.9
        assert fitted.predict([[0.1, "yes"], [0.1, "no"]]).tolist() == [True, False]


def test_missing_and_infinite_numbers_are_read_alike_from_frames_and_matrices(hit: np.ndarray) -> None:
    rng = np.random.default_rng(2)
    odd = rng.choice([np.nan, np.inf, -np.inf, 0.0, 1.0], (ROWS, 2))
    first, second = quick(test_seed=1).fit(odd, hit), quick(test_seed=1).fit(pd.DataFrame(odd, columns=["x0", "x1"]), hit)
    np.testing.assert_array_equal(first.predict_proba(odd), second.predict_proba(pd.DataFrame(odd, columns=["x0", "x1"])))


def test_a_domain_may_be_a_file_and_cover_some_columns(frame: pd.DataFrame, hit: np.ndarray, tmp_path: Path) -> None:
    domain = Domain.of(a=Numeric(-4, 4), unused=Numeric(0, 1))
    domain.save(tmp_path / "domain.toml")
    for given in (domain, str(tmp_path / "domain.toml"), tmp_path / "domain.toml"):
        fitted = quick(domain=given).fit(frame, hit)
        assert fitted.model_.domain.column("a") == Numeric(-4, 4)
        assert fitted.model_.domain.names == ("a", "b")
    with pytest.raises(ConfigError, match="Expected a domain file"):
        quick(domain="nowhere.toml").fit(frame, hit)


def test_a_matrix_takes_the_names_of_a_domain_with_as_many_columns(X: np.ndarray, hit: np.ndarray) -> None:
    domain = Domain.of(bytes_in=Numeric(-4, 4), bytes_out=Numeric(-4, 4))
    fitted = quick(domain=domain).fit(X, hit)
    assert fitted.model_.domain == domain
    assert fitted.score(X, hit) > 0.8


@pytest.mark.parametrize(
    "unit",
    [lambda n: np.arange(n) // 3, lambda n: [f"u{i // 3}" for i in range(n)], lambda n: pd.Series(np.arange(n) // 3, name="unit"),
     lambda n: pa.array(np.arange(n) // 3), lambda n: np.array([f"u{i // 3}" for i in range(n)], dtype=object)],
)
def test_rows_of_one_unit_are_protected_together(unit: Callable[[int], Any], X: np.ndarray, hit: np.ndarray) -> None:
    fitted = quick(classes=[False, True], rows_per_unit=3).fit(X, hit, unit=unit(ROWS))
    assert fitted.guarantee_.unit.name == "unit"
    assert abs(fitted.size_ - ROWS / 3) < 300
    step = fitted.ledger_.notes[-1].body["plan"]["steps"][-1]
    assert step["kind"] == CellSums.kind
    assert step["l0"] == 0  # a unit may touch every cell


def test_rows_whose_unit_is_not_known_are_left_out(X: np.ndarray, hit: np.ndarray) -> None:
    unit = np.array([None if i % 2 else f"u{i}" for i in range(ROWS)], dtype=object)
    fitted = quick(classes=[False, True], rows_per_unit=1).fit(X, hit, unit=unit)
    assert abs(fitted.size_ - ROWS / 2) < 300


@pytest.mark.parametrize(("unit", "complaint"), [("user", "one value per row; got a text"), ([1, 2], "one unit per row; got 2 for 3000 rows")])
def test_units_have_to_be_one_per_row(unit: Any, complaint: str, X: np.ndarray, hit: np.ndarray) -> None:
    with pytest.raises(UsageError, match=complaint):
        quick().fit(X, hit, unit=unit)


def test_classes_and_categories_that_every_unit_has_are_all_found() -> None:
    """One value a unit, always the same one where units have the same values, would find one class and one category."""
    rng = np.random.default_rng(3)
    unit = np.repeat(np.arange(2_000), 10)
    frame = {"kind": rng.choice(np.array(["a", "b", "c"]), 20_000), "size": rng.normal(size=20_000)}
    y = (frame["kind"] == "a") & (rng.random(20_000) < 0.8)
    fitted = BoostedTreesClassifier(Budget(3.0, 1e-5), trees=20).fit(frame, y, unit=unit)
    assert fitted.classes_.tolist() == [False, True]
    assert set(dict(fitted.model_.domain.columns)["kind"].values) == {"a", "b", "c"}


def test_a_unit_that_shares_everything_costs_more_noise(X: np.ndarray, hit: np.ndarray) -> None:
    def noise(fitted: Any) -> float:
        step = fitted.ledger_.notes[-1].body["plan"]["steps"][-1]
        return float(step["noise_multiplier"] * step["l2"])

    alone, together = quick(classes=[False, True]).fit(X, hit), quick(classes=[False, True], rows_per_unit=16).fit(X, hit, unit=np.arange(ROWS) // 16)
    assert noise(together) >= noise(alone)


def test_replacing_one_record_costs_twice_the_noise(X: np.ndarray) -> None:
    """The plan's multiplier is the same; the bound that it multiplies doubles, so that answers carry twice the noise."""
    domain = Domain.of(x0=Category(tuple(f"v{i}" for i in range(250))), x1=Numeric(-4, 4))
    multiplier, noise = {}, {}
    for relation in ("add/remove", "zero-out", "replace"):
        estimator = LinearClassifier(Budget(1.0, 1e-5), domain=domain, classes=[0, 1], relation=relation, iterations=2)
        fits = [estimator.fit(X, np.full(ROWS, 7)).model_.weights for _ in range(10)]  # nobody has a label: steps of noise alone
        multiplier[relation] = estimator.ledger_.notes[-1].body["plan"]["steps"][-1]["noise_multiplier"]
        noise[relation] = float(np.std(fits))
        assert estimator.guarantee_.relation == Relation(relation)
        assert estimator.guarantee_.epsilon <= 1.0
    assert multiplier["replace"] == pytest.approx(multiplier["add/remove"], rel=1e-3)
    assert 1.75 < noise["replace"] / noise["add/remove"] < 2.25  # 2,530 values each: a standard deviation of 2 %
    assert 0.87 < noise["zero-out"] / noise["add/remove"] < 1.15


def test_two_fits_on_one_ledger_add_up_and_are_refused_when_it_is_spent(X: np.ndarray, hit: np.ndarray, tmp_path: Path) -> None:
    for ledger in (MemoryBooks(), Ledger.open(tmp_path / "ledger.db")):
        settings = {"ledger": ledger, "total": Budget(3.0, 1e-5), "classes": [False, True], "trees": 3}
        fits = [BoostedTreesClassifier(Budget(2.0, 1e-5), **settings).fit(X, hit) for _ in range(2)]
        assert all(fitted.ledger_ is ledger for fitted in fits)
        assert all(fitted.guarantee_.epsilon <= 2.0 for fitted in fits)
        scope = fits[0].guarantee_.scope
        charged = ledger.find("charge", scope)
        assert len(charged) == 3  # one count, two plans
        spent = math.fsum(cost.mu_squared for cost in ledger.costs(scope))
        assert mu_for(Budget(2.0, 1e-5)) ** 2 < spent <= mu_for(Budget(3.0, 1e-5)) ** 2
        with pytest.raises(BudgetExceeded):
            BoostedTreesClassifier(Budget(2.5, 1e-5), **settings).fit(X, hit)
        assert len(ledger.find("charge", scope)) == 3
        assert [charge.sequence for charge in charged] == sorted(charge.sequence for charge in charged)
        assert fits[1].model_.provenance.charge == charged[-1].sequence


def test_without_a_total_a_ledger_pays_for_one_fit(X: np.ndarray, hit: np.ndarray) -> None:
    ledger = MemoryBooks()
    estimator = quick(ledger=ledger, classes=[False, True]).fit(X, hit)
    with pytest.raises(BudgetExceeded, match=r"refused: .* is left"):
        estimator.fit(X, hit)
    assert estimator.score(X, hit) > 0.8  # the first model is still there


def test_every_fit_spends_anew(X: np.ndarray, hit: np.ndarray) -> None:
    estimator = quick(classes=[False, True])
    first = estimator.fit(X, hit).ledger_
    second = estimator.fit(X, hit).ledger_
    assert first is not second
    assert len(first.find("charge", estimator.guarantee_.scope)) == len(second.find("charge", estimator.guarantee_.scope)) == 2


@pytest.mark.parametrize("kind", ALL)
def test_the_guarantee_is_within_the_budget_and_says_everything(kind: Build, X: np.ndarray) -> None:
    for budget in (Budget(0.5, 1e-6), Budget(2.0, 1e-4)):
        fitted = kind(budget, **small(kind)).fit(X, label_for(kind, X))
        found = fitted.guarantee_
        assert 0.5 * budget.epsilon < found.epsilon <= budget.epsilon
        assert found.delta == budget.delta
        assert found == fitted.model_.guarantee
        assert found.accountant == "gdp"
        assert "per record, add/remove, curator" in str(found)


@pytest.mark.parametrize("kind", APART)
def test_a_test_seed_repeats_the_model_and_guarantees_nothing(kind: Build, X: np.ndarray) -> None:
    y = label_for(kind, X)
    first, again, other = (kind(BUDGET, test_seed=seed, **small(kind)).fit(X, y) for seed in (1, 1, 2))
    for name, array in first.model_.arrays().items():
        np.testing.assert_array_equal(again.model_.arrays()[name], array)
    assert first.model_.structure() == again.model_.structure()
    np.testing.assert_array_equal(first.predict(X), again.predict(X))
    assert any(not np.array_equal(first.model_.arrays()[name], array) for name, array in other.model_.arrays().items())
    for fitted in (first, again, other):
        assert math.isinf(fitted.guarantee_.epsilon)
        assert not fitted.guarantee_.holds
        assert str(fitted.guarantee_) == "no guarantee (test seed)"
        assert fitted.model_.provenance.deterministic


@pytest.mark.parametrize("kind", APART)
def test_without_a_seed_no_two_fits_are_alike(kind: Build, X: np.ndarray) -> None:
    y = label_for(kind, X)
    first, second = (kind(BUDGET, **small(kind)).fit(X, y).model_ for _ in range(2))
    assert any(not np.array_equal(first.arrays().get(name), array) for name, array in second.arrays().items())
    assert first.provenance.run != second.provenance.run
    assert first.guarantee.holds
    assert not first.provenance.deterministic


def test_everything_is_chosen_by_one_estimator_and_nothing_is_spent_on_the_choice(X: np.ndarray, hit: np.ndarray) -> None:
    chosen = DetectionClassifier(BUDGET, classes=[False, True], test_seed=1).fit(X, hit)
    usual = BoostedTreesClassifier(BUDGET, classes=[False, True], test_seed=1).fit(X, hit)
    np.testing.assert_array_equal(chosen.predict_proba(X), usual.predict_proba(X))
    assert [note.kind for note in chosen.ledger_.notes] == [note.kind for note in usual.ledger_.notes]
    assert "trees" not in chosen.get_params()


def test_a_named_series_names_the_unit_of_the_guarantee() -> None:
    rng = np.random.default_rng(3)
    X, customer = pd.DataFrame({"a": rng.random(400)}), np.repeat(np.arange(100), 4)
    said = []
    for unit in (pd.Series(customer, name="customer"), pd.Series(customer, name="<b>\n"), customer):
        model = BoostedTreesClassifier(budget=BUDGET, domain=Domain.of(a=Numeric(0, 1)), trees=2, test_seed=1)
        said.append(model.fit(X, X.a > 0.5, unit=unit).guarantee_.unit.name)
    assert said == ["customer", "unit", "unit"]
