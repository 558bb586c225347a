"""What still leaks: every candidate's recipe is repeated on half of a pool of units, and whoever was in that half is guessed.

A twin and not the candidate itself is attacked, because members and others must be alike: the candidate's own members are of other days, or
simply all the records there are.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace

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
Margins = NDArray[np.float64]


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

    def judge(self, target: Margins, shadows: Margins, guarantee: Guarantee | None) -> tuple[tuple[AttackResult, ...], AttackResult]:
        """Both attacks per unit, and the same attack with membership drawn anew."""
        mine, others = by_unit(confidence(target, self.labels), self.owner), by_unit(confidence(shadows, self.labels), self.owner)
        results = attack_membership(mine, others, self.membership, is_member=self.member, guarantee=guarantee)
        random = self.rng.random(len(self.member)) < 0.5
        null = evaluate("null", lira(mine, others, self.membership), random, shadows=self.membership.shape[1])
        return results, null


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
        trial = self._trial(candidate.name)
        results, null = self._baseline(trial) if recipe is None else self._private(trial, recipe)
        count = len(trial.member)
        how = f"{self.shadows} shadow models, twin trained on half of {count:,} {self.bench.data.words.records}"
        ref = self.bench.book.measured(f"attack on «{candidate.name}»", how)
        return replace(candidate, attacks=attack_rows(results, ref=ref, null=null, planted=planted))

    def _pool(self, rng: np.random.Generator) -> pa.Table:
        both = pa.concat_tables([self.bench.data.train, self.bench.data.test], promote_options="permissive")
        return both.take(np.sort(rng.choice(both.num_rows, min(MOST_ROWS, both.num_rows), replace=False)))

    def _trial(self, name: str) -> Trial:
        data, rng = self.bench.data, np.random.default_rng([self.bench.seed, *name.encode()])
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

    def _baseline(self, trial: Trial) -> tuple[tuple[AttackResult, ...], AttackResult]:
        matrix = self.bench.matrix(trial.table)

        def train(mask: NDArray[np.bool_]) -> Callable[[], Margins]:
            rows = trial.rows(mask)
            score = boosting(matrix[rows], trial.labels[rows])
            return lambda: log_odds(score(matrix))

        return trial.judge(train(trial.member)(), sequential_shadows(train, trial.membership), None)

    def _private(self, trial: Trial, recipe: Recipe) -> tuple[tuple[AttackResult, ...], AttackResult]:
        bench = self.bench
        members = trial.table.filter(pa.array(trial.rows(trial.member)))
        aggregator = bench.aggregator(recipe, members, f"twin of {recipe.name} {secrets.token_hex(4)}")
        twin = bench.learn(recipe, aggregator, f"twin of {recipe.name}")
        shadows = _shadows(twin, trial, aggregator)
        return trial.judge(twin.margins(trial.table)[:, 0], shadows, twin.guarantee)


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
    matrix = (design(columns, trial.table.num_rows, twin.domain) / DESIGN_UNIT).astype(np.float32)
    pool, sigma = Pool(matrix, trial.labels, trial.owner, clip), step.noise_multiplier * (clip or length)
    found = batched_linear_shadows(twin, pool, membership=membership, iterations=step.repeats, sigma=sigma, rng=trial.rng)
    return np.asarray(found, np.float64)
