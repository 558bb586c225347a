"""What the page's template shows: tables, tiles and sentences, made from a result, each number linked to its evidence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from tacit.pilot.numbers import budget, decimal, of_hundred, percent, points, quantity
from tacit.pilot.report import charts
from tacit.pilot.results import FAIL, PASS, Attack, Candidate, Control, GateResult, Measure, PilotResult, Rate

FPR, LOW_FPR = 0.01, 0.001
EMPTY = Markup('<span class="none">not measured</span>')
STATUS = {PASS: ("✓", "passes"), FAIL: ("✗", "fails")}
_MOST_GROUPS = 24


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table; the first cell names it."""

    cells: tuple[Markup, ...]
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table: caption, column heads and rows."""

    caption: str
    heads: tuple[str, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Tile:
    """One of the three numbers under the headline."""

    figure: Markup
    label: str
    note: Markup


class View:
    """Everything the template asks for. ``cite`` links a text to the evidence rows behind it."""

    def __init__(self, result: PilotResult) -> None:
        self.result = result
        self.meta = result.meta
        self.words = result.meta.words
        self.baseline, self.chosen = result.baseline, result.chosen
        self._rows = {row.id: row for row in result.evidence}

    # ------------------------------------------------------------ links to evidence

    def cite(self, text: object, *refs: str) -> Markup:
        """A text that links to its first evidence row and names all of them in its title."""
        known = [ref for ref in dict.fromkeys(refs) if ref in self._rows]
        if not known:
            return escape(text)
        about = "; ".join(f"{ref}: {self._rows[ref].what} ({self._rows[ref].source})" for ref in known)
        return Markup('<a class="n" href="#e-{}" title="{}" data-ref="{}">{}</a>').format(known[0], about, ", ".join(known), text)

    def refs(self, refs: Sequence[str]) -> Markup:
        """Small reference ids behind a sentence."""
        links = Markup(", ").join(self.cite(ref, ref) for ref in dict.fromkeys(refs) if ref)
        return Markup('<span class="refs">[{}]</span>').format(links) if links else Markup("")

    def number(self, measure: Measure | None, write: Callable[[float], str] = decimal) -> Markup:
        """A measure with its interval, or that it was not measured."""
        if measure is None:
            return EMPTY
        text = self.cite(write(measure.value), measure.ref)
        if measure.low is None or measure.high is None:
            return text
        return text + Markup(' <span class="ci">{} to {}</span>').format(_bare(write(measure.low)), _bare(write(measure.high)))

    def said(self, measure: Measure) -> Markup:
        """How many of a hundred, in running text."""
        text = self.cite(of_hundred(measure.value), measure.ref)
        if measure.low is None or measure.high is None:
            return text
        return text + Markup(' <span class="ci">({}\u00a0to\u00a0{})</span>').format(of_hundred(measure.low), of_hundred(measure.high))

    # ------------------------------------------------------------ headline

    @property
    def tiles(self) -> tuple[Tile, ...]:
        """Utility, leakage and cost of the recommended candidate, or nothing where none is recommended."""
        if self.chosen is None:
            return ()
        made = (self._found_tile(self.chosen), self._leak_tile(self.chosen), self._cost_tile(self.chosen))
        return tuple(tile for tile in made if tile is not None)

    def _found_tile(self, chosen: Candidate) -> Tile | None:
        mine, alert = chosen.utility.recall, self.meta.alert
        theirs = self.baseline.utility.recall if self.baseline else None
        if mine is None or alert is None:
            return self._ranking_tile(chosen)
        note = Markup("without privacy: {}").format(self.cite(of_hundred(theirs.value), theirs.ref)) if theirs else Markup("")
        figure = self.cite(of_hundred(mine.value), mine.ref) + Markup(" <small>of 100</small>")
        return Tile(figure, f"{self.words.positives} found with {alert.text}", note)

    def _ranking_tile(self, chosen: Candidate) -> Tile | None:
        mine, theirs = chosen.utility.auc, self.baseline.utility.auc if self.baseline else None
        if mine is None:
            return None
        note = Markup("without privacy: {}").format(self.cite(decimal(theirs.value), theirs.ref)) if theirs else Markup("")
        return Tile(self.cite(decimal(mine.value), mine.ref), f"how often {self.words.positives} rank above the rest (AUC)", note)

    def _leak_tile(self, chosen: Candidate) -> Tile | None:
        rate = chosen.rate(FPR)
        if rate is None:
            return None
        figure = self.cite(of_hundred(rate.tpr.value), rate.tpr.ref) if rate.resolvable else Markup("?")
        parts = [Markup("guessing: 1")]
        if rate.bound is not None:
            parts.append(Markup("the guarantee allows {}").format(self.cite(of_hundred(rate.bound), chosen.guarantee_ref)))
        other = self.baseline.rate(FPR) if self.baseline else None
        if other is not None and other.resolvable:
            parts.append(Markup("without privacy {}").format(self.cite(of_hundred(other.tpr.value), other.tpr.ref)))
        label = f"training {self.words.records} an attacker recognises at 1 % false alarms"
        return Tile(figure + Markup(" <small>of 100</small>"), label, Markup(", ").join(parts))

    def _cost_tile(self, chosen: Candidate) -> Tile | None:
        mine = chosen.cost.cpu_seconds
        if mine is None:
            return None
        theirs = self.baseline.cost.cpu_seconds if self.baseline else None
        note = Markup("without privacy: {} s").format(self.cite(quantity(theirs.value), theirs.ref)) if theirs else Markup("")
        return Tile(self.cite(quantity(mine.value), mine.ref) + Markup(" <small>s</small>"), "of processor time to train", note)

    @property
    def chosen_gates(self) -> tuple[GateResult, ...]:
        """The recommended candidate's gates."""
        return tuple(gate for gate in self.result.gates if self.chosen is not None and gate.candidate == self.chosen.name)

    @property
    def gate_summary(self) -> str:
        """How many gates passed, in words."""
        gates = self.chosen_gates
        passed, open_ = sum(gate.passed for gate in gates), sum(not gate.passed and gate.status != FAIL for gate in gates)
        return f"{passed} of {len(gates)} gates passed" + (f", {open_} could not be settled" if open_ else "")

    def badge(self, gate: GateResult) -> Markup:
        """A gate's outcome as a sign and a word."""
        sign, word = STATUS.get(gate.status, ("?", "not settled"))
        return Markup('<span class="badge {}"><span aria-hidden="true">{}</span> {}</span>').format(gate.status, sign, word)

    # ------------------------------------------------------------ sections 1 and 5

    @property
    def tradeoffs(self) -> tuple[tuple[str, Markup], ...]:
        """The charts of utility against ε, with their headings: detections where an alert budget is known, and ranking."""
        made = []
        if self.meta.alert is not None and (chart := self._tradeoff("recall")):
            made.append((f"{self.words.positives.capitalize()} found, of 100, with {self.meta.alert.text}", chart))
        if chart := self._tradeoff("auc"):
            made.append(("Ranking quality (AUC; 0.5 is guessing, 1 is perfect)", chart))
        return tuple(made)

    def _tradeoff(self, metric: str) -> Markup | None:
        spots = [
            charts.Point(c.name, c.kind, c.epsilon, measure, chosen=c is self.chosen)
            for c in self.result.candidates if (measure := getattr(c.utility, metric)) is not None
        ]
        base = getattr(self.baseline.utility, metric) if self.baseline else None
        threshold = next((g.threshold for g in self.result.gates if g.name == f"{metric}_loss"), None)
        gate = base.value - threshold if base is not None and threshold is not None else None
        title = "Detections against privacy budget" if metric == "recall" else "Ranking quality against privacy budget"
        if len(spots) < 2:
            return None
        return charts.tradeoff(f"c-{metric}", spots, title=title, gate=gate, as_percent=metric == "recall")

    @property
    def utility_sentences(self) -> tuple[Markup, ...]:
        """What each budget costs, in plain words."""
        base = self.baseline.utility.recall if self.baseline else None
        if base is None:
            return ()
        lines = [Markup("Of 100 {}, the model without privacy finds {}.").format(self.words.positives, self.said(base))]
        for candidate in sorted(self._private(), key=lambda c: -(c.epsilon or 0)):
            mine = candidate.utility.recall
            if mine is not None and candidate.kind == "private":
                here = Markup("<strong>{}</strong>") if candidate is self.chosen else Markup("{}")
                lines.append(here.format(Markup("With ε = {} it finds {}.").format(budget(candidate.epsilon), self.said(mine))))
        return tuple(lines)

    def _private(self) -> list[Candidate]:
        return [candidate for candidate in self.result.candidates if candidate.is_private]

    def name(self, candidate: Candidate) -> Markup:
        """A candidate's name with its marker, and what kind of model it is."""
        tag = Markup(' <span class="tag">recommended</span>') if candidate is self.chosen else Markup("")
        return Markup("<span class='who'>{} {}{}</span><span class='sub'>{}</span>").format(
            charts.key(candidate.kind), candidate.name, tag, candidate.model
        )

    def _table(self, caption: str, columns: Sequence[tuple[str, Callable[[Candidate], Markup]]]) -> Table:
        heads = ("Model", *(head for head, _ in columns))
        rows = (Row((self.name(c), *(write(c) for _, write in columns)), c is self.chosen) for c in self.result.candidates)
        return Table(caption, heads, tuple(rows))

    @property
    def utility_table(self) -> Table:
        """How well each model detects."""
        number = self.number
        columns: list[tuple[str, Callable[[Candidate], Markup]]] = [
            ("Found, of 100", lambda c: number(c.utility.recall, of_hundred)),
            ("True alerts, of 100", lambda c: number(c.utility.precision, of_hundred)),
            ("AUC", lambda c: number(c.utility.auc)),
            ("Average precision", lambda c: number(c.utility.average_precision)),
            ("Brier score", lambda c: number(c.utility.brier)),
        ]
        return self._table("How well each model detects, on held-out records (95 % intervals in small print)", columns)

    @property
    def cost_table(self) -> Table:
        """What each model costs to run."""
        number = self.number
        return self._table("What each model costs", [
            ("Processor seconds to train", lambda c: number(c.cost.cpu_seconds, quantity)),
            ("Peak memory, MB", lambda c: number(c.cost.peak_memory_mb, quantity)),
            ("Milliseconds per 1,000 scores", lambda c: number(c.cost.latency_ms_per_1000, quantity)),
        ])

    @property
    def calibration(self) -> Markup | None:
        """The calibration chart of the baseline and the recommended candidate."""
        mine = self.chosen.utility.calibration if self.chosen else ()
        return charts.calibration("c-cal", self.baseline.utility.calibration if self.baseline else (), mine) if mine else None

    @property
    def gate_table(self) -> Table | None:
        """Every private candidate against every gate."""
        names = list(dict.fromkeys((gate.name, gate.title) for gate in self.result.gates))
        if not names:
            return None
        found = {(gate.candidate, gate.name): gate for gate in self.result.gates}
        rows = []
        for candidate in self._private():
            gates = [found.get((candidate.name, name)) for name, _ in names]
            rows.append(Row((self.name(candidate), *(self._gate_cell(gate) for gate in gates)), candidate is self.chosen))
        return Table("Every gate, for every model with a guarantee", ("Model", *(title for _, title in names)), tuple(rows))

    def _gate_cell(self, gate: GateResult | None) -> Markup:
        if gate is None:
            return EMPTY
        value = "" if gate.value is None else f"{points(gate.value)} points"
        return self.badge(gate) + Markup(' <span class="ci">{}</span>').format(self.cite(value, *gate.refs))

    # ------------------------------------------------------------ section 2

    @property
    def leak_chart(self) -> Markup | None:
        """What an attacker recognises, per model."""
        rows = [charts.LeakRow(c.name, c.kind, rate, c is self.chosen) for c in self.result.candidates if (rate := c.rate(FPR))]
        return charts.leakage("c-leak", rows, fpr=FPR) if rows else None

    @property
    def leak_sentence(self) -> Markup:
        """What the attack showed, in plain words."""
        lines = []
        for candidate in (self.baseline, self.chosen or next(iter(self._private()), None)):
            rate = candidate.rate(FPR) if candidate else None
            if candidate is None or rate is None:
                continue
            who = "the model without privacy" if not candidate.is_private else f"the model with ε = {budget(candidate.epsilon)}"
            if not rate.resolvable:
                lines.append(Markup("Against {}, there were too few records to tell.").format(who))
                continue
            lines.append(Markup("Against {} this works for {} in 100.").format(who, self.said(rate.tpr)))
            if rate.bound is not None:
                cap = self.cite(of_hundred(rate.bound), candidate.guarantee_ref)
                lines.append(Markup("The guarantee proves that no attack on it, however clever, can work for more than {}.").format(cap))
        return Markup(" ").join(lines)

    @property
    def attack_table(self) -> Table:
        """Every attack on every model."""
        heads = ("Model", "Recognised at 1 % false alarms", "At 0.1 %", "AUC of the attack", "Attack", "Controls")
        rows = [
            Row((self.name(c), self._rate(c, a.at(FPR)), self._rate(c, a.at(LOW_FPR)), self.number(a.auc),
                 self._ran_on(a), self._controls(a)), c is self.chosen)
            for c in self.result.candidates for a in c.attacks
        ]
        return Table("Membership attacks (intervals of the rates are exact: Clopper-Pearson)", heads, tuple(rows))

    def _rate(self, candidate: Candidate, rate: Rate | None) -> Markup:
        if rate is None:
            return EMPTY
        if not rate.resolvable:
            return Markup("{}").format(self.cite("too few records to tell", rate.tpr.ref))
        limit = "no limit" if rate.bound is None else Markup("limit {}").format(self.cite(percent(rate.bound), candidate.guarantee_ref))
        return self.number(rate.tpr, percent) + Markup(' <span class="sub">{}</span>').format(limit)

    def _ran_on(self, attack: Attack) -> Markup:
        text = f"{attack.members:,} members, {attack.nonmembers:,} others, {attack.shadows} shadows"
        return Markup('{} <span class="sub">{}</span>').format(attack.name, self.cite(text, attack.auc.ref))

    def _controls(self, attack: Attack) -> Markup:
        named = (("positive", attack.positive_control), ("negative", attack.negative_control))
        lines = [self._control(name, control) for name, control in named if control is not None]
        return Markup("").join(lines) if lines else EMPTY

    def _control(self, name: str, control: Control) -> Markup:
        sign = "✓" if control.passed else "✗"
        shown = self.cite(decimal(control.value.value, digits=2), control.value.ref)
        line = Markup('<span class="line" title="{}">{} {} {} <span class="ci">{}</span></span>')
        return line.format(control.what, sign, name, shown, control.expected)

    # ------------------------------------------------------------ sections 4 and 6

    @property
    def group_subject(self) -> Candidate | None:
        """Whose groups are shown: the recommended candidate, else the first with any."""
        return self.chosen if self.chosen and self.chosen.groups else next((c for c in self._private() if c.groups), None)

    @property
    def group_chart(self) -> Markup | None:
        """The groups that changed most."""
        groups = self.group_subject.groups if self.group_subject else ()
        rows = [
            charts.GroupRow(f"{g.column} = {g.value}"[:30], g.score.value, g.baseline_score.value if g.baseline_score else None)
            for g in sorted(groups, key=lambda g: -g.extra_gap)[:8] if g.resolvable
        ]
        return charts.groups("c-groups", rows, metric=groups[0].metric) if rows else None

    @property
    def group_sentence(self) -> Markup:
        """Which group loses most, in plain words."""
        groups = [g for g in (self.group_subject.groups if self.group_subject else ()) if g.resolvable]
        if not groups:
            return Markup("No group was large enough to compare.")
        worst = max(groups, key=lambda g: g.extra_gap)
        if worst.extra_gap <= 0:
            return Markup("No group falls further behind than it already did without privacy.")
        gap = self.cite(points(worst.extra_gap), worst.gap.ref, worst.baseline_gap.ref if worst.baseline_gap else "")
        return Markup("Privacy costs <strong>{} = {}</strong> most: it falls {} points further behind than it did without.").format(
            worst.column, worst.value, gap
        )

    @property
    def group_table(self) -> Table:
        """Groups, worst first."""
        groups = sorted(self.group_subject.groups if self.group_subject else (), key=lambda g: -g.extra_gap)[:_MOST_GROUPS]
        rows = [
            Row((Markup("{} = {}").format(g.column, g.value), self.cite(f"{g.n:,}", g.score.ref),
                 self.number(g.score, of_hundred) if g.resolvable else Markup("too few to tell"),
                 self.number(g.baseline_score, of_hundred), self.number(g.gap, points), self.number(g.baseline_gap, points)))
            for g in groups
        ]
        metric = groups[0].metric if groups else "score"
        heads = ("Group", "Records", f"{metric}, of 100", "Without privacy", "Behind everybody, points", "Without privacy, points")
        return Table("Groups, those that lose most first", heads, tuple(rows))

    @property
    def promise_table(self) -> Table:
        """The guarantees, in full."""
        rows = [
            Row((self.name(c), self.cite(c.guarantee, c.guarantee_ref), escape(_trust_words(c.trust)),
                 self.cite("–" if c.epsilon_30 is None else budget(c.epsilon_30), c.guarantee_ref),
                 Markup("<code>{}</code>").format(c.plan_digest[:16] or "–")), c is self.chosen)
            for c in self._private()
        ]
        heads = ("Model", "Guarantee", "Trusted", "ε over 30 windows", "Public plan")
        return Table("What is promised, in full", heads, tuple(rows))


def _trust_words(trust: str) -> str:
    """A trust model for people.

    >>> _trust_words("distributed(4,3,1)")
    '4 sites, of which 1 may collude; 3 must stay'
    """
    if not trust.startswith("distributed("):
        return "the curator" if trust == "curator" else trust
    sites, threshold, colluding = trust.removeprefix("distributed(").removesuffix(")").split(",")
    return f"{sites} sites, of which {colluding} may collude; {threshold} must stay"


def _bare(text: str) -> str:
    """An interval's end without its unit, which the value already shows."""
    return text.replace("\u00a0%", "")
