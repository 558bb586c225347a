"""Can somebody who holds made-up records tell who was among the real ones? Owner-side: needs records, and what it measures is not released.

Two attackers look for the record that is closest: how close is the nearest made-up record, and how much closer is it than the nearest of other real
people's records (after van Breugel et al. 2023, who compare densities)? Both find copies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from tacit.attacks.judging import AttackResult, evaluate
from tacit.domain import Category, Domain
from tacit.errors import UsageError
from tacit.guarantee import Guarantee
from tacit.models.base import as_columns
from tacit.questions.encoding import encode

MOST_ROWS = 20_000
MOST_TARGETS = 2_000


def attack_synthetic(
    synthetic: Mapping[str, Any] | pa.Table, members: pa.Table, nonmembers: pa.Table, *, domain: Domain, guarantee: Guarantee | None = None,
    seed: int = 0,
) -> tuple[AttackResult, AttackResult]:
    """Membership inference against made-up records.

    Args:
        synthetic: the made-up records, at least ten; 20,000 of them are looked at.
        members: real records they were learned from; up to 2,000 are attacked.
        nonmembers: real records they were not learned from, at least eight; half of them are what the second attacker compares with.
        domain: the columns that are compared.
        guarantee: what the made-up records promise. It is about units; where these have several rows, pass one row of each.
        seed: which records are attacked.

    Raises:
        UsageError: if there are too few records to tell anything.
    """
    rng = np.random.default_rng(seed)
    made = _some(_points(synthetic, domain), MOST_ROWS, rng)
    inside, others = _points(members, domain), _points(nonmembers, domain)
    if len(made) < 10 or len(inside) < 4 or len(others) < 8:
        raise UsageError(f"Expected ten made-up records, four members and eight others; got {len(made)}, {len(inside)} and {len(others)}.")
    inside, others = _some(inside, MOST_TARGETS, rng), _some(others, MOST_TARGETS + MOST_ROWS, rng)
    reference, outside = others[: len(others) // 2], others[len(others) // 2 :][:MOST_TARGETS]
    targets, is_member = np.concatenate([inside, outside]), np.repeat([True, False], [len(inside), len(outside)])
    near = _nearest(made, targets)
    usual = _nearest(reference, targets)
    return (
        evaluate("closest record", -near, is_member, shadows=0, guarantee=guarantee, seed=seed),
        evaluate("closer than others", np.log(usual + 1e-3) - np.log(near + 1e-3), is_member, shadows=0, guarantee=guarantee, seed=seed),
    )


def _nearest(points: NDArray[np.float64], targets: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance of each target to the nearest point."""
    search = NearestNeighbors(n_neighbors=1, metric="manhattan", algorithm="brute").fit(points)
    return np.asarray(search.kneighbors(targets)[0][:, 0], np.float64)


def _some(points: NDArray[np.float64], most: int, rng: np.random.Generator) -> NDArray[np.float64]:
    return points[rng.permutation(len(points))[:most]]


def _points(table: Mapping[str, Any] | pa.Table, domain: Domain) -> NDArray[np.float64]:
    """Records as points whose city-block distance counts columns: places on the public grid of numbers, one corner for each text."""
    found, columns = as_columns(table, domain)[0], []
    for name, kind in domain.columns:
        codes = encode(found[name], kind)
        columns.append(np.eye(kind.code_count)[codes] / 2 if isinstance(kind, Category) else codes[:, None] / kind.code_count)
    return np.concatenate(columns, axis=1)
