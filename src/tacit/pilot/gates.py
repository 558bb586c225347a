"""The gates of the owner's policy, and how each candidate is held against them.

A gate passes, fails, or stays unsettled where the data cannot tell. Utility is judged by the point estimate, because the burden of proof
lies with the model that is to replace the baseline. A leakage gate passes by proof where the guarantee alone keeps the attacker below the
gate, else only by an attack that could resolve the rate and whose controls came out as they must. A group gate fails only where the whole
interval lies beyond it: the worst of many small groups is otherwise always noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from statistics import NormalDist

from tacit.attacks import beats
from tacit.errors import ConfigError
from tacit.page.numbers import decimal, of_hundred, percent, points, tenths
from tacit.pilot.results import FAIL, PASS, UNSETTLED, Attack, Candidate, GateResult, Group, Measure, Rate

TITLES = {
    "auc_loss": "Ranking quality kept",
    "recall_loss": "Detections kept",
    "attack_bound": "No attack beats the guarantee",
    "attack_advantage": "Attackers gain little",
    "group_gap": "No group falls behind",
}
FPR = 0.01
ALARM, DOUBT = 1e-3, 0.05
LEAKAGE = ("attack_bound", "attack_advantage")


@dataclass(frozen=True, slots=True)
class Gates:
    """What the owner accepts, as shares.

    Args:
        auc_loss: AUC lost to the baseline.
        recall_loss: recall at the alert budget lost to the baseline.
        attack_advantage: an attacker's true positive rate at 1 % false positives, less the 1 % that guessing gives.
        group_gap: how much larger a group's gap to everybody may be than it is under the baseline.
        ref: the policy's evidence row.

    Raises:
        ConfigError: unless every gate lies between 0 and 1.
    """

    auc_loss: float = 0.02
    recall_loss: float = 0.05
    attack_advantage: float = 0.02
    group_gap: float = 0.05
    ref: str = ""

    def __post_init__(self) -> None:
        for name in ("auc_loss", "recall_loss", "attack_advantage", "group_gap"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ConfigError(f"Expected 0 <= {name}={value} <= 1 for a pilot gate; 0.05 stands for five percentage points.")

    @classmethod
    def from_mapping(cls, data: Mapping[str, float], *, ref: str = "") -> Gates:
        """The gates of a policy's table; what it does not name keeps its default.

        Raises:
            ConfigError: for an unknown gate or a value that is not a share.

        >>> Gates.from_mapping({"recall_loss": 0.03}).recall_loss
        0.03
        """
        known = {item.name for item in fields(cls)} - {"ref"}
        if unknown := sorted(set(data) - known):
            raise ConfigError(f"Expected pilot gates among {', '.join(sorted(known))}; got «{unknown[0]}».")
        if any(isinstance(value, bool) or not isinstance(value, int | float) for value in data.values()):
            raise ConfigError("Expected a number between 0 and 1 for every pilot gate.")
        return cls(**{name: float(value) for name, value in data.items()}, ref=ref)


def blocks(result: GateResult) -> bool:
    """Whether this outcome keeps a candidate from being recommended: a failure, or a gate that could not be settled; groups block by failing."""
    return result.status == FAIL or (result.status == UNSETTLED and result.name != "group_gap")


def evaluate_gates(candidate: Candidate, baseline: Candidate | None, gates: Gates) -> tuple[GateResult, ...]:
    """All gates for one candidate; a recall gate only where recall at an alert budget was measured at all."""
    measured = baseline.utility if baseline else None
    rows = [_loss(candidate, "auc_loss", gates.auc_loss, mine=candidate.utility.auc, theirs=measured.auc if measured else None)]
    if candidate.utility.recall or (measured and measured.recall):
        theirs = measured.recall if measured else None
        rows.append(_loss(candidate, "recall_loss", gates.recall_loss, mine=candidate.utility.recall, theirs=theirs))
    rows += [_bound(candidate), _advantage(candidate, gates.attack_advantage)]
    if candidate.groups:
        rows.append(_groups(candidate, gates.group_gap))
    return tuple(_with_policy(row, gates.ref) for row in rows)


def _with_policy(row: GateResult, ref: str) -> GateResult:
    return replace(row, refs=tuple(dict.fromkeys((*row.refs, *((ref,) if ref else ())))))


def _gate(candidate: Candidate, name: str, threshold: float) -> Callable[..., GateResult]:
    def build(status: str, why: str, *, value: float | None = None, settled: bool = True, refs: Sequence[str] = ()) -> GateResult:
        return GateResult(candidate.name, name, TITLES[name], threshold, value, status, why, settled, tuple(dict.fromkeys(filter(None, refs))))

    return build


def _loss(candidate: Candidate, name: str, threshold: float, *, mine: Measure | None, theirs: Measure | None) -> GateResult:
    build = _gate(candidate, name, threshold)
    if mine is None or theirs is None:
        return build(UNSETTLED, "not measured for this model and the baseline", settled=False)
    loss = theirs.value - mine.value
    passed = loss <= threshold + 1e-12
    settled = (loss + _spread(mine, theirs) <= threshold) if passed else (loss - _spread(mine, theirs) > threshold)
    verb = "loses" if loss > 0 else "gains"
    doubt = "" if settled else "; the intervals allow either outcome"
    change = f"{verb} {points(abs(loss))} points ({_pair(name, theirs)} → {_pair(name, mine)})"
    why = f"{change}; the policy accepts a loss of {points(threshold)}{doubt}"
    return build(PASS if passed else FAIL, why, value=loss, settled=settled, refs=(theirs.ref, mine.ref))


def _pair(name: str, measure: Measure) -> str:
    return decimal(measure.value) if name == "auc_loss" else tenths(measure.value)


def _spread(first: Measure, second: Measure) -> float:
    """Half the width of a 95 % interval of a difference, as if the two were independent; on one test set it is narrower in practice."""
    halves = [(m.high - m.low) / 2 for m in (first, second) if m.high is not None and m.low is not None]
    return math.hypot(*halves) if len(halves) == 2 else 0.0


def _bound(candidate: Candidate) -> GateResult:
    """Whether any attack went beyond the proof: an alarm only where chance is out of the question, in doubt where it hardly is."""
    tried = [(a, rate) for a in candidate.attacks if a.trusted for rate in a.rates if rate.resolvable and rate.bound is not None]
    if not tried:
        return _bound_by_area(candidate)
    doubts = [sum(_beats(*pair, level=level / len(tried)) for level in (DOUBT, ALARM)) for pair in tried]
    rates = [rate for _, rate in tried]
    doubt, worst = max(zip(doubts, rates, strict=True), key=lambda pair: (pair[0], _low(pair[1]) / max(pair[1].bound or 0.0, 1e-9)))
    limit = worst.bound or 0.0
    build = _gate(candidate, "attack_bound", limit)
    ends = f" ({of_hundred(_low(worst))} to {of_hundred(worst.tpr.high)})" if worst.tpr.high is not None else ""
    why = f"at {percent(worst.fpr)} false alarms the attack recognised {percent(worst.tpr.value)}{ends}; the guarantee allows {percent(limit)}"
    refs = (worst.tpr.ref, candidate.guarantee_ref)
    if doubt == 1:
        return build(UNSETTLED, f"{why}; this may still be chance, so repeat the pilot", value=_low(worst), settled=False, refs=refs)
    above = "; so small a difference is chance" if not doubt and worst.tpr.value > limit else ""
    return build(FAIL if doubt else PASS, why + above, value=_low(worst), refs=refs)


def _beats(attack: Attack, rate: Rate, *, level: float) -> bool:
    """Whether the attack's true rate lies above the bound, with an error of at most ``level``."""
    return beats(rate.tpr.value, rate.fpr, rate.bound or 0.0, counts=(attack.members, attack.nonmembers), level=level)


