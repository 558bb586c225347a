"""The main job end to end on small records: what is compared, charged, kept after a kill, and protected."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tacit.errors import DataError, UsageError
from tacit.guarantee import PrivacyUnit
from tacit.guard import Ledger
from tacit.pilot import PilotSpec, TableSpec, audit, forget, from_file, hospital, run_pilot, simulated
from tacit.pilot.data import TARGET
from tacit.pilot.results import PilotResult

SOURCE = Path(__file__).resolve().parents[2] / "src"


def table(rows: int = 1_600, seed: int = 0, per_user: int = 1) -> pa.Table:
    rng = np.random.default_rng(seed)
    bad = rng.random(rows) < 0.25
    users = np.repeat([f"u{i:04d}" for i in range(-(-rows // per_user))], per_user)[:rows]
    return pa.table({
        "user": users, "when": np.arange(rows) % per_user * 43_200.0 + 1_700_000_000,
        "size": np.where(bad, rng.normal(3, 1, rows), rng.normal(0, 1, rows)),
        "kind": rng.choice(["a", "b", "c"], rows), "site": rng.choice(["north", "south"], rows), "label": np.where(bad, "yes", "no"),
    })


def spec(folder: Path, **changes: object) -> PilotSpec:
    return replace(PilotSpec(budgets=(1.0, 8.0), sites=2, shadows=4, pool=400, folder=folder), **changes)


@pytest.fixture(autouse=True)
def one_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    """One twin per candidate is enough here, except where a test asks for more."""
    monkeypatch.setattr(audit, "ENOUGH", 100)


@pytest.fixture
def path(tmp_path: Path) -> str:
    pq.write_table(table(), tmp_path / "events.parquet")
    return str(tmp_path / "events.parquet")


def test_every_candidate_is_charged_measured_and_attacked(path: str, tmp_path: Path) -> None:
    data = from_file(TableSpec(path, "label", "yes", groups=("site",), drop=("user", "when")), 1)
    result = run_pilot(data, spec(tmp_path / "pilot"))
    assert [candidate.kind for candidate in result.candidates] == ["baseline", "private", "private", "federated", "linear"]
    for candidate in result.candidates:
        assert candidate.utility.auc is not None
        assert candidate.utility.auc.value > (0.7 if candidate.budget in (None, 8.0) else 0.3)  # at ε = 1 a thousand records may teach little
        assert candidate.cost.cpu_seconds is not None
        assert candidate.cost.peak_memory_mb is not None
        assert {attack.name[:10] for attack in candidate.attacks} == {"learned fu", "likelihood", "relative c"}
        assert all(attack.negative_control and attack.positive_control for attack in candidate.attacks)
        assert {group.value for group in candidate.groups} == {"north", "south"}
        assert candidate.is_private == (candidate.kind != "baseline")
        if candidate.is_private:
            assert candidate.epsilon is not None
            assert candidate.budget is not None
            assert 0.9 * candidate.budget < candidate.epsilon <= candidate.budget
    ledger = Ledger.open(tmp_path / "pilot" / "assessment.db", create=False)
    ledger.verify(head=result.meta.ledger.head)
    charges = list(ledger.entries(kind="charge"))
    # Each candidate and each twin: a count and a training, at every site.
    assert len(charges) == result.meta.ledger.charged == 2 * (2 + 2 + 1) * 2
    assert all(result.meta.run in entry.dataset for entry in charges)
    assert PilotResult.from_dict(json.loads(result.to_json())) == result


def test_people_are_split_trained_and_attacked_as_one(tmp_path: Path) -> None:
    pq.write_table(table(1_600, per_user=4), tmp_path / "events.parquet")
    unit = TableSpec(str(tmp_path / "events.parquet"), "label", "yes", unit=PrivacyUnit("user", "user"), rows_per_unit=4, drop=("when",))
    data = from_file(unit, 1)
    mine, others = (set(part.column("user").to_pylist()) for part in (data.train, data.test))
    assert not mine & others
    assert "user" not in data.features
    result = run_pilot(data, spec(tmp_path / "pilot"))
    private = next(candidate for candidate in result.candidates if candidate.kind == "private")
    assert "per user" in private.guarantee
    assert private.attacks[0].members + private.attacks[0].nonmembers == 400
    assert result.meta.unit == "user"
    assert result.meta.words.records == "users"


def test_a_window_makes_a_smaller_unit_and_says_what_a_month_costs(tmp_path: Path) -> None:
    pq.write_table(table(1_600, per_user=4), tmp_path / "events.parquet")
    unit = PrivacyUnit("user-day", "user", "day")
    data = from_file(TableSpec(str(tmp_path / "events.parquet"), "label", "yes", unit=unit, time="when", rows_per_unit=2), 1)
    assert not {"user", "when"} & set(data.features)
    result = run_pilot(data, spec(tmp_path / "pilot", budgets=(1.0,)))
    private = next(candidate for candidate in result.candidates if candidate.kind == "private")
    assert private.attacks[0].members + private.attacks[0].nonmembers == 400  # of about 800 user-days
    assert private.epsilon is not None
    assert private.epsilon_30 is not None
    assert 4 * private.epsilon < private.epsilon_30 < 30 * private.epsilon


def test_few_units_are_attacked_by_several_twins(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "ENOUGH", 1_000)
    data = from_file(TableSpec(path, "label", "yes", drop=("user", "when")), 1)
    result = run_pilot(data, spec(tmp_path / "pilot", budgets=(1.0,)))
    private = next(candidate for candidate in result.candidates if candidate.kind == "private")
    assert private.attacks[0].members + private.attacks[0].nonmembers == 3 * 400
    row = next(row for row in result.evidence if row.id == private.attacks[0].auc.ref)
    assert "each of 3 twins trained on half of 400 records" in row.source


PROGRAM = """
import pathlib, sys
from tacit.pilot import audit
from tacit.pilot import PilotSpec, TableSpec, from_file, run_pilot
audit.ENOUGH = 100
folder = pathlib.Path(sys.argv[2])
spec = PilotSpec(budgets=(1.0, 8.0), sites=2, shadows=4, pool=400, folder=folder)
data = from_file(TableSpec(sys.argv[1], "label", "yes", drop=("user", "when")), 1)
result = run_pilot(data, spec, say=lambda text: print(text, flush=True))
print("RUN", result.meta.run, result.meta.ledger.charged, flush=True)
"""


def test_a_killed_pilot_goes_on_where_it_stopped(path: str, tmp_path: Path) -> None:
    folder = tmp_path / "pilot"
    command = [sys.executable, "-c", PROGRAM, path, str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        for line in first.stdout:
            if line.startswith("attack on a model"):
                break
        first.send_signal(signal.SIGKILL)
        first.wait()
    kept = sorted((folder / ".progress").glob("stage-*.json"))
    assert len(kept) == 5
    assert all(file.stat().st_mode & 0o077 == 0 for file in kept)
    Ledger.open(folder / "assessment.db", create=False).verify()
    stamps = [file.stat().st_mtime_ns for file in kept]
    second = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert second.returncode == 0, second.stderr
    assert "which was interrupted" in second.stdout
    assert [file.stat().st_mtime_ns for file in kept] == stamps
    # Nothing that was finished is charged again: 2 curators, 2 sites, 1 linear, and their twins, each with a count.
    assert int(second.stdout.split("RUN")[1].split()[1]) == 20
    forget(folder)
    assert not (folder / ".progress").exists()


def test_other_records_or_settings_start_anew(path: str, tmp_path: Path) -> None:
    folder = tmp_path / "pilot"
    source = TableSpec(path, "label", "yes", drop=("user", "when"))
    first = run_pilot(from_file(source, 1), spec(folder, budgets=(1.0,)))
    began = time.perf_counter()
    again = run_pilot(from_file(source, 1), spec(folder, budgets=(1.0,)))
    assert again.meta.run == first.meta.run
    assert again.candidates == first.candidates
    assert time.perf_counter() - began < 5
    assert run_pilot(from_file(source, 1), spec(folder, budgets=(2.0,))).meta.run != first.meta.run
    pq.write_table(table(seed=9), path)
    changed = run_pilot(from_file(source, 1), spec(folder, budgets=(2.0,)))
    assert changed.meta.run != again.meta.run


def test_damaged_progress_is_done_again(path: str, tmp_path: Path) -> None:
    folder = tmp_path / "pilot"
    data = from_file(TableSpec(path, "label", "yes", drop=("user", "when")), 1)
    first = run_pilot(data, spec(folder, budgets=(1.0,)))
    files = sorted((folder / ".progress").glob("stage-*.json"))
    files[0].write_text("{")
    files[1].write_text('{"stage": {"candidate": 3}, "evidence": []}')
    again = run_pilot(data, spec(folder, budgets=(1.0,)))
    assert {candidate.name for candidate in again.candidates} == {candidate.name for candidate in first.candidates}


def test_the_embedded_records(tmp_path: Path) -> None:
    soc, ward = simulated(3, small=True), hospital(3)
    assert set(soc.train.column(TARGET).unique().to_pylist()) == {0, 1}
    assert max(soc.train.column("window").to_pylist()) < min(soc.test.column("window").to_pylist())
    assert ward.words.records == "patients"
    assert ward.train.num_rows + ward.test.num_rows == 569


@pytest.mark.parametrize(("change", "message"), [
    ({"target": "lable"}, "Did you mean «label»"), ({"positive": "maybe"}, "not there"), ({"drop": ("sise",)}, "Did you mean «size»"),
    ({"target": "kind", "positive": None}, "Name the one to detect"), ({"target": "constant", "positive": None}, "at least two values"),
])
def test_a_table_that_cannot_be_compared_on_is_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    whole = table()
    pq.write_table(whole.append_column("constant", pa.array(["x"] * whole.num_rows)), tmp_path / "events.parquet")
    with pytest.raises(DataError, match=message):
        from_file(replace(TableSpec(str(tmp_path / "events.parquet"), "label", "yes"), **change), 1)


def test_columns_of_nothing_and_very_few_positives(tmp_path: Path) -> None:
    """The baseline cannot bin a column without a number; and two positives say little about anything."""
    rows = 60
    odd = {"empty": pa.nulls(rows, pa.float64()), "endless": np.full(rows, np.inf), "nothing": pa.nulls(rows, pa.string())}
    few = table(rows, seed=3)
    for name, values in odd.items():
        few = few.append_column(name, values if isinstance(values, pa.Array) else pa.array(values))
    pq.write_table(few, tmp_path / "events.parquet")
    data = from_file(TableSpec(str(tmp_path / "events.parquet"), "label", "yes"), 1)
    result = run_pilot(data, spec(tmp_path / "pilot"))
    assert "Very few positives were held out" in result.warnings[1]
    alone = from_file(TableSpec(str(tmp_path / "events.parquet"), "label", "yes", drop=("user", "when", "size", "kind", "site")), 1)
    assert run_pilot(alone, spec(tmp_path / "other")).candidates[0].utility.auc.value == 0.5


def test_too_few_units_to_hold_some_out(tmp_path: Path) -> None:
    few = table(12).set_column(0, "user", pa.array(["a", "b", "c"] * 4))
    pq.write_table(few, tmp_path / "events.parquet")
    with pytest.raises(DataError, match="at least 4 units"):
        from_file(TableSpec(str(tmp_path / "events.parquet"), "label", "yes", unit=PrivacyUnit("user", "user")), 1)


@pytest.mark.parametrize("change", [{"sites": 1}, {"shadows": 3}, {"shadows": 2}, {"pool": 10}])
def test_settings_that_compare_nothing_are_refused(change: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="Expected"):
        PilotSpec(**change)
