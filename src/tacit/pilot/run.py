"""The pilot: train every candidate on the same records, measure what it is worth and what it leaks, recommend."""

from __future__ import annotations

import resource
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tacit import __version__
from tacit.attacks import (
    AttackResult,
    attack_membership,
    batched_shadows,
    confidence,
    evaluate,
    lira,
    log_odds,
    paired_membership,
    sequential_shadows,
)
from tacit.domain import Domain
from tacit.federation import LocalFederation
from tacit.guarantee import Budget, PrivacyUnit, Relation
from tacit.guard import Curator, Guard, Ledger, Limits, Policy, Records
from tacit.learn import LearnSpec, TargetSpec, fit_boosted, fit_linear
from tacit.models import Model
from tacit.pilot.data import TARGET, PilotData
from tacit.pilot.measure import attack_rows, groups, utility
from tacit.pilot.recommend import Gates, recommend
from tacit.pilot.results import AlertBudget, Attack, Candidate, Cost, EvidenceBook, Group, LedgerInfo, Measure, Meta, NoisedValue, PilotResult, Threat


@dataclass(frozen=True)
class PilotSpec:
    """What to compare.

    Args:
        budgets: ε of the private candidates.
        delta: δ of all of them.
        sites: how many sites the federated candidate has.
        federated: its ε.
        shadows: per attack; even.
        pool: most records that an attack looks at.
        seed: of splits and attacks; noise never depends on it.
        folder: where report and ledger go.
        command: how the pilot was called, for the page.
        arguments: what a later training has to be told about the data.
    """

    budgets: tuple[float, ...] = (0.1, 1.0, 3.0, 8.0)
    delta: float = 1e-5
    sites: int = 4
    federated: float = 1.0
    shadows: int = 16
    pool: int = 6_000
    seed: int = 1
    folder: Path = Path("pilot")
    command: str = "tacit pilot"
    arguments: str = ""


