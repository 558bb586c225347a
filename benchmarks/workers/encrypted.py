"""Our encrypted scores: ``python -m benchmarks.workers.encrypted linear|latency|trees|mlp|scaling|sums FOLDER [RECORDS]``.

Trains with Tacit's own learners (the network of squares apart, which is trained without privacy, so that the row needs no PyTorch), writes what peers
need to do the same into ``FOLDER/inputs.npz``, and prints CPU seconds per record as one JSON line.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

MISSING_PART = 69
ROWS, REPEATS, SINGLE_REPEATS, HIDDEN = 4_096, 5, 40, 64
PARAMETERS, CONTRIBUTORS, PEER_VALUES = 1_000_000, 10, 100_000
TREES, DEPTH, EPSILON, DELTA = 200, 5, 8.0, 1e-5


class Patients:
    """scikit-learn's breast cancer records, 70/30, with the bounds that their description publishes."""

    def __init__(self) -> None:
        from tacit.domain import Domain, Numeric

        data = load_breast_cancer()
        ranges = re.findall(r"^\s*(\w[\w ]*) \((mean|standard error|worst)\):\s+([\d.]+)\s+([\d.]+)\s*$", data.DESCR, re.MULTILINE)
        names = [f"{name} {kind}".replace(" ", "_") for name, kind, _, _ in ranges]
        self.domain = Domain.of(**{n: Numeric(float(row[2]), float(row[3])) for n, row in zip(names, ranges, strict=True)})
        train, test, self.y_train, self.y_test = train_test_split(data.data, data.target, test_size=0.3, random_state=0, stratify=data.target)
        self.train = {name: train[:, place] for place, name in enumerate(names)}
        self.test = {name: test[:, place] for place, name in enumerate(names)}

    def some(self, rows: int) -> dict[str, NDArray[np.float64]]:
        """The test part, repeated to so many rows."""
        return {name: np.resize(values, rows) for name, values in self.test.items()}

    def design(self, rows: int) -> NDArray[np.float64]:
        """What peers get: the linear design without its intercept, in [-1, 1]."""
        from tacit.models.base import as_columns
        from tacit.questions.linear import DESIGN_UNIT, design

        return design(*as_columns(self.some(rows), self.domain), self.domain)[:, 1:] / DESIGN_UNIT


def cpu(call: Callable[[], Any], repeats: int = REPEATS) -> tuple[float, Any]:
    """The least CPU time of some calls, and the last result."""
    times = []
    for _ in range(repeats):
        before = time.process_time()
        found = call()
        times.append(time.process_time() - before)
    return min(times), found


def stages(compiled: Any, data: Any, rows: int, *, repeats: int = REPEATS) -> dict[str, Any]:
    """Encrypt, score and decrypt ``rows`` records: CPU seconds per record, with envelopes, parsing and checks; bytes; margins."""
    from tacit.encrypted import Client, SecretKey

    key, scorer = SecretKey.generate(compiled.plan.parameters), compiled.scorer()
    client = Client(compiled.public, key)
    scorer.admit(key.public)
    encrypt, _ = cpu(lambda: client.request(data), repeats)
    requests = [client.request(data) for _ in range(repeats)]
    first, answers = requests[0], []
    arithmetic, _ = cpu(lambda: _products(scorer, first, rows), 4 * repeats)
    server, _ = cpu(lambda: answers.append(scorer.score(requests.pop())), repeats)
    waiting = list(answers)
    decrypt, margins = cpu(lambda: client.open(waiting.pop()), repeats)
    return {
        "encrypt": encrypt / rows, "arithmetic": arithmetic / rows, "server": server / rows, "decrypt": decrypt / rows,
        "whole": (encrypt + server + decrypt) / rows, "up_bytes": len(first) / rows, "down_bytes": len(answers[0]) / rows, "margins": margins,
        "plan": compiled.plan.explain(rows),
    }  # fmt: skip


