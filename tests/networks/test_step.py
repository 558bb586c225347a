from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tacit import Budget
from tacit.errors import BudgetExceeded, OffPlan, UsageError, VerificationError
from tacit.guarantee import Relation
from tacit.guard import FULL, Correlation, MemoryBooks, Sampler
from tacit.networks import AdaptiveClip, TrainingPlan, private_step
from tacit.networks.release import Banded, Independent, Tree
from tacit.networks.sampling import Drawer, Watch
from tacit.randomness import SecureRandom

BUDGET = Budget(2.0, 1e-5)


def model() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


def data(size: int = 600) -> tuple[Tensor, Tensor]:
    x = torch.randn(size, 4)
    return x, (x[:, 0] > 0).long()


def run(step: Any, times: int) -> None:
    for _ in range(times):
        step()


def plan(**changes: Any) -> TrainingPlan:
    given: dict[str, Any] = {"units": 600, "batch": 60, "steps": 20} | changes
    return TrainingPlan.for_budget(BUDGET, **given)


def step_for(net: nn.Module, chosen: TrainingPlan, **given: Any) -> Any:
    optimiser = given.pop("optimiser", None) or torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
    return private_step(net, nn.CrossEntropyLoss(), optimiser, chosen, **({"data": data()} | given))


@pytest.mark.parametrize("noise", ["independent", "banded:4", "tree"])
@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, torch.optim.Adagrad])
def test_ten_lines_train_a_network(kind: Any, noise: str) -> None:
    net, chosen = model(), plan(noise=noise)
    step = step_for(net, chosen, optimiser=kind(net.parameters(), 0.05))
    for _ in range(chosen.steps):
        assert step() is None
    assert step.left == 0
    assert step.guarantee.epsilon <= BUDGET.epsilon
    assert step.guarantee.epsilon > 0.99 * BUDGET.epsilon
    with pytest.raises(OffPlan):
        step()


def test_it_learns() -> None:
    net, chosen = model(), TrainingPlan.for_budget(Budget(8.0, 1e-5), units=4000, batch=400, steps=60)
    x, y = data(4000)
    step = step_for(net, chosen, data=(x, y), optimiser=torch.optim.Adam(net.parameters(), 0.02))
    for _ in range(chosen.steps):
        step()
    assert float((net(x).argmax(1) == y).float().mean()) > 0.9


def test_the_plan_is_charged_once_and_a_second_is_refused() -> None:
    books = MemoryBooks()
    step_for(model(), plan(), ledger=books)
    assert [note.kind for note in books.notes] == ["charge"]
    with pytest.raises(BudgetExceeded):
        step_for(model(), plan(), ledger=books)


def test_a_layer_without_a_gradient_is_found_before_anything_is_charged() -> None:
    class Forgetful(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.forgotten = nn.Linear(4, 2), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.used(x)

    books = MemoryBooks()
    with pytest.raises(UsageError, match=r"forgotten\.weight"):
        step_for(Forgetful(), plan(), ledger=books)
    assert not books.notes


def test_a_detached_branch_is_found_too() -> None:
    class Detached(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.second(self.first(x).detach())

    with pytest.raises(UsageError, match=r"first\.weight"):
        step_for(Detached(), plan())


def test_adapters_that_begin_at_zero_are_no_false_alarm() -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    nn.init.zeros_(net[1].weight)
    step_for(net, plan())()


def test_a_layer_that_mixes_records_is_found() -> None:
    class Mixing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(x - x.mean(0))

    with pytest.raises(UsageError, match="record"):
        step_for(Mixing(), plan())


def test_a_weighted_sampler_slipped_under_the_plan_is_caught() -> None:
    net, chosen = model(), plan(steps=200)
    step = step_for(net, chosen)
    weights = np.linspace(0.0, 0.2, 600)

    def weighted(answer: int) -> Any:
        return np.flatnonzero(np.random.default_rng(answer).random(600) < weights)

    step.drawer._joined = weighted
    with pytest.raises(VerificationError, match="sampler"):
        run(step, chosen.steps)


def test_loaders_and_samplers_have_no_place() -> None:
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*data()), batch_size=60)
    with pytest.raises(UsageError, match="own sampler"):
        step_for(model(), plan(), data=loader)


