"""Card fraud with the customer as the unit: what does protecting whole customers cost a fraud desk that can look at so many cards a day?

    python examples/finance/fraud.py TRANSACTIONS.parquet [--epsilon 3] [--cards 20] [--cost 10]

The table needs TX_DATETIME, CUSTOMER_ID, TX_AMOUNT and TX_FRAUD (0 or 1). A customer's mean amounts of the last 1, 7 and 30 days are taken from
columns CUSTOMER_ID_AVG_AMOUNT_1DAY_WINDOW and so on where they are there; else they are computed from the table, which should then begin a month
early. The first week is learned from, the last is ranked, and cards known to be compromised before it are left out. Every feature of a transaction
comes from its own customer: nobody else's records, and nobody's labels.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import average_precision_score

from tacit import Budget
from tacit.domain import Domain, Numeric
from tacit.learn import BoostedTreesClassifier

NEEDED = ("TX_DATETIME", "CUSTOMER_ID", "TX_AMOUNT", "TX_FRAUD")
DOMAIN = Domain.of(
    amount=Numeric(0, 4_000), amount_to_week=Numeric(0, 32), amount_to_month=Numeric(0, 32), day_to_month=Numeric(0, 32),
    week_to_month=Numeric(0, 32),
)
"""A card's limit is 4,000, and more than 32 times the usual is all the same: both are known without a look at the records."""

DELTA = 1e-5
WEEK = dt.timedelta(days=7)


def own_history(table: pl.DataFrame) -> pl.DataFrame:
    """Each transaction against its own customer's last day, week and month, itself included."""
    day, week, month = (_mean(table, days) for days in (1, 7, 30))
    return table.sort("CUSTOMER_ID", "TX_DATETIME").select(
        *NEEDED, amount=pl.col("TX_AMOUNT"), amount_to_week=pl.col("TX_AMOUNT") / (week + 1), amount_to_month=pl.col("TX_AMOUNT") / (month + 1),
        day_to_month=day / (month + 1), week_to_month=week / (month + 1),
    )


def _mean(table: pl.DataFrame, days: int) -> pl.Expr:
    """A customer's mean amount over so many days."""
    given = f"CUSTOMER_ID_AVG_AMOUNT_{days}DAY_WINDOW"
    if given in table.columns:
        return pl.col(given)
    return pl.col("TX_AMOUNT").rolling_mean_by("TX_DATETIME", f"{days}d").over("CUSTOMER_ID")


def weeks(table: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The first seven days, and the last seven without cards whose fraud was known by then."""
    time = pl.col("TX_DATETIME")
    first, last = table["TX_DATETIME"].min(), table["TX_DATETIME"].max()
    train, test = table.filter(time < first + WEEK), table.filter(time > last - WEEK)
    known = table.filter((time <= last - WEEK) & (pl.col("TX_FRAUD") == 1))["CUSTOMER_ID"].unique()
    return train, test.filter(~pl.col("CUSTOMER_ID").is_in(known.implode()))


@dataclass(frozen=True)
class Desk:
    """A fraud desk: so many cards a day, at so much each."""

    cards: int
    cost: float

    def results(self, test: pl.DataFrame, scores: NDArray[np.float64]) -> dict[str, float]:
        """What the desk finds if every day it looks at the cards with the highest score of a transaction."""
        days = test.with_columns(score=pl.Series(scores), day=pl.col("TX_DATETIME").dt.date())
        cards = days.group_by("day", "CUSTOMER_ID").agg(
            pl.col("score").max(), fraud=pl.col("TX_FRAUD").max(), saved=(pl.col("TX_AMOUNT") * pl.col("TX_FRAUD")).sum(),
        )
        looked = cards.sort("day", "score", "CUSTOMER_ID", descending=[False, True, False]).group_by("day", maintain_order=True).head(self.cards)
        caught, alerts = float(looked["fraud"].sum()), looked.height
        return {
            "average precision": float(average_precision_score(test["TX_FRAUD"].to_numpy(), scores)), "alerts": alerts, "frauds": caught,
            "precision": caught / alerts, "share of frauds": caught / max(float(cards["fraud"].sum()), 1.0), "saved": float(looked["saved"].sum()),
            "cost per fraud": self.cost * alerts / max(caught, 1.0), "net": float(looked["saved"].sum()) - self.cost * alerts,
        }


def rankings(train: pl.DataFrame, test: pl.DataFrame, epsilon: float) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Ways to rank the test transactions."""
    known, asked = train.select(DOMAIN.names), test.select(DOMAIN.names)
    private = BoostedTreesClassifier(Budget(epsilon, DELTA), domain=DOMAIN, classes=[0, 1], passes=3, trees=20, depth=2, rows_per_unit=1)
    private.fit(known, train["TX_FRAUD"], unit=train["CUSTOMER_ID"].rename("customer"))
    print(private.guarantee_, file=sys.stderr)
    yield f"private, epsilon {epsilon:g} per customer", private.predict_proba(asked)[:, 1]
    open_book = HistGradientBoostingClassifier(learning_rate=0.05, max_depth=3, min_samples_leaf=50, random_state=0)
    yield "gradient boosting, no privacy", open_book.fit(known.to_numpy(), train["TX_FRAUD"]).predict_proba(asked.to_numpy())[:, 1]
    yield "a rule: the largest amounts", test["TX_AMOUNT"].to_numpy().astype(np.float64)


def read(path: Path) -> pl.DataFrame:
    """The transactions.

    Raises:
        SystemExit: with status 2 if the file is missing or lacks what is needed.
    """
    if not path.is_file():
        raise SystemExit(_refused(f"Expected a Parquet file at {path}; there is none."))
    table = pl.read_parquet(path)
    missing = [name for name in NEEDED if name not in table.columns]
    if missing:
        raise SystemExit(_refused(f"Expected the columns {', '.join(NEEDED)}; {', '.join(missing)} missing."))
    table = table.with_columns(pl.col("TX_DATETIME").cast(pl.Datetime("us")))
    if table["TX_DATETIME"].max() - table["TX_DATETIME"].min() < 2 * WEEK:
        raise SystemExit(_refused("Expected more than two weeks of transactions: one to learn from, a last one to rank."))
    return table


def _refused(message: str) -> int:
    print(message, file=sys.stderr)
    return 2


def main(arguments: list[str] | None = None) -> int:
    """Print one line for each way to rank."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("transactions", type=Path)
    parser.add_argument("--epsilon", type=float, default=3.0, help="for a customer with all transactions of the week (default 3)")
    parser.add_argument("--cards", type=int, default=20, help="how many cards the desk looks at in a day (default 20)")
    parser.add_argument("--cost", type=float, default=10.0, help="what a look costs, in the currency of the amounts (default 10)")
    asked = parser.parse_args(arguments)
    train, test = weeks(own_history(read(asked.transactions)))
    desk = Desk(asked.cards, asked.cost)
    for name, scores in rankings(train, test, asked.epsilon):
        found = desk.results(test, scores)
        print(
            f"{name:34s} AP {found['average precision']:.3f}   {found['frauds']:.0f} compromised cards in {found['alerts']:.0f} alerts "
            f"({found['share of frauds']:.0%} of all), {found['saved']:,.0f} at risk found for {found['cost per fraud']:,.0f} a card, "
            f"net {found['net']:,.0f}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
