"""Flower's masking stage for one site, by its own functions: ``python -m benchmarks.peers.flower_masks SITES SIZE``. CPU seconds and bytes."""

from __future__ import annotations

import json
import sys
import time

import numpy as np
from flwr.common import ndarray_to_bytes
from flwr.common.secure_aggregation.ndarrays_arithmetic import factor_combine, parameters_addition, parameters_mod, parameters_subtraction
from flwr.common.secure_aggregation.quantization import quantize
from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen


def main(arguments: list[str]) -> int:
    sites, size = map(int, arguments)
    weights = [np.random.default_rng(0).normal(size=size).astype(np.float32)]
    before = time.process_time()
    vector = factor_combine(1, quantize(weights, 8.0, 1 << 22))
    shapes = [array.shape for array in vector]
    vector = parameters_addition(vector, pseudo_rand_gen(bytes(32), 1 << 32, shapes))
    for other in range(1, sites):
        mask = pseudo_rand_gen(bytes([other]) * 32, 1 << 32, shapes)
        vector = parameters_addition(vector, mask) if other % 2 else parameters_subtraction(vector, mask)
    sent = [ndarray_to_bytes(array) for array in parameters_mod(vector, 1 << 32)]
    found = {"cpu": time.process_time() - before, "up": sum(map(len, sent))}
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
