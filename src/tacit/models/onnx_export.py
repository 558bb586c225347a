"""An additive model as an ONNX graph: the same lookups, made of standard operators, checked against onnxruntime before it is handed out."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tacit.domain import Category, Numeric
from tacit.errors import MissingExtra, UsageError, VerificationError
from tacit.models.additive import AdditiveModel
from tacit.models.anomaly import AnomalyModel
from tacit.models.base import Predictor
from tacit.questions.losses import MARGIN_UNIT
from tacit.replacing import replacing

_OPSET, _ML_OPSET, _TOLERANCE = 17, 3, 1e-6


def to_onnx(model: Predictor, path: str | os.PathLike[str]) -> None:
    """Write the model as ONNX.

    It has one input ``[rows, 1]`` per feature (double, or string for categories, stripped), and one output: ``probabilities``
    ``[rows, classes]``, or ``value`` for a number.

    Raises:
        MissingExtra: without the extra «onnx».
        UsageError: for a model that is not additive.
        VerificationError: if onnxruntime answers anything else than the model on random records of the domain.
    """
    if not isinstance(model, AdditiveModel):
        raise UsageError(f"Expected an additive model to export; got a {type(model).__name__}. Boosted and additive estimators have one.")
    try:
        import onnx
        import onnxruntime
    except ImportError:
        raise MissingExtra("onnx", purpose="export to ONNX") from None
    graph = _Graph(onnx)
    content = graph.build(model).SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    inputs, expected = _trial(model)
    found = session.run(None, inputs)[0]
    if found.shape != expected.shape or not np.allclose(found, expected, atol=_TOLERANCE, rtol=_TOLERANCE):
        raise VerificationError(f"Expected ONNX answers within {_TOLERANCE} of the model's; the runtime differs. Nothing was written.")
    with replacing(path) as file:
        file.write(content)


def _trial(model: AdditiveModel, rows: int = 512) -> tuple[dict[str, Any], NDArray[np.float64]]:
    rng = np.random.default_rng(7)
    inputs: dict[str, Any] = {}
    for name, kind in model.domain.columns:
        if isinstance(kind, Numeric):
            width = kind.upper - kind.lower
            values = rng.uniform(kind.lower - width / 10, kind.upper + width / 10, rows)
            values[: rows // 4] *= rng.random(rows // 4) ** 8
            values[:4] = [np.nan, np.inf, -np.inf, 0.0]
            inputs[name] = values[:, None]
        else:
            inputs[name] = rng.choice(np.array([*kind.values, "", "never seen"], dtype=object), rows)[:, None]
    plain = {name: values[:, 0] for name, values in inputs.items()}
    margins = model.margins(plain)
    return inputs, (model.answers(margins)[:, None] if model.target.bounds else model.probabilities_at(margins))


class _Graph:
    """Nodes and constants, collected."""

    def __init__(self, onnx: Any) -> None:
        self.onnx, self.nodes, self.constants, self.count = onnx, list[Any](), list[Any](), 0

    def constant(self, array: NDArray[Any]) -> str:
        self.count += 1
        name = f"c{self.count}"
        self.constants.append(self.onnx.numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def node(self, operator: str, *inputs: str, domain: str = "", output: str | None = None, **attributes: Any) -> str:
        self.count += 1
        name = output or f"n{self.count}"
        self.nodes.append(self.onnx.helper.make_node(operator, list(inputs), [name], domain=domain, **attributes))
        return name

    def bins(self, model: AdditiveModel, index: int) -> str:
        """int64 ``[rows, 1]``: the bin of one feature."""
        name, kind = model.domain.columns[index]
        table = self.constant(model.frame.binning.tables[index].astype(np.int64))
        code = self.category(name, kind) if isinstance(kind, Category) else self.number(name, kind)
        return self.node("Gather", table, code)

    def category(self, name: str, kind: Category) -> str:
        values = ["", *kind.values]
        return self.node(
            "LabelEncoder", name, domain="ai.onnx.ml", keys_strings=values, values_int64s=list(range(len(values))), default_int64=len(values),
        )

    def number(self, name: str, kind: Numeric) -> str:
        offset = self.node("Sub", name, self.constant(np.array([kind.origin])))
        known = self.node("Not", self.node("IsNaN", offset))
        clean = self.node("Where", known, offset, self.constant(np.array([0.0])))
        limit = self.constant(np.array([1e38]))
        bounded = self.node("Max", self.node("Min", clean, limit), self.constant(np.array([-1e38])))
        single = self.node("Cast", self.node("Cast", bounded, to=self.onnx.TensorProto.FLOAT), to=self.onnx.TensorProto.DOUBLE)
        above = self.node("GreaterOrEqual", single, self.constant(kind.edges[None, :]))
        cells = self.node("ReduceSum", self.node("Cast", above, to=self.onnx.TensorProto.INT64), self.constant(np.array([1])), keepdims=1)
        code = self.node("Add", cells, self.constant(np.array([1])))
        return self.node("Mul", code, self.node("Cast", known, to=self.onnx.TensorProto.INT64))

    def build(self, model: AdditiveModel) -> Any:
        onnx, outputs = self.onnx, model.target.outputs
        bins = [self.bins(model, index) for index in range(len(model.domain.columns))]
        terms = [self.constant(model.scorer.intercept.astype(np.float64)[None, :] / MARGIN_UNIT)]
        nothing = {0: np.zeros((model.frame.binning.counts[0], outputs), np.int32)}  # one answer per record, even if all are alike
        for feature, values in (model.scorer.mains or nothing).items():
            terms.append(self.lookup(values, bins[feature]))
        for partition, values in model.scorer.trees:
            levels = zip(partition.features, partition.tables, strict=True)
            places = [self.node("Gather", self.constant(table.astype(np.int64)), bins[feature]) for feature, table in levels]
            cell = places[0]
            for place in places[1:]:
                cell = self.node("Add", cell, place)
            terms.append(self.lookup(values, cell))
        total = self.node("Sum", *terms) if len(terms) > 1 else terms[0]
        output = self.answer(model, total)
        inputs = [self.value(name, kind) for name, kind in model.domain.columns]
        width = 1 if model.target.bounds else max(2, outputs)
        result = onnx.helper.make_tensor_value_info(output, onnx.TensorProto.DOUBLE, [None, width])
        graph = onnx.helper.make_graph(self.nodes, "tacit", inputs, [result], self.constants)
        versions = [onnx.helper.make_opsetid("", _OPSET), onnx.helper.make_opsetid("ai.onnx.ml", _ML_OPSET)]
        return onnx.helper.make_model(graph, opset_imports=versions, ir_version=8, producer_name="tacit", doc_string=str(model.guarantee))

    def value(self, name: str, kind: Numeric | Category) -> Any:
        tensor = self.onnx.TensorProto
        return self.onnx.helper.make_tensor_value_info(name, tensor.STRING if isinstance(kind, Category) else tensor.DOUBLE, [None, 1])

    def rank(self, model: AnomalyModel, total: str) -> str:
        """The share below the last edge that the margin reaches, double ``[rows, 1]``; half a margin step of rounding is allowed for."""
        edges = self.constant((model.edges.astype(np.float64)[None, :] - 0.5) / MARGIN_UNIT)
        reached = self.node("Cast", self.node("GreaterOrEqual", total, edges), to=self.onnx.TensorProto.INT64)
        place = self.node("ReduceSum", reached, self.constant(np.array([1])), keepdims=1)
        return self.node("Gather", self.constant(np.concatenate([[0.0], model.below])), place)

    def lookup(self, values: NDArray[np.int32], cell: str) -> str:
        gathered = self.node("Gather", self.constant(values.astype(np.float64) / MARGIN_UNIT), cell)
        return self.node("Squeeze", gathered, self.constant(np.array([1])))

    def answer(self, model: AdditiveModel, total: str) -> str:
        if model.target.bounds:
            lower, upper = model.target.bounds
            scaled = self.node("Mul", self.node("Add", total, self.constant(np.array([1.0]))), self.constant(np.array([(upper - lower) / 2])))
            moved = self.node("Add", scaled, self.constant(np.array([lower])))
            high = self.node("Min", moved, self.constant(np.array([upper])))
            return self.node("Max", high, self.constant(np.array([lower])), output="value")
        if model.target.outputs > 1:
            return self.node("Softmax", total, axis=1, output="probabilities")
        second = self.rank(model, total) if isinstance(model, AnomalyModel) else self.node("Sigmoid", total)
        first = self.node("Sub", self.constant(np.array([1.0])), second)
        return self.node("Concat", first, second, axis=1, output="probabilities")
