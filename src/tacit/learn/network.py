"""Networks over tabular features: count, bins and clipped gradient sums in one plan that is charged once."""

from __future__ import annotations

import math
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tacit.errors import MissingExtra, UsageError
from tacit.guard import Curator, CuratorConversation, Filter, Plan, PlanStep, Sampler, least_noise, mu_for, plan_cost
from tacit.learn.driver import Steps, converse
from tacit.learn.spending import Outlay, preparation, selection_delta, step_of
from tacit.learn.training import LearnSpec, Preparation, provenance_of
from tacit.models import NetworkModel
from tacit.questions import GRID, Frame, UnitCount
from tacit.questions.dense import inputs_of, width_of

if TYPE_CHECKING:
    from torch import nn

    from tacit.networks import PrivateStep, TrainingPlan

COUNT_SHARE = 0.005
_KIND = "network@1"
_CELLS = 1 << 31


@dataclass(frozen=True)
class NetworkShape:
    """What a network and its training look like. Public, and never chosen by looking at the records.

    Args:
        hidden: units of each hidden layer.
        rate: share of the units that one step has, on average.
        steps: optimiser steps.
        clip: the largest gradient norm of one unit.
        learning_rate: of Adam.
        averaging: the model is the running mean of the iterates with this memory, as a share of all steps.
    """

    hidden: tuple[int, ...] = (64, 64)
    rate: float = 0.1
    steps: int = 200
    clip: float = 1.0
    learning_rate: float = 5e-3
    averaging: float = 0.1

    def __post_init__(self) -> None:
        if not all(isinstance(size, int) and 1 <= size <= 8192 for size in self.hidden):
            raise UsageError(f"Expected hidden={self.hidden!r} to be layer sizes from 1 to 8192, such as (64, 64).")
        if not (0 < self.rate <= 1 and isinstance(self.steps, int) and 1 <= self.steps <= 1_000_000):
            raise UsageError(f"Expected 0 < rate={self.rate} <= 1 and steps={self.steps!r} from 1 to a million.")
        if not (0 < self.clip < math.inf and 0 < self.learning_rate < math.inf and 0 < self.averaging <= 1):
            raise UsageError("Expected clip and learning_rate above zero and finite, and averaging in (0, 1].")


def fit_network(spec: LearnSpec, aggregator: Curator, shape: NetworkShape | None = None) -> tuple[NetworkModel, int]:
    """Train a network on one curator's records; returns the model and the noised number of units.

    Args:
        spec: what to learn.
        aggregator: one guard.
        shape: of the network and its training.

    Raises:
        Refused: if the plan is refused; nothing is charged then.
        MissingExtra: without PyTorch.
        UsageError: for several sites: a network trains with its curator.
    """
    if not isinstance(aggregator, Curator):
        raise UsageError("Expected one curator: PyTorch trains where the records are. Several sites train a network by fit_shared_network.")
    require_torch()
    shape = shape or NetworkShape()
    plan = planned_network(spec, aggregator, shape, outlays=preparation(undeclared=len(spec.asked), binned=len(spec.features)))
    tested = tested_step(plan, shape)
    conversation = aggregator.open(plan)
    try:
        size = counted(conversation)
        frame, first = converse(_prepared(Preparation(spec, aggregator, plan, size, next_step=1)), conversation)
        training = training_plan(spec, aggregator, shape, plan=plan, size=size, first=first)
        layers = _trained(frame, shape, training, conversation=conversation, first=first)
        return NetworkModel(frame, layers, conversation.guarantee, provenance_of(plan, conversation, aggregator), evidence=(tested,)), size
    finally:
        conversation.close()


def training_plan(spec: LearnSpec, aggregator: Curator, shape: NetworkShape, *, plan: Plan, size: int, first: int) -> TrainingPlan:
    """The training part of a charged plan; the normaliser follows from the noised count."""
    from tacit.networks.plan import TrainingPlan

    step = plan.step(first)
    return TrainingPlan(
        spec.budget, shape.steps, step.sampler, max(1, round(shape.rate * size)), step.noise_multiplier, clip=shape.clip, unit=aggregator.unit,
        rows_per_unit=aggregator.rows_per_unit, relation=aggregator.relation, run=plan.run,
    )


def counted(conversation: CuratorConversation) -> int:
    """The noised number of units: the first step of such a plan."""
    return max(0, round(int(conversation.ask(0, UnitCount())[0]) / GRID))


def require_torch() -> None:
    """Raise `MissingExtra` without PyTorch."""
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingExtra("torch", purpose="training networks") from error


