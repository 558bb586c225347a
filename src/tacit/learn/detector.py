"""The scikit-learn estimator of anomalies."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import OutlierMixin

from tacit.domain import Domain
from tacit.errors import UsageError
from tacit.guarantee import Budget
from tacit.guard import Books, Curator
from tacit.learn.anomaly import TREES, UNLABELLED, AnomalyShape, fit_anomaly
from tacit.learn.estimators import _Private
from tacit.learn.inputs import is_named
from tacit.learn.subspace import fit_subspace
from tacit.learn.training import LearnSpec, TargetSpec
from tacit.models import AnomalyModel, SubspaceModel


class AnomalyDetector(OutlierMixin, _Private):  # type: ignore[misc]
    """Private anomaly detection without labels: rare cells of feature bins and random trees, or distance along principal components.

    See `tacit.learn.anomaly` and `tacit.learn.subspace`.

    Learn from records that are mostly usual; a few per cent of attacks among them do little harm.

    Args:
        budget: what one fit may cost.
        domain: public knowledge about the columns; found by charged questions where it is missing.
        contamination: which share of records like those of the fit is called an outlier by `predict`.
        relation: the neighbouring relation.
        rows_per_unit: public assumption on how many rows a unit has, where ``fit`` gets a unit.
        method: ``"trees"``, or ``"components"``, for which trees and depth mean nothing.
        trees: random trees beside the feature bins.
        depth: levels of a tree; by default as many as noise and number of units allow to see.
        ledger: where to charge; as in `BoostedTreesClassifier`, and so is ``total``.
        test_seed: deterministic noise. **The result has no guarantee**, and says so.

    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(20_000, 4))
    >>> found = AnomalyDetector(Budget(epsilon=1, delta=1e-6), contamination=0.05).fit(X).predict([[0, 0, 0, 0], [6, -6, 6, -6]])
    >>> found.tolist()
    [1, -1]
    """

    def __init__(
        self, budget: Budget | None = None, *, domain: Domain | str | None = None, contamination: float = 0.01, relation: str = "add/remove",
        rows_per_unit: int = 10, method: str = "trees", trees: int = TREES, depth: int | None = None, ledger: Books | None = None,
        total: Budget | None = None, test_seed: int | None = None,
    ) -> None:
        self.budget, self.domain, self.contamination, self.relation, self.rows_per_unit = budget, domain, contamination, relation, rows_per_unit
        self.method, self.trees, self.depth, self.ledger, self.total, self.test_seed = method, trees, depth, ledger, total, test_seed

    def fit(self, X: Any, y: Any = None, unit: Any = None) -> Any:
        """Learn privately; ``y`` is ignored. See `BoostedTreesClassifier.fit`."""
        budget = self._checked_parameters()
        if self.method not in ("trees", "components"):
            raise UsageError(f"Expected method to be trees or components; got {self.method!r}.")
        return self._fit_table(self._table_to_fit(X), unit, budget=budget, named=is_named(X))

    def score_samples(self, X: Any) -> NDArray[np.float64]:
        """Minus the nats by which a record is rarer than a typical one: float64 ``[rows]``, lower is more unusual."""
        table = self._table(X)
        return np.asarray(-self.model_.margins(table)[:, 0], np.float64)

    def unusual(self, X: Any) -> NDArray[np.float64]:
        """Which share of the training records is less unusual, by noisy counts: float64 ``[rows]``."""
        table = self._table(X)
        return np.asarray(self.model_.predict_proba(table)[:, 1], np.float64)

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """`score_samples`, shifted so that outliers are below zero."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> NDArray[np.int64]:
        """1 for usual, -1 for unusual: ``[rows]``."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    @property
    def offset_(self) -> float:
        """The score below which a record is an outlier: the model's noisy quantile of ``contamination``."""
        if not isinstance(self.model_, AnomalyModel | SubspaceModel):
            raise UsageError("Expected a fitted detector.")
        return -self.model_.margin_at(1 - self.contamination)

    def _fit(self, spec: LearnSpec, aggregator: Curator) -> AnomalyModel | SubspaceModel:
        if self.method == "components":
            return fit_subspace(spec, aggregator)
        return fit_anomaly(spec, aggregator, AnomalyShape(self.trees, self.depth))

    def _target_spec(self) -> TargetSpec:
        return UNLABELLED
