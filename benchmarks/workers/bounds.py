"""Coverage and tightness of our lower bounds on ε: ``python -m benchmarks.workers.bounds DRAWS``. Prints one JSON line."""

from __future__ import annotations

import json
import sys

import numpy as np

from tacit.attacks import lower_bounds
from tacit.guard import gdp_mu

DELTA, CANARIES = 1e-5, 1_000


def main(arguments: list[str]) -> int:
    draws, rng, found = int(arguments[0]), np.random.default_rng(0), {}
    for epsilon in (0.0, 1.0, 4.0, 8.0):
        mu, values, names = (gdp_mu(epsilon, DELTA) if epsilon else 0.0), [], []
        for seed in range(draws):
            inside = int(rng.binomial(CANARIES, 0.5))
            bounds = lower_bounds(rng.normal(mu, 1, inside), rng.normal(0, 1, CANARIES - inside), DELTA, seed=seed)
            values.append([bound.epsilon for bound in bounds])
            names = [bound.name for bound in bounds]
        table = np.array(values)
        wrong = (table > epsilon + 1e-9).mean(axis=0)
        rows = zip(names, table.mean(axis=0), wrong, strict=True)
        found[f"{epsilon:g}"] = {name: {"mean": float(mean), "wrong": float(share)} for name, mean, share in rows}
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
