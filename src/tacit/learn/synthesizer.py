"""Made-up records, for one machine and one curator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from tacit.domain import Domain
from tacit.errors import UsageError
from tacit.guarantee import Budget
from tacit.guard import Books, Curator
from tacit.learn.estimators import _Private
from tacit.learn.graphical import sample_records
from tacit.learn.inputs import is_named
from tacit.learn.synthesis import EVERY_COLUMN, SynthesisShape, fit_synthetic
from tacit.learn.training import LearnSpec, TargetSpec
from tacit.models import SyntheticModel


class Synthesizer(_Private, BaseEstimator):  # type: ignore[misc]
    """Records that look like yours and are nobody's: noisy contingency tables and a graphical model. Drawing needs the extra «synthetic».

    Args:
        budget: what one fit may cost; records drawn afterwards cost nothing.
        domain: public knowledge about the columns; found by charged questions where it is missing.
        about: a column whose relation to all others matters most, such as the label that a model will be trained for.
        whole: columns whose numbers are whole.
        bins: the most bins of a column in a table.
        relation: the neighbouring relation.
        rows_per_unit: public assumption on how many rows a unit has, where ``fit`` gets a unit.
        ledger: where to charge; as in `BoostedTreesClassifier`, and so is ``total``.
        test_seed: deterministic noise. **The result has no guarantee**, and says so.
    """

    def __init__(
        self, budget: Budget | None = None, *, domain: Domain | str | None = None, about: str | None = None, whole: Sequence[str] = (),
        bins: int = 16, relation: str = "add/remove", rows_per_unit: int = 10, ledger: Books | None = None, total: Budget | None = None,
        test_seed: int | None = None,
    ) -> None:
        self.budget, self.domain, self.about, self.whole, self.bins = budget, domain, about, whole, bins
        self.relation, self.rows_per_unit, self.ledger, self.total, self.test_seed = relation, rows_per_unit, ledger, total, test_seed

    def fit(self, X: Any, y: Any = None, unit: Any = None) -> Any:
        """Release the tables; ``y`` is ignored: a label is a column of X like the others. See `BoostedTreesClassifier.fit`."""
        budget = self._checked_parameters()
        return self._fit_table(self._table_to_fit(X), unit, budget=budget, named=is_named(X))

    def sample(self, rows: int | None = None, *, seed: int | None = None) -> dict[str, NDArray[np.generic]]:
        """Made-up records, column by column; as many as there were if ``rows`` is ``None``. See `sample_records`."""
        if not hasattr(self, "model_"):
            raise UsageError("Expected a fitted synthesizer; call fit first.")
        return sample_records(self.model_, rows, seed=seed)

    def _fit(self, spec: LearnSpec, aggregator: Curator) -> SyntheticModel:
        return fit_synthetic(spec, aggregator, SynthesisShape(self.bins, min(8, self.bins), self.about, tuple(self.whole)))

    def _target_spec(self) -> TargetSpec:
        return EVERY_COLUMN
