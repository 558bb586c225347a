"""Run one contestant on one split, in a process of its own, and score what it answered."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmarks import DELTA, EPSILONS, ROOT, SEEDS, WORKSHOP
from benchmarks.datasets import Case, Split
from benchmarks.environments import BOOSTING, DIFFPRIVLIB, OPACUS, Environment

SINGLE_THREAD = {
    name: "1"
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "POLARS_MAX_THREADS", "RAYON_NUM_THREADS")
}


class Failed(Exception):
    """A contestant's process ended with an error; the message is its last line."""


class NotBuilt(Exception):
    """A part of Tacit that a row needs is not there yet."""


@dataclass(frozen=True)
class Contestant:
    """Who takes part: a module to run, the environment it runs in (none: this one), and the ε and seeds it is asked for."""

    name: str
    title: str
    module: str
    environment: Environment | None
    epsilons: tuple[float | None, ...] = EPSILONS
    seeds: tuple[int, ...] = SEEDS


TACIT = Contestant("tacit", "Tacit DetectionClassifier", "benchmarks.ours", None)
PEERS = (
    Contestant("dp_ebm", "DP-EBM (interpret-core)", "benchmarks.peers.boosting", BOOSTING),
    Contestant("dp_ebm_log", "DP-EBM, logarithmic scaling", "benchmarks.peers.boosting", BOOSTING),
    Contestant("opacus_mlp", "Opacus MLP-64", "benchmarks.peers.opacus", OPACUS),
    Contestant("diffprivlib_lr", "diffprivlib LR (pure ε)", "benchmarks.peers.diffprivlib", DIFFPRIVLIB),
    Contestant("diffprivlib_gnb", "diffprivlib GNB (pure ε)", "benchmarks.peers.diffprivlib", DIFFPRIVLIB),
    Contestant("xgboost", "XGBoost, no privacy", "benchmarks.peers.boosting", BOOSTING, epsilons=(None,)),
)


@dataclass(frozen=True)
class Score:
    """One fit: utility on the test part and CPU seconds of the fit alone."""

    epsilon: float | None
    seed: int
    auc: float
    ap: float
    cpu_seconds: float


def compete(contestant: Contestant, case: Case, seed: int, *, reuse: bool = False) -> tuple[list[Score], dict[str, str]]:
    """The contestant's scores on one split, and the versions it ran with; answers of peers are kept, and used again when ``reuse``.

    Raises:
        NotBuilt: if Tacit lacks what is asked.
        Failed: if the process fails.
        Unavailable: if the peer cannot be installed.
        MissingData: if the data set is not there.
    """
    split = case.load(seed)
    with workplace() as folder:
        write_job(folder, split, {"model": contestant.name, "epsilons": contestant.epsilons, "seed": seed, "delta": DELTA})
        kept = WORKSHOP / "cache" / f"{_key(contestant, folder)}.json"
        if reuse and contestant.environment and kept.is_file():
            answer = json.loads(kept.read_text(encoding="utf-8"))
        else:
            answer = _answer(contestant, folder, split)
            if contestant.environment:
                kept.parent.mkdir(parents=True, exist_ok=True)
                kept.write_text(json.dumps({"contestant": contestant.name, "case": case.name, "seed": seed, **answer}), encoding="utf-8")
    return [Score(seed=seed, **fit) for fit in answer["fits"]], answer["versions"]


def _answer(contestant: Contestant, folder: Path, split: Split) -> dict[str, Any]:
    run(contestant.module, [str(folder)], contestant.environment)
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    with np.load(folder / "scores.npz") as scores:
        measured = [_measure(split.y_test, scores[str(i)]) for i in range(len(result["fits"]))]
    return {"fits": [{**fit, **utility} for fit, utility in zip(result["fits"], measured, strict=True)], "versions": result["versions"]}


def _measure(y: NDArray[np.int64], scores: NDArray[np.float64]) -> dict[str, float]:
    return {"auc": float(roc_auc_score(y, scores)), "ap": float(average_precision_score(y, scores))}


@contextmanager
def workplace() -> Iterator[Path]:
    """An empty folder below ``.bench/`` that goes away afterwards."""
    (WORKSHOP / "tmp").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=WORKSHOP / "tmp") as folder:
        yield Path(folder)


def run(module: str, arguments: Sequence[str], environment: Environment | None = None) -> str:
    """Run a module in a process of its own on one thread and return what it printed.

    Raises:
        NotBuilt: if it exits with status 69 (a part of Tacit is missing).
        Failed: if it exits with another status but zero.
    """
    python = environment.python() if environment else sys.executable
    path = os.pathsep.join([str(ROOT), *([] if environment else [str(ROOT / "src")])])
    done = subprocess.run(
        [python, "-m", module, *arguments], cwd=ROOT, env={**os.environ, **SINGLE_THREAD, "PYTHONPATH": path},
        capture_output=True, text=True, check=False,
    )
    last = (done.stderr.strip() or "no message").splitlines()[-1]
    if done.returncode == 69:
        raise NotBuilt(last)
    if done.returncode:
        raise Failed(f"{module} exited with {done.returncode}: {last}")
    return done.stdout


def write_job(folder: Path, split: Split, options: dict[str, Any]) -> None:
    """Write a split twice: as arrays for peers, as tables and a domain for Tacit."""
    numbers = [column for column in split.columns if column["type"] == "number"]
    texts = [column for column in split.columns if column["type"] == "category"]
    bounds = [[column["lower"], column["upper"]] for column in numbers]
    job = {**options, "bounds": bounds, "levels": [len(column["values"]) + 1 for column in texts]}
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    (folder / "domain.toml").write_text(split.domain_toml, encoding="utf-8")
    arrays = {"y": split.y_train}
    for suffix, table in (("", split.train), ("_test", split.test)):
        arrays[f"x{suffix}"] = _numbers(table, numbers)
        arrays[f"codes{suffix}"] = _codes(table, texts)
    np.savez(folder / "arrays.npz", **arrays)
    np.save(folder / "y.npy", split.y_train)
    split.train.write_parquet(folder / "train.parquet")
    split.test.write_parquet(folder / "test.parquet")


def _numbers(table: pl.DataFrame, columns: list[dict[str, Any]]) -> NDArray[np.float32]:
    parts = [np.clip(table[c["name"]].to_numpy().astype(np.float64), c["lower"], c["upper"]).astype(np.float32) for c in columns]
    return np.stack(parts, axis=1) if parts else np.zeros((table.height, 0), np.float32)


def _codes(table: pl.DataFrame, columns: list[dict[str, Any]]) -> NDArray[np.int16]:
    parts = []
    for column in columns:
        place = {value: i for i, value in enumerate(column["values"])}
        parts.append(np.array([place.get(value, len(place)) for value in table[column["name"]].to_list()], dtype=np.int16))
    return np.stack(parts, axis=1) if parts else np.zeros((table.height, 0), np.int16)


def _key(contestant: Contestant, folder: Path) -> str:
    """What an answer depends on: the job and its arrays, the contestant's code, its pins."""
    state = hashlib.sha256((folder / "job.json").read_bytes())
    with np.load(folder / "arrays.npz") as arrays:
        for name in arrays.files:
            state.update(np.ascontiguousarray(arrays[name]).tobytes())
    for path in (Path(__file__).parent / "peers" / "common.py", ROOT / (contestant.module.replace(".", "/") + ".py")):
        state.update(path.read_bytes())
    state.update(repr(contestant.environment and contestant.environment.steps).encode())
    return state.hexdigest()[:32]
