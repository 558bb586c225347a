"""Counts over time and their forecast, for one machine and one curator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sklearn.base import BaseEstimator

from tacit.errors import UsageError
from tacit.guarantee import Budget, Guarantee
from tacit.guard import Books, Curator
from tacit.learn.counting import CountSpec, bins_between, count_over_time, moment, span
from tacit.learn.estimators import _UNIT, _Private
from tacit.learn.inputs import is_named, table_from, unit_name, units_of
from tacit.learn.seasonal import Forecast, forecast
from tacit.models import CountSeries


class CountForecaster(_Private, BaseEstimator):  # type: ignore[misc]
    """How many records per hour, day or week, privately; and how many there will be. Forecasts need the extra «forecast».

    Args:
        budget: what one fit may cost.
        time: the column that says when.
        begin: where the calendar begins: a public date or time, ISO 8601; without a zone it is UTC.
        end: where it ends.
        width: of a bin, such as «15min», «1h» or «1d».
        column: whose public values are counted apart.
        keys: those values; records with another one are not counted.
        longest: how long one unit's counts may be, where ``fit`` gets a unit; found by a charged question if ``None``.
        relation: the neighbouring relation.
        ledger: where to charge; as in `BoostedTreesClassifier`, and so is ``total``.
        test_seed: deterministic noise. **The result has no guarantee**, and says so.

    >>> import numpy as np
    >>> hours = np.repeat(np.arange(240), 42) * 3600.0
    >>> found = CountForecaster(Budget(1, 1e-6), time="at", begin="1970-01-01", end="1970-01-11", width="1d").fit({"at": hours})
    >>> found.counts_.counts.round(-2).ravel().tolist()[:3]
    [1000.0, 1000.0, 1000.0]
    """

    rows_per_unit = 1

    def __init__(
        self, budget: Budget | None = None, *, time: str = "time", begin: str = "", end: str = "", width: str = "1h", column: str | None = None,
        keys: Sequence[str] = (), longest: float | None = None, relation: str = "add/remove", ledger: Books | None = None,
        total: Budget | None = None, test_seed: int | None = None,
    ) -> None:
        self.budget, self.time, self.begin, self.end, self.width, self.column, self.keys = budget, time, begin, end, width, column, keys
        self.longest, self.relation, self.ledger, self.total, self.test_seed = longest, relation, ledger, total, test_seed

    def fit(self, X: Any, y: Any = None, unit: Any = None) -> CountForecaster:
        """Count privately; ``y`` is ignored. For a person's day as the unit, pass a value that names both, such as «anna 2026-11-03».

        Args:
            X: a frame or table with the column ``time``.
            y: ignored.
            unit: who each row is about, ``[rows]``; without it every row is its own unit.

        Returns:
            The estimator, with ``counts_``, ``guarantee_`` and ``ledger_``.

        Raises:
            Refused: if the ledger in ``ledger`` does not allow it.
            UsageError: if a parameter is wrong; nothing is charged then.
        """
        budget = self._checked_parameters()
        if not is_named(X):
            raise UsageError(f"Expected a frame or table with a column «{self.time}»; got a matrix without names.")
        begin, width = moment(self.begin), span(self.width)
        run = None if self.test_seed is None else f"test seed {self.test_seed}"
        spec = CountSpec(
            self.time, begin, width, bins_between(begin, moment(self.end), width), budget, self.column, tuple(self.keys), self.longest, run=run,
        )
        table = table_from(X).select([self.time] if self.column is None else [self.time, self.column])
        if unit is not None:
            table = table.append_column(_UNIT, units_of(unit, table.num_rows))
        self.counts_: CountSeries = count_over_time(spec, Curator(self._guard(table, budget, unit=unit_name(unit))))
        self.guarantee_: Guarantee = self.counts_.guarantee
        return self

    def predict(self, horizon: int, *, coverage: float = 0.9) -> Forecast:
        """The bins that follow: see `tacit.learn.seasonal`. Costs nothing."""
        if not hasattr(self, "counts_"):
            raise UsageError("Expected a fitted forecaster; call fit first.")
        return forecast(self.counts_, horizon, coverage=coverage)
