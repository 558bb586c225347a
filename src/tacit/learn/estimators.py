"""scikit-learn estimators over the learners: one machine, one curator, one budget per fit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone
from sklearn.utils.validation import check_is_fitted

from tacit.domain import Domain
from tacit.errors import DataError, UsageError
from tacit.guarantee import Budget, Guarantee, PrivacyUnit, Relation
from tacit.guard import Books, Curator, Guard, Limits, MemoryBooks, Policy, Records
from tacit.learn.boosting import PASSES, TREES, BoostingShape
from tacit.learn.fullbatch import FullBatchShape, fit_full_batch
from tacit.learn.inputs import InvalidInput, is_named, labels_of, matrix_of, table_from, unit_name, units_of
from tacit.learn.network import NetworkShape, fit_network
from tacit.learn.regression import ITERATIONS, fit_linear
from tacit.learn.training import LearnSpec, TargetSpec, fit_boosted
from tacit.models import AdditiveModel, Artefact, LinearModel, NetworkModel
from tacit.randomness import SecureRandom

COUNT_SHARE = 0.0025
_TARGET = "(target)"
_UNIT = "(unit)"
_RANGES = {"rows_per_unit": (1, 1_000_000), "trees": (0, 100_000), "depth": (1, 8), "passes": (0, 1_000), "iterations": (1, 100_000)}


class _Private(BaseEstimator):  # type: ignore[misc]
    """What all estimators share: from arrays or frames to a guard, a spec and a model."""

    _task: ClassVar[str] = "classify"
    _filter: ClassVar[str] = "auto"

    def fit(self, X: Any, y: Any, unit: Any = None) -> Any:
        """Learn privately. Every fit spends anew: see ``ledger``.

        Args:
            X: matrix ``[rows, features]``, or a frame or table with named columns; text columns are categories, times are seconds since 1970.
            y: labels ``[rows]``.
            unit: who each row is about, ``[rows]``; rows of one unit are protected together, and rows whose unit is missing are left out.
                A series with a name, such as «customer», names the unit in the guarantee. Without it, every row is its own unit.

        Returns:
            The estimator, with ``model_``, ``guarantee_``, ``ledger_``, and ``size_``, the noised number of units.

        Raises:
            Refused: if the ledger in ``ledger`` does not allow it.
            DataError: if the target cannot be learned from what the budget lets one see.
            UsageError: if a parameter is wrong; nothing is charged then.
        """
        budget, table = self._checked_parameters(), self._table_to_fit(X)
        labels, self._label_type = labels_of(self, y, table.num_rows, classify=self._task == "classify")
        return self._fit_table(table.append_column(_TARGET, pa.array(labels)), unit, budget=budget, named=is_named(X))

    def _table_to_fit(self, X: Any) -> pa.Table:
        named = is_named(X)
        matrix = X if named else matrix_of(self, X, reset=True)
        table = table_from(matrix, None if named else self._names(matrix.shape[1]))
        self._features = tuple(table.column_names)
        if {_TARGET, _UNIT} & set(self._features):
            raise UsageError(f"Expected columns of X without the names «{_TARGET}» and «{_UNIT}», which the fit uses itself. Rename them.")
        return table

    def _fit_table(self, table: pa.Table, unit: Any, *, budget: Budget, named: bool) -> Any:
        if named:
            self.n_features_in_, self.feature_names_in_ = len(self._features), np.array(self._features, dtype=object)
        if unit is not None:
            table = table.append_column(_UNIT, units_of(unit, table.num_rows))
        self._learn(table, self._features, budget, unit=unit_name(unit))
        return self

    def _learn(self, table: pa.Table, features: tuple[str, ...], budget: Budget, *, unit: str | None) -> None:
        run = None if self.test_seed is None else f"test seed {self.test_seed}"
        spec = LearnSpec(features, self._target_spec(), budget, domain=self._domain(features), run=run)
        guard = self._guard(table, budget, unit=unit)
        try:
            self.model_: Any = self._fit(spec, Curator(guard))
        except DataError as problem:
            raise InvalidInput(str(problem).replace(f"the target «{_TARGET}»", "y")) from None
        self.guarantee_: Guarantee = self.model_.guarantee
        if self._filter != "single":
            self.size_ = guard.size()

    def _guard(self, table: pa.Table, budget: Budget, *, unit: str | None) -> Guard:
        """The records behind a policy that this fit alone is made for, and the ledger that pays."""
        protected = PrivacyUnit() if unit is None else PrivacyUnit(unit, column=_UNIT)
        policy = Policy(
            dataset="fit", unit=protected, relation=Relation(self.relation), budget=self.total or budget, count_share=COUNT_SHARE,
            rows_per_unit=1 if unit is None else self.rows_per_unit, limits=Limits(minimum_units=0), filter=self._filter,
        )
        self.ledger_: Books = MemoryBooks() if self.ledger is None else self.ledger
        source = None if self.test_seed is None else SecureRandom.for_testing(self.test_seed)
        return Guard(Records.open(table, unit=protected), policy=policy, ledger=self.ledger_, source=source)

    def _fit(self, spec: LearnSpec, aggregator: Curator) -> Artefact:
        raise NotImplementedError

    def _checked_parameters(self) -> Budget:
        """The budget, once everything that is public has been found right: a wrong parameter is not worth a charge."""
        if not isinstance(self.budget, Budget):
            raise UsageError(f"Expected budget=Budget(epsilon=..., delta=...); got {type(self.budget).__name__}. There is no sensible default.")
        if self.total is not None and not (isinstance(self.total, Budget) and self.total.delta == self.budget.delta):
            raise UsageError(f"Expected total to be a Budget with the delta of budget, {self.budget.delta:g}; got {self.total!r}.")
        if self.relation not in tuple(Relation):
            raise UsageError(f"Expected relation to be one of {', '.join(Relation)}; got {self.relation!r}.")
        if self.test_seed is not None and not _is_whole(self.test_seed):
            raise UsageError(f"Expected test_seed to be an integer or None; got {self.test_seed!r}.")
        for name, (least, most) in _RANGES.items():
            value = getattr(self, name, least)
            if not (_is_whole(value) and least <= value <= most) and not (name == "depth" and value is None):
                raise UsageError(f"Expected {name} to be an integer from {least} to {most}; got {value!r}.")
        if getattr(self, "passes", 1) + getattr(self, "trees", 0) < 1:
            raise UsageError("Expected passes or trees above zero; with neither there is nothing to learn.")
        return self.budget

    def _declared(self) -> Domain | None:
        return self.domain if self.domain is None or isinstance(self.domain, Domain) else Domain.load(Path(self.domain))

    def _domain(self, features: tuple[str, ...]) -> Domain | None:
        domain = self._declared()
        if domain is None:
            return None
        known = Domain(tuple((name, kind) for name, kind in domain.columns if name in features))
        if not known.columns:
            raise UsageError(
                f"Expected a domain of the features; it has {', '.join(domain.names[:5])}, X has {', '.join(features[:5])}. Pass a frame whose "
                "columns have these names, or a matrix with one column for each."
            )
        return known

    def _names(self, count: int) -> tuple[str, ...]:
        """Names for the columns of a matrix: those of the domain, if it has one for each."""
        domain = self._declared()
        return domain.names if domain is not None and len(domain.columns) == count else tuple(f"x{i}" for i in range(count))

    def _table(self, X: Any) -> pa.Table:
        """The records to predict, with the features' names; a frame without them, for a model of a matrix, is taken column by column."""
        check_is_fitted(self, "model_")
        if not is_named(X):
            return table_from(matrix_of(self, X, reset=False), self._features)
        table = table_from(X)
        nameless = not hasattr(self, "feature_names_in_") and table.num_columns == len(self._features)
        return table.rename_columns(self._features) if nameless and not set(self._features) <= set(table.column_names) else table

    def _target_spec(self) -> TargetSpec:
        raise NotImplementedError

    def __sklearn_clone__(self) -> Any:
        """A clone with the same ledger, not a copy of it: what the clone spends is spent."""
        settings = {name: value if name == "ledger" else clone(value, safe=False) for name, value in self.get_params(deep=False).items()}
        twin = type(self)(**settings)
        if hasattr(self, "_metadata_request"):
            twin._metadata_request = clone(self._metadata_request)
        return twin

    def __getstate__(self) -> Any:
        if self.ledger is not None:
            raise UsageError(
                "Expected an estimator without a ledger: a copy of the ledger could be spent a second time. Keep model_ (tacit.models.save), or "
                "stay in one process."
            )
        return super().__getstate__()

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.categorical = tags.input_tags.string = True
        tags.non_deterministic = self.test_seed is None
        return tags


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


