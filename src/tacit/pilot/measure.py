"""What is measured of every candidate on held-out records. Owner-side: none of it is private."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tacit.attacks import AttackResult, exact_interval
from tacit.pilot.results import Attack, CalibrationBin, Control, Group, Measure, Rate, Utility

Scores = NDArray[np.float64]
Labels = NDArray[np.int64]
_RESAMPLES = 100
_LEAST = 5
_PLANTED = 0.8


def utility(probabilities: Scores, labels: Labels, *, alerts: int, ref: str, units: Labels | None = None, seed: int = 0) -> Utility:
    """Ranking, alert and calibration measures, with 95 % intervals where they are cheap: bootstrap over whole units for the AUC.

    Args:
        probabilities: float64 ``[rows]``.
        labels: 0 or 1, ``[rows]``.
        alerts: how many of the highest count as alerts.
        ref: the evidence row.
        units: int64 ``[rows]``, never decreasing; ``None`` if every row is a unit.
        seed: of the resampling.
    """
    from sklearn.metrics import average_precision_score, brier_score_loss

    auc = _auc(probabilities, labels, units, ref=ref, seed=seed)
    precision_area = Measure(float(average_precision_score(labels, probabilities)), ref)
    hits, positives = int(labels[_alerted(probabilities, alerts)].sum()), int(labels.sum())
    recall = Measure(hits / positives, ref, *exact_interval(hits, positives))
    precision = Measure(hits / alerts, ref, *exact_interval(hits, alerts))
    brier = Measure(float(brier_score_loss(labels, np.clip(probabilities, 0, 1))), ref)
    return Utility(auc, precision_area, recall, precision, brier, _calibration(probabilities, labels), ref)


def area(scores: Scores, labels: Labels) -> float:
    """Area under the ROC curve, by ranks."""
    from scipy.stats import rankdata

    positives = int(labels.sum())
    others = len(labels) - positives
    return float((rankdata(scores)[labels == 1].sum() - positives * (positives + 1) / 2) / (positives * others))


def _alerted(probabilities: Scores, alerts: int) -> NDArray[np.intp]:
    return np.argsort(-probabilities, kind="stable")[:alerts]


def _auc(scores: Scores, labels: Labels, units: Labels | None, *, ref: str, seed: int) -> Measure:
    value, rng = area(scores, labels), np.random.default_rng(seed)
    owner = np.arange(len(labels)) if units is None else np.unique(units, return_inverse=True)[1]
    order = np.argsort(scores, kind="stable")
    owner, labels, ties = owner[order], labels[order], np.unique(scores[order], return_inverse=True)[1]
    found = []
    for _ in range(_RESAMPLES):
        weight = np.bincount(rng.integers(0, owner.max() + 1, owner.max() + 1), minlength=owner.max() + 1)[owner].astype(np.float64)
        positive, negative = np.bincount(ties, weight * labels), np.bincount(ties, weight * (1 - labels))
        if positive.sum() and negative.sum():
            below = np.cumsum(negative) - negative / 2
            found.append(float((positive * below).sum() / (positive.sum() * negative.sum())))
    low, high = np.quantile(found, [0.025, 0.975])
    return Measure(value, ref, min(float(low), value), max(float(high), value))


def _calibration(probabilities: Scores, labels: Labels) -> tuple[CalibrationBin, ...]:
    place = np.clip((probabilities * 10).astype(int), 0, 9)
    return tuple(
        CalibrationBin(float(probabilities[place == b].mean()), float(labels[place == b].mean()), int((place == b).sum()))
        for b in range(10) if (place == b).any()
    )


def groups(
    probabilities: Scores, labels: Labels, members: dict[str, NDArray[np.str_]], *, alerts: int, ref: str, baseline: tuple[Group, ...] = (),
) -> tuple[Group, ...]:
    """Recall at the alert budget per group, and the gap to everybody's."""
    flagged = np.zeros(len(labels), bool)
    flagged[_alerted(probabilities, alerts)] = True
    whole = float(flagged[labels == 1].mean())
    before = {(group.column, group.value): group for group in baseline}
    found = []
    for column, values in members.items():
        for value in np.unique(values):
            mine = (values == value) & (labels == 1)
            if not mine.any():
                continue
            hits, count = int(flagged[mine].sum()), int(mine.sum())
            low, high = exact_interval(hits, count)
            score = hits / count
            earlier = before.get((column, str(value)))
            found.append(Group(
                column, str(value), count, "Recall", Measure(score, ref, low, high), Measure(whole - score, ref, whole - high, whole - low),
                earlier.gap if earlier else None, earlier.score if earlier else None, resolvable=count >= _LEAST * 6,
            ))
    return tuple(found)


def attack_rows(results: tuple[AttackResult, ...], *, ref: str, null: AttackResult, planted: Control) -> tuple[Attack, ...]:
    """Attack results as the report shows them, with their controls.

    Args:
        results: of each attack.
        ref: the evidence row.
        null: the same attack, judged by membership drawn anew.
        planted: the attack on a model that leaks by construction.
    """
    control = Control(
        "membership drawn at random", "about 0.50", Measure(null.auc, ref, null.auc_low, null.auc_high),
        bool(null.auc_low - 0.02 <= 0.5 <= null.auc_high + 0.02),
    )
    rows = []
    for result in results:
        rates = tuple(Rate(r.fpr, Measure(r.tpr, ref, r.low, r.high), r.bound, r.resolvable) for r in result.rates)
        auc = Measure(result.auc, ref, result.auc_low, result.auc_high)
        rows.append(Attack(result.name, auc, rates, result.shadows, result.members, result.nonmembers, control, planted))
    return tuple(rows)


def planted_row(result: AttackResult, *, ref: str) -> Control:
    """The positive control as the report shows it."""
    value = Measure(result.auc, ref, result.auc_low, result.auc_high)
    return Control("a model planted to leak", f"above {_PLANTED:.2f}", value, bool(result.auc_low > _PLANTED))
