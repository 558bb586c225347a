"""TenSEAL, one record at a time as its tutorials do: ``python -m benchmarks.peers.encrypted_tenseal dot|squares FOLDER RECORDS [tight]``.

Reads ``inputs.npz``, prints CPU seconds per record, bytes and the largest error as one JSON line.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import tenseal as ts


def context(*, tight: bool, deep: bool) -> ts.Context:
    """The tutorials' parameters, or the smallest in which the scores still come out right."""
    degree, bits, scale = (4096, [40, 28, 40], 28) if tight else (16384, [60, 40, 40, 40, 40, 60], 40) if deep else (8192, [60, 40, 60], 40)
    made = ts.context(ts.SCHEME_TYPE.CKKS, degree, coeff_mod_bit_sizes=bits, n_threads=1)
    made.global_scale = 2.0**scale
    made.generate_galois_keys()
    return made


def main(arguments: list[str]) -> int:
    way, folder, records, *more = arguments
    inputs = np.load(Path(folder) / "inputs.npz")
    made = context(tight="tight" in more, deep=way == "squares")
    x, margins = inputs["x"][: int(records)].astype(float), inputs["margins"][: int(records)]
    times, errors = np.zeros(3), []
    for record, margin in zip(x, margins, strict=True):
        marks = [time.process_time()]
        asked = ts.ckks_vector(made, record.tolist())
        marks.append(time.process_time())
        if way == "dot":
            answer = asked.dot(inputs["weights"].astype(float).tolist())
            bias = float(inputs["bias"]) if "bias" in inputs else 0.0
        else:
            hidden = asked.mm(inputs["w1"].T.tolist()) + inputs["b1"].tolist()
            hidden.square_()
            answer = hidden.dot(inputs["w2"].tolist())
            bias = float(inputs["b2"][0])
        marks.append(time.process_time())
        score = answer.decrypt()[0] + bias
        marks.append(time.process_time())
        times += np.diff(marks)
        errors.append(abs(score - margin))
    encrypt, server, decrypt = (times / len(x)).tolist()
    found = {
        "encrypt": encrypt, "server": server, "decrypt": decrypt, "whole": encrypt + server + decrypt, "up_bytes": len(asked.serialize()),
        "largest_error": float(max(errors)), "records": len(x), "version": version("tenseal"),
    }  # fmt: skip
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
