"""What the page's template shows besides its tables: tiles, charts and sentences, made from a result."""

from __future__ import annotations

import math
from dataclasses import dataclass

from markupsafe import Markup

from tacit.page.numbers import NBSP, budget, chance, decimal, of_hundred, points, quantity
from tacit.pilot.report import charts
from tacit.pilot.report.tables import FPR, Tables
from tacit.pilot.results import FAIL, Candidate, GateResult, Group, Measure

_MOST_ROWS = 8


@dataclass(frozen=True, slots=True)
class Tile:
    """One of the numbers under the headline."""

    figure: Markup
    label: str
    note: Markup


class View(Tables):
    """Everything the template asks for."""

    # ------------------------------------------------------------ headline

    @property
    def tiles(self) -> tuple[Tile, ...]:
        """Utility, leakage, fairness and cost of the recommended or closest candidate, or nothing where there is none."""
        if self.subject is None:
            return ()
        made = (self._found_tile(self.subject), self._leak_tile(self.subject), self._group_tile(self.subject), self._cost_tile(self.subject))
        return tuple(tile for tile in made if tile is not None)

    def _found_tile(self, subject: Candidate) -> Tile | None:
        mine, alert = subject.utility.recall, self.meta.alert
        theirs = self.baseline.utility.recall if self.baseline else None
        if mine is None or alert is None:
            return self._ranking_tile(subject)
        note = Markup("without privacy: {}").format(self.cite(of_hundred(theirs.value), theirs.ref)) if theirs else Markup("")
        figure = self.cite(of_hundred(mine.value), mine.ref) + Markup(" <small>of 100</small>")
        return Tile(figure, f"{self.words.positives} found with {alert.text}", note)

    def _ranking_tile(self, subject: Candidate) -> Tile | None:
        mine, theirs = subject.utility.auc, self.baseline.utility.auc if self.baseline else None
        if mine is None:
            return None
        note = Markup("without privacy: {}").format(self.cite(decimal(theirs.value), theirs.ref)) if theirs else Markup("")
        return Tile(self.cite(decimal(mine.value), mine.ref), f"how often {self.words.positives} rank above the rest (AUC)", note)

    def _leak_tile(self, subject: Candidate) -> Tile | None:
        rate, cap = subject.rate(FPR), subject.cap(FPR)
        if rate is None:
            return None
        figure = self.cite(of_hundred(rate.tpr.value), rate.tpr.ref) + Markup(" <small>of 100</small>")
        label = f"training {self.words.records} an attacker recognises at 1 % false alarms"
        if not rate.resolvable:
            figure, label = Markup('? <small>of 100</small>'), f"{label}; too few records to tell"
        parts = [Markup("guessing: 1")]
        if cap is not None:
            parts.append(Markup("at most, by proof: {}").format(self.cite(of_hundred(cap), subject.guarantee_ref)))
        other = self.baseline.rate(FPR) if self.baseline else None
        if other is not None and other.resolvable:
            parts.append(Markup("without privacy: {}").format(self.cite(of_hundred(other.tpr.value), other.tpr.ref)))
        return Tile(figure, label, Markup("<br>").join(parts))

    def _group_tile(self, subject: Candidate) -> Tile | None:
        worst = self._worst_group(subject)
        if worst is None:
            return None
        extra = max(0.0, worst.extra_gap)
        figure = self.cite(points(extra), *_gap_refs(worst)) + Markup(" <small>points</small>")
        where = Markup("{} = {}").format(worst.column, worst.value) if extra >= 5e-4 else Markup("no group")
        sure = "" if self._group_settled(subject) else "; may be chance"
        return Tile(figure, f"the most that any group falls further behind because of privacy{sure}", where)

    def _cost_tile(self, subject: Candidate) -> Tile | None:
        mine = subject.cost.cpu_seconds
        if mine is None:
            return None
        theirs = self.baseline.cost.cpu_seconds if self.baseline else None
        note = Markup("without privacy: {} s").format(self.cite(quantity(theirs.value), theirs.ref)) if theirs else Markup("")
        return Tile(self.cite(quantity(mine.value), mine.ref) + Markup(" <small>s</small>"), "of processor time to train", note)

    @property
    def subject_gates(self) -> tuple[GateResult, ...]:
        """The gates of the recommended or closest candidate."""
        return tuple(gate for gate in self.result.gates if self.subject is not None and gate.candidate == self.subject.name)

    @property
    def gate_summary(self) -> str:
        """How many gates passed, in words."""
        gates = self.subject_gates
        passed, open_ = sum(gate.passed for gate in gates), sum(not gate.passed and gate.status != FAIL for gate in gates)
        return f"{passed} of {len(gates)} gates passed" + (f", {open_} could not be settled" if open_ else "")

    @property
    def promise(self) -> Markup:
        """What the subject's budget guarantees, in plain words."""
        mine = self.subject
        if mine is None or mine.epsilon is None or mine.delta is None:
            return Markup("")
        factor = math.exp(min(mine.epsilon, 300.0))
        times = f"{math.ceil(100 * factor) / 100:.2f}" if factor < 10 else f"{math.ceil(factor):,}"
        return Markup(
            "Whatever anybody sees of this model, and whatever they know already: one {} more or less in the data makes no result more than {} "
            "times as likely (e<sup>ε</sup> with the guaranteed ε = {}), plus a chance of {} (δ)."
        ).format(self.meta.unit, self.cite(times, mine.guarantee_ref), self.cite(budget(mine.epsilon), mine.guarantee_ref),
                 self.cite(chance(mine.delta), mine.guarantee_ref))

    # ------------------------------------------------------------ section 1

    @property
    def tradeoffs(self) -> tuple[tuple[str, Markup, Markup], ...]:
        """The charts of utility against ε, with headings and evidence: detections where an alert budget is known, and ranking."""
        made = []
        if self.meta.alert is not None and (chart := self._tradeoff("recall")):
            made.append((f"{self.words.positives.capitalize()} found, of 100, with {self.meta.alert.text}", chart, self._measured("recall")))
        if chart := self._tradeoff("auc"):
            made.append(("Ranking quality (AUC; 0.5 is guessing, 1 is perfect)", chart, self._measured("auc")))
        return tuple(made)

    def _measured(self, metric: str) -> Markup:
        measures = [getattr(c.utility, metric) for c in self.result.candidates]
        return self.refs([m.ref for m in measures if m is not None])

    def _tradeoff(self, metric: str) -> Markup | None:
        spots = [
            charts.Point(c.name, c.kind, c.asked, measure, chosen=c is self.subject)
            for c in self.result.candidates if (measure := getattr(c.utility, metric)) is not None
        ]
        base: Measure | None = getattr(self.baseline.utility, metric) if self.baseline else None
        threshold = next((g.threshold for g in self.result.gates if g.name == f"{metric}_loss"), None)
        gate = base.value - threshold if base is not None and threshold is not None else None
        title = "Detections against privacy budget" if metric == "recall" else "Ranking quality against privacy budget"
        if len(spots) < 2:
            return None
        return charts.tradeoff(f"c-{metric}", spots, title=title, gate=gate, as_percent=metric == "recall")

    @property
    def kinds(self) -> tuple[str, ...]:
        """Which kinds of candidate there are, for the legend."""
        return tuple(dict.fromkeys(candidate.kind for candidate in self.result.candidates))

    @property
    def utility_sentences(self) -> tuple[Markup, ...]:
        """What each budget costs, in plain words."""
        base = self.baseline.utility.recall if self.baseline else None
        if base is None:
            return ()
        lines = [Markup("Of 100 {}, the model without privacy finds {}.").format(self.words.positives, self.said(base))]
        for candidate in sorted(self.private(), key=lambda c: -(c.asked or 0)):
            mine = candidate.utility.recall
            if mine is not None and candidate.kind == "private":
                here = Markup("<strong>{}</strong>") if candidate is self.subject else Markup("{}")
                lines.append(here.format(Markup("With {} it finds {}.").format(self.epsilon(candidate), self.said(mine))))
        return tuple(lines)

    @property
    def calibration(self) -> Markup | None:
        """The calibration chart of the baseline and the recommended or closest candidate."""
        mine = self.subject.utility.calibration if self.subject else ()
        return charts.calibration("c-cal", self.baseline.utility.calibration if self.baseline else (), mine) if mine else None

    @property
    def calibration_refs(self) -> Markup:
        """Where the calibration comes from."""
        return self.refs([c.utility.calibration_ref for c in (self.baseline, self.subject) if c is not None])

    # ------------------------------------------------------------ section 2

    @property
    def attacked(self) -> bool:
        """Whether any candidate was attacked."""
        return any(candidate.attacks for candidate in self.result.candidates)

    @property
    def leak_chart(self) -> Markup:
        """What an attacker recognises, per model, and what the guarantee allows."""
        rows = [
            charts.LeakRow(c.name, c.kind, c.rate(FPR), c.cap(FPR), c is self.subject)
            for c in self.result.candidates if c.rate(FPR) or c.is_private
        ]
        return charts.leakage("c-leak", rows, fpr=FPR)

    @property
    def leak_refs(self) -> Markup:
        """Where the chart's numbers come from."""
        rates = [(rate.tpr.ref if (rate := c.rate(FPR)) else "", c.guarantee_ref) for c in self.result.candidates]
        return self.refs([ref for pair in rates for ref in pair])

    @property
    def leak_sentence(self) -> Markup:
        """What the attack showed, in plain words."""
        lines = [self._leak_line(c) for c in (self.baseline, self.subject or next(iter(self.private()), None)) if c is not None]
        return Markup(" ").join(line for line in lines if line)

    def _leak_line(self, candidate: Candidate) -> Markup:
        rate, cap = candidate.rate(FPR), candidate.cap(FPR)
        if rate is None:
            return Markup("")
        who = Markup("the model with {}").format(self.epsilon(candidate)) if candidate.is_private else Markup("the model without privacy")
        line = Markup("Against {} this works for {} in 100.").format(who, self.said(rate.tpr))
        if not rate.resolvable:
            line = Markup("Against {}, there were too few records to tell.").format(who)
        if cap is None:
            return line
        proved = self.cite(of_hundred(cap), candidate.guarantee_ref)
        line += Markup(" The guarantee proves that no attack on it, however clever, can work for more than {}").format(proved)
        chance_only = rate.resolvable and rate.tpr.value > cap and rate.tpr.low is not None and rate.tpr.low <= cap
        return line + (Markup("; that more was measured is chance, as the interval shows.") if chance_only else Markup("."))

    # ------------------------------------------------------------ section 4

    def _worst_group(self, candidate: Candidate | None) -> Group | None:
        groups = [group for group in (candidate.groups if candidate else ()) if group.resolvable]
        return max(groups, key=lambda group: group.extra_gap, default=None)

    def _group_settled(self, candidate: Candidate) -> bool:
        mine = [gate for gate in self.result.gates if gate.candidate == candidate.name and gate.name == "group_gap"]
        return all(gate.settled for gate in mine)

    @property
    def group_chart(self) -> Markup | None:
        """The groups that changed most."""
        groups = self.group_subject.groups if self.group_subject else ()
        rows = [
            charts.GroupRow(f"{g.column} = {g.value}", g.score.value, g.baseline_score.value if g.baseline_score else None)
            for g in sorted(groups, key=lambda g: -g.extra_gap) if g.resolvable
        ]
        kind = self.group_subject.kind if self.group_subject else "private"
        return charts.groups("c-groups", rows[:_MOST_ROWS], metric=self.group_metric, kind=kind) if rows else None

    @property
    def group_refs(self) -> Markup:
        """Where the groups' numbers come from."""
        groups = self.group_subject.groups if self.group_subject else ()
        return self.refs([ref for group in groups for ref in _gap_refs(group)])

    @property
    def group_sentence(self) -> Markup:
        """Which group loses most, in plain words."""
        subject = self.group_subject
        worst = self._worst_group(subject)
        if worst is None or subject is None:
            return Markup("No group was large enough to compare.")
        if worst.extra_gap <= 5e-4:
            return Markup("With {}, no group falls further behind than it already did without privacy.").format(self.epsilon(subject))
        gap = self.cite(f"{points(worst.extra_gap)}{NBSP}points", *_gap_refs(worst))
        doubt = "" if self._group_settled(subject) else " There are too few cases to tell this from chance."
        line = "With {}, <strong>{} = {}</strong> loses most: compared with everybody, it falls {} further behind than without privacy.{}"
        return Markup(line).format(self.epsilon(subject), worst.column, worst.value, gap, doubt)  # noqa: S704 - a constant of this file


def _gap_refs(group: Group) -> tuple[str, ...]:
    return tuple(measure.ref for measure in (group.gap, group.baseline_gap) if measure is not None)
