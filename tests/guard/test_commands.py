"""The owner's commands: init, policy, ledger, account, doctor; and that every command a message names is there."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

import tacit
from tacit.cli import main, root
from tacit.cli.ledger import printable
from tacit.errors import Refused
from tacit.guarantee import Relation
from tacit.guard import Guard, Ledger, Plan, PlanStep, Policy, Records
from tacit.questions import GRID, UnitCount

POLICY = """version = 1
[dataset]
name = "auth"
[unit]
name = "user-day"
column = "user"
window = "day"
[privacy]
epsilon = 3
delta = 1e-6
[limits]
minimum_units = 1
approval = "owner"
questions = ["count@1", "cells@1"]
max_rows_per_unit = 9
"""
Tacit = Callable[..., tuple[int, str, str]]


@pytest.fixture
def tacit_(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Tacit:
    """Run a command in a folder of its own: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TACIT_LEDGER", raising=False)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


def owner() -> tuple[Guard, Policy]:
    policy = Policy.load("tacit.toml")
    data = {"user": [f"u{i}" for i in range(500)], "time": ["2026-11-05"] * 500}
    records = Records.open(data, unit=policy.unit, time="time")
    return Guard(records, policy=policy, ledger=Ledger.open(policy.ledger, key=policy.key)), policy


def plan(policy: Policy, purpose: str = "train a detector", run: str = "r") -> Plan:
    return Plan(purpose, policy.unit, Relation.ADD_REMOVE, (PlanStep("count@1", 1, 20.0, 1, l0=1, l2=GRID),), run=run)


# ---------------------------------------------------------------------------------------------------------------------- policy


def test_from_a_plan_that_waits_to_an_answer(tacit_: Tacit) -> None:
    """What the refusal says is what is typed, and it works."""
    Path("tacit.toml").write_text(POLICY, encoding="utf-8")
    guard, policy = owner()
    with pytest.raises(Refused) as refused:
        guard.open(plan(policy))
    found = re.search("`(tacit policy approve [0-9a-f]+)`", str(refused.value))
    assert found is not None
    code, out, _ = tacit_("policy", "show")
    assert code == 0
    assert f"waits       {plan(policy).digest[:16]}  «train a detector», 1 answer of count@1, epsilon 0." in out
    assert found[1] in out
    code, out, err = tacit_(*found[1].split()[1:])
    assert (code, err) == (0, "")
    assert "«train a detector»" in out
    assert guard.open(plan(policy)).answer(0, UnitCount()).shape == (1,)
    code, out, err = tacit_(*found[1].split()[1:])
    assert code == 2
    assert "there is none" in err
    assert "\nwaits" not in tacit_("policy", "show")[1]


def test_show_says_in_words_what_is_decided_spent_and_left(tacit_: Tacit) -> None:
    Path("tacit.toml").write_text(POLICY.replace('"owner"', '"automatic"'), encoding="utf-8")
    code, out, _ = tacit_("policy", "show")
    assert code == 0
    assert "spent       epsilon 0 by 0 plans on «auth»; 3 is left" in out
    for words in (
        "data set    «auth»", "each user-day (told by the column «user»), add/remove", "epsilon 3 at delta 1e-06, for everything ever asked",
        "0.01 of it for one noised count; below 1 nothing else is answered", "count@1, cells@1",
        "what fits is answered; rows beyond 9 of one user-day",
    ):
        assert words in out
    assert not Path("tacit-ledger.db").exists(), "showing begins no ledger"
    guard, policy = owner()
    guard.open(plan(policy))
    out = tacit_("policy", "show")[1]
    assert re.search(r"spent       epsilon 0\.\d+ by 2 plans on «auth»; 2\.\d+ is left\n", out)


def test_show_says_when_the_budget_renews(tacit_: Tacit) -> None:
    Path("tacit.toml").write_text(POLICY.replace("delta = 1e-6", 'delta = 1e-6\nwindow = "month"'), encoding="utf-8")
    out = tacit_("policy", "show")[1]
    assert "for everything asked within one month" in out
    assert re.search(r"on «auth», window \d{4}-\d\d; 3 is left until \d{4}-\d\d-01", out)


def test_show_as_json_has_the_same_figures(tacit_: Tacit) -> None:
    Path("tacit.toml").write_text(POLICY, encoding="utf-8")
    guard, policy = owner()
    with pytest.raises(Refused):
        guard.open(plan(policy))
    code, out, _ = tacit_("policy", "show", "--format", "json")
    found = json.loads(out)
    assert code == 0
    assert found["policy"] == policy.to_dict()
    assert found["scope"] == {"dataset": "auth", "window": "all"}
    assert found["spent"]["plans"] == 1
    assert [item["digest"] for item in found["waiting"]] == [plan(policy).digest]
    assert Plan.from_dict(found["waiting"][0]["plan"]) == plan(policy)


