"""Made-up records of census income and intrusions. ``python -m benchmarks.workers.synthetic FOLDER``.

Answers a job as a peer does, but with records: writes FOLDER/made.npz with numbers, codes and labels for every ε.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.peers.common import cpu
from tacit import Budget
from tacit.domain import Category, Domain
from tacit.learn import Synthesizer

LABEL = "(label)"


def main(arguments: list[str]) -> int:
    folder = Path(arguments[0])
    job: dict[str, Any] = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    declared = Domain.load(folder / "domain.toml")
    domain = Domain((*declared.columns, (LABEL, Category(("0", "1")))))
    train = pl.read_parquet(folder / "train.parquet").with_columns(pl.Series(np.load(folder / "y.npy")).cast(pl.String).alias(LABEL))
    found: dict[str, np.ndarray] = {}
    seconds = []
    for place, epsilon in enumerate(job["epsilons"]):
        with cpu() as clock:
            made = Synthesizer(Budget(epsilon, job["delta"]), domain=domain, about=LABEL).fit(train.select(domain.names)).sample(train.height)
        seconds.append(clock.seconds)
        known = np.array([value in ("0", "1") for value in made[LABEL]])
        numbers = [made[name] for name, kind in declared.columns if not isinstance(kind, Category)]
        listed = [(name, kind.values) for name, kind in declared.columns if isinstance(kind, Category)]
        texts = [(made[name], {value: code for code, value in enumerate(values)}) for name, values in listed]
        codes = [np.array([places.get(value, len(places)) for value in column], np.int16) for column, places in texts]
        rows = train.height
        found[f"x{place}"] = np.stack(numbers, axis=1)[known] if numbers else np.zeros((rows, 0))[known]
        found[f"codes{place}"] = np.stack(codes, axis=1)[known] if codes else np.zeros((rows, 0), np.int16)[known]
        found[f"y{place}"] = np.array([value == "1" for value in made[LABEL][known]], np.int64)
    np.savez(folder / "made.npz", **found)
    (folder / "made.json").write_text(json.dumps({"cpu_seconds": seconds}), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
