"""From nothing to the first federated model: three fresh folders, two commands at each site and two at the coordinator, people on the phone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.federation.life.commands import FINGERPRINT, Command, done, free_port

from tacit.federation.mock import mock_table
from tacit.federation.study import StudyCard
from tacit.models import load

websockets = pytest.importorskip("websockets", reason="the extra «federation» is not installed")

SITES = ("anna", "berta", "carl")
STUDY = """
version = 1
[study]
name = "first"
purpose = "find out whether it works"
asker = "a test"
dataset = "stays"
ends = 2099-12-31
[unit]
name = "patient"
[privacy]
epsilon = 2.0
delta = 1e-5
[learner]
kind = "boosted-trees"
target = "readmitted"
positive = "yes"
[learner.parameters]
passes = 1
trees = 4
[sites]
names = ["anna", "berta", "carl"]
[[columns]]
name = "age"
type = "number"
lower = 0
upper = 120
[[columns]]
name = "ward"
type = "category"
values = ["surgery", "medicine"]
"""
POLICY = ("--data", "records.csv", "--dataset", "stays", "--unit", "patient", "--epsilon", "3", "--delta", "1e-5")


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    """A fresh folder for each, with nothing in it but a site's own records and the coordinator's question."""
    import pyarrow.csv

    made = {name: tmp_path / name for name in ("hub", *SITES)}
    for number, (name, folder) in enumerate(made.items()):
        folder.mkdir()
        if name != "hub":
            table = mock_table(StudyCard.parse(STUDY), 400, seed=number).drop_columns(["tacit_mock"])
            pyarrow.csv.write_csv(table, folder / "records.csv")
    (made["hub"] / "study.toml").write_text(STUDY, encoding="utf-8")
    return made


@pytest.fixture
def running() -> Iterator[list[Command]]:
    commands: list[Command] = []
    yield commands
    for command in commands:
        command.kill()


def phone(hub: Command, site: Command, name: str, coordinators: str) -> None:
    """Two people compare two fingerprints."""
    heard = site.wait_for(f"The coordinator reads to you: ({FINGERPRINT})")[1]
    assert heard == coordinators
    site.wait_for(r"phone\?")
    site.type("y")
    read_out = site.wait_for(f"Read this to the coordinator:  ({FINGERPRINT})")[1]
    hub.wait_for(f"«{name}» asks to join")
    hub.type(read_out)
    hub.wait_for(f"«{name}» is in")


@pytest.mark.slow
def test_two_commands_each_from_nothing_to_a_model(folders: dict[str, Path], running: list[Command]) -> None:
    port = free_port()
    hub_folder = folders["hub"]
    first = done(hub_folder, "coordinator", "init", *SITES, "--federation", "three houses", "--address", f"127.0.0.1:{port}")
    coordinators = re.search(FINGERPRINT, first)[0]  # type: ignore[index]
    invitations = [line.split()[-1] for line in first.splitlines() if "tacit-invite:" in line]
    assert len(invitations) == len(SITES)

    hub = Command(hub_folder, "coordinator", "run", "study.toml")
    running.append(hub)
    hub.wait_for("the desk is open")
    for name, invitation in zip(SITES, invitations, strict=True):
        joining = Command(folders[name], "site", "join", invitation, *POLICY)
        running.append(joining)
        phone(hub, joining, name, coordinators)
        code, said = joining.end()
        assert code == 0, said

    serving = [Command(folders[name], "site", "run", "--once") for name in SITES]
    running.extend(serving)
    for site in serving:
        site.wait_for("Sign this list")
        site.type("y")
    code, said = hub.end()
    assert code == 0, said
    assert "COMPLETED: first" in said
    for site in serving:
        code, said = site.end()
        assert code == 0, said

    model = load(hub_folder / "studies" / "first-1" / "model.tacit")
    assert str(model.guarantee.trust) == "distributed(3,3,1)"
    assert model.guarantee.unit.name == "patient"
    report = json.loads((hub_folder / "studies" / "first-1" / "report.json").read_text(encoding="utf-8"))
    assert report["outcome"] == "completed"
    assert set(report["charges"]) == set(SITES)
    assert "study is complete" in (hub_folder / "studies" / "first-1" / "report.html").read_text(encoding="utf-8")
    no_private_key_was_copied(folders)
    each_ledger_says_who_asked_what(folders, report)


def no_private_key_was_copied(folders: dict[str, Path]) -> None:
    """Every private key lies in one folder alone, readable by its owner alone, and no message or file of another has any of it."""
    keys: dict[Path, str] = {}
    for folder in folders.values():
        for path in folder.rglob("*"):
            if path.is_file() and b"PRIVATE KEY" in path.read_bytes():
                assert path.stat().st_mode & 0o077 == 0, path
                keys[path] = path.read_text(encoding="ascii").splitlines()[1]
    owners = {path.relative_to(next(iter(folders.values())).parent).parts[0] for path in keys}
    assert owners == set(folders)
    assert len(set(keys.values())) == len(keys)


def each_ledger_says_who_asked_what(folders: dict[str, Path], report: dict[str, dict[str, dict[str, object]]]) -> None:
    for name in SITES:
        said = done(folders[name], "site", "ledger")
        assert "asked" in said
        assert "«first» by a test: find out whether it works" in said
        assert "charged" in said
        entry = report["charges"][name]["entry"]
        assert f"{entry:6d}  " in said
