"""What still leaks: every candidate's recipe is repeated on half of a pool of units, and whoever was in that half is guessed.

A twin and not the candidate itself is attacked, because members and others must be alike: the candidate's own members are of other days, or
simply all the records there are.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tacit.attacks import (
    AttackResult,
    Pool,
    attack_membership,
    batched_linear_shadows,
    batched_shadows,
    by_unit,
    confidence,
    evaluate,
    lira,
    log_odds,
    paired_membership,
    planted_control,
    sequential_shadows,
)
from tacit.errors import UsageError
from tacit.federation import LocalFederation
from tacit.guarantee import Guarantee
from tacit.guard import Curator, Plan, PlanStep
from tacit.learn.spending import unit_clip
from tacit.models import AdditiveModel, LinearModel, Model
from tacit.pilot.candidates import Recipe, Workbench, boosting
from tacit.pilot.measure import attack_rows, planted_row
from tacit.pilot.results import Candidate, Control
from tacit.questions import GRID
from tacit.questions.linear import DESIGN_UNIT, design

PLANTED_RECORDS = 1_200
MOST_ROWS = 60_000
ENOUGH = 2_200
"""Units to guess about, so that one false alarm in a hundred can be told; where there are fewer, several twins are attacked."""
MOST_TWINS = 8
Margins: TypeAlias = NDArray[np.float64]
Found: TypeAlias = "tuple[Margins, Margins, Guarantee | None]"
"""Confidences of a twin ``[units]`` and of its shadows ``[units, shadows]``, and what the twin promises."""


@dataclass(frozen=True, eq=False)
class Trial:
    """Units that are guessed about: their records, and who is a member of the twin and of each shadow.

    Args:
        table: the records, those of one unit together.
        labels: 0 or 1, ``[records]``.
        owner: int64 ``[records]``, dense from 0; ``None`` if every record is a unit.
        member: bool ``[units]``.
        membership: bool ``[units, shadows]``.
        rng: for everything else; protects nothing.
    """

    table: pa.Table
    labels: NDArray[np.int64]
    owner: NDArray[np.int64] | None
    member: NDArray[np.bool_]
    membership: NDArray[np.bool_]
    rng: np.random.Generator

    def rows(self, chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The records of some units."""
        return chosen if self.owner is None else chosen[self.owner]

    def confidences(self, target: Margins, shadows: Margins) -> tuple[Margins, Margins]:
        """Of the twin ``[units]`` and of all shadows ``[units, shadows]``."""
        return by_unit(confidence(target, self.labels), self.owner), by_unit(confidence(shadows, self.labels), self.owner)


