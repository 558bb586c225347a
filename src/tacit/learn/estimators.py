"""scikit-learn estimators over the learners: one machine, one curator, one budget per fit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d, validate_data

from tacit.domain import Domain
from tacit.errors import UsageError
from tacit.guarantee import Budget, Guarantee, PrivacyUnit, Relation
from tacit.guard import Books, Curator, Guard, Limits, MemoryBooks, Policy, Records
from tacit.learn.boosting import DEPTH, PASSES, TREES, BoostingShape
from tacit.learn.fullbatch import FullBatchShape, fit_full_batch
from tacit.learn.regression import fit_linear
from tacit.learn.training import LearnSpec, TargetSpec, fit_boosted
from tacit.models import AdditiveModel, LinearModel
from tacit.randomness import SecureRandom

COUNT_SHARE = 0.0025
_TARGET = "(target)"
_UNIT = "(unit)"


class _Private(BaseEstimator):  # type: ignore[misc]
    """What all estimators share: from arrays or frames to a guard, a spec and a model."""

    _task: ClassVar[str] = "classify"

    def fit(self, X: Any, y: Any, unit: Any = None) -> Any:
        """Learn privately.

        Args:
            X: matrix ``[rows, features]``, or a frame or table with named columns; text columns are categories.
            y: labels ``[rows]``.
            unit: who each row is about, ``[rows]``; rows of one unit are protected together. Without it, every row is its own unit.

        Returns:
            The estimator, with ``model_``, ``guarantee_`` and ``ledger_``.

        Raises:
            Refused: if the ledger in ``ledger`` does not allow it.
            DataError: if the target cannot be learned from what the budget lets one see.
        """
        budget = self._budget()
        table, target = self._checked(X, y)
        columns = {**table, _TARGET: pa.array(target)}
        if unit is not None:
            check_consistent_length(y, unit)
            columns[_UNIT] = pa.array(np.asarray(unit))
        self._learn(columns, tuple(table), budget, grouped=unit is not None)
        return self

    def _learn(self, columns: dict[str, pa.Array], features: tuple[str, ...], budget: Budget, *, grouped: bool) -> None:
        unit = PrivacyUnit("unit", column=_UNIT) if grouped else PrivacyUnit()
        policy = Policy(
            dataset="fit", unit=unit, relation=Relation(self.relation), budget=budget, count_share=COUNT_SHARE,
            rows_per_unit=self.rows_per_unit if grouped else 1, limits=Limits(minimum_units=0),
        )
        self.ledger_: Books = MemoryBooks() if self.ledger is None else self.ledger
        source = None if self.test_seed is None else SecureRandom.for_testing(self.test_seed)
        guard = Guard(Records.open(pa.table(columns), unit=unit), policy=policy, ledger=self.ledger_, source=source)
        spec = LearnSpec(features, self._target_spec(), budget, domain=self._domain(features), seed=self._structure_seed())
        self.model_: AdditiveModel | LinearModel = self._fit(spec, Curator(guard))
        self.guarantee_: Guarantee = self.model_.guarantee
        self.size_ = guard.size()

    def _fit(self, spec: LearnSpec, aggregator: Curator) -> AdditiveModel | LinearModel:
        raise NotImplementedError

    def _budget(self) -> Budget:
        if not isinstance(self.budget, Budget):
            raise UsageError(f"Expected budget=Budget(epsilon=..., delta=...); got {type(self.budget).__name__}. There is no sensible default.")
        return self.budget

    def _structure_seed(self) -> bytes | None:
        return None if self.test_seed is None else int(self.test_seed).to_bytes(16, "big", signed=True)

    def _domain(self, features: tuple[str, ...]) -> Domain | None:
        if self.domain is None:
            return None
        domain = self.domain if isinstance(self.domain, Domain) else Domain.load(Path(self.domain))
        return Domain(tuple((name, kind) for name, kind in domain.columns if name in features))

    def _checked(self, X: Any, y: Any) -> tuple[dict[str, pa.Array], NDArray[Any]]:
        named = _named_columns(X)
        if named is None:
            matrix, y = validate_data(self, X, y, dtype="numeric", ensure_all_finite="allow-nan", y_numeric=self._task == "predict")
            named = {name: pa.array(matrix[:, i]) for i, name in enumerate(self._names(matrix.shape[1]))}
        else:
            self.n_features_in_, self.feature_names_in_ = len(named), np.array(list(named), dtype=object)
            check_consistent_length(y, next(iter(named.values())))
        labels = column_or_1d(y, warn=True)
        if self._task == "classify":
            check_classification_targets(labels)
        self._label_type = labels.dtype
        return named, labels.astype(str) if self._task == "classify" and labels.dtype == object else labels

    def _names(self, count: int) -> tuple[str, ...]:
        names = getattr(self, "feature_names_in_", None)
        return tuple(f"x{i}" for i in range(count)) if names is None else tuple(str(name) for name in names)

    def _table(self, X: Any) -> dict[str, pa.Array]:
        check_is_fitted(self, "model_")
        named = _named_columns(X)
        if named is not None:
            return named
        matrix = validate_data(self, X, reset=False, dtype="numeric", ensure_all_finite="allow-nan")
        return {name: pa.array(matrix[:, i]) for i, name in enumerate(self._names(matrix.shape[1]))}

    def _target_spec(self) -> TargetSpec:
        raise NotImplementedError

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.non_deterministic = True
        return tags


def _named_columns(X: Any) -> dict[str, pa.Array] | None:
    """Columns by name of a frame or a table; ``None`` for a matrix."""
    if isinstance(X, pa.Table):
        table = X
    elif hasattr(X, "__arrow_c_stream__") or isinstance(X, dict):
        table = pa.table(X)
    else:
        return None
    return {name: _whole(table.column(name)) for name in table.column_names if not name.startswith("__index_level_")}


def _whole(column: pa.ChunkedArray) -> pa.Array:
    whole = column.combine_chunks()
    return whole.cast(whole.type.value_type) if pa.types.is_dictionary(whole.type) else whole


class _PrivateClassifier(ClassifierMixin, _Private):  # type: ignore[misc]
    _task = "classify"

    def _target_spec(self) -> TargetSpec:
        declared = None if self.classes is None else tuple(_text(value) for value in self.classes)
        return TargetSpec(_TARGET, classes=declared)

    def _learn(self, columns: dict[str, pa.Array], features: tuple[str, ...], budget: Budget, *, grouped: bool) -> None:
        super()._learn(columns, features, budget, grouped=grouped)
        self.classes_ = self._as_labels(self.model_.classes)

    def _as_labels(self, classes: Sequence[str]) -> NDArray[Any]:
        """Public classes in the type that the caller's labels have."""
        kind = self._label_type
        if kind.kind in "iuf":
            return np.array([float(name) for name in classes]).astype(kind)
        if kind.kind == "b":
            return np.array([name == "true" for name in classes])
        return np.array(list(classes), dtype=object if kind.kind == "O" else None)

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Probability of each class: float64 ``[rows, classes]``, in the order of ``classes_``."""
        table = self._table(X)
        return np.asarray(self.model_.predict_proba(table), np.float64)

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Margins: float64 ``[rows]`` for two classes, else ``[rows, classes]``."""
        table = self._table(X)
        margins = np.asarray(self.model_.margins(table), np.float64)
        return margins[:, 0] if margins.shape[1] == 1 else margins

    def predict(self, X: Any) -> NDArray[Any]:
        """The most probable class of every row."""
        probabilities = self.predict_proba(X)
        return np.asarray(self.classes_[np.argmax(probabilities, axis=1)])