def _products(scorer: Any, request: bytes, rows: int) -> None:
    """The weighted sums alone, on ciphertexts that are in memory, as peers are measured."""
    from tacit.encrypted.wire import Kind, parse

    plan, body = scorer.public.plan, parse(request, Kind.REQUEST).body
    shape = (plan.blocks(rows), plan.ciphertexts, 2, plan.parameters.data_primes, plan.parameters.degree)
    for block in np.frombuffer(body, "<u8").reshape(shape):
        scorer._evaluate(block)


def compared(found: dict[str, Any], model: Any, compiled: Any, data: Any) -> dict[str, Any]:
    """The stages with how they compare to the plain model, as JSON."""
    plain, ours = model.margins(data), found.pop("margins")
    flips = int((model.answers(plain) != compiled.public.answers(ours)).sum())
    return {**found, "flips": flips, "records": len(plain), "largest_difference": float(np.abs(plain - ours).max())}


def linear(folder: Path, _records: int) -> dict[str, Any]:
    from tacit import Budget
    from tacit.encrypted import Settings, compile
    from tacit.learn import LinearClassifier

    patients, budget = Patients(), Budget(EPSILON, DELTA)
    model = LinearClassifier(budget=budget, domain=patients.domain, classes=[0, 1]).fit(patients.train, patients.y_train).model_
    x, weights, data = patients.design(ROWS), model.weights[0, 1:], patients.some(ROWS)
    np.savez(folder / "inputs.npz", x=x, weights=weights, bias=model.weights[0, 0], margins=model.margins(data)[:, 0])
    found: dict[str, Any] = {"plain": cpu(lambda: x @ weights, 50)[0] / ROWS}
    for plan in ("throughput", "private-model"):
        compiled = compile(model, patients.test, settings=Settings(plan), labels=patients.y_test)
        found[plan] = {**compared(stages(compiled, data, ROWS), model, compiled, data), "accuracy": compiled.agreement.accuracy}
    return found