@dataclass
class Audit:
    """Attacks candidates.

    Args:
        bench: what trains the twins.
        shadows: per attack; even.
        units: most units that an attack looks at.
    """

    bench: Workbench
    shadows: int
    units: int

    def control(self) -> Control:
        """The attack on a model that leaks by construction, on as many shadows."""
        rng = np.random.default_rng([self.bench.seed, 3])
        table = self._pool(rng)
        matrix = np.nan_to_num(self.bench.matrix(table)[:PLANTED_RECORDS])
        # Columns of chance make every record unique, so that a forest can remember it.
        result = planted_control(np.hstack([matrix, rng.random((len(matrix), 3))]), shadows=self.shadows, rng=rng)
        ref = self.bench.book.measured("attack on a model planted to leak", f"a forest trained on random labels of {len(matrix):,} records")
        return planted_row(result, ref=ref)

    def attacked(self, candidate: Candidate, recipe: Recipe | None, planted: Control) -> Candidate:
        """The candidate with what the attacks reached; ``recipe`` is ``None`` for the baseline."""
        trials = [self._trial(candidate.name, 0)]
        count = len(trials[0].member)
        trials += [self._trial(candidate.name, number) for number in range(1, min(MOST_TWINS, math.ceil(ENOUGH / count)))]
        found = [self._baseline(trial) if recipe is None else self._private(trial, recipe) for trial in trials]
        results, null = _judged(trials, found)
        twins = "a twin" if len(trials) == 1 else f"each of {len(trials)} twins"
        how = f"{self.shadows} shadow models, {twins} trained on half of {count:,} {self.bench.data.words.records}"
        ref = self.bench.book.measured(f"attack on «{candidate.name}»", how)
        return replace(candidate, attacks=attack_rows(results, ref=ref, null=null, planted=planted))

    def _pool(self, rng: np.random.Generator) -> pa.Table:
        both = pa.concat_tables([self.bench.data.train, self.bench.data.test], promote_options="permissive")
        return both.take(np.sort(rng.choice(both.num_rows, min(MOST_ROWS, both.num_rows), replace=False)))

    def _trial(self, name: str, number: int) -> Trial:
        data, rng = self.bench.data, np.random.default_rng([self.bench.seed, number, *name.encode()])
        records = data.records(pa.concat_tables([data.train, data.test], promote_options="permissive"))
        owner = records.unit_index()
        keep = rng.permutation(int(owner.max()) + 1)[: self.units]
        chosen = np.isin(owner, keep)
        if chosen.sum() > MOST_ROWS:
            chosen &= np.isin(owner, keep[: max(4, self.units * MOST_ROWS // int(chosen.sum()))])
        table, owner = records.table().filter(pa.array(chosen)), np.unique(owner[chosen], return_inverse=True)[1]
        count = int(owner.max()) + 1
        return Trial(
            table, data.labels(table), None if data.unit.is_record else owner, rng.random(count) < 0.5,
            paired_membership(count, self.shadows, rng=rng), rng,
        )

    def _baseline(self, trial: Trial) -> Found:
        matrix = self.bench.matrix(trial.table)

        def train(mask: NDArray[np.bool_]) -> Callable[[], Margins]:
            rows = trial.rows(mask)
            score = boosting(matrix[rows], trial.labels[rows])
            return lambda: log_odds(score(matrix))

        return *trial.confidences(train(trial.member)(), sequential_shadows(train, trial.membership)), None

    def _private(self, trial: Trial, recipe: Recipe) -> Found:
        bench = self.bench
        members = trial.table.filter(pa.array(trial.rows(trial.member)))
        aggregator = bench.aggregator(recipe, members, f"twin of {recipe.name} {secrets.token_hex(4)}")
        twin = bench.learn(recipe, aggregator, f"twin of {recipe.name}")
        shadows = _shadows(twin, trial, aggregator)
        return *trial.confidences(twin.margins(trial.table)[:, 0], shadows), twin.guarantee


def _judged(trials: Sequence[Trial], found: Sequence[Found]) -> tuple[tuple[AttackResult, ...], AttackResult]:
    """Both attacks over the units of all trials, and the same attack with membership drawn anew."""
    target, shadows = (np.concatenate([part[i] for part in found]) for i in range(2))
    membership, member = np.concatenate([trial.membership for trial in trials]), np.concatenate([trial.member for trial in trials])
    results = attack_membership(target, shadows, membership, is_member=member, guarantee=found[0][2])
    random = trials[0].rng.random(len(member)) < 0.5
    return results, evaluate("null", lira(target, shadows, membership), random, shadows=membership.shape[1])


def _learning_step(aggregator: Curator | LocalFederation) -> PlanStep:
    """The steps that learn, as they were charged."""
    guard = aggregator.guard if isinstance(aggregator, Curator) else aggregator.guards[0]
    if guard.last_charge is None:
        raise UsageError("Expected a twin that was charged; train it first.")
    return Plan.from_dict(guard.last_charge.body["plan"]).steps[-1]


def _shadows(twin: Model, trial: Trial, aggregator: Curator | LocalFederation) -> Margins:
    """Margins of all shadows of a twin, trained at once: float ``[records, shadows]``."""
    step = _learning_step(aggregator)
    columns = {name: trial.table.column(name).combine_chunks() for name in twin.domain.names}
    membership = trial.membership if trial.owner is None else trial.membership[trial.owner]
    length = math.sqrt(1 + len(twin.domain.columns)) if isinstance(twin, LinearModel) else 1.0
    limit = unit_clip(aggregator, GRID * length)
    clip = None if limit is None else limit / GRID
    if isinstance(twin, AdditiveModel):
        pool = Pool(twin.frame.binning.bins(columns, trial.table.num_rows), trial.labels, trial.owner, clip)
        found = batched_shadows(twin, pool, membership=membership, noise_multiplier=step.noise_multiplier, rng=trial.rng)
        return np.asarray(found, np.float64)
    if not isinstance(twin, LinearModel):
        raise UsageError("Expected a model whose shadows are trained at once: additive or linear. Networks are attacked one shadow after another.")
    matrix = (design(columns, trial.table.num_rows, twin.domain) / DESIGN_UNIT).astype(np.float32)
    pool, sigma = Pool(matrix, trial.labels, trial.owner, clip), step.noise_multiplier * (clip or length)
    found = batched_linear_shadows(twin, pool, membership=membership, iterations=step.repeats, sigma=sigma, rng=trial.rng)
    return np.asarray(found, np.float64)
