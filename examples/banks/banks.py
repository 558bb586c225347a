"""Three banks learn one detector of compromised cards under masked sums, each customer protected at its own bank. All three in one process.

    python examples/banks/banks.py TRANSACTIONS.parquet [--epsilon 3] [--cards 20]

The table and the features are those of ``examples/finance/fraud.py``: the first week is learned from, the last is ranked. Customers are dealt to the
banks by their number. The same learner runs at one bank alone, over masked rounds of the three, and at a curator who sees everything.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tacit.crypto import SigningKey
from tacit.federation import MaskedFederation, Roster, SiteAgent
from tacit.federation.roster import COORDINATOR
from tacit.federation.transports import LocalTransport
from tacit.guarantee import Budget, PrivacyUnit, Relation
from tacit.guard import Aggregator, Curator, Guard, Ledger, Policy, Records
from tacit.learn import BoostingShape, LearnSpec, TargetSpec, fit_boosted

BANKS = ("first", "second", "third")
CUSTOMER = PrivacyUnit("customer", "CUSTOMER_ID")
SHAPE = BoostingShape(passes=3, trees=20, depth=2)


def _finance() -> ModuleType:
    """The neighbouring example: its features, its weeks, its desk."""
    spec = importlib.util.spec_from_file_location("finance_fraud", Path(__file__).resolve().parents[1] / "finance" / "fraud.py")
    if spec is None or spec.loader is None:
        raise SystemExit("Expected examples/finance/fraud.py beside this folder.")
    found = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = found
    spec.loader.exec_module(found)
    return found


finance = _finance()


def of_bank(table: pl.DataFrame, place: int) -> pl.DataFrame:
    """The customers of one bank."""
    return table.filter(pl.col("CUSTOMER_ID").cast(pl.Int64) % len(BANKS) == place)


def guard(name: str, table: pl.DataFrame, epsilon: float) -> Guard:
    """A bank's records behind its own policy and ledger."""
    policy = Policy(name, CUSTOMER, Relation.ADD_REMOVE, Budget(1.001 * epsilon, finance.DELTA))
    columns = table.select("CUSTOMER_ID", *finance.DOMAIN.names, pl.col("TX_FRAUD").cast(pl.String)).to_arrow()
    return Guard(Records.open(columns, unit=CUSTOMER), policy=policy, ledger=Ledger.ephemeral())


def federation(guards: dict[str, Guard]) -> MaskedFederation:
    """The banks' agents behind one roster that all have signed; a real one joins with ``tacit site join``."""
    hub, keys = SigningKey.generate(), {name: SigningKey.generate() for name in guards}
    roster = Roster("three banks", hub.public, {name: key.public for name, key in keys.items()}).signed_by(COORDINATOR, hub)
    for name, key in keys.items():
        roster = roster.signed_by(name, key)
    agents = {name: SiteAgent(name=name, roster=roster, key=keys[name], guard=found) for name, found in guards.items()}
    return MaskedFederation(roster, hub, LocalTransport(agents))


def rankings(train: pl.DataFrame, test: pl.DataFrame, epsilon: float) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Ways to rank the transactions of the last week, all at the same epsilon per customer."""
    aggregators: dict[str, Aggregator] = {
        "one bank alone": Curator(guard("first", of_bank(train, 0), epsilon)),
        "three banks, masked sums": federation({name: guard(name, of_bank(train, place), epsilon) for place, name in enumerate(BANKS)}),
        "a curator who sees all": Curator(guard("all", train, epsilon)),
    }
    for name, aggregator in aggregators.items():
        spec = LearnSpec(
            finance.DOMAIN.names, TargetSpec("TX_FRAUD", classes=("0", "1")), Budget(epsilon, finance.DELTA), domain=finance.DOMAIN,
            purpose="find compromised cards",
        )
        model: Any = fit_boosted(spec, aggregator, SHAPE)
        print(f"{name}: {model.guarantee}", file=sys.stderr)
        yield name, model.predict_proba(test)[:, 1]


def main(arguments: list[str] | None = None) -> int:
    """Print one line for each way to rank."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("transactions", type=Path)
    parser.add_argument("--epsilon", type=float, default=3.0, help="for a customer with all transactions of the week (default 3)")
    parser.add_argument("--cards", type=int, default=20, help="how many cards the desk looks at in a day (default 20)")
    asked = parser.parse_args(arguments)
    train, test = finance.weeks(finance.own_history(finance.read(asked.transactions)))
    desk = finance.Desk(asked.cards, 10.0)
    for name, scores in rankings(train, test, asked.epsilon):
        found = desk.results(test, scores)
        print(f"{name:28s} AP {found['average precision']:.3f}   {found['frauds']:.0f} compromised cards in {found['alerts']:.0f} alerts")
    return 0


if __name__ == "__main__":
    sys.exit(main())
