"""Our prefix-preserving pseudonyms: ``python -m benchmarks.workers.cryptopan FOLDER``. As the peer; repeated, and on a larger set for speed."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from tacit.logs import AddressPseudonyms

MANY = 160_000


def main(arguments: list[str]) -> int:
    job = json.loads((Path(arguments[0]) / "addresses.json").read_text(encoding="utf-8"))
    ours = AddressPseudonyms(bytes.fromhex(job["key"]))
    found = ours.texts(job["addresses"])
    rows = np.random.default_rng(1).integers(0, 256, (MANY, 4))
    many = [".".join(map(str, row)) for row in rows.tolist()]
    times = []
    for texts in (job["addresses"], many):
        before = time.process_time()
        ours.texts(texts)
        times.append((time.process_time() - before) / len(texts))
    sys.stdout.write(json.dumps({"addresses": found, "cpu_each": times[0], "cpu_each_of_many": times[1]}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
