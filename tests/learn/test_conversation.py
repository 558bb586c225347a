"""A learner sees answers and nothing else: what it asks was planned, what was planned was charged, and who adds up does not matter."""

from __future__ import annotations

import ast
import inspect
import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

import tacit.learn
from tacit import Budget, Relation, TrustModel
from tacit.domain import Category, Domain
from tacit.errors import BudgetExceeded, DataError, OffPlan, Refused, UsageError
from tacit.federation import LocalFederation
from tacit.guard import Curator, mu_for
from tacit.learn import LearnSpec, TargetSpec, converse
from tacit.learn.boosting import Boosting
from tacit.learn.fullbatch import FullBatch
from tacit.learn.regression import Logistic, Ridge
from tacit.learn.training import Preparation
from tacit.questions import CellSums, Histogram, LinearGradient, Moments, Profile, Select, Update, is_known, parse

Records = Callable[..., dict[str, Any]]
Make = Callable[..., Any]
LEARN = Path(tacit.learn.__file__).parent
OWNERS_SIDE = {"forecaster.py", "synthesizer.py", "text_classifier.py", "detector.py", "estimators.py", "inputs.py"}
LEARNING = {CellSums.kind, LinearGradient.kind, Moments.kind}


def values_of(model: Any) -> dict[str, np.ndarray]:
    return dict(model.arrays())


def same(first: Any, second: Any) -> bool:
    one, other = values_of(first), values_of(second)
    return first.structure() == second.structure() and all(np.array_equal(one[name], other[name]) for name in one.keys() | other.keys())


def test_learners_import_nothing_that_holds_a_record() -> None:
    forbidden = {"Records", "Batch", "RecordSource", "Guard", "Session", "Ledger", "MemoryBooks", "SessionCache", "SecureRandom"}
    seen = set()
    for path in sorted(LEARN.glob("*.py")):
        if path.name in OWNERS_SIDE | {"__init__.py"}:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
                assert not {module.partition(".")[0] for module in modules} & {"pyarrow", "polars", "pandas", "sklearn"}, path.name
                assert not {alias.name for alias in node.names} & forbidden, path.name
                seen.add(path.name)
    assert {"boosting.py", "fullbatch.py", "regression.py", "training.py", "driver.py"} <= seen


@pytest.mark.parametrize("kind", [Boosting, FullBatch, Logistic, Ridge, Preparation])
def test_learners_are_generators_of_questions(kind: type) -> None:
    assert inspect.isgeneratorfunction(kind.steps)  # type: ignore[attr-defined]
    fields = set(inspect.signature(kind).parameters)
    assert not fields & {"records", "X", "y", "data", "table", "source"}


def test_only_questions_of_the_closed_list_pass(
    task: str, learner: Make, easy_records: Records, spec: Make, in_memory: Make,
) -> None:
    aggregator = in_memory.of(easy_records(500))
    learner(spec(task, domain=None), aggregator)
    assert aggregator.closed == 1
    for index, (_, question) in enumerate(aggregator.asked):
        assert is_known(question)
        if index < 4 or index % 9 == 0:
            assert parse(question.to_dict()).to_dict() == question.to_dict()
        for name, value in vars(question).items():
            assert not isinstance(value, pa.Array | pa.Table), name


def test_answers_alone_make_the_model(task: str, learner: Make, easy_records: Records, spec: Make, in_memory: Make, replay: Make) -> None:
    first = in_memory.of(easy_records(800), count=800, noise=1.0)
    trained = learner(spec(task), first)
    again = replay((), 800, answers=first.answered)
    assert same(learner(spec(task), again), trained)
    assert [step for step, _ in again.asked] == [step for step, _ in first.asked]
    assert all(one.to_dict() == other.to_dict() for (_, one), (_, other) in zip(again.asked, first.asked, strict=True))


@pytest.mark.parametrize("name", ["boosted", "linear"])
def test_the_noised_count_is_what_a_learner_takes_for_the_number_of_units(name: str, easy_records: Records, spec: Make, in_memory: Make) -> None:
    fit = {"boosted": tacit.learn.fit_boosted, "linear": tacit.learn.fit_linear}[name]
    data, wanted = easy_records(800), spec("two classes")
    models = [fit(wanted, in_memory.of(data, count=count)) for count in (800, 800, 8000)]
    assert same(models[0], models[1])
    assert not same(models[0], models[2])


