"""From a study card to a learner: the closed list of what a federation can be asked to learn."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from tacit.errors import ConfigError
from tacit.federation.study import StudyCard
from tacit.guard import Aggregator
from tacit.questions import CellCounts, CellSums, DenseGradient, Histogram, LinearGradient, MarginCounts, Moments, SpreadCounts

if TYPE_CHECKING:
    from tacit.learn import LearnSpec, SharedShape
    from tacit.models import AdditiveModel, AnomalyModel, LinearModel, NetworkModel, SubspaceModel

Learned: TypeAlias = "AdditiveModel | LinearModel | NetworkModel | AnomalyModel | SubspaceModel"

_BINNED = frozenset({Histogram.kind})
KINDS: dict[str, frozenset[str]] = {
    "boosted-trees": _BINNED | {CellSums.kind}, "additive": _BINNED | {CellSums.kind},
    "linear": frozenset({LinearGradient.kind}), "network": _BINNED | {DenseGradient.kind},
    "anomaly": _BINNED | {CellCounts.kind, MarginCounts.kind}, "components": frozenset({Moments.kind, SpreadCounts.kind}),
}
"""Which kinds of question each learner asks; a plan with another is not the study's."""


def kinds_of(card: StudyCard) -> frozenset[str]:
    """The kinds of question a study can ask, besides the sites' noised counts."""
    if card.learner.kind == "linear" and card.learner.bounds is not None:
        return frozenset({Moments.kind})
    return KINDS[card.learner.kind]


def spec_of(card: StudyCard, *, run: str | None = None) -> LearnSpec:
    """What to learn, as the card says; ``run`` is drawn afresh by default, and begins as all runs of the study do."""
    from tacit.learn import LearnSpec

    return LearnSpec(
        card.domain.names, card.learner.target_spec, card.budget, domain=card.domain, purpose=card.purpose,
        run=run or card.run + secrets.token_hex(8),
    )


def learn(card: StudyCard, aggregator: Aggregator, *, run: str | None = None) -> Learned:
    """Learn what the card asks for.

    Raises:
        Refused: if a site refuses; nothing is charged then.
        RoundAborted: if too few sites were left; what was charged stays charged.
        ConfigError: for a kind that this version does not know.
    """
    from tacit.learn import (
        AnomalyShape,
        BoostingShape,
        FullBatchShape,
        fit_anomaly,
        fit_boosted,
        fit_full_batch,
        fit_linear,
        fit_shared_network,
        fit_subspace,
    )

    spec, sizes, kind = spec_of(card, run=run), dict[str, Any](card.learner.parameters), card.learner.kind
    if kind == "boosted-trees":
        return fit_boosted(spec, aggregator, BoostingShape(**sizes))
    if kind == "additive":
        return fit_full_batch(spec, aggregator, FullBatchShape(**sizes))
    if kind == "linear":
        return fit_linear(spec, aggregator, **sizes)
    if kind == "network":
        return fit_shared_network(spec, aggregator, _shape(sizes))
    if kind == "anomaly":
        return fit_anomaly(spec, aggregator, AnomalyShape(**sizes))
    if kind == "components":
        return fit_subspace(spec, aggregator)
    raise ConfigError(f"Expected a learner that this version knows ({', '.join(KINDS)}); got {kind!r}.")


def _shape(sizes: Mapping[str, Any]) -> SharedShape:
    from tacit.learn import SharedShape

    hidden = sizes.get("hidden", SharedShape.hidden)
    return SharedShape(**{**sizes, "hidden": hidden if isinstance(hidden, tuple) else (hidden,)})
