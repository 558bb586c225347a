"""Extraction, attribute inference, inversion and gradient leakage: each wins on an undefended model and loses under a defence that is shipped."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from tacit import Budget
from tacit.attacks import Inverter, NetworkRecipe, Thief, attack_attribute, attack_extraction, attack_inversion, train_networks
from tacit.errors import DataError, Refused, UsageError
from tacit.learn import BoostedTreesClassifier
from tacit.models import AnswerNoise, Defended, QueryLimit, TopOnly

# ---------------------------------------------------------------------------------------------------------------------- extraction


@pytest.fixture(scope="module")
def moons() -> tuple[Any, np.ndarray, np.ndarray]:
    """A network with a curved boundary, records that the thief has, and records to compare on."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(6_000, 5))
    y = (np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2] + 0.3 * rng.normal(size=6_000) > 0).astype(int)
    return RandomForestClassifier(40, min_samples_leaf=5, random_state=0).fit(X[:2_000], y[:2_000]), X[2_000:4_000], X[4_000:]


@pytest.mark.parametrize("strategy", ["in distribution", "random", "adaptive"])
def test_a_model_that_answers_freely_is_copied(moons: tuple[Any, np.ndarray, np.ndarray], strategy: str) -> None:
    target, own, test = moons
    outcome = attack_extraction(target, own, test, thief=Thief(strategy, queries=1_500))
    assert outcome.wins
    assert outcome.figure > 0.85
    assert outcome.control < 0.6


def test_more_queries_copy_better_and_a_limit_stops_them(moons: tuple[Any, np.ndarray, np.ndarray]) -> None:
    target, own, test = moons
    few, many = (attack_extraction(target, own, test, thief=Thief(queries=count)).figure for count in (40, 1_500))
    assert many > few + 0.05
    served = Defended(target, limit=QueryLimit(100))
    with pytest.raises(Refused):
        attack_extraction(lambda X: served.predict_proba(X, client="thief"), own, test[:50], thief=Thief(queries=1_500))


def test_what_the_thief_can_do_with_labels_of_his_own_is_the_control(moons: tuple[Any, np.ndarray, np.ndarray]) -> None:
    target, own, test = moons
    truth = target.predict(own)
    outcome = attack_extraction(target, own, test, labels=truth, access="label", thief=Thief(queries=800))
    assert not outcome.wins
    assert outcome.control > 0.8


@pytest.mark.parametrize("form", ["frame", "arrow", "polars"])
@pytest.mark.parametrize("strategy", ["in distribution", "random", "adaptive"])
def test_tables_with_texts_are_asked_about_as_tables(form: str, strategy: str) -> None:
    """What is common among the thief's own records decides how all records become numbers: others may hold other texts."""
    rng = np.random.default_rng(1)
    kinds = np.array([f"k{i}" for i in range(60)])
    frame = pd.DataFrame({"size": rng.normal(size=1_200), "kind": kinds[rng.zipf(1.3, 1_200).clip(max=60) - 1], "seen": rng.random(1_200)})
    make = {"frame": lambda part: part, "arrow": lambda part: pa.Table.from_pandas(part, preserve_index=False), "polars": pl.from_pandas}[form]

    def target(table: Any) -> np.ndarray:
        size, kind = (np.asarray(table[name] if form != "arrow" else table.column(name)) for name in ("size", "kind"))
        p = np.where((size > 0) ^ (kind == "k0"), 0.9, 0.1)
        return np.column_stack([1 - p, p])

    outcome = attack_extraction(target, make(frame[:600]), make(frame[600:].reset_index(drop=True)), thief=Thief(strategy, queries=500))
    assert outcome.figure > 0.85


def test_noise_on_answers_costs_the_thief(moons: tuple[Any, np.ndarray, np.ndarray]) -> None:
    target, own, test = moons
    plain = attack_extraction(target, own, test, thief=Thief(queries=300)).figure
    noisy = attack_extraction(Defended(target, (AnswerNoise(4.0),)), own, test, thief=Thief(queries=300)).figure
    assert noisy < plain - 0.15


# ----------------------------------------------------------------------------------------------------------------------- attribute


