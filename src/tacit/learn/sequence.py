"""Detectors over text: a small transformer, a noised count and clipped gradient sums in one plan."""

from __future__ import annotations

from dataclasses import dataclass, field

from tacit.crypto import PublicSeed
from tacit.errors import UsageError
from tacit.guard import Curator
from tacit.learn.network import NetworkShape, averaged, counted, loss_of, planned_network, require_torch, tested_step, training_plan
from tacit.learn.training import LearnSpec, provenance_of
from tacit.models.sequence import SequenceModel, Tokens


@dataclass(frozen=True)
class SequenceShape:
    """What a sequence model and its training look like. Public.

    Args:
        tokens: how texts become numbers.
        width: of every piece's vector.
        heads: of the attention.
        blocks: of attention and feed-forward map.
        training: rate, steps, clip, learning rate and averaging; its ``hidden`` is not used.
    """

    tokens: Tokens = field(default_factory=Tokens)
    width: int = 32
    heads: int = 2
    blocks: int = 1
    training: NetworkShape = field(default_factory=lambda: NetworkShape(hidden=(), rate=0.05, steps=200, learning_rate=5e-3))

    def __post_init__(self) -> None:
        if not (1 <= self.heads <= self.width <= 1024 and self.width % self.heads == 0 and 1 <= self.blocks <= 16):
            raise UsageError(f"Expected width={self.width} to be a multiple of heads={self.heads}, and blocks={self.blocks} from 1 to 16.")


def fit_sequence(spec: LearnSpec, aggregator: Curator, shape: SequenceShape | None = None) -> tuple[SequenceModel, int]:
    """Train a sequence model on one curator's texts; returns the model and the noised number of units.

    Args:
        spec: one text column, and a target with declared classes.
        aggregator: one guard.
        shape: of the model.

    Raises:
        UsageError: unless there is one feature and the classes are declared.
        Refused: if the plan is refused; nothing is charged then.
        MissingExtra: without PyTorch.
    """
    target, shape = spec.target.declared(), shape or SequenceShape()
    if len(spec.features) != 1 or target is None or target.bounds:
        raise UsageError("Expected one column of text and declared classes: pass classes=[...]. They are not read off the records.")
    require_torch()
    import torch

    from tacit.networks.sequence import TokenNetwork
    from tacit.networks.step import trainer
    from tacit.networks.tabular import tensors_of

    column, tokens = spec.features[0], shape.tokens
    plan = planned_network(spec, aggregator, shape.training, outlays=[])
    tested = tested_step(plan, shape.training)
    conversation = aggregator.open(plan)
    try:
        size, session = counted(conversation), conversation.session
        training = training_plan(spec, aggregator, shape.training, plan=plan, size=size, first=1)
        data = tensors_of(
            session.local_records, lambda columns, rows: tokens.of(columns[column]), target, columns=(column,),
            rows_per_unit=training.rows_per_unit, source=session.source,
        )
        rng = PublicSeed.of(study="sequence", roster=(), run=plan.run).generator("weights")
        model = TokenNetwork(tokens.size, tokens.length, width=shape.width, heads=shape.heads, blocks=shape.blocks, outputs=target.outputs).begin(rng)
        loss = "softmax" if target.outputs > 1 else "logistic"
        optimiser = torch.optim.Adam(model.parameters(), lr=shape.training.learning_rate)
        step = trainer(model, loss_of(loss), optimiser, shape=(training, 1), data=data, conversation=conversation)
        averaged(step, shape.training)
        weights = {name: p.detach().double().numpy().copy() for name, p in model.named_parameters()}
        provenance = provenance_of(plan, conversation, aggregator)
        return SequenceModel(target, loss, column, tokens, shape.heads, weights, conversation.guarantee, provenance, evidence=(tested,)), size
    finally:
        conversation.close()