def test_what_others_wrote_cannot_steer_the_owners_terminal(tacit_: Tacit) -> None:
    Path("tacit.toml").write_text(POLICY, encoding="utf-8")
    guard, policy = owner()
    hostile = plan(policy, "fine\x1b[2J\nwaits       0000\u202e")
    with pytest.raises(Refused):
        guard.open(hostile)
    outputs = [tacit_("policy", "show")[1], tacit_("policy", "approve", hostile.digest)[1], tacit_("ledger", "show")[1]]
    for out in outputs:
        assert "fine\\u001b[2J\\u000awaits       0000\\u202e" in out
        assert "\x1b" not in out
    assert printable("Zürich ✓ «x»") == "Zürich ✓ «x»"


def test_approving_needs_a_ledger_a_plan_and_the_key(tacit_: Tacit) -> None:
    Path("tacit.toml").write_text(POLICY, encoding="utf-8")
    code, _, err = tacit_("policy", "approve", "abcdef12")
    assert (code, "there is none yet" in err) == (2, True)
    guard, policy = owner()
    with pytest.raises(Refused):
        guard.open(plan(policy))
    for prefix, words in (("abc", "at least 6"), ("0000000", "there is none")):
        code, _, err = tacit_("policy", "approve", prefix)
        assert (code, words in err, err.count("\n")) == (2, True, 1)
    Path("tacit-ledger.key").rename("elsewhere.key")
    code, _, err = tacit_("policy", "approve", plan(policy).digest)
    assert (code, "signing key is not here" in err) == (3, True)


def test_check_says_whether_a_policy_is_right(tacit_: Tacit) -> None:
    code, out, _ = tacit_("init")
    assert (code, "wrote tacit.toml" in out) == (0, True)
    code, out, err = tacit_("policy", "check")
    assert (code, out.startswith("tacit.toml: right; digest "), err) == (0, True, "")
    assert tacit_("init")[0] == 2
    Path("other.toml").write_text(POLICY.replace("epsilon = 3", "epsilon = 0"), encoding="utf-8")
    code, out, err = tacit_("policy", "check", "other.toml")
    assert (code, out) == (2, "")
    assert err == "tacit: other.toml: [privacy] epsilon = 0 (whole number): expected a number > 0. Correct the value.\n"
    assert tacit_("policy", "check", "absent.toml")[0] == 2


def test_check_reads_the_domain_and_knows_the_questions(tacit_: Tacit) -> None:
    Path("tacit.toml").write_text(POLICY.replace('"cells@1"', '"cells@7"'), encoding="utf-8")
    code, _, err = tacit_("policy", "check")
    assert (code, "«cells@7», which this version does not know" in err) == (0, True)
    Path("tacit.toml").write_text(POLICY + '[domain]\nfile = "domain.toml"\n', encoding="utf-8")
    code, _, err = tacit_("policy", "check")
    assert (code, "domain.toml" in err) == (2, True)


# ---------------------------------------------------------------------------------------------------------------------- ledger


@pytest.fixture
def filled(tacit_: Tacit) -> Ledger:
    Path("tacit.toml").write_text(POLICY.replace('"owner"', '"automatic"'), encoding="utf-8")
    guard, policy = owner()
    guard.open(plan(policy))
    return Ledger.open("tacit-ledger.db")


def test_the_ledger_is_shown_with_what_each_scope_spent(tacit_: Tacit, filled: Ledger) -> None:
    code, out, _ = tacit_("ledger", "show")
    assert code == 0
    assert [line.split()[2] for line in out.splitlines()[:4]] == ["genesis", "charge", "count", "charge"]
    assert re.search(r"«auth»: epsilon 0\.\d+ of 3 spent by 2 plans at delta 1e-06 \(gaussian filter; 0\.\d+ had they been fixed beforehand\)", out)
    assert out.endswith(f"head {filled.head}\n")
    found = json.loads(tacit_("ledger", "show", "--format", "json")[1])
    assert (found["head"], len(found["entries"]), found["spent"][0]["plans"]) == (filled.head, 4, 2)


