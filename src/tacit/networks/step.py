"""The private step for one's own loop: ten lines, and nothing in them that could be got wrong apart from the plan.

::

    plan = TrainingPlan.for_budget(Budget(3.0, 1e-5), units=50_000, batch=500, steps=2_000)
    step = private_step(model, loss, torch.optim.Adam(model.parameters(), 1e-3), plan, data=(X, y))
    for _ in range(plan.steps):
        step()
    print(step.guarantee)
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tacit.errors import OffPlan, UsageError
from tacit.guarantee import Guarantee
from tacit.guard import Books, Curator, CuratorConversation, Guard, Limits, MemoryBooks, PlanStep, Policy, SelfTest
from tacit.networks.engine import BookKeeping, Loss
from tacit.networks.noise import noised
from tacit.networks.optimisers import adopt
from tacit.networks.plan import KIND, AdaptiveClip, TrainingPlan
from tacit.networks.proof import made_up, prove
from tacit.networks.release import release_of
from tacit.networks.sampling import Drawer
from tacit.networks.sums import slack

MOST_ROWS = 1 << 11
"""Rows of a physical batch, unless the plan's shapes are fixed."""
_PIECE = 64


def private_step(
    model: nn.Module, loss: Loss, optimiser: torch.optim.Optimizer, plan: TrainingPlan, *, data: tuple[Any, ...], ledger: Books | None = None,
) -> PrivateStep:
    """Charge a plan and return the step that trains with it.

    Before anything is charged it is proved on made-up records that every trained parameter gets its clipped gradient, and the step itself is tested
    on made-up gradients (a second, once per claim and process; ``tested`` is the result). The step draws its own batches: there is no sampler, data
    loader or batch size to pass beside the plan.

    Args:
        model: any module of layers that treat each record by itself.
        loss: from outputs and targets to one loss per record; a loss module's ``reduction`` is ignored.
        optimiser: over the model's parameters: SGD, Adam, Adagrad, or any that takes one gradient per step.
        plan: what is charged.
        data: inputs and targets as tensors, records on the first axis; inputs may be a tuple of tensors. With ``plan.rows_per_unit`` above one, the
            rows of a unit lie side by side, and a third tensor ``[rows]`` holds the weight of each row, zero for padding.
        ledger: where the plan is charged; in memory if ``None``.

    Raises:
        UsageError: for a model, loss or data that cannot be trained privately; nothing is charged then.
        Refused: if the ledger does not allow it.
    """
    from tacit.networks.rehearsal import rehearse

    ready, charged = Ready.of(model, loss, optimiser, plan=plan, data=data), plan.charged(1).steps[0]
    tested = rehearse(charged, plan.clip, plan.relation)
    conversation = Curator(guard_for(plan, ledger)).open(plan.charged(ready.engine.flat.size))
    step = PrivateStep(ready, StepShape(plan, ready.longest, pieces=ready.engine.pieces), conversation)
    step.tested = tested
    return step


