"""64 shadows at once, and the same 64 one after another. ``python -m benchmarks.workers.shadows``.

Both train the target's recipe: its public bins and partitions, member gradients and hessians, noise of its scale from NumPy's generator, the
damped Newton step. What decides is what a user would do instead: the product's own fit and scores of the pool, once per shadow, measured on
some of them. Two shorter ways are measured beside it, on members only (half of the pool) and on bins made before: as a guard evaluates the
question, and a bare NumPy loop without grid, digests or accounting. The margins of the others, which an attacker needs too, come with the
joint form and are extra for these loops; they are measured apart.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from benchmarks import DELTA, synthetic
from benchmarks.peers.common import cpu
from tacit import Budget, PrivacyUnit, Relation
from tacit.attacks import Pool, batched_shadows, paired_membership
from tacit.domain import Domain
from tacit.guard import Curator, Guard, Limits, MemoryBooks, Plan, Policy, Records
from tacit.learn import LearnSpec, TargetSpec, fit_boosted
from tacit.learn.boosting import DAMPING, LARGEST, STEP, newton_values
from tacit.models import AdditiveModel
from tacit.questions import GRID, Batch, CellSums, Frame, SessionCache, Update
from tacit.questions.losses import HESSIAN_SCALE

SHADOWS, POOL, FITS = 64, 32_768, 8
Shadow = tuple[tuple[NDArray[Any], ...], NDArray[np.float64]]
"""Cell values of every step, and the margins of the members."""


@dataclass(frozen=True)
class Setting:
    """A target and a pool."""

    model: AdditiveModel
    table: pa.Table
    pool: Pool
    sigma: float
    membership: NDArray[np.bool_]


def fits(at: Setting, shadows: int = FITS) -> float:
    """CPU seconds of all shadows if each is fitted by the product and scores the pool, from the first few."""
    domain = at.model.frame.binning.domain
    with cpu() as clock:
        for shadow in range(shadows):
            fitted(at.table.filter(pa.array(at.membership[:, shadow])), domain)[0].margins(at.table)
    return clock.seconds * at.membership.shape[1] / shadows


def fitted(table: pa.Table, domain: Domain) -> tuple[AdditiveModel, Guard]:
    """A default fit at ε=1."""
    budget = Budget(1.0, DELTA)
    policy = Policy("bench", PrivacyUnit(), Relation.ADD_REMOVE, budget, limits=Limits(minimum_units=0))
    guard = Guard(Records.open(table), policy=policy, ledger=MemoryBooks())
    return fit_boosted(LearnSpec(domain.names, TargetSpec("y", classes=("0", "1")), budget, domain=domain), Curator(guard)), guard


def setting(rows: int = POOL, shadows: int = SHADOWS) -> Setting:
    """A target at ε=1 trained on half of the pool, as a default fit is."""
    values, labels = synthetic.piece(0, rows)
    domain = Domain.from_dict({"columns": list(synthetic.columns())})
    table = pa.table({name: row for name, row in zip(domain.names, values, strict=True)} | {"y": labels})
    rng = np.random.default_rng(1)
    model, guard = fitted(table.filter(pa.array(rng.random(rows) < 0.5)), domain)
    charge = guard.last_charge
    multiplier = Plan.from_dict(charge.body["plan"]).steps[-1].noise_multiplier if charge is not None else 0.0
    columns = {name: table.column(name).combine_chunks() for name in domain.names}
    pool = Pool(model.frame.binning.bins(columns, rows), labels)
    return Setting(model, table, pool, multiplier, paired_membership(rows, shadows, rng=rng))


@dataclass(frozen=True)
class Members:
    """Some records in memory, in the smallest form that a question reads."""

    table: pa.Table

    def batches(self, columns: Any = None) -> Any:
        """All of them in one batch."""
        names = columns if columns is not None else self.table.column_names
        yield Batch({name: self.table.column(name).combine_chunks() for name in names}, self.table.num_rows, None)


def as_a_guard(at: Setting, mask: NDArray[np.bool_], rng: np.random.Generator) -> Shadow:
    """One shadow by the questions that a guard would evaluate."""
    frame: Frame = at.model.frame
    members, cache, base = Members(at.table.filter(pa.array(mask))), SessionCache(), frame.digest
    pending: tuple[Update, ...] = ()
    values: list[NDArray[Any]] = []
    for update in at.model.updates:
        question = CellSums(frame, base, (update.partition,), pending)
        answer = question.evaluate(members, cache) + np.rint(at.sigma * GRID * rng.standard_normal(question.size)).astype(np.int64)
        values.append(newton_values(answer, question, sigma=at.sigma)[0])
        base, pending = question.after, (Update(update.partition, values[-1]),)
    return tuple(values), np.empty(0)


def bare(at: Setting, mask: NDArray[np.bool_], rng: np.random.Generator) -> Shadow:
    """One shadow by a NumPy loop that keeps nothing but half the margin, whose tanh is both gradient and hessian."""
    bins, labels = np.ascontiguousarray(at.pool.inputs[:, mask]), at.pool.labels[mask]
    target, halves = (2 * labels - 1).astype(np.float32), np.zeros(len(labels), np.float32)
    cells, side, place = np.empty(len(labels), np.uint8), np.empty(len(labels), np.uint8), np.empty(len(labels), np.intp)
    slope, rest = np.empty(len(labels), np.float32), np.empty(len(labels), np.float32)
    noise, values = at.sigma / HESSIAN_SCALE["logistic"], []
    for update in at.model.updates:
        size = update.partition.size
        place[:] = update.partition.cells(bins, out=cells, work=side)
        np.tanh(halves, out=slope)
        np.subtract(1, np.multiply(slope, slope, out=rest), out=rest)
        np.subtract(slope, target, out=slope)
        gradient = np.bincount(place, slope, size) / 2 + at.sigma * rng.standard_normal(size)
        hessian = np.maximum(np.bincount(place, rest, size) / 4 + noise * rng.standard_normal(size), 0)
        step = np.clip(-STEP * gradient / (hessian + 1 + DAMPING["logistic"] * at.sigma), -LARGEST, LARGEST)
        values.append(step)
        halves += (step / 2).astype(np.float32).take(place, mode="clip")
    return tuple(values), 2 * halves.astype(np.float64)


def scored(at: Setting, values: tuple[NDArray[Any], ...]) -> NDArray[np.float32]:
    """Margins of the whole pool by one shadow's values: float32 ``[records]``."""
    margins = np.zeros(at.pool.inputs.shape[1], np.float32)
    for update, value in zip(at.model.updates, values, strict=True):
        margins += value.astype(np.float32).take(update.partition.cells(at.pool.inputs), mode="clip")
    return margins