class _PrivateClassifier(ClassifierMixin, _Private):  # type: ignore[misc]
    _task = "classify"

    def _target_spec(self) -> TargetSpec:
        return TargetSpec(_TARGET, classes=None if self.classes is None else self._label_type.declared(self.classes))

    def _learn(self, table: pa.Table, features: tuple[str, ...], budget: Budget, *, unit: str | None) -> None:
        super()._learn(table, features, budget, unit=unit)
        classes = self._label_type.restore(self.model_.classes)
        self._order = np.argsort(classes, kind="stable")  # texts that look like numbers: the model has them in the order of the numbers
        self.classes_ = classes[self._order]

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Probability of each class: float64 ``[rows, classes]``, in the order of ``classes_``."""
        table = self._table(X)
        return np.asarray(self.model_.predict_proba(table)[:, self._order], np.float64)

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Margins: float64 ``[rows]`` for two classes, else ``[rows, classes]``."""
        table = self._table(X)
        margins = np.asarray(self.model_.margins(table), np.float64)
        return margins[:, 0] * (1 - 2 * self._order[0]) if margins.shape[1] == 1 else margins[:, self._order]

    def predict(self, X: Any) -> NDArray[Any]:
        """The most probable class of every row."""
        probabilities = self.predict_proba(X)
        return np.asarray(self.classes_[np.argmax(probabilities, axis=1)])