def test_the_ledger_is_verified_against_a_head_kept_elsewhere(tacit_: Tacit, filled: Ledger) -> None:
    Path("head.txt").write_text(filled.head + "\n", encoding="utf-8")
    for head in (filled.head, "@head.txt"):
        code, out, _ = tacit_("ledger", "verify", "--head", head)
        assert (code, "4 entries, 2 charges, all right" in out) == (0, True)
    assert json.loads(tacit_("ledger", "verify", "--format", "json")[1])["head"] == filled.head
    code, _, err = tacit_("ledger", "verify", "--head", "0" * 64)
    assert (code, "rolled back" in err) == (3, True)
    assert tacit_("ledger", "verify", "--head", "short")[0] == 2
    assert tacit_("ledger", "verify", "--head", "@absent")[0] == 2


def test_a_changed_ledger_ends_with_status_three_and_the_entrys_number(tacit_: Tacit, filled: Ledger) -> None:
    raw = sqlite3.connect("tacit-ledger.db", isolation_level=None)
    raw.execute("DROP TRIGGER tacit_ledger_no_update")
    raw.execute("UPDATE tacit_ledger SET window = 'x' WHERE sequence = 3")
    raw.close()
    for command in (("ledger", "verify"), ("ledger", "show"), ("ledger", "export", "out.jsonl")):
        code, _, err = tacit_(*command)
        assert (code, "ledger entry 3" in err) == (3, True)
    assert not Path("out.jsonl").exists()


def test_the_ledger_is_exported_whole(tacit_: Tacit, filled: Ledger) -> None:
    code, out, _ = tacit_("ledger", "export", "out.jsonl")
    assert (code, out) == (0, "4 entries written to out.jsonl\n")
    assert len(Path("out.jsonl").read_text(encoding="utf-8").splitlines()) == 4


def test_where_there_is_no_ledger_none_is_begun(tacit_: Tacit) -> None:
    for command in ("show", "verify"):
        code, _, err = tacit_("ledger", command, "--ledger", "absent.db")
        assert (code, "there is none" in err) == (2, True)
    assert not list(Path().iterdir())


# ------------------------------------------------------------------------------------------------------------ account and doctor


def test_account_answers_both_questions(tacit_: Tacit) -> None:
    code, out, _ = tacit_("account", "--noise", "10", "--steps", "100")
    assert (code, out) == (0, "epsilon 4.3772 at delta 1e-05, noise 10.0000, add/remove, exact Gaussian; by Rényi divergences 4.7285\n")
    found = json.loads(tacit_("account", "--epsilon", "4.3772", "--steps", "100", "--format", "json")[1])
    assert found["noise_multiplier"] == pytest.approx(10.0, rel=1e-3)
    assert found["epsilon"] <= 4.3772
    sampled = json.loads(tacit_("account", "--noise", "1", "--sampling-rate", "0.01", "--steps", "10", "--fast", "--format", "json")[1])
    assert sampled["accountant"] == "pld"
    replaced = json.loads(tacit_("account", "--noise", "10", "--relation", "replace", "--format", "json")[1])
    assert replaced["renyi_epsilon"] is None


@pytest.mark.parametrize("arguments", [(), ("--noise", "1", "--epsilon", "1"), ("--noise", "-1"), ("--noise", "1", "--delta", "2"), ("--noise", "x")])
def test_account_refuses_what_it_cannot_answer(tacit_: Tacit, arguments: tuple[str, ...]) -> None:
    code, out, err = tacit_("account", *arguments)
    assert (code, out) == (2, "")
    assert err


def test_doctor_finds_this_installation_well(tacit_: Tacit) -> None:
    code, out, _ = tacit_("doctor")
    assert code == 0
    assert all(f"ok    {part}" in out for part in ("Python", "noise", "signatures", "ledger"))
    assert "FAIL" not in out


# ------------------------------------------------------------------------------------------------------------- what messages say

NAMED = re.compile(r"(?:`|\()tacit ([a-z][a-z-]*)((?: [a-z][a-z-]*)?)")


def commands() -> dict[str, set[str]]:
    context = click.Context(root, info_name="tacit")
    found: dict[str, Any] = {name: root.get_command(context, name) for name in root.list_commands(context)}
    return {name: set(command.commands) if isinstance(command, click.Group) else set() for name, command in found.items()}


def test_every_command_that_a_message_names_exists() -> None:
    known, missing, seen = commands(), [], 0
    for path in sorted(Path(tacit.__file__).parent.rglob("*.py")):
        for name, word in NAMED.findall(path.read_text(encoding="utf-8")):
            seen += 1
            if name not in known or (known[name] and word.strip() and word.strip() not in known[name]):
                missing.append(f"{path.name}: tacit {name}{word}")
    assert seen > 8
    assert not missing