@dataclass
class _Pilot:
    data: PilotData
    spec: PilotSpec
    ledger: Ledger
    say: Callable[[str], None]
    book: EvidenceBook = field(default_factory=EvidenceBook)
    charged: int = 0
    sizes: list[NoisedValue] = field(default_factory=list)
    found_domain: Domain | None = None

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.spec.seed)
        self.test_labels = self.data.labels(self.data.test)
        self.members = {name: np.array(self.data.test.column(name).to_pylist(), dtype=str) for name in self.data.groups}

    def guard(self, table: pa.Table, epsilon: float, scope: str) -> Guard:
        policy = Policy(
            dataset=scope, unit=PrivacyUnit(self.data.unit), relation=Relation.ADD_REMOVE, budget=Budget(epsilon, self.spec.delta),
            count_share=0.0025, limits=Limits(minimum_units=0),
        )
        return Guard(Records.open(table), policy=policy, ledger=self.ledger)

    def learn(self, epsilon: float, *, scope: str) -> LearnSpec:
        target = TargetSpec(TARGET, positive="1")
        domain = self.data.domain or self._known(scope)
        return LearnSpec(self.data.features, target, Budget(epsilon, self.spec.delta), domain=domain, purpose=f"pilot: {scope}")

    def _known(self, scope: str) -> Domain | None:
        return self.found_domain if "sites" in scope else None

    def private(self, epsilon: float, *, linear: bool = False) -> tuple[Candidate, Model]:
        """One private candidate: charged, trained, measured; its model is discarded by the caller."""
        name = f"logistic, ε = {epsilon:g}" if linear else f"ε = {epsilon:g}"
        guard = self.guard(self.data.train, epsilon, f"{self.data.name}-assessment {name}")
        start = time.process_time()
        train = fit_linear if linear else fit_boosted
        model: Model = train(self.learn(epsilon, scope=name), Curator(guard))
        seconds = time.process_time() - start
        self.charged += 2
        kind, what = ("linear", "private logistic regression") if linear else ("private", "private boosting over public partitions")
        candidate = self.candidate(name, kind, what, seconds=seconds, score=lambda table: model.predict_proba(table)[:, 1], model=model)
        if not linear:
            self._note_size(guard, name)
        return candidate, model

    def _note_size(self, guard: Guard, name: str) -> None:
        entry = guard.ledger.find("count", guard.scope)[0]
        ref = self.book.charged(f"noised number of units, {name}", entry=entry.sequence, digest=entry.digest)
        self.sizes.append(NoisedValue(f"number of {self.data.words.records}", float(guard.size()), ref, candidate=name))

    def federated(self, epsilon: float) -> Candidate:
        """The same learner over several guards, each with a part of the records and a share of the noise."""
        sites = self.spec.sites
        name = f"{sites} sites, ε = {epsilon:g}"
        place = np.random.default_rng(self.spec.seed).integers(0, sites, self.data.train.num_rows)
        scope = f"{self.data.name}-assessment {name}"
        guards = [self.guard(self.data.train.filter(pa.array(place == s)), epsilon, f"{scope}, site {s + 1}") for s in range(sites)]
        start = time.process_time()
        model = fit_boosted(self.learn(epsilon, scope=name), LocalFederation(guards))
        seconds = time.process_time() - start
        self.charged += 2 * sites
        found = self.candidate(
            name, "federated", "private boosting, noise shared by the sites", seconds=seconds, score=lambda table: model.predict_proba(table)[:, 1],
            model=model,
        )
        return replace(found, sites=sites)

    def baseline(self) -> Candidate:
        """scikit-learn's gradient boosting, without privacy."""
        start = time.process_time()
        score = self.boosting(self.data.train)
        return self.candidate("no privacy", "baseline", "gradient boosting, scikit-learn", seconds=time.process_time() - start, score=score)

    def boosting(self, table: pa.Table) -> Callable[[pa.Table], NDArray[np.float64]]:
        """Train the baseline; categories in the order of their first training, unseen ones missing."""
        from sklearn.ensemble import HistGradientBoostingClassifier

        vocabulary = _vocabulary(self.data.train, self.data.features)
        fit = HistGradientBoostingClassifier(random_state=0).fit(_matrix(table, self.data.features, vocabulary), self.data.labels(table))
        return lambda other: np.asarray(fit.predict_proba(_matrix(other, self.data.features, vocabulary))[:, 1])

    def candidate(
        self, name: str, kind: str, what: str, *, seconds: float, score: Callable[[pa.Table], NDArray[np.float64]], model: Model | None = None,
    ) -> Candidate:
        start = time.perf_counter()
        probabilities = score(self.data.test)
        latency = (time.perf_counter() - start) / max(1, self.data.test.num_rows) * 1e6
        worth = self.book.measured(f"utility of «{name}»", f"{self.data.test.num_rows:,} held-out {self.data.words.records}, 100 bootstrap resamples")
        price = self.book.measured(f"cost of «{name}»", "processor seconds of the fit; peak memory of the whole pilot up to here")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        measured = utility(probabilities, self.test_labels, alerts=self.data.alerts[0], ref=worth, seed=self.spec.seed)
        cost = Cost(Measure(seconds, price), Measure(peak, price), Measure(latency, price))
        by_group: tuple[Group, ...] = groups(probabilities, self.test_labels, self.members, alerts=self.data.alerts[0], ref=worth)
        base = Candidate(name, kind, model=what, utility=measured, cost=cost, groups=by_group)
        return base if model is None else self._with_guarantee(base, model)

    def _with_guarantee(self, base: Candidate, model: Model) -> Candidate:
        guarantee, origin = model.guarantee, model.provenance
        ref = self.book.charged(f"training of «{base.name}»", entry=origin.charge or 0, digest=origin.ledger_head or "")
        return replace(
            base, epsilon=guarantee.epsilon, delta=guarantee.delta, guarantee=str(guarantee), guarantee_ref=ref, trust=str(guarantee.trust),
            plan_digest=origin.plan,
        )

    def leak(self, candidate: Candidate, epsilon: float | None) -> Candidate:
        """Attack an audit twin: the same recipe trained on half of a pool, so that members and others are alike."""
        pool = self._pool()
        labels = self.data.labels(pool)
        member = self.rng.random(pool.num_rows) < 0.5
        membership = paired_membership(pool.num_rows, self.spec.shadows, rng=self.rng)
        results, target, shadows = (
            self._baseline_attack(pool, labels, member=member, membership=membership) if epsilon is None
            else self._private_attack(pool, labels, epsilon=epsilon, member=member, membership=membership)
        )
        null = evaluate("null", lira(target, shadows, membership), self.rng.random(len(labels)) < 0.5, shadows=self.spec.shadows)
        how = f"{self.spec.shadows} shadow models, twin trained on half of {len(labels):,} records"
        ref = self.book.measured(f"attack on «{candidate.name}»", how)
        rows: tuple[Attack, ...] = attack_rows(results, ref=ref, null=null)
        return replace(candidate, attacks=rows)

    def _pool(self) -> pa.Table:
        both = pa.concat_tables([self.data.train, self.data.test])
        count = min(self.spec.pool, both.num_rows)
        return both.take(np.sort(self.rng.choice(both.num_rows, count, replace=False)))

    def _baseline_attack(
        self, pool: pa.Table, labels: NDArray[np.int64], *, member: NDArray[np.bool_], membership: NDArray[np.bool_],
    ) -> tuple[tuple[AttackResult, ...], NDArray[np.float64], NDArray[np.float64]]:
        def train(mask: NDArray[np.bool_]) -> Callable[[], NDArray[np.float64]]:
            score = self.boosting(pool.filter(pa.array(mask)))
            return lambda: log_odds(score(pool))

        target = confidence(train(member)(), labels)
        shadows = confidence(sequential_shadows(train, membership), labels)
        return attack_membership(target, shadows, membership, is_member=member), target, shadows

    def _private_attack(
        self, pool: pa.Table, labels: NDArray[np.int64], *, epsilon: float, member: NDArray[np.bool_], membership: NDArray[np.bool_],
    ) -> tuple[tuple[AttackResult, ...], NDArray[np.float64], NDArray[np.float64]]:
        scope = f"{self.data.name}-assessment twin ε = {epsilon:g} {secrets.token_hex(4)}"
        guard = self.guard(pool.filter(pa.array(member)), epsilon, scope)
        twin = fit_boosted(self.learn(epsilon, scope="twin"), Curator(guard))
        self.charged += 2
        steps = guard.last_charge.body["plan"]["steps"] if guard.last_charge is not None else []
        columns = {name: pool.column(name).combine_chunks() for name in self.data.features}
        bins = twin.frame.binning.bins(columns, pool.num_rows)
        margins = batched_shadows(twin, bins, labels, membership=membership, noise_multiplier=steps[-1]["noise_multiplier"], rng=self.rng)
        target, shadows = confidence(twin.margins(pool)[:, 0], labels), confidence(margins, labels)
        return attack_membership(target, shadows, membership, is_member=member, guarantee=twin.guarantee), target, shadows


