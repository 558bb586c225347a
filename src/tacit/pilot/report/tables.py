"""The tables of the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from markupsafe import Markup

from tacit.page.numbers import budget, decimal, of_hundred, percent, points, quantity, tie
from tacit.page.tables import Row, Table
from tacit.pilot.report import charts
from tacit.pilot.report.cite import EMPTY, Cites
from tacit.pilot.results import FAIL, PASS, Attack, Candidate, Control, Encrypted, Evidence, GateResult, Group, Measure, Rate

FPR, LOW_FPR = 0.01, 0.001
STATUS = {PASS: ("✓", "passes"), FAIL: ("✗", "fails")}
MOST_GROUPS = 24
NOTHING = Markup('<span class="none">–</span>')
Write = Callable[[Candidate], Markup]


class Tables(Cites):
    """What the page shows in rows and columns."""

    def name(self, candidate: Candidate) -> Markup:
        """A candidate's name with its marker, and what kind of model it is."""
        word = "recommended" if candidate is self.chosen else "closest" if candidate is self.subject else ""
        tag = Markup(' <span class="tag">{}</span>').format(word) if word else Markup("")
        return Markup('<span class="who">{} {}{}</span> <span class="sub">{}</span>').format(
            charts.key(candidate.kind), tie(candidate.name), tag, candidate.model
        )

    def _models(self, caption: str, columns: Sequence[tuple[str, Write]], *, tight: bool = False) -> Table:
        heads = ("Model", *(head for head, _ in columns))
        rows = (Row((self.name(c), *(write(c) for _, write in columns)), c is self.subject) for c in self.result.candidates)
        return Table(caption, heads, tuple(rows), tight)

    @property
    def glance_table(self) -> Table:
        """Every model in one line: what it finds, what an attacker recognises, what is proved, and how many gates it passes."""
        recall = any(c.utility.recall for c in self.result.candidates)
        columns: list[tuple[str, Write]] = [
            ("Found, of 100", lambda c: self._plain(c.utility.recall, of_hundred)) if recall
            else ("AUC", lambda c: self._plain(c.utility.auc, decimal)),
            ("Attacker recognises, of 100", self._recognised), ("At most, by proof", self._proved), ("Gates passed", self._passed),
        ]
        return self._models("All models at a glance", columns, tight=True)

    def _plain(self, measure: Measure | None, write: Callable[[float], str]) -> Markup:
        return NOTHING if measure is None else self.cite(write(measure.value), measure.ref)

    def _recognised(self, candidate: Candidate) -> Markup:
        rate = candidate.rate(FPR)
        if rate is None:
            return Markup('<span class="none">not attacked</span>')
        return self.cite(of_hundred(rate.tpr.value) if rate.resolvable else "too few to tell", rate.tpr.ref)

    def _proved(self, candidate: Candidate) -> Markup:
        cap = candidate.cap(FPR)
        return Markup('<span class="none">no limit</span>') if cap is None else self.cite(of_hundred(cap), candidate.guarantee_ref)

    def _passed(self, candidate: Candidate) -> Markup:
        mine = [gate for gate in self.result.gates if gate.candidate == candidate.name]
        return self.cite(f"{sum(gate.passed for gate in mine)} of {len(mine)}", *(ref for gate in mine for ref in gate.refs)) if mine else NOTHING

    @property
    def utility_table(self) -> Table:
        """How well each model detects."""
        number = self.number
        return self._models("How well each model detects, on held-out records (95 % intervals in small print)", [
            ("Found, of 100", lambda c: number(c.utility.recall, of_hundred)),
            ("True alerts, of 100", lambda c: number(c.utility.precision, of_hundred)),
            ("AUC", lambda c: number(c.utility.auc)),
            ("Average precision", lambda c: number(c.utility.average_precision)),
            ("Brier score", lambda c: number(c.utility.brier)),
        ])

    @property
    def cost_table(self) -> Table:
        """What each model costs to run."""
        columns: list[tuple[str, Write]] = [
            ("Processor seconds to train", lambda c: self.number(c.cost.cpu_seconds, quantity)),
            ("Peak memory, MB", lambda c: self.number(c.cost.peak_memory_mb, quantity)),
            ("Milliseconds per 1,000 scores", lambda c: self.number(c.cost.latency_ms_per_1000, quantity)),
        ]
        return self._models("What each model costs to run", columns, tight=True)

    @property
    def encrypted_table(self) -> Table | None:
        """What each model costs when it scores what its owner cannot read, if that was measured."""
        if not any(c.encrypted for c in self.result.candidates):
            return None

        def cell(pick: Callable[[Encrypted], Measure], write: Callable[[float], str]) -> Write:
            return lambda c: NOTHING if c.encrypted is None else self.number(pick(c.encrypted), write)

        return self._models("Scoring records that the model's owner cannot read", [
            ("Milliseconds for one record", cell(lambda e: e.latency_ms, quantity)),
            ("Records in a second", cell(lambda e: e.records_per_second, quantity)),
            ("Kilobytes for one record", cell(lambda e: e.kilobytes, quantity)),
            ("Decisions that stay", cell(lambda e: e.agreement, percent)),
        ])

    # ------------------------------------------------------------ gates

    def badge(self, gate: GateResult) -> Markup:
        """A gate's outcome as a sign and a word."""
        sign, word = STATUS.get(gate.status, ("?", "not settled"))
        return Markup('<span class="badge {}"><span aria-hidden="true">{}</span> {}</span>').format(gate.status, sign, word)

    @property
    def gate_table(self) -> Table | None:
        """Every private candidate against every gate."""
        names = list(dict.fromkeys((gate.name, gate.title) for gate in self.result.gates))
        if not names:
            return None
        found = {(gate.candidate, gate.name): gate for gate in self.result.gates}
        rows = []
        for candidate in self.private():
            gates = [found.get((candidate.name, name)) for name, _ in names]
            rows.append(Row((self.name(candidate), *(self._gate_cell(gate) for gate in gates)), candidate is self.subject))
        return Table("Every gate, for every model with a guarantee", ("Model", *(title for _, title in names)), tuple(rows), tight=False)

    def _gate_cell(self, gate: GateResult | None) -> Markup:
        if gate is None:
            return EMPTY
        if gate.value is None:
            return self.badge(gate)
        held = f"{percent(gate.value)}, limit {percent(gate.threshold)}" if gate.name == "attack_bound" else (
            f"{points(gate.value)} points, limit {points(gate.threshold)}"
        )
        return self.badge(gate) + Markup(' <span class="ci">{}</span>').format(self.cite(held, *gate.refs))

    # ------------------------------------------------------------ leakage and promises

    @property
    def attack_table(self) -> Table:
        """Every attack on every model."""
        heads = ("Model", "Recognised at 1 % false alarms", "At 0.1 %", "AUC of the attack", "Attack", "Controls")
        rows = [
            Row((self.name(c), self._rate(c, a.at(FPR)), self._rate(c, a.at(LOW_FPR)), self.number(a.auc),
                 self._ran_on(a), self._controls(a)), c is self.subject)
            for c in self.result.candidates for a in c.attacks
        ]
        return Table("Every attack on every model", heads, tuple(rows), tight=False)

    def _rate(self, candidate: Candidate, rate: Rate | None) -> Markup:
        if rate is None:
            return EMPTY
        if not rate.resolvable:
            return self.cite("too few records", rate.tpr.ref)
        limit = "no limit" if rate.bound is None else Markup("limit {}").format(self.cite(percent(rate.bound), candidate.guarantee_ref))
        return self.number(rate.tpr, percent) + Markup(' <span class="sub">{}</span>').format(limit)

    def _ran_on(self, attack: Attack) -> Markup:
        text = f"{attack.members:,} members, {attack.nonmembers:,} others, {attack.shadows} shadows"
        return Markup('{} <span class="sub">{}</span>').format(attack.name, self.cite(text, attack.auc.ref))

    def _controls(self, attack: Attack) -> Markup:
        controls = [control for control in (attack.positive_control, attack.negative_control) if control is not None]
        return Markup("").join(map(self._control, controls)) if controls else EMPTY

    def _control(self, control: Control) -> Markup:
        sign = "✓" if control.passed else "✗"
        shown = self.cite(decimal(control.value.value, digits=2), control.value.ref)
        return Markup('<span class="control">{} {}: {} <span class="ci">must be {}</span></span>').format(sign, control.what, shown, control.expected)

    @property
    def promise_table(self) -> Table:
        """The guarantees, in full."""
        months = any(c.epsilon_30 is not None for c in self.private())
        rows = [
            Row((self.name(c), self.cite(budget(c.asked), c.guarantee_ref),
                 self._guarantee(c),
                 self.cite(trust_words(c.trust), c.guarantee_ref), *((self._thirty(c),) if months else ())), c is self.subject)
            for c in self.private()
        ]
        heads = ("Model", "ε asked for", "Guaranteed", "Who is trusted", *((f"ε over 30 {self.words.records}",) if months else ()))
        return Table("What is promised, in full", heads, tuple(rows), tight=False)

    def _guarantee(self, candidate: Candidate) -> Markup:
        plan = Markup(' <span class="sub">public plan <code>{}</code></span>').format(candidate.plan_digest[:16]) if candidate.plan_digest else ""
        return self.cite(candidate.guarantee, candidate.guarantee_ref) + plan

    def _thirty(self, candidate: Candidate) -> Markup:
        return NOTHING if candidate.epsilon_30 is None else self.cite(budget(candidate.epsilon_30), candidate.guarantee_ref)

    # ------------------------------------------------------------ groups

    @property
    def evidence_rows(self) -> list[Evidence]:
        """The evidence, charges first, each kind in order."""
        kinds = ("ledger", "measurement", "policy")
        return sorted(self.result.evidence, key=lambda row: kinds.index(row.kind) if row.kind in kinds else len(kinds))

    @property
    def group_subject(self) -> Candidate | None:
        """Whose groups are shown: the recommended or closest candidate, else the first with any."""
        return self.subject if self.subject and self.subject.groups else next((c for c in self.private() if c.groups), None)

    @property
    def group_metric(self) -> str:
        """What was measured per group, in words."""
        groups = self.group_subject.groups if self.group_subject else ()
        metric = groups[0].metric if groups else "score"
        return f"{self.words.positives.capitalize()} found" if metric == "Recall" else metric

    @property
    def group_table(self) -> Table:
        """Groups, worst first."""
        groups = sorted(self.group_subject.groups if self.group_subject else (), key=lambda g: (not g.resolvable, -g.extra_gap))
        shown = groups[:MOST_GROUPS]
        counted = self.words.positives.capitalize() if groups and groups[0].metric == "Recall" else self.words.records.capitalize()
        score = f"{self.group_metric}, of 100"
        heads = ("Group", f"{counted} in it", score, "Without privacy", "Behind everybody, points", "Without privacy, points")
        more = f"; {len(groups) - len(shown)} more are in the JSON file" if len(groups) > len(shown) else ""
        return Table(f"Groups, those that lose most first{more}", heads, tuple(map(self._group_row, shown)), tight=False)

    def _group_row(self, group: Group) -> Row:
        named, count = Markup("{} = {}").format(group.column, group.value), self.cite(f"{group.n:,}", group.score.ref)
        if not group.resolvable:
            return Row((named, count, Markup('<span class="none">too few to tell</span>'), NOTHING, NOTHING, NOTHING))
        return Row((named, count, self.number(group.score, of_hundred), self.number(group.baseline_score, of_hundred),
                    self.number(group.gap, points), self.number(group.baseline_gap, points)))


def trust_words(trust: str) -> str:
    """A trust model for people.

    >>> trust_words("distributed(4,3,1)")
    '4 sites, of which 1 may collude; 3 must stay'
    """
    if not trust.startswith("distributed("):
        return "one party that sees the records: the curator" if trust == "curator" else trust
    sites, threshold, colluding = trust.removeprefix("distributed(").removesuffix(")").split(",")
    return f"{sites} sites, of which {colluding} may collude; {threshold} must stay"
