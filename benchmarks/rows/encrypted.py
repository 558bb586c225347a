"""Scores of records that the server cannot read, against the Python libraries that offer it: CPU time per record, each in a process of its own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from benchmarks.contest import Failed, run, workplace
from benchmarks.environments import CONCRETE, PAILLIER, SEAL, TENSEAL, Environment, Unavailable
from benchmarks.result import Check, Incomplete, Measured, Options, Row

WORKER = "benchmarks.workers.encrypted"
RECORDS, FEW = 4_096, 20
LINEAR_TENSEAL, LINEAR_SEAL, LINEAR_WHOLE, LINEAR_BYTES = 1_000.0, 4.0, 500.0, 500.0
LATENCY_MS, PRIVATE_MS = 6.0, 12.0
TREES_CONCRETE = 10_000.0
MLP_TENSEAL, MLP_SEAL = 1_000.0, 3.0
SCALING = 1.7
CONCRETE_QUOTED = 14.153
"""Seconds a record that Concrete ML 1.9.0 took on two cores for 50 trees of depth 4 with 3 bits (950 bootstrappings); for where it cannot be run."""


def linear(_options: Options) -> Measured:
    """Thirty features, 4,096 records; both plans, end to end."""
    with workplace() as folder:
        ours = _answer(WORKER, ["linear", str(folder)])
        tenseal = _answer("benchmarks.peers.encrypted_tenseal", ["dot", str(folder), str(FEW)], TENSEAL)
        tight = _answer("benchmarks.peers.encrypted_tenseal", ["dot", str(folder), str(FEW), "tight"], TENSEAL)
        seal = _answer("benchmarks.peers.encrypted_seal", ["linear", str(folder)], SEAL)
        scaling = _answer(WORKER, ["scaling", str(folder), str(8 * RECORDS)])
    plan, private = ours["throughput"], ours["private-model"]
    checks = (
        Check("server: times as fast as TenSEAL's dot, envelope included", tenseal["server"] / plan["server"], LINEAR_TENSEAL),
        Check("products: times as fast as SEAL's scalar products", seal["server"] / plan["arithmetic"], LINEAR_SEAL),
        Check("encrypt, score and decrypt: times as fast as TenSEAL", tenseal["whole"] / plan["whole"], LINEAR_WHOLE),
        Check("bytes of a record, request", plan["up_bytes"], LINEAR_BYTES, at_least=False),
        Check("decisions that differ", plan["flips"] + private["flips"], 0, at_least=False),
        Check("server: times as fast as TenSEAL's dot with its smallest parameters", tight["server"] / plan["server"], LINEAR_TENSEAL, decides=False),
        Check("server, private-model: times as fast as TenSEAL's dot", tenseal["server"] / private["server"], LINEAR_TENSEAL, decides=False),
        Check("two processes encrypt so much faster (wall clock, cores shared)", scaling["ratio"], SCALING, decides=False),
    )
    details = {"ours": ours, "tenseal": tenseal, "tenseal_tight": tight, "seal": seal, "scaling": scaling}
    return Measured(plan["server"] * 1e6, "server µs per record", "TenSEAL dot", tenseal["server"] * 1e6, checks, details)


def latency(_options: Options) -> Measured:
    """One record through 200 trees of depth 5, everything included, in both plans."""
    with workplace() as folder:
        ours = _answer(WORKER, ["latency", str(folder)])
        tenseal = _answer("benchmarks.peers.encrypted_tenseal", ["dot", str(folder), "4"], TENSEAL)
    plan, private = ours["throughput"], ours["private-model"]
    checks = (
        Check("milliseconds of one record, throughput", plan["milliseconds"], LATENCY_MS, at_least=False),
        Check("milliseconds of one record, private-model", private["milliseconds"], PRIVATE_MS, at_least=False),
        Check("same margins as the plain model, share of plans", (plan["same"] + private["same"]) / 2, 1.0),
    )
    details = {"ours": ours, "tenseal": tenseal, "notes": "TenSEAL computes the same sum over the same indicators, without envelope or features."}
    return Measured(plan["milliseconds"], "CPU ms per record", "TenSEAL dot", tenseal["whole"] * 1e3, checks, details)


def trees(options: Options) -> Measured:
    """Every test record of two data sets through 200 trees of depth 5 under encryption."""
    records = 1 << 30 if options.seeds > 1 else RECORDS
    with workplace() as folder:
        ours = _answer(WORKER, ["trees", str(folder), str(records)])
    try:
        concrete = json.loads(run("benchmarks.peers.encrypted_concrete", ["2"], CONCRETE))
        peer, theirs = "Concrete ML XGBoost 50x4", concrete["server"]
    except (Failed, Unavailable) as error:
        concrete, peer, theirs = {"missing": str(error)[:200]}, "Concrete ML XGBoost 50x4, measured earlier", CONCRETE_QUOTED
    cancer, intrusions = ours["breast_cancer"], ours["nsl_kdd"]
    checks = (
        Check("decisions that differ, breast cancer", cancer["flips"], 0, at_least=False),
        Check(f"decisions that differ, {intrusions['records']:,} records of NSL-KDD", intrusions["flips"], 0, at_least=False),
        Check("server, breast cancer: times as fast as Concrete ML", theirs / cancer["server"], TREES_CONCRETE),
        Check("server, NSL-KDD: times as fast as Concrete ML on breast cancer", theirs / intrusions["server"], TREES_CONCRETE),
    )
    notes = "The client sees structure and thresholds of our trees, and only leaf values are hidden; Concrete ML hides all of it."
    details = {"ours": ours, "concrete": concrete, "notes": notes}
    return Measured(cancer["server"] * 1e3, "server ms per record", peer, theirs * 1e3, checks, details)


def mlp(_options: Options) -> Measured:
    """A network 30-64-1 whose hidden layer squares, 4,096 records, without evaluation keys."""
    with workplace() as folder:
        ours = _answer(WORKER, ["mlp", str(folder)])
        tenseal = _answer("benchmarks.peers.encrypted_tenseal", ["squares", str(folder), "2"], TENSEAL)
        seal = _answer("benchmarks.peers.encrypted_seal", ["squares", str(folder)], SEAL)
    checks = (
        Check("server: times as fast as TenSEAL", tenseal["server"] / ours["server"], MLP_TENSEAL),
        Check("server: times as fast as SEAL's scalar products and squares", seal["server"] / ours["server"], MLP_SEAL),
        Check("decisions that differ", ours["flips"], 0, at_least=False),
        Check("encrypt, score and decrypt: times as fast as SEAL", seal["whole"] / ours["whole"], 1.0, decides=False),
    )
    notes = "Ours is the network's quadratic form: the client encrypts products of features, 2.7 times SEAL's bytes, and sends no evaluation keys."
    return Measured(ours["server"] * 1e6, "server µs per record", "TenSEAL mm, square, dot", tenseal["server"] * 1e6, checks,
                    {"ours": ours, "tenseal": tenseal, "seal": seal, "notes": notes})


def sums(_options: Options) -> Measured:
    """A million parameters of ten contributors, added by somebody without a key."""
    with workplace() as folder:
        ours = _answer(WORKER, ["sums", str(folder)])
        tenseal = _answer("benchmarks.peers.encrypted_sums", ["tenseal", str(folder), "100000", "10"], TENSEAL)
        paillier = _answer("benchmarks.peers.encrypted_sums", ["paillier", str(folder), "20", "3"], PAILLIER)
    checks = (
        Check("the sum is exact", float(ours["exact"]), 1.0),
        Check("client: times as fast as TenSEAL", tenseal["client"] / ours["client"], 1.0),
        Check("client: times as fast as Paillier", paillier["client"] / ours["client"], 1.0),
        Check("bytes of TenSEAL over ours", tenseal["bytes"] / ours["bytes"], 1.0),
        Check("bytes of Paillier over ours", paillier["bytes"] / ours["bytes"], 1.0),
    )
    notes = "TenSEAL on 100,000 and Paillier on 20 values of each contributor, per value; masks need 4 bytes and less time, and everybody at once."
    details = {"ours": ours, "tenseal": tenseal, "paillier": paillier, "notes": notes}
    return Measured(ours["client"] * 1e6, "client µs per value", "TenSEAL CKKS", tenseal["client"] * 1e6, checks, details)


def _answer(module: str, arguments: Sequence[str], environment: Environment | None = None) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(run(module, arguments, environment).strip().splitlines()[-1])
    except (Failed, Unavailable) as error:
        raise Incomplete(str(error)) from error
    return found


ROWS = (
    Row("encrypted.linear", "thirty features under encryption, against TenSEAL and SEAL", linear),
    Row("encrypted.latency", "one record through 200 trees under encryption, everything included", latency),
    Row("encrypted.trees", "every test record through 200 trees under encryption, against Concrete ML", trees),
    Row("encrypted.sums", "a million parameters of ten contributors added under encryption, against TenSEAL and Paillier", sums),
    Row("encrypted.mlp", "a network of squares under encryption, against TenSEAL and SEAL", mlp),
)
