"""How well an attack's scores tell members from others, and what may be said of that: exact intervals, bounds, power. Owner-side, not released."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from scipy.stats import beta, hypergeom, mannwhitneyu, rankdata

from tacit.errors import UsageError
from tacit.guarantee import Guarantee
from tacit.guard import gdp_mu

FPRS = (0.1, 0.01, 0.001)
CONTRADICTION = 1e-3  # chance of calling a claim inconsistent that holds
CHANCE = 0.01
"""Chance of calling a model leaky that tells nothing, over everything one attack looks at."""
POWER = 0.9
_ENOUGH = 10.0

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
    """What one attack found. ``released`` is false: it was measured on records and is not private.

    Args:
        name: of the attack.
        auc: area under the ROC curve, with its 95 % interval.
        auc_low: its lower end.
        auc_high: its upper end.
        rates: true positive rates, at the false positive rates in `FPRS`.
        members: how many were guessed about.
        nonmembers: likewise.
        shadows: how many the attack used.
        p_value: chance that scores that tell nothing look as good anywhere; see `tail_p_value`.
    """

    name: str
    auc: float
    auc_low: float
    auc_high: float
    rates: tuple[RateAt, ...]
    members: int
    nonmembers: int
    shadows: int
    p_value: float = 1.0
    released: bool = False

    def at(self, fpr: float) -> RateAt:
        """The rate at one of `FPRS`."""
        return next(rate for rate in self.rates if math.isclose(rate.fpr, fpr))

    @property
    def contradicts(self) -> bool:
        """Whether the guarantee cannot hold, with an error of at most `CONTRADICTION`."""
        tried = [rate for rate in self.rates if rate.bound is not None and rate.resolvable]
        return any(rate.beats(self.members, self.nonmembers, level=CONTRADICTION / len(tried)) for rate in tried)

    @property
    def leaks(self) -> bool:
        """Whether the scores tell members from others beyond what chance explains."""
        return self.p_value <= CHANCE

    @property
    def verdict(self) -> str:
        """Leak found, inconsistent with the claim, or no leak found at the power there was. Never «safe»."""
        if self.contradicts:
            return "inconsistent with the claim"
        if self.leaks:
            return "leak found"
        detectable = detectable_rate(0.01, self.members, self.nonmembers)
        auc = detectable_auc(self.members, self.nonmembers)
        return f"no leak found; an AUC of {auc:.3f}, or a true positive rate of {100 * detectable:.1f} % at 1 % false positives, would have been"

    def to_dict(self) -> dict[str, Any]:
        """Plain form."""
        return {**asdict(self), "verdict": self.verdict}


def tail_p_value(scores: Scores, is_member: NDArray[np.bool_], *, seed: int = 0) -> float:
    """Chance that exchangeable scores look as good: by rank sum, or by how many members are among the highest 10, 1 and 0.1 %.

    Each of the four tests is exact or nearly so under the null hypothesis that members and others are alike (Mann-Whitney; Fisher's exact test at a
    number of records that is fixed beforehand), so the smallest of them times four is a p-value.
    """
    count, members = len(scores), int(is_member.sum())
    order = np.lexsort((np.random.default_rng(seed).random(count), -scores))
    ranked, found = is_member[order], [_rank_sum_p(scores, is_member)]
    for share in FPRS:
        top = max(1, round(share * count))
        found.append(float(hypergeom.sf(int(ranked[:top].sum()) - 1, count, members, top)))
    return min(1.0, len(found) * min(found))


def _rank_sum_p(scores: Scores, is_member: NDArray[np.bool_]) -> float:
    return float(mannwhitneyu(scores[is_member], scores[~is_member], alternative="greater", method="asymptotic").pvalue)


def detectable_rate(fpr: float, members: int, nonmembers: int) -> float:
    """The smallest true positive rate that `tail_p_value` would have found at this false positive rate, in nine of ten cases.

    By the normal approximation of Fisher's test at as many records as lie above the threshold.

    >>> 0.02 < detectable_rate(0.01, 2_000, 2_000) < 0.03
    True
    """
    level = CHANCE / (1 + len(FPRS))
    for tpr in np.geomspace(fpr, 1, 400):
        pooled = (tpr * members + fpr * nonmembers) / (members + nonmembers)
        null = math.sqrt(pooled * (1 - pooled) * (1 / members + 1 / nonmembers))
        own = math.sqrt(tpr * (1 - tpr) / members + fpr * (1 - fpr) / nonmembers)
        if tpr - fpr >= -ndtri(level) * null + ndtri(POWER) * own and members * tpr >= _ENOUGH:
            return float(tpr)
    return 1.0


def detectable_auc(members: int, nonmembers: int) -> float:
    """The smallest AUC that the rank sum would have shown, in nine of ten cases.

    >>> round(detectable_auc(2_000, 2_000), 2)
    0.54
    """
    spread = math.sqrt((members + nonmembers + 1) / (12 * members * nonmembers))
    return min(1.0, 0.5 + float(ndtri(POWER) - ndtri(CHANCE / (1 + len(FPRS)))) * spread)


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
    low, high = float(max(0.0, auc - half)), float(min(1.0, auc + half))
    return AttackResult(name, float(auc), low, high, rates, members, others, shadows, tail_p_value(scores, is_member, seed=seed))


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
