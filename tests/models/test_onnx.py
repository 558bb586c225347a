"""An exported graph answers as the model does, or is not written at all."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pytest

from tacit import Budget
from tacit.domain import Category
from tacit.errors import MissingExtra, StorageError, UsageError, VerificationError
from tacit.learn import AdditiveClassifier, BoostedTreesClassifier, BoostedTreesRegressor
from tacit.models import AdditiveModel, onnx_export, to_onnx

onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra «onnx»")

Build = Callable[..., Any]


def text_of(value: Any) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool | np.bool_) else str(value).strip()


def run(path: Path, model: AdditiveModel, data: dict[str, Any]) -> np.ndarray:
    """What onnxruntime answers; text is stripped and missing text empty, as the export asks for."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    inputs = {}
    for name, kind in model.domain.columns:
        values = data[name]
        if isinstance(kind, Category):
            inputs[name] = np.array([text_of(value) for value in values], dtype=object)[:, None]
        else:
            inputs[name] = np.asarray(values, np.float64)[:, None]
    (found,) = session.run(None, inputs)
    return np.asarray(found)


def answers(model: AdditiveModel, data: dict[str, Any]) -> np.ndarray:
    return model.predict(data)[:, None] if model.target.bounds else model.predict_proba(data)


def test_the_graph_answers_as_the_model_on_awkward_records(task: str, build_additive: Build, records: Callable[..., Any], tmp_path: Path) -> None:
    model, data = build_additive(task), records(3000)
    to_onnx(model, tmp_path / "model.onnx")
    np.testing.assert_allclose(run(tmp_path / "model.onnx", model, data), answers(model, data), atol=1e-9)


@pytest.mark.parametrize("trees", [0, 1])
def test_models_of_few_parts_are_exported_too(task: str, trees: int, build_additive: Build, records: Callable[..., Any], tmp_path: Path) -> None:
    model = build_additive(task, trees=trees)
    for part in (model, AdditiveModel(model.frame, (), model.guarantee, model.provenance)):
        to_onnx(part, tmp_path / "model.onnx")
        np.testing.assert_allclose(run(tmp_path / "model.onnx", part, records(40)), answers(part, records(40)), atol=1e-9)


def test_the_guarantee_travels_in_the_graph(build_additive: Build, tmp_path: Path) -> None:
    import onnx

    model = build_additive("binary")
    to_onnx(model, tmp_path / "model.onnx")
    assert onnx.load(tmp_path / "model.onnx").doc_string == str(model.guarantee)


def test_trained_models_answer_alike_on_records_of_people(data_directory: Path, tmp_path: Path) -> None:
    path = data_directory / "adult" / "adult.data"
    if not path.is_file():
        pytest.skip("the census file is absent")
    table = pc.read_csv(path).slice(0, 4000)
    table = table.rename_columns([name.strip() for name in table.column_names])
    X, income = table.drop_columns(["Salary"]), np.char.strip(table["Salary"].to_numpy(zero_copy_only=False).astype(str))
    data = {name: X[name].to_pylist() for name in X.column_names}
    for row in range(0, 4000, 7):
        data["age"][row] = None
        data["native-country"][row] = "Atlantis" if row % 2 else None
    data = {name: np.array(values, dtype=float if pa.types.is_integer(X[name].type) else object) for name, values in data.items()}
    several = np.array(X["race"].to_pylist()).astype(str)
    budget = Budget(3, 1e-5)
    for fit, y in (
        (BoostedTreesClassifier(budget, trees=40), income), (AdditiveClassifier(budget, trees=5, iterations=10), several),
        (BoostedTreesRegressor(budget, bounds=(1, 99), trees=40), np.array(X["hours-per-week"])),
    ):
        model = fit.fit(X, y).model_
        to_onnx(model, tmp_path / "model.onnx")
        np.testing.assert_allclose(run(tmp_path / "model.onnx", model, data), answers(model, data), atol=1e-9)


def test_a_graph_that_answers_differently_is_not_written(
    task: str, build_additive: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = onnx_export._Graph.lookup

    def broken(self: Any, values: np.ndarray, cell: str) -> str:
        return whole(self, values + (np.arange(values.size) == 0).reshape(values.shape) * 100, cell)

    monkeypatch.setattr(onnx_export._Graph, "lookup", broken)
    with pytest.raises(VerificationError, match="Nothing was written"):
        to_onnx(build_additive(task), tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("absent", ["onnx", "onnxruntime"])
def test_without_the_extra_one_is_told_which(absent: str, build_additive: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, absent, None)
    with pytest.raises(MissingExtra, match=r"pip install 'tacit\[onnx\]'"):
        to_onnx(build_additive("binary"), tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_linear_models_are_not_exported(build_linear: Build, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Expected an additive model to export; got a LinearModel"):
        to_onnx(build_linear("binary"), tmp_path / "model.onnx")


def test_what_was_there_stays_where_the_graph_cannot_be_written(build_additive: Build, tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("kept")
    with pytest.raises(StorageError):
        to_onnx(build_additive("binary"), tmp_path / "plain" / "model.onnx")
    assert (tmp_path / "plain").read_text() == "kept"
