"""Made-up records: the tables that are asked, the records that are drawn, and what holds of them."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tacit import Budget
from tacit.crypto import SigningKey
from tacit.domain import Category, Domain, Numeric
from tacit.errors import MissingExtra, UsageError
from tacit.federation import LocalFederation
from tacit.guarantee import PrivacyUnit, Relation, Scope
from tacit.guard import Curator, Guard, Limits, MemoryBooks, Policy, Records
from tacit.learn import EVERY_COLUMN, LearnSpec, SynthesisShape, Synthesizer, TargetSpec, fit_synthetic, sample_records
from tacit.learn.graphical import _draw
from tacit.learn.synthesis import dependence, narrow, spanning_tree
from tacit.models import SyntheticModel, load, load_synthetic, save

KINDS = ("dns", "web", "ssh")
DOMAIN = Domain.of(
    size=Numeric(0, 1_000), ratio=Numeric(-1, 1), kind=Category(KINDS), port=Category(("22", "53", "443")), label=Category(("bad", "good")),
)


def records(rows: int, *, seed: int = 0) -> dict[str, Any]:
    """The port follows from the kind, the size from the kind and the label; some sizes are missing."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(3, rows, p=[0.5, 0.4, 0.1])
    bad = rng.random(rows) < np.array([0.1, 0.2, 0.6])[kind]
    size = np.clip(rng.lognormal(3 + kind * 0.7 + bad, 0.5), 0, 1_000).round()
    size[rng.random(rows) < 0.05] = np.nan
    return {
        "size": size, "ratio": rng.normal(0, 0.3, rows).clip(-1, 1), "kind": np.array(KINDS)[kind], "port": np.array(["53", "443", "22"])[kind],
        "label": np.where(bad, "bad", "good"),
    }


@pytest.fixture(scope="module")
def model() -> SyntheticModel:
    found: SyntheticModel = Synthesizer(Budget(1, 1e-5), domain=DOMAIN, about="label", whole=["size"]).fit(records(20_000)).model_
    return found


@pytest.fixture(scope="module")
def made(model: SyntheticModel) -> dict[str, NDArray[Any]]:
    pytest.importorskip("mbi", reason="made-up records need mbi: make synthetic")
    return sample_records(model, 20_000, seed=1)


# ---------------------------------------------------------------------------------------------------------------------- tables


def test_tables_hold_what_belongs_together_and_the_column_it_is_about(model: SyntheticModel) -> None:
    names = model.binning.domain.names
    groups = {frozenset(names[place] for place in clique) for clique in model.cliques}
    assert frozenset({"kind", "port", "label"}) in groups
    assert all("label" in group for group in groups)
    assert len(groups) == 3
    assert model.guarantee.epsilon <= 1
    assert max(model.binning.counts) <= 16


def test_the_noise_of_the_tables_is_what_they_say(model: SyntheticModel) -> None:
    clique = model.cliques[0]
    table = model.tables[0]
    binned = model.binning.bins(_arrow(records(20_000)), 20_000)
    exact = np.zeros(table.shape)
    np.add.at(exact, tuple(binned[place] for place in clique), 1)
    scores = (table - exact) / model.sigma
    assert 0.6 < scores.std() < 1.5
    assert np.abs(scores).max() < 6


def _arrow(columns: dict[str, Any]) -> dict[str, Any]:
    import pyarrow as pa

    return {name: pa.array(values, from_pandas=True) for name, values in columns.items()}


def test_a_domain_is_found_where_none_is_declared() -> None:
    found = Synthesizer(Budget(2, 1e-5)).fit(records(20_000)).model_
    assert set(found.binning.domain.column("kind").values) == set(KINDS)
    assert found.guarantee.epsilon <= 2


@pytest.mark.parametrize("columns", [1, 2])
def test_one_or_two_columns_are_one_table(columns: int) -> None:
    some = {name: values for name, values in list(records(2_000).items())[:columns]}
    model = Synthesizer(Budget(1, 1e-5), domain=DOMAIN).fit(some).model_
    assert model.cliques == (tuple(range(columns)),)
    about = Synthesizer(Budget(1, 1e-5), domain=DOMAIN, about="size").fit(some).model_
    assert about.cliques == (tuple(range(columns)),)


def test_people_with_many_rows_are_clipped() -> None:
    rows = records(4_000)
    model = Synthesizer(Budget(1, 1e-5), domain=DOMAIN, rows_per_unit=2).fit(rows, unit=np.repeat(np.arange(2_000), 2)).model_
    assert str(model.guarantee.unit) == "unit"
    assert model.tables[0].sum() == pytest.approx(4_000, rel=0.25)


def test_sites_release_tables_together() -> None:
    guards = []
    for site in range(2):
        policy = Policy(
            dataset=f"site {site}", unit=PrivacyUnit(), relation=Relation.ADD_REMOVE, budget=Budget(3, 1e-5), limits=Limits(minimum_units=0),
        )
        table = {name: list(values) for name, values in records(5_000, seed=site).items()}
        guards.append(Guard(Records.open(table), policy=policy, ledger=MemoryBooks()))
    spec = LearnSpec(DOMAIN.names, EVERY_COLUMN, Budget(2, 1e-5), domain=DOMAIN)
    model = fit_synthetic(spec, LocalFederation(guards), SynthesisShape(about="label"))
    assert model.total == pytest.approx(10_000, rel=0.05)
    assert model.tables[0].sum() == pytest.approx(10_000, rel=0.1)


