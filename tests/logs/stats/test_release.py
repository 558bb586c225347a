"""What is released against the truth, what it costs, and what it says of itself."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import stats

from tacit.errors import BudgetExceeded, DataError, PolicyViolation, TacitError, UsageError
from tacit.federation import LocalFederation
from tacit.guarantee import Budget, PrivacyUnit, Relation
from tacit.guard import Curator, Guard, Limits, MemoryBooks, Policy, Records, gdp_epsilon
from tacit.logs.stats import (
    AUTO,
    Bounds,
    Calendar,
    FoundKeys,
    PublicKeys,
    Release,
    Request,
    Table,
    Terms,
    TimeBins,
    even_edges,
    log_edges,
    release,
    releasing,
)  # fmt: skip
from tacit.questions import Condition

from .conftest import BEGIN, DAY, HOSTS, USER_DAY, Owner, log

CALENDAR = Calendar("@timestamp", BEGIN, BEGIN + 3 * DAY)
BY_HOST = PublicKeys("host.name", HOSTS)
FAILED = (Condition("event.outcome", "in", ("failure",)),)
MUCH = Terms(Budget(20.0, 1e-6), CALENDAR)
HOUR = 3_600


def only(found: Release) -> Table:
    (table,) = found.tables
    return table


def asked(owner: Owner, *requests: Request, terms: Terms = MUCH, **fields: Any) -> Release:
    return release(requests, owner(**fields), terms)


def joined(table: Table, truth: pl.DataFrame, keys: list[str], value: str) -> tuple[np.ndarray, np.ndarray]:
    """Released and true values, cell by cell; cells without a record are zero."""
    columns = {name: column.tolist() if column.dtype == object else column for name, column in table.columns.items()}
    frame = pl.DataFrame(columns)
    if "@timestamp" in keys:
        frame = frame.with_columns(pl.col("@timestamp").dt.epoch("s").cast(pl.Int64))
    both = frame.join(truth, on=keys, how="left").with_columns(pl.col(value).fill_null(0))
    return both["tacit.value"].to_numpy(), both[value].to_numpy().astype(float)


def hours(width: int = HOUR) -> pl.Expr:
    return (((pl.col("@timestamp") - BEGIN) // width) * width + BEGIN).cast(pl.Int64)


# ------------------------------------------------------------------------------------------------------------ against the truth


def test_counts_by_host_and_hour(owner: Owner, events: pl.DataFrame) -> None:
    table = only(asked(owner, Request("failed", "count", (BY_HOST, TimeBins(HOUR)), FAILED, bounds=Bounds(rows=200), bias=False)))
    truth = events.filter(pl.col("event.outcome") == "failure").group_by("host.name", hours().alias("@timestamp")).len("n")
    found, exact = joined(table, truth, ["host.name", "@timestamp"], "n")
    assert table.rows == 12 * 72
    scale = 200 / 20
    assert table.answered.noise.deviation == pytest.approx(2**0.5 * scale, rel=1e-3)
    assert np.abs(found - exact).max() < 25 * scale  # 864 samples, each beyond that with a chance of 1e-11
    assert stats.kstest((found - exact) / scale, "laplace").pvalue > 1e-9
    low, high = table.columns["tacit.lower"], table.columns["tacit.upper"]
    assert stats.binomtest(int(((low <= exact) & (exact <= high)).sum()), table.rows, 0.95).pvalue > 1e-9


@pytest.mark.parametrize("filter_", ["pure", "auto"])
def test_given_bounds_keep_of_each_unit_what_they_say(owner: Owner, events: pl.DataFrame, filter_: str) -> None:
    table = only(asked(owner, Request("n", "count", (BY_HOST,), bounds=Bounds(cells=2, each=3)), filter=filter_, seed=1))
    per_unit = events.group_by("user.name", hours(DAY).alias("day"), "host.name").len("n").with_columns(kept=pl.col("n").clip(upper_bound=3))
    ranked = per_unit.with_columns(rank=pl.col("kept").rank("ordinal", descending=True).over("user.name", "day"))
    kept = int(ranked.filter(pl.col("rank") <= 2)["kept"].sum())
    assert table.columns["tacit.value"].sum() == pytest.approx(kept, abs=12 * table.answered.noise.deviation * math.sqrt(12))
    assert table.bounds == {"cells": 2, "each": 3}
    lost = table.bias
    assert lost is not None
    assert lost["rows"] == pytest.approx(events.height - kept, abs=0.1 * events.height)
    assert table.describe()["bounds_chosen"] == []


def test_units_are_counted_once_in_a_cell(owner: Owner, events: pl.DataFrame) -> None:
    table = only(asked(owner, Request("people", "units", (TimeBins(DAY),))))
    truth = events.group_by(hours(DAY).alias("@timestamp")).agg(n=pl.col("user.name").n_unique())
    found, exact = joined(table, truth, ["@timestamp"], "n")
    assert table.bounds["rows"] == 1
    assert np.abs(found - exact).max() < 30 * table.answered.noise.scale


def test_distinct_values_are_those_of_all_units_together(owner: Owner, events: pl.DataFrame) -> None:
    table = only(asked(owner, Request("addresses", "distinct", (BY_HOST,), of=("source.ip",), bounds=Bounds(rows=60))))
    truth = events.group_by("host.name").agg(n=pl.col("source.ip").n_unique())
    found, exact = joined(table, truth, ["host.name"], "n")
    assert table.bounds == {"values": 60}
    assert np.abs(found - exact).max() < 30 * table.answered.noise.scale
    fewer = only(asked(owner, Request("addresses", "distinct", of=("source.ip",)), seed=1))
    assert fewer.columns["tacit.value"][0] == pytest.approx(events["source.ip"].n_unique(), abs=0.15 * events["source.ip"].n_unique() + 30)


def test_histograms_hold_all_that_is_a_number(owner: Owner, events: pl.DataFrame) -> None:
    edges = (0.0, 100.0, 1_000.0, 10_000.0)
    table = only(asked(owner, Request("sizes", "histogram", of=("bytes",), edges=edges, bounds=Bounds(rows=100)), seed=1))
    exact = np.histogram(np.clip(events["bytes"].to_numpy(), 0, 9_999), edges)[0]
    assert np.abs(table.columns["tacit.value"] - exact).max() < 30 * table.answered.noise.scale + 0.002 * events.height
    assert table.columns["tacit.from"].tolist() == [0.0, 100.0, 1_000.0]
    assert table.columns["tacit.to"].tolist() == [100.0, 1_000.0, 10_000.0]


@pytest.mark.parametrize("bins", [32, 200])
def test_quantiles_are_near_and_their_intervals_hold_them(owner: Owner, events: pl.DataFrame, bins: int) -> None:
    request = Request("sizes", "quantiles", (BY_HOST,), of=("bytes",), edges=log_edges(1, 1e6, bins), at=(0.5, 0.95), bounds=Bounds(rows=30))
    table = only(asked(owner, request, seed=1))
    assert len(table.answered.parts) == (2 if bins == 200 else 1)
    truth = events.group_by("host.name").agg(a=pl.col("bytes").quantile(0.5), b=pl.col("bytes").quantile(0.95)).sort("host.name")
    exact = truth.select("a", "b").to_numpy().ravel()
    frame = pl.DataFrame({name: column.tolist() for name, column in table.columns.items()}).sort("host.name", "tacit.quantile")
    width = (1e6) ** (1 / bins)
    low, high = frame["tacit.lower"].to_numpy(), frame["tacit.upper"].to_numpy()
    assert ((low / width <= exact) & (exact <= high * width)).mean() > 0.8
    middle = frame["tacit.quantile"].to_numpy() == 0.5
    assert np.abs(np.log(frame["tacit.value"].to_numpy() / exact))[middle].max() < 0.5


def test_the_commonest_keys_are_found_and_ranked(owner: Owner, events: pl.DataFrame) -> None:
    odd = pl.concat([events, events.head(3).with_columns(pl.lit("rare").alias("host.name"))])
    table = only(asked(owner, Request("hosts", "top", of=("host.name",), most=4, bounds=Bounds(rows=100)), table=odd, seed=1))
    truth = events["host.name"].value_counts(sort=True)
    assert table.columns["tacit.rank"].tolist() == [1, 2, 3, 4]
    assert (np.diff(table.columns["tacit.value"]) <= 0).all()
    assert "rare" not in table.columns["host.name"].tolist()
    best = truth["count"].to_list()
    assert table.columns["tacit.value"].tolist() == pytest.approx(best[:4], abs=30 * table.answered.noise.scale)
    by = only(asked(owner, Request("hosts", "top", (FoundKeys("event.outcome"),), of=("host.name",), most=2), table=odd, seed=1))
    assert by.columns["tacit.rank"].tolist() == [1, 2, 1, 2]
    assert sorted(set(by.columns["event.outcome"].tolist())) == ["failure", "success"]


def test_found_keys_are_counted_like_public_ones(owner: Owner, events: pl.DataFrame) -> None:
    table = only(asked(owner, Request("n", "count", (FoundKeys("host.name"), TimeBins(DAY)), bounds=Bounds(rows=50), bias=False), seed=1))
    assert sorted(set(table.columns["host.name"].tolist())) == list(HOSTS)
    truth = events.group_by("host.name", hours(DAY).alias("@timestamp")).len("n")
    found, exact = joined(table, truth, ["host.name", "@timestamp"], "n")
    assert np.abs(found - exact).max() < 30 * table.answered.noise.scale


def test_rare_keys_leave_an_empty_table(owner: Owner) -> None:
    few = log(60, users=60)
    found = asked(owner, Request("n", "count", (FoundKeys("host.name"),)), table=few, seed=1, terms=Terms(Budget(0.5, 1e-6)))
    assert only(found).rows == 0
    assert only(found).columns["host.name"].tolist() == []


def test_one_cell_without_keys(owner: Owner, events: pl.DataFrame) -> None:
    table = only(asked(owner, Request("all", "count"), terms=Terms(Budget(20.0, 1e-6)), seed=1))
    assert table.rows == 1
    assert table.columns["tacit.value"][0] == pytest.approx(events.height, rel=0.05)


def test_records_that_are_units_need_no_bounds(owner: Owner, events: pl.DataFrame) -> None:
    table = only(asked(owner, Request("n", "count", (BY_HOST,)), unit=PrivacyUnit()))
    truth = events.group_by("host.name").len("n")
    found, exact = joined(table, truth, ["host.name"], "n")
    assert table.answered.noise.scale == pytest.approx(1 / 20, rel=1e-6)
    assert np.abs(found - exact).max() < 2
    assert table.bias == {"rows": 0.0, "deviation": 0.0, "share": 0.0, "per_cell": 0.0, "units_whole": 1.0, "hidden_units": 0.0, "hidden_above": 0.0}


# --------------------------------------------------------------------------------------------------------------- chosen bounds


def errors(owner: Owner, events: pl.DataFrame, bounds: Bounds, **fields: Any) -> tuple[float, Table]:
    terms = Terms(Budget(fields.pop("spend", 2.0), 1e-6), CALENDAR)
    table = only(asked(owner, Request("n", "count", (BY_HOST, TimeBins(HOUR)), bounds=bounds, bias=False), terms=terms, **fields))
    truth = events.group_by("host.name", hours().alias("@timestamp")).len("n")
    found, exact = joined(table, truth, ["host.name", "@timestamp"], "n")
    return float(np.abs(found - exact).mean()), table


@pytest.mark.parametrize("filter_", ["pure", "auto"])
def test_chosen_bounds_err_less_than_usual_ones(owner: Owner, events: pl.DataFrame, filter_: str) -> None:
    chosen, table = errors(owner, events, Bounds(), filter=filter_, seed=1)
    for given in (Bounds(cells=10, each=2), Bounds(cells=5, each=1), Bounds(cells=40, each=5)):
        assert chosen < errors(owner, events, given, filter=filter_, seed=1)[0]
    assert table.describe()["bounds_chosen"] == ["rows"]
    assert set(table.bounds) == {"rows" if filter_ == "pure" else "length"}


@pytest.mark.parametrize("filter_", ["pure", "auto"])
def test_what_is_cut_off_is_estimated(owner: Owner, events: pl.DataFrame, filter_: str) -> None:
    """The stated loss against the one that is there, over several releases."""
    off = []
    for seed in range(12):
        _, table = errors(owner, events, Bounds(), filter=filter_, seed=seed, spend=4.0)
        bias = table.bias
        assert bias is not None
        lost = events.height - table.columns["tacit.value"].sum()
        noise = table.answered.noise.deviation * math.sqrt(table.rows)
        off.append((bias["rows"] - lost) / math.hypot(bias["deviation"], noise, 0.03 * events.height))
    assert max(map(abs, off)) < 6
    assert abs(float(np.mean(off))) < 3


def test_cells_and_rows_per_cell_are_chosen_as_quantiles(owner: Owner, events: pl.DataFrame) -> None:
    table = only(asked(owner, Request("n", "count", (BY_HOST,), bounds=Bounds(cells=AUTO, each=AUTO)), seed=1))
    per_unit = events.group_by("user.name", hours(DAY).alias("day")).agg(cells=pl.col("host.name").n_unique())
    assert table.bounds["cells"] == pytest.approx(float(per_unit["cells"].quantile(0.95) or 0), abs=1)
    assert set(table.bounds) == {"cells", "each", "rows"}
    assert table.bias is not None
    assert table.describe()["bounds_chosen"] == ["cells", "each"]


def test_little_data_gets_small_bounds_and_no_nonsense(owner: Owner) -> None:
    for seed in range(20):
        _, table = errors(owner, log(200, users=100), Bounds(), table=log(200, users=100), seed=seed, spend=1.0)
        assert table.bounds["rows"] <= 64


# ----------------------------------------------------------------------------------------------------------- cost and guarantee


def test_everything_is_one_charge_of_exactly_the_budget(owner: Owner) -> None:
    curator = owner(2.0)
    requests = (
        Request("a", "count", (BY_HOST,), share=3.0), Request("b", "units", (TimeBins(DAY),)), Request("c", "distinct", of=("source.ip",)),
        Request("d", "quantiles", of=("bytes",), edges=even_edges(0, 1e4, 64), at=(0.5,)),
    )
    found = release(requests, curator, Terms(Budget(2.0, 1e-6), CALENDAR, purpose="a dashboard"))
    charges = curator.guard.ledger.find("charge", curator.guard.scope)
    assert len(charges) == 1
    assert charges[0].body["plan"]["purpose"] == "a dashboard"
    assert charges[0].body["plan"]["mechanism"] == "laplace"
    assert found.guarantee.epsilon == pytest.approx(2.0, rel=1e-9)
    assert found.guarantee.epsilon <= 2.0
    assert 0 < found.guarantee.delta < 1e-20
    assert found.epsilon_30 == pytest.approx(60.0)
    assert [table.name for table in found.tables] == ["a", "b", "c", "d"]
    with pytest.raises(BudgetExceeded):
        release(requests, curator, Terms(Budget(0.001, 1e-6), CALENDAR))


def test_shares_divide_the_noise(owner: Owner) -> None:
    requests = (Request("a", "count", bounds=Bounds(rows=5), bias=False, share=3.0), Request("b", "count", bounds=Bounds(rows=5), bias=False))
    first, second = asked(owner, *requests).tables
    assert second.answered.noise.scale == pytest.approx(3 * first.answered.noise.scale)


def test_a_selection_costs_its_delta_and_says_no_figure_for_a_month(owner: Owner) -> None:
    found = asked(owner, Request("n", "top", of=("host.name",)))
    assert found.guarantee.delta == pytest.approx(0.02 * 1e-6, rel=1e-3)
    assert found.epsilon_30 is None


def test_the_noised_count_is_within_the_budget(owner: Owner) -> None:
    curator = owner(2.0, limits=Limits(minimum_units=100), count_share=0.1)
    found = release([Request("n", "count")], curator, Terms(Budget(1.0, 1e-6)))
    assert found.guarantee.epsilon == pytest.approx(1.0)
    with pytest.raises(UsageError, match="count_share"):
        release([Request("n", "count")], curator, Terms(Budget(0.3, 1e-6)))
    few = owner(2.0, table=log(40, users=20), limits=Limits(minimum_units=1_000), count_share=0.5)
    with pytest.raises(PolicyViolation, match="at least 1000"):
        release([Request("n", "count")], few, Terms(Budget(2.0, 1e-6)))


def test_gaussian_months_know_which_cells_days_share(owner: Owner) -> None:
    bounds = Bounds(cells=3, each=1)
    terms = Terms(Budget(1.0, 1e-6), CALENDAR)
    apart = asked(owner, Request("n", "count", (TimeBins(HOUR),), bounds=bounds, bias=False), filter="auto", terms=terms)
    shared = asked(owner, Request("n", "count", (BY_HOST,), bounds=bounds, bias=False), filter="auto", terms=terms)
    assert apart.guarantee.epsilon <= 1.0
    assert apart.epsilon_30 is not None
    assert shared.epsilon_30 is not None
    assert apart.epsilon_30 < shared.epsilon_30 / 3
    curator = owner(filter="auto")
    request = Request("n", "count", (TimeBins(HOUR),), bounds=bounds, bias=False)
    plan = releasing._planned(releasing._stages([request], curator, terms), curator, terms)
    mu = 1 / plan.step(0).noise_multiplier
    counted = curator.count_cost.mu_squared or 0.0
    assert apart.epsilon_30 == pytest.approx(gdp_epsilon(math.sqrt(30 * mu**2 + 900 * counted), 1e-6), rel=1e-6)
    weeks = asked(owner, Request("n", "count", (TimeBins(3 * DAY),), bounds=bounds, bias=False), filter="auto", terms=terms)
    assert weeks.epsilon_30 == pytest.approx(shared.epsilon_30, rel=0.01)


def test_a_test_seed_promises_nothing(owner: Owner) -> None:
    found = asked(owner, Request("n", "count"), seed=1)
    assert not found.guarantee.holds
    assert found.epsilon_30 is None


def test_the_same_seed_gives_the_same_release_whatever_the_order_of_rows(owner: Owner, events: pl.DataFrame) -> None:
    requests = (
        Request("a", "count", (BY_HOST, TimeBins(HOUR))), Request("b", "distinct", (BY_HOST,), of=("source.ip",)),
        Request("c", "quantiles", of=("bytes",), edges=log_edges(1, 1e6, 40), at=(0.5,)), Request("d", "top", of=("host.name",)),
    )
    first = release(requests, owner(seed=5), MUCH)
    second = release(requests, owner(seed=5, table=events.sample(fraction=1.0, shuffle=True, seed=3)), MUCH)
    for one, two in zip(first.tables, second.tables, strict=True):
        assert one.columns["tacit.value"].tolist() == two.columns["tacit.value"].tolist()


def test_noise_of_cells_without_records_is_laplace_of_the_stated_scale(owner: Owner) -> None:
    names = PublicKeys("host.name", tuple(f"none-{i}" for i in range(20_000)))
    table = only(asked(owner, Request("n", "count", (names,), bounds=Bounds(rows=7), bias=False), terms=Terms(Budget(1.0, 1e-6))))
    drawn = table.columns["tacit.value"]
    assert stats.kstest(drawn, stats.laplace(scale=7.0).cdf).pvalue > 1e-9
    assert table.answered.noise.deviation == pytest.approx(7 * 2**0.5, rel=1e-3)
    for factor, holds in ((1.0, True), (0.9, False), (1.1, False)):
        assert (abs(np.abs(drawn).mean() / (7 * factor) - 1) * 20_000**0.5 < 6.2) == holds


def test_negative_values_are_kept_unless_asked_otherwise(owner: Owner) -> None:
    names = PublicKeys("host.name", tuple(f"none-{i}" for i in range(50)))
    request = Request("n", "count", (names,), bounds=Bounds(rows=7), bias=False)
    plain = only(asked(owner, request))
    assert plain.columns["tacit.value"].min() < 0
    assert plain.describe()["post_processing"] == "none"
    cut = only(asked(owner, request, terms=Terms(Budget(20.0, 1e-6), nonnegative=True)))
    assert cut.columns["tacit.value"].min() == 0
    assert cut.columns["tacit.lower"].min() == 0
    assert "too large on average" in cut.describe()["post_processing"]


# ----------------------------------------------------------------------------------------------------------------- several sites


def sites(events: pl.DataFrame) -> LocalFederation:
    guards = []
    for part in (events.filter(pl.col("user.name").str.ends_with("1")), events.filter(~pl.col("user.name").str.ends_with("1"))):
        policy = Policy(dataset="log", unit=USER_DAY, relation=Relation.ADD_REMOVE, budget=Budget(3.0, 1e-6), limits=Limits(minimum_units=0))
        records = Records.open_columns(part, ["host.name", "@timestamp"], unit=USER_DAY, time="@timestamp")
        guards.append(Guard(records, policy=policy, ledger=MemoryBooks()))
    return LocalFederation(guards)


def test_sites_add_up_with_shared_noise(events: pl.DataFrame) -> None:
    federation = sites(events)
    found = release([Request("n", "count", (BY_HOST,))], federation, Terms(Budget(2.0, 1e-6)))
    table = only(found)
    assert found.epsilon_30 is None
    assert "gdp over skellam" in str(found.guarantee)
    assert found.guarantee.epsilon <= 2.0
    bias = table.bias
    assert bias is not None
    assert table.columns["tacit.value"].sum() + bias["rows"] == pytest.approx(events.height, rel=0.15)


@pytest.mark.parametrize("request_", [Request("n", "count", (FoundKeys("host.name"),)), Request("n", "distinct", of=("host.name",))])
def test_sites_neither_find_keys_nor_count_distinct_values(events: pl.DataFrame, request_: Request) -> None:
    federation = sites(events)
    with pytest.raises(UsageError, match="one curator"):
        release([request_], federation, Terms(Budget(2.0, 1e-6)))
    assert all(guard.ledger.find("charge", guard.scope) == [] for guard in federation.guards)


# ---------------------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize("build", [
    lambda: Request("n", "mean"), lambda: Request("", "count"), lambda: Request("../n", "count"), lambda: Request("n", "count", share=0.0),
    lambda: Request("n", "count", share=math.nan), lambda: Request("n", "count", (BY_HOST, BY_HOST)),
    lambda: Request("n", "count", (TimeBins(1), TimeBins(2))),
    lambda: Request("n", "count", of=("x",)), lambda: Request("n", "distinct"), lambda: Request("n", "top"),
    lambda: Request("n", "histogram", of=("b",)),
    lambda: Request("n", "quantiles", of=("b",), edges=(0.0, 1.0)), lambda: Request("n", "quantiles", of=("b",), edges=(0.0, 1.0), at=(1.0,)),
    lambda: Request("n", "histogram", of=("a", "b"), edges=(0.0, 1.0)), lambda: Request("n", "count", edges=(0.0, 1.0)),
    lambda: Request("n", "top", of=("x",), most=0), lambda: Request("n", "top", (FoundKeys("x"),), of=("x",)),
    lambda: Request("n", "units", bounds=Bounds(each=2)), lambda: Request("n", "distinct", of=("x",), bounds=Bounds(cells=2)),
    lambda: Request("n", "count", (FoundKeys("tacit.value"),)), lambda: Bounds(rows=0), lambda: Bounds(cells=True), lambda: Bounds(each="all"),
    lambda: Calendar("t", 5, 5), lambda: log_edges(-1, 10, 3), lambda: log_edges(0, 0.5, 3), lambda: log_edges(5, 5, 3), lambda: log_edges(1, 10, 0),
    lambda: even_edges(1, 1, 3), lambda: even_edges(0, math.inf, 3), lambda: even_edges(0, 1, 0),
])  # fmt: skip
def test_requests_that_make_no_sense_are_refused(build: Any) -> None:
    with pytest.raises(UsageError, match="Expected"):
        build()


@pytest.mark.parametrize(("requests", "terms", "message"), [
    ((), MUCH, "at least one request"),
    ((Request("n", "count"), Request("n", "units")), MUCH, "name of its own"),
    ((Request("n", "count", (TimeBins(HOUR),)),), Terms(Budget(1.0, 1e-6)), "calendar"),
    ((Request("n", "count", (TimeBins(7 * HOUR),)),), MUCH, "whole bins"),
    ((Request("n", "count", (PublicKeys("host.name", ("a", "a ")),)),), MUCH, "each once"),
    ((Request("n", "count", (PublicKeys("host.name", ()),)),), MUCH, "public values"),
    ((Request("n", "count", (TimeBins(1), PublicKeys("host.name", tuple(map(str, range(99)))))),), MUCH, "at most 4,194,304 cells"),
    ((Request("n", "count", bounds=Bounds(rows=1 << 30)),), MUCH, "rows="),
    ((Request("n", "histogram", of=("bytes",), edges=(2.0, 1.0)),), MUCH, "edges"),
])  # fmt: skip
def test_what_cannot_be_asked_is_refused_before_anything_is_charged(owner: Owner, requests: Any, terms: Terms, message: str) -> None:
    curator = owner()
    with pytest.raises(UsageError, match=message):
        release(requests, curator, terms)
    assert curator.guard.ledger.find("charge", curator.guard.scope) == []


def test_a_plan_that_does_not_fit_charges_nothing(owner: Owner) -> None:
    curator = owner(1.0)
    with pytest.raises(BudgetExceeded):
        release([Request("n", "count")], curator, Terms(Budget(1.5, 1e-6)))
    assert curator.guard.ledger.find("charge", curator.guard.scope) == []


def test_errors_quote_no_record(owner: Owner, events: pl.DataFrame) -> None:
    secret = "hunter2"  # noqa: S105
    table = events.with_columns(pl.lit(secret).alias("host.name"))
    with pytest.raises(DataError) as caught:
        release([Request("n", "count", (PublicKeys("hst", ("a",)),))], owner(table=table), MUCH)
    assert secret not in str(caught.value)
    assert isinstance(caught.value, TacitError)


def test_a_policy_may_allow_only_some_kinds(owner: Owner) -> None:
    curator: Curator = owner(limits=Limits(minimum_units=0, questions=("tally@1",)))
    with pytest.raises(PolicyViolation, match="contributions@1"):
        release([Request("n", "count")], curator, MUCH)
    found = release([Request("n", "count", bounds=Bounds(rows=3), bias=False)], curator, MUCH)
    assert only(found).bias is None