def test_sums_are_divided_by_the_noised_count(easy_records: Records, spec: Make, in_memory: Make, replay: Make) -> None:
    """Twice the sums over twice the count are the same gradients; the same sums over twice the count are half as steep."""
    wanted = spec("two classes", budget=Budget(8.0, 1e-4))
    first = in_memory.of(easy_records(8000), count=8000)
    weights = tacit.learn.fit_linear(wanted, first, iterations=3).weights
    both = tacit.learn.fit_linear(wanted, replay((), 16_000, answers=[2 * answer for answer in first.answered]), iterations=3).weights
    count = tacit.learn.fit_linear(wanted, replay((), 16_000, answers=first.answered), iterations=3).weights
    np.testing.assert_allclose(both, weights, rtol=0.02)
    np.testing.assert_allclose(count, weights / 2, rtol=0.02)


@pytest.mark.parametrize("size", [0, 1])
def test_a_count_of_nobody_is_survived(size: int, task: str, learner: Make, easy_records: Records, spec: Make, in_memory: Make) -> None:
    """Noise can make the count anything, and a learner has to end with a model or say why it cannot."""
    data = easy_records(300)
    model = learner(spec(task), in_memory.of(data, count=size, noise=1.0))
    assert np.isfinite(model.margins(data)).all()


def within(plan: Any, step: int, question: Any) -> bool:
    planned = plan.step(step)
    if isinstance(question, Select):
        return planned.kind == Select.kind and question.bounds(plan.relation).l0 <= planned.touched
    bounds = question.bounds(plan.relation)
    covered = question.size <= planned.cells and bounds.l0 <= planned.touched and bounds.l2 >= planned.l2
    return bool(question.kind == planned.kind and covered)


@pytest.mark.parametrize("relation", [Relation.ADD_REMOVE, Relation.REPLACE])
@pytest.mark.parametrize("declared", [True, False])
def test_what_is_asked_is_what_was_planned(
    relation: Relation, declared: bool, task: str, learner: Make, easy_records: Records, spec: Make, in_memory: Make,
) -> None:
    wanted = spec(task) if declared else spec(task, domain=None)
    if not declared and task in ("two classes", "three classes", "a number"):
        wanted = replace(wanted, target=replace(wanted.target, classes=None, bounds=None))
    aggregator = in_memory.of(easy_records(400), relation=relation)
    learner(wanted, aggregator)
    (plan,) = aggregator.plans
    steps = [step for step, _ in aggregator.asked]
    assert steps == sorted(set(steps))
    assert steps[-1] < plan.total_steps
    assert all(within(plan, step, question) for step, question in aggregator.asked)
    learning = {step for step in range(plan.total_steps) if plan.step(step).kind in LEARNING}
    assert learning <= set(steps)
    preparing = [plan.step(step).kind for step in range(plan.total_steps) if step not in learning]
    binned = plan.step(plan.total_steps - 1).kind == CellSums.kind
    assert preparing == [*([] if declared else [Profile.kind, Select.kind]), *([Histogram.kind] if binned else [])]


def test_nothing_is_planned_that_need_not_be_asked(easy_records: Records, spec: Make, in_memory: Make, learner: Make) -> None:
    aggregator = in_memory.of(easy_records(400))
    learner(spec("two classes"), aggregator)
    assert len(aggregator.asked) == aggregator.plans[0].total_steps


