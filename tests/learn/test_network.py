from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tacit import Budget
from tacit.crypto import SigningKey
from tacit.domain import Category, Domain, Numeric
from tacit.errors import BudgetExceeded, UsageError
from tacit.guard import Ledger
from tacit.learn import NetworkClassifier, NetworkRegressor, NetworkShape
from tacit.models import load, save

pytest.importorskip("torch", reason="needs PyTorch: pip install 'tacit[torch]'")

BUDGET = Budget(4.0, 1e-5)
DOMAIN = Domain.of(size=Numeric(-4, 4), port=Numeric(0, 65535), proto=Category(("tcp", "udp")))
SMALL = NetworkShape(hidden=(16,), steps=60, learning_rate=1e-2)


def table(rows: int = 4000) -> tuple[dict[str, Any], np.ndarray]:
    rng = np.random.default_rng(0)
    x = {"size": rng.normal(size=rows), "port": rng.integers(0, 65535, rows).astype(float), "proto": rng.choice(["tcp", "udp"], rows)}
    return x, ((x["size"] > 0) ^ (x["proto"] == "udp")).astype(int)


def test_it_learns_what_no_linear_model_can_and_says_what_it_promises() -> None:
    x, y = table()
    model = NetworkClassifier(BUDGET, domain=DOMAIN, classes=[0, 1], shape=SMALL).fit(x, y)
    assert (model.predict(x) == y).mean() > 0.85
    assert 0.98 * BUDGET.epsilon < model.guarantee_.epsilon <= BUDGET.epsilon
    assert model.guarantee_.accountant == "pld"
    assert abs(model.size_ - 4000) < 400


def test_columns_and_classes_that_are_not_declared_are_found() -> None:
    x, y = table()
    model = NetworkClassifier(BUDGET, shape=SMALL).fit(x, y)
    assert set(model.classes_) == {0, 1}
    assert (model.predict(x) == y).mean() > 0.8


@pytest.mark.parametrize("rows_per_unit", [1, 4])
def test_units_are_protected_as_one(rows_per_unit: int) -> None:
    x, y = table()
    units = np.repeat(np.arange(1000), 4)
    model = NetworkClassifier(BUDGET, domain=DOMAIN, classes=[0, 1], rows_per_unit=rows_per_unit, shape=SMALL).fit(x, y, unit=units)
    assert model.guarantee_.unit.column is not None
    assert (model.predict(x) == y).mean() > 0.6


def test_numbers_are_predicted_within_their_bounds() -> None:
    x, _ = table()
    y = 3 * np.abs(x["size"])
    model = NetworkRegressor(BUDGET, domain=DOMAIN, bounds=(0.0, 10.0), shape=SMALL).fit(x, y)
    found = model.predict(x)
    assert found.min() >= 0
    assert found.max() <= 10
    assert np.corrcoef(found, y)[0, 1] > 0.6


def test_a_model_is_signed_kept_and_scores_the_same(tmp_path: Path) -> None:
    x, y = table()
    model = NetworkClassifier(BUDGET, domain=DOMAIN, classes=[0, 1], shape=SMALL).fit(x, y).model_
    save(model, tmp_path / "model.tacit", SigningKey.generate())
    again = load(tmp_path / "model.tacit")
    assert again == model
    assert np.array_equal(again.margins(x), model.margins(x))


def test_a_fit_uses_its_ledger_up() -> None:
    x, y = table(1000)
    ledger = Ledger.ephemeral()
    NetworkClassifier(BUDGET, domain=DOMAIN, classes=[0, 1], shape=SMALL, ledger=ledger).fit(x, y)
    with pytest.raises(BudgetExceeded):
        NetworkClassifier(BUDGET, domain=DOMAIN, classes=[0, 1], shape=SMALL, ledger=ledger).fit(x, y)


def test_a_test_seed_fixes_everything_and_promises_nothing() -> None:
    x, y = table(1000)
    fits = [NetworkClassifier(BUDGET, domain=DOMAIN, classes=[0, 1], shape=SMALL, test_seed=3).fit(x, y) for _ in range(3)]
    assert all(np.array_equal(fits[0].model_.margins(x), fit.model_.margins(x)) for fit in fits[1:])
    assert not fits[0].guarantee_.holds


@pytest.mark.parametrize("wrong", [{"hidden": (0,)}, {"rate": 0.0}, {"steps": 0}, {"clip": -1.0}, {"averaging": 0.0}])
def test_wrong_shapes_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="Expected"):
        NetworkShape(**wrong)