def test_the_normaliser_does_not_know_how_many_records_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """One record more changes the update by that record's share of the planned batch, and by nothing else."""
    monkeypatch.setattr(Independent, "__call__", lambda self, total: total.float())
    monkeypatch.setattr("tacit.networks.rehearsal.rehearse", lambda *_: None)  # which would not let a step without noise begin
    chosen = dataclasses.replace(plan(), sampler=FULL, steps=1, expected_batch=60)
    moves = []
    x, y = data(61)
    for size in (60, 61):
        torch.manual_seed(3)
        net = model()
        before = torch.cat([p.detach().flatten() for p in net.parameters()]).clone()
        monkeypatch.setattr("tacit.networks.step.guard_for", unguarded)
        step_for(net, chosen, data=(x[:size], y[:size]), optimiser=torch.optim.SGD(net.parameters(), 1.0))()
        moves.append(torch.cat([p.detach().flatten() for p in net.parameters()]) - before)
    extra = float((moves[1] - moves[0]).norm())
    assert extra <= chosen.clip / chosen.expected_batch * 1.001
    assert extra > 0.01 * chosen.clip / chosen.expected_batch


def unguarded(chosen: TrainingPlan, ledger: Any) -> Any:
    from tacit.networks import step as module

    return module.Guard(module._Unasked(), policy=module.Policy(
        dataset="t", unit=chosen.unit, relation=chosen.relation, budget=Budget(20.0, 0.9), filter="single", limits=module.Limits(minimum_units=0),
    ), ledger=MemoryBooks())


