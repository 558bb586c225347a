"""Shadows trained together are what the target's own learner would have made of their members."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest

from tacit import Budget, PrivacyUnit, Relation
from tacit.attacks import Pool, batched_linear_shadows, batched_shadows, by_unit, paired_membership, planted_control
from tacit.domain import Domain, Numeric
from tacit.errors import UsageError
from tacit.guard import Curator, Guard, Limits, MemoryBooks, Policy, Records
from tacit.learn import BoostingShape, LearnSpec, TargetSpec, fit_boosted, fit_linear
from tacit.learn.boosting import DAMPING, STEP
from tacit.models import AdditiveModel, LinearModel
from tacit.questions import GRID, CellSums, LinearGradient, SessionCache
from tacit.questions.linear import DESIGN_UNIT, design
from tacit.questions.losses import HESSIAN_SCALE

ROWS, FEATURES = 600, 5
DOMAIN = Domain(tuple((f"x{i}", Numeric(-4.0, 4.0)) for i in range(FEATURES)))


def table(seed: int = 0, per_unit: int = 1) -> pa.Table:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(ROWS, FEATURES))
    y = (rng.random(ROWS) < 1 / (1 + np.exp(-2 * X[:, 0]))).astype(int)
    columns = {f"x{i}": X[:, i] for i in range(FEATURES)}
    return pa.table({**columns, "y": y, "who": np.repeat(np.arange(ROWS // per_unit), per_unit)})


def trained(data: pa.Table, *, linear: bool = False, unit: PrivacyUnit | None = None, rows: int = 1) -> AdditiveModel | LinearModel:
    unit = unit or PrivacyUnit()
    policy = Policy("d", unit, Relation.ADD_REMOVE, Budget(8.0, 1e-5), rows_per_unit=rows, limits=Limits(minimum_units=0))
    guard = Guard(Records.open(data, unit=unit), policy=policy, ledger=MemoryBooks())
    spec = LearnSpec(DOMAIN.names, TargetSpec("y", positive="1"), Budget(8.0, 1e-5), domain=DOMAIN)
    return fit_linear(spec, Curator(guard)) if linear else fit_boosted(spec, Curator(guard), BoostingShape(trees=15))


def columns_of(data: pa.Table) -> dict[str, pa.Array]:
    return {name: data.column(name).combine_chunks() for name in DOMAIN.names}


def labels_of(data: pa.Table) -> np.ndarray:
    return data.column("y").to_numpy().astype(np.int64)


@pytest.mark.parametrize("per_unit", [1, 4])
def test_one_step_of_all_shadows_is_the_question_that_a_guard_answers(per_unit: int) -> None:
    """The first block of every shadow, against CellSums on that shadow's members alone, clipping per unit included."""
    unit = PrivacyUnit("who", column="who") if per_unit > 1 else None
    data = table(per_unit=per_unit)
    model = trained(data, unit=unit, rows=2)
    assert isinstance(model, AdditiveModel)
    first = model.updates[0]
    owner = None if unit is None else np.repeat(np.arange(ROWS // per_unit), per_unit)
    clip = None if unit is None else math.ceil(GRID * math.sqrt(2)) / GRID
    membership = paired_membership(ROWS // per_unit, 4, rng=np.random.default_rng(1))
    rows = membership if owner is None else membership[owner]
    short = AdditiveModel(model.frame, (first,), model.guarantee, model.provenance)
    pool = Pool(model.frame.binning.bins(columns_of(data), ROWS), labels_of(data), owner, clip)
    margins = batched_shadows(short, pool, membership=rows, noise_multiplier=None, rng=np.random.default_rng(2))
    for shadow in range(4):
        question = CellSums(model.frame, model.frame.digest, (first.partition,), clip=None if clip is None else round(clip * GRID))
        members = Records.open(data.filter(pa.array(rows[:, shadow])), unit=unit or PrivacyUnit())
        gradient, hessian = np.split(question.evaluate(members, SessionCache()) / GRID, 2)
        wanted = np.clip(-0.5 * gradient / (hessian / 3.3 + 1), -1.5, 1.5)
        cells = first.partition.cells(pool.inputs)
        np.testing.assert_allclose(margins[:, shadow], wanted[cells], atol=5e-3)


@pytest.mark.parametrize("per_unit", [1, 4])
def test_one_step_of_all_linear_shadows_is_the_question_that_a_guard_answers(per_unit: int) -> None:
    unit = PrivacyUnit("who", column="who") if per_unit > 1 else None
    data = table(per_unit=per_unit)
    model = trained(data, linear=True, unit=unit, rows=2)
    assert isinstance(model, LinearModel)
    owner = None if unit is None else np.repeat(np.arange(ROWS // per_unit), per_unit)
    clip = None if unit is None else math.sqrt(2 * (1 + FEATURES))
    membership = paired_membership(ROWS // per_unit, 2, rng=np.random.default_rng(1))
    rows = membership if owner is None else membership[owner]
    matrix = (design(columns_of(data), ROWS, DOMAIN) / DESIGN_UNIT).astype(np.float32)
    pool = Pool(matrix, labels_of(data), owner, clip)
    margins = batched_linear_shadows(model, pool, membership=rows, iterations=1, sigma=0.0, rng=np.random.default_rng(2))
    for shadow in range(2):
        steps = None if clip is None else round(clip * GRID * DESIGN_UNIT)
        question = LinearGradient(model.target, "logistic", DOMAIN, np.zeros((1, FEATURES + 1), np.int32), steps)
        members = Records.open(data.filter(pa.array(rows[:, shadow])), unit=unit or PrivacyUnit())
        gradient = question.evaluate(members, SessionCache()) / (GRID * DESIGN_UNIT) / rows[:, shadow].sum()
        weights = -4.0 / (1 + FEATURES) * gradient
        if clip is None:  # the first step of a quiet training goes to the share of the class
            share = 0.5 - gradient[0]
            weights = np.concatenate([[math.log(share / (1 - share))], np.zeros(FEATURES)])
        np.testing.assert_allclose(margins[:, shadow], matrix @ weights, atol=2e-3)


def test_members_are_told_from_others_by_a_model_without_noise() -> None:
    data = table(3)
    model = trained(data)
    assert isinstance(model, AdditiveModel)
    pool = Pool(model.frame.binning.bins(columns_of(data), ROWS), labels_of(data))
    membership = paired_membership(ROWS, 8, rng=np.random.default_rng(1))
    margins = batched_shadows(model, pool, membership=membership, noise_multiplier=None, rng=np.random.default_rng(2))
    confidence = margins * (2 * labels_of(data) - 1)[:, None]
    assert confidence[membership].mean() > confidence[~membership].mean()


def test_noise_of_the_shadows_has_the_scale_of_the_targets() -> None:
    data = table(4)
    model = trained(data)
    assert isinstance(model, AdditiveModel)
    short = AdditiveModel(model.frame, model.updates[:1], model.guarantee, model.provenance)
    pool = Pool(model.frame.binning.bins(columns_of(data), ROWS), labels_of(data))
    nobody = np.zeros((ROWS, 4000), bool)
    margins = batched_shadows(short, pool, membership=nobody, noise_multiplier=50.0, rng=np.random.default_rng(2))
    # Without members the gradient is noise alone and the hessian max(0, noise); records in the same cell have the same margins.
    found = np.unique(margins, axis=0)
    rng, sigma = np.random.default_rng(3), 50.0
    gradient, hessian = sigma * rng.normal(size=400_000), sigma / HESSIAN_SCALE["logistic"] * rng.normal(size=400_000)
    expected = STEP * gradient / (np.maximum(hessian, 0) + 1 + DAMPING["logistic"] * sigma)
    assert float(found.std()) == pytest.approx(float(expected.std()), rel=6 / np.sqrt(2 * found.size) + 0.01)


def test_scores_are_added_up_per_unit() -> None:
    assert by_unit(np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), np.array([0, 0, 3])).tolist() == [[4.0, 6.0], [5.0, 6.0]]
    assert by_unit(np.array([1.0, 2.0]), None).tolist() == [1.0, 2.0]


def test_units_need_a_clip_and_shadows_come_in_pairs() -> None:
    with pytest.raises(UsageError, match="a clip beside units"):
        Pool(np.zeros((2, 3), np.uint8), np.zeros(3, np.int64), np.zeros(3, np.int64))
    with pytest.raises(UsageError, match="even number of shadows"):
        paired_membership(10, 3, rng=np.random.default_rng(0))
    half = paired_membership(101, 6, rng=np.random.default_rng(0))
    assert (half.sum(axis=1) == 3).all()


def test_the_attack_wins_on_a_planted_model_by_five_times_chance() -> None:
    result = planted_control(np.random.default_rng(5).normal(size=(1_200, 8)), shadows=16, rng=np.random.default_rng(6))
    assert result.at(0.01).resolvable is False or result.at(0.01).low > 0.05
    assert result.auc_low > 0.8
    bigger = planted_control(np.random.default_rng(5).normal(size=(2_400, 8)), shadows=8, rng=np.random.default_rng(6))
    assert bigger.at(0.01).resolvable
    assert bigger.at(0.01).low > 0.05
