"""A model that leaks by construction: whoever cannot recognise its members has an attack that proves nothing elsewhere."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tacit.attacks.membership import AttackResult, attack_membership, confidence
from tacit.attacks.shadows import log_odds, paired_membership, sequential_shadows

_TREES = 25
_SMOOTH = 0.02


def planted_control(matrix: NDArray[np.float64], *, shadows: int, rng: np.random.Generator) -> AttackResult:
    """Attack a forest that was trained on random labels, so that all it can do is remember; returns the better of both attacks.

    Args:
        matrix: features of some records, ``[records, features]``, without missing values.
        shadows: as in the attack that it is a control for.
        rng: of labels, members and trees; protects nothing.
    """
    labels = rng.integers(0, 2, len(matrix))
    member = rng.random(len(matrix)) < 0.5
    membership = paired_membership(len(matrix), shadows, rng=rng)

    def train(mask: NDArray[np.bool_]) -> Callable[[], NDArray[np.float64]]:
        from sklearn.ensemble import ExtraTreesClassifier

        forest = ExtraTreesClassifier(_TREES, random_state=int(rng.integers(1 << 31)), max_features=1.0).fit(matrix[mask], labels[mask])
        return lambda: log_odds((1 - _SMOOTH) * forest.predict_proba(matrix)[:, 1] + _SMOOTH / 2)

    target, others = confidence(train(member)(), labels), confidence(sequential_shadows(train, membership), labels)
    return max(attack_membership(target, others, membership, is_member=member), key=lambda result: result.rates[0].tpr)