class _PrivateRegressor(RegressorMixin, _Private):  # type: ignore[misc]
    _task = "predict"

    def _target_spec(self) -> TargetSpec:
        return TargetSpec(_TARGET, task="predict", bounds=None if self.bounds is None else _pair(self.bounds))

    def predict(self, X: Any) -> NDArray[np.float64]:
        """The expected value of every row, within the public bounds: float64 ``[rows]``."""
        table = self._table(X)
        return np.asarray(self.model_.predict(table), np.float64)


def _pair(bounds: Any) -> tuple[float, float]:
    try:
        lower, upper = map(float, bounds)
    except (TypeError, ValueError):
        raise UsageError(f"Expected bounds=(lower, upper), two numbers, or None; got {bounds!r}.") from None
    return lower, upper


class BoostedTreesClassifier(_PrivateClassifier):
    """Private boosting: feature bins, then random oblivious trees.

    Args:
        budget: what the fit may cost; there is no default.
        domain: public bounds and categories, as a `Domain` or a file; what it lacks is found by charged questions.
        classes: the public classes; found by a charged question if ``None``.
        relation: the neighbouring relation.
        rows_per_unit: public assumption on how many rows a unit has, where ``fit`` gets a unit.
        trees: random trees after the passes over single features.
        depth: levels of a tree; by default as many as noise and number of units allow to see.
        passes: passes over the single features.
        ledger: where to charge; a ledger of the fit's own, in memory, if ``None``. Clones share it, so that all fits of a search add up.
        total: what everything charged to ``ledger`` may cost together, for fits to the same records; ``budget`` if ``None``, so one fit.
        test_seed: deterministic noise. **The result has no guarantee**, and says so.

    Guarantees:
        ``guarantee_`` covers the model and everything derived from it, per unit given to ``fit``; at most ``budget``. It does not cover what a
        pipeline learned from the records before (a fitted scaler, say), nor scores measured on records that were held back.

    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(3000, 3))
    >>> model = BoostedTreesClassifier(budget=Budget(epsilon=1, delta=1e-6)).fit(X, X[:, 0] > 0)
    >>> bool(model.guarantee_.epsilon <= 1)
    True
    """

    def __init__(
        self, budget: Budget | None = None, *, domain: Domain | str | None = None, classes: Sequence[Any] | None = None,
        relation: str = "add/remove", rows_per_unit: int = 10, trees: int = TREES, depth: int | None = None, passes: int = PASSES,
        ledger: Books | None = None, total: Budget | None = None, test_seed: int | None = None,
    ) -> None:
        self.budget, self.domain, self.classes, self.relation, self.rows_per_unit = budget, domain, classes, relation, rows_per_unit
        self.trees, self.depth, self.passes, self.ledger, self.total, self.test_seed = trees, depth, passes, ledger, total, test_seed

    def _fit(self, spec: LearnSpec, aggregator: Curator) -> AdditiveModel:
        return fit_boosted(spec, aggregator, BoostingShape(self.passes, self.trees, self.depth))


