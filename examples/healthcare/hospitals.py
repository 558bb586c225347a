"""Four hospitals, four processes, one model of heart disease: from invitations to a report, then with one hospital absent, then with two.

    python examples/healthcare/hospitals.py FOLDER [--work FOLDER] [--epsilon 0.5]

FOLDER holds ``processed.cleveland.data``, ``processed.hungarian.data``, ``processed.switzerland.data`` and ``processed.va.data`` of the UCI Heart
Disease data (doi 10.24432/C52P4X, CC BY 4.0), split into training and test patients as in FLamby's Fed-Heart-Disease (arXiv 2210.04620). Everything
runs on this machine over the loopback address, with TLS between the processes; the commands are the ones that real hospitals would type, and the
script plays the people who read fingerprints to each other over the phone.
"""

from __future__ import annotations

import argparse
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split

from tacit.domain import Category, Domain, Numeric
from tacit.models import load

HOSPITALS = ("cleveland", "hungarian", "switzerland", "va")
NAMES = ("age", "sex", "pain", "pressure", "cholesterol", "sugar", "ecg", "rate", "angina", "depression", "slope", "vessels", "thal", "disease")
TEXTS = ("sex", "pain", "sugar", "ecg", "angina")
DELTA = 1e-3
DOMAIN = Domain.of(
    age=Numeric(0, 120), sex=Category(("0", "1")), pain=Category(("1", "2", "3", "4")), pressure=Numeric(60, 260), cholesterol=Numeric(0, 700),
    sugar=Category(("0", "1")), ecg=Category(("0", "1", "2")), rate=Numeric(40, 240), angina=Category(("0", "1")), depression=Numeric(-4, 8),
)
"""What a clinician knows without a look at the records."""

POLICY = """\
version = 1
[dataset]
name = "heart"
[unit]
name = "patient"           # every row is one patient
[privacy]
epsilon = {epsilon}
delta = {delta}
[limits]
minimum_units = 0          # Switzerland has 30 patients, fewer than the count's noise hides
[files]
source = "patients.csv"
"""
STUDY = """\
version = 1
[study]
name = "heart"
edition = {edition}
purpose = "tell from routine values who has coronary heart disease"
asker = "the four hospitals' steering group"
dataset = "heart"
ends = 2099-12-31
[unit]
name = "patient"
[privacy]
epsilon = {epsilon}
delta = {delta}
[learner]
kind = "additive"
target = "disease"
positive = "yes"
[learner.parameters]
iterations = {iterations}
[sites]
names = ["cleveland", "hungarian", "switzerland", "va"]
"""