@pytest.mark.parametrize("budget", [Budget(0.1, 1e-6), Budget(1.0, 1e-5), Budget(4.0, 1e-5)])
@pytest.mark.parametrize("by", [None, "user"])
def test_a_fit_costs_its_budget_and_never_more(
    budget: Budget, by: str | None, learner: Make, easy_records: Records, spec: Make, guard: Make,
) -> None:
    owner = guard(easy_records(1500), budget=budget, by=by)
    model = learner(spec("two classes", budget=budget), Curator(owner))
    costs, rule = owner.ledger.costs(owner.scope), owner.policy.accounting
    assert [note.kind for note in owner.ledger.notes] == ["charge", "count", "charge"]
    spent = math.fsum(cost.mu_squared for cost in costs)
    assert spent == pytest.approx(mu_for(budget) ** 2, rel=1e-9)
    assert budget.epsilon * (1 - 1e-3) <= rule.epsilon(costs) <= budget.epsilon
    assert 0.5 * budget.epsilon < model.guarantee.epsilon <= budget.epsilon
    assert model.guarantee.delta == budget.delta
    assert model.guarantee.unit.name == (by or "record")
    assert model.guarantee.trust == TrustModel.curator()
    assert rule.admits(costs)


def test_the_model_names_the_charge_that_paid_for_it(learner: Make, easy_records: Records, spec: Make, guard: Make) -> None:
    owner = guard(easy_records(500), budget=Budget(3.0, 1e-5))
    model = learner(spec("a number"), Curator(owner))
    (charge,) = [note for note in owner.ledger.notes if note.kind == "charge" and note.body["plan"]["purpose"] == "train a detector"]
    assert (model.provenance.charge, model.provenance.ledger_head) == (charge.sequence, charge.digest)
    assert model.provenance.plan == charge.body["plan_digest"]
    assert not model.provenance.deterministic


def test_a_spent_budget_refuses_before_any_answer(learner: Make, easy_records: Records, spec: Make, guard: Make) -> None:
    owner = guard(easy_records(500), budget=Budget(3.0, 1e-5))
    learner(spec("two classes"), Curator(owner))
    before = len(owner.ledger.notes)
    with pytest.raises(BudgetExceeded, match=r"refused: .* is left"):
        learner(spec("two classes"), Curator(owner))
    assert len(owner.ledger.notes) == before


def test_two_fits_share_what_the_policy_gives(easy_records: Records, spec: Make, guard: Make, learner: Make) -> None:
    owner = guard(easy_records(500), budget=Budget(3.0, 1e-5))
    half = Budget(1.5, 1e-5)
    for run in ("first", "second"):
        assert learner(spec("two classes", budget=half, run=run), Curator(owner)).guarantee.epsilon <= 1.5
    spent = owner.policy.accounting.epsilon(owner.ledger.costs(owner.scope))
    assert 1.5 < spent <= 3.0
    with pytest.raises(Refused):
        learner(spec("two classes", budget=Budget(3.0, 1e-5)), Curator(owner))


def parts_of(data: dict[str, Any], count: int) -> list[dict[str, Any]]:
    place = np.arange(len(data["x"])) // 5 % count
    return [{name: column[place == site] for name, column in data.items()} for site in range(count)]


def rank(task: str, data: dict[str, Any], model: Any) -> float:
    if task == "a number":
        return float(np.corrcoef(data["amount"], model.margins(data)[:, 0])[0, 1])
    return float(roc_auc_score(data["label"] == "bad", model.margins(data)[:, 0]))


@pytest.mark.parametrize("by", [None, "user"])
@pytest.mark.parametrize(
    ("name", "task"), [("boosted", "two classes"), ("full batch", "two classes"), ("boosted", "a number"), ("linear", "a number")],
)
def test_the_same_code_learns_from_one_curator_and_from_several_sites(
    name: str, task: str, by: str | None, learners: dict[str, Make], easy_records: Records, spec: Make, guard: Make,
) -> None:
    data, fresh, budget = easy_records(9000), easy_records(4000, seed=1), Budget(3.0, 1e-5)
    wanted = spec(task, budget=budget)
    central = learners[name](wanted, Curator(guard(data, budget=budget, by=by)))
    sites = [guard(part, budget=budget, by=by) for part in parts_of(data, 3)]
    federated = learners[name](wanted, LocalFederation(sites))
    scores = [rank(task, fresh, model) for model in (central, federated)]
    least, apart = (0.5, 0.4) if task == "a number" else (0.8, 0.1)  # usual: 0.85 apart by 0.05; 0.9 apart by 0.01
    assert min(scores) > least
    assert abs(scores[0] - scores[1]) < apart
    assert str(federated.guarantee.trust) == "distributed(3,3,0)"
    assert federated.guarantee.epsilon <= budget.epsilon
    assert [[note.kind for note in site.ledger.notes] for site in sites] == [["charge", "count", "charge"]] * 3


