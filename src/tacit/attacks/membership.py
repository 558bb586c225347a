"""Membership inference: can somebody who queries the model tell who was in its training set?

Every attack is a score per record, larger for «member». All but the simplest compare the model's confidence in a record with what shadows say that
had it and that did not (Carlini et al. 2022), or with what is usual for the record (Zarifzadeh et al. 2024; Watson et al. 2022).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from tacit.attacks.judging import Scores

_FLOOR = 1e-12
_PRIOR = 8.0
_MOST_PRIOR = 50.0
_CHUNK = 65_536

Membership = NDArray[np.bool_]


def confidence(margins: NDArray[np.floating], labels: NDArray[np.int64]) -> Scores:
    """The log odds that a model of two classes gives to a record's own label: float64, shape of ``margins``."""
    signs = (2 * labels - 1).astype(np.float64)
    return np.asarray(margins * (signs if margins.ndim == 1 else signs[:, None]), np.float64)


@dataclass(frozen=True, eq=False)
class Moments:
    """What shadows say of every record: how many had it, and mean and sum of squares of their confidence; the same for those that did not.

    All float64 ``[records]``. Means of nothing are 0.
    """

    inside: Scores
    mean_in: Scores
    squares_in: Scores
    outside: Scores
    mean_out: Scores
    squares_out: Scores

    @classmethod
    def of(cls, shadows: NDArray[np.floating], membership: Membership) -> Moments:
        """From confidences and membership ``[records, shadows]``; a few thousand records at a time, so that no second matrix is made."""
        found = np.empty((6, len(shadows)))
        for start in range(0, len(shadows), _CHUNK):
            rows = slice(start, start + _CHUNK)
            scores, chosen = np.asarray(shadows[rows], np.float64), membership[rows]
            for place, mask in enumerate((chosen, ~chosen)):
                count = mask.sum(axis=1)
                mean = np.where(mask, scores, 0).sum(axis=1) / np.maximum(count, 1)
                squares = np.where(mask, (scores - mean[:, None]) ** 2, 0).sum(axis=1)
                found[3 * place : 3 * place + 3, rows] = count, mean, squares
        return cls(*found)

    @property
    def usual(self) -> Scores:
        """Mean confidence of all shadows, those that had a record and those that had not counting alike where there are both."""
        both = (self.inside > 0) & (self.outside > 0)
        count = np.maximum(self.inside + self.outside, 1)
        return np.where(both, (self.mean_in + self.mean_out) / 2, (self.inside * self.mean_in + self.outside * self.mean_out) / count)


def lira(target: Scores, shadows: NDArray[np.floating], membership: Membership) -> Scores:
    """Log likelihood ratio of «was a member», per record; per-record means, variances shrunk to their mean over records.

    Args:
        target: confidences of the attacked model, ``[records]``.
        shadows: confidences of the shadows, ``[records, shadows]``.
        membership: bool ``[records, shadows]``.
    """
    found = Moments.of(shadows, membership)
    sides = ((found.inside, found.mean_in, found.squares_in), (found.outside, found.mean_out, found.squares_out))
    inside, outside = (_log_normal(target, mean, _shrunk(squares, count, _PRIOR)[0]) for count, mean, squares in sides)
    return inside - outside


def lira_per_record(target: Scores, moments: Moments) -> Scores:
    """The likelihood ratio as published: a variance of its own for every record (Carlini et al. 2022, online). Needs many shadows."""
    inside = _log_normal(target, moments.mean_in, moments.squares_in / np.maximum(moments.inside, 1) + _FLOOR)
    return inside - _log_normal(target, moments.mean_out, moments.squares_out / np.maximum(moments.outside, 1) + _FLOOR)


def lira_offline(target: Scores, moments: Moments) -> Scores:
    """How far a record's confidence lies above what shadows say that never saw it, in their deviations (Carlini et al. 2022, offline)."""
    return (target - moments.mean_out) / np.sqrt(_shrunk(moments.squares_out, moments.outside, _PRIOR)[0])


def calibrated(target: Scores, moments: Moments) -> Scores:
    """Confidence beyond that of shadows which never saw the record (Watson et al. 2022)."""
    return target - moments.mean_out


