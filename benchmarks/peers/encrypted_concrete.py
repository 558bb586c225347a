"""Concrete ML's XGBoost, 50 trees of depth 4, one record after the other: ``python -m benchmarks.peers.encrypted_concrete RECORDS``.

Fits scikit-learn's breast cancer records (the same 70/30 split) with 3 bits, compiles, and prints wall-clock seconds on one thread per record and the
accuracy as one JSON line. The library compiles to native code that runs its own threads, so that OMP_NUM_THREADS=1 has to be set, and is.
"""

from __future__ import annotations

import json
import sys
import time
from functools import partial
from importlib.metadata import version

import torch

torch.onnx.export = partial(torch.onnx.export, dynamo=False)

from concrete.ml.sklearn import XGBClassifier  # noqa: E402  the exporter has to be the older one before it is imported
from sklearn.datasets import load_breast_cancer  # noqa: E402
from sklearn.model_selection import train_test_split  # noqa: E402


def main(arguments: list[str]) -> int:
    records = int(arguments[0])
    x, y = load_breast_cancer(return_X_y=True)
    train, test, y_train, y_test = train_test_split(x, y, test_size=0.3, random_state=0, stratify=y)
    model = XGBClassifier(n_bits=3, n_estimators=50, max_depth=4, n_jobs=1)
    model.fit(train, y_train)
    model.compile(train[:100])
    model.fhe_circuit.keygen()
    accuracy = float((model.predict(test, fhe="simulate") == y_test).mean())
    times = []
    for record in test[:records]:
        asked = model.fhe_circuit.encrypt(model.quantize_input(record[None]))
        before, cpu = time.perf_counter(), time.process_time()
        model.fhe_circuit.run(asked)
        times.append((time.perf_counter() - before, time.process_time() - cpu))
    wall, busy = (min(column) for column in zip(*times, strict=True))
    sys.stdout.write(json.dumps({"server": busy, "wall": wall, "accuracy": accuracy, "records": records, "version": version("concrete-ml")}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
