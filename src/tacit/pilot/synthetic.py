"""Are made-up records of use, and do they give anybody away? Owner-side measurements on real records; not released."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from tacit.attacks import AttackResult, attack_synthetic
from tacit.domain import Category, Domain
from tacit.errors import UsageError
from tacit.guarantee import Guarantee
from tacit.models.base import as_columns
from tacit.questions.encoding import encode, numbers, texts

Columns = Mapping[str, pa.Array]
PARTS = 10
_MOST_PAIRS = 500


@dataclass(frozen=True)
class SyntheticCheck:
    """What was found.

    Args:
        single: mean distance (total variation, 0 to 1) of single columns from those of held-out records.
        single_real: that of the real records themselves: the least one can expect.
        pairs: the same for pairs of columns.
        pairs_real: the same for the real records.
        auc: of a model trained on made-up records, for the column ``about``, on held-out records; ``None`` without one.
        auc_real: of one trained on the real records.
        attacks: who tried to tell members from others.
        released: false: these figures were measured on records and are not private.
    """

    single: float
    single_real: float
    pairs: float
    pairs_real: float
    auc: float | None
    auc_real: float | None
    attacks: tuple[AttackResult, ...]
    released: bool = False

    @property
    def contradicted(self) -> bool:
        """Whether an attack was better than the guarantee allows: then something is broken."""
        return any(attack.verdict == "inconsistent with the claim" for attack in self.attacks)

    def to_dict(self) -> dict[str, Any]:
        """Plain form."""
        return {**asdict(self), "attacks": [attack.to_dict() for attack in self.attacks]}


def check_synthetic(
    synthetic: Mapping[str, Any] | pa.Table, members: pa.Table, held_out: pa.Table, *, domain: Domain, about: str | None = None,
    guarantee: Guarantee | None = None,
) -> SyntheticCheck:
    """Hold made-up records against those they were learned from, and against others of the same kind.

    Args:
        synthetic: the made-up records.
        members: what they were learned from.
        held_out: records of the same kind that they were not learned from.
        domain: the columns.
        about: a column to predict from the others.
        guarantee: what the made-up records promise.

    Raises:
        UsageError: if ``about`` has fewer than two common values, or there are too few records.
    """
    columns = [as_columns(table, domain)[0] for table in (synthetic, members, held_out)]
    tables = [[encode(table[name], kind).astype(np.int64) for name, kind in domain.columns] for table in columns]
    cuts = [_cuts(kind, column) for (_, kind), column in zip(domain.columns, tables[2], strict=True)]
    parts = [[np.searchsorted(cut, column, side="right") for cut, column in zip(cuts, table, strict=True)] for table in tables]
    made, real, other = parts
    single = [(_distance(made, other, (place,)), _distance(real, other, (place,))) for place in range(len(made))]
    every = list(itertools.combinations(range(len(made)), 2))
    pairs = every[:: max(1, len(every) // _MOST_PAIRS)]
    double = [(_distance(made, other, pair), _distance(real, other, pair)) for pair in pairs] or single
    auc, auc_real = (None, None) if about is None else (_auc(train, columns[2], domain, about) for train in columns[:2])
    attacks = attack_synthetic(synthetic, members, held_out, domain=domain, guarantee=guarantee)
    (one, one_real), (two, two_real) = (np.mean(found, axis=0).tolist() for found in (single, double))
    return SyntheticCheck(one, one_real, two, two_real, auc, auc_real, attacks)


def _cuts(kind: Any, codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where the parts of a column begin: every category, tenths of the held-out numbers."""
    if isinstance(kind, Category):
        return np.arange(1, kind.code_count)
    return np.unique(np.quantile(codes, np.arange(1, PARTS) / PARTS, method="higher")).astype(np.int64)


def _distance(first: list[NDArray[np.int64]], second: list[NDArray[np.int64]], columns: tuple[int, ...]) -> float:
    """Total variation between two tables in some columns."""
    shape = [int(max(first[place].max(), second[place].max())) + 1 for place in columns]
    shares = []
    for table in (first, second):
        index = np.ravel_multi_index([table[place] for place in columns], shape)
        shares.append(np.bincount(index, minlength=int(np.prod(shape))) / len(index))
    return float(np.abs(shares[0] - shares[1]).sum() / 2)


def _auc(train: Columns, test: Columns, domain: Domain, about: str) -> float:
    """How well a model of some records ranks others: AUC of the least common of two values, or the mean of one value against the rest."""
    target = [np.array(texts(table[about]).fill_null("").to_pylist()) for table in (train, test)]
    names, counts = np.unique(target[1], return_counts=True)
    common = (counts >= PARTS) & (names != "")
    names, counts = names[common], counts[common]
    if len(names) < 2:
        raise UsageError(f"Expected at least two values of «{about}» that occur {PARTS} times among the held-out records.")
    inputs = [_inputs(table, domain.without(about)) for table in (train, test)]
    chosen = names[[counts.argmin()]] if len(names) == 2 else names
    found = []
    for name in chosen:
        labels = target[0] == name
        scores = np.zeros(len(target[1]))
        if 2 <= labels.sum() <= len(labels) - 2:
            scores = HistGradientBoostingClassifier(random_state=0).fit(inputs[0], labels).predict_proba(inputs[1])[:, 1]
        found.append(float(roc_auc_score(target[1] == name, scores)))
    return float(np.mean(found))


def _inputs(table: Columns, domain: Domain) -> NDArray[np.float64]:
    """Numbers as they are, categories by their place."""
    columns = [encode(table[name], kind).astype(np.float64) if isinstance(kind, Category) else numbers(table[name])
               for name, kind in domain.columns]
    return np.stack([_known(column) for column in columns], axis=1)


def _known(column: NDArray[np.float64]) -> NDArray[np.float64]:
    """A column with one mark for what is missing; a column of nothing else says nothing."""
    some = np.isfinite(column)
    return np.where(some, column, np.nan) if some.any() else np.zeros(len(column))
