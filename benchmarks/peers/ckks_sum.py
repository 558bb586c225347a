"""Encrypted averaging as NVFlare does it, one site, by TenSEAL: ``python -m benchmarks.peers.ckks_sum SIZE``. Prints CPU and bytes as JSON."""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import tenseal

SLOTS = 4096


def main(arguments: list[str]) -> int:
    size = int(arguments[0])
    context = tenseal.context(tenseal.SCHEME_TYPE.CKKS, 8192, coeff_mod_bit_sizes=[60, 40, 40])
    context.global_scale = 2**40
    weights = np.random.default_rng(0).normal(size=size)
    before = time.process_time()
    sent = sum(len(tenseal.ckks_vector(context, weights[start : start + SLOTS]).serialize()) for start in range(0, size, SLOTS))
    sys.stdout.write(json.dumps({"cpu": time.process_time() - before, "up": sent}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
