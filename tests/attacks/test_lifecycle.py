"""Structure, unlearning, properties and linkage: each finds what is there, and nothing where there is nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from tacit.attacks import attack_linkage, attack_property, attack_structure, check_unlearning
from tacit.errors import DataError, UsageError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(900, 6))
Y = (X[:, 0] + RNG.normal(size=900) > 0).astype(int)


# ----------------------------------------------------------------------------------------------------------------------- structure


@pytest.mark.parametrize("model", [
    DecisionTreeClassifier(random_state=0), RandomForestClassifier(5, random_state=0), HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=1),
    make_pipeline(StandardScaler(), DecisionTreeClassifier(random_state=0)),
])
def test_leaves_for_single_people_are_found(model: object) -> None:
    outcome = attack_structure(model.fit(X, Y))  # type: ignore[attr-defined]
    assert outcome.wins
    assert outcome.figure > 0.2


@pytest.mark.parametrize("model", [
    DecisionTreeClassifier(min_samples_leaf=20, random_state=0), HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=20),
])
def test_large_leaves_are_none(model: object) -> None:
    assert not attack_structure(model.fit(X, Y)).wins  # type: ignore[attr-defined]


@pytest.mark.parametrize("model", [KNeighborsClassifier(), SVC()])
def test_models_that_keep_records_are_named(model: object) -> None:
    outcome = attack_structure(model.fit(X, Y))  # type: ignore[attr-defined]
    assert outcome.attack == "structure, kept records"
    assert outcome.details["kept"] > 0


def test_a_model_without_leaves_is_refused() -> None:
    with pytest.raises(UsageError, match="model of trees"):
        attack_structure(LogisticRegression().fit(X, Y))


# ---------------------------------------------------------------------------------------------------------------------- unlearning


def test_what_was_not_forgotten_is_found_and_what_was_is_not() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 900)
    forgotten, kept, others = slice(0, 200), slice(200, 600), slice(600, 900)

    def forest(rows: np.ndarray, seed: int) -> RandomForestClassifier:
        return RandomForestClassifier(80, random_state=seed).fit(X[rows], labels[rows])

    whole = forest(np.r_[0:600], 0)
    without = forest(np.r_[kept], 1)
    sides = ((X[forgotten], labels[forgotten]), (X[others], labels[others]))
    found = check_unlearning(whole, *sides, retrained=without, before=whole)
    assert found.verdict == "not forgotten"
    again = check_unlearning(forest(np.r_[kept], 2), *sides, retrained=without, before=whole)
    assert again.verdict != "not forgotten"
    assert "safe" not in again.verdict
    blank = check_unlearning(LogisticRegression().fit(X[kept], labels[kept]), *sides, retrained=LogisticRegression().fit(X[kept], labels[kept]))
    assert blank.result.auc == pytest.approx(0.5)


# ------------------------------------------------------------------------------------------------------------------------ property


def world(share: float) -> object:
    def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        rows = rng.normal(size=(400, 4))
        group = rng.random(400) < share
        labels = (np.where(group, rows[:, 0], rows[:, 1]) + 0.3 * rng.normal(size=400) > 0).astype(int)
        return np.column_stack([rows, group]), labels

    return draw


def test_a_share_of_the_training_data_is_told_and_no_difference_is_not() -> None:
    rng = np.random.default_rng(2)
    probes = np.column_stack([rng.normal(size=(60, 4)), rng.integers(0, 2, 60)])

    def train(rows: np.ndarray, labels: np.ndarray) -> object:
        return LogisticRegression().fit(rows, labels)

    told = attack_property(train, (world(0.2), world(0.8)), probes, models=20)
    assert told.wins
    assert told.figure > 0.9
    assert not attack_property(train, (world(0.5), world(0.5)), probes, models=20).wins


# ------------------------------------------------------------------------------------------------------------------------- linkage


def released(rows: int) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    return pd.DataFrame({
        "token": [f"p{i:05d}" for i in rng.permutation(rows)], "age": rng.integers(18, 90, rows), "zip": rng.integers(1000, 1400, rows).astype(str),
        "visits": rng.poisson(30, rows), "sex": rng.choice(["f", "m"], rows),
    })


@pytest.mark.parametrize("form", ["frame", "arrow"])
def test_pseudonyms_do_not_hide_who_is_singled_out(form: str) -> None:
    table = released(2_000)
    known = table.iloc[:300][["age", "zip", "visits", "sex"]].copy()
    known["visits"] += np.random.default_rng(4).integers(-1, 2, 300)
    sides = (table, known) if form == "frame" else (pa.Table.from_pandas(table), pa.Table.from_pandas(known, preserve_index=False))
    outcome = attack_linkage(*sides, columns=["age", "zip", "visits", "sex"], truth=np.arange(300), noise={"age": 0.5, "visits": 1.0})
    assert outcome.wins
    assert outcome.figure > 0.9


def test_generalised_columns_do() -> None:
    table = released(2_000)
    table["age"], table["zip"] = (table["age"] // 30 * 30).astype(str), table["zip"].str[:2]
    known = table.iloc[:300][["age", "zip", "sex"]]
    outcome = attack_linkage(table, known, columns=["age", "zip", "sex"], truth=np.arange(300))
    assert outcome.figure < 0.01


def test_what_cannot_be_linked_is_refused() -> None:
    table = released(50)
    with pytest.raises(DataError, match="column «none»"):
        attack_linkage(table, table, columns=["none"], truth=np.arange(50))
    with pytest.raises(UsageError, match="at least one who is in it"):
        attack_linkage(table, table, columns=["age"], truth=np.full(50, -1))