def test_nothing_in_a_plan_can_be_changed() -> None:
    chosen = plan()
    for name in ("noise_multiplier", "clip", "sampler", "expected_batch"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(chosen, name, 1)


def test_an_empty_batch_is_noise_only() -> None:
    net, chosen = model(), plan()
    step = step_for(net, chosen)
    step.drawer._joined = lambda answer: np.zeros(0, np.int64)
    before = torch.cat([p.detach().flatten() for p in net.parameters()]).clone()
    step()
    moved = torch.cat([p.detach().flatten() for p in net.parameters()]) - before
    wanted = 0.1 * chosen.noise_multiplier / chosen.expected_batch
    assert 0.6 * wanted < float(moved.std()) < 1.5 * wanted


def test_large_batches_are_taken_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tacit.networks.step.MOST_ROWS", 64)
    monkeypatch.setattr(Independent, "__call__", lambda self, total: total.float())
    monkeypatch.setattr("tacit.networks.rehearsal.rehearse", lambda *_: None)  # which would not let a step without noise begin
    x, y = data(150)
    net = model()
    step = step_for(net, plan(units=150, batch=140), data=(x, y))
    step.drawer._joined = lambda answer: np.arange(150)
    step._session.take = lambda *a, **k: None
    whole = step._total(np.arange(150)).clone()
    assert torch.allclose(whole.float(), step.engine.clipped_sum(x, y), rtol=1e-5, atol=1e-6)


def test_truncated_shapes_under_zero_out() -> None:
    chosen = plan(truncated=True, relation=Relation.ZERO_OUT)
    assert chosen.sampler.cap > 60
    step = step_for(model(), chosen)
    for _ in range(3):
        step()
    with pytest.raises(UsageError, match="zero-out"):
        plan(truncated=True)
    with pytest.raises(UsageError, match="public number"):
        step_for(model(), chosen, data=data(601))


def test_units_of_several_rows_are_clipped_as_one() -> None:
    chosen = plan(units=300, batch=60, rows_per_unit=2)
    x, y = data(600)
    weights = torch.ones(600)
    step = step_for(model(), chosen, data=(x, y, weights))
    for _ in range(3):
        step()
    with pytest.raises(UsageError, match="rows_per_unit"):
        step_for(model(), chosen, data=data(601))


@pytest.mark.parametrize("maker", [
    lambda source: Banded(Correlation.banded(4, 40).coefficients, 1e-6, source), lambda source: Tree(16, 1e-6, source),
])
def test_correlated_noise_gives_back_the_sums(maker: Any) -> None:
    """With hardly any noise every answer is the sum that went in, over breaks between trees too."""
    release = maker(SecureRandom())
    for _ in range(40):
        total = torch.randn(50)
        assert torch.allclose(release(total), total, atol=1e-3)


@pytest.mark.parametrize("name", ["banded", "tree"])
def test_the_error_of_prefix_sums_is_what_the_correlation_says(name: str) -> None:
    steps, size = 48, 4000
    found = Correlation.banded(8, steps) if name == "banded" else Correlation.tree(16, steps=steps)
    sigma = found.sensitivity
    release = Banded(found.coefficients, sigma, SecureRandom()) if name == "banded" else Tree(16, sigma, SecureRandom())
    sums, squares = torch.zeros(size), []
    for _ in range(steps):
        sums = sums + release(torch.zeros(size))
        squares.append(float(sums.square().mean()))
    assert np.sqrt(np.mean(squares)) == pytest.approx(found.error, rel=0.05)


@pytest.mark.parametrize("sampler", [Sampler.poisson(0.05), Sampler.cyclic(0.4, cycle=8), Sampler.passes(20)])
def test_draws_have_the_planned_rate_and_pass_their_own_watch(sampler: Sampler) -> None:
    drawer = Drawer(sampler, 5000, SecureRandom())
    sizes = [len(drawer.draw(answer)) for answer in range(160)]
    assert np.mean(sizes) == pytest.approx(5000 * sampler.share, rel=0.05)
    if sampler.cycle > 1:
        seen = [set(drawer.draw(answer)) for answer in range(sampler.cycle)]
        assert not set.union(*seen[1:]) & seen[0]


def test_the_watch_is_quiet_over_many_runs_and_loud_on_a_double_rate() -> None:
    rng = np.random.default_rng(1)
    for _ in range(40):
        watch = Watch(Sampler.poisson(0.02), 2000)
        for _ in range(100):
            watch.see(np.flatnonzero(rng.random(2000) < 0.02))
    watch = Watch(Sampler.poisson(0.02), 2000)
    with pytest.raises(VerificationError):
        run(lambda: watch.see(np.flatnonzero(rng.random(2000) < 0.04)), 100)


def test_an_adaptive_bound_follows_the_quantile_for_the_same_cost() -> None:
    x, y = data(4000)
    net = model()
    chosen = TrainingPlan.for_budget(Budget(8.0, 1e-5), units=4000, batch=800, steps=80, clip=50.0, adaptive=AdaptiveClip(quantile=0.5, rate=0.3))
    fixed = dataclasses.replace(chosen, adaptive=None)
    assert chosen.epsilon == fixed.epsilon
    step = step_for(net, chosen, data=(x, y), optimiser=torch.optim.SGD(net.parameters(), 0.0))
    for _ in range(chosen.steps):
        step()
    step.engine.clipped_sum(x, y)
    norms = step.engine.norms.sqrt()
    assert float((norms <= step.engine.clip).float().mean()) == pytest.approx(0.5, abs=0.12)


def test_gradient_and_count_are_one_answer_of_the_planned_noise() -> None:
    found = AdaptiveClip(noise=3.0)
    gradient = found.gradient_multiplier(1.2, 100)
    assert gradient**-2 + (2 * 3.0) ** -2 == pytest.approx(1.2**-2)
    with pytest.raises(UsageError, match="count noise above"):
        found.gradient_multiplier(7.0, 100)
    with pytest.raises(UsageError, match="fixed clipping bound"):
        plan(noise="tree", adaptive=found)
    with pytest.raises(UsageError, match="quantile"):
        AdaptiveClip(quantile=1.0)
