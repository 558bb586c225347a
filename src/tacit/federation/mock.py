"""Made-up records from a study's public domain alone: for whoever writes a study, and for a dry run before the first real one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tacit.domain import Category, ColumnType
from tacit.errors import UsageError
from tacit.federation.study import LearnerSpec, StudyCard

if TYPE_CHECKING:
    import pyarrow as pa

MARK = "tacit_mock"
"""A column that every table of mock records has, and no table of real ones should."""
SAID = "drawn from the public domain"
_MOST = 10_000_000


def mock_table(card: StudyCard, rows: int, *, seed: int | None = None) -> pa.Table:
    """Records in the shape that the study expects, ``rows`` of them: every column uniform and independent, within its public bounds.

    Guarantees:
        Nothing but the card goes in, so nothing about anybody comes out; a model of them is worth nothing, and is not meant to be.

    Raises:
        UsageError: for fewer than one row or more than ten million.
    """
    import pyarrow as pa

    if not 1 <= rows <= _MOST:
        raise UsageError(f"Expected 1 to {_MOST:,} mock records; got {rows:,}.")
    rng = np.random.default_rng(seed)
    columns: dict[str, Any] = {}
    if card.unit.column is not None:
        columns[card.unit.column] = [f"mock-{row // card.rows_per_unit + 1}" for row in range(rows)]
    columns |= {name: _drawn(kind, rows, rng) for name, kind in card.domain.columns}
    if card.learner.target:
        columns[card.learner.target] = _labels(card.learner, rows, rng)
    return pa.table({**columns, MARK: pa.array([SAID] * rows)})


def _drawn(kind: ColumnType, rows: int, rng: np.random.Generator) -> Any:
    if isinstance(kind, Category):
        return rng.choice(np.array(kind.values or ("other",)), rows)
    return np.round(rng.uniform(kind.lower, kind.upper, rows), 3)


def _labels(learner: LearnerSpec, rows: int, rng: np.random.Generator) -> Any:
    if learner.bounds is not None:
        return np.round(rng.uniform(*learner.bounds, rows), 3)
    return rng.choice(np.array(learner.classes or (learner.positive, f"not {learner.positive}")), rows)
