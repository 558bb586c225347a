"""A bank scores transactions at a fraud consortium that never sees them.

    python examples/encrypted/bank.py TRANSACTIONS.parquet [--epsilon 3] [--records 4096]

The consortium has learned from its members' customers, with differential privacy for each of them; the bank has the transactions of a later week. It
needs the table that `examples/finance/fraud.py` needs, and uses its features: each from the customer's own history. A batch of some thousand
transactions shares its ciphertexts, since a linear model has few columns. The server is a process of its own, over TLS on this machine. Needs
tacit[encrypted,serve].
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
from sklearn.metrics import average_precision_score
from vendor import Vendor, shown, visit

from tacit import Budget
from tacit.encrypted import Settings, compile
from tacit.learn import LinearClassifier

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "finance"))
from fraud import DELTA, DOMAIN, own_history, read, weeks


def main(arguments: list[str] | None = None) -> int:
    """Print what the consortium proves, what the bank sees, and that both agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("transactions", type=Path)
    parser.add_argument("--epsilon", type=float, default=3.0, help="for a customer with all transactions of the week (default 3)")
    parser.add_argument("--records", type=int, default=4_096, help="how many transactions of the last week are scored (default 4096)")
    asked = parser.parse_args(arguments)
    train, test = weeks(own_history(read(asked.transactions)))
    some = test.sample(min(asked.records, test.height), seed=0)
    fitted = LinearClassifier(Budget(asked.epsilon, DELTA), domain=DOMAIN, classes=[0, 1], rows_per_unit=1)
    model = fitted.fit(train.select(DOMAIN.names), train["TX_FRAUD"], unit=train["CUSTOMER_ID"]).model_
    compiled = compile(model, train.select(DOMAIN.names).head(10_000), settings=Settings("private-model", "batch"))
    print(f"consortium {model.guarantee}\nconsortium {compiled.agreement}")
    records = {name: some[name].to_numpy() for name in DOMAIN.names}
    with tempfile.TemporaryDirectory() as folder:
        found = visit(Vendor.of(compiled, Path(folder) / "consortium"), compiled, records, single=5)
    plain = model.margins(records)
    same, truth = (compiled.public.answers(found.margins) == model.answers(plain)).mean(), some["TX_FRAUD"].to_numpy()
    areas = [average_precision_score(truth, margins[:, 0]) if truth.any() else 0.0 for margins in (plain, found.margins)]
    print(f"bank       {some.height:,} transactions, {same:.2%} decided as by the model in the clear, margins within "
          f"{np.abs(plain - found.margins).max():.1g}; average precision {areas[0]:.4f} in the clear, {areas[1]:.4f} encrypted")
    print(f"bank       {shown(found)}")
    return 0 if same > 0.999 else 1


if __name__ == "__main__":
    sys.exit(main())
