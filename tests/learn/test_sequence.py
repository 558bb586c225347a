from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tacit import Budget
from tacit.crypto import SigningKey
from tacit.errors import UsageError
from tacit.learn import NetworkShape, SequenceClassifier, SequenceShape
from tacit.models import Tokens, load, save

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'tacit[torch]'")

BUDGET = Budget(8.0, 1e-5)
SMALL = SequenceShape(
    Tokens("words", 12, 256), width=16, heads=2, blocks=1, training=NetworkShape(hidden=(), rate=0.2, steps=60, learning_rate=1e-2),
)
USUAL = ["net", "user", "ping", "dir", "copy", "ipconfig", "tasklist", "type"]


def commands(rows: int = 3000) -> tuple[list[str], np.ndarray]:
    rng = np.random.default_rng(0)
    y = (rng.random(rows) < 0.4).astype(int)
    lines = [" ".join(rng.choice(USUAL, rng.integers(2, 8))) + (" -enc aGVsbG8=" if bad else "") for bad in y]
    return lines, y


@pytest.fixture(scope="module")
def fitted() -> SequenceClassifier:
    lines, y = commands()
    return SequenceClassifier(BUDGET, classes=[0, 1], shape=SMALL).fit(lines, y)


def test_command_lines_are_told_apart(fitted: SequenceClassifier) -> None:
    lines, y = commands()
    assert (fitted.predict(lines) == y).mean() > 0.9
    assert 0.98 * BUDGET.epsilon < fitted.guarantee_.epsilon <= BUDGET.epsilon
    assert fitted.predict_proba(["", "ping"]).shape == (2, 2)


def test_scoring_without_pytorch_is_what_was_trained(fitted: SequenceClassifier) -> None:
    from tacit.networks.sequence import TokenNetwork

    lines, _ = commands(50)
    model = fitted.model_
    network = TokenNetwork(256, 12, width=16, heads=2, blocks=1, outputs=1)
    network.load_state_dict({name: torch.from_numpy(array.astype(np.float32)) for name, array in model.weights.items()})
    with torch.no_grad():
        wanted = network(torch.from_numpy(model.tokens.of(pa.array([*lines, ""])))).numpy()
    assert np.allclose(model.margins({"text": [*lines, ""]}), wanted, atol=1e-4)


def test_a_model_is_signed_kept_and_scores_the_same(fitted: SequenceClassifier, tmp_path: Path) -> None:
    lines, _ = commands(50)
    save(fitted.model_, tmp_path / "model.tacit", SigningKey.generate())
    again = load(tmp_path / "model.tacit")
    assert np.array_equal(again.margins({"text": lines}), fitted.model_.margins({"text": lines}))


def test_units_and_frames_are_taken() -> None:
    lines, y = commands(1200)
    units = np.repeat(np.arange(400), 3)
    model = SequenceClassifier(BUDGET, classes=[0, 1], shape=SMALL, rows_per_unit=2).fit({"line": lines}, y, unit=units)
    assert model.guarantee_.unit.column is not None
    assert model.predict({"line": lines[:5]}).shape == (5,)


def test_tokens_are_public_and_bounded() -> None:
    for kind in ("grams", "words"):
        found = Tokens(kind, 10, 50).of(pa.array(["powershell -enc x", "", None, "é" * 100]))
        assert found.shape == (4, 10)
        assert found.min() >= 0
        assert found.max() < 50
        assert not found[1].any()
        assert not found[2].any()


@pytest.mark.parametrize(("make", "words"), [
    (lambda: Tokens("lines"), "grams"), (lambda: SequenceShape(width=10, heads=3), "multiple"),
    (lambda: SequenceClassifier(BUDGET, shape=SMALL).fit(*commands(300)), "classes"),
    (lambda: SequenceClassifier(BUDGET, classes=[0, 1], shape=SMALL).fit({"a": ["x"], "b": ["y"]}, [0]), "one column"),
])
def test_what_cannot_be_learned_is_refused(make: object, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        make()  # type: ignore[operator]
