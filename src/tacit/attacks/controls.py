"""What an attack is measured against: a model that leaks by construction must be found, and where nothing can leak nothing may be found.

Whoever cannot recognise the members of the first has an attack that proves nothing elsewhere; whoever finds members in the second measures something
other than the model, such as that members are of another month than the others.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tacit.attacks.fusion import attack_membership
from tacit.attacks.judging import AttackResult, Scores, evaluate, tail_p_value
from tacit.attacks.membership import confidence
from tacit.attacks.shadows import paired_membership, sequential_shadows
from tacit.attacks.signals import log_odds

_TREES = 25
_SMOOTH = 0.02
CONTROL_LEVEL = 1e-3
"""Chance that a control of nothing fails by chance."""


@dataclass(frozen=True)
class ControlResult:
    """What a control read.

    Args:
        name: of the control.
        expected: in words, what it must read.
        auc: what it read.
        p_value: chance of reading as much if there is nothing.
        passed: whether it read what it must.
        meaning: in words, what follows.
    """

    name: str
    expected: str
    auc: float
    p_value: float
    passed: bool
    meaning: str


def split_control(scores: Scores, is_member: NDArray[np.bool_], *, seed: int) -> ControlResult:
    """The same scores where nobody is a member: the others are halved at random, and one half is called members."""
    others = scores[~is_member]
    half = np.random.default_rng([seed, 11]).permutation(len(others)) < len(others) // 2
    meaning = "the statistics find nothing where there is nothing"
    return _nothing("same attack, members drawn among the others", others, half, seed=seed, meaning=meaning)


def alike_control(scores: Scores, is_member: NDArray[np.bool_], *, seed: int) -> ControlResult:
    """The same attack on models whose training had nothing to do with who is a member: shadows, each of which had half of both sides."""
    meaning = "the attack does not confuse membership with how members differ from the others"
    return _nothing("same attack on models that did not learn from the members", scores, is_member, seed=seed, meaning=meaning)


def records_control(matrix: NDArray[np.float32], is_member: NDArray[np.bool_], *, seed: int) -> ControlResult:
    """Members told from others by the records alone, without any model (after Das et al. 2024): where that works, no attack proves a leak.

    One half of the records teaches and the other is judged, and the other way round; the smaller p-value counts twice. Pooled scores of a
    cross-validation would not do: they are not independent, and show differences where there are none.

    Args:
        matrix: records as numbers, ``[records, features]``.
        is_member: bool ``[records]``.
        seed: of halves and trees.
    """
    from sklearn.model_selection import StratifiedKFold

    name, meaning, found = "members told from others without the model", "members and others are records of one kind", []
    for teaching, judged in StratifiedKFold(2, shuffle=True, random_state=seed).split(matrix, is_member):
        scores = _told(matrix[teaching], is_member[teaching], matrix[judged], seed=seed)
        found.append(_nothing(name, scores, is_member[judged], seed=seed, meaning=meaning))
    p_value = min(1.0, 2 * min(half.p_value for half in found))
    return ControlResult(name, "chance", float(np.mean([half.auc for half in found])), p_value, p_value > CONTROL_LEVEL, meaning)


def _told(taught: NDArray[np.float32], is_member: NDArray[np.bool_], judged: NDArray[np.float32], *, seed: int) -> Scores:
    """Mean rank by boosted trees and by logistic regression: curved differences and small straight ones."""
    from scipy.stats import rankdata
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression

    learners = HistGradientBoostingClassifier(max_iter=40, max_leaf_nodes=15, random_state=seed), LogisticRegression(C=0.1, max_iter=200)
    with warnings.catch_warnings(action="ignore"):
        ranks = [rankdata(learner.fit(taught, is_member).predict_proba(judged)[:, 1]) for learner in learners]
    return np.asarray(np.mean(ranks, axis=0), np.float64)


def _nothing(name: str, scores: Scores, is_member: NDArray[np.bool_], *, seed: int, meaning: str) -> ControlResult:
    found = evaluate(name, np.asarray(scores, np.float64), is_member, shadows=0, seed=seed)
    both = min(1.0, 2 * min(found.p_value, tail_p_value(-np.asarray(scores, np.float64), is_member, seed=seed)))
    return ControlResult(name, "chance", found.auc, both, both > CONTROL_LEVEL, meaning)


def found_control(result: AttackResult) -> ControlResult:
    """Whether the attack on a model that leaks by construction found it."""
    meaning = "the attack finds members where there are any to find"
    return ControlResult("a model planted to leak", "a leak", result.auc, result.p_value, result.leaks, meaning)


def planted_control(matrix: NDArray[np.float64], *, shadows: int, rng: np.random.Generator) -> AttackResult:
    """Attack a forest that was trained on random labels, so that all it can do is remember; returns the best of the attacks.

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
    return max(attack_membership(target, others, membership, is_member=member), key=lambda result: result.at(0.01).tpr)
