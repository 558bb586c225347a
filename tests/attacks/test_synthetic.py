"""Attacks on made-up records: copies give their owners away, fresh records of the same kind do not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tacit import Guarantee, PrivacyUnit, Relation, Scope, TrustModel
from tacit.attacks import attack_synthetic
from tacit.domain import Category, Domain, Numeric
from tacit.errors import UsageError
from tacit.pilot import check_synthetic

DOMAIN = Domain.of(a=Numeric(-4, 4), b=Numeric(-4, 4), c=Numeric(0, 100), kind=Category(("x", "y", "z")))
PROMISE = Guarantee(1.0, 1e-5, PrivacyUnit(), Relation.ADD_REMOVE, Scope("test"), TrustModel.curator(), "gdp")


def people(rows: int, seed: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    a = rng.normal(size=rows)
    kind = np.where(a > 0, "x", rng.choice(["y", "z"], rows))
    return pa.table({"a": a, "b": a + rng.normal(size=rows), "c": rng.exponential(20, rows), "kind": kind})


def test_copies_are_found_and_contradict_the_promise() -> None:
    members, others = people(2_000, 0), people(4_000, 1)
    rng = np.random.default_rng(2)
    copies = members.take(pa.array(rng.integers(0, 2_000, 5_000)))
    for attack in attack_synthetic(copies, members, others, domain=DOMAIN, guarantee=PROMISE):
        assert attack.auc > 0.9
        assert attack.verdict == "inconsistent with the claim"


def test_records_near_members_are_found_too() -> None:
    members, others, rng = people(1_000, 0), people(4_000, 1), np.random.default_rng(2)
    near = {name: members[name].to_numpy() for name in members.column_names}
    near |= {name: near[name] + rng.normal(0, 0.02, 1_000) for name in ("a", "b")}
    assert max(attack.auc for attack in attack_synthetic(near, members, others, domain=DOMAIN)) > 0.7


def test_fresh_records_give_nobody_away() -> None:
    found = attack_synthetic(people(5_000, 3), people(2_000, 0), people(4_000, 1), domain=DOMAIN, guarantee=PROMISE)
    assert all(0.46 < attack.auc < 0.54 for attack in found)
    assert all(attack.verdict != "inconsistent with the claim" for attack in found)
    assert not any(attack.released for attack in found)


@pytest.mark.parametrize(("made", "members", "others"), [(5, 100, 100), (100, 3, 100), (100, 100, 7)])
def test_too_few_records_are_refused(made: int, members: int, others: int) -> None:
    with pytest.raises(UsageError, match="Expected ten"):
        attack_synthetic(people(made, 0), people(members, 1), people(others, 2), domain=DOMAIN)


def test_a_check_tells_good_from_useless() -> None:
    members, others = people(3_000, 0), people(3_000, 1)
    rng = np.random.default_rng(4)
    shuffled: dict[str, Any] = {name: rng.permutation(members[name].to_numpy(zero_copy_only=False)) for name in members.column_names}
    good = check_synthetic(people(3_000, 5), members, others, domain=DOMAIN, about="kind")
    useless = check_synthetic(shuffled, members, others, domain=DOMAIN, about="kind")
    assert good.single == pytest.approx(good.single_real, abs=0.02)
    assert useless.single == pytest.approx(good.single, abs=0.02)
    assert good.pairs < 1.5 * good.pairs_real
    assert useless.pairs > 2 * good.pairs
    assert good.auc is not None
    assert useless.auc is not None
    assert good.auc == pytest.approx(good.auc_real, abs=0.05)
    assert useless.auc < 0.7
    assert not good.contradicted
    assert set(good.to_dict()) >= {"single", "pairs", "auc", "attacks", "released"}


def test_a_column_of_one_value_cannot_be_predicted() -> None:
    table = people(200, 0).set_column(3, "kind", pa.array(["x"] * 200))
    with pytest.raises(UsageError, match="two values"):
        check_synthetic(table, table, table, domain=DOMAIN, about="kind")
