"""What a pilot compares: each candidate is charged, trained, measured on held-out records, and its model handed to the attacks."""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tacit.domain import Domain
from tacit.federation import LocalFederation
from tacit.guarantee import Budget, Relation
from tacit.guard import Aggregator, Curator, Guard, Ledger, Limits, Policy, gdp_epsilon, gdp_mu
from tacit.learn import LearnSpec, TargetSpec, fit_boosted, fit_linear
from tacit.models import Model
from tacit.pilot.data import TARGET, PilotData
from tacit.pilot.encrypted import encrypted
from tacit.pilot.measure import groups, utility
from tacit.pilot.results import Candidate, Cost, EvidenceBook, Measure, NoisedValue
from tacit.questions.encoding import numbers, texts

COUNT_SHARE = 0.0025
MONTH = 30
MOST_TEXTS = 250
_LARGEST = 1e30
Score = Callable[[pa.Table], NDArray[np.float64]]


@dataclass(frozen=True)
class Recipe:
    """How a private candidate is made: its ε, and whether by one curator, by several sites, or as a linear model."""

    epsilon: float
    kind: str = "private"
    sites: int = 1

    @property
    def name(self) -> str:
        """What the report calls it."""
        start = {"private": "", "federated": f"{self.sites} sites, ", "linear": "logistic, "}[self.kind]
        return f"{start}ε = {self.epsilon:g}"

    @property
    def model(self) -> str:
        """What it is, in words."""
        return {
            "private": "private boosting over public partitions", "federated": "private boosting, noise shared by the sites",
            "linear": "private logistic regression",
        }[self.kind]


@dataclass
class Workbench:
    """Trains and measures candidates.

    Args:
        data: the records, split.
        delta: of every private candidate.
        seed: of splits and intervals; noise never depends on it.
        ledger: the assessment ledger.
        run: public name of this run and start, so that every assessment has scopes of its own.
        book: where evidence is noted.
        lends: largest ε whose candidate may lend the domain it found to those that cannot find one.
        domain: found by an earlier candidate.
    """

    data: PilotData
    delta: float
    seed: int
    ledger: Ledger
    run: str
    book: EvidenceBook
    lends: float = 1.0
    domain: Domain | None = None
    sizes: list[NoisedValue] = field(default_factory=list)

    def guard(self, table: pa.Table, epsilon: float, scope: str) -> Guard:
        """A guard over some records whose whole budget is this candidate's."""
        data = self.data
        policy = Policy(
            dataset=f"{data.name} {self.run}, {scope}", unit=data.unit, relation=Relation.ADD_REMOVE, budget=Budget(epsilon, self.delta),
            rows_per_unit=data.rows_per_unit, count_share=COUNT_SHARE, limits=Limits(minimum_units=0),
        )
        return Guard(data.records(table), policy=policy, ledger=self.ledger)

    def aggregator(self, recipe: Recipe, table: pa.Table, scope: str) -> Curator | LocalFederation:
        """One curator, or as many guards as the recipe has sites, with units spread over them."""
        if recipe.kind != "federated":
            return Curator(self.guard(table, recipe.epsilon, scope))
        place = _sites(self.data, table, recipe.sites, self.seed)
        parts = [table.filter(pa.array(place == site)) for site in range(recipe.sites)]
        return LocalFederation([self.guard(part, recipe.epsilon, f"{scope}, site {site + 1}") for site, part in enumerate(parts)])

    def learn(self, recipe: Recipe, aggregator: Aggregator, purpose: str) -> Model:
        """Train by the recipe; the whole budget is charged first."""
        domain = self.data.domain or (self.domain if recipe.kind == "federated" else None)
        spec = LearnSpec(
            self.data.features, TargetSpec(TARGET, positive="1"), Budget(recipe.epsilon, self.delta), domain=domain, purpose=f"pilot: {purpose}",
        )
        return fit_linear(spec, aggregator) if recipe.kind == "linear" else fit_boosted(spec, aggregator)

    def private(self, recipe: Recipe) -> Candidate:
        """One private candidate: charged, trained, measured; its model is discarded."""
        aggregator = self.aggregator(recipe, self.data.train, recipe.name)
        with measured() as price:
            model = self.learn(recipe, aggregator, recipe.name)
        if recipe.kind == "private" and (self.domain is None or recipe.epsilon <= self.lends):
            self.domain = model.domain
        self._note_size(recipe, aggregator)
        found = self.candidate(recipe.name, recipe.kind, recipe.model, price=price, score=lambda table: model.predict_proba(table)[:, 1])
        guarantee, origin = model.guarantee, model.provenance
        ref = self.book.charged(f"training of «{recipe.name}»", entry=origin.charge or 0, digest=origin.ledger_head or "")
        return replace(
            found, epsilon=guarantee.epsilon, delta=guarantee.delta, guarantee=str(guarantee), guarantee_ref=ref, trust=str(guarantee.trust),
            plan_digest=origin.plan, budget=recipe.epsilon, sites=recipe.sites, epsilon_30=self._month(guarantee.epsilon),
            encrypted=encrypted(model, self.data.test, name=recipe.name, book=self.book),
        )

    def _month(self, epsilon: float) -> float | None:
        """What 30 windows of one unit add up to; Gaussian answers compose by adding μ²."""
        if self.data.unit.window is None:
            return None
        return gdp_epsilon(math.sqrt(MONTH) * gdp_mu(epsilon, self.delta), self.delta)

    def _note_size(self, recipe: Recipe, aggregator: Curator | LocalFederation) -> None:
        if not isinstance(aggregator, Curator) or recipe.kind != "private":
            return
        entry = aggregator.guard.ledger.find("count", aggregator.guard.scope)[0]
        ref = self.book.charged(f"noised number of units, {recipe.name}", entry=entry.sequence, digest=entry.digest)
        self.sizes.append(NoisedValue(f"number of {self.data.words.records}", float(aggregator.size()), ref, candidate=recipe.name))

    def baseline(self) -> Candidate:
        """scikit-learn's gradient boosting, without privacy."""
        with measured() as price:
            score = boosting(self.matrix(self.data.train), self.data.labels(self.data.train))
        return self.candidate("no privacy", "baseline", "gradient boosting, scikit-learn", price=price, score=lambda table: score(self.matrix(table)))

    def candidate(self, name: str, kind: str, what: str, *, price: Price, score: Score) -> Candidate:
        """Measure a trained model on the held-out records."""
        data, labels = self.data, self.data.labels(self.data.test)
        start = time.perf_counter()
        probabilities = score(data.test)
        latency = (time.perf_counter() - start) / max(1, data.test.num_rows) * 1e6
        worth = self.book.measured(f"utility of «{name}»", f"{data.test.num_rows:,} held-out rows, 100 bootstrap resamples")
        cost = self.book.measured(f"cost of «{name}»", "processor seconds of the fit; most memory the process held during it; clock time to score")
        owner = None if data.unit.is_record else _owners(data, data.test)
        found = utility(probabilities, labels, alerts=data.alerts[0], ref=worth, units=owner, seed=self.seed)
        spent = Cost(Measure(price.seconds, cost), Measure(price.memory, cost), Measure(latency, cost))
        members = {column: np.array(data.test.column(column).to_pylist(), dtype=str) for column in data.groups}
        by_group = groups(probabilities, labels, members, alerts=data.alerts[0], ref=worth)
        return Candidate(name, kind, model=what, utility=found, cost=spent, groups=by_group)

    @cached_property
    def _vocabulary(self) -> dict[str, dict[str, int]]:
        """The texts of every column that holds text, as the baseline numbers them; those it never saw are missing to it."""
        found: dict[str, dict[str, int]] = {}
        for name in self.data.features:
            column = self.data.train.column(name).combine_chunks()
            if not pa.types.is_floating(column.type) and np.isnan(numbers(column)).mean() > 0.5:
                values = sorted(value for value in texts(column).unique().to_pylist() if value is not None)[:MOST_TEXTS]
                found[name] = {value: index for index, value in enumerate(values)}
        return found

    def matrix(self, table: pa.Table) -> NDArray[np.float64]:
        """Features as numbers ``[rows, features]``; what is missing, unknown or infinite is NaN, and nothing is beyond float32."""
        columns = []
        for name in self.data.features:
            column = table.column(name).combine_chunks()
            if name in self._vocabulary:
                place = pc.index_in(texts(column), value_set=pa.array(list(self._vocabulary[name]), texts(column).type))
                columns.append(numbers(place))
            else:
                columns.append(numbers(column))
        matrix = np.column_stack(columns)
        return np.where(np.isfinite(matrix), np.clip(matrix, -_LARGEST, _LARGEST), np.nan)


