from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tacit import Budget
from tacit.errors import DataError, OffPlan, Refused, UsageError, VerificationError
from tacit.guard import Ledger
from tacit.networks import TrainingPlan, private_step, resume
from tacit.networks.checkpoint import RESERVED

STEPS = 40
PLAN = TrainingPlan.for_budget(Budget(2.0, 1e-5), units=600, batch=60, steps=STEPS, run="checkpoint test")

CHILD = """
import sys, time
sys.path.insert(0, sys.argv[2])
from test_checkpoint import PLAN, begun
step = begun(sys.argv[1])
for _ in range(PLAN.steps):
    step()
    time.sleep(0.05)
"""


def parts() -> tuple[nn.Module, Any, tuple[Tensor, Tensor]]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    x = torch.randn(600, 4)
    return model, torch.optim.Adam(model.parameters(), 0.01), (x, (x[:, 0] > 0).long())


def begun(folder: str | Path, plan: TrainingPlan = PLAN) -> Any:
    model, optimiser, data = parts()
    step = private_step(model, nn.CrossEntropyLoss(), optimiser, plan, data=data, ledger=Ledger.open(Path(folder) / "ledger.db"))
    return step.keep(Path(folder) / "run.checkpoint", every=5)


def resumed(folder: str | Path, plan: TrainingPlan = PLAN) -> Any:
    model, optimiser, data = parts()
    books = Ledger.open(Path(folder) / "ledger.db")
    return resume(model, nn.CrossEntropyLoss(), optimiser, plan=plan, data=data, checkpoint=(Path(folder) / "run.checkpoint", books))


def charges(folder: Path) -> int:
    return sum(entry.kind == "charge" for entry in Ledger.open(folder / "ledger.db").entries())


def test_a_killed_run_goes_on_for_the_same_charge(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path), str(Path(__file__).parent)], env={**os.environ, "OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if (tmp_path / "ledger.db").exists() and len(Ledger.open(tmp_path / "ledger.db").find(RESERVED, scope())) >= 3:
            break
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    child.wait()
    through = max(entry.body["through"] for entry in Ledger.open(tmp_path / "ledger.db").find(RESERVED, scope()))
    step = resumed(tmp_path)
    assert step.done == through
    assert 10 <= step.done < STEPS
    while step.left:
        step()
    assert charges(tmp_path) == 1
    assert step.guarantee.epsilon <= 2.0
    with pytest.raises(OffPlan):
        step()
    with pytest.raises(Refused, match="all 40 steps"):
        resumed(tmp_path)
    Ledger.open(tmp_path / "ledger.db").verify()


def scope() -> Any:
    from tacit.guarantee import Scope

    return Scope("training")


def test_the_state_is_the_one_that_was_saved(tmp_path: Path) -> None:
    step = begun(tmp_path)
    for _ in range(5):
        step()
    values, moments = step.engine.flat.values.clone(), next(iter(step.optimiser.state.values()))["exp_avg"].clone()
    step._checkpoints.before()
    again = resumed(tmp_path)
    assert torch.equal(again.engine.flat.values, values)
    assert torch.equal(next(iter(again.optimiser.state.values()))["exp_avg"], moments)
    assert again.done == 10


def test_an_old_file_put_back_repeats_no_step(tmp_path: Path) -> None:
    step = begun(tmp_path)
    step()
    old = (tmp_path / "run.checkpoint").read_bytes()
    for _ in range(11):
        step()
    (tmp_path / "run.checkpoint").write_bytes(old)
    assert resumed(tmp_path).done == 15


@pytest.mark.parametrize("noise", ["banded:4", "tree"])
def test_groups_stay_those_that_were_drawn(tmp_path: Path, noise: str) -> None:
    plan = TrainingPlan.for_budget(Budget(2.0, 1e-5), units=600, batch=60, steps=STEPS, noise=noise, run="groups")
    step = begun(tmp_path, plan)
    for _ in range(7):
        step()
    again = resumed(tmp_path, plan)
    assert (again.drawer.groups == step.drawer.groups).all()
    while again.left:
        again()


def test_files_that_were_changed_are_refused(tmp_path: Path) -> None:
    step = begun(tmp_path)
    step()
    path = tmp_path / "run.checkpoint"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(VerificationError):
        resumed(tmp_path)
    path.write_bytes(content[:100])
    with pytest.raises(DataError):
        resumed(tmp_path)


def test_another_plan_and_no_ledger_are_refused(tmp_path: Path) -> None:
    step = begun(tmp_path)
    step()
    other = TrainingPlan.for_budget(Budget(2.0, 1e-5), units=600, batch=60, steps=STEPS, run="another")
    with pytest.raises(Refused, match="does not hold the charge"):
        resumed(tmp_path, other)
    model, optimiser, data = parts()
    plain = private_step(model, nn.CrossEntropyLoss(), optimiser, other, data=data)
    with pytest.raises(UsageError, match="Ledger"):
        plain.keep(tmp_path / "x", every=5)