def test_noise_that_sites_cannot_share_is_refused_before_anything_is_charged(easy_records: Records, spec: Make, guard: Make) -> None:
    sites = [guard(part, budget=Budget(0.001, 1e-5)) for part in parts_of(easy_records(600), 2)]
    with pytest.raises(UsageError, match="noise that several sites can share; a linear model of 4 columns"):
        tacit.learn.fit_linear(spec("two classes", budget=Budget(0.001, 1e-5)), LocalFederation(sites))
    assert all(site.ledger.notes == [] for site in sites)


def test_sites_need_everything_declared(learner: Make, easy_records: Records, spec: Make, guard: Make) -> None:
    sites = [guard(part, budget=Budget(3.0, 1e-5)) for part in parts_of(easy_records(600), 2)]
    for wanted in (spec("two classes", domain=None), replace(spec("two classes"), target=TargetSpec("label"))):
        with pytest.raises(UsageError, match=r"«(x|label)» is not declared. Only one curator can find them"):
            learner(wanted, LocalFederation(sites))
    assert all(site.ledger.notes == [] for site in sites)


def test_a_session_that_forgot_is_given_the_model_again(easy_records: Records, spec: Make, guard: Make) -> None:
    class Forgetful(Curator):
        def open(self, plan: Any) -> Any:
            conversation = super().open(plan)
            answer = conversation._session.answer

            def forgetting(step: int, question: Any) -> Any:
                if step % 5 == 2 and getattr(question, "delta", ()) and step not in seen:
                    seen.add(step)
                    conversation._session.forget()
                return answer(step, question)

            conversation._session.answer = forgetting  # type: ignore[method-assign]
            return conversation

    seen: set[int] = set()
    data, wanted = easy_records(2000), spec("two classes", budget=Budget(8.0, 1e-5))
    for fit in (tacit.learn.fit_boosted, tacit.learn.fit_full_batch):
        seen.clear()
        model = fit(wanted, Forgetful(guard(data, budget=wanted.budget)))
        assert len(seen) > 5
        assert roc_auc_score(data["label"] == "bad", model.margins(data)[:, 0]) > 0.8


def test_the_driver_hands_over_all_updates_sent_so_far(easy_records: Records, spec: Make, in_memory: Make) -> None:
    handed = []

    class Watching(in_memory):  # type: ignore[misc,valid-type]
        def ask(self, step: int, question: Any, *, model: Any = None) -> Any:
            if isinstance(question, CellSums):
                frame, updates = model
                digest = frame.digest
                for update in updates:
                    digest = update.after(digest)
                assert digest == question.base
                handed.append(len(updates))
            return super().ask(step, question, model=model)

    tacit.learn.fit_boosted(spec("two classes"), Watching.of(easy_records(300)))
    assert handed == [0, *range(len(handed) - 1)]


def test_a_learner_that_leaves_its_plan_is_stopped(easy_records: Records, spec: Make, guard: Make) -> None:
    def greedy() -> Any:
        yield 0, Histogram(spec("two classes").domain.select(["x"]))
        yield 0, Histogram(spec("two classes").domain.select(["x"]))

    owner = guard(easy_records(300), budget=Budget(3.0, 1e-5))
    aggregator = Curator(owner)
    captured = []

    class Capturing(Curator):
        def open(self, plan: Any) -> Any:
            captured.append(plan)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tacit.learn.fit_boosted(spec("two classes"), Capturing(owner))
    with pytest.raises(OffPlan, match="was answered or passed over"):
        converse(greedy(), aggregator.open(captured[0]))