def scaling(_folder: Path, records: int) -> dict[str, Any]:
    """Wall-clock seconds of encrypting a batch with the public key in one process and in two."""
    from tacit.encrypted import Encryptors, Parameters, SecretKey

    key = SecretKey.generate(Parameters(2048, (54,), 24)).public
    polynomials = np.random.default_rng(0).integers(0, 1 << 20, (30 * max(1, records // 2048), 2048))
    times: dict[int, float] = {}
    for processes in (1, 2):
        with Encryptors(key, processes=processes) as pool:
            pool.encrypt(polynomials[: 8 * processes])
            walls = []
            for _ in range(REPEATS):
                before = time.perf_counter()
                pool.encrypt(polynomials)
                walls.append(time.perf_counter() - before)
        times[processes] = min(walls)
    return {"one": times[1], "two": times[2], "ratio": times[1] / times[2], "polynomials": len(polynomials)}


def _boosted(patients: Patients) -> Any:
    from tacit import Budget
    from tacit.learn import BoostedTreesClassifier

    estimator = BoostedTreesClassifier(budget=Budget(EPSILON, DELTA), domain=patients.domain, classes=[0, 1], trees=TREES, depth=DEPTH)
    return estimator.fit(patients.train, patients.y_train).model_


def latency(folder: Path, _records: int) -> dict[str, Any]:
    from tacit.encrypted import Client, SecretKey, Settings, compile

    patients = Patients()
    model = _boosted(patients)
    found: dict[str, Any] = {}
    for plan in ("throughput", "private-model"):
        compiled = compile(model, patients.test, settings=Settings(plan, "single"))
        key, scorer = SecretKey.generate(compiled.plan.parameters), compiled.scorer()
        client = Client(compiled.public, key)
        scorer.admit(key.public)
        parts, same = [], True
        for row in range(SINGLE_REPEATS):
            one = {name: values[row : row + 1] for name, values in patients.test.items()}
            marks = [time.process_time()]
            request = client.request(one)
            marks.append(time.process_time())
            answer = scorer.score(request)
            marks.append(time.process_time())
            margins = client.open(answer)
            marks.append(time.process_time())
            same &= bool(np.array_equal(margins, model.margins(one)))
            parts.append(np.diff(marks))
        client_ms, server_ms, open_ms = (np.median(parts, axis=0) * 1e3).tolist()
        found[plan] = {
            "milliseconds": float(np.median(np.sum(parts, axis=1)) * 1e3), "client": client_ms, "server": server_ms, "open": open_ms,
            "up_bytes": len(request), "down_bytes": len(answer), "same": same, "columns": compiled.plan.columns, "plan": compiled.plan.explain(),
        }  # fmt: skip
    table = next(compiled.public.read(patients.test))
    x = np.stack([table.record(row) for row in range(8)])
    np.savez(folder / "inputs.npz", x=x, weights=compiled._quantised.weights[0], margins=x @ compiled._quantised.weights[0])
    return found


def trees(_folder: Path, records: int) -> dict[str, Any]:
    """Every test record of both data sets under encryption, in batches."""
    from benchmarks.datasets import CASES
    from tacit import Budget
    from tacit.domain import Domain
    from tacit.encrypted import compile
    from tacit.learn import BoostedTreesClassifier

    patients = Patients()
    model = _boosted(patients)
    found = {"breast_cancer": _every(compile(model, patients.test, labels=patients.y_test), model, patients.test, len(patients.y_test))}
    split = CASES["nsl_kdd"].load(0)
    domain = Domain.from_toml(split.domain_toml)
    estimator = BoostedTreesClassifier(budget=Budget(EPSILON, DELTA), domain=domain, classes=[0, 1], trees=TREES, depth=DEPTH)
    model = estimator.fit(split.train, split.y_train).model_
    test = split.test.head(records)
    found["nsl_kdd"] = _every(compile(model, test, labels=split.y_test[:records]), model, test, test.height)
    return found


def _every(compiled: Any, model: Any, data: Any, rows: int) -> dict[str, Any]:
    from tacit.encrypted import Client, SecretKey

    key, scorer, block = SecretKey.generate(compiled.plan.parameters), compiled.scorer(), compiled.plan.records
    client = Client(compiled.public, key)
    scorer.admit(key.public)
    times, margins = np.zeros(3), []
    for begin in range(0, rows, block):
        some = _slice(data, begin, block)
        marks = [time.process_time()]
        request = client.request(some)
        marks.append(time.process_time())
        answer = scorer.score(request)
        marks.append(time.process_time())
        margins.append(client.open(answer))
        marks.append(time.process_time())
        times += np.diff(marks)
    ours, plain = np.concatenate(margins), model.margins(data)
    padded = -(-rows // block) * block
    return {
        "records": rows, "encrypt": times[0] / padded, "server": times[1] / padded, "decrypt": times[2] / padded,
        "flips": int((model.answers(plain) != compiled.public.answers(ours)).sum()), "largest_difference": float(np.abs(plain - ours).max()),
        "up_bytes": len(request) / block, "columns": compiled.plan.columns, "accuracy": compiled.agreement.accuracy, "plan": compiled.plan.explain(),
        "notes": f"Times per record of a full block of {block:,}.",
    }  # fmt: skip


def _slice(data: Any, begin: int, rows: int) -> Any:
    return {name: values[begin : begin + rows] for name, values in data.items()} if isinstance(data, dict) else data.slice(begin, rows)


def mlp(folder: Path, _records: int) -> dict[str, Any]:
    from tacit.encrypted import Settings, SquareNetwork, compile
    from tacit.questions import Target

    patients = Patients()
    whole = Patients()
    whole.test = patients.train
    first, second = _adam(whole.design(len(patients.y_train)), patients.y_train)
    model = SquareNetwork.of(Target("class", ("0", "1")), patients.domain, first=first, second=second)
    x, data = patients.design(ROWS), patients.some(ROWS)
    np.savez(folder / "inputs.npz", x=x, w1=first[0], b1=first[1], w2=second[0][0], b2=second[1], margins=model.margins(data)[:, 0])
    plain = cpu(lambda: ((x @ first[0].T + first[1]) ** 2) @ second[0].T, 20)[0] / ROWS
    compiled = compile(model, patients.test, settings=Settings(weight_bits=10), labels=patients.y_test)
    return {**compared(stages(compiled, data, ROWS, repeats=3), model, compiled, data), "plain": plain, "accuracy": compiled.agreement.accuracy}


def _adam(x: NDArray[np.float64], y: NDArray[np.int64], steps: int = 600) -> tuple[Any, Any]:
    """A network 30-64-1 with squares, trained without privacy: logistic loss, Adam at 0.01."""
    rng = np.random.default_rng(0)
    parts = [rng.normal(0, 0.1, (HIDDEN, x.shape[1])), rng.normal(0, 0.1, HIDDEN), rng.normal(0, 0.1, (1, HIDDEN)), np.zeros(1)]
    first, second = [np.zeros_like(p) for p in parts], [np.zeros_like(p) for p in parts]
    for step in range(1, steps + 1):
        hidden = x @ parts[0].T + parts[1]
        margin = (hidden**2) @ parts[2][0] + parts[3][0]
        error = (1 / (1 + np.exp(-np.clip(margin, -30, 30))) - y) / len(y)
        back = 2 * hidden * np.outer(error, parts[2][0])
        gradients = [back.T @ x + 1e-3 * parts[0], back.sum(axis=0), (error @ hidden**2)[None] + 1e-3 * parts[2], np.array([error.sum()])]
        for place, gradient in enumerate(gradients):
            first[place] = 0.9 * first[place] + 0.1 * gradient
            second[place] = 0.999 * second[place] + 0.001 * gradient**2
            scaled = first[place] / (1 - 0.9**step) / (np.sqrt(second[place] / (1 - 0.999**step)) + 1e-8)
            parts[place] = parts[place] - 0.01 * scaled
    return (parts[0], parts[1]), (parts[2], parts[3])


def sums(folder: Path, _records: int) -> dict[str, Any]:
    """A million integers of 24 bits from each of ten contributors: CPU seconds per integer, bytes, exactness."""
    from tacit.crypto import SigningKey
    from tacit.encrypted import Evaluator, KeyHolder, SecretKey, SumPlan, contribute

    plan = SumPlan("benchmark", PARAMETERS, (1 << 23) - 1, CONTRIBUTORS, CONTRIBUTORS)
    floats = np.random.default_rng(0).normal(0, 1e-2, (CONTRIBUTORS, PARAMETERS))
    np.save(folder / "values.npy", floats[:, :PEER_VALUES])
    values = np.rint(np.clip(floats, -0.0625, 0.0625) * plan.bound / 0.0625).astype(np.int64)
    key, own = SecretKey.generate(plan.parameters), SigningKey.generate()
    signing = {str(place): SigningKey.generate() for place in range(CONTRIBUTORS)}
    public = {name: one.public for name, one in signing.items()}
    evaluator = Evaluator(plan, key=key.public, contributors=public, signing=own)
    client, server = [], 0.0
    for name, one in signing.items():
        marks = [time.process_time()]
        message = contribute(plan, values[int(name)], who=name, key=key.public, signing=one)
        marks.append(time.process_time())
        evaluator.add(message)
        marks.append(time.process_time())
        client.append(marks[1] - marks[0])
        server += marks[2] - marks[1]
    total = evaluator.total()
    before = time.process_time()
    found = KeyHolder(key, evaluator=own.public).open(plan, total)
    opening = time.process_time() - before
    return {
        "client": min(client) / PARAMETERS, "server": server / PARAMETERS, "open": opening / PARAMETERS, "bytes": len(message) / PARAMETERS,
        "exact": bool(np.array_equal(found, values.sum(axis=0))), "plan": plan.explain(),
    }  # fmt: skip


WAYS = {"sums": sums, "linear": linear, "latency": latency, "trees": trees, "mlp": mlp, "scaling": scaling}


def main(arguments: list[str]) -> int:
    way, folder, *records = arguments
    try:
        import seal  # noqa: F401
    except ImportError:
        sys.stderr.write("Expected the extra «encrypted»; pip install 'tacit[encrypted]'.\n")
        return MISSING_PART
    sys.stdout.write(json.dumps(WAYS[way](Path(folder), int(records[0]) if records else ROWS)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