def shrunk_lira(target: Scores, moments: Moments) -> Scores:
    """The likelihood ratio with everything that few shadows cannot tell borrowed from all records (empirical Bayes).

    Variances are drawn to their mean with a weight that their own spread over records decides, means with and without a record to what is usual
    for pairs of such means, and the predictive distribution is Student's.
    """
    spread = [_shrunk(squares, count) for squares, count in ((moments.squares_in, moments.inside), (moments.squares_out, moments.outside))]
    means, doubts = _paired_means(moments, spread[0][0], spread[1][0])
    sides = [
        student.logpdf(target, freedom, mean, np.sqrt(variance + doubt))
        for (variance, freedom), mean, doubt in zip(spread, means, doubts, strict=True)
    ]
    return np.asarray(sides[0] - sides[1], np.float64)


def relative(target: Scores, shadows: NDArray[np.floating]) -> Scores:
    """How much likelier the label is than usual for this record: log p - log mean p over shadows, ``[records]`` (RMIA, whose rank it is)."""
    usual = np.empty(len(target))
    for start in range(0, len(target), _CHUNK):
        usual[start : start + _CHUNK] = np.exp(-np.logaddexp(0, -np.asarray(shadows[start : start + _CHUNK], np.float64))).mean(axis=1)
    return np.asarray(-np.logaddexp(0, -target) - np.log(np.maximum(usual, 1e-300)))


def _shrunk(squares: Scores, count: Scores, prior: float | None = None) -> tuple[Scores, Scores]:
    """Variance of each record, drawn to the mean over records, and its degrees of freedom."""
    freedom = np.maximum(count - 1, 0)
    pooled = float(squares.sum() / max(1.0, freedom.sum()))
    if prior is None:
        known = freedom > 0
        own = squares[known] / freedom[known]
        excess = float(own.var() - (2 * pooled**2 / freedom[known]).mean()) if known.any() else 0.0
        prior = min(max(2 * pooled**2 / max(excess, 1e-9) + 4, 1.0), _MOST_PRIOR)
    return (squares + prior * pooled) / (freedom + prior) + _FLOOR, freedom + prior


def _paired_means(moments: Moments, variance_in: Scores, variance_out: Scores) -> tuple[tuple[Scores, Scores], tuple[Scores, Scores]]:
    """Posterior means of a record's confidence with and without it, and their variances, under a normal prior over pairs."""
    both = (moments.inside > 0) & (moments.outside > 0)
    weight_in, weight_out = moments.inside / variance_in, moments.outside / variance_out
    if both.sum() < 3:
        return (moments.mean_in, moments.mean_out), (1 / np.maximum(weight_in, 1e-3), 1 / np.maximum(weight_out, 1e-3))
    pairs = np.stack([moments.mean_in[both], moments.mean_out[both]])
    center = pairs.mean(axis=1)
    noise = [(variance[both] / count[both]).mean() for variance, count in ((variance_in, moments.inside), (variance_out, moments.outside))]
    values, vectors = np.linalg.eigh(np.cov(pairs) - np.diag(noise))
    prior = np.linalg.inv((vectors * np.maximum(values, 1e-3)) @ vectors.T)
    first, second, across = prior[0, 0] + weight_in, prior[1, 1] + weight_out, prior[0, 1]
    pull = prior @ center
    sums = pull[0] + weight_in * moments.mean_in, pull[1] + weight_out * moments.mean_out
    scale = first * second - across**2
    means = (second * sums[0] - across * sums[1]) / scale, (first * sums[1] - across * sums[0]) / scale
    return means, (second / scale, first / scale)


def _log_normal(x: Scores, mean: Scores, variance: Scores) -> Scores:
    return np.asarray(-((x - mean) ** 2) / (2 * variance) - np.log(variance) / 2)


SHADOWED: dict[str, Callable[[Scores, Moments], Scores]] = {
    "calibrated confidence": calibrated, "likelihood ratio, offline": lira_offline, "likelihood ratio, per record": lira_per_record,
    "likelihood ratio, shrunk": shrunk_lira,
}
"""Attacks from moments of the shadows, by name."""