class BoostedTreesRegressor(_PrivateRegressor):
    """Private boosting of a number; see `BoostedTreesClassifier`. ``bounds`` are the public bounds of the target, found if ``None``."""

    def __init__(
        self, budget: Budget | None = None, *, domain: Domain | str | None = None, bounds: tuple[float, float] | None = None,
        relation: str = "add/remove", rows_per_unit: int = 10, trees: int = TREES, depth: int | None = None, passes: int = PASSES,
        ledger: Books | None = None, total: Budget | None = None, test_seed: int | None = None,
    ) -> None:
        self.budget, self.domain, self.bounds, self.relation, self.rows_per_unit = budget, domain, bounds, relation, rows_per_unit
        self.trees, self.depth, self.passes, self.ledger, self.total, self.test_seed = trees, depth, passes, ledger, total, test_seed

    def _fit(self, spec: LearnSpec, aggregator: Curator) -> AdditiveModel:
        return fit_boosted(spec, aggregator, BoostingShape(self.passes, self.trees, self.depth))


class AdditiveClassifier(_PrivateClassifier):
    """A private additive model over feature bins (and, if asked, random trees), fitted all at once by noisy Newton steps.

    Its shape functions are read feature by feature. Arguments as in `BoostedTreesClassifier`; ``iterations`` steps.
    """

    def __init__(
        self, budget: Budget | None = None, *, domain: Domain | str | None = None, classes: Sequence[Any] | None = None,
        relation: str = "add/remove", rows_per_unit: int = 10, trees: int = 0, depth: int = 4, iterations: int = 60,
        ledger: Books | None = None, total: Budget | None = None, test_seed: int | None = None,
    ) -> None:
        self.budget, self.domain, self.classes, self.relation, self.rows_per_unit = budget, domain, classes, relation, rows_per_unit
        self.trees, self.depth, self.iterations, self.ledger, self.total, self.test_seed = trees, depth, iterations, ledger, total, test_seed

    def _fit(self, spec: LearnSpec, aggregator: Curator) -> AdditiveModel:
        return fit_full_batch(spec, aggregator, FullBatchShape(self.iterations, self.trees, self.depth))


class AdditiveRegressor(_PrivateRegressor):
    """`AdditiveClassifier` for a number; ``bounds`` are the public bounds of the target, found if ``None``."""

    def __init__(
        self, budget: Budget | None = None, *, domain: Domain | str | None = None, bounds: tuple[float, float] | None = None,
        relation: str = "add/remove", rows_per_unit: int = 10, trees: int = 0, depth: int = 4, iterations: int = 60,
        ledger: Books | None = None, total: Budget | None = None, test_seed: int | None = None,
    ) -> None:
        self.budget, self.domain, self.bounds, self.relation, self.rows_per_unit = budget, domain, bounds, relation, rows_per_unit
        self.trees, self.depth, self.iterations, self.ledger, self.total, self.test_seed = trees, depth, iterations, ledger, total, test_seed

    def _fit(self, spec: LearnSpec, aggregator: Curator) -> AdditiveModel:
        return fit_full_batch(spec, aggregator, FullBatchShape(self.iterations, self.trees, self.depth))


