"""The pilot: train every candidate on the same records, measure what it is worth and what it leaks, recommend."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
from threadpoolctl import threadpool_limits

from tacit import __version__
from tacit.domain import Domain
from tacit.errors import UsageError
from tacit.guarantee import Relation
from tacit.guard import Ledger
from tacit.pilot.audit import Audit
from tacit.pilot.candidates import Recipe, Workbench
from tacit.pilot.data import PilotData
from tacit.pilot.encrypted import ABSENT, available
from tacit.pilot.gates import Gates
from tacit.pilot.progress import Progress, Stage
from tacit.pilot.recommend import recommend
from tacit.pilot.results import AlertBudget, Candidate, EvidenceBook, Group, LedgerInfo, Meta, NoisedValue, PilotResult, Threat

FEW_POSITIVES = 30


@dataclass(frozen=True)
class PilotSpec:
    """What to compare.

    Args:
        budgets: ε of the private candidates.
        delta: δ of all of them.
        sites: how many sites the federated candidate has.
        federated: ε of the federated and the linear candidate.
        shadows: per attack; even.
        pool: most units that an attack looks at.
        seed: of splits and attacks; noise never depends on it.
        folder: where report and ledger go.
        command: how the pilot was called, for the page.
        arguments: what a later training has to be told about the data.

    Raises:
        UsageError: for sites, shadows or a pool that nothing can be compared with.
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

    def __post_init__(self) -> None:
        if self.sites < 2:
            raise UsageError(f"Expected at least 2 sites; got {self.sites}. One site is the curator that is compared anyway.")
        if self.shadows < 4 or self.shadows % 2:
            raise UsageError(f"Expected an even number of shadows, at least 4; got {self.shadows}.")
        if self.pool < 100:
            raise UsageError(f"Expected a pool of at least 100; got {self.pool}.")

    @property
    def recipes(self) -> tuple[Recipe, ...]:
        """The private candidates, in the order they are trained."""
        single = tuple(Recipe(epsilon) for epsilon in self.budgets)
        return (*single, Recipe(self.federated, "federated", self.sites), Recipe(self.federated, "linear"))

    def job(self, data: PilotData) -> dict[str, Any]:
        """What has to be the same for an interrupted run to be continued."""
        names = ("budgets", "delta", "sites", "federated", "shadows", "pool", "seed")
        about = {
            "name": data.name, "features": list(data.features), "unit": [data.unit.name, data.unit.column, data.unit.window],
            "rows": data.rows_per_unit, "groups": list(data.groups), "domain": None if data.domain is None else data.domain.digest,
        }
        return {name: getattr(self, name) for name in names} | {"data": about, "version": __version__}


def run_pilot(data: PilotData, spec: PilotSpec, *, gates: dict[str, float] | None = None, say: Callable[[str], None] = lambda _: None) -> PilotResult:
    """Compare, attack, recommend. Charges an assessment ledger in ``spec.folder``; the models are discarded.

    What is finished is kept until `progress.forget` is called for the folder: an interrupted pilot on the same records goes on where it stopped.

    Raises:
        TacitError: whatever stops it; finished charges stay in the ledger.
    """
    spec.folder.mkdir(parents=True, exist_ok=True)
    book, ledger = EvidenceBook(), Ledger.open(spec.folder / "assessment.db")
    progress = Progress(spec.folder, spec.job(data), fingerprint=lambda key: _fingerprint(data, key), book=book)
    if progress.resumed:
        say(f"going on with run {progress.run}, which was interrupted")
    bench = Workbench(data, spec.delta, spec.seed, ledger, f"{progress.run}-{secrets.token_hex(2)}", book, spec.federated)
    with threadpool_limits(1):  # costs are compared in processor seconds, and threads that wait by spinning would be counted, too
        if not available():
            say(ABSENT)
        candidates = tuple(_candidates(bench, spec, progress, say))
    meta = _meta(bench, spec, progress.run)
    policy = book.policy("gates", "the policy file, or Tacit's defaults")
    chosen = Gates(ref=policy) if gates is None else Gates.from_mapping(gates, ref=policy)
    decision = recommend(candidates, chosen, meta=meta)
    return PilotResult(
        meta, candidates, decision.gates, decision.recommendation, book.rows, _threat(data), (*_warnings(data), *decision.warnings),
        tuple(bench.sizes),
    )


def _fingerprint(data: PilotData, key: bytes) -> str:
    return data.records(pa.concat_tables([data.train, data.test], promote_options="permissive")).fingerprint(key)


