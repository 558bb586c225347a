"""The encrypted examples, run as their page says: scripts, with a server in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import EXAMPLES
from .test_finance import transactions

pytest.importorskip("seal", reason="needs the extra «encrypted»")
pytest.importorskip("uvicorn", reason="needs the extra «serve»")


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(EXAMPLES.parent / "src"), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / "encrypted" / script), *arguments],
        env=environment, capture_output=True, text=True, check=False,
    )


@pytest.mark.slow
def test_a_hospital_decides_as_in_the_clear() -> None:
    done = run("hospital.py")
    assert done.returncode == 0, done.stderr
    assert "171 patients, 171 decided as by the model in the clear" in done.stdout
    right = re.search(r"([\d.]+)% rightly", done.stdout)
    assert right
    assert float(right[1]) > 85


@pytest.mark.slow
def test_a_bank_decides_as_in_the_clear(tmp_path: Path) -> None:
    transactions().write_parquet(tmp_path / "tx.parquet")
    done = run("bank.py", str(tmp_path / "tx.parquet"), "--records", "3000")
    assert done.returncode == 0, done.stderr
    assert "3,000 transactions" in done.stdout
    refused = run("bank.py", str(tmp_path / "absent.parquet"))
    assert refused.returncode == 2
    assert "there is none" in refused.stderr
