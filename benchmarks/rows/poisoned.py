"""One poisoned site of fifteen: what a guard's bound stops, what it does not, and what a median over groups of sites does about the rest."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from benchmarks.datasets import CASES, Split
from benchmarks.result import Check, Measured, Options, Row
from tacit.domain import Domain
from tacit.federation import GroupedFederation, LocalFederation, Parties
from tacit.guarantee import Budget, PrivacyUnit, Relation
from tacit.guard import Aggregator, Guard, Limits, MemoryBooks, Plan, Policy, Records, Session
from tacit.learn import LearnSpec, TargetSpec, fit_boosted, fit_linear
from tacit.questions import Question
from tacit.questions.base import Sums

SITES, GROUP = 15, 3
BUDGET = Budget(1.0, 1e-5)
LABEL = "label"
LEARNERS: dict[str, Callable[..., Any]] = {"linear": fit_linear, "boosted trees": fit_boosted}


class Liar(Session):
    """Answers with thirty times the opposite of the truth: twice as much as all fifteen sites together."""

    def answer(self, step: int, question: Question) -> Sums:
        """The opposite."""
        return np.asarray(-30 * super().answer(step, question), np.int64)


class Replaced(Guard):
    """A guard whose bound was taken out."""

    def open(self, plan: Plan, *, share: Fraction = Fraction(1)) -> Session:
        """A session that lies."""
        super().open(plan, share=share)
        return Liar(plan, self._records, source=self._source, share=share)


@dataclass(frozen=True)
class Attack:
    """What one site does: to its records, behind its guard's bound, or to the guard itself."""

    about: str
    poison: Callable[[pl.DataFrame], pl.DataFrame] = lambda records: records
    guard: type[Guard] = Guard


def _huge(records: pl.DataFrame) -> pl.DataFrame:
    """Ten records in a hundred with values far outside all bounds and the opposite label."""
    hit = pl.int_range(pl.len()) % 10 == 0
    numbers = [name for name, kind in records.schema.items() if kind.is_numeric()]
    far = [pl.when(hit).then(1e9).otherwise(pl.col(name)).alias(name) for name in numbers]
    return records.with_columns(*far, pl.when(hit).then(_other()).otherwise(pl.col(LABEL)).alias(LABEL))


def _other() -> pl.Expr:
    return pl.when(pl.col(LABEL) == "1").then(pl.lit("0")).otherwise(pl.lit("1"))


ATTACKS = {
    "none": Attack("nobody is poisoned"),
    "huge values": Attack("one record in ten far outside all bounds, with the opposite label", _huge),
    "labels": Attack("all labels turned", lambda records: records.with_columns(_other().alias(LABEL))),
    "made-up units": Attack("thirty copies of each record, labels turned", lambda r: pl.concat([r.with_columns(_other().alias(LABEL))] * 30)),
    "no guard": Attack("thirty times the opposite of every sum", guard=Replaced),
}


def _single(guards: Sequence[Guard]) -> Aggregator:
    return LocalFederation(guards, parties=Parties.of(len(guards)))


def _grouped(rule: str) -> Callable[[Sequence[Guard]], Aggregator]:
    def over(guards: Sequence[Guard]) -> Aggregator:
        parts = [guards[start : start + GROUP] for start in range(0, len(guards), GROUP)]
        return GroupedFederation([LocalFederation(part, parties=Parties.of(GROUP)) for part in parts], rule=rule)

    return over


WAYS: dict[str, Callable[[Sequence[Guard]], Aggregator]] = {
    "one sum": _single, "median of 5 groups": _grouped("median"), "trimmed mean of 5 groups": _grouped("trimmed"),
}


def guards_of(split: Split, attack: Attack, rng: np.random.Generator) -> list[Guard]:
    """The training records in fifteen parts by chance, of which the first is poisoned."""
    table = split.train.with_columns(pl.Series(LABEL, split.y_train.astype(str)))
    order = rng.permutation(table.height)
    found = []
    for site in range(SITES):
        records = table[order[site::SITES]]
        policy = Policy(f"site {site}", unit=PrivacyUnit(), relation=Relation.ADD_REMOVE, budget=BUDGET, limits=Limits(minimum_units=0))
        kind = attack.guard if site == 0 else Guard
        found.append(kind(Records.open((attack.poison(records) if site == 0 else records).to_arrow()), policy=policy, ledger=MemoryBooks()))
    return found


def quality(split: Split, scores: NDArray[np.float64]) -> float:
    """AUC on the test records."""
    return float(roc_auc_score(split.y_test, scores))


def poisoned(options: Options) -> Measured:
    split = CASES["adult"].load(0)
    domain = Domain.from_toml(split.domain_toml)
    spec = LearnSpec(domain.names, TargetSpec(LABEL, classes=("0", "1")), BUDGET, domain=domain)
    test: pa.Table = split.test.to_arrow()
    table: dict[str, Any] = {}
    for learner, fit in LEARNERS.items():
        for attack in ATTACKS:
            sys.stderr.write(f"{learner}: {attack}\n")
            for way in WAYS:
                found = [
                    quality(split, fit(spec, WAYS[way](guards_of(split, ATTACKS[attack], np.random.default_rng(seed)))).margins(test)[:, 0])
                    for seed in range(options.seeds)
                ]
                table.setdefault(learner, {}).setdefault(attack, {})[way] = {
                    "auc": statistics.fmean(found), "worst": min(found), "sd": statistics.stdev(found) if len(found) > 1 else 0.0,
                }

    def auc(attack: str, way: str, learner: str = "linear") -> float:
        return float(table[learner][attack][way]["auc"])

    checks = (
        Check("AUC, linear, guard replaced, median of groups", auc("no guard", "median of 5 groups"), auc("none", "one sum") - 0.03),
        Check("AUC, linear, guard replaced, one sum", auc("no guard", "one sum"), 0.6, at_least=False),
        Check("AUC, linear, huge values, one sum: the guard's bound is enough", auc("huge values", "one sum"), auc("none", "one sum") - 0.01),
        Check("AUC, linear, nobody poisoned, median of groups", auc("none", "median of 5 groups"), auc("none", "one sum") - 0.03),
    )  # fmt: skip
    details = {
        "seeds": options.seeds, "sites": SITES, "groups": SITES // GROUP, "epsilon": BUDGET.epsilon, "delta": BUDGET.delta, "auc": table,
        "attacks": {name: attack.about for name, attack in ATTACKS.items()},
    }  # fmt: skip
    return Measured(auc("no guard", "median of 5 groups"), "AUC", "one masked sum", auc("no guard", "one sum"), checks, details)


ROWS = (Row("federated.poisoned", "AUC with one poisoned site of fifteen: a median over groups of sites, against one masked sum", poisoned),)