def test_the_session_is_closed_when_a_learner_fails(easy_records: Records, in_memory: Make) -> None:
    data = easy_records(300) | {"label": np.array(["good"] * 300, dtype=object)}
    aggregator = in_memory.of(data)
    with pytest.raises(DataError, match=r"at least two classes in the target «label».*found 1.*declare the classes"):
        tacit.learn.fit_boosted(LearnSpec(("x",), TargetSpec("label"), Budget(1.0, 1e-5)), aggregator)
    assert aggregator.closed == 1


@pytest.mark.parametrize(("features", "target", "complaint"), [((), "label", "at least one feature"), (("x", "label"), "label", "is not a feature")])
def test_a_specification_makes_sense(features: tuple[str, ...], target: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        LearnSpec(features, TargetSpec(target), Budget(1.0, 1e-5))


def test_text_cannot_be_predicted_as_a_number(easy_records: Records, in_memory: Make, learner: Make) -> None:
    wanted = LearnSpec(("x", "z"), TargetSpec("kind", task="predict"), Budget(1.0, 1e-5))
    with pytest.raises(DataError, match="Expected numbers in the target «kind»; it holds text"):
        learner(wanted, in_memory.of(easy_records(400)))


def test_a_domain_is_found_by_what_was_answered(easy_records: Records, in_memory: Make) -> None:
    aggregator = in_memory.of(easy_records(3000))
    model = tacit.learn.fit_boosted(LearnSpec(("x", "noise", "kind"), TargetSpec("level"), Budget(3.0, 1e-5)), aggregator)
    found = dict(model.domain.columns)
    assert (found["x"].lower, found["x"].upper) in {(-4.0, 4.0), (-2.0, 2.0), (-4.0, 2.0), (-2.0, 4.0)}
    assert found["noise"].upper in (64.0, 128.0)
    assert sorted(found["kind"].values) == ["a", "b", "c"]
    assert model.classes == ("high", "low", "mid")


def test_whole_numbers_as_classes_come_in_their_order(easy_records: Records, in_memory: Make) -> None:
    data = easy_records(3000)
    data["level"] = np.select([data["level"] == "low", data["level"] == "mid"], [9, 10], 11)
    model = tacit.learn.fit_boosted(LearnSpec(("x", "kind"), TargetSpec("level"), Budget(3.0, 1e-5)), in_memory.of(data))
    assert model.classes == ("9", "10", "11")


def test_linear_models_keep_what_they_planned_for(in_memory: Make) -> None:
    """More common values than the plan has room for, and declared categories wider than found ones."""
    rng = np.random.default_rng(0)
    texts = {f"t{i}": np.array([f"v{v}" for v in rng.integers(0, 60, 4000)], dtype=object) for i in range(70)}
    data = {**texts, "label": np.where(rng.random(4000) < 0.5, "bad", "good").astype(object)}
    aggregator = in_memory.of(data)
    wanted = LearnSpec(tuple(texts), TargetSpec("label", positive="bad"), Budget(3.0, 1e-5))
    model = tacit.learn.fit_linear(wanted, aggregator, iterations=2)
    assert all(within(aggregator.plans[0], step, question) for step, question in aggregator.asked)
    assert 4000 - 70 < model.weights.shape[1] <= 4001
    wide = Domain.of(t0=Category(tuple(f"v{v}" for v in range(250))))
    aggregator = in_memory.of(data)
    model = tacit.learn.fit_linear(LearnSpec(("t0", "t1"), wanted.target, wanted.budget, domain=wide), aggregator, iterations=2)
    assert all(within(aggregator.plans[0], step, question) for step, question in aggregator.asked)
    assert model.domain.column("t0") == wide.column("t0")


def test_updates_are_applied_in_the_order_they_were_learned(easy_records: Records, spec: Make, in_memory: Make) -> None:
    aggregator = in_memory.of(easy_records(400))
    model = tacit.learn.fit_boosted(spec("two classes"), aggregator)
    sums = [question for _, question in aggregator.asked if isinstance(question, CellSums)]
    sent = [update for question in sums for update in question.delta]
    assert all(isinstance(update, Update) for update in sent)
    assert [u.partition.digest for u in sent] == [u.partition.digest for u in model.updates[:-1]]
    assert all(question.after == following.base for question, following in itertools.pairwise(sums))
