"""What an attack found, as data: results with intervals, controls, who is at risk, and a verdict that never says «safe»."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tacit.attacks.controls import ControlResult
from tacit.attacks.judging import CHANCE, AttackResult, RateAt, Scores, detectable_auc, detectable_rate
from tacit.attacks.outcome import Outcome
from tacit.errors import UsageError
from tacit.guarantee import Guarantee
from tacit.page.numbers import percent

LEAK, NO_LEAK, CONTRADICTED, NOT_TESTED = "leak found", "no leak found", "inconsistent with the claim", "not tested"
FORMATS = ("text", "json", "sarif", "cyclonedx", "html")


@dataclass(frozen=True)
class Described:
    """What was attacked, and how.

    Args:
        name: of the target.
        kind: see `Target`.
        access: what the attacker saw.
        readings: what the answers were taken for.
        reading: in which of them members were told best, among shadows.
        saturated: share of the answers that are at their end and say no more.
        correct: share of members and of others that the target answers correctly; ``None`` unless there are classes.
        shadows: how many.
        trainer: how shadows were trained, in words.
        assumption: what was assumed about the target's training; empty if nothing.
        shadow_seconds: that shadows took.
        cached: how many shadows came from a cache.
    """

    name: str
    kind: str
    access: str
    readings: tuple[str, ...]
    reading: str
    saturated: float
    correct: tuple[float, float] | None
    shadows: int
    trainer: str
    assumption: str
    shadow_seconds: float
    cached: int


@dataclass(frozen=True)
class GroupRisk:
    """How well members of one group are told from others of the same group.

    ``rate`` is the share of the group's members above the threshold that one in a hundred of *all* others exceeds.
    """

    grouping: str
    value: str
    auc: float
    rate: RateAt
    members: int
    nonmembers: int
    leaks: bool


@dataclass(frozen=True, eq=False)
class AttackReport:
    """A whole attack. Owner-side: measured on records, not private.

    Args:
        described: what was attacked, and how.
        results: of each attack, the one that was chosen beforehand first.
        controls: what they must read and what they read.
        groups: risk by class and by the groups that were passed.
        scores: of the first attack, larger for «member», ``[units]``, members first unless units were given.
        is_member: bool ``[units]``.
        claim: what the target promises.
        seconds: that everything took.
        outcomes: of other attacks that were asked for.
    """

    described: Described
    results: tuple[AttackResult, ...]
    controls: tuple[ControlResult, ...]
    groups: tuple[GroupRisk, ...]
    scores: Scores
    is_member: NDArray[np.bool_]
    claim: Guarantee | None
    seconds: float
    outcomes: tuple[Outcome, ...] = ()

    @property
    def first(self) -> AttackResult:
        """The attack that was chosen beforehand: no other is picked for what it found."""
        return self.results[0]

    @property
    def failed(self) -> tuple[ControlResult, ...]:
        """Controls that did not read what they must."""
        return tuple(control for control in self.controls if not control.passed)

    @property
    def leaking(self) -> AttackResult | None:
        """The attack with the strongest evidence, if it is significant among as many as were tried."""
        best = min(self.results, key=lambda result: result.p_value)
        return best if best.p_value * len(self.results) <= CHANCE else None

    @property
    def verdict(self) -> str:
        """``leak found``, ``no leak found``, ``inconsistent with the claim`` or ``not tested``; see `explained`."""
        confounded = any(control.expected == "chance" for control in self.failed)
        if confounded:
            return NOT_TESTED
        if any(result.contradicts for result in self.results):
            return CONTRADICTED
        if self.leaking is not None:
            return LEAK
        return NOT_TESTED if self.failed else NO_LEAK

    @property
    def power(self) -> tuple[float, float]:
        """The smallest AUC, and the smallest true positive rate at 1 % false positives, that would have been found in nine of ten cases."""
        return detectable_auc(self.first.members, self.first.nonmembers), detectable_rate(0.01, self.first.members, self.first.nonmembers)

    @property
    def explained(self) -> str:
        """The verdict in a sentence or two, for somebody who knows nothing of the subject."""
        if self.verdict == NOT_TESTED:
            names = "; ".join(f"{control.name} (read an AUC of {control.auc:.2f}, expected {control.expected})" for control in self.failed)
            return f"Nothing can be said: a control did not read what it must: {names}. {self._mend()}"
        if self.verdict == NO_LEAK:
            auc, rate = self.power
            return (
                f"No attack told members from others better than chance. An AUC of {auc:.3f}, or {percent(rate)} of members recognised at 1 % false "
                "alarms, would have been found in nine of ten cases; a smaller leak may exist, and attacks that were not tried may find more."
            )
        worst = max(self.results, key=lambda result: result.at(0.01).tpr) if self.leaking is None else self.leaking
        rate_at = worst.at(0.01)
        allowed = "" if rate_at.bound is None else f" The guarantee allows up to {percent(rate_at.bound)} there, so this is within it."
        if rate_at.low <= rate_at.fpr and self.verdict == LEAK:
            return (
                f"Whoever can query the model tells a member from another in {percent(worst.auc)} of pairs ({percent(worst.auc_low)} to "
                f"{percent(worst.auc_high)}); guessing would be 50 %. At 1 % false alarms hardly more than 1 % are recognised.{allowed}"
            )
        said = (
            f"Whoever can query the model recognises {percent(rate_at.tpr)} of the people or records it learned from ({percent(rate_at.low)} to "
            f"{percent(rate_at.high)}) while accusing 1 % of the others wrongly; guessing would be 1 %."
        )
        if self.verdict == CONTRADICTED:
            limit = percent(rate_at.bound or 0.0)
            return f"{said} That is more than the claim allows ({limit}): the guarantee, or how it was implemented, is wrong."
        return said + allowed

    def _mend(self) -> str:
        if any(control.name.startswith("a model planted") for control in self.failed):
            return "Attack more records or train more shadows."
        return "Draw members and others at random from one and the same set of records."

    @cached_property
    def false_alarms(self) -> Scores:
        """For every unit the share of others that look at least as much like members: float64 ``[units]``; small is risky."""
        others = np.sort(self.scores[~self.is_member])
        above = len(others) - np.searchsorted(others, self.scores, side="left")
        return np.asarray((above + self.is_member) / (len(others) + 1.0))

    def riskiest(self, count: int = 10) -> list[tuple[int, float]]:
        """The members that are easiest to recognise: position among the units, and at which false positive rate each is."""
        inside = np.flatnonzero(self.is_member)
        order = inside[np.lexsort((-self.scores[inside], self.false_alarms[inside]))]
        return [(int(place), float(self.false_alarms[place])) for place in order[:count]]

    def to_dict(self) -> dict[str, Any]:
        """Plain form, without scores of single records."""
        auc, rate = self.power
        return {
            "format": "tacit.attack@1", "released": False, "verdict": self.verdict, "explained": self.explained, "target": asdict(self.described),
            "claim": None if self.claim is None else self.claim.to_dict(), "results": [result.to_dict() for result in self.results],
            "controls": [asdict(control) for control in self.controls], "groups": [asdict(group) for group in self.groups],
            "power": {"auc": auc, "tpr_at_fpr_0.01": rate}, "seconds": self.seconds,
            "outcomes": [outcome.to_dict() for outcome in self.outcomes],
            "findings": [finding.to_dict() for finding in self.findings],
        }

    @cached_property
    def findings(self) -> tuple[Any, ...]:
        """What follows, by rule; see `tacit.attacks.findings`."""
        from tacit.attacks.findings import findings_of

        return findings_of(self)

    def to_text(self) -> str:
        """For a terminal."""
        from tacit.attacks.rendering import as_text

        return as_text(self)

    def to_json(self) -> str:
        """One JSON document."""
        return json.dumps(self.to_dict(), indent=2)

    def to_sarif(self) -> str:
        """Findings in SARIF 2.1.0, for code scanning and other gates."""
        from tacit.attacks.sarif import as_sarif

        return as_sarif(self.findings, target=self.described.name)

    def to_cyclonedx(self) -> str:
        """A model card in CycloneDX 1.6."""
        from tacit.attacks.cyclonedx import as_cyclonedx

        return as_cyclonedx(self)

    def to_html(self) -> str:
        """A page that needs nothing else."""
        from tacit.attacks.rendering import as_html

        return as_html(self)

    def render(self, form: str) -> str:
        """In one of `FORMATS`."""
        if form not in FORMATS:
            raise UsageError(f"Expected one of {', '.join(FORMATS)}; got {form!r}.")
        forms = {"text": self.to_text, "json": self.to_json, "sarif": self.to_sarif, "cyclonedx": self.to_cyclonedx, "html": self.to_html}
        return forms[form]()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to a file whose name ends in .html, .json, .cdx.json, .sarif or .txt, as a whole or not at all."""
        from tacit.replacing import replacing

        target = Path(path)
        form = {".html": "html", ".htm": "html", ".json": "json", ".sarif": "sarif", ".txt": "text"}.get(target.suffix)
        form = "cyclonedx" if target.name.endswith((".cdx.json", "bom.json")) else form
        if form is None:
            raise UsageError(f"Expected a name that ends in .html, .json, .sarif or .txt; got «{target.name}».")
        text = self.render(form)
        with replacing(target) as file:
            file.write(text.encode())

    def __str__(self) -> str:
        return self.to_text()