def _bound_by_area(candidate: Candidate) -> GateResult:
    """Where records are too few for a rate: whether the attack's whole ranking is better than the guarantee allows."""
    build = _gate(candidate, "attack_bound", candidate.cap(FPR) or 0.0)
    tried = [attack for attack in candidate.attacks if attack.trusted and attack.auc.low is not None]
    limit = _most_area(candidate)
    if limit is None or not tried:
        why = "a control of the attack did not come out as it must" if candidate.attacks else "not attacked"
        return build(UNSETTLED, why, settled=False, refs=(candidate.guarantee_ref,))
    worst = max(tried, key=lambda attack: attack.auc.value)
    low, high = worst.auc.low or 0.0, worst.auc.high or 0.0
    sure = worst.auc.value - (worst.auc.value - low) * NormalDist().inv_cdf(1 - ALARM) / NormalDist().inv_cdf(0.975)
    reached = f"its AUC is {decimal(worst.auc.value, digits=2)} ({decimal(low, digits=2)} to {decimal(high, digits=2)})"
    why = f"too few records for a rate at 1 % false alarms, so the attack was judged as a whole: {reached}; the guarantee allows {limit:.2f}"
    status = FAIL if sure > limit else UNSETTLED if low > limit else PASS
    return build(status, why, settled=status != UNSETTLED, refs=(worst.auc.ref, candidate.guarantee_ref))