def _candidates(bench: Workbench, spec: PilotSpec, progress: Progress, say: Callable[[str], None]) -> Iterator[Candidate]:
    def stage(name: str, work: Callable[[], Candidate]) -> Candidate:
        say(name)
        before = len(bench.sizes)

        def whole() -> Stage:
            candidate = work()
            return Stage(candidate, noised=tuple(bench.sizes[before:]), domain=None if bench.domain is None else bench.domain.to_toml())

        found = progress.stage(name, whole)
        _restore(bench, found, before)
        if found.candidate is None:
            raise UsageError("Expected a candidate in the kept progress; remove the folder .progress and start anew.")
        return found.candidate

    baseline = stage("baseline without privacy", bench.baseline)
    private = [(recipe, stage(f"private, {recipe.name}", partial(bench.private, recipe))) for recipe in spec.recipes]
    audit = Audit(bench, spec.shadows, spec.pool)
    say("attack on a model planted to leak")
    planted = progress.stage("planted", lambda: Stage(control=audit.control())).control or audit.control()
    yield stage(f"attack on «{baseline.name}»", lambda: audit.attacked(baseline, None, planted))
    base = {(group.column, group.value): group for group in baseline.groups}
    for recipe, candidate in private:
        seen = replace(candidate, groups=tuple(_against(group, base) for group in candidate.groups))
        yield stage(f"attack on «{candidate.name}»", partial(audit.attacked, seen, recipe, planted))


def _restore(bench: Workbench, found: Stage, before: int) -> None:
    """Bring the bench to where it was after a stage that an earlier start had finished."""
    known: list[NoisedValue] = bench.sizes[:before]
    bench.sizes[:] = [*known, *found.noised]
    if found.domain is not None:
        bench.domain = Domain.from_toml(found.domain)


def _against(group: Group, base: dict[tuple[str, str], Group]) -> Group:
    before = base.get((group.column, group.value))
    return group if before is None else replace(group, baseline_gap=before.gap, baseline_score=before.score)


def _meta(bench: Workbench, spec: PilotSpec, run: str) -> Meta:
    data, book, ledger = bench.data, bench.book, bench.ledger
    counted = book.measured("numbers of records", "counted on the owner's side")
    alerts = book.policy(f"alert budget: {data.alerts[1]}", "the command")
    charged = sum(run in entry.dataset for entry in ledger.entries(kind="charge"))
    return Meta(
        f"Pilot on {'a simulated enterprise' if data.source == 'simulated SOC' else data.name}", data.name, data.source, data.unit.name,
        data.unit_sentence, Relation.ADD_REMOVE.value, spec.delta, datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"), __version__, run,
        LedgerInfo(ledger.head, charged, str(spec.folder / "assessment.db")), counted, len(data.features), data.train.num_rows,
        data.test.num_rows, int(data.labels(data.test).sum()), data.split, (spec.seed,), data.words,
        AlertBudget(data.alerts[1], alerts, share=data.alerts[0] / max(1, data.test.num_rows)), spec.command, spec.arguments,
    )


def _threat(data: PilotData) -> Threat:
    several = (
        f"Several {data.words.records} of one person: their budgets add up." if data.unit.window or data.unit.is_record
        else f"One person behind several {data.words.records}: their budgets add up."
    )
    return Threat(
        "Somebody who can score any record with the model, knows how it was trained, and holds records like yours that were not used.",
        "One party, the curator, sees the records and adds the noise before anything leaves; in the candidate with sites, each site adds its "
        "share, and the process that adds them up is trusted.",
        (f"What is known about a {data.words.record} from elsewhere.", several, "This page: it contains measurements that are not private."),
    )


def _warnings(data: PilotData) -> tuple[str, ...]:
    fixed: tuple[str, ...] = (
        "The attacks were run on twins: models made by the same recipe from a sample of the records, which leak at least as much.",
        "The models of a pilot are discarded. What is deployed is trained anew, and charged to the ledger of the data set.",
    )
    if int(data.labels(data.test).sum()) < FEW_POSITIVES:
        few = f"Very few {data.words.positives} were held out: what a model finds of them, and so which one is recommended, may be chance."
        fixed = (few, *fixed)
    if data.source == "simulated SOC":
        return ("These are simulated records: repeat the pilot on your own before you decide.", *fixed)
    if data.source == "file" and data.unit.is_record:
        return ("Every row counts as one unit. If a person has several rows, name the column that tells people apart with --unit.", *fixed)
    return fixed

