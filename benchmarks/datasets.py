"""The data sets, their splits and their public domains.

``TACIT_DATA`` names the folder that holds them (default: ``../shared/data`` beside the repository). Every contestant gets the same rows and
the same domain; a domain is written by hand from documentation and never read off the data.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from benchmarks import ROOT

DOMAINS = Path(__file__).parent / "domains"


class MissingData(Exception):
    """The files of a data set are not there."""


@dataclass(frozen=True)
class Split:
    """One training and one test table with labels in {0, 1}, and the public columns (as in the domain file)."""

    train: pl.DataFrame
    y_train: NDArray[np.int64]
    test: pl.DataFrame
    y_test: NDArray[np.int64]
    columns: tuple[dict[str, Any], ...]

    @property
    def domain_toml(self) -> str:
        """The domain in the form that ``tacit.domain.Domain.from_toml`` reads."""
        return "\n".join(_table(column) for column in self.columns)


@dataclass(frozen=True)
class Case:
    """A named way to split a data set by seed."""

    name: str
    about: str
    load: Callable[[int], Split]


def data_folder() -> Path:
    """The folder with the data sets."""
    return Path(os.environ.get("TACIT_DATA", ROOT.parent / "shared" / "data"))


def columns_of(name: str) -> tuple[dict[str, Any], ...]:
    """The public columns in ``domains/NAME.toml``."""
    return tuple(tomllib.loads((DOMAINS / f"{name}.toml").read_text(encoding="utf-8"))["columns"])


def _file(name: str) -> Path:
    path = data_folder() / name
    if not path.is_file():
        raise MissingData(f"Expected {name} in the data folder; set TACIT_DATA to the folder that holds it.")
    return path


def _table(column: dict[str, Any]) -> str:
    values = {key: _toml(value) for key, value in column.items()}
    return "[[columns]]\n" + "\n".join(f"{key} = {value}" for key, value in values.items()) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return f'"{value}"' if isinstance(value, str) else repr(float(value))


def _split(table: pl.DataFrame, y: NDArray[np.int64], columns: tuple[dict[str, Any], ...], *, share: float, seed: int) -> Split:
    train, test = train_test_split(np.arange(table.height), test_size=share, random_state=seed, stratify=y)
    return Split(table[train], y[train], table[test], y[test], columns)


def _adult(seed: int) -> Split:
    table = pl.read_csv(_file("adult/adult.data")).rename(str.strip).drop_nulls("Salary")
    texts = [name for name, kind in table.schema.items() if kind == pl.String]
    table = table.with_columns(pl.col(texts).str.strip_chars())
    y = (table["Salary"] == ">50K").to_numpy().astype(np.int64)
    columns = columns_of("adult")
    # Blanks before the numbers make text of them; peers get arrays of numbers, so nobody else has to parse them either.
    typed = [pl.col(c["name"]).cast(pl.Float32 if c["type"] == "number" else pl.String) for c in columns]
    return _split(table.select(typed), y, columns, share=0.25, seed=seed)


def _nsl(name: str) -> tuple[pl.DataFrame, NDArray[np.int64]]:
    table = pl.read_parquet(_file(f"nsl_kdd/{name}"))
    y = (table["class"].cast(pl.String) != "normal").to_numpy().astype(np.int64)
    columns = columns_of("nsl_kdd")
    texts = [column["name"] for column in columns if column["type"] == "category"]
    return table.select(column["name"] for column in columns).with_columns(pl.col(texts).cast(pl.String)), y


_NSL_TRAIN, _NSL_TEST = "KDDTrain_dhoogla_clean.parquet", "KDDTest_dhoogla_clean.parquet"


def _nsl_split(seed: int) -> Split:
    table, y = _nsl(_NSL_TRAIN)
    return _split(table, y, columns_of("nsl_kdd"), share=0.3, seed=seed)


def _nsl_official(_seed: int) -> Split:
    (train, y), (test, y_test) = _nsl(_NSL_TRAIN), _nsl(_NSL_TEST)
    return Split(train, y, test, y_test, columns_of("nsl_kdd"))


_FRAUD = "fraud_handbook_sim/fdh_transformed_2018-07-25_2018-08-14.parquet"


def _fraud_rows() -> tuple[pl.DataFrame, pl.DataFrame]:
    """One week to train, one week of delay, one week to test; cards known to be compromised before the test week are left out of it."""
    table = pl.read_parquet(_file(_FRAUD))
    time, week, start = pl.col("TX_DATETIME"), timedelta(days=7), datetime(2018, 7, 25)
    between = [table.filter((time >= start + i * week) & (time < start + (i + 1) * week)) for i in range(3)]
    known = pl.concat(part.filter(pl.col("TX_FRAUD") == 1)["CUSTOMER_ID"] for part in between[:2]).unique()
    return between[0], between[2].filter(~pl.col("CUSTOMER_ID").is_in(known.implode()))


def _fraud(*, terminals: bool) -> Split:
    columns = tuple(column for column in columns_of("fraud") if terminals or not column["name"].startswith("TERMINAL_ID"))
    train, test = _fraud_rows()
    numbers = [pl.col(column["name"]).cast(pl.Float32) for column in columns]
    labels = [part["TX_FRAUD"].to_numpy().astype(np.int64) for part in (train, test)]
    return Split(train.select(numbers), labels[0], test.select(numbers), labels[1], columns)


def own_history(table: pl.DataFrame) -> pl.DataFrame:
    """What a transaction is, held against its own customer's last day, week and month: no column depends on anybody else."""
    amount, (day, week, month) = pl.col("TX_AMOUNT"), (pl.col(f"CUSTOMER_ID_AVG_AMOUNT_{days}DAY_WINDOW") for days in (1, 7, 30))
    found = table.select(
        amount=amount, amount_to_week=amount / (week + 1), amount_to_month=amount / (month + 1), day_to_month=day / (month + 1),
        week_to_month=week / (month + 1),
    )
    return found.cast(pl.Float32)


