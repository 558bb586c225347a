"""Defences change answers as they say, and no more."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.errors import Refused, UsageError
from tacit.models import AnswerNoise, Defended, ExtractionWatch, QueryLimit, Rounding, TopOnly
from tacit.models.defences import digests


class Model:
    classes_ = np.array(["a", "b", "c"])

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        odds = np.exp(np.asarray(X)[:, :3])
        return np.asarray(odds / odds.sum(axis=1, keepdims=True))


X = np.random.default_rng(0).normal(size=(400, 4))


def test_nothing_is_changed_without_defences() -> None:
    assert np.array_equal(Defended(Model()).predict_proba(X), Model().predict_proba(X))


@given(st.integers(1, 3))
def test_rounding_and_top_only_keep_the_class(count: int) -> None:
    plain = Model().predict_proba(X)
    for defence in (Rounding(6), TopOnly(count), TopOnly(labels=True)):
        assert np.array_equal(Defended(Model(), (defence,)).predict_proba(X).argmax(axis=1), plain.argmax(axis=1))
    assert ((Defended(Model(), (TopOnly(count),)).predict_proba(X) > 0).sum(axis=1) == count).all()


def test_noise_is_the_same_for_the_same_record_and_no_other() -> None:
    served = Defended(Model(), (AnswerNoise(0.5),))
    again = [served.predict_proba(X) for _ in range(3)]
    assert np.array_equal(again[0], again[1])
    assert np.array_equal(served.predict_proba(X[::-1])[::-1], again[0])
    moved = served.predict_proba(X + 1e-9)
    assert np.abs(np.log(moved) - np.log(again[0])).mean() > 0.1
    assert not np.array_equal(Defended(Model(), (AnswerNoise(0.5),)).predict_proba(X), again[0])


def test_noise_is_normal_with_its_scale() -> None:
    from scipy import stats

    noise = AnswerNoise(1.0)
    drawn = np.concatenate([noise._noise(str(i).encode(), 3) for i in range(20_000)])
    assert stats.kstest(drawn, "norm").pvalue > 1e-6
    assert abs(float(drawn.std()) - 1) < 0.02  # five deviations; noise that is 5 % wrong lies beyond


def test_averaging_repeated_answers_gains_nothing_and_fresh_noise_would_lose() -> None:
    plain, served = np.log(Model().predict_proba(X)), Defended(Model(), (AnswerNoise(1.0),))
    averaged = np.mean([np.log(served.predict_proba(X)) for _ in range(30)], axis=0)
    fresh = np.mean([np.log(Defended(Model(), (AnswerNoise(1.0),)).predict_proba(X)) for _ in range(30)], axis=0)
    gaps = [np.abs((values - values.mean(1, keepdims=True)) - (plain - plain.mean(1, keepdims=True))).mean() for values in (averaged, fresh)]
    assert gaps[0] > 0.4
    assert gaps[1] < 0.2


def test_a_limit_counts_different_records_per_client_and_refuses_as_a_whole() -> None:
    served = Defended(Model(), limit=QueryLimit(300))
    for _ in range(3):
        served.predict_proba(X[:250], client="a")
    with pytest.raises(Refused, match="at most 300 different records per client; 250 were asked about and 150 more"):
        served.predict_proba(X, client="a")
    served.predict_proba(X[:300], client="a")
    served.predict_proba(X[:300], client="b")


def test_the_quietest_client_is_forgotten_first() -> None:
    limit = QueryLimit(2, clients=2)
    for client in ("a", "b", "a", "c"):
        limit.charge(client, [client.encode()])
    assert list(limit._seen) == ["a", "c"]


def test_exploring_is_told_from_using() -> None:
    usual = float((Model().predict_proba(X).max(axis=1) < 0.75).mean())
    watch = ExtractionWatch(usual)
    served = Defended(Model(), watch=watch)
    served.predict_proba(X, client="user")
    served.predict_proba(X * 0.1, client="explorer")
    assert watch.suspicious() == ("explorer",)


def test_equal_records_are_one_in_every_table() -> None:
    frame = pd.DataFrame({"n": [1.0, 2.0, 1.0], "t": ["x", "y", "x"]})
    for table in (frame, pa.table({"n": [1.0, 2.0, 1.0], "t": ["x", "y", "x"]})):
        found = digests(table)
        assert found[0] == found[2] != found[1]
    assert digests(np.array([[0.0], [-0.0]]))[0] == digests(np.array([[0.0], [-0.0]]))[1]


@pytest.mark.parametrize("build", [
    lambda: Rounding(-1), lambda: Rounding(True), lambda: TopOnly(0), lambda: AnswerNoise(0), lambda: AnswerNoise(1.0, b"short"),
    lambda: QueryLimit(0),
])
def test_a_defence_that_makes_no_sense_is_refused(build: object) -> None:
    with pytest.raises(UsageError):
        build()  # type: ignore[operator]
