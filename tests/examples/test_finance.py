"""The finance example, run as its page says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from .conftest import example

DATA = Path(os.environ.get("TACIT_DATA", "")) / "fraud_handbook_sim" / "fdh_transformed_2018-07-25_2018-08-14.parquet"


@pytest.fixture(scope="module")
def fraud() -> Any:
    return example("finance/fraud.py")


def transactions(customers: int = 400, days: int = 21) -> pl.DataFrame:
    """Customers with amounts of their own; one in ten is robbed of five times as much on its last two days of a week."""
    rng = np.random.default_rng(0)
    usual = rng.lognormal(3, 1.0, customers)
    who, when = np.repeat(np.arange(customers), 3 * days), rng.uniform(0, days, customers * 3 * days)
    robbed = (who % 10 == 0) & (np.floor(when / 7).astype(int) == who // 10 % 3) & (when % 7 > 5)
    amount = usual[who] * rng.lognormal(0, 0.2, len(who)) * np.where(robbed, 5, 1)
    seconds = (np.datetime64("2024-03-01") + (when * 86_400).astype("timedelta64[s]")).astype("datetime64[us]")
    return pl.DataFrame({"TX_DATETIME": seconds, "CUSTOMER_ID": who, "TX_AMOUNT": amount, "TX_FRAUD": robbed.astype(int)})


def test_a_fraud_desk_finds_what_it_looks_for(fraud: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    transactions().write_parquet(tmp_path / "tx.parquet")
    assert fraud.main([str(tmp_path / "tx.parquet"), "--cards", "5", "--epsilon", "8"]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert [line[:10] for line in lines] == ["private, e", "gradient b", "a rule: th"]
    private, rule = (float(line.split("AP ")[1].split()[0]) for line in (lines[0], lines[2]))
    assert private > 1.2 * rule
    assert "DP per customer, add/remove" in err


def test_no_feature_depends_on_another_customer(fraud: Any) -> None:
    table = transactions(40)
    alone = fraud.own_history(table.filter(pl.col("CUSTOMER_ID") == 7))
    among = fraud.own_history(table).filter(pl.col("CUSTOMER_ID") == 7)
    assert alone.equals(among)
    assert set(fraud.DOMAIN.names) < set(among.columns)


@pytest.mark.parametrize(("table", "message"), [(None, "there is none"), (transactions(20).drop("TX_FRAUD"), "TX_FRAUD missing"),
                                               (transactions(20, days=9), "two weeks")])
def test_what_cannot_be_used_is_refused(
    fraud: Any, table: pl.DataFrame | None, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    if table is not None:
        table.write_parquet(tmp_path / "tx.parquet")
    with pytest.raises(SystemExit) as stopped:
        fraud.main([str(tmp_path / "tx.parquet")])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.skipif(not DATA.is_file(), reason="the transactions are not there; set TACIT_DATA")
def test_real_customers_cost_little_at_epsilon_3(fraud: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Usual: private .125 to .15, gradient boosting .129, the rule .112."""
    assert fraud.main([str(DATA)]) == 0
    figures = [float(line.split("AP ")[1].split()[0]) for line in capsys.readouterr().out.splitlines()]
    assert figures[0] > 0.095
    assert figures[1] == pytest.approx(0.129, abs=0.02)
