"""Sums under other libraries' encryption: ``python -m benchmarks.peers.encrypted_sums tenseal|paillier FOLDER VALUES CONTRIBUTORS``.

TenSEAL as NVFlare's homomorphic aggregator uses it (CKKS, one key for all clients); Paillier with 2,048 bits, one value in a ciphertext. Reads
``values.npy`` ``[contributors, size]``, works on the first VALUES of each, and prints CPU seconds and bytes per value as one JSON line.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np


def tenseal(values: np.ndarray) -> dict[str, Any]:
    import tenseal as ts

    made = ts.context(ts.SCHEME_TYPE.CKKS, 8192, coeff_mod_bit_sizes=[60, 40, 40], n_threads=1)
    made.global_scale = 2.0**40
    before = time.process_time()
    first = ts.ckks_vector(made, values[0].tolist()).serialize()
    client = time.process_time() - before
    others = [ts.ckks_vector(made, own.tolist()).serialize() for own in values[1:]]
    before = time.process_time()
    total = ts.ckks_vector_from(made, first)
    for other in others:
        total += ts.ckks_vector_from(made, other)
    server = time.process_time() - before
    before = time.process_time()
    found = np.array(total.decrypt())
    return _answer(values, (client, server, time.process_time() - before), len(first), found, version("tenseal"))


def paillier(values: np.ndarray) -> dict[str, Any]:
    from phe import paillier as scheme

    public, private = scheme.generate_paillier_keypair(n_length=2048)
    before = time.process_time()
    total = [public.encrypt(float(value)) for value in values[0]]
    client = time.process_time() - before
    others = [[public.encrypt(float(value)) for value in own] for own in values[1:]]
    before = time.process_time()
    for other in others:
        total = [one + two for one, two in zip(total, other, strict=True)]
    server = time.process_time() - before
    before = time.process_time()
    found = np.array([private.decrypt(one) for one in total])
    return _answer(values, (client, server, time.process_time() - before), 512 * values.shape[1], found, version("phe"))


def _answer(values: np.ndarray, times: tuple[float, float, float], size: int, found: np.ndarray, what: str) -> dict[str, Any]:
    count = values.shape[1]
    client, server, opening = (seconds / count for seconds in times)
    error = float(np.abs(found - values.sum(axis=0)).max())
    return {"client": client, "server": server, "open": opening, "bytes": size / count, "largest_error": error, "values": count, "version": what}


def main(arguments: list[str]) -> int:
    way, folder, count, contributors = arguments
    values = np.load(Path(folder) / "values.npy")[: int(contributors), : int(count)].astype(np.float64)
    sys.stdout.write(json.dumps({"tenseal": tenseal, "paillier": paillier}[way](values)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
