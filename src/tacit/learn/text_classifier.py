"""The scikit-learn estimator over `tacit.learn.sequence`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from tacit.domain import Domain
from tacit.errors import UsageError
from tacit.guarantee import Budget
from tacit.guard import Books, Curator
from tacit.learn.estimators import _PrivateClassifier
from tacit.learn.inputs import is_named
from tacit.learn.sequence import SequenceShape, fit_sequence
from tacit.learn.training import LearnSpec
from tacit.models.sequence import SequenceModel


class SequenceClassifier(_PrivateClassifier):
    """A private detector over texts: command lines, URLs, sequences of events. Needs the extra «torch».

    Args:
        budget: (ε, δ) for the whole fit.
        classes: the public classes; they have to be declared.
        relation: ``"add/remove"`` or ``"zero-out"``.
        rows_per_unit: with units, how many texts of each take part.
        shape: of tokens, model and training.
        ledger: where the fit is charged, as one plan that leaves no room for another; in memory if ``None``.
        total: budget of the ledger's scope; that of the fit if ``None``.
        test_seed: for tests: fixes all noise, and nothing is guaranteed.
    """

    _filter = "single"
    domain: Domain | None = None

    def __init__(
        self, budget: Budget | None = None, *, classes: Any = None, relation: str = "add/remove", rows_per_unit: int = 10,
        shape: SequenceShape | None = None, ledger: Books | None = None, total: Budget | None = None, test_seed: int | None = None,
    ) -> None:
        self.budget, self.classes, self.relation, self.rows_per_unit = budget, classes, relation, rows_per_unit
        self.shape, self.ledger, self.total, self.test_seed = shape, ledger, total, test_seed

    def _table_to_fit(self, X: Any) -> pa.Table:
        table = super()._table_to_fit(_named(X))
        if table.num_columns != 1:
            raise UsageError(f"Expected one column of text; got {table.num_columns}. Join them, or pass the one that matters.")
        return table

    def _table(self, X: Any) -> pa.Table:
        return super()._table(_named(X))

    def _fit(self, spec: LearnSpec, aggregator: Curator) -> SequenceModel:
        model, self.size_ = fit_sequence(spec, aggregator, self.shape)
        return model


def _named(X: Any) -> Any:
    if is_named(X):
        return X
    values = np.asarray(X, dtype=object)
    if values.ndim != 1:
        raise UsageError(f"Expected a list of texts, or a frame with one column; got an array with {values.ndim} axes.")
    return {"text": pa.array([None if text is None else str(text) for text in values.tolist()])}
