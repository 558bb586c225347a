"""Membership inference: can somebody who queries the model tell who was in its training set?

LiRA compares a record's confidence with what shadows say that had it and that did not (Carlini et al. 2022); the relative attack compares it with
what is usual for the record (Zarifzadeh et al. 2024). Results are owner-side measurements and are not released.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from scipy.stats import beta, rankdata

from tacit.errors import UsageError
from tacit.guarantee import Guarantee
from tacit.guard import gdp_mu

FPRS = (0.01, 0.001)
CONTRADICTION = 1e-3  # chance of calling a claim inconsistent that holds
_ENOUGH = 10.0
_PRIOR = 8.0

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class RateAt:
    """True positive rate at one false positive rate, with its exact 95 % interval and what the guarantee allows.

    ``resolvable`` is false if fewer than ten non-members lie above the threshold: then the figure says little.
    """

    fpr: float
    tpr: float
    low: float
    high: float
    bound: float | None
    resolvable: bool

    def beats(self, members: int, nonmembers: int, *, level: float) -> bool:
        """Whether the true rate lies above the bound, with an error of at most ``level``; see `beats`."""
        return beats(self.tpr, self.fpr, self.bound or 0.0, counts=(members, nonmembers), level=level)


def beats(tpr: float, fpr: float, bound: float, *, counts: tuple[int, int], level: float) -> bool:
    """Whether an attack's true rate lies above a bound, with an error of at most ``level``.

    Both rates were measured, so both get an exact interval. The bound at the false positive rate's upper end is at most in proportion to the
    one at ``fpr``, because a trade-off curve is concave (Dong et al. 2022, proposition 2.2).

    Args:
        tpr: measured true positive rate.
        fpr: false positive rate that the threshold was set for.
        bound: largest true positive rate that the guarantee allows at ``fpr``.
        counts: members and others that were measured on.
        level: of the test.
    """
    members, nonmembers = counts
    low, _ = exact_interval(round(tpr * members), members, level=1 - level)
    _, high = exact_interval(int(fpr * nonmembers), nonmembers, level=1 - level)
    return low > min(1.0, bound * max(1.0, high / fpr))


@dataclass(frozen=True)
class AttackResult:
    """What one attack found. ``released`` is false: it was measured on records and is not private."""

    name: str
    auc: float
    auc_low: float
    auc_high: float
    rates: tuple[RateAt, ...]
    members: int
    nonmembers: int
    shadows: int
    released: bool = False

    @property
    def verdict(self) -> str:
        """Leak found, inconsistent with the claim, or no leak found at the power there was. Never «safe»."""
        tried = [rate for rate in self.rates if rate.bound is not None and rate.resolvable]
        if any(rate.beats(self.members, self.nonmembers, level=CONTRADICTION / len(tried)) for rate in tried):
            return "inconsistent with the claim"
        if self.auc_low > 0.5 or any(rate.resolvable and rate.low > rate.fpr for rate in self.rates):
            return "leak found"
        return f"no leak found; one of AUC {0.5 + (self.auc_high - self.auc_low):.3f} would have been"

    def to_dict(self) -> dict[str, Any]:
        """Plain form."""
        return {**asdict(self), "verdict": self.verdict}


def confidence(margins: NDArray[Any], labels: NDArray[np.int64]) -> Scores:
    """The log odds that a model gives to a record's own label: float64, shape of ``margins``."""
    signs = (2 * labels - 1).astype(np.float64)
    return np.asarray(margins * (signs if margins.ndim == 1 else signs[:, None]), np.float64)


def lira(target: Scores, shadows: Scores, membership: NDArray[np.bool_]) -> Scores:
    """Log likelihood ratio of «was a member», per record; per-record means, variances shrunk to their mean over records.

    Args:
        target: confidences of the attacked model, ``[records]``.
        shadows: confidences of the shadows, ``[records, shadows]``.
        membership: bool ``[records, shadows]``.
    """
    inside = _moments(shadows, membership)
    outside = _moments(shadows, ~membership)
    return _log_normal(target, *inside) - _log_normal(target, *outside)


def relative(target: Scores, shadows: Scores) -> Scores:
    """How much likelier the label is than usual for this record: log p - log mean p over shadows, ``[records]``."""
    usual = np.exp(-np.logaddexp(0, -shadows)).mean(axis=1)
    return np.asarray(-np.logaddexp(0, -target) - np.log(np.maximum(usual, 1e-300)))


def _moments(scores: Scores, chosen: NDArray[np.bool_]) -> tuple[Scores, Scores]:
    count = np.maximum(chosen.sum(axis=1), 1)
    mean = np.where(chosen, scores, 0).sum(axis=1) / count
    squares = np.where(chosen, (scores - mean[:, None]) ** 2, 0).sum(axis=1)
    pooled = squares.sum() / max(1, int((count - 1).sum()))
    return mean, (squares + _PRIOR * pooled) / (count - 1 + _PRIOR) + 1e-12


