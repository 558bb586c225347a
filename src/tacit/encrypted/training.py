"""Training a network of squares privately, so that there is one to be scored under encryption. Needs the extra «torch»."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tacit.errors import UsageError
from tacit.guard import Curator, CuratorConversation
from tacit.learn import LearnSpec, NetworkShape
from tacit.learn.network import averaged, counted, loss_of, network, planned_network, require_torch, tested_step, training_plan
from tacit.learn.training import provenance_of
from tacit.models import SquareNetwork
from tacit.questions.linear import DESIGN_UNIT, design, design_names

Layer = tuple[NDArray[np.float64], NDArray[np.float64]]
SQUARES = NetworkShape(hidden=(16,), steps=300, clip=0.5)
"""Fewer units than a network with ReLU would have: what is scored is their quadratic form, whatever their number."""


def fit_squares(spec: LearnSpec, aggregator: Curator, shape: NetworkShape = SQUARES) -> SquareNetwork:
    """Train a network with one hidden layer of squares on one curator's records: noisy clipped gradients (DP-SGD with Adam).

    Its input is `tacit.questions.linear.design`, which follows from the declared domain alone: nothing is spent on bins.

    Args:
        spec: what to learn; features and target are declared.
        aggregator: one guard.
        shape: of the network and its training; one hidden layer.

    Raises:
        UsageError: something is not declared, there is another number of hidden layers, or there are several sites.
        Refused: the plan is refused; nothing is charged then.
        MissingExtra: without PyTorch.
    """
    target = spec.target.declared()
    if spec.asked or target is None or spec.domain is None:
        raise UsageError("Expected a domain with every feature, and a declared target: classes, a positive value or bounds.")
    if not isinstance(aggregator, Curator) or len(shape.hidden) != 1:
        raise UsageError(f"Expected one curator and one hidden layer, because squares of squares cannot be scored; got hidden={shape.hidden}.")
    require_torch()
    plan = planned_network(spec, aggregator, shape, outlays=[])
    tested = tested_step(plan, shape)
    conversation = aggregator.open(plan)
    try:
        training = training_plan(spec, aggregator, shape, plan=plan, size=counted(conversation), first=1)
        domain, (units,) = spec.domain.select(spec.features), shape.hidden
        blank = SquareNetwork.of(target, domain, first=_zeros(units, len(design_names(domain)) - 1), second=_zeros(target.outputs, units))
        first, second = _trained(blank, shape, training, conversation=conversation)
        provenance = provenance_of(plan, conversation, aggregator)
        return replace(blank, first=first, second=second, guarantee=conversation.guarantee, provenance=provenance, evidence=(tested,))
    finally:
        conversation.close()


def _zeros(outputs: int, inputs: int) -> Layer:
    return np.zeros((outputs, inputs)), np.zeros(outputs)


def _trained(blank: SquareNetwork, shape: NetworkShape, plan: Any, *, conversation: CuratorConversation) -> tuple[Layer, Layer]:
    import torch
    from torch import Tensor, nn

    from tacit.networks.step import trainer
    from tacit.networks.tabular import tensors_of

    class Square(nn.Module):  # type: ignore[misc]
        def forward(self, x: Tensor) -> Tensor:
            return x.square()

    def inputs(columns: Any, rows: int) -> NDArray[np.float32]:
        return (design(columns, rows, blank.features)[:, 1:] / DESIGN_UNIT).astype(np.float32)

    session = conversation.session
    data = tensors_of(
        session.local_records, inputs, blank.to, columns=blank.features.names, rows_per_unit=plan.rows_per_unit, source=session.source,
    )
    model = network(blank.first[0].shape[1], shape.hidden, blank.to.outputs, run=plan.run)
    model[1] = Square()
    optimiser = torch.optim.Adam(model.parameters(), lr=shape.learning_rate)
    averaged(trainer(model, loss_of(blank.loss), optimiser, shape=(plan, 1), data=data, conversation=conversation), shape)
    first, second = ((m.weight.detach().double().numpy(), m.bias.detach().double().numpy()) for m in (model[0], model[2]))
    return first, second
