"""From measurements to a recommendation: gates out of the owner's policy, and the smallest ε that passes them all.

A gate passes, fails, or stays unsettled where the data cannot tell. Utility is judged by the point estimate, because the burden of proof
lies with the model that is to replace the baseline. A leakage gate passes by proof where the guarantee alone keeps the attacker below the
gate, else only by an attack that could resolve the rate and whose controls came out as they must. A group gate fails only where the whole
interval lies beyond it: the worst of many small groups is otherwise always noise.

The choice looks at measurements that are not private. It belongs on the owner's side and is left out of a release.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields

from tacit.errors import ConfigError
from tacit.pilot.numbers import budget, decimal, of_hundred, percent, points
from tacit.pilot.results import (
    FAIL,
    PASS,
    UNSETTLED,
    Candidate,
    GateResult,
    Group,
    Measure,
    Meta,
    Rate,
    Reason,
    Recommendation,
    Step,
)

TITLES = {
    "auc_loss": "Ranking quality kept",
    "recall_loss": "Detections kept",
    "attack_bound": "No attack beats the guarantee",
    "attack_advantage": "Attackers gain little",
    "group_gap": "No group falls behind",
}
FPR = 0.01
_LEAKAGE = ("attack_bound", "attack_advantage")
_PREFERENCE = ("private", "linear", "federated")


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


@dataclass(frozen=True, slots=True)
class Decision:
    """The gates of every private candidate, what is recommended, and what to warn about."""

    gates: tuple[GateResult, ...]
    recommendation: Recommendation
    warnings: tuple[str, ...] = ()


def recommend(candidates: Sequence[Candidate], gates: Gates, *, meta: Meta) -> Decision:
    """Hold every private candidate against the gates and choose the smallest ε that passes.

    Edge cases:

    =====================================  ========================================================================
    no candidate passes                    verdict ``none``, with what would help
    an attack exceeds what a proof allows  verdict ``alarm``; nothing is recommended, whatever else passes
    several pass at one ε                  one curator before several sites, an ensemble before a linear model
    no baseline                            utility gates stay unsettled, so nothing is recommended
    =====================================  ========================================================================
    """
    private = [candidate for candidate in candidates if candidate.is_private]
    baseline = next((candidate for candidate in candidates if candidate.kind == "baseline"), None)
    table = {candidate.name: evaluate_gates(candidate, baseline, gates) for candidate in private}
    results = tuple(result for row in table.values() for result in row)
    broken = [result for result in results if result.name == "attack_bound" and result.status == FAIL]
    passing = [candidate for candidate in private if not any(map(_blocks, table[candidate.name]))]
    if broken:
        return Decision(results, _alarm(broken, meta))
    if not passing:
        return Decision(results, _nothing(private, results, meta))
    chosen = min(passing, key=_rank)
    return Decision(results, _choice(chosen, baseline, passing, meta=meta, gates=table[chosen.name]), _oddities(chosen, private, passing))


def _rank(candidate: Candidate) -> tuple[bool, float, int]:
    """One curator before several sites (another trust model is another promise), then the smallest ε."""
    epsilon = math.inf if candidate.epsilon is None else candidate.epsilon
    return candidate.kind == "federated", epsilon, _PREFERENCE.index(candidate.kind) if candidate.kind in _PREFERENCE else len(_PREFERENCE)


def _blocks(result: GateResult) -> bool:
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
    refs = tuple(dict.fromkeys((*row.refs, *((ref,) if ref else ()))))
    return GateResult(row.candidate, row.name, row.title, row.threshold, row.value, row.status, row.why, row.settled, refs)


def _gate(candidate: Candidate, name: str, threshold: float) -> Callable[..., GateResult]:
    def build(status: str, why: str, *, value: float | None = None, settled: bool = True, refs: Sequence[str] = ()) -> GateResult:
        return GateResult(candidate.name, name, TITLES[name], threshold, value, status, why, settled, tuple(dict.fromkeys(refs)))

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
    return decimal(measure.value) if name == "auc_loss" else percent(measure.value)


def _spread(first: Measure, second: Measure) -> float:
    """Half the width of a 95 % interval of a difference, as if the two were independent; on one test set it is narrower in practice."""
    halves = [(m.high - m.low) / 2 for m in (first, second) if m.high is not None and m.low is not None]
    return math.hypot(*halves) if len(halves) == 2 else 0.0


def _bound(candidate: Candidate) -> GateResult:
    build = _gate(candidate, "attack_bound", 0.0)
    rates = [rate for attack in candidate.attacks for rate in attack.rates if rate.resolvable and rate.bound is not None]
    if not rates:
        return build(UNSETTLED, "no attack could resolve a rate", settled=False)
    worst = max(rates, key=_excess)
    status = FAIL if _excess(worst) > 1e-12 else PASS
    start = f"at {percent(worst.fpr)} false alarms the attack's interval starts at {percent(_low(worst))}"
    why = f"{start}; the guarantee allows {percent(worst.bound or 0.0)}"
    return build(status, why, value=_excess(worst), refs=(worst.tpr.ref, candidate.guarantee_ref))


def _low(rate: Rate) -> float:
    return rate.tpr.value if rate.tpr.low is None else rate.tpr.low


def _excess(rate: Rate) -> float:
    return _low(rate) - (1.0 if rate.bound is None else rate.bound)


def _advantage(candidate: Candidate, threshold: float) -> GateResult:
    build = _gate(candidate, "attack_advantage", threshold)
    rate = candidate.rate(FPR)
    if rate is None:
        return build(UNSETTLED, "not attacked", settled=False)
    refs = (rate.tpr.ref, candidate.guarantee_ref)
    if rate.bound is not None and rate.bound - FPR <= threshold + 1e-12:
        why = f"the guarantee alone caps the gain at {points(rate.bound - FPR)} points; the policy accepts {points(threshold)}"
        return build(PASS, why, value=rate.tpr.value - FPR if rate.resolvable else None, refs=refs)
    if not all(attack.trusted for attack in candidate.attacks):
        return build(UNSETTLED, "a control of the attack did not come out as it must; its result is no evidence", settled=False, refs=refs)
    if not rate.resolvable:
        return build(UNSETTLED, "too few records to measure one false positive in a hundred", settled=False, refs=refs)
    gain, high = rate.tpr.value - FPR, (rate.tpr.value if rate.tpr.high is None else rate.tpr.high) - FPR
    passed = gain <= threshold + 1e-12
    settled = high <= threshold if passed else _low(rate) - FPR > threshold
    why = f"measured {points(gain)} points over guessing; the policy accepts {points(threshold)}" + (
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
    where = f"largest: {worst.column} = {worst.value}, {points(worst.extra_gap)} points more than under the baseline"
    what = f"{where}; the policy accepts {points(threshold)}"
    if worst.extra_gap <= threshold + 1e-12:
        return build(PASS, what, value=worst.extra_gap, refs=refs)
    certain = [group for group in groups if _least_extra(group) > threshold]
    if not certain:
        return build(UNSETTLED, f"{what}; too few cases to tell this from chance", value=worst.extra_gap, settled=False, refs=refs)
    return build(FAIL, what, value=worst.extra_gap, refs=refs)


def _least_extra(group: Group) -> float:
    low = group.gap.value if group.gap.low is None else group.gap.low
    return low - (group.baseline_gap.value if group.baseline_gap else 0.0)


def _choice(
    chosen: Candidate, baseline: Candidate | None, passing: Sequence[Candidate], *, meta: Meta, gates: Sequence[GateResult]
) -> Recommendation:
    found, leak = _found(chosen, baseline, meta), _leak(chosen, baseline, meta)
    where = f" over {chosen.sites} sites" if chosen.kind == "federated" else ""
    headline = f"Use ε = {budget(chosen.epsilon)} per {meta.unit}{where}."
    smaller = "the smallest ε that passes every gate" if len(passing) > 1 else "the only budget that passes every gate"
    reasons = [Reason(f"{chosen.name} is {smaller} of the policy.", tuple(gate.refs[-1] for gate in gates[:1] if gate.refs))]
    reasons += [reason for reason in (found, leak) if reason]
    reasons += [Reason(f"{gate.title}: {gate.why}.", gate.refs) for gate in gates if not gate.settled]
    others = [c for c in passing if c.kind == "federated" and c is not chosen]
    if others:
        rivals = " and ".join(c.name for c in others[:2])
        reasons.append(Reason(f"Keeping the records at their sites also passes: {rivals}.", tuple(c.guarantee_ref for c in others[:2])))
    text = " ".join(reason.text for reason in (found, leak) if reason)
    refs = tuple(dict.fromkeys((chosen.guarantee_ref, *(ref for reason in (found, leak) if reason for ref in reason.refs))))
    return Recommendation(PASS, headline, text, chosen.name, tuple(reasons), (), next_steps(meta, chosen), refs)


def _found(chosen: Candidate, baseline: Candidate | None, meta: Meta) -> Reason | None:
    if baseline is None or baseline.utility.auc is None or chosen.utility.auc is None:
        return None
    mine, theirs = chosen.utility.recall, baseline.utility.recall
    if mine is None or theirs is None or meta.alert is None:
        mine, theirs = chosen.utility.auc, baseline.utility.auc
        return Reason(f"It ranks with an AUC of {decimal(mine.value)} (without privacy: {decimal(theirs.value)}).", (mine.ref, theirs.ref))
    finds = f"With {meta.alert.text} it finds {of_hundred(mine.value)} of 100 {meta.words.positives}"
    return Reason(f"{finds} (without privacy: {of_hundred(theirs.value)}).", (mine.ref, theirs.ref, meta.alert.ref))


def _leak(chosen: Candidate, baseline: Candidate | None, meta: Meta) -> Reason | None:
    rate = chosen.rate(FPR)
    if rate is None:
        return None
    other = baseline.rate(FPR) if baseline else None
    cap = f"; the guarantee caps it at {of_hundred(rate.bound)}" if rate.bound is not None else ""
    versus = f"; without privacy {of_hundred(other.tpr.value)}" if other and other.resolvable else ""
    seen = f"recognises {of_hundred(rate.tpr.value)} of 100 {meta.words.records} in the training data"
    if not rate.resolvable:
        seen = f"could not be measured with so few {meta.words.records}"
    refs = (rate.tpr.ref, *((chosen.guarantee_ref,) if cap else ()), *((other.tpr.ref,) if other and versus else ()))
    return Reason(f"An attacker who accepts 1 false alarm in 100 {seen}{cap}{versus}.", refs)


def _alarm(broken: Sequence[GateResult], meta: Meta) -> Recommendation:
    names = " and ".join(dict.fromkeys(result.candidate for result in broken))
    refs = tuple(dict.fromkeys(ref for result in broken for ref in result.refs))
    headline = "Do not deploy any of these models."
    sentence = f"An attack on {names} did better than the guarantee allows."
    why = (
        "Either chance (the interval is too high once in forty) or a defect: a wrong unit, records that depend on each other, or a fault "
        "in Tacit."
    )
    verify = f"tacit ledger verify --head {meta.ledger.head}"
    steps = (
        Step("Repeat with fresh randomness", _again(meta), "A second failure all but rules out chance."),
        Step("Check that the ledger is whole", verify, "Rules out a changed record of what was charged."),
    )
    reasons = tuple(Reason(f"{result.candidate}: {result.why}.", result.refs) for result in broken)
    return Recommendation("alarm", headline, sentence, None, reasons, (why,), steps, refs)


def _nothing(private: Sequence[Candidate], results: Sequence[GateResult], meta: Meta) -> Recommendation:
    if not private:
        return Recommendation("none", "Nothing to recommend.", "No model with a guarantee was compared.", steps=next_steps(meta, None))
    blocking = [result for result in results if _blocks(result)]
    reasons = tuple(Reason(f"{r.candidate}: {r.title.lower()}: {r.why}.", r.refs) for r in blocking)
    headline = "No private model passes every gate."
    sentence = f"{len(private)} were compared. On this evidence, deploy none of them; below is what stands in the way and what would help."
    refs = tuple(dict.fromkeys(ref for result in blocking for ref in result.refs))
    return Recommendation("none", headline, sentence, None, reasons, _helps(blocking, private), next_steps(meta, None), refs)


def _helps(blocking: Sequence[GateResult], private: Sequence[Candidate]) -> tuple[str, ...]:
    names = {(result.name, result.status) for result in blocking}
    largest = max(private, key=lambda candidate: candidate.epsilon or 0.0)
    hopeless = any(r.candidate == largest.name and r.name in ("auc_loss", "recall_loss") for r in blocking)
    helps = []
    if names & {("auc_loss", FAIL), ("recall_loss", FAIL)}:
        helps.append("More data: noise does not grow with the number of units, so twice as many units halve its weight.")
        helps.append("A longer window of data: the same protection per unit costs less when more units share it.")
    if hopeless:
        helps.append("Even the largest budget loses too much here, so a larger ε alone will not help; look at the features first.")
    if any(name in _LEAKAGE and status == FAIL for name, status in names):
        helps.append("A smaller ε: it lowers what any attacker can learn, by proof.")
    if any(name in _LEAKAGE and status == UNSETTLED for name, status in names):
        helps.append("More held-out records, so that the attack can be measured; or an ε small enough to pass by proof alone.")
    if ("group_gap", FAIL) in names:
        helps.append("More records of the groups that lose, or features that describe them better.")
    return (*helps, "A looser gate, if the owner of the policy can justify it: that is a decision about risk, and the ledger keeps it.")


def _oddities(chosen: Candidate, private: Sequence[Candidate], passing: Sequence[Candidate]) -> tuple[str, ...]:
    larger = [c.name for c in private if c.kind == chosen.kind and (c.epsilon or 0) > (chosen.epsilon or 0) and c not in passing]
    if not larger:
        return ()
    return (f"{', '.join(larger)} fails a gate although {chosen.name} passes: look at the gate table before you rely on the choice.",)


def _again(meta: Meta) -> str:
    return f"tacit pilot {meta.data_arguments}".strip()


def next_steps(meta: Meta, chosen: Candidate | None) -> tuple[Step, ...]:
    """What to do after a pilot, with commands to copy."""
    steps = []
    if meta.source != "file":
        own = "tacit pilot --data events.parquet --target label --unit user"
        steps.append(Step("Repeat it on your own records", own, "These figures are about other data than yours."))
    if chosen is not None:
        data = meta.data_arguments or "--data events.parquet --target label --unit user"
        train = f"tacit train {data} --epsilon {budget(chosen.epsilon)} --delta {chosen.delta:g} --output model.tacit"
        once = "Pilot models are discarded; this charges the real budget once."
        steps.append(Step("Train the model that goes into service", train, once))
    elif meta.source == "file":
        steps.append(Step("Repeat it with more records or another gate", _again(meta), "See what would help, above."))
    verify = f"tacit ledger verify --head {meta.ledger.head}"
    steps.append(Step("Check the ledger", verify, "Anyone who noted the head can tell if an entry changed."))
    release = f"{_again(meta)} --release"
    steps.append(Step("Make a version that may be passed on", release, "Leaves out what was measured on the records, or noises it."))
    return tuple(steps)