def _most_area(candidate: Candidate) -> float | None:
    """The largest AUC that (ε, δ) allows an attack: the area under its trade-off curve (Kairouz et al. 2015), two lines that meet."""
    if candidate.epsilon is None or candidate.delta is None:
        return None
    epsilon, delta = min(candidate.epsilon, 700.0), candidate.delta
    x = (1 - delta) / (math.exp(epsilon) + 1)
    y = math.exp(epsilon) * x + delta
    return min(1.0, (delta + y) / 2 * x + (y + 1) / 2 * max(0.0, 1 - delta - x) + delta)


def _low(rate: Rate) -> float:
    return rate.tpr.value if rate.tpr.low is None else rate.tpr.low


def _advantage(candidate: Candidate, threshold: float) -> GateResult:
    build = _gate(candidate, "attack_advantage", threshold)
    rate, cap = candidate.rate(FPR), candidate.cap(FPR)
    refs = (*((rate.tpr.ref,) if rate else ()), candidate.guarantee_ref)
    if cap is not None and cap - FPR <= threshold + 1e-12:
        why = f"the guarantee alone caps the gain at {points(cap - FPR)} points over guessing; the policy accepts {points(threshold)}"
        return build(PASS, why, value=rate.tpr.value - FPR if rate and rate.resolvable else None, refs=refs)
    if rate is None:
        return build(UNSETTLED, "not attacked, and the guarantee alone does not keep an attacker below the gate", settled=False, refs=refs)
    if not all(attack.trusted for attack in candidate.attacks):
        return build(UNSETTLED, "a control of the attack did not come out as it must; its result is no evidence", settled=False, refs=refs)
    if not rate.resolvable:
        return build(UNSETTLED, "too few records to measure one false alarm in a hundred", settled=False, refs=refs)
    gain, high = rate.tpr.value - FPR, (rate.tpr.value if rate.tpr.high is None else rate.tpr.high) - FPR
    passed = gain <= threshold + 1e-12
    settled = high <= threshold if passed else _low(rate) - FPR > threshold
    why = f"the attacker gains {points(gain)} points over guessing; the policy accepts {points(threshold)}" + (
        "" if settled else "; the interval allows either outcome"
    )
    return build(PASS if passed else FAIL, why, value=gain, settled=settled, refs=refs)


def _groups(candidate: Candidate, threshold: float) -> GateResult:
    build = _gate(candidate, "group_gap", threshold)
    groups = [group for group in candidate.groups if group.resolvable]
    if not groups:
        return build(UNSETTLED, "every group is too small to tell", settled=False)
    worst = max(groups, key=lambda group: group.extra_gap)
    refs = tuple(m.ref for m in (worst.gap, worst.baseline_gap) if m)
    if worst.extra_gap <= 5e-4:
        return build(PASS, "no group falls further behind than without privacy", value=worst.extra_gap, refs=refs)
    where = f"most for {worst.column} = {worst.value}: {points(worst.extra_gap)} points further behind everybody than without privacy"
    what = f"{where}; the policy accepts {points(threshold)}"
    if worst.extra_gap <= threshold + 1e-12:
        return build(PASS, what, value=worst.extra_gap, refs=refs)
    certain = [group for group in groups if _least_extra(group, of=len(groups)) > threshold]
    if not certain:
        return build(UNSETTLED, f"{what}; too few cases to tell this from chance", value=worst.extra_gap, settled=False, refs=refs)
    return build(FAIL, what, value=worst.extra_gap, refs=refs)


def _least_extra(group: Group, *, of: int) -> float:
    """The least a group's extra gap can be; its interval is widened so that ``of`` of them hold together (Bonferroni)."""
    low = group.gap.value if group.gap.low is None else group.gap.low
    wider = NormalDist().inv_cdf(1 - 0.025 / of) / NormalDist().inv_cdf(0.975)
    return group.extra_gap - (group.gap.value - low) * wider
