from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from tacit.logs import FEATURE_SCHEMA, SimulationSpec, entity_window_features, simulate


@pytest.mark.slow
def test_detection_is_neither_trivial_nor_impossible() -> None:
    """Train on four weeks, test on the next two, at 20 alerts per day and 1,000 accounts: a strong detector finds most, not all."""
    spec = SimulationSpec(users=1_000, days=42, hosts=1_200, intrusions=110, events_per_user_day=20.0, seed=5)
    table = entity_window_features(simulate(spec).events(labels=True))
    train = table["window"].dt.date().to_numpy() < np.datetime64(spec.start + dt.timedelta(days=28))
    numbers = [feature.name for feature in FEATURE_SCHEMA if feature.kind == "numeric"]
    X, y = table.select(numbers).to_numpy(), table["malicious"].to_numpy()
    assert 0.015 < y.mean() < 0.03
    model = HistGradientBoostingClassifier(random_state=0).fit(X[train], y[train])
    score = model.predict_proba(X[~train])[:, 1]
    alerts = np.argsort(-score)[: 20 * 14]
    assert 0.97 < roc_auc_score(y[~train], score) < 0.9999
    assert 0.75 < y[~train][alerts].sum() / y[~train].sum() < 0.99
    single = [roc_auc_score(y, table[name].to_numpy()) for name in numbers]
    assert max(max(value, 1 - value) for value in single) < 0.85  # no single column gives it away
    kinds = table.filter(pl.col("malicious")).group_by("attack_kind").len()
    assert kinds.height == 5
    assert kinds["len"].min() > 40
