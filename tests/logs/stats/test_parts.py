"""The parts of a release: bounds from a noisy histogram, quantiles from noisy counts, requests from text, files from tables."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import integrate, stats

from tacit.domain import Category, Domain, Numeric
from tacit.errors import DataError, UsageError
from tacit.guarantee import Budget, Guarantee, PrivacyUnit
from tacit.logs.stats import (
    AUTO,
    Bounds,
    Calendar,
    FoundKeys,
    Noise,
    PublicKeys,
    Reader,
    Release,
    Request,
    Terms,
    TimeBins,
    arrow_table,
    as_csv,
    as_json,
    as_text,
    choosing,
    metric_documents,
    release,
    write_metrics,
    write_parquet,
)  # fmt: skip
from tacit.logs.stats.grammar import WORDS_APART
from tacit.logs.stats.quantiles import consistent, prefix_variances, quantiles, suffix_variances
from tacit.questions import Condition
from tacit.questions.contributions import edges

from .conftest import BEGIN, DAY, HOSTS, Owner, log

# ------------------------------------------------------------------------------------------------------------------- quantiles


@pytest.mark.parametrize(("ranges", "block"), [(12, 4), (10, 4), (7, 7), (9, 2)])
def test_consistent_counts_are_the_least_squares_ones(ranges: int, block: int) -> None:
    rng = np.random.default_rng(0)
    starts = list(range(0, ranges, block))
    fine, coarse = rng.normal(size=(1, ranges)), rng.normal(size=(1, len(starts)))
    design = np.vstack([np.eye(ranges), *(np.isin(np.arange(ranges), range(s, min(s + block, ranges))).astype(float) for s in starts)])
    exact = np.linalg.lstsq(design, np.concatenate([fine[0], coarse[0]]), rcond=None)[0]
    assert consistent(fine, coarse, block)[0] == pytest.approx(exact)
    covariance = np.linalg.inv(design.T @ design)
    sums = np.tril(np.ones((ranges + 1, ranges)), -1)
    assert prefix_variances(ranges, block) == pytest.approx(np.einsum("ij,jk,ik->i", sums, covariance, sums))
    rest = 1 - sums
    assert suffix_variances(ranges, block) == pytest.approx(np.einsum("ij,jk,ik->i", rest, covariance, rest))


def test_flat_counts_have_flat_variances() -> None:
    assert prefix_variances(3, None).tolist() == [0, 1, 2, 3]
    assert suffix_variances(3, None).tolist() == [3, 2, 1, 0]


@pytest.mark.parametrize("block", [None, 8])
def test_intervals_of_quantiles_hold_what_they_say(block: int | None) -> None:
    rng = np.random.default_rng(1)
    exact = rng.integers(0, 400, 64).astype(float)
    at, ends = np.array([0.1, 0.5, 0.95]), np.arange(65.0)
    sums = np.concatenate([[0], np.cumsum(exact)])
    truth = np.interp(at * sums[-1], sums, ends)
    held, off = [], []
    for _ in range(400):
        fine = exact + rng.laplace(0, 20, 64)
        if block is not None:
            fine = consistent(fine[None, :], (np.add.reduceat(exact, np.arange(0, 64, block)) + rng.laplace(0, 20, 8))[None, :], block)[0]
        found = quantiles(fine[None, :], ends, at, sigma=20 * 2**0.5, block=block)
        held.append((found.lower[0] <= truth) & (truth <= found.upper[0]))
        off.append(found.value[0] - truth)
    assert stats.binomtest(int(np.sum(held)), 1200, 0.95, alternative="less").pvalue > 1e-9
    assert np.abs(np.mean(off, axis=0)).max() < 0.5


def test_quantiles_of_nothing_are_unknown() -> None:
    found = quantiles(np.random.default_rng(0).laplace(0, 5, (3, 16)), np.arange(17.0), np.array([0.5]), sigma=5 * 2**0.5, block=None)
    assert np.isnan(found.value).all()
    assert np.isnan(found.lower).all()


# --------------------------------------------------------------------------------------------------------------------- bounds


@pytest.mark.parametrize("bias", [0.0, 0.3, 4.0, 60.0])
def test_expected_errors_are_integrals(bias: float) -> None:
    for mechanism, law in (("laplace", stats.laplace(scale=2.0)), ("gaussian", stats.norm(scale=2.0)), ("skellam", stats.norm(scale=2.0))):
        exact = integrate.quad(lambda x, law=law: abs(x - bias) * law.pdf(x), -200, 200, points=[0, bias], limit=200)[0]
        assert choosing.expected_error(2.0, bias, mechanism) == pytest.approx(exact, rel=1e-6)


def histogram(**amounts: int) -> np.ndarray:
    counts = np.zeros(len(edges()) + 1)
    for amount, units in amounts.items():
        counts[np.searchsorted(edges(), int(amount[1:]))] += units
    return counts


def test_noise_alone_shows_nothing_and_what_is_there_is_seen() -> None:
    rng = np.random.default_rng(2)
    for noise, draw in ((Noise("laplace", 10.0), rng.laplace), (Noise("gaussian", 10.0), rng.normal)):
        blank = sum(choosing.visible(draw(0, 10, len(edges()) + 1), noise) > 2 for _ in range(2_000))
        assert blank < 60
        for _ in range(50):
            counts = histogram(_1=500, _2=300, _3=200, _4=150, _5=120, _6=100, _7=90) + draw(0, 10, len(edges()) + 1)
            assert 6 <= choosing.visible(counts, noise) <= 20


def test_a_bound_is_chosen_where_noise_and_loss_balance() -> None:
    noise = Noise("laplace", 1.0)
    counts = histogram(_1=9_000, _12=900, _128=100)

    def error(cells: int) -> Any:
        return lambda bound, lost: choosing.expected_error(bound, lost / cells, "laplace")

    few, cut = choosing.best(counts, noise, by_length=False, most=1 << 24, error=error(1))
    many, _ = choosing.best(counts, noise, by_length=False, most=1 << 24, error=error(100_000))
    assert few > many == 1
    assert few >= 96
    assert cut.whole is not None
    assert cut.whole > 0.95


def test_hidden_units_are_counted_upwards() -> None:
    noise, rng, held = Noise("laplace", 30.0), np.random.default_rng(3), []
    for _ in range(300):
        counts = histogram(_1=2_000, _2=1_000, _3000=40) + rng.laplace(0, 30, len(edges()) + 1)
        held.append(choosing.lost_above(counts, noise, 2).hidden >= 40)
    assert stats.binomtest(sum(held), 300, 0.975, alternative="less").pvalue > 1e-9


def test_noise_knows_its_quantiles() -> None:
    for noise, law in ((Noise("laplace", 3.0), stats.laplace(scale=3.0)), (Noise("gaussian", 3.0), stats.norm(scale=3.0))):
        assert noise.beyond(1e-6) == pytest.approx(law.isf(1e-6))
        assert noise.margin == pytest.approx(law.isf(0.025))
        assert noise.deviation == pytest.approx(law.std(), rel=1e-6)
    assert Noise("laplace", 0.0).deviation == 0


# --------------------------------------------------------------------------------------------------------------------- grammar

READ = Reader()


def test_words_become_a_request() -> None:
    words = [
        'by=host.name=[a|"b, c"],user.name,15min,column:hour', "where=event.outcome=failure|unknown,port!=443,bytes>=1e3", "cells=10", "each=auto",
        "share=2", "bias=no",
    ]  # fmt: skip
    found = READ.read("count", "  ".join(words))
    assert found.by == (PublicKeys("host.name", ("a", "b, c")), FoundKeys("user.name"), TimeBins(900), FoundKeys("hour"))
    assert found.where == (
        Condition("event.outcome", "in", ("failure", "unknown")), Condition("port", "not in", ("443",)), Condition("bytes", ">=", limit=1e3),
    )
    assert (found.bounds, found.share, found.bias, found.name) == (Bounds(10, AUTO), 2.0, False, "count")
    assert READ.read("count", WORDS_APART.join(words)) == found
    assert READ.read("units", "", name="people") == Request("people", "units")


def test_ranges_and_quantiles() -> None:
    logs = READ.read("quantiles", "of=bytes range=1..1e6 bins=6 at=p50,0.99")
    assert logs.at == (0.5, 0.99)
    assert logs.edges == pytest.approx((1, 10, 100, 1e3, 1e4, 1e5, 1e6))
    assert READ.read("histogram", "of=bytes range=0..10 bins=5").edges == (0, 2, 4, 6, 8, 10)
    assert READ.read("histogram", "of=bytes range=-5..1e6 bins=2").edges == (-5, 499_997.5, 1e6)
    assert READ.read("histogram", "of=bytes range=0..100 bins=3 scale=log").edges == (0, 1, 10, 100)
    assert READ.read("histogram", "of=bytes edges=0,1,5").edges == (0, 1, 5)
    assert READ.read("top", "of=user.name,host.name k=3").most == 3


def test_a_domain_makes_keys_public() -> None:
    domain = Domain.of(kind=Category(("a", "b")), size=Numeric(0, 1))
    assert Reader(domain).read("count", "by=kind,other").by == (PublicKeys("kind", ("a", "b")), FoundKeys("other"))


def test_values_come_from_files(tmp_path: Path) -> None:
    (tmp_path / "hosts.txt").write_text("a\n\n b \na\n", encoding="utf-8")
    assert Reader(folder=tmp_path).read("count", "by=host.name=@hosts.txt").by == (PublicKeys("host.name", ("a", "b")),)
    (tmp_path / "empty.txt").write_text("\n", encoding="utf-8")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    for name in ("empty.txt", "binary.txt", "none.txt", "."):
        with pytest.raises(DataError, match="values"):
            Reader(folder=tmp_path).read("count", f"by=host.name=@{name}")


@pytest.mark.parametrize(("metric", "text", "word"), [
    ("count", "host.name", "by="), ("count", "by=", "after by="), ("count", "by=a by=b", "once"), ("count", "of=x", "'of=x'"), ("mean", "", "one of"),
    ("count", "where=x", "conditions"), ("count", "where=x>abc", "number"), ("count", "where=a=|", "condition on «a»"),
    ("count", "where==x", "conditions"),
    ("count", "cells=many", "whole number"), ("count", "cells=-1", "whole number"), ("count", "rows=0", "rows=0"), ("count", "share=0", "share"),
    ("count", "share=nan", "number"), ("count", "share=1e999", "number"), ("count", "bias=maybe", "yes"), ("count", 'by="a', "closed"),
    ("count", "by=a=[b", "closed"), ("count", "by=a=[|]", "values"), ("count", "by=a,a", "once"),
    ("count", "by=hour,day", "width"), ("count", "by==b", "column"),
    ("histogram", "of=x", "range="), ("histogram", "of=x range=5", "range="), ("histogram", "of=x range=5..1", "lower"), ("top", "k=3", "of="),
    ("histogram", "of=x range=0..1 scale=square", "scale"), ("histogram", "of=x range=0..1 bins=0", "bins"),
    ("histogram", "of=x edges=1,2 bins=3", "alone"),
    ("quantiles", "of=x range=0..1 at=2", "between 0 and 1"), ("quantiles", "of=x range=0..1 at=p", "number"), ("top", "of=x k=0", "between 1"),
    ("count", "name=../x", "name"), ("count", "name=a/b", "name"), ("units", "each=2", "each"),
])  # fmt: skip
def test_what_cannot_be_understood_is_named(metric: str, text: str, word: str) -> None:
    with pytest.raises(UsageError) as caught:
        READ.read(metric, text)
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.sampled_from(["count", "top", "quantiles"]), st.text(alphabet='by=where,|"[]\\ \x1f@0123456789.!<>ae\u00fc\n', max_size=60))
@example("count", "by=" + "[" * 5_000)
@example("count", 'where=a="' + '\\"' * 2_000)
@example("count", "where=" + "a=b," * 5_000)
@example("count", "by=a=" + "x|" * 50_000 + "x")
def test_any_text_is_read_or_refused(metric: str, text: str) -> None:
    said = ""
    try:
        assert isinstance(READ.read(metric, text), Request)
    except (UsageError, DataError) as error:
        said = str(error)
    assert len(said) < 1_000


# ----------------------------------------------------------------------------------------------------------------------- files


ODD = "\x1b[31mbad\x07"


@pytest.fixture
def released(owner: Owner) -> Release:
    table = log(4_000).with_columns(pl.col("host.name").replace("h00", ODD))
    nobody = (Condition("bytes", "<", limit=-1.0),)
    requests = (
        Request("failed", "count", (PublicKeys("host.name", (ODD, *HOSTS)), TimeBins(DAY))), Request("best", "top", of=("host.name",)),
        Request("sizes", "quantiles", of=("bytes",), edges=(0, 5, 1e5), at=(0.5,)),
        Request("none", "histogram", where=nobody, of=("bytes",), edges=(0, 1, 2)),
        Request("nothing", "quantiles", where=nobody, of=("bytes",), edges=(0, 1, 2), at=(0.5,)),
    )  # fmt: skip
    return release(requests, owner(table=table), Terms(Budget(20.0, 1e-6), Calendar("@timestamp", BEGIN, BEGIN + 3 * DAY)))


def test_parquet_holds_table_and_promises(released: Release) -> None:
    for table in released.tables:
        file = io.BytesIO()
        write_parquet(released, table, file)
        back = pq.read_table(file)
        assert back.column_names == list(table.columns)
        assert back.num_rows == table.rows
        promises = json.loads(back.schema.metadata[b"tacit"])
        assert Guarantee.from_dict(promises["guarantee"]) == released.guarantee
        assert promises["provenance"]["charge"] == released.provenance.charge
        assert promises["release"]["name"] == table.name
        assert promises["release"]["noise"]["standard_deviation"] == pytest.approx(table.answered.noise.deviation)
        assert "epsilon_30" in promises
    assert str(arrow_table(released, released.tables[0]).schema.field("@timestamp").type) == "timestamp[ms, tz=UTC]"


def test_metric_documents_are_ecs_and_complete(released: Release) -> None:
    documents = list(metric_documents(released))
    assert len(documents) == sum(table.rows for table in released.tables) + len(released.tables)
    for document in documents:
        assert document["event.kind"] == "metric"
        assert document["tacit.unit"] == "user-day"
        assert document["tacit.epsilon"] == pytest.approx(20.0)
        assert document["@timestamp"].startswith("202")
        assert json.loads(json.dumps(document, allow_nan=False)) == document
    cells = [document for document in documents if document.get("tacit.release") == "failed" and "tacit.value" in document]
    assert {cell["@timestamp"] for cell in cells} == {"2026-01-05T00:00:00Z", "2026-01-06T00:00:00Z", "2026-01-07T00:00:00Z"}
    assert all(cell["tacit.noise_sd"] > 0 for cell in cells)
    about = next(document for document in documents if document["event.dataset"] == "tacit.release")
    assert about["tacit.bounds.rows"] >= 1
    assert about["tacit.guarantee"] == str(released.guarantee)
    file = io.BytesIO()
    write_metrics(released, file)
    assert [json.loads(line) for line in file.getvalue().splitlines()] == documents


def test_json_and_csv_agree_with_the_table(released: Release) -> None:
    data = json.loads(as_json(released))
    assert [table["name"] for table in data["tables"]] == [table.name for table in released.tables]
    table = released.tables[0]
    rows = list(csv.DictReader(io.StringIO(as_csv(table))))
    assert len(rows) == table.rows
    assert [float(row["tacit.value"]) for row in rows] == pytest.approx(table.columns["tacit.value"].tolist(), rel=1e-5)
    assert [row["tacit.value"] for row in data["tables"][0]["rows"]] == [float(row["tacit.value"]) for row in rows]


def test_text_says_what_matters_and_steers_no_terminal(released: Release) -> None:
    text = as_text(released, 5)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert str(released.guarantee) in text
    assert "one unit adds at most: rows" in text
    assert "and 34 more" in text
    assert "unknown" in text
    assert "failed: count, 39 cells, noise" in text
    assert as_text(released, 0).count("\n") < 60
    many = float(released.tables[0].columns["tacit.value"].max())
    assert f"{many:,.1f}" in text


def test_bias_is_said_only_where_it_is_known(owner: Owner) -> None:
    found = release([Request("n", "count", bounds=Bounds(rows=3), bias=False)], owner(), Terms(Budget(1.0, 1e-6)))
    assert "cut off" not in as_text(found, 1)
    assert "not the people" not in as_text(found, 1)
    assert "not the people" in as_text(release([Request("n", "count")], owner(unit=PrivacyUnit()), Terms(Budget(1.0, 1e-6))), 1)
    assert math.isfinite(found.tables[0].columns["tacit.value"][0])