def patients(path: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """A hospital's training and test patients, as FLamby splits them: columns that some hospitals lack are left out, and rows with gaps.

    Raises:
        SystemExit: with status 2 if the file is missing.
    """
    if not path.is_file():
        print(f"Expected {path.name} of the UCI Heart Disease data in {path.parent}; there is none.", file=sys.stderr)
        raise SystemExit(2)
    table = pl.read_csv(path, has_header=False, new_columns=list(NAMES), null_values="?").drop("slope", "vessels", "thal").drop_nulls()
    table = table.cast(pl.Float64)
    sick = (table["disease"] > 0).to_numpy().astype(int)
    by_class = sick if min(np.bincount(sick, minlength=2)) > 2 else None
    train, test = train_test_split(np.arange(len(sick)), test_size=1 - 0.66, train_size=0.66, random_state=43, shuffle=True, stratify=by_class)
    label = pl.when(pl.col("disease") > 0).then(pl.lit("yes")).otherwise(pl.lit("no"))
    texts = table.with_columns(pl.col(TEXTS).cast(pl.Int64).cast(pl.String), disease=label)
    return texts[train], texts[test]


@dataclass
class Stage:
    """Folders and running commands; every command is printed as it is typed.

    Args:
        work: where the folders are made.
        port: that the coordinator listens on.
    """

    work: Path
    port: int
    running: list[subprocess.Popen[str]] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def start(self, who: str, *words: str) -> subprocess.Popen[str]:
        """Type a command and leave it running."""
        shown = " ".join(f"{word[:24]}…" if word.startswith("tacit-invite:") else word for word in words)
        print(f"{time.monotonic() - self.started:5.1f} s  {who}$ tacit {shown}", flush=True)
        with (self.work / f"{who}.log").open("a") as log:
            process = subprocess.Popen(  # noqa: S603 - the arguments are this script's own
                [sys.executable, "-m", "tacit", *words], cwd=self.work / who, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=log, env={**os.environ, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"},
            )
        self.running.append(process)
        return process

    def done(self, who: str, *words: str) -> str:
        """Type a command and read what it prints."""
        return self.finished(self.start(who, *words))

    def finished(self, process: subprocess.Popen[str], *, expected: int = 0) -> str:
        """Wait for a command that was started; what it printed."""
        said, _ = process.communicate()
        for line in said.splitlines():
            shown = re.sub("(tacit-invite:.{12}).*", "\\1…", line)
            print(f"         {shown}")
        if process.returncode != expected:
            raise SystemExit(f"a command ended with {process.returncode}; see the .log files in {self.work}")
        return said

    def stop(self, processes: Sequence[subprocess.Popen[str]]) -> None:
        """Pull the plug on some."""
        for process in processes:
            process.kill()
            process.communicate()


@contextmanager
def stage(work: Path) -> Iterator[Stage]:
    """A stage on which nothing is left running."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = int(found.getsockname()[1])
    made = Stage(work, port)
    try:
        yield made
    finally:
        made.stop([process for process in made.running if process.poll() is None])


def prepare(on: Stage, data: Path, epsilon: float) -> pl.DataFrame:
    """The folders, with what each party has before anything begins; all test patients."""
    tests = []
    for name in HOSPITALS:
        train, test = patients(data / f"processed.{name}.data")
        (on.work / name).mkdir(parents=True)
        train.write_csv(on.work / name / "patients.csv")
        (on.work / name / "tacit.toml").write_text(POLICY.format(epsilon=3 * epsilon, delta=DELTA), encoding="utf-8")
        tests.append(test.with_columns(hospital=pl.lit(name)))
    (on.work / "coordinator").mkdir()
    for edition, iterations in ((1, 8), (2, 8), (3, 60)):
        card = STUDY.format(edition=edition, epsilon=epsilon, delta=DELTA, iterations=iterations)
        (on.work / "coordinator" / f"study{edition}.toml").write_text(card + DOMAIN.to_toml(), encoding="utf-8")
    return pl.concat(tests)


def join(on: Stage) -> subprocess.Popen[str]:
    """Invitations, and a phone call with each hospital; the coordinator, which then waits for the hospitals to take part."""
    said = on.done("coordinator", "coordinator", "init", *HOSPITALS, "--federation", "four hospitals", "--address", f"127.0.0.1:{on.port}")
    coordinators = re.findall(r"Read this to every site: +(\S+)", said)[0]
    invitations = re.findall(r"tacit site join (\S+)", said)
    hub = on.start("coordinator", "coordinator", "run", "study1.toml")
    for name, invitation in zip(HOSPITALS, invitations, strict=True):
        joining = on.start(name, "site", "join", invitation, "--fingerprint", coordinators)
        read_out = _line(joining, r"Read this to the coordinator: +(\S+)")
        print(f"         ({name} reads {read_out} over the phone, and the coordinator types it)")
        _type(hub, read_out)
        on.finished(joining)
    return hub


def studies(on: Stage, hub: subprocess.Popen[str]) -> None:
    """Three editions of the study: with all, without one hospital, and with two that fail in the middle."""
    sites = {name: on.start(name, "site", "run", "--yes") for name in HOSPITALS}
    on.finished(hub)
    print("\none hospital absent: three are needed, and three are there\n")
    on.stop([sites["switzerland"]])
    on.finished(on.start("coordinator", "coordinator", "run", "study2.toml", "--gather", "5"))
    print("\ntwo hospitals fail in the middle of a study: it aborts, and stays charged\n")
    sites["switzerland"] = on.start("switzerland", "site", "run", "--yes")
    hub = on.start("coordinator", "coordinator", "run", "study3.toml", "--gather", "60", "--timeout", "5")
    _until(lambda: _opened(on, "va") == 3, "the third study to be opened")
    time.sleep(1)
    on.stop([sites["switzerland"], sites["va"]])
    on.finished(hub, expected=3)


def results(on: Stage, test: pl.DataFrame) -> None:
    """What the models are worth on the hospitals' own test patients, and what every ledger says."""
    sick = (test["disease"] == "yes").to_numpy()
    print("\narea under the ROC curve on test patients (measured by their hospitals on their own records; not private)\n")
    for edition, what in ((1, "all four"), (2, "three of four")):
        model = load(on.work / "coordinator" / "studies" / f"heart-{edition}" / "model.tacit")
        scores = model.predict_proba(test)[:, 1]
        rows = [("all patients", float(roc_auc_score(sick, scores)))]
        for name in HOSPITALS:
            mine = (test["hospital"] == name).to_numpy()
            rows.append((name, float(roc_auc_score(sick[mine], scores[mine]))))
        print(f"  {what:14s} " + "   ".join(f"{name} {auc:.3f}" for name, auc in rows) + f"   {model.guarantee}")
    print()
    on.done("va", "site", "ledger")
    on.done("coordinator", "coordinator", "status")
    print(f"\nreports: {on.work / 'coordinator' / 'studies'}/heart-*/report.html")


def _opened(on: Stage, name: str) -> int:
    """How many studies a hospital has opened, and been charged for, so far."""
    return (on.work / f"{name}.log").read_text(encoding="utf-8").count("a study was opened")


def _line(process: subprocess.Popen[str], pattern: str) -> str:
    """Read what a command prints until a line has the pattern."""
    while process.stdout is not None and (line := process.stdout.readline()):
        print(f"         {line.rstrip()}")
        if found := re.search(pattern, line):
            return found[1]
    raise SystemExit(f"a command ended before it printed {pattern!r}")


def _type(process: subprocess.Popen[str], line: str) -> None:
    if process.stdin is not None:
        process.stdin.write(f"{line}\n")
        process.stdin.flush()


def _until(done: object, what: str, *, patience: float = 120.0) -> None:
    end = time.monotonic() + patience
    while callable(done) and not done():
        if time.monotonic() > end:
            raise SystemExit(f"waited {patience:.0f} s for {what}")
        time.sleep(0.05)


def main(arguments: list[str] | None = None) -> int:
    """Run everything, and print it as a transcript."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, help="where the folders are made (default: a temporary one)")
    parser.add_argument("--epsilon", type=float, default=0.5, help="for one patient and one study (default 0.5)")
    asked = parser.parse_args(arguments)
    work = asked.work or Path(tempfile.mkdtemp(prefix="hospitals-"))
    with stage(work) as on:
        test = prepare(on, asked.data, asked.epsilon)
        studies(on, join(on))
        results(on, test)
    return 0


if __name__ == "__main__":
    sys.exit(main())