@pytest.mark.parametrize(("shape", "target", "message"), [
    (SynthesisShape(about="nothing"), EVERY_COLUMN, "nothing"), (SynthesisShape(whole=("nothing",)), EVERY_COLUMN, "nothing"),
    (SynthesisShape(), TargetSpec("label", classes=("bad", "good")), "EVERY_COLUMN"),
])
def test_what_cannot_be_made_up_is_not_charged(shape: SynthesisShape, target: TargetSpec, message: str) -> None:
    books = MemoryBooks()
    policy = Policy(dataset="d", unit=PrivacyUnit(), relation=Relation.ADD_REMOVE, budget=Budget(3, 1e-5), limits=Limits(minimum_units=0))
    guard = Guard(Records.open({name: list(values) for name, values in records(100).items()}), policy=policy, ledger=books)
    features = tuple(name for name in DOMAIN.names if name != target.column)
    with pytest.raises(UsageError, match=message):
        fit_synthetic(LearnSpec(features, target, Budget(1, 1e-5), domain=DOMAIN), Curator(guard), shape)
    assert not books.find("charge", Scope("d"))


@pytest.mark.parametrize("bad", [{"bins": 1}, {"bins": 200}, {"coarse": 1}, {"bins": 4, "coarse": 8}])
def test_a_shape_that_makes_no_sense_is_refused(bad: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="coarse"):
        SynthesisShape(**bad)


def test_pairs_that_depend_are_found_under_noise_and_others_are_not() -> None:
    rng = np.random.default_rng(0)
    apart = np.full((8, 8), 200.0)
    together = apart + 150 * np.eye(8)
    noise = [rng.normal(0, 20, (8, 8)) for _ in range(200)]
    assert np.mean([dependence(together + n, 20.0) for n in noise]) > 1_000
    assert abs(np.mean([dependence(apart + n, 20.0) for n in noise])) < 250
    assert spanning_tree(4, ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)), np.array([9.0, 8, 1, 7, 6, 2])) == [(0, 1), (0, 2), (1, 3)]


def test_bins_hold_about_the_same_and_never_too_many() -> None:
    rng = np.random.default_rng(0)
    mass = rng.random(500)
    bins = narrow(Numeric(0, 1), mass, 16)
    held = np.bincount(bins[1:], mass[1:])
    assert len(np.unique(bins)) <= 16
    assert held[held > 0].max() < 1.5 * held[held > 0].min()
    assert (np.diff(bins) >= 0).all()


# --------------------------------------------------------------------------------------------------------------------- records


def share(columns: dict[str, Any], *wanted: tuple[str, str]) -> float:
    return float(np.mean(np.logical_and.reduce([np.asarray(columns[name]) == value for name, value in wanted])))


def test_what_belongs_together_stays_together(made: dict[str, NDArray[Any]]) -> None:
    real = records(20_000, seed=9)
    for kind, port in (("dns", "53"), ("web", "443"), ("ssh", "22")):
        for label in ("bad", "good"):
            wanted = (("kind", kind), ("port", port), ("label", label))
            assert share(made, *wanted) == pytest.approx(share(real, *wanted), abs=0.02)
    for label in ("bad", "good"):
        ours, theirs = (columns["size"][np.asarray(columns["label"]) == label] for columns in (made, real))
        # By rank: where a bin is wide, its noisy count moves the median itself by a fifth and its rank hardly.
        assert np.mean(theirs[~np.isnan(theirs)] < np.nanmedian(ours)) == pytest.approx(0.5, abs=0.08)


def test_values_are_of_their_types(made: dict[str, NDArray[Any]]) -> None:
    known = made["size"][~np.isnan(made["size"])]
    assert np.array_equal(known, np.rint(known))
    assert (known >= 0).all()
    assert (known <= 1_000).all()
    assert np.isnan(made["size"]).mean() == pytest.approx(0.05, abs=0.02)
    assert (np.abs(made["ratio"]) <= 1).all()
    assert len(np.unique(made["ratio"])) > 10_000
    assert {*made["kind"]} <= {*KINDS, None, "(other)"}
    assert share(made, ("kind", "dns")) + share(made, ("kind", "web")) + share(made, ("kind", "ssh")) > 0.99


def test_the_same_seed_draws_the_same_records(model: SyntheticModel) -> None:
    pytest.importorskip("mbi", reason="made-up records need mbi: make synthetic")
    once, again = sample_records(model, 50, seed=3), sample_records(model, 50, seed=3)
    assert all(np.array_equal(once[name], again[name], equal_nan=name in ("size", "ratio")) for name in once)


def test_a_draw_follows_its_chances() -> None:
    chances = np.array([[0.5, 0.5, 0.0], [0.0, 0.1, 0.9]])
    parent = np.repeat([0, 1], 50_000)
    drawn = _draw(chances, parent, np.random.default_rng(0))
    found = np.stack([np.bincount(drawn[parent == place], minlength=3) / 50_000 for place in (0, 1)])
    assert found == pytest.approx(chances, abs=0.01)


def test_tables_are_signed_and_come_back(model: SyntheticModel, tmp_path: Any) -> None:
    key = SigningKey.generate()
    save(model, tmp_path / "synthetic.tacit", key)
    assert load_synthetic(tmp_path / "synthetic.tacit", trusted=key.public) == model
    with pytest.raises(UsageError, match="tables to draw records from"):
        load(tmp_path / "synthetic.tacit")


def test_without_mbi_one_line_says_what_to_install(model: SyntheticModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mbi", None)
    with pytest.raises(MissingExtra, match=r"pip install 'tacit\[synthetic\]'"):
        sample_records(model, 5)


@pytest.mark.parametrize("rows", [0, -1, True, 2.5, 100_000_000])
def test_a_number_of_rows_that_is_none_is_refused(model: SyntheticModel, rows: Any) -> None:
    with pytest.raises(UsageError, match="rows"):
        sample_records(model, rows)
