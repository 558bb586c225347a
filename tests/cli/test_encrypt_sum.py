"""``tacit encrypt sum`` as three clinics, an evaluator and a key holder use it: a folder each, and only files that they hand over."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tacit.domain import Domain, Numeric

pytest.importorskip("seal", reason="needs the extra «encrypted»")
SOURCE = Path(__file__).resolve().parents[2] / "src"
ENVIRONMENT = os.environ | {"PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1", "TACIT_PASSPHRASE": "four random words here"}
CLINICS = ("north", "south", "west")


def tacit(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tacit", *arguments]
    return subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False)


def done(folder: Path, *arguments: str) -> str:
    found = tacit(folder, *arguments)
    assert found.returncode == 0, found.stderr
    return found.stdout


def refused(folder: Path, code: int, *arguments: str) -> str:
    found = tacit(folder, *arguments)
    assert (found.returncode, found.stdout) == (code, "")
    assert len(found.stderr.splitlines()) == 1
    return found.stderr


@pytest.fixture
def parties(tmp_path: Path) -> dict[str, Path]:
    """Everybody's folder: clinics with records, policy and key; an evaluator with a key; a holder with a domain and all public keys."""
    found = {name: tmp_path / name for name in (*CLINICS, "evaluator", "holder")}
    for folder in found.values():
        folder.mkdir()
    Domain.of(age=Numeric(0, 100), dose=Numeric(0, 10)).save(found["holder"] / "domain.toml")
    for place, name in enumerate((*CLINICS, "evaluator")):
        done(found[name], "encrypt", "sum", "keygen", "--output", f"{name}.key")
        shutil.copy(found[name] / f"{name}.pub", found["holder"])
        if name in CLINICS:
            rng = np.random.default_rng(place)
            pl.DataFrame({"age": rng.uniform(0, 100, 2_000), "dose": rng.uniform(0, 10, 2_000)}).write_parquet(found[name] / "records.parquet")
            done(found[name], "init")
    return found


def planned(holder: Path, output: str = "survey") -> str:
    """A survey of covariances; its fingerprint."""
    who = [part for name in CLINICS for part in ("--contributor", f"{name}={name}.pub")]
    said = done(
        holder, "encrypt", "sum", "plan", "domain.toml", "--name", "doses 2026", "--of", "covariance", "--epsilon", "0.9", *who,
        "--evaluator", "evaluator.pub", "--least", "2", "--output", output,
    )
    assert "one alone   epsilon 1.29" in said
    return re.search(r"fingerprint (\S+),", said)[1]  # type: ignore[index]


def contributed(folder: Path, name: str, fingerprint: str) -> tuple[str, ...]:
    return ("encrypt", "sum", "contribute", "survey", "records.parquet", "--as", name, "--key", f"{name}.key", "--fingerprint", fingerprint,
            "--output", f"{name}.upload")


@pytest.mark.slow
def test_three_clinics_an_evaluator_and_a_key_holder(parties: dict[str, Path]) -> None:
    holder, evaluator = parties["holder"], parties["evaluator"]
    fingerprint = planned(holder)
    for name in (*CLINICS, "evaluator"):
        shutil.copy(holder / "survey", parties[name])
    for name in CLINICS:
        assert "for whoever is both evaluator and key holder: epsilon 1.29" in done(parties[name], *contributed(parties[name], name, fingerprint))
        shutil.copy(parties[name] / f"{name}.upload", evaluator)
    assert "charge" in done(parties["north"], "ledger", "show")
    assert "exists" in refused(parties["north"], 2, *contributed(parties["north"], "north", fingerprint))
    add = ("encrypt", "sum", "add", "survey", "--key", "evaluator.key")
    done(evaluator, *add, "north.upload", "south.upload", "--output", "two")
    done(evaluator, *add, *(f"{name}.upload" for name in CLINICS), "--output", "three")
    for name in ("two", "three"):
        shutil.copy(evaluator / name, holder)
    opening = ("encrypt", "sum", "open", "survey", "three", "--key", "survey.key", "--format", "json")
    said = json.loads(done(holder, *opening))
    whole = pl.concat([pl.read_parquet(parties[name] / "records.parquet") for name in CLINICS])
    assert said["contributors"] == sorted(CLINICS)
    for what, right in (("means", whole["age"].mean()), ("variances", whole["age"].var(ddof=0))):
        found = said[what]["age"]
        assert abs(found["value"] - float(right)) < 7 * found["error"] + 0.1  # type: ignore[arg-type]
        assert found["error"] < 0.1 * found["value"]
    assert json.loads(done(holder, *opening)) == said
    assert "give a contributor away" in refused(holder, 3, *opening[:4], "two", *opening[5:])
    assert "covariance of age and dose" in done(holder, *opening[:-2])


@pytest.mark.slow
def test_what_the_commands_refuse(parties: dict[str, Path]) -> None:
    holder, evaluator, north = parties["holder"], parties["evaluator"], parties["north"]
    fingerprint = planned(holder)
    for name in ("north", "south", "evaluator"):
        shutil.copy(holder / "survey", parties[name])
    assert "fingerprint" in refused(north, 3, *contributed(north, "north", "00000-00000-00000-00000"))
    assert "another key" in refused(north, 3, *contributed(north, "south", fingerprint)[:6], "south", *contributed(north, "north", fingerprint)[7:])
    done(north, *contributed(north, "north", fingerprint))
    shutil.copy(north / "north.upload", evaluator)
    add = ("encrypt", "sum", "add", "survey", "--key", "evaluator.key", "--output", "total")
    assert "at least 2" in refused(evaluator, 3, *add, "north.upload")
    assert "counts once" in refused(evaluator, 3, *add, "north.upload", "north.upload")
    (evaluator / "cut").write_bytes((evaluator / "north.upload").read_bytes()[:-1])
    assert "it was cut" in refused(evaluator, 3, *add, "cut")
    assert "Cannot read absent" in refused(evaluator, 2, *add, "absent")
    assert not (evaluator / "total").exists()
    assert "exists" in refused(holder, 2, "encrypt", "sum", "keygen", "--output", "survey")
    spent = json.loads(done(north, "ledger", "show", "--format", "json"))["spent"]
    done(north, "encrypt", "sum", "show", "survey")
    assert json.loads(done(north, "ledger", "show", "--format", "json"))["spent"] == spent
