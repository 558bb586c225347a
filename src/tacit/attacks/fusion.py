"""The learned attack: which combination of signals tells members is learned on shadows, each of which takes a turn as the target.

Whoever trained the shadows knows their members. So each shadow is attacked with the others (its complement left out, which knows the answer), and a
classifier learns from that what membership looks like in the signals, tails and saturation included. Nothing of the real target's membership is used.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from tacit.attacks.judging import AttackResult, Scores, evaluate
from tacit.attacks.membership import Membership, Moments, calibrated, lira, lira_offline, relative, shrunk_lira
from tacit.errors import UsageError
from tacit.guarantee import Guarantee

LEAST_SHADOWS = 4
_MOST_TURNS = 12
_MOST_ROWS = 120_000
_TREES = 60


@dataclass(frozen=True, eq=False)
class Fusion:
    """A trained combination of signals; see `fit_fusion`."""

    trees: Any
    curves: Any

    def score(self, features: NDArray[np.float32]) -> Scores:
        """Log odds of membership, mean of both learners: float64 ``[records]``."""
        found = np.zeros(len(features))
        for start in range(0, len(features), 65_536):
            rows = features[start : start + 65_536]
            with warnings.catch_warnings(action="ignore"):
                pair = [learner.predict_proba(rows)[:, 1] for learner in (self.trees, self.curves)]
            for p in pair:
                clipped = np.clip(p, 1e-6, 1 - 1e-6)
                found[start : start + 65_536] += (np.log(clipped) - np.log1p(-clipped)) / 2
        # Trees give the same score to many records: among them the likelihood ratio decides.
        return found + 1e-6 * np.tanh(features[:, 0].astype(np.float64) / 10)


def fusion_features(target: Scores, shadows: NDArray[np.floating], membership: Membership) -> NDArray[np.float32]:
    """What is known of each record: float32 ``[records, signals]``.

    Args:
        target: confidences of the attacked model, ``[records]``.
        shadows: of the shadows, ``[records, shadows]``.
        membership: bool ``[records, shadows]``.
    """
    moments = Moments.of(shadows, membership)
    ratio = relative(target, shadows)
    spread = [np.sqrt(squares / np.maximum(count - 1, 1)) for squares, count in
              ((moments.squares_in, moments.inside), (moments.squares_out, moments.outside))]
    order = rankdata(ratio) / len(ratio)  # equal ratios get equal ranks: their position must not tell, for members often come first
    signals = (
        shrunk_lira(target, moments), target, calibrated(target, moments), lira_offline(target, moments), moments.mean_in, moments.mean_out,
        *spread, ratio, order, target - moments.usual,
    )
    return np.stack([np.clip(np.nan_to_num(signal), -1e6, 1e6) for signal in signals], axis=1).astype(np.float32)


def fit_fusion(shadows: NDArray[np.floating], membership: Membership, *, rng: np.random.Generator) -> Fusion:
    """Learn the combination on shadows that come in complementary pairs (see `paired_membership`).

    Args:
        shadows: confidences ``[records, shadows]``.
        membership: bool ``[records, shadows]``.
        rng: which records are learned from; protects nothing.

    Raises:
        UsageError: with fewer than four shadows.
    """
    records, count = shadows.shape
    if count < LEAST_SHADOWS:
        raise UsageError(f"Expected at least {LEAST_SHADOWS} shadows for the learned attack; got {count}.")
    turns = min(count, _MOST_TURNS)
    features, labels = [], []
    for turn in range(turns):
        others = [place for place in range(count) if place // 2 != turn // 2]
        found = fusion_features(np.asarray(shadows[:, turn], np.float64), shadows[:, others], membership[:, others])
        chosen = rng.permutation(records)[: _MOST_ROWS // turns]
        features.append(found[chosen])
        labels.append(membership[chosen, turn])
    return _learned(np.concatenate(features), np.concatenate(labels))


def _learned(features: NDArray[np.float32], labels: NDArray[np.bool_]) -> Fusion:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures, QuantileTransformer, StandardScaler

    leaf = max(20, min(100, len(features) // 100))
    trees = HistGradientBoostingClassifier(
        max_iter=_TREES, learning_rate=0.1, max_leaf_nodes=15, min_samples_leaf=leaf, l2_regularization=5.0, max_bins=64, random_state=0,
    )
    curves = make_pipeline(
        QuantileTransformer(n_quantiles=min(500, len(features)), output_distribution="normal", random_state=0), StandardScaler(),
        PolynomialFeatures(2), LogisticRegression(C=0.1, max_iter=200),
    )
    with warnings.catch_warnings(action="ignore"):
        return Fusion(trees.fit(features, labels), curves.fit(features, labels))


def attack_membership(
    target: Scores, shadows: NDArray[np.floating], membership: Membership, *, is_member: Membership, guarantee: Guarantee | None = None,
) -> tuple[AttackResult, ...]:
    """Three attacks on confidences, the learned one first where there are shadows enough; arguments as in `lira` and `evaluate`."""
    count, found = membership.shape[1], {}
    if count >= LEAST_SHADOWS:
        learned = fit_fusion(shadows, membership, rng=np.random.default_rng(0))
        found["learned fusion"] = learned.score(fusion_features(target, shadows, membership))
    found |= {"likelihood ratio (LiRA)": lira(target, shadows, membership), "relative confidence (RMIA)": relative(target, shadows)}
    return tuple(evaluate(name, scores, is_member, shadows=count, guarantee=guarantee) for name, scores in found.items())