def _log_normal(x: Scores, mean: Scores, variance: Scores) -> Scores:
    return np.asarray(-((x - mean) ** 2) / (2 * variance) - np.log(variance) / 2)


def implied_bound(fpr: float, guarantee: Guarantee | None) -> float | None:
    """The largest true positive rate any attack can have at this false positive rate under a guarantee (Kairouz et al. 2015; Dong et al. 2022).

    >>> from tacit.guarantee import *
    >>> implied_bound(0.01, Guarantee(1.0, 1e-5, PrivacyUnit(), Relation.ADD_REMOVE, Scope("x"), TrustModel.curator(), "pld")) < 0.0272
    True
    """
    if guarantee is None or not guarantee.holds:
        return None
    epsilon, delta = guarantee.epsilon, guarantee.delta
    general = min(1.0, math.exp(min(epsilon, 700.0)) * fpr + delta, 1 - math.exp(-epsilon) * (1 - fpr - delta))
    if not guarantee.accountant.startswith("gdp") or epsilon <= 0:
        return general
    # Only Gaussian noise: the whole trade-off curve is known. Samplers take part of δ, so this μ is not below the true one.
    return min(general, float(ndtr(ndtri(fpr) + gdp_mu(epsilon, delta))))


def exact_interval(hits: int, trials: int, *, level: float = 0.95) -> tuple[float, float]:
    """Clopper-Pearson interval of a rate."""
    tail = (1 - level) / 2
    low = 0.0 if hits == 0 else float(beta.ppf(tail, hits, trials - hits + 1))
    return low, 1.0 if hits == trials else float(beta.ppf(1 - tail, hits + 1, trials - hits))


def evaluate(
    name: str, scores: Scores, is_member: NDArray[np.bool_], *, shadows: int, guarantee: Guarantee | None = None, seed: int = 0,
) -> AttackResult:
    """AUC and true positive rates of an attack's scores; ties are broken at random by a fixed seed.

    Args:
        name: of the attack.
        scores: larger means «member», ``[records]``.
        is_member: the truth, ``[records]``.
        shadows: how many were used.
        guarantee: what the attacked model promises.
        seed: of the tie-breaking.

    Raises:
        UsageError: without at least two members and two others, or with scores that are not numbers.
    """
    members, others = int(is_member.sum()), int((~is_member).sum())
    if members < 2 or others < 2 or not np.isfinite(scores).all():
        raise UsageError(f"Expected finite scores of at least two members and two others; got {members} and {others}.")
    order = np.lexsort((np.random.default_rng(seed).random(len(scores)), scores))
    ranks = np.empty(len(scores))
    ranks[order] = np.arange(len(scores))
    auc = (rankdata(scores)[is_member].sum() - members * (members + 1) / 2) / (members * others)
    half = 1.96 * _auc_error(auc, members, others)
    rates = tuple(_rate(fpr, ranks, is_member, guarantee) for fpr in FPRS)
    return AttackResult(name, float(auc), float(max(0.0, auc - half)), float(min(1.0, auc + half)), rates, members, others, shadows)


def _rate(fpr: float, ranks: Scores, is_member: NDArray[np.bool_], guarantee: Guarantee | None) -> RateAt:
    others = np.sort(ranks[~is_member])[::-1]
    threshold = others[min(len(others) - 1, int(fpr * len(others)))]
    hits, members = int((ranks[is_member] > threshold).sum()), int(is_member.sum())
    low, high = exact_interval(hits, members)
    return RateAt(fpr, hits / members, low, high, implied_bound(fpr, guarantee), bool(len(others) * fpr >= _ENOUGH))


def _auc_error(auc: float, members: int, others: int) -> float:
    """Standard error of an AUC (Hanley & McNeil 1982)."""
    first, second = auc / (2 - auc), 2 * auc * auc / (1 + auc)
    variance = auc * (1 - auc) + (members - 1) * (first - auc * auc) + (others - 1) * (second - auc * auc)
    return math.sqrt(max(variance, 0.0) / (members * others))


def attack_membership(
    target: Scores, shadows: Scores, membership: NDArray[np.bool_], *, is_member: NDArray[np.bool_], guarantee: Guarantee | None = None,
) -> tuple[AttackResult, ...]:
    """Both attacks on one model; arguments as in `lira` and `evaluate`."""
    count = membership.shape[1]
    return (
        evaluate("likelihood ratio (LiRA)", lira(target, shadows, membership), is_member, shadows=count, guarantee=guarantee),
        evaluate("relative confidence (RMIA)", relative(target, shadows), is_member, shadows=count, guarantee=guarantee),
    )