def _vocabulary(table: pa.Table, features: tuple[str, ...]) -> dict[str, dict[str, int]]:
    from tacit.questions.encoding import numbers

    found: dict[str, dict[str, int]] = {}
    for name in features:
        column = table.column(name).combine_chunks()
        if np.isnan(numbers(column)).mean() > 0.5 and not pa.types.is_floating(column.type):
            values = sorted({str(value).strip() for value in column.to_pylist() if value is not None})[:250]
            found[name] = {value: index for index, value in enumerate(values)}
    return found


def _matrix(table: pa.Table, features: tuple[str, ...], vocabulary: dict[str, dict[str, int]]) -> NDArray[np.float64]:
    from tacit.questions.encoding import numbers

    columns = []
    for name in features:
        column = table.column(name).combine_chunks()
        if name in vocabulary:
            known = vocabulary[name]
            columns.append(np.array([known.get(str(value).strip(), np.nan) for value in column.to_pylist()], np.float64))
        else:
            columns.append(numbers(column))
    return np.column_stack(columns)


def run_pilot(data: PilotData, spec: PilotSpec, *, gates: dict[str, float] | None = None, say: Callable[[str], None] = lambda _: None) -> PilotResult:
    """Compare, attack, recommend. Charges an assessment ledger in ``spec.folder``; the models are discarded.

    Raises:
        TacitError: whatever stops it; finished charges stay in the ledger.
    """
    spec.folder.mkdir(parents=True, exist_ok=True)
    run = secrets.token_hex(8)
    pilot = _Pilot(replace_name(data, run), spec, Ledger.open(spec.folder / "assessment.db"), say)
    candidates = list(_candidates(pilot))
    meta = _meta(pilot, data, run)
    policy = pilot.book.policy("gates", "the policy file, or Tacit's defaults")
    chosen = Gates(ref=policy) if gates is None else Gates.from_mapping(gates, ref=policy)
    decision = recommend(candidates, chosen, meta=meta)
    return PilotResult(
        meta, tuple(candidates), decision.gates, decision.recommendation, pilot.book.rows, _THREAT, (*_warnings(data), *decision.warnings),
        tuple(pilot.sizes),
    )


