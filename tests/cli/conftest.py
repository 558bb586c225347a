"""The command line as a user meets it: in a folder of its own, with exit code and both streams."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from tacit.cli import main

SOURCE = Path(__file__).resolve().parents[2] / "src"
POLICY = """
version = 1
[dataset]
name = "{name}"
[unit]
name = "{unit}"
{column}
[privacy]
epsilon = {epsilon}
delta = 1e-5
[limits]
minimum_units = 50
approval = "{approval}"
"""


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str


Tacit = Callable[..., Done]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def tacit(place: Path, capsys: pytest.CaptureFixture[str]) -> Tacit:
    """Run a command in this process."""

    def run(*arguments: object) -> Done:
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        streams = capsys.readouterr()
        assert "Traceback" not in streams.err
        return Done(int(stopped.value.code or 0), streams.out, streams.err)

    return run


@pytest.fixture
def apart(place: Path) -> Callable[..., Done]:
    """Run a command in a process of its own, after some Python that prepares it."""

    def run(*arguments: object, before: str = "") -> Done:
        program = f"{before}\nimport sys\nfrom tacit.cli import main\nmain({[str(a) for a in arguments]!r})"
        environment = {**os.environ, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"}
        done = subprocess.run([sys.executable, "-c", program], cwd=place, env=environment, capture_output=True, text=True, check=False)
        return Done(done.returncode, done.stdout, done.stderr)

    return run


def events(rows: int = 3_000, seed: int = 0, *, per_user: int = 1) -> pa.Table:
    """A table in which «bytes» and «kind» tell of «label»."""
    rng = np.random.default_rng(seed)
    bad = rng.random(rows) < 0.2
    size = np.where(bad, rng.lognormal(8, 1, rows), rng.lognormal(5, 1, rows))
    kind = np.where(rng.random(rows) < 0.7, np.where(bad, "post", "get"), "head")
    users = np.repeat([f"u{i}" for i in range(-(-rows // per_user))], per_user)[:rows]
    label = np.where(bad, "bad", "good")
    return pa.table({"user": users, "bytes": size, "kind": kind, "port": rng.choice([22.0, 80.0, 443.0], rows), "label": label})


def write(path: Path, table: pa.Table) -> Path:
    """As CSV or Parquet, by the name."""
    if path.suffix == ".csv":
        pyarrow.csv.write_csv(table, path)
    else:
        pq.write_table(table, path)
    return path


def policy(folder: Path, *, name: str = "events", epsilon: float = 2.0, column: str = "", approval: str = "automatic") -> Path:
    """A policy file for a table of events."""
    path = folder / "tacit.toml"
    line = f'column = "{column}"' if column else ""
    path.write_text(POLICY.format(name=name, unit=column or "record", column=line, epsilon=epsilon, approval=approval), encoding="utf-8")
    return path
