"""A model's answers, held against a re-implementation that looks up one cell after another."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from tacit import Guarantee
from tacit.domain import Category, Domain, Numeric
from tacit.errors import DataError, UsageError
from tacit.guard import Records
from tacit.models import AdditiveModel, LinearModel
from tacit.models.scoring import FEW
from tacit.questions import Partition, Update
from tacit.questions.linear import design_names

Build = Callable[..., Any]
Recorded = Callable[..., dict[str, Any]]


def code_of(value: Any, kind: Numeric | Category) -> int:
    if isinstance(kind, Numeric):
        if math.isnan(value):
            return 0
        with np.errstate(over="ignore"):
            offset = float(np.float32(value - kind.origin))
        return 1 + sum(1 for edge in kind.edges.tolist() if offset >= edge)
    text = str(value).lower() if isinstance(value, bool | np.bool_) else value
    text = text.strip() if text is not None else ""
    return 0 if text == "" else kind.values.index(text) + 1 if text in kind.values else len(kind.values) + 1


def slow_margins(model: AdditiveModel, row: dict[str, Any]) -> list[float]:
    binning = model.frame.binning
    bins = [int(table[code_of(row[name], kind)]) for table, (name, kind) in zip(binning.tables, binning.domain.columns, strict=True)]
    margins = [0.0] * model.target.outputs
    for update in model.updates:
        partition = update.partition
        cell = sum(int(table[bins[feature]]) for feature, table in zip(partition.features, partition.tables, strict=True))
        for output in range(model.target.outputs):
            margins[output] += int(update.values[cell, output]) / 4096
    return margins


def slow_answer(model: AdditiveModel, margins: list[float]) -> list[float]:
    if model.target.bounds:
        low, high = model.target.bounds
        return [min(max(low + (margins[0] + 1) / 2 * (high - low), low), high)]
    if len(margins) == 1:
        second = 1 / (1 + math.exp(-margins[0]))
        return [1 - second, second]
    weights = [math.exp(margin - max(margins)) for margin in margins]
    return [weight / sum(weights) for weight in weights]


def answers(model: Any, data: Any) -> np.ndarray:
    return model.predict(data)[:, None] if model.target.bounds else model.predict_proba(data)


@pytest.mark.parametrize("rows", [90, FEW + 90])
def test_answers_are_the_sum_of_the_cells_a_record_lies_in(task: str, rows: int, build_additive: Build, records: Recorded) -> None:
    model, data = build_additive(task), records(rows)
    found, margins = answers(model, data), model.margins(data)
    for index in [*range(60), *range(rows - 30, rows)]:
        row = {name: column[index] for name, column in data.items()}
        expected = slow_margins(model, row)
        assert margins[index].tolist() == expected
        np.testing.assert_allclose(found[index], slow_answer(model, expected), rtol=1e-12, atol=1e-12)


def test_few_and_many_rows_take_different_ways_to_the_same_margins(task: str, build_additive: Build, records: Recorded) -> None:
    model, data = build_additive(task, trees=60), records(40_000)
    bins = model.frame.binning.bins({name: pa.array(column, from_pandas=True) for name, column in data.items()}, 40_000)
    many = model.scorer.margins(bins)
    few = np.concatenate([model.scorer.margins(bins[:, start : start + FEW]) for start in range(0, 40_000, FEW)])
    assert many.tolist() == few.tolist()


def test_a_batch_is_answered_as_its_rows_one_by_one(build: Build, task: str, records: Recorded) -> None:
    model, data = build(task), records(40)
    one_by_one = np.concatenate([answers(model, {name: column[i : i + 1] for name, column in data.items()}) for i in range(40)])
    np.testing.assert_allclose(answers(model, data), one_by_one, rtol=1e-12)


def test_probabilities_are_probabilities(build: Build, records: Recorded) -> None:
    for task in ("binary", "multiclass"):
        model = build(task)
        found = model.predict_proba(records(2000))
        assert found.shape == (2000, len(model.classes))
        assert found.min() >= 0
        np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-12)


def test_predictions_are_the_most_probable_classes_or_numbers_within_bounds(build: Build, task: str, records: Recorded) -> None:
    model, data = build(task), records(800)
    if task == "number":
        found = model.predict(data)
        assert -5 <= found.min() < found.max() <= 20
    else:
        assert model.predict(data).tolist() == [model.classes[i] for i in model.predict_proba(data).argmax(axis=1)]


def test_a_decision_function_has_the_sign_of_the_second_class(build: Build, records: Recorded) -> None:
    data = records(300)
    binary, several = build("binary"), build("multiclass")
    assert ((binary.decision_function(data) > 0) == (binary.predict_proba(data)[:, 1] > 0.5)).all()
    assert several.decision_function(data).shape == (300, 3)


def test_a_model_of_numbers_has_no_probabilities(build: Build, records: Recorded) -> None:
    for method in ("predict_proba", "decision_function"):
        with pytest.raises(UsageError, match=f"a model of classes for {method}.*Use predict"):
            getattr(build("number"), method)(records(3))


def test_every_kind_of_table_is_read_alike(build: Build, task: str, records: Recorded) -> None:
    model, data = build(task), records(700)
    expected = answers(model, data)
    arrow = pa.table({name: pa.array(column, from_pandas=True) for name, column in data.items()})
    shuffled = arrow.select(["flag", "year", "protocol", "score", "bytes_out"])
    chunked = pa.concat_tables([arrow.slice(0, 100), arrow.slice(100)])
    pandas = pd.DataFrame(data)
    categorical = pandas.assign(protocol=pandas["protocol"].astype("category"))
    polars = pl.from_arrow(arrow)
    with_more = arrow.append_column("user", pa.array(["u"] * 700))
    batch = arrow.combine_chunks().to_batches()[0]
    for table in (arrow, shuffled, chunked, pandas, categorical, polars, with_more, batch, Records.open(arrow)):
        np.testing.assert_array_equal(answers(model, table), expected)


def test_a_matrix_has_the_features_in_the_domains_order(build: Build, task: str, numbers_alone: Domain) -> None:
    model = build(task, domain=numbers_alone)
    matrix = np.random.default_rng(3).normal(4, 5, (50, 3))
    by_name = {name: matrix[:, i] for i, name in enumerate(numbers_alone.names)}
    np.testing.assert_array_equal(answers(model, matrix), answers(model, by_name))


def test_numbers_and_truth_values_may_come_as_text(build: Build, task: str, records: Recorded) -> None:
    model, data = build(task), records(400)
    as_text = {name: np.array([None if v is None or v != v else str(v).lower() if name == "flag" else str(v) for v in column], dtype=object)
               for name, column in data.items()}
    np.testing.assert_array_equal(answers(model, as_text), answers(model, data))


def test_missing_is_a_value_of_its_own_and_infinite_is_the_outermost(build_additive: Build, records: Recorded) -> None:
    model = build_additive("binary")
    base = {name: column[:1] for name, column in records(1).items()} | {"score": np.array([0.5])}

    def margin(value: float) -> float:
        return float(model.margins({**base, "score": np.array([value])})[0, 0])

    assert margin(math.inf) == margin(3.0) == margin(1e9)
    assert margin(-math.inf) == margin(-3.0)
    assert len({margin(math.nan), margin(math.inf), margin(-math.inf)}) == 3


def test_unknown_categories_share_one_cell_and_missing_ones_another(build: Build, records: Recorded) -> None:
    model = build("binary")
    base = {name: np.repeat(column[:1], 4) for name, column in records(1).items()}
    found = model.margins({**base, "protocol": np.array(["gre", "never seen", None, "tcp"], dtype=object)})[:, 0]
    assert found[0] == found[1]
    assert len(set(found.tolist())) == 3


def test_no_rows_give_no_answers(build: Build, task: str, records: Recorded) -> None:
    empty = {name: column[:0] for name, column in records(1).items()}
    assert len(answers(build(task), pa.table({name: pa.array(column, from_pandas=True) for name, column in empty.items()}))) == 0


def test_an_absent_column_is_named(build: Build, task: str, records: Recorded) -> None:
    data = records(3)
    del data["year"]
    with pytest.raises(DataError, match="«year»"):
        build(task).margins(data)


def test_an_explanation_sums_exactly_to_the_margin(build_additive: Build, task: str, records: Recorded) -> None:
    model, data = build_additive(task), records(25)
    margins = model.margins(data)
    for index in range(25):
        found = model.explain({name: column[index] for name, column in data.items()})
        total = np.array(found.intercept) + np.sum([item.values for item in found.contributions], axis=0)
        assert found.margins == tuple(margins[index].tolist()) == tuple(total.tolist())
        sizes = [item.size for item in found.contributions]
        assert sizes == sorted(sizes, reverse=True)


def test_an_explanation_of_a_linear_model_sums_to_the_margin(build_linear: Build, task: str, records: Recorded) -> None:
    model, data = build_linear(task), records(25)
    margins = model.margins(data)
    for index in range(25):
        found = model.explain({name: column[index] for name, column in data.items()})
        total = np.array(found.intercept) + np.sum([item.values for item in found.contributions], axis=0)
        np.testing.assert_allclose(total, margins[index], rtol=1e-12, atol=1e-12)


def test_an_explanation_says_where_the_record_lies(build_additive: Build, build_linear: Build) -> None:
    row = {"bytes_out": math.nan, "score": 0.1, "year": 2050, "protocol": "gre", "flag": True}
    words = {item.features: item.where for item in build_additive("binary", trees=0).explain(row).contributions}
    assert words["bytes_out",] == "missing"
    assert words["protocol",] == "other"
    assert words["flag",] == "true"
    assert words["year",].endswith("or more")
    low, high = map(float, words["score",].split(" to "))
    assert low <= 0.1 <= high
    words = {item.features: item.where for item in build_linear("binary").explain(row).contributions}
    assert words["protocol",] == "(other)"
    assert words["flag",] == "true"


def test_only_one_record_is_explained_at_a_time(build: Build, records: Recorded) -> None:
    with pytest.raises(UsageError, match="exactly one record"):
        build("binary").explain(records(2))


def test_shape_functions_are_the_whole_of_a_model_without_trees(build_additive: Build, task: str, records: Recorded) -> None:
    model, data = build_additive(task, trees=0), records(300)
    shapes = model.shape_functions()
    bins = model.frame.binning.bins({name: pa.array(column, from_pandas=True) for name, column in data.items()}, 300)
    total = model.scorer.intercept / 4096 + sum(shapes[name].values[bins[i]] for i, name in enumerate(model.domain.names))
    np.testing.assert_array_equal(total, model.margins(data))
    for name, shape in shapes.items():
        assert len(shape.where) == len(shape.values) == model.frame.binning.counts[model.domain.names.index(name)]
        assert shape.spread == pytest.approx(np.ptp(shape.values, axis=0).max())


def test_shape_functions_of_a_linear_model_are_its_margins_at_the_named_places(build_linear: Build) -> None:
    model = build_linear("binary")
    base = {"bytes_out": math.nan, "score": math.nan, "year": math.nan, "protocol": None, "flag": None}
    table = {name: np.array([value], dtype=object if value is None else float) for name, value in base.items()}
    start = float(model.margins(table)[0, 0])
    for name, places in {"protocol": ["tcp", "udp", "icmp", "?"], "score": [-3.0, 3.0]}.items():
        expected = [float(model.margins({**table, name: np.array([place], dtype=object)})[0, 0]) - start for place in places]
        np.testing.assert_allclose(model.shape_functions()[name].values[1:, 0], expected, atol=1e-9)


def test_margins_that_could_overflow_are_refused(build_additive: Build) -> None:
    model = build_additive("binary", trees=0)
    partition = Partition.of_feature(0, model.frame.binning.counts[0])
    huge = Update(partition, np.full((partition.size, 1), 1 << 30, np.int32))
    AdditiveModel(model.frame, (huge,), model.guarantee, model.provenance)
    with pytest.raises(UsageError, match=r"below 2\^31"):
        AdditiveModel(model.frame, (huge, huge), model.guarantee, model.provenance)


@pytest.mark.parametrize("fault", ["type", "cells", "outputs", "feature", "bins"])
def test_values_that_do_not_fit_their_partition_are_refused(fault: str, build_additive: Build) -> None:
    model = build_additive("binary", trees=0)
    bins = model.frame.binning.counts[0]
    partition = {"feature": Partition.of_feature(9, bins), "bins": Partition.of_feature(0, bins - 1)}.get(fault, Partition.of_feature(0, bins))
    shape = {"cells": (partition.size + 1, 1), "outputs": (partition.size, 2)}.get(fault, (partition.size, 1))
    update = Update(partition, np.zeros(shape, np.int64 if fault == "type" else np.int32))
    with pytest.raises(UsageError, match="Expected"):
        AdditiveModel(model.frame, (update,), model.guarantee, model.provenance)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_have_to_be_finite(bad: float, build_linear: Build) -> None:
    model = build_linear("binary")
    weights = model.weights.copy()
    weights[0, 0] = bad
    with pytest.raises(UsageError, match="finite"):
        LinearModel(model.target, model.loss, model.domain, weights, model.guarantee, model.provenance)


def test_weights_have_to_fit_the_design(build_linear: Build) -> None:
    model = build_linear("multiclass")
    with pytest.raises(UsageError, match=f"shape \\(3, {len(design_names(model.domain))}\\)"):
        LinearModel(model.target, model.loss, model.domain, model.weights[:1], model.guarantee, model.provenance)
    with pytest.raises(UsageError, match="softmax loss"):
        LinearModel(model.target, "logistic", model.domain, model.weights, model.guarantee, model.provenance)


def test_noise_that_can_be_recomputed_guarantees_nothing(build: Build, task: str, guarantee: Guarantee, provenance: Callable[..., Any]) -> None:
    with pytest.raises(UsageError, match="test seed"):
        build(task, provenance=provenance(deterministic=True))
    nothing = Guarantee(math.inf, guarantee.delta, guarantee.unit, guarantee.relation, guarantee.scope, guarantee.trust, "test seed")
    assert "no guarantee" in str(build(task, provenance=provenance(deterministic=True), guarantee=nothing).guarantee)
