"""The gradient of a small network: right, clipped per unit, and of each record alone."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.special import expit, log_softmax

from tacit.domain import Category, Domain, Numeric
from tacit.errors import UsageError
from tacit.questions import GRID, Batch, Binning, DenseGradient, Frame, SessionCache, Target
from tacit.questions.dense import WEIGHT_UNIT, inputs_of, width_of

DOMAIN = Domain.of(a=Numeric(-4, 4), b=Category(("x", "y")))
BINNING = Binning(DOMAIN, tuple(np.minimum(np.arange(kind.code_count) * 9 // kind.code_count, 8).astype(np.uint8) for _, kind in DOMAIN.columns))
TARGETS = {
    "logistic": Target("y", ("0", "1")), "softmax": Target("y", ("0", "1", "2")), "squared": Target("z", bounds=(-1.0, 1.0)),
}


class Rows:
    def __init__(self, rows: int, seed: int, units: list[int] | None = None) -> None:
        rng = np.random.default_rng(seed)
        self.columns = {
            "a": pa.array(rng.normal(size=rows)), "b": pa.array(rng.choice(["x", "y", "q"], rows).tolist()),
            "y": pa.array(rng.choice(["0", "1"], rows).tolist()), "z": pa.array(rng.uniform(-1, 1, rows)),
        }
        self.rows, self.units = rows, units

    def batches(self, columns: Any = None) -> Any:
        yield Batch(self.columns, self.rows, None if self.units is None else np.array(self.units))


def layers(frame: Frame, seed: int, hidden: tuple[int, ...] = (5, 4)) -> tuple[Any, ...]:
    rng = np.random.default_rng(seed)
    sizes = [width_of(frame.binning), *hidden, frame.target.outputs]
    whole = [(rng.normal(0, 0.6, (b, a)), rng.normal(0, 0.2, b)) for a, b in pairwise(sizes)]
    return tuple((np.rint(w * WEIGHT_UNIT).astype(np.int32), np.rint(c * WEIGHT_UNIT).astype(np.int32)) for w, c in whole)


def loss_of(frame: Frame, weights: list[Any], inputs: Any, labels: Any) -> float:
    x = inputs
    for place in range(0, len(weights), 2):
        x = x @ weights[place].T + weights[place + 1]
        x = np.maximum(x, 0) if place < len(weights) - 2 else x
    if frame.loss == "logistic":
        p = expit(x[:, 0])
        return float(-(labels * np.log(p) + (1 - labels) * np.log(1 - p)).sum())
    if frame.loss == "softmax":
        return float(-log_softmax(x, axis=1)[np.arange(len(x)), labels].sum())
    return float(0.5 * ((x[:, 0] - labels) ** 2).sum())


@pytest.mark.parametrize("loss", list(TARGETS))
def test_it_is_the_derivative_of_the_loss(loss: str) -> None:
    frame, rows = Frame(TARGETS[loss], loss, BINNING), Rows(60, 1)
    given = layers(frame, 2)
    answer = DenseGradient(frame, given, 1 << 30).evaluate(rows, SessionCache()) / GRID
    inputs = inputs_of(BINNING, rows.columns, rows.rows).astype(float)
    labels: Any = np.array(rows.columns["z"]) if loss == "squared" else np.array([int(v) for v in rows.columns["y"].to_pylist()])
    flat = [part / WEIGHT_UNIT for layer in given for part in layer]
    place, step = 0, 1e-4
    for index, part in enumerate(flat):
        for at in np.ndindex(part.shape):
            up, down = ([p.copy() for p in flat] for _ in range(2))
            up[index][at] += step
            down[index][at] -= step
            slope = (loss_of(frame, up, inputs, labels) - loss_of(frame, down, inputs, labels)) / (2 * step)
            assert answer[place] == pytest.approx(slope, abs=0.08), (index, at)
            place += 1
    assert place == len(answer)


def test_a_unit_is_shortened_as_one_and_others_are_left_alone() -> None:
    frame = Frame(TARGETS["logistic"], "logistic", BINNING)
    given = layers(frame, 3)
    alone = [DenseGradient(frame, given, 1 << 30).evaluate(Rows(4, seed, [0, 0, 0, 0]), SessionCache()) for seed in (1, 2)]
    lengths = [float(np.linalg.norm(vector)) for vector in alone]
    clip = round(min(lengths) * 1.01) if max(lengths) > 1.05 * min(lengths) else round(min(lengths) / 2)
    clipped = [DenseGradient(frame, given, clip).evaluate(Rows(4, seed, [0, 0, 0, 0]), SessionCache()) for seed in (1, 2)]
    short, long = np.argsort(lengths)
    np.testing.assert_array_equal(clipped[short], alone[short])
    assert 0.99 * clip < np.linalg.norm(clipped[long]) <= clip
    cosine = clipped[long] @ alone[long] / np.linalg.norm(clipped[long]) / lengths[long]
    assert cosine > 0.9999


def test_a_record_s_gradient_depends_on_that_record_alone() -> None:
    """Whole numbers only: however rows are put together, the sum is the same to the last bit."""
    frame = Frame(TARGETS["softmax"], "softmax", BINNING)
    rows = Rows(257, 4)
    question = DenseGradient(frame, layers(frame, 5, (33, 17)), GRID)
    whole = question.evaluate(rows, SessionCache())
    total = np.zeros_like(whole)
    for start in range(257):
        part = Rows(1, 0)
        part.columns = {name: values.slice(start, 1) for name, values in rows.columns.items()}
        total += question.evaluate(part, SessionCache())
    np.testing.assert_array_equal(total, whole)


@pytest.mark.parametrize("change", ["width", "outputs", "dtype", "huge", "none", "many", "clip"])
def test_layers_that_do_not_fit_are_refused(change: str) -> None:
    frame = Frame(TARGETS["logistic"], "logistic", BINNING)
    given, clip = list(layers(frame, 1)), GRID
    if change == "width":
        given[1] = (given[1][0][:, :2], given[1][1])
    elif change == "outputs":
        given = given[:-1]
    elif change == "dtype":
        given[0] = (given[0][0].astype(np.int64), given[0][1])
    elif change == "huge":
        given[0] = (np.full_like(given[0][0], 1 << 25), given[0][1])
    elif change == "none":
        given = []
    elif change == "many":
        given = list(layers(frame, 1, (3,) * 9))
    else:
        clip = 0
    with pytest.raises(UsageError):
        DenseGradient(frame, tuple(given), clip)
