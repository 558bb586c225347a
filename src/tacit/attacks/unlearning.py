"""Was something really forgotten? A model after unlearning is held against one that was trained without the records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tacit.attacks.judging import AttackResult, evaluate
from tacit.attacks.sample import Trials
from tacit.attacks.targets import as_target

MARGIN = 0.05


@dataclass(frozen=True)
class Forgetting:
    """What was found.

    Args:
        result: how well forgotten records are told from others by how much surer the model is than the retrained one.
        before: the same for the model before unlearning, if it was passed: what there was to forget.
    """

    result: AttackResult
    before: AttackResult | None

    @property
    def verdict(self) -> str:
        """``not forgotten``, ``forgotten as by retraining, to within ...``, or ``cannot be told``. Never «safe»."""
        if self.result.leaks:
            return "not forgotten"
        if self.before is not None and not self.before.leaks:
            return "cannot be told: the model before unlearning did not show the records either"
        if self.result.auc_high <= 0.5 + MARGIN:
            return f"forgotten as by retraining, to within an AUC of {self.result.auc_high:.3f}"
        return f"cannot be told: an AUC of up to {self.result.auc_high:.3f} is not excluded; check more records"


def check_unlearning(after: Any, forgotten: Any, others: Any, *, retrained: Any, before: Any = None, access: str = "logits") -> Forgetting:
    """Compare a model that unlearned with one that never learned.

    Args:
        after: the model after unlearning.
        forgotten: ``(X, y)`` that it was to forget.
        others: ``(X, y)`` of the same kind that no model learned.
        retrained: the control: trained on the same records but the forgotten ones.
        before: the model before unlearning, to see whether there was anything to forget.
        access: what the attacker sees of answers.

    Raises:
        UsageError: for too few records.
    """
    trials = Trials.of(forgotten, others)

    def surer(model: Any) -> AttackResult:
        values = []
        for one in (model, retrained):
            asked = as_target(one, access=access)
            answers = asked.answers(trials.X, access=access)
            values.append(next(iter(asked.labels(trials.y, answers).confidence(answers).values())))
        return evaluate("surer than without the records", trials.per_unit(np.asarray(values[0] - values[1])), trials.is_member, shadows=1)

    return Forgetting(surer(after), None if before is None else surer(before))