def replace_name(data: PilotData, run: str) -> PilotData:
    """The data under a name of this run, so that every assessment has its own scopes."""
    return replace(data, name=f"{data.name} {run}")


def _candidates(pilot: _Pilot) -> list[Candidate]:
    say, spec = pilot.say, pilot.spec
    say("baseline without privacy")
    found = [pilot.baseline()]
    for epsilon in spec.budgets:
        say(f"private, ε = {epsilon:g}")
        candidate, model = pilot.private(epsilon)
        pilot.found_domain = model.domain
        found.append(candidate)
    say(f"{spec.sites} sites, ε = {spec.federated:g}")
    found.append(pilot.federated(spec.federated))
    say(f"logistic regression, ε = {spec.federated:g}")
    found.append(pilot.private(spec.federated, linear=True)[0])
    base = {(group.column, group.value): group for group in found[0].groups}
    attacked = []
    for candidate in found:
        say(f"attack on «{candidate.name}»")
        seen = replace(candidate, groups=tuple(_against(group, base) for group in candidate.groups)) if candidate.kind != "baseline" else candidate
        attackable = candidate.kind in ("baseline", "private")
        attacked.append(pilot.leak(seen, _epsilon(candidate, spec)) if attackable else seen)
    return attacked


def _epsilon(candidate: Candidate, spec: PilotSpec) -> float | None:
    return None if candidate.epsilon is None else min(spec.budgets, key=lambda value: abs(value - (candidate.epsilon or 0.0)))


def _against(group: Group, base: dict[tuple[str, str], Group]) -> Group:
    before = base.get((group.column, group.value))
    return group if before is None else replace(group, baseline_gap=before.gap, baseline_score=before.score)


def _meta(pilot: _Pilot, data: PilotData, run: str) -> Meta:
    spec, book = pilot.spec, pilot.book
    counted = book.measured("numbers of records", "counted on the owner's side")
    alerts = book.policy(f"alert budget: {data.alerts[1]}", "the command")
    return Meta(
        f"Pilot on {'a simulated enterprise' if data.source == 'simulated SOC' else data.name}", data.name, data.source, data.unit,
        data.unit_sentence,
        Relation.ADD_REMOVE.value, spec.delta, datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"), __version__, run,
        LedgerInfo(pilot.ledger.head, pilot.charged, str(spec.folder / "assessment.db")), counted, len(data.features), data.train.num_rows,
        data.test.num_rows, int(pilot.test_labels.sum()), data.split, (spec.seed,), data.words,
        AlertBudget(data.alerts[1], alerts, share=data.alerts[0] / max(1, data.test.num_rows)), spec.command, spec.arguments,
    )


_THREAT = Threat(
    "Somebody who can score any record with the model, knows how it was trained, and holds records like yours that were not used.",
    "One party, the curator, sees the records and adds the noise before anything leaves; in the candidate with sites, each site adds its "
    "share, and the process that adds them up is trusted.",
    (
        "What is known about a unit from elsewhere.", "Several units of one person: their budgets add up.",
        "This page: it contains measurements that are not private.",
    ),
)


def _warnings(data: PilotData) -> tuple[str, ...]:
    fixed = (
        "The attacks look at audit twins trained on a sample of the records: a twin on fewer records leaks at least as much.",
        "The models of a pilot are discarded. What is deployed is trained anew, and charged to the ledger of the data set.",
    )
    return ("These are simulated records: repeat the pilot on your own before you decide.", *fixed) if data.source == "simulated SOC" else fixed


def summary(result: PilotResult) -> dict[str, Any]:
    """The few numbers a script wants."""
    return {"verdict": result.recommendation.verdict if result.recommendation else "none", "run": result.meta.run, "head": result.meta.ledger.head}