def fraud_by_customer() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Train and test transactions with the features of `own_history`, the customer and the label."""
    parts = [own_history(part).with_columns(part["CUSTOMER_ID"].alias("customer"), part["TX_FRAUD"].alias("fraud")) for part in _fraud_rows()]
    return parts[0], parts[1]


def _few_rows(rows: int, seed: int) -> Split:
    """A few rows of each customer, frauds first, else by chance: how a learner that only knows records can be made to protect customers."""
    train, test = fraud_by_customer()
    order = train.with_columns(chance=pl.Series(np.random.default_rng(seed).random(train.height)))
    train = order.sort("customer", pl.col("fraud") == 0, "chance").group_by("customer", maintain_order=True).head(rows)
    columns = columns_of("fraud_customer")
    names = [column["name"] for column in columns]
    labels = [part["fraud"].to_numpy().astype(np.int64) for part in (train, test)]
    return Split(train.select(names), labels[0], test.select(names), labels[1], columns)


FEW_ROWS = {rows: Case(f"fraud.customer.{rows}", f"Card fraud, at most {rows} rows of a customer", partial(_few_rows, rows)) for rows in (1, 3)}
"""For peers that protect records: ε for a customer is that many times ε for a record."""

CASES: dict[str, Case] = {
    case.name: case
    for case in (
        Case("adult", "Adult, 25 % test, stratified by seed", _adult),
        Case("nsl_kdd", "NSL-KDD training file, 70/30, stratified by seed", _nsl_split),
        Case("nsl_kdd.official", "NSL-KDD, official test file", _nsl_official),
        Case("fraud", "Card fraud, the book's split", lambda _seed: _fraud(terminals=True)),
        Case("fraud.no_terminals", "Card fraud without the TERMINAL_ID columns", lambda _seed: _fraud(terminals=False)),
    )
}