class LinearClassifier(_PrivateClassifier):
    """Private logistic regression by full-batch noisy gradients over a public design. Arguments as in `BoostedTreesClassifier`."""

    def __init__(
        self, budget: Budget | None = None, *, domain: Domain | str | None = None, classes: Sequence[Any] | None = None,
        relation: str = "add/remove", rows_per_unit: int = 10, iterations: int = ITERATIONS, ledger: Books | None = None, total: Budget | None = None,
        test_seed: int | None = None,
    ) -> None:
        self.budget, self.domain, self.classes, self.relation, self.rows_per_unit = budget, domain, classes, relation, rows_per_unit
        self.iterations, self.ledger, self.total, self.test_seed = iterations, ledger, total, test_seed

    def _fit(self, spec: LearnSpec, aggregator: Curator) -> LinearModel:
        return fit_linear(spec, aggregator, iterations=self.iterations)


class LinearRegressor(_PrivateRegressor):
    """Private ridge regression from one answer about second moments (Wang 2018). ``bounds`` are the target's public bounds."""

    def __init__(
        self, budget: Budget | None = None, *, domain: Domain | str | None = None, bounds: tuple[float, float] | None = None,
        relation: str = "add/remove", rows_per_unit: int = 10, ledger: Books | None = None, total: Budget | None = None, test_seed: int | None = None,
    ) -> None:
        self.budget, self.domain, self.bounds, self.relation, self.rows_per_unit = budget, domain, bounds, relation, rows_per_unit
        self.ledger, self.total, self.test_seed = ledger, total, test_seed

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
        relation: str = "add/remove", rows_per_unit: int = 10, ledger: Books | None = None, total: Budget | None = None, test_seed: int | None = None,
    ) -> None:
        super().__init__(
            budget, domain=domain, classes=classes, relation=relation, rows_per_unit=rows_per_unit, ledger=ledger, total=total, test_seed=test_seed,
        )


class NetworkClassifier(_PrivateClassifier):
    """A private network over tabular features, trained by noisy clipped gradients (DP-SGD with Adam). Needs the extra «torch».

    Args:
        budget: (ε, δ) for the whole fit.
        domain: declared columns, or the file that declares them.
        classes: the public classes; found by a charged selection if ``None``.
        relation: ``"add/remove"`` or ``"zero-out"``.
        rows_per_unit: with units, how many rows of each take part.
        shape: of the network and its training; public.
        ledger: where the fit is charged, as one plan that leaves no room for another; in memory if ``None``.
        total: budget of the ledger's scope; that of the fit if ``None``.
        test_seed: for tests: fixes all noise, and nothing is guaranteed.
    """

    _filter = "single"

    def __init__(
        self, budget: Budget | None = None, *, domain: Domain | str | None = None, classes: Sequence[Any] | None = None,
        relation: str = "add/remove", rows_per_unit: int = 10, shape: NetworkShape | None = None, ledger: Books | None = None,
        total: Budget | None = None, test_seed: int | None = None,
    ) -> None:
        self.budget, self.domain, self.classes, self.relation, self.rows_per_unit = budget, domain, classes, relation, rows_per_unit
        self.shape, self.ledger, self.total, self.test_seed = shape, ledger, total, test_seed

    def _fit(self, spec: LearnSpec, aggregator: Curator) -> NetworkModel:
        model, self.size_ = fit_network(spec, aggregator, self.shape)
        return model


class NetworkRegressor(_PrivateRegressor):
    """A private network that predicts a number between public ``bounds``. Other arguments as in `NetworkClassifier`."""

    _filter = "single"

    def __init__(
        self, budget: Budget | None = None, *, domain: Domain | str | None = None, bounds: tuple[float, float] | None = None,
        relation: str = "add/remove", rows_per_unit: int = 10, shape: NetworkShape | None = None, ledger: Books | None = None,
        total: Budget | None = None, test_seed: int | None = None,
    ) -> None:
        self.budget, self.domain, self.bounds, self.relation, self.rows_per_unit = budget, domain, bounds, relation, rows_per_unit
        self.shape, self.ledger, self.total, self.test_seed = shape, ledger, total, test_seed

    def _fit(self, spec: LearnSpec, aggregator: Curator) -> NetworkModel:
        model, self.size_ = fit_network(spec, aggregator, self.shape)
        return model
