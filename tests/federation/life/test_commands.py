"""The commands of sites and coordinators, as far as they need no other process."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.federation.life.commands import FINGERPRINT

from tacit.cli import main
from tacit.federation.study import example_text
from tacit.guard import Policy, Records

Said = tuple[int, str, str]


@pytest.fixture
def tacit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Said:
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        streams = capsys.readouterr()
        assert "Traceback" not in streams.err
        return int(stopped.value.code or 0), streams.out, streams.err

    return run


def test_a_coordinator_begins_once_and_says_who_is_where(tacit: Callable[..., Said]) -> None:
    code, said, _ = tacit("coordinator", "init", "St. Anna", "Berta", "--federation", "hearts", "--address", "127.0.0.1:8443")
    assert code == 0
    assert re.search(f"Read this to every site:  {FINGERPRINT}", said)
    assert said.count("tacit site join tacit-invite:") == 2
    assert tacit("coordinator", "init")[0] == 2
    code, said, _ = tacit("coordinator", "status", "--format", "json")
    assert code == 0
    told = json.loads(said)
    assert {name: site["state"] for name, site in told["sites"].items()} == {"berta": "invited", "st-anna": "invited"}
    assert tacit("coordinator", "remove", "berta")[0] == 0
    code, said, _ = tacit("coordinator", "status")
    assert "roster not whole yet" in said
    assert "berta" not in said


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("coordinator", "status"), "tacit coordinator init"), (("coordinator", "run"), "tacit coordinator init"),
        (("site", "ledger"), "tacit.toml|tacit site init"), (("site", "run"), "tacit site init"), (("site", "join"), "invitation"),
        (("site", "join", "tacit-invite:abc"), "Copy it again"), (("site", "join", "x" * 99), "Copy it again"),
        (("site", "mock", "--output", "a.xls"), r"\.parquet or \.csv"), (("coordinator", "init", "--address", "nowhere"), "address"),
        (("coordinator", "init", "!!!"), "name"), (("site", "preflight", "--study", "none.toml"), "site init|study card"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_yet_says_what_comes_first(tacit: Callable[..., Said], arguments: tuple[str, ...], expected: str, tmp_path: Path) -> None:
    code, out, err = tacit(*arguments)
    assert code == 2
    assert re.search(expected, err), err
    assert out == "" or arguments == ("site", "join")
    assert not list(tmp_path.rglob("*.key")) or arguments == ("site", "join")


def test_a_site_begins_with_a_policy_that_its_owner_can_read(tacit: Callable[..., Said], tmp_path: Path) -> None:
    code, said, _ = tacit("site", "init", "--dataset", "stays", "--unit", "patient", "--epsilon", "2", "--approval", "owner")
    assert code == 0
    assert re.search(FINGERPRINT, said)
    key = (tmp_path / "site" / "site.key").read_bytes()
    assert Policy.load(tmp_path / "tacit.toml").limits.approval == "owner"
    assert tacit("site", "init", "--dataset", "other")[0] == 0
    assert (tmp_path / "site" / "site.key").read_bytes() == key
    assert Policy.load(tmp_path / "tacit.toml").dataset == "stays"
    code, said, _ = tacit("site", "policy", "--format", "json")
    assert (code, json.loads(said)["studies"]) == (0, [])
    code, said, _ = tacit("site", "ledger")
    assert (code, "epsilon 0 of 2 spent" in said) == (0, True)
    assert tacit("site", "approve", "anything")[0] == 2


def test_mock_records_can_be_read_back_and_are_no_records_for_a_study(tacit: Callable[..., Said], tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(example_text(), encoding="utf-8")
    code, said, _ = tacit("site", "mock", "--study", "study.toml", "--rows", 50, "--output", "mock.csv")
    assert (code, "50 mock records" in said) == (0, True)
    with Records.open(tmp_path / "mock.csv") as records:
        assert {"age", "ward", "readmitted", "patient_id", "tacit_mock"} == set(records.names)
    tacit("site", "init", "--data", "mock.csv", "--dataset", "stays", "--unit", "patient", "--unit-column", "patient_id")
    code, said, _ = tacit("site", "preflight", "--study", "study.toml", "--format", "json")
    assert code == 1
    states = {check["check"]: check for check in json.loads(said)["checks"]}
    assert states["records"]["said"] == "these are mock records"
    assert "rows" in states["policy"]["said"]
    assert states["name"]["state"] == "skipped"


def test_no_data_value_stands_in_what_preflight_says(tacit: Callable[..., Said], tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(example_text(), encoding="utf-8")
    (tmp_path / "r.csv").write_text("patient_id,age,ward,readmitted\n" + "Eve Secret,eighty,hidden,perhaps\n" * 30, encoding="utf-8")
    tacit("site", "init", "--data", "r.csv", "--dataset", "stays", "--unit", "patient", "--unit-column", "patient_id")
    code, out, err = tacit("site", "preflight", "--study", "study.toml")
    assert code == 1
    assert "expects numbers in «age»" in out
    for secret in ("Eve", "eighty", "hidden", "perhaps"):
        assert secret not in out + err
