"""From measurements to a recommendation: the smallest ε that passes every gate of the owner's policy, and what to do next.

The choice looks at measurements that are not private. It belongs on the owner's side and is left out of a release.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from tacit.page.numbers import budget, decimal, of_hundred
from tacit.pilot.gates import FPR, LEAKAGE, TITLES, Gates, blocks, evaluate_gates
from tacit.pilot.results import FAIL, PASS, UNSETTLED, Candidate, GateResult, Meta, Reason, Recommendation, Step

__all__ = ["TITLES", "Decision", "Gates", "evaluate_gates", "next_steps", "recommend"]
_PREFERENCE = ("private", "linear", "federated")


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
    no candidate passes                    verdict ``none``: the one that comes closest, what stops it, what would help
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
    passing = [candidate for candidate in private if not any(map(blocks, table[candidate.name]))]
    if broken:
        return Decision(results, _alarm(broken, meta))
    if not private:
        return Decision(results, _empty(meta))
    if not passing:
        closest = min(private, key=lambda candidate: (*_distance(table[candidate.name]), *_rank(candidate)))
        return Decision(results, _nothing(closest, baseline, private, meta=meta, results=results))
    chosen = min(passing, key=_rank)
    return Decision(results, _choice(chosen, baseline, passing, meta=meta, gates=table[chosen.name]), _oddities(chosen, private, passing))


def _rank(candidate: Candidate) -> tuple[bool, float, int]:
    """One curator before several sites (another trust model is another promise), then the smallest ε that was asked for."""
    epsilon = math.inf if candidate.asked is None else candidate.asked
    return candidate.kind == "federated", epsilon, _PREFERENCE.index(candidate.kind) if candidate.kind in _PREFERENCE else len(_PREFERENCE)


def _distance(row: Sequence[GateResult]) -> tuple[bool, float, int]:
    """How far a candidate is from passing: leakage first, then by how much it misses its worst gate, then how many gates stop it."""
    leaks = any(result.name in LEAKAGE and result.status == FAIL for result in row)
    excess = max((result.value - result.threshold for result in row if result.status == FAIL and result.value is not None), default=0.0)
    return leaks, excess, sum(map(blocks, row))


def _choice(
    chosen: Candidate, baseline: Candidate | None, passing: Sequence[Candidate], *, meta: Meta, gates: Sequence[GateResult]
) -> Recommendation:
    found, leak = _found(chosen, baseline, meta), _leak(chosen, baseline, meta)
    where = f" over {chosen.sites} sites" if chosen.kind == "federated" else ""
    what = " with logistic regression" if chosen.kind == "linear" else ""
    headline = f"Use ε = {budget(chosen.asked)} per {meta.unit}{where}{what}."
    smaller = "is the smallest ε that passes every gate" if len(passing) > 1 else "is the only model that passes every gate"
    reasons = [Reason(f"{chosen.name} {smaller} of the policy.", tuple(gate.refs[-1] for gate in gates[:1] if gate.refs))]
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
    seen = f"recognises {of_hundred(rate.tpr.value)} of 100 {meta.words.records} in the training data (guessing: 1{cap}{versus})"
    if not rate.resolvable:
        seen = f"could not be measured with so few {meta.words.records}{cap}"
    refs = (rate.tpr.ref, *((chosen.guarantee_ref,) if cap else ()), *((other.tpr.ref,) if other and versus and rate.resolvable else ()))
    return Reason(f"An attacker who accepts 1 false alarm in 100 {seen}.", refs)


def _alarm(broken: Sequence[GateResult], meta: Meta) -> Recommendation:
    names = " and ".join(dict.fromkeys(result.candidate for result in broken))
    refs = tuple(dict.fromkeys(ref for result in broken for ref in result.refs))
    headline = "Do not deploy any of these models."
    sentence = f"An attack on {names} did better than the guarantee allows."
    why = (
        "Chance does this to fewer than one sound model in a thousand. More likely is a defect: a wrong privacy unit, records that depend on "
        "each other, or a fault in Tacit."
    )
    steps = (
        Step("Repeat with fresh noise", again(meta), "A second failure rules out chance."),
        verify_step(meta, "Check that the ledger is whole", "Rules out that a record of what was charged was changed."),
    )
    reasons = tuple(Reason(f"{result.candidate}: {result.why}.", result.refs) for result in broken)
    return Recommendation("alarm", headline, sentence, None, reasons, (why,), steps, refs)


def _empty(meta: Meta) -> Recommendation:
    return Recommendation("none", "Nothing to recommend.", "No model with a guarantee was compared.", steps=next_steps(meta, None))


def _nothing(
    closest: Candidate, baseline: Candidate | None, private: Sequence[Candidate], *, meta: Meta, results: Sequence[GateResult],
) -> Recommendation:
    blocking = [result for result in results if blocks(result)]
    mine = [result for result in blocking if result.candidate == closest.name]
    largest = max(private, key=lambda candidate: candidate.asked or 0.0)
    hopeless = any(r.candidate == largest.name and r.status == FAIL and r.name in ("auc_loss", "recall_loss") for r in blocking)
    reasons = tuple(Reason(f"{result.title}: {result.why}.", result.refs) for result in mine)
    found = _found(closest, baseline, meta)
    sentence = f"{len(private)} models with a guarantee were compared; on this evidence, deploy none of them. {closest.name} comes closest."
    if len(private) == 1:
        sentence = f"One model with a guarantee was compared, {closest.name}; on this evidence, do not deploy it."
    told = f"{sentence} {found.text}" if found else sentence
    refs = (closest.guarantee_ref, *(found.refs if found else ()), *(ref for result in mine for ref in result.refs))
    return Recommendation(
        "none", "No budget passes every gate.", told, None, reasons, _helps(mine, hopeless), next_steps(meta, None), tuple(dict.fromkeys(refs)),
        closest.name,
    )


def _helps(mine: Sequence[GateResult], hopeless: bool) -> tuple[str, ...]:
    """What would help the candidate that comes closest."""
    names = {(result.name, result.status) for result in mine}
    helps = []
    if names & {("auc_loss", UNSETTLED), ("recall_loss", UNSETTLED)}:
        helps.append("A baseline without privacy, measured on the same held-out records, to compare with.")
    if names & {("auc_loss", FAIL), ("recall_loss", FAIL)}:
        helps.append("More records, for example from a longer period: the noise stays the same, so twice as many units halve its weight.")
    if hopeless:
        helps.append("Better features: even the largest budget loses too much here, so a larger ε alone will not do.")
    if any(name in LEAKAGE and status == FAIL for name, status in names):
        helps.append("A smaller ε: it lowers what any attacker can learn, by proof.")
    if any(name in LEAKAGE and status == UNSETTLED for name, status in names):
        helps.append("More held-out records, so that the attack can be measured; or an ε small enough to pass by proof alone.")
    if ("group_gap", FAIL) in names:
        helps.append("More records of the groups that lose, or features that describe them better.")
    return (*helps, "A looser gate, if the owner of the policy can justify it: that is a decision about risk, so write down who took it and why.")


def _oddities(chosen: Candidate, private: Sequence[Candidate], passing: Sequence[Candidate]) -> tuple[str, ...]:
    larger = [c.name for c in private if c.kind == chosen.kind and (c.asked or 0) > (chosen.asked or 0) and c not in passing]
    if not larger:
        return ()
    verb = "does" if len(larger) == 1 else "do"
    return (f"{' and '.join(larger)} {verb} not pass every gate although {chosen.name} does: look at the gate table before you rely on the choice.",)


def next_steps(meta: Meta, chosen: Candidate | None) -> tuple[Step, ...]:
    """What to do after a pilot, with commands to copy."""
    steps = []
    if meta.source != "file":
        own = "tacit pilot --data events.parquet --target label --unit user"
        why = "These figures are about other records than yours. Put in your file and its columns."
        steps.append(Step("Repeat it on your own records", own, why))
    elif chosen is None:
        steps.append(Step("Repeat it with more records, or another gate in the policy", again(meta), "See «What would help», above."))
    else:
        steps += _train(meta, chosen)
    steps.append(verify_step(meta, "Check the ledger", "Keep the head somewhere else: with it, anyone can tell if an entry was changed or removed."))
    if "--release" not in meta.command:
        why = "Leaves out everything that was measured on the records."
        steps.append(Step("Make a version that may be passed on", f"{again(meta)} --release", why))
    return tuple(steps)


def _train(meta: Meta, chosen: Candidate) -> list[Step]:
    asked = f"{chosen.asked:g}"
    write = f"Makes tacit.toml, unless you have one: set the unit, epsilon to at least {asked}, and delta to {chosen.delta:g}."
    policy = Step("Write down what is allowed", "tacit init", write)
    title, once = "Train the model that goes into service", "The models of a pilot are discarded; this charges the real budget, once."
    if chosen.kind == "linear":
        return [policy, Step(title, "", f"{once} A logistic regression is trained from Python: tacit.learn.LinearClassifier.")]
    if chosen.kind == "federated":
        return [policy, Step(title, "", f"{once} Over several sites it is trained from Python: tacit.federation.LocalFederation.")]
    return [policy, Step(title, f"tacit train {meta.data_arguments} --policy tacit.toml --budget {asked} --output model.tacit", once)]


def again(meta: Meta) -> str:
    """The command that repeats this pilot."""
    return meta.command.replace(" --release", "")


def verify_step(meta: Meta, title: str, why: str) -> Step:
    """The step that checks the ledger this pilot charged."""
    where = f"--ledger {shlex.quote(meta.ledger.path)} " if meta.ledger.path else ""
    return Step(title, f"tacit ledger verify {where}--head {meta.ledger.head}", why)
