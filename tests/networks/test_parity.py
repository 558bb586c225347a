"""Clipped sums against plain PyTorch, one record at a time: nothing of the engine is in the oracle."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tacit.errors import UsageError
from tacit.networks import BookKeeping
from tacit.networks.sums import MARGIN

spec = importlib.util.spec_from_file_location("network_models", Path(__file__).with_name("models.py"))
assert spec is not None
assert spec.loader is not None
zoo = importlib.util.module_from_spec(spec)
sys.modules["network_models"] = zoo
spec.loader.exec_module(zoo)

CLIP = 0.3
NAMES = sorted(zoo.models())


class Always(dict):  # type: ignore[type-arg]
    """One mode for every layer."""

    def __init__(self, mode: str) -> None:
        self.mode = mode

    def get(self, key: str, default: object = None) -> str:
        return self.mode


def oracle(model: nn.Module, x: Tensor, y: Tensor, *, rows: int = 1, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
    parameters = [p for p in model.parameters() if p.requires_grad]
    total, norms = torch.zeros(sum(p.numel() for p in parameters), dtype=torch.float64), []
    for unit in range(len(x) // rows):
        own = torch.zeros_like(total)
        for row in range(unit * rows, (unit + 1) * rows):
            loss = nn.functional.cross_entropy(model(x[row : row + 1]), y[row : row + 1])
            found = torch.autograd.grad(loss * (1 if weights is None else weights[row]), parameters, allow_unused=True)
            own += torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for p, g in zip(parameters, found, strict=True)]).double()
        norms.append(own.norm())
        total += own * min(1.0, CLIP / float(own.norm()))
    return total, torch.stack(norms)


@pytest.mark.parametrize("mode", ["ghost", "instantiate"])
@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_clipped_sums_are_those_of_single_records(name: str, rows: int, mode: str) -> None:
    model, kind = zoo.models()[name]
    x, y = zoo.inputs(kind, 12), torch.randint(0, zoo.CLASSES, (12,))
    weights = torch.rand(12) if rows > 1 else None
    engine = BookKeeping(model, nn.CrossEntropyLoss(), clip=CLIP, rows_per_unit=rows)
    engine.modes = Always(mode)
    got = engine.clipped_sum(x, y, weights=weights).double() / (1 - MARGIN)
    wanted, norms = oracle(model, x, y, rows=rows, weights=weights)
    assert float((got - wanted).norm() / wanted.norm()) < 1e-6
    assert engine.norms is not None
    assert float(((engine.norms.sqrt() - norms).abs() / norms).max()) < 1e-6


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_parts_of_a_batch_add_up_to_the_same_sum(name: str, rows: int) -> None:
    model, kind = zoo.models()[name]
    x, y, weights = zoo.inputs(kind, 24), torch.randint(0, zoo.CLASSES, (24,)), torch.rand(24)
    present = torch.ones(24 // rows)
    present[-2:] = 0
    engine = BookKeeping(model, nn.CrossEntropyLoss(), clip=CLIP, rows_per_unit=rows)
    engine.pieces = 3
    got = engine.clipped_sum(x, y, present=present, weights=weights).double() / (1 - MARGIN)
    wanted, norms = oracle(model, x[: 24 - 2 * rows], y, rows=rows, weights=weights)
    assert float((got - wanted).norm() / wanted.norm()) < 1e-6
    assert engine.norms is not None
    assert float(((engine.norms[:-2].sqrt() - norms).abs() / norms).max()) < 1e-6


@pytest.mark.parametrize(("units", "width", "pieces"), [(1024, 4, 1), (1024, 3000, 2), (96, 200_000, 6), (97, 100_000, 1), (8, 100_000, 1)])
def test_a_batch_is_divided_by_what_would_be_kept_of_it(units: int, width: int, pieces: int) -> None:
    model = nn.Sequential(nn.Linear(3, width), nn.ReLU(), nn.Linear(width, 2))
    engine = BookKeeping(model, nn.CrossEntropyLoss())
    assert engine.settle(torch.randn(units, 3), torch.zeros(units, dtype=torch.long)) == pieces


@pytest.mark.parametrize("name", NAMES)
def test_padding_units_add_nothing(name: str) -> None:
    model, kind = zoo.models()[name]
    x, y = zoo.inputs(kind, 12), torch.randint(0, zoo.CLASSES, (12,))
    engine = BookKeeping(model, nn.CrossEntropyLoss(), clip=CLIP)
    whole = engine.clipped_sum(x[:7], y[:7]).clone()
    present = torch.tensor([1.0] * 7 + [0.0] * 5)
    padded = engine.clipped_sum(x, y, present=present)
    assert float((whole - padded).norm() / whole.norm()) < 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_left_behind(name: str) -> None:
    model, kind = zoo.models()[name]
    x, y = zoo.inputs(kind, 4), torch.zeros(4, dtype=torch.long)
    before = model(x)
    engine = BookKeeping(model, nn.CrossEntropyLoss(), clip=CLIP)
    engine.clipped_sum(x, y)
    assert torch.equal(model(x), before)
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._backward_hooks
        assert "forward" not in module.__dict__
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("mode", ["ghost", "instantiate"])
def test_long_sequences_take_the_blockwise_way(mode: str) -> None:
    model = nn.Sequential(nn.Embedding(30, 16), nn.Linear(16, 12), nn.Tanh(), nn.Flatten(), nn.Linear(12 * 50, 3))
    x, y = torch.randint(0, 30, (150, 50)), torch.randint(0, 3, (150,))
    engine = BookKeeping(model, nn.CrossEntropyLoss(), clip=CLIP)
    engine.modes = Always(mode)
    got = engine.clipped_sum(x, y).double() / (1 - MARGIN)
    wanted, _ = oracle(model, x, y)
    assert float((got - wanted).norm() / wanted.norm()) < 1e-6


def test_a_record_that_is_not_finite_is_left_out_and_spoils_nothing() -> None:
    model = nn.Sequential(nn.Linear(6, 7), nn.ReLU(), nn.Linear(7, 3))
    x, y = torch.randn(9, 6), torch.randint(0, 3, (9,))
    engine = BookKeeping(model, nn.CrossEntropyLoss(), clip=CLIP)
    wanted = engine.clipped_sum(x[1:], y[1:]).clone()
    x[0, 0] = float("nan")
    assert torch.allclose(engine.clipped_sum(x, y), wanted, rtol=1e-5, atol=1e-7)


def test_every_unit_stays_within_the_bound_even_where_gradients_explode() -> None:
    model = nn.Sequential(nn.Linear(6, 7), nn.ReLU(), nn.Linear(7, 3))
    engine = BookKeeping(model, nn.CrossEntropyLoss(), clip=CLIP)
    for scale in (1e-30, 1e-6, 1.0, 1e6, 1e15):
        total = engine.clipped_sum(torch.randn(1, 6) * scale, torch.zeros(1, dtype=torch.long))
        assert float(total.double().norm()) <= CLIP


def test_the_spread_is_bounded_where_rows_cancel() -> None:
    """Rows that cancel have a short sum and long summands; what is kept of them stays within `SPREAD` bounds."""
    from tacit.networks.engine import factors
    from tacit.networks.sums import SPREAD

    norms, spreads = torch.tensor([1e-6, 1.0]), torch.tensor([1e6, 1.0])
    c = factors(norms, spreads, CLIP)
    assert float(c[0] * spreads[0].sqrt()) <= SPREAD * CLIP
    assert float(c[1]) == pytest.approx(CLIP, rel=2e-3)


@pytest.mark.parametrize(("model", "words"), [
    (nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)), ["«1»", "BatchNorm1d", "GroupNorm"]),
    (nn.Sequential(nn.Linear(6, 4), nn.InstanceNorm1d(4, track_running_stats=True), nn.Linear(4, 3)), ["running statistics"]),
    (nn.Linear(6, 3).requires_grad_(False), ["requires_grad"]),
    (nn.Linear(6, 3).half(), ["float32"]),
])
def test_what_cannot_be_clipped_is_refused_by_name(model: nn.Module, words: list[str]) -> None:
    with pytest.raises(UsageError) as refused:
        BookKeeping(model, nn.CrossEntropyLoss())
    assert all(word in str(refused.value) for word in words)


def test_a_loss_over_the_whole_batch_is_refused() -> None:
    engine = BookKeeping(nn.Linear(6, 3), lambda out, y: nn.functional.cross_entropy(out, y))
    with pytest.raises(UsageError, match="reduction='none'"):
        engine.clipped_sum(torch.randn(4, 6), torch.zeros(4, dtype=torch.long))


def test_an_input_overwritten_in_place_is_noticed() -> None:
    class Careless(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(6, 6).requires_grad_(False), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            h = self.first(x)
            out = self.second(h)
            h.add_(1.0)
            return out

    engine = BookKeeping(Careless(), nn.CrossEntropyLoss())
    with pytest.raises((UsageError, RuntimeError), match=r"in-?place"):
        engine.clipped_sum(torch.randn(4, 6), torch.zeros(4, dtype=torch.long))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler warns of its own parts
@pytest.mark.parametrize("name", ["mlp", "conv2d", "layer norm", "attention", "tied"])
def test_the_compiled_sum_is_the_same(name: str) -> None:
    from tacit.networks.compiled import Compiled

    model, kind = zoo.models()[name]
    x, y = zoo.inputs(kind, 12), torch.randint(0, zoo.CLASSES, (12,))
    engine = BookKeeping(model, nn.CrossEntropyLoss(), clip=CLIP)
    wanted = engine.clipped_sum(x, y).clone()
    got = Compiled(engine).clipped_sum(x, y)
    assert float((got - wanted).norm() / wanted.norm()) < 1e-6