def one_by_one(at: Setting, train: Callable[[Setting, NDArray[np.bool_], np.random.Generator], Shadow]) -> tuple[float, list[Shadow]]:
    """CPU seconds of all shadows, and the shadows."""
    rng = np.random.default_rng(3)
    with cpu() as clock:
        found = [train(at, at.membership[:, shadow], rng) for shadow in range(at.membership.shape[1])]
    return clock.seconds, found


def joint(at: Setting) -> tuple[float, NDArray[np.float32]]:
    """CPU seconds of all shadows at once, and the margins of the whole pool."""
    with cpu() as clock:
        margins = batched_shadows(at.model, at.pool, membership=at.membership, noise_multiplier=at.sigma, rng=np.random.default_rng(3))
    return clock.seconds, margins


def compare(at: Setting) -> dict[str, Any]:
    """Both ways, and how alike what they trained is."""
    guard_seconds, _ = one_by_one(at, as_a_guard)
    bare_seconds, shadows = one_by_one(at, bare)
    with cpu() as scoring:
        margins = np.stack([scored(at, values) for values, _ in shadows], axis=1)
    together, joint_margins = joint(at)
    auc = [float(np.mean([roc_auc_score(at.pool.labels, column) for column in both.T[:8]])) for both in (joint_margins, margins)]
    return {
        "joint": together, "fits": fits(at, min(FITS, at.membership.shape[1])), "as_a_guard": guard_seconds, "bare": bare_seconds,
        "scoring": scoring.seconds, "shadows": at.membership.shape[1], "pool": len(at.pool.labels), "partitions": len(at.model.updates),
        "auc": {"joint": auc[0], "one by one": auc[1]},
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(compare(setting())) + "\n")
