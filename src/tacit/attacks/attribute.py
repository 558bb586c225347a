"""Attribute inference: does a model tell something about a person whom the attacker knows but for one attribute (Fredrikson et al. 2014)?

Much can be guessed from what else is known: that is imputation, and no leak of the model. What counts is what the model adds, and what it adds for
those it learned from beyond what it adds for others (Jayaraman & Evans 2022).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tacit.attacks.outcome import Outcome, apart, paired
from tacit.attacks.sample import Sample
from tacit.attacks.tables import numeric, rows_of, stack, take
from tacit.attacks.targets import as_target
from tacit.errors import DataError, UsageError

MOST_VALUES = 20
_LEAST = 40


@dataclass(frozen=True)
class AttributeOutcome:
    """What was learned of the attribute.

    Args:
        members: right guesses about people that the target learned from, beside imputation.
        others: about people that it did not.
        memorised: of members, more than of others: what only learning from these very people can explain.
    """

    members: Outcome
    others: Outcome
    memorised: Outcome

    def to_dict(self) -> dict[str, Any]:
        """Plain form."""
        return {"members": self.members.to_dict(), "others": self.others.to_dict(), "memorised": self.memorised.to_dict()}


def attack_attribute(
    target: Any, members: Any, nonmembers: Any, *, sensitive: str | int, access: str = "probabilities", seed: int = 0,
) -> AttributeOutcome:
    """Guess one column from all others, the label and the model.

    Half of the others are what the attacker learned imputation from. For every value that the attribute may have he asks the model, and takes the
    value that imputation and the model's confidence in the label together make likeliest.

    Args:
        target: see `as_target`.
        members: ``(X, y)`` that the target learned from.
        nonmembers: ``(X, y)`` that it did not.
        sensitive: the column, by name or place.
        access: what the attacker sees of answers.
        seed: which others teach imputation.

    Raises:
        UsageError: for too few records, or a column with more than 20 values: put it into groups first.
        DataError: if there is no such column.
    """
    sides = [Sample.of(side) for side in (members, nonmembers)]
    if any(side.y is None for side in sides):
        raise UsageError("Expected labels of members and others.")
    counts = [rows_of(side.X) for side in sides]
    if min(counts) < 2 * _LEAST:
        raise UsageError(f"Expected at least {2 * _LEAST} members and others; got {counts[0]} and {counts[1]}.")
    X, y = stack(sides[0].X, sides[1].X), np.concatenate([np.asarray(side.y) for side in sides])
    values, codes = np.unique(column_of(X, sensitive), return_inverse=True)
    if not 2 <= len(values) <= MOST_VALUES:
        raise UsageError(f"Expected from 2 to {MOST_VALUES} values of the attribute; it has {len(values)}. Put a number into groups first.")
    order = counts[0] + np.random.default_rng(seed).permutation(counts[1])
    teachers, tested = order[: counts[1] // 2], np.concatenate([np.arange(counts[0]), order[counts[1] // 2 :]])
    prior = _imputed(X, y, codes, sensitive, teachers=teachers, tested=tested)
    asked = as_target(target, access=access)
    told = _told(asked, take(X, tested), y[tested], values, sensitive=sensitive, access=access)
    with_model = (prior + told).argmax(axis=1) == codes[tested]
    without = prior.argmax(axis=1) == codes[tested]
    return _outcome(with_model.astype(np.float64), without.astype(np.float64), counts[0])


def _outcome(with_model: NDArray[np.float64], without: NDArray[np.float64], members: int) -> AttributeOutcome:
    def one(name: str, rows: slice) -> Outcome:
        low, high = paired(with_model[rows], without[rows])
        meaning = "the model tells something about people that cannot be guessed from what else is known of them"
        found, control = float(with_model[rows].mean()), float(without[rows].mean())
        return Outcome(f"attribute inference, {name}", "TA201", found, control, low, high, "share of right guesses", meaning)

    gain = with_model - without
    low, high = apart(gain[:members], gain[members:])
    memorised = Outcome(
        "attribute inference, members beyond others", "TA202", float(gain[:members].mean()), float(gain[members:].mean()), low, high,
        "right guesses gained from the model", "the model remembers the attribute of the very people it learned from",
    )
    return AttributeOutcome(one("members", slice(None, members)), one("others", slice(members, None)), memorised)


def column_of(X: Any, name: str | int) -> NDArray[Any]:
    """One column as an array."""
    try:
        if hasattr(X, "column_names"):
            return np.asarray(X.column(name).to_numpy(zero_copy_only=False))
        if hasattr(X, "columns"):
            return np.asarray(X[name] if isinstance(name, str) else X[X.columns[name]])
        return np.asarray(X)[:, int(name)]
    except (KeyError, IndexError, ValueError):
        raise DataError(f"Expected a column «{name}»; there is none.") from None


def with_column(X: Any, name: str | int, value: Any) -> Any:
    """The same records with one column set to one value."""
    if hasattr(X, "column_names"):
        import pyarrow as pa

        place = X.column_names.index(name) if isinstance(name, str) else name
        return X.set_column(place, X.column_names[place], pa.array([value] * X.num_rows, X.schema.types[place]))
    if hasattr(X, "iloc"):
        changed = X.copy()
        changed[name if isinstance(name, str) else X.columns[name]] = value
        return changed
    if hasattr(X, "with_columns"):
        import polars as pl

        place = name if isinstance(name, str) else X.columns[name]
        return X.with_columns(pl.lit(value).cast(X.schema[place]).alias(place))
    changed = np.array(X)
    changed[:, int(name)] = value
    return changed


def _imputed(X: Any, y: NDArray[Any], codes: NDArray[np.int64], sensitive: str | int, **rows: NDArray[np.intp]) -> NDArray[np.float64]:
    """Log probabilities of the attribute from all else: ``[tested, values]``."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    values = np.unique(column_of(X, sensitive))
    inputs = np.column_stack([numeric(with_column(X, sensitive, values[0])), np.unique(y, return_inverse=True)[1]])
    teachers, tested = rows["teachers"], rows["tested"]
    with warnings.catch_warnings(action="ignore"):
        model = HistGradientBoostingClassifier(max_iter=60, max_leaf_nodes=15, random_state=0).fit(inputs[teachers], codes[teachers])
        found = model.predict_proba(inputs[tested])
    chances = np.full((len(tested), int(codes.max()) + 1), 1e-6)
    chances[:, model.classes_] = np.maximum(found, 1e-6)
    return np.asarray(np.log(chances), np.float64)


def _told(asked: Any, X: Any, y: NDArray[Any], values: NDArray[Any], *, sensitive: str | int, access: str) -> NDArray[np.float64]:
    """Log probability of each record's label under every value: ``[records, values]``."""
    columns = []
    for value in values.tolist():
        answers = asked.answers(with_column(X, sensitive, value), access=access)
        labels = asked.labels(y, answers)
        columns.append(-np.logaddexp(0, -next(iter(labels.confidence(answers).values()))))
    return np.stack(columns, axis=1)
