"""The step of a plan, rehearsed on made-up gradients before it meets a record: the same code, with a probe for a model.

The probe's layers are linear and its loss is their sum, so that a record's gradient *is* what is put in: hostile gradients of any shape can be tried
on the engine, the noise, the normaliser and the sampler that the training itself uses.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tacit.guarantee import Budget, Relation
from tacit.guard import FULL, PlanStep, Sampler, SelfTest, StepClaim, self_test
from tacit.networks.engine import BookKeeping
from tacit.networks.optimisers import adopt
from tacit.networks.plan import TrainingPlan
from tacit.networks.sampling import Drawer
from tacit.networks.step import PrivateStep, Ready, StepShape, proved
from tacit.randomness import SecureRandom

LAYERS = (256, 256, 128, 128)
_BATCH, _STEPS, _ROUNDS, _EXPECTED, _MOST, _LEAST = 64, 1 << 20, 24, 64.0, 20_000, 200
_SAMPLED = ("poisson", "truncated_poisson")


class Probe(nn.Module):  # type: ignore[misc]
    """Linear layers side by side; the gradient of a record is its input."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleList(nn.Linear(width, 1, bias=False) for width in LAYERS)

    def forward(self, x: Tensor) -> Tensor:
        """Sum of all layers: ``[records, 1]``."""
        return torch.stack([part(piece) for part, piece in zip(self.parts, x.split(LAYERS, dim=1), strict=True)]).sum(dim=0)


def rehearse(step: PlanStep, clip: float, relation: Relation) -> SelfTest:
    """Test the step that a plan charges for, and its sampler.

    The same claim is tested once per process. Correlated noise is rehearsed as independent noise of the same scale; how it is correlated has tests of
    its own.

    Args:
        step: the plan's, of networks.
        clip: the largest gradient norm of a unit.
        relation: the plan's.

    Raises:
        VerificationError: if the step is not what the plan promises.
    """
    sampler = step.sampler if step.sampler.kind in _SAMPLED and step.sampler.rate < 0.5 else None
    drawn = 0 if sampler is None else int(min(_MOST, max(_LEAST, _EXPECTED / sampler.rate)))
    return _rehearsed(clip, step.noise_multiplier, relation, None if sampler is None else sampler.rate, drawn).require()


@lru_cache(maxsize=64)
def _rehearsed(clip: float, multiplier: float, relation: Relation, rate: float | None, units: int) -> SelfTest:
    sampler, plenty = FULL, Budget(1.0, 1e-5)
    plan = TrainingPlan(plenty, _STEPS, sampler, _BATCH, multiplier, clip=clip, relation=relation, run="rehearsal")
    stage = Stage.set(plan)
    claim = StepClaim(clip, multiplier * relation.factor, _BATCH, LAYERS, rate, units)
    drawer = None if rate is None else Drawer(Sampler.poisson(rate), units, SecureRandom())
    return self_test(stage, claim, draw=None if drawer is None else lambda: drawer.draw(0), state=stage.remembered, rounds=_ROUNDS)


@dataclass
class Stage:
    """A private step whose batch is whatever gradients it is called with.

    Args:
        step: over the probe; nothing is charged, because nothing but made-up gradients is summed.
    """

    step: PrivateStep

    @classmethod
    def set(cls, plan: TrainingPlan) -> Stage:
        """With the plan's clip, noise and normaliser, and Adam, whose memory is looked at."""
        probe, nothing = Probe(), torch.zeros((1, sum(LAYERS)))
        engine = BookKeeping(probe, lambda out, _: out[:, 0], clip=plan.clip)
        longest = proved(engine, plan, x=nothing, y=torch.zeros(1))
        optimiser = torch.optim.Adam(probe.parameters(), lr=1e-3)
        adopt(optimiser, engine.flat)
        conversation: Any = SimpleNamespace(
            guarantee=None, guard=None, plan=plan.charged(1), charge=(0, ""), session=SimpleNamespace(source=SecureRandom(), take=_nothing),
        )
        ready, shape = Ready(engine, optimiser, longest, (nothing, torch.zeros(1), None)), StepShape(plan, longest, pieces=engine.pieces)
        return cls(PrivateStep(ready, shape, conversation))

    def __call__(self, gradients: NDArray[np.float64]) -> NDArray[np.float64]:
        """The noisy mean that the optimiser gets."""
        self.step.drawer = _Everybody(len(gradients))  # type: ignore[assignment]
        rows = gradients if len(gradients) else np.zeros((1, gradients.shape[1]))
        self.step._x, self.step._y = torch.from_numpy(rows.astype(np.float32)), torch.zeros(len(rows))
        self.step()
        return np.asarray(self.step.engine.flat.gradient.double().numpy().copy())

    def remembered(self) -> NDArray[np.float64]:
        """Adam's second moments."""
        state = next(iter(self.step.optimiser.state.values()))
        return np.asarray(state["exp_avg_sq"].double().flatten().numpy())


@dataclass(frozen=True)
class _Everybody:
    """Draws all examples that were put in."""

    count: int

    def draw(self, answer: int) -> NDArray[np.int64]:
        """See `Drawer`."""
        return np.arange(self.count, dtype=np.int64)


def _nothing(*_: Any, **__: Any) -> None:
    """No charge: no record is near."""