def planned_network(spec: LearnSpec, aggregator: Curator, shape: NetworkShape, *, outlays: list[Outlay]) -> Plan:
    """All steps; what is left of the budget beside count and bins decides the network's noise."""
    policy = aggregator.guard.policy
    rule = Filter(spec.budget, policy.relation, policy.filter)
    others = [] if policy.filter == "single" else [aggregator.count_cost]
    mu = mu_for(spec.budget)
    count = PlanStep(UnitCount.kind, 1, 1 / (mu * math.sqrt(COUNT_SHARE)), 1, l0=1, l2=GRID)
    before = (count, *(step_of(outlay, mu * mu, aggregator) for outlay in outlays))
    run = spec.run or secrets.token_hex(16)

    def whole(noise: float) -> Plan:
        network = PlanStep(_KIND, shape.steps, noise, _CELLS, sampler=Sampler.poisson(shape.rate))
        steps = (*before, network)
        return Plan(spec.purpose, aggregator.unit, aggregator.relation, steps, selection_delta=selection_delta(outlays, spec.budget), run=run)

    return whole(least_noise(lambda noise: [*others, plan_cost(whole(noise))], rule, 2e-4))


def tested_step(plan: Plan, shape: NetworkShape) -> dict[str, Any]:
    """What the model keeps of the step's test on made-up gradients, which comes before anything is charged.

    Raises:
        VerificationError: if the step is not what the plan promises.
    """
    from tacit.networks.rehearsal import rehearse

    return rehearse(plan.steps[-1], shape.clip, plan.relation).to_dict()


def _prepared(preparation_: Preparation) -> Steps[tuple[Frame, int]]:
    frame = yield from preparation_.steps()
    return frame, preparation_.next_step


def _trained(
    frame: Frame, shape: NetworkShape, plan: TrainingPlan, *, conversation: CuratorConversation, first: int,
) -> tuple[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]], ...]:
    import torch
    from torch import nn

    from tacit.networks.step import trainer
    from tacit.networks.tabular import tensors_of

    session = conversation.session
    data = tensors_of(
        session.local_records, lambda columns, rows: inputs_of(frame.binning, columns, rows), frame.target, columns=frame.binning.domain.names,
        rows_per_unit=plan.rows_per_unit, source=session.source,
    )
    model = network(width_of(frame.binning), shape.hidden, frame.target.outputs, run=plan.run)
    optimiser = torch.optim.Adam(model.parameters(), lr=shape.learning_rate)
    step = trainer(model, loss_of(frame.loss), optimiser, shape=(plan, first), data=data, conversation=conversation)
    averaged(step, shape)
    linear = [module for module in model if isinstance(module, nn.Linear)]
    return tuple((m.weight.detach().double().numpy(), m.bias.detach().double().numpy()) for m in linear)


def averaged(step: PrivateStep, shape: NetworkShape) -> None:
    """Train to the end and leave the running mean of the iterates in the model: free, because every iterate is private."""
    mean, keep = step.engine.flat.values.clone(), 1 - 1 / max(1.0, shape.averaging * shape.steps)
    for done in range(shape.steps):
        step()
        mean.lerp_(step.engine.flat.values, 1 - min(keep, (done + 1) / (done + 10)))
    step.engine.flat.values.copy_(mean)


def network(width: int, hidden: tuple[int, ...], outputs: int, *, run: str) -> nn.Sequential:
    """Starting weights are public: they follow from the run's name."""
    import torch
    from torch import nn

    from tacit.crypto import PublicSeed

    rng = PublicSeed.of(study="network", roster=(), run=run).generator("weights")
    layers: list[nn.Module] = []
    for size in (*hidden, outputs):
        layer, scale = nn.Linear(width, size), math.sqrt((2.0 if layers or hidden else 1.0) / max(1, width))
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(rng.normal(0, scale, (size, width)).astype(np.float32)))
            layer.bias.zero_()
        layers += [layer, nn.ReLU()]
        width = size
    with torch.no_grad():
        layers[-2].weight.mul_(0.1)
    return nn.Sequential(*layers[:-1])


def loss_of(name: str) -> Any:
    """One loss per record, by the name of a frame's loss."""
    import torch.nn.functional as F

    if name == "softmax":
        return lambda out, y: F.cross_entropy(out, y, reduction="none")
    if name == "logistic":
        return lambda out, y: F.binary_cross_entropy_with_logits(out[:, 0], y.to(out.dtype), reduction="none")
    return lambda out, y: 0.5 * (out[:, 0] - y).square()