def resume(
    model: nn.Module, loss: Loss, optimiser: torch.optim.Optimizer, *, plan: TrainingPlan, data: tuple[Any, ...],
    checkpoint: tuple[str | os.PathLike[str], Books],
) -> PrivateStep:
    """Go on with a run that was stopped: the same arguments as for `private_step`, and the file with the ledger that paid for it.

    Nothing is charged. Steps that may have been answered after the file was written are lost; noise is fresh, and correlated noise begins anew.

    Raises:
        Refused: if the ledger does not hold the charge, or nothing is left.
        VerificationError, DataError: if the file is not what was signed.
    """
    from tacit.networks.checkpoint import put_back, state_of

    path, ledger = checkpoint
    ready = Ready.of(model, loss, optimiser, plan=plan, data=data)
    guard, charged = guard_for(plan, ledger), plan.charged(ready.engine.flat.size)
    first, tensors, charge = state_of(path, guard, charged)
    conversation = CuratorConversation(guard, charged, guard.resume(charged), others=[])
    step = PrivateStep(ready, StepShape(plan, ready.longest, pieces=ready.engine.pieces), conversation)
    step.charge = charge
    put_back(step, tensors, first)
    return step.keep(path, every=max(1, plan.steps // 20))


def trainer(
    model: nn.Module, loss: Loss, optimiser: torch.optim.Optimizer, *, shape: tuple[TrainingPlan, int], data: tuple[Any, ...],
    conversation: CuratorConversation,
) -> PrivateStep:
    """`private_step` in a conversation that is charged already; ``shape``: the plan, and the charged step it begins at."""
    plan, first = shape
    ready = Ready.of(model, loss, optimiser, plan=plan, data=data)
    return PrivateStep(ready, StepShape(plan, ready.longest, first=first, pieces=ready.engine.pieces), conversation)


@dataclass(frozen=True)
class Ready:
    """What is needed before a step: model and data checked, tuned and proved on made-up records, and an optimiser over the flat parameters.

    Args:
        engine: what computes clipped sums.
        optimiser: what moves the parameters; adopted.
        longest: the most rows that one unit has in a layer.
        data: inputs, targets and weights as tensors.
    """

    engine: BookKeeping
    optimiser: torch.optim.Optimizer
    longest: int
    data: tuple[Any, Tensor, Tensor | None]

    @classmethod
    def of(cls, model: nn.Module, loss: Loss, optimiser: torch.optim.Optimizer, *, plan: TrainingPlan, data: tuple[Any, ...]) -> Ready:
        """Raises `UsageError` for what cannot be trained privately."""
        parts = checked(data, plan.rows_per_unit)
        engine = BookKeeping(model, loss, clip=plan.clip, rows_per_unit=plan.rows_per_unit)
        longest = proved(engine, plan, x=parts[0], y=parts[1])
        adopt(optimiser, engine.flat)
        return cls(engine, optimiser, longest, parts)


def checked(data: Any, rows_per_unit: int) -> tuple[Any, Tensor, Tensor | None]:
    """Inputs, targets and weights as tensors.

    Raises:
        UsageError: for a data loader, a sampler, or parts that do not have the same number of records.
    """
    if hasattr(data, "sampler") or hasattr(data, "batch_sampler") or not (isinstance(data, tuple) and len(data) in (2, 3)):
        raise UsageError("Expected data=(inputs, targets) as tensors, and no loader or sampler: the plan's own sampler draws the batches.")
    x = tuple(torch.as_tensor(part) for part in data[0]) if isinstance(data[0], tuple) else torch.as_tensor(data[0])
    y, weights = torch.as_tensor(data[1]), torch.as_tensor(data[2]) if len(data) == 3 else None
    parts = [*(x if isinstance(x, tuple) else (x,)), y, *(() if weights is None else (weights,))]
    if len({len(part) for part in parts}) != 1:
        raise UsageError("Expected as many targets as inputs; they differ. Check what was split.")
    if len(y) % rows_per_unit:
        raise UsageError(f"Expected rows_per_unit={rows_per_unit} rows for every unit; the rows do not divide. Pad units with rows of weight 0.")
    return x, y, weights


def rows_of(plan: TrainingPlan) -> int:
    """Rows of one physical batch: room for six standard deviations more than expected, in multiples of 64; larger batches are taken in pieces."""
    if plan.sampler.cap:
        return plan.sampler.cap
    mean = plan.expected_batch
    return min(MOST_ROWS, math.ceil((mean + 6 * math.sqrt(mean)) / _PIECE) * _PIECE)


def proved(engine: BookKeeping, plan: TrainingPlan, *, x: Any, y: Any) -> int:
    """Tune and prove the engine on a made-up batch; returns the most rows that one unit has in a layer."""
    mock = made_up(engine, x, y, rows=rows_of(plan) * engine.rows)
    engine.settle(*mock)
    longest = prove(engine, *mock)
    engine.tune(*mock)
    return longest


def guard_for(plan: TrainingPlan, ledger: Books | None) -> Guard:
    """A guard over no questions: it charges the plan, and refuses a second one."""
    policy = Policy(
        dataset="training", unit=plan.unit, relation=plan.relation, budget=plan.budget, filter="single", limits=Limits(minimum_units=0),
    )
    return Guard(_Unasked(), policy=policy, ledger=MemoryBooks() if ledger is None else ledger)


class _Unasked:
    """No records: the step has its own, and no question is asked."""

    def batches(self, columns: Any = None) -> Any:
        """Nothing."""
        return iter(())


class StepShape:
    """What follows from a plan and a model's shapes alone.

    Args:
        plan: the plan.
        longest: the most rows that one unit has in a layer.
        first: the step of the charged plan that training begins at.
        pieces: equal parts that a physical batch is taken in.
    """

    def __init__(self, plan: TrainingPlan, longest: int, *, first: int = 0, pieces: int = 1) -> None:
        self.plan, self.rows, self.first = plan, rows_of(plan), first
        mean = plan.expected_batch
        self.batches = 1 if plan.sampler.cap else max(1, math.ceil((2 * mean + 12 * math.sqrt(mean) + _PIECE) / self.rows))
        self.slack = plan.relation.factor * (1 + slack(self.rows, longest, self.batches, pieces=pieces))
        self.bound = self.slack if plan.adaptive is not None else plan.clip * self.slack

    @property
    def charged(self) -> PlanStep:
        """The step whose noise the gradient gets: all of the plan's, or what a count of norms leaves of it."""
        step = self.plan.charged(1).steps[0]
        if self.plan.adaptive is None:
            return step
        return replace(step, noise_multiplier=self.plan.adaptive.gradient_multiplier(step.noise_multiplier, self.plan.expected_batch))


class PrivateStep:
    """One private optimiser step per call. Nothing about the records comes back from a call, neither a loss nor a batch size: they are not private.

    Args:
        ready: model, optimiser and data.
        shape: of the plan.
        conversation: charged.
    """

    def __init__(self, ready: Ready, shape: StepShape, conversation: CuratorConversation) -> None:
        self.engine, self.optimiser, self.plan = ready.engine, ready.optimiser, shape.plan
        self.guarantee: Guarantee = conversation.guarantee
        self.guard, self.charged, self.charge = conversation.guard, conversation.plan, conversation.charge
        session = conversation.session
        self._session, self._shape, (self._x, self._y, self._weights) = session, shape, ready.data
        self.drawer = Drawer(shape.plan.sampler, len(self._y) // self.engine.rows, session.source)
        self._release = release_of(shape.charged, shape.bound, session.source)
        self._within = 0.0
        self._rows, self._sum_of = torch.arange(self.engine.rows), self.engine.clipped_sum
        self.done = 0
        self.tested: SelfTest | None = None
        self._checkpoints: Any = None

    def keep(self, path: str | os.PathLike[str], *, every: int) -> PrivateStep:
        """Write a signed checkpoint to ``path`` after every ``every`` steps, from which `resume` goes on; see `tacit.networks.checkpoint`.

        Raises:
            UsageError: without a ledger that outlives the process.
        """
        from tacit.networks.checkpoint import Checkpoints

        self._checkpoints = Checkpoints(self, path, every=every)
        return self

    def compile(self) -> PrivateStep:
        """Run forward, backward and clipping as one compiled graph from now on; the first step then takes a minute. Returns the step."""
        from tacit.networks.compiled import Compiled

        if self.plan.adaptive is not None:
            raise UsageError("Expected a fixed clipping bound in a compiled step; this plan's follows a quantile. Leave compile() or adaptive out.")
        self._sum_of = Compiled(self.engine).clipped_sum
        return self

    def __call__(self) -> None:
        """Draw a batch, sum clipped gradients, add noise, move the parameters.

        Raises:
            OffPlan: once all steps of the plan are done.
            VerificationError: if what was drawn is not the plan's sampler.
        """
        if self._checkpoints is not None:
            self._checkpoints.before()
        self._session.take(self._shape.first + self.done, kind=KIND, size=self.engine.flat.size)
        self._within = 0.0
        total, clip = self._total(self.drawer.draw(self.done)), self.engine.clip
        self.done += 1
        if self.plan.adaptive is None:
            torch.mul(self._release(total), 1 / self.plan.expected_batch, out=self.engine.flat.gradient)
        else:
            self.engine.flat.gradient.copy_(self._release(total.double() / clip)).mul_(clip).div_(self.plan.expected_batch)
            self.engine.clip = self._next_clip(self.plan.adaptive, clip)
        self.optimiser.step()
        if self._checkpoints is not None and self.left == 0:
            self._checkpoints.finish()

    @property
    def left(self) -> int:
        """Steps that are paid for and not done."""
        return self.plan.steps - self.done

    def _next_clip(self, adaptive: AdaptiveClip, clip: float) -> float:
        """The bound after a noisy count of the units within it; each counts one half more or less."""
        sigma = adaptive.count_noise(self.plan.expected_batch) * self.plan.relation.factor
        count = float(noised(torch.tensor([self._within], dtype=torch.float64), sigma, self._session.source)[0])
        share = min(1.0, max(0.0, 0.5 + count / self.plan.expected_batch))
        return clip * math.exp(-adaptive.rate * (share - adaptive.quantile))

    def _total(self, chosen: NDArray[np.int64]) -> Tensor:
        """The clipped sum over the chosen units; of nobody it is zero."""
        pieces = [chosen[start : start + self._shape.rows] for start in range(0, len(chosen), self._shape.rows)]
        if len(pieces) > self._shape.batches:
            raise OffPlan("Expected at most twice as many units as the plan's expected batch; there are more. Plan with the right number of units.")
        if not pieces:
            return torch.zeros_like(self.engine.flat.gradient)
        if len(pieces) == 1:
            return self._piece(pieces[0])
        total = torch.zeros_like(self.engine.flat.gradient, dtype=torch.float64)
        for piece in pieces:
            total += self._piece(piece)
        return total

    def _piece(self, units: NDArray[np.int64]) -> Tensor:
        """A physical batch of fixed shape: the units, then padding."""
        rows, engine = self._shape.rows, self.engine
        places = torch.zeros(rows, dtype=torch.int64)
        places[: len(units)] = torch.from_numpy(units)
        present = torch.zeros(rows, dtype=engine.flat.values.dtype, device=engine.flat.values.device)
        present[: len(units)] = 1
        if engine.rows > 1:
            places = (places[:, None] * engine.rows + self._rows).flatten()
        x = tuple(part[places] for part in self._x) if isinstance(self._x, tuple) else self._x[places]
        weights = None if self._weights is None else self._weights[places]
        total = self._sum_of(x, self._y[places], present=present, weights=weights)
        if self.plan.adaptive is not None and engine.norms is not None:
            self._within += float((engine.norms[: len(units)].sqrt() <= engine.clip).sum()) - len(units) / 2
        return total