def boosting(matrix: NDArray[np.float64], labels: NDArray[np.int64]) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """Train the baseline; returns what gives the probability of the positive class. Columns without a single number are left out."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    kept = np.isfinite(matrix).any(axis=0)
    if not kept.any():
        return lambda other: np.full(len(other), labels.mean())

    fit = HistGradientBoostingClassifier(random_state=0).fit(matrix[:, kept], labels)
    return lambda other: np.asarray(fit.predict_proba(other[:, kept])[:, 1])


def _owners(data: PilotData, table: pa.Table) -> NDArray[np.int64]:
    """The unit of every row of a table, in its own order: int64 ``[rows]``; rows without one are units of their own."""
    column = data.unit.column or ""
    keys = [str(value) for value in table.column(column).to_pylist()]
    return np.unique(keys, return_inverse=True)[1].astype(np.int64)


def _sites(data: PilotData, table: pa.Table, sites: int, seed: int) -> NDArray[np.int64]:
    """A site for every row; the rows of one unit lie at one site."""
    owner = np.arange(table.num_rows) if data.unit.is_record else _owners(data, table)
    count = int(owner.max()) + 1 if len(owner) else 0
    return np.random.default_rng([seed, 7]).integers(0, sites, count)[owner]


@dataclass
class Price:
    """What a block cost: processor seconds, and the most memory (MB) that the process held meanwhile."""

    seconds: float = 0.0
    memory: float = 0.0


class measured:  # noqa: N801 - reads as a statement
    """Measure a block: ``with measured() as price``."""

    def __enter__(self) -> Price:
        _forget_peak()
        self._price, self._start = Price(), time.process_time()
        return self._price

    def __exit__(self, *_: Any) -> None:
        self._price.seconds = time.process_time() - self._start
        self._price.memory = _peak()


def _forget_peak() -> None:
    """Let the kernel count the peak of the resident memory anew (Linux, proc_pid_clear_refs(5))."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


def _peak() -> float:
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024
    except (OSError, ValueError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
