"""Contingency tables: which cell a record lies in, and what cannot be asked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tacit.domain import Category, Domain, Numeric
from tacit.errors import UsageError
from tacit.questions import GRID, Batch, Binning, Marginals, SessionCache

DOMAIN = Domain.of(size=Numeric(0, 8, smallest=1), kind=Category(("a", "b")), flag=Category(("yes",)))
BINNING = Binning(
    DOMAIN,
    ((np.arange(DOMAIN.column("size").code_count) > 2).astype(np.uint8), np.array([0, 1, 2, 0], np.uint8), np.array([0, 1, 0], np.uint8)),
)


class One:
    """One batch of rows."""

    def batches(self, columns: object = None) -> Any:
        rows = {"size": [0.0, 7.0, None, 7.0], "kind": ["a", "b", "b", "z"], "flag": ["yes", "yes", "no", None]}
        yield Batch({name: pa.array(values) for name, values in rows.items()}, 4)


def test_every_record_is_once_in_every_table() -> None:
    question = Marginals(BINNING, ((1,), (0, 1), (0, 1, 2)))
    single, double, triple = question.split(question.evaluate(One(), SessionCache()) / GRID)
    assert single.tolist() == [1, 1, 2]
    assert double.shape == (2, 3)
    assert triple.shape == (2, 3, 2)
    assert double.sum() == triple.sum() == 4
    assert triple.sum(axis=2).tolist() == double.tolist()
    assert double.sum(axis=0).tolist() == single.tolist()
    assert double[1].tolist() == [1, 0, 1]


@pytest.mark.parametrize("cliques", [(), ((),), ((1, 0),), ((0, 0),), ((0, 3),), ((-1, 0),)])
def test_groups_that_are_none_are_refused(cliques: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(UsageError, match="Expected"):
        Marginals(BINNING, cliques)


def test_too_many_cells_are_refused_before_they_are_made() -> None:
    domain = Domain(tuple((f"c{i}", Category(tuple(map(str, range(200))))) for i in range(3)))
    wide = Binning(domain, tuple(np.arange(202, dtype=np.uint8) for _ in range(3)))
    with pytest.raises(UsageError, match="coarser"):
        Marginals(wide, ((0, 1, 2),))