class _PrivateRegressor(RegressorMixin, _Private):  # type: ignore[misc]
    _task = "predict"

    def _target_spec(self) -> TargetSpec:
        return TargetSpec(_TARGET, task="predict", bounds=self.bounds)

    def predict(self, X: Any) -> NDArray[np.float64]:
        """The expected value of every row, within the public bounds: float64 ``[rows]``."""
        table = self._table(X)
        return np.asarray(self.model_.predict(table), np.float64)


def _text(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    return str(int(value)) if isinstance(value, float | np.floating) and float(value).is_integer() and math.isfinite(value) else str(value)


class BoostedTreesClassifier(_PrivateClassifier):
    """Private boosting: feature bins, then random oblivious trees.

    Args:
        budget: what the fit may cost; there is no default.
        domain: public bounds and categories, as a `Domain` or a file; what it lacks is found by charged questions.
        classes: the public classes; found by a charged question if ``None``.
        relation: the neighbouring relation.
        rows_per_unit: public assumption on how many rows a unit has, where ``fit`` gets a unit.
        trees: random trees after the passes over single features.
        depth: levels of a tree.
        passes: passes over the single features.
        ledger: where to charge; a ledger of the fit's own, in memory, if ``None``.
        test_seed: deterministic noise. **The result has no guarantee**, and says so.

    Guarantees:
        ``guarantee_`` covers the model and everything derived from it, per unit given to ``fit``; at most ``budget``.

    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(3000, 3))
    >>> model = BoostedTreesClassifier(budget=Budget(epsilon=1, delta=1e-6)).fit(X, X[:, 0] > 0)
    >>> bool(model.guarantee_.epsilon <= 1)
    True
    """

    def __init__(
        self, budget: Budget | None = None, *, domain: Domain | str | None = None, classes: Sequence[Any] | None = None,
        relation: str = "add/remove", rows_per_unit: int = 10, trees: int = TREES, depth: int = DEPTH, passes: int = PASSES,
        ledger: Books | None = None, test_seed: int | None = None,
    ) -> None:
        self.budget, self.domain, self.classes, self.relation, self.rows_per_unit = budget, domain, classes, relation, rows_per_unit
        self.trees, self.depth, self.passes, self.ledger, self.test_seed = trees, depth, passes, ledger, test_seed

    def _fit(self, spec: LearnSpec, aggregator: Curator) -> AdditiveModel:
        return fit_boosted(spec, aggregator, BoostingShape(self.passes, self.trees, self.depth))


class BoostedTreesRegressor(_PrivateRegressor):
    """Private boosting of a number; see `BoostedTreesClassifier`. ``bounds`` are the public bounds of the target, found if ``None``."""

    def __init__(
        self, budget: Budget | None = None, *, domain: Domain | str | None = None, bounds: tuple[float, float] | None = None,
        relation: str = "add/remove", rows_per_unit: int = 10, trees: int = TREES, depth: int = DEPTH, passes: int = PASSES,
        ledger: Books | None = None, test_seed: int | None = None,
    ) -> None:
        self.budget, self.domain, self.bounds, self.relation, self.rows_per_unit = budget, domain, bounds, relation, rows_per_unit
        self.trees, self.depth, self.passes, self.ledger, self.test_seed = trees, depth, passes, ledger, test_seed

    def _fit(self, spec: LearnSpec, aggregator: Curator) -> AdditiveModel:
        return fit_boosted(spec, aggregator, BoostingShape(self.passes, self.trees, self.depth))


class AdditiveClassifier(_PrivateClassifier):
    """A private additive model over feature bins (and, if asked, random trees), fitted all at once by full-batch noisy gradients.

    Its shape functions are read feature by feature. Arguments as in `BoostedTreesClassifier`; ``iterations`` gradient steps.
    """

    def __init__(
        self, budget: Budget | None = None, *, domain: Domain | str | None = None, classes: Sequence[Any] | None = None,
        relation: str = "add/remove", rows_per_unit: int = 10, trees: int = 0, depth: int = 4, iterations: int = 60,
        ledger: Books | None = None, test_seed: int | None = None,
    ) -> None:
        self.budget, self.domain, self.classes, self.relation, self.rows_per_unit = budget, domain, classes, relation, rows_per_unit
        self.trees, self.depth, self.iterations, self.ledger, self.test_seed = trees, depth, iterations, ledger, test_seed

    def _fit(self, spec: LearnSpec, aggregator: Curator) -> AdditiveModel:
        return fit_full_batch(spec, aggregator, FullBatchShape(self.iterations, self.trees, self.depth))


class AdditiveRegressor(_PrivateRegressor):
    """`AdditiveClassifier` for a number; ``bounds`` are the public bounds of the target, found if ``None``."""

    def __init__(
        self, budget: Budget | None = None, *, domain: Domain | str | None = None, bounds: tuple[float, float] | None = None,
        relation: str = "add/remove", rows_per_unit: int = 10, trees: int = 0, depth: int = 4, iterations: int = 60,
        ledger: Books | None = None, test_seed: int | None = None,
    ) -> None:
        self.budget, self.domain, self.bounds, self.relation, self.rows_per_unit = budget, domain, bounds, relation, rows_per_unit
        self.trees, self.depth, self.iterations, self.ledger, self.test_seed = trees, depth, iterations, ledger, test_seed

    def _fit(self, spec: LearnSpec, aggregator: Curator) -> AdditiveModel:
        return fit_full_batch(spec, aggregator, FullBatchShape(self.iterations, self.trees, self.depth))


class LinearClassifier(_PrivateClassifier):
    """Private logistic regression by full-batch noisy gradients over a public design. Arguments as in `BoostedTreesClassifier`."""

    def __init__(
        self, budget: Budget | None = None, *, domain: Domain | str | None = None, classes: Sequence[Any] | None = None,
        relation: str = "add/remove", rows_per_unit: int = 10, iterations: int = 40, ledger: Books | None = None, test_seed: int | None = None,
    ) -> None:
        self.budget, self.domain, self.classes, self.relation, self.rows_per_unit = budget, domain, classes, relation, rows_per_unit
        self.iterations, self.ledger, self.test_seed = iterations, ledger, test_seed

    def _fit(self, spec: LearnSpec, aggregator: Curator) -> LinearModel:
        return fit_linear(spec, aggregator, iterations=self.iterations)


class LinearRegressor(_PrivateRegressor):
    """Private ridge regression from one answer about second moments (Wang 2018). ``bounds`` are the target's public bounds."""

    def __init__(
        self, budget: Budget | None = None, *, domain: Domain | str | None = None, bounds: tuple[float, float] | None = None,
        relation: str = "add/remove", rows_per_unit: int = 10, ledger: Books | None = None, test_seed: int | None = None,
    ) -> None:
        self.budget, self.domain, self.bounds, self.relation, self.rows_per_unit = budget, domain, bounds, relation, rows_per_unit
        self.ledger, self.test_seed = ledger, test_seed

    def _fit(self, spec: LearnSpec, aggregator: Curator) -> LinearModel:
        return fit_linear(spec, aggregator, iterations=1)


class DetectionClassifier(BoostedTreesClassifier):
    """The one to start with: chooses for the user, and spends nothing on the choice.

    What it chooses depends only on what is public or paid for: the budget, the number and kinds of columns, and noisy answers of the fit
    itself. At present that is boosting with the settings that did best over flows, census, fraud and intrusion records at every ε
    (``docs/decisions/0003-one-default.md``); the constructor leaves nothing to tune.
    """

    def __init__(
        self, budget: Budget | None = None, *, domain: Domain | str | None = None, classes: Sequence[Any] | None = None,
        relation: str = "add/remove", rows_per_unit: int = 10, ledger: Books | None = None, test_seed: int | None = None,
    ) -> None:
        super().__init__(
            budget, domain=domain, classes=classes, relation=relation, rows_per_unit=rows_per_unit, ledger=ledger, test_seed=test_seed,
        )
