"""Attacks other than membership on an undefended model and behind a defence, with utility: ``python -m benchmarks.workers.others``. One JSON line."""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from benchmarks.tasks import digits
from tacit import Budget
from tacit.attacks import (
    Inverter,
    NetworkRecipe,
    Networks,
    Thief,
    attack_attribute,
    attack_extraction,
    attack_gradients,
    attack_inversion,
    noised_update,
    summed,
    train_networks,
    update_of,
)
from tacit.domain import Domain, Numeric
from tacit.learn import BoostedTreesClassifier, LinearClassifier
from tacit.models import AnswerNoise, Defended, TopOnly

DRAWS = 5


def proba(networks: Networks) -> Any:
    def ask(rows: Any) -> Any:
        logits = networks.logits(np.asarray(rows, np.float32))[0].astype(np.float64)
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return odds / odds.sum(axis=1, keepdims=True)

    return ask


def inversion() -> dict[str, Any]:
    """Handwritten digits; 700 to learn from, as many others."""
    X, y = digits()
    order = np.random.default_rng(0).permutation(len(y))
    X, y = X[order].astype(np.float64), y[order]
    rng, everybody = np.random.default_rng(0), np.ones((700, 1), bool)

    def net(labels: Any) -> Any:
        return proba(train_networks(X[:700].astype(np.float32), labels, members=everybody, classes=10, recipe=NetworkRecipe((128,)), rng=rng))

    plain, control = net(y[:700]), net(rng.permutation(y[:700]))
    private = LinearClassifier(Budget(1.0, 1e-4), classes=list(range(10))).fit(X[:700], y[:700])
    found = {}
    for name, model in (("none", plain), ("labels only", Defended(plain, (TopOnly(labels=True),)).predict_proba), ("DP, ε=1", private.predict_proba)):
        result = attack_inversion(model, (X[:700], y[:700]), (X[700:1_400], y[700:1_400]), control=control, inverter=Inverter(starts=6, steps=80))
        accuracy = float((np.asarray(model(X[1_400:])).argmax(axis=1) == y[1_400:]).mean())
        found[name] = {"figure": result.classes.figure, "control": result.classes.control, "wins": result.classes.wins, "utility": accuracy,
                       "evaluated": result.evaluated, "people": result.people.figure, "people_win": result.people.wins}
    return found


def extraction() -> dict[str, Any]:
    """A forest with a curved boundary; the control is what the thief reaches with as many labels of his own."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(6_000, 5))
    y = (np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2] + 0.3 * rng.normal(size=6_000) > 0).astype(int)
    forest, found = RandomForestClassifier(40, min_samples_leaf=5, random_state=0).fit(X[:2_000], y[:2_000]), {}
    noisy = Defended(forest, (AnswerNoise(4.0),))
    for name, model, queries in (("none", forest, 1_000), ("noise on answers", noisy, 1_000), ("at most 50 queries", forest, 50)):
        result = attack_extraction(model, X[2_000:4_000], X[4_000:], labels=y[2_000:4_000], thief=Thief(queries=queries))
        accuracy = float((np.asarray(model.predict_proba(X[4_000:])).argmax(axis=1) == y[4_000:]).mean())
        found[name] = {"figure": result.figure, "control": result.control, "wins": result.wins, "utility": accuracy}
    return found


def attribute() -> dict[str, Any]:
    """Coins; half of the labels say what the second coin was, so that there is something to learn: three quarters can be right. Five draws."""
    def coins(seed: int) -> tuple[Any, Any]:
        rng = np.random.default_rng(seed)
        X = rng.integers(0, 2, (1_500, 14)).astype(float)
        return X, np.where(rng.random(1_500) < 0.5, X[:, 1], rng.integers(0, 2, 1_500)).astype(int)

    domain = Domain(tuple((f"x{place}", Numeric(0, 1)) for place in range(14)))
    private = BoostedTreesClassifier(Budget(1.0, 1e-5), classes=[0, 1], domain=domain)
    found = {}
    for name, estimator in (("none", RandomForestClassifier(60, max_features=None, random_state=0)), ("DP, ε=1", private)):
        rows = []
        for draw in range(DRAWS):
            members, others = coins(2 * draw), coins(2 * draw + 1)
            model = estimator.fit(*members)
            result = attack_attribute(model, members, others, sensitive=0).memorised
            rows.append((result.figure, result.control, result.wins, (model.predict(others[0]) == others[1]).mean()))
        figure, control, wins, utility = (float(value) for value in np.mean(rows, axis=0))
        found[name] = {"figure": figure, "control": control, "wins": wins > 0.5, "won": wins, "utility": utility}
    return found


def gradients() -> dict[str, Any]:
    """One record per update of a site; eight sites of eight under secure aggregation; one record clipped and noised."""
    import torch

    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    model = torch.nn.Sequential(torch.nn.Linear(20, 256), torch.nn.ReLU(), torch.nn.Linear(256, 4))
    X, y, reference = rng.normal(size=(64, 20)).astype(np.float32), rng.integers(0, 4, 64), rng.normal(size=(64, 20))
    alone = [attack_gradients(update_of(model, X[i : i + 1], y[i : i + 1]), X[i : i + 1], reference=reference).figure for i in range(64)]
    noised = [noised_update(model, X[i : i + 1], y[i : i + 1], clip=1.0, noise_multiplier=0.5, seed=i) for i in range(64)]
    private = [attack_gradients(update, X[i : i + 1], reference=reference).figure for i, update in enumerate(noised)]
    masked = attack_gradients(summed([update_of(model, X[i : i + 8], y[i : i + 8]) for i in range(0, 64, 8)]), X, reference=reference).figure
    return {"none": {"figure": float(np.mean(alone)), "control": 0.0, "wins": bool(np.mean(alone) > 0.5), "utility": 1.0},
            "secure aggregation, 64 records": {"figure": masked, "control": 0.0, "wins": bool(masked > 0.1), "utility": 1.0},
            "clipped and noised": {"figure": float(np.mean(private)), "control": 0.0, "wins": bool(np.mean(private) > 0.1), "utility": float("nan")}}


def main() -> int:
    found = {"inversion": inversion(), "extraction": extraction(), "attribute": attribute(), "gradients": gradients()}
    sys.stdout.write(json.dumps(found).replace("NaN", "null") + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
