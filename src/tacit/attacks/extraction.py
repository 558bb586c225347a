"""Extraction: how much of a model somebody takes away who may only ask it (Tramer et al. 2016; Orekondy et al. 2019).

The thief asks about records of his own, trains a model on the answers, and is judged by how often his model answers as the target does on records
that neither saw. What he reaches with the labels that he has anyway is the control.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from tacit.attacks.outcome import Outcome, paired
from tacit.attacks.perceptrons import NetworkRecipe, Networks, train_networks
from tacit.attacks.signals import readings
from tacit.attacks.tables import Encoder, as_table, rows_of, take
from tacit.attacks.targets import as_target
from tacit.errors import UsageError

STRATEGIES = ("in distribution", "random", "adaptive")
_RECIPE = NetworkRecipe((64, 64), epochs=60, rate=2e-3)
_FIRST, _ROUNDS = 0.25, 4


@dataclass(frozen=True)
class Thief:
    """What the attacker does.

    Args:
        strategy: asks about records like real ones (``in distribution``), about made-up ones with every column drawn anew (``random``), or again and
            again about those of his records that his model is least sure of (``adaptive``).
        queries: how many records he asks about.
        recipe: of his model.
        seed: of his draws.
    """

    strategy: str = "in distribution"
    queries: int = 1_000
    recipe: NetworkRecipe = _RECIPE
    seed: int = 0

    def __post_init__(self) -> None:
        if self.strategy not in STRATEGIES or self.queries < 20:
            raise UsageError(f"Expected a strategy among {', '.join(STRATEGIES)} and at least 20 queries; got {self.strategy!r} and {self.queries}.")


def attack_extraction(target: Any, own: Any, test: Any, *, labels: Any = None, thief: Thief | None = None, access: str = "probabilities") -> Outcome:
    """Extract a classifier.

    Args:
        target: see `as_target`.
        own: records that the thief has; none that the target learned from are needed.
        test: records on which his model is compared with the target.
        labels: true labels of ``own``, as class numbers, where the thief has them: what he can do without the target. Without them the control is to
            answer what the target answers most.
        thief: how he goes about it.
        access: what he sees of answers.

    Returns:
        Agreement on ``test``, beside the control's.

    Raises:
        UsageError: for a target that does not answer with probabilities, logits or labels of classes.
    """
    chosen, asked = thief or Thief(), as_target(target, access=access)
    own, test = as_table(own), as_table(test)
    scale = Encoder.of(own)
    truth = _matrix(asked.answers(test, access=access)).argmax(axis=1)
    stolen = _steal(asked.answers, own, scale, chosen, access=access)
    agrees = (stolen.logits(scale(test))[0].argmax(axis=1) == truth).astype(np.float64)
    alone = _without(own, labels, scale, chosen, classes=stolen.layers[-1][0].shape[2])
    without = np.bincount(truth).argmax() == truth if alone is None else alone.logits(scale(test))[0].argmax(axis=1) == truth
    low, high = paired(agrees, without.astype(np.float64))
    return Outcome(
        f"extraction, {chosen.strategy}", "TA401", float(agrees.mean()), float(without.mean()), low, high, "share of answers that agree",
        "whoever may ask takes away a copy that answers as the model does", {"queries": chosen.queries, "access": access, "tested": len(truth)},
    )


def _steal(ask: Any, own: Any, scale: Encoder, thief: Thief, *, access: str) -> Networks:
    rng = np.random.default_rng(thief.seed)
    if thief.strategy == "random":
        asked = _made_up(own, thief.queries, rng)
        return _copied(scale(asked), _matrix(ask(asked, access=access)), thief, rng)
    order = rng.permutation(rows_of(own))
    if thief.strategy == "in distribution":
        asked = take(own, np.resize(order, min(thief.queries, len(order))))
        return _copied(scale(asked), _matrix(ask(asked, access=access)), thief, rng)
    known = order[: max(20, round(_FIRST * min(thief.queries, len(order))))]
    answers = _matrix(ask(take(own, known), access=access))
    for left in range(_ROUNDS, 0, -1):
        model = _copied(scale(take(own, known)), answers, thief, rng)
        rest = np.setdiff1d(order, known)
        more = (min(thief.queries, len(order)) - len(known)) // left
        if not more or not len(rest):
            break
        unsure = np.sort(model.logits(scale(take(own, rest)))[0], axis=1)
        doubtful = rest[np.argsort(unsure[:, -1] - unsure[:, -2], kind="stable")[:more]]
        known = np.concatenate([known, doubtful])
        answers = np.concatenate([answers, _matrix(ask(take(own, doubtful), access=access))])
    return _copied(scale(take(own, known)), answers, thief, rng)


def _matrix(answers: NDArray[Any]) -> NDArray[np.float64]:
    """Answers as probabilities ``[records, classes]``, whatever form they came in."""
    if answers.dtype.kind not in "biuf":
        raise UsageError("Expected probabilities, logits or class numbers; got texts. Wrap the target in a function that gives probabilities.")
    if answers.ndim == 1:
        p = answers if readings(answers)[0] == "probability" or answers.dtype.kind != "f" else 1 / (1 + np.exp(-np.asarray(answers, np.float64)))
        return np.column_stack([1 - p, p]).astype(np.float64) if np.max(p, initial=0) <= 1 else np.eye(int(answers.max()) + 1)[answers.astype(int)]
    if readings(answers)[0] == "logits":
        return np.asarray(softmax(answers, axis=1), np.float64)
    total = answers.sum(axis=1, keepdims=True)
    return np.asarray(answers / np.where(total > 0, total, 1.0), np.float64)


def _copied(inputs: NDArray[np.float32], answers: NDArray[np.float64], thief: Thief, rng: np.random.Generator) -> Networks:
    everybody = np.ones((len(inputs), 1), bool)
    return train_networks(inputs, answers, members=everybody, classes=answers.shape[1], recipe=thief.recipe, rng=rng)


def _without(own: Any, labels: Any, scale: Encoder, thief: Thief, *, classes: int) -> Networks | None:
    if labels is None:
        return None
    codes = np.asarray(labels).astype(np.int64)
    rng = np.random.default_rng(thief.seed)
    places = rng.permutation(rows_of(own))[: thief.queries]
    inputs, everybody = scale(take(own, places)), np.ones((len(places), 1), bool)
    return train_networks(inputs, codes[places], members=everybody, classes=classes, recipe=thief.recipe, rng=rng)


def _made_up(own: Any, count: int, rng: np.random.Generator) -> Any:
    """Records whose columns were drawn each for itself from the thief's own: right in every column, wrong together."""
    import pyarrow as pa

    places: Sequence[NDArray[np.intp]]
    if isinstance(own, pa.Table):
        places = [rng.integers(0, own.num_rows, count) for _ in own.column_names]
        return pa.table({name: own.column(name).take(pa.array(place)) for name, place in zip(own.column_names, places, strict=True)})
    if type(own).__module__.startswith("polars"):
        import polars as pl

        return pl.from_arrow(_made_up(own.to_arrow(), count, rng))
    if hasattr(own, "iloc"):
        return own.iloc[rng.integers(0, len(own), count)].reset_index(drop=True).apply(lambda column: rng.permutation(column.to_numpy()))
    matrix = np.asarray(own)
    flat = matrix.reshape(len(matrix), -1)
    drawn = np.take_along_axis(flat, rng.integers(0, len(flat), (count, flat.shape[1])), axis=0)
    return drawn.reshape(count, *matrix.shape[1:])
