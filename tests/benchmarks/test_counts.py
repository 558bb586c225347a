"""The contest of noisy counts: made-up failed logons, our own way through the guard, and what the row makes of the answers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from benchmarks.contest import Failed
from benchmarks.failures import CELLS, DAYS, HOURS, write
from benchmarks.result import Incomplete, Options
from benchmarks.rows import log_counts
from benchmarks.workers import counts

from tacit.guard import Ledger


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("failures")
    write(path, 30_000, users=600)
    return path


def test_the_file_the_integers_and_the_truth_are_of_the_same_events(folder: Path) -> None:
    events, truth = pl.read_parquet(folder / "events.parquet"), np.load(folder / "truth.npy")
    with np.load(folder / "packed.npz") as packed:
        unit, cell = packed["unit"], packed["cell"]
    assert events.height == len(unit) == len(cell) == int(truth.sum()) == 30_000
    assert np.bincount(cell, minlength=CELLS).tolist() == truth.tolist()
    hosts = events["host.name"].str.slice(5, 3).cast(pl.Int64).to_numpy()
    hours = ((events["@timestamp"].dt.epoch("s") - counts.BEGIN) // 3_600).to_numpy()
    assert (hosts * HOURS + hours).tolist() == cell.tolist()
    users = events["user.name"].str.slice(4).cast(pl.Int64).to_numpy()
    assert (users * DAYS + hours // 24).tolist() == unit.tolist()


def test_our_way_is_charged_bounded_and_noised(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert counts.main([str(folder), "1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["ways"]) == set(counts.WAYS)
    given, chosen = found["ways"]["given"], found["ways"]["chosen"]
    assert given["bounds"] == {"cells": 10, "each": 2}
    assert 15 < given["mae"] < 30
    assert chosen["mae"] < given["mae"]
    assert "user-day, add/remove, curator, sum of epsilon" in given["guarantee"]
    entries = [entry for entry in Ledger.open(str(folder / "ledger.db")).entries() if entry.kind == "charge"]
    assert len(entries) == len(counts.WAYS)


def answer(seconds: float, mae: float) -> dict[str, float]:
    return {"cpu_seconds": seconds, "mae": mae, "bias": -13.0}


def test_the_row_compares_and_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    def told(seconds: float, error: float) -> None:
        def run(module: str, arguments: list[str], environment: object = None) -> str:
            if module.endswith("opendp"):
                return json.dumps(answer(4.0, 25.0))
            if module.endswith("pipelinedp"):
                return json.dumps(answer(9.0, 24.0))
            times = 1 if (Path(arguments[0]) / "packed.npz").exists() else 10
            ways = {"given": answer(times * seconds, error), "chosen": answer(times * seconds, 0.7 * error)}
            return json.dumps({"ways": ways, "peak_bytes": 1 << 30})

        monkeypatch.setattr(log_counts, "run", run)

    monkeypatch.setattr(log_counts, "EVENTS", 1_000)
    monkeypatch.setattr(log_counts, "MANY", 10_000)
    told(0.3, 24.0)
    good = log_counts.counts(Options())
    assert good.passed
    assert good.peer_figure == 4.0
    for seconds, error in ((0.55, 24.0), (0.3, 26.0)):
        told(seconds, error)
        assert not log_counts.counts(Options()).passed

    def broken(module: str, arguments: list[str], environment: object = None) -> str:
        raise Failed("no")

    monkeypatch.setattr(log_counts, "run", broken)
    with pytest.raises(Incomplete):
        log_counts.counts(Options())
