"""One site of `benchmarks.workers.rounds`, as a process of its own: a guard over made-up records behind the embedded transport."""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa

from tacit.crypto import SigningKey
from tacit.federation import Roster, SiteAgent
from tacit.federation.transports import serve
from tacit.guarantee import Budget, PrivacyUnit, Relation
from tacit.guard import Guard, Limits, MemoryBooks, Policy, Records


def main(folder: Path) -> None:
    """Serve until killed."""
    name = folder.name
    roster = Roster.from_bytes((folder / "roster").read_bytes())
    records = Records.open(pa.table({"c": [f"v{k % 30}" for k in range(300)], "y": ["0", "1"] * 150}))
    policy = Policy(name, unit=PrivacyUnit(), relation=Relation.ADD_REMOVE, budget=Budget(8.0, 1e-3), limits=Limits(0, approval="automatic"))
    guard = Guard(records, policy=policy, ledger=MemoryBooks())
    serve(SiteAgent(name=name, roster=roster, key=SigningKey.load(folder / "site.key"), guard=guard), folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