def people(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The attribute in column 0 hardly follows from the others; the label mostly says what it is."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, 6))
    X[:, 0] = (0.3 * X[:, 1] + rng.normal(size=rows) > 0).astype(float)
    y = ((X[:, 0] + 0.8 * rng.normal(size=rows) + 0.2 * X[:, 2]) > 0.5).astype(int)
    return X, y


def coins(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Fourteen coins and a label that is one, too: nothing follows from anything, and a model can only remember."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 2, (1_500, 14)).astype(float), rng.integers(0, 2, 1_500)


def test_a_model_that_remembers_tells_the_attribute_of_its_members_and_dp_training_does_not() -> None:
    members, others = coins(0), coins(1)
    deep = RandomForestClassifier(60, max_features=None, random_state=0).fit(*members)
    private = BoostedTreesClassifier(Budget(1.0, 1e-5), classes=[0, 1], trees=50).fit(*members)
    remembered, learned = (attack_attribute(model, members, others, sensitive=0) for model in (deep, private))
    assert remembered.members.wins
    assert remembered.members.figure > 0.65
    assert remembered.memorised.wins
    assert not remembered.others.wins
    assert learned.memorised.figure < remembered.memorised.figure / 2  # noise is drawn anew: what is left may be a little of it


def test_what_follows_from_what_is_known_is_no_leak() -> None:
    """The attribute is another column in other words: everybody can impute it, and the model adds nothing."""
    (X, y), (Z, z) = people(1_200, 10), people(1_200, 11)
    for side in (X, Z):
        side[:, 0] = (side[:, 1] > 0).astype(float)
    outcome = attack_attribute(LogisticRegression().fit(X, y), (X, y), (Z, z), sensitive=0)
    assert outcome.members.control > 0.98
    assert not outcome.members.wins


@pytest.mark.parametrize("form", ["frame", "arrow"])
def test_texts_are_attributes_in_frames_and_tables(form: str) -> None:
    (X, y), (Z, z) = people(600, 12), people(600, 13)

    def table(side: np.ndarray) -> Any:
        columns = {"who": np.array(["f", "m"])[side[:, 0].astype(int)], **{f"x{i}": side[:, i] for i in range(1, 6)}}
        return pd.DataFrame(columns) if form == "frame" else pa.table(columns)

    model = BoostedTreesClassifier(Budget(8.0, 1e-5), classes=[0, 1], trees=20).fit(table(X), y)
    outcome = attack_attribute(model.model_ if form == "arrow" else model, (table(X), y), (table(Z), z), sensitive="who")
    assert 0.4 < outcome.members.figure <= 1
    with pytest.raises(DataError, match="column «none»"):
        attack_attribute(model, (table(X), y), (table(Z), z), sensitive="none")
    with pytest.raises(UsageError, match="values of the attribute"):
        attack_attribute(model, (table(X), y), (table(Z), z), sensitive="x1")


# ----------------------------------------------------------------------------------------------------------------------- inversion


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    found = load_digits()
    order = np.random.default_rng(0).permutation(len(found.data))
    return found.data[order] / 16, found.target[order]


class Net:
    """A perceptron from our own trainer, with scikit-learn's face."""

    def __init__(self, X: np.ndarray, y: np.ndarray, **recipe: Any) -> None:
        everybody = np.ones((len(X), 1), bool)
        self.net = train_networks(
            X.astype(np.float32), y, members=everybody, classes=10, recipe=NetworkRecipe((128,), **recipe), rng=np.random.default_rng(0),
        )

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        logits = self.net.logits(np.asarray(X, np.float32))[0].astype(np.float64)
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(odds / odds.sum(axis=1, keepdims=True))

    def predict(self, X: np.ndarray) -> np.ndarray:
        return np.asarray(self.predict_proba(X).argmax(axis=1))


def inverted(target: Any, digits: tuple[np.ndarray, np.ndarray], *, access: str = "probabilities") -> Any:
    X, y = digits
    chance = np.random.default_rng(1).permutation(y[:700])
    search = Inverter(starts=4, steps=50, queries=40)
    return attack_inversion(
        target, (X[:700], y[:700]), (X[700:1_400], y[700:1_400]), control=Net(X[:700], chance), inverter=search, access=access,
    )


def test_an_inversion_shows_what_a_class_looks_like_and_labels_alone_show_less(digits: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = digits
    model = Net(X[:700], y[:700])
    plain = inverted(model, digits)
    assert plain.classes.wins
    assert plain.classes.figure > 0.3
    assert plain.evaluated > 0.6
    assert not plain.people.wins
    hidden = inverted(Defended(model, (TopOnly(labels=True),)), digits)
    assert hidden.classes.figure < plain.classes.figure - 0.1


def test_an_inversion_by_gradients_needs_a_module(digits: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = digits
    with pytest.raises(UsageError, match="PyTorch module"):
        attack_inversion(Net(X[:200], y[:200]), (X[:200], y[:200]), (X[700:900], y[700:900]), control=Net(X[:200], y[:200]),
                         inverter=Inverter(inside=True, steps=2))


def test_a_model_that_keeps_people_is_told(digits: tuple[np.ndarray, np.ndarray]) -> None:
    """One that answers by how near the nearest member of a class is gives that very person away."""
    X, y = digits
    few = np.concatenate([np.flatnonzero(y[:700] == label)[:1] for label in range(10)])
    kept, labels = X[few], y[few]

    def nearest(rows: np.ndarray) -> np.ndarray:
        gaps = ((np.asarray(rows)[:, None] - kept[None]) ** 2).sum(axis=2)
        odds = np.exp(-gaps + gaps.min(axis=1, keepdims=True))
        return np.asarray((odds @ np.eye(10)[labels]) / odds.sum(axis=1, keepdims=True))

    members = (np.repeat(kept, 5, axis=0), np.repeat(labels, 5))
    blind, search = Net(X[:200], np.random.default_rng(0).permutation(y[:200])), Inverter(starts=3, steps=60, queries=60)
    found = attack_inversion(nearest, members, (X[700:1_400], y[700:1_400]), control=blind, inverter=search)
    assert found.people.figure > 0.7
    assert found.people.wins


# ----------------------------------------------------------------------------------------------------------------------- gradients


def test_a_single_sites_update_is_read_and_a_masked_or_noised_one_is_not() -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch: make torch")
    from tacit.attacks import attack_gradients, labels_in, noised_update, summed, update_of

    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    model = torch.nn.Sequential(torch.nn.Linear(20, 256), torch.nn.ReLU(), torch.nn.Linear(256, 4))
    X, y = rng.normal(size=(64, 20)).astype(np.float32), rng.integers(0, 4, 64)
    reference = rng.normal(size=(64, 20))
    alone = attack_gradients(update_of(model, X[:1], y[:1]), X[:1], reference=reference)
    assert alone.figure == 1.0
    assert alone.wins
    small = attack_gradients(update_of(model, X[:3], y[:3]), X[:3], reference=reference)
    assert small.figure > 0
    many = summed([update_of(model, X[i : i + 8], y[i : i + 8]) for i in range(0, 64, 8)])
    assert attack_gradients(many, X, reference=reference).figure < 0.05
    private = noised_update(model, X[:1], y[:1], clip=1.0, noise_multiplier=0.5, seed=0)
    assert attack_gradients(private, X[:1], reference=reference).figure == 0
    assert labels_in(update_of(model, X[:1], y[:1]).gradients[-1]).tolist() == [y[0]]


def test_an_image_is_found_whose_gradient_points_the_same_way() -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch: make torch")
    from tacit.attacks import match_gradients, noised_update, update_of

    torch.manual_seed(1)
    found = load_digits()
    X, y = (found.data[:1] / 16).astype(np.float32).reshape(1, 1, 8, 8), found.target[:1]
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 8, 3), torch.nn.Sigmoid(), torch.nn.Flatten(), torch.nn.Linear(288, 10))
    gap = []
    for update in (update_of(model, X, y), noised_update(model, X, y, clip=1.0, noise_multiplier=1.0, seed=0)):
        image = match_gradients(model, update, shape=(1, 8, 8), label=int(y[0]), steps=400)
        gap.append(float(np.corrcoef(image.ravel(), X.ravel())[0, 1]))
    assert gap[0] > 0.9
    assert gap[1] < 0.5


def test_an_update_of_another_kind_is_refused() -> None:
    from tacit.attacks import Update, attack_gradients

    with pytest.raises(UsageError, match="linear layer with biases first"):
        attack_gradients(Update((np.zeros((2, 3)), np.zeros(5)), 1), np.zeros((1, 3)), reference=np.zeros((1, 3)))
