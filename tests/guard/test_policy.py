"""The owner's file: every mistake is named with its key and the next step, and nothing is guessed."""

from __future__ import annotations

import stat
import tomllib
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.errors import ConfigError, PolicyViolation, StorageError, UsageError
from tacit.guarantee import Budget, PrivacyUnit, Relation, Scope
from tacit.guard import windows
from tacit.guard.plan import Plan, PlanStep
from tacit.guard.policy import DEFAULT_GATES, Limits, Policy, default_policy_text, write_default_policy

LEAST = 'version = 1\n[dataset]\nname = "auth"\n[privacy]\nepsilon = 1\ndelta = 1e-6\n'


def parse(more: str = "", base: str = LEAST) -> Policy:
    return Policy.parse(base + more)


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        Policy.parse(text)
    message = str(caught.value)
    assert message.startswith("tacit.toml: ")
    assert "\n" not in message
    return message


# -------------------------------------------------------------------------------------------------------- what the file says


def test_the_least_file_has_safe_defaults() -> None:
    found = parse()
    assert found == Policy("auth", PrivacyUnit("record"), Relation.ADD_REMOVE, Budget(1.0, 1e-6))
    assert found.limits == Limits(100, None, "automatic", None)
    assert (found.window, found.rows_per_unit, found.filter, dict(found.gates)) == ("all", 1, "auto", dict(DEFAULT_GATES))


def test_every_key_arrives() -> None:
    text = """
version = 1
[dataset]
name = "auth"
[unit]
name = "user-day"
column = "user"
window = "day"
rows = 40
[privacy]
relation = "replace"
epsilon = 2.5
delta = 1e-7
window = "month"
count_share = 0.05
filter = "renyi"
[limits]
minimum_units = 7
questions = ["count@1", "cells@1"]
approval = "owner"
max_rows_per_unit = 9
[ledger]
url = "books.db"
key = "secret.key"
[domain]
file = "domain.toml"
[files]
source = "records.parquet"
[gates]
auc_loss = 0.5
"""
    found = Policy.parse(text, folder=Path("owner"))
    assert found.unit == PrivacyUnit("user-day", "user", "day")
    assert (found.relation, found.budget, found.window) == (Relation.REPLACE, Budget(2.5, 1e-7), "month")
    assert (found.count_share, found.filter) == (0.05, "renyi")
    assert found.limits == Limits(7, ("count@1", "cells@1"), "owner", 9)
    assert (found.ledger, found.key, found.domain, found.source) == (
        "owner/books.db", Path("owner/secret.key"), Path("owner/domain.toml"), Path("owner/records.parquet"),
    )
    assert dict(found.gates) == {**DEFAULT_GATES, "auc_loss": 0.5}
    assert found.rows_per_unit == 40


def test_a_database_url_is_no_path() -> None:
    found = Policy.parse(LEAST + '[ledger]\nurl = "postgresql://u@h/d"\n', folder=Path("owner"))
    assert found.ledger == "postgresql://u@h/d"


@pytest.mark.parametrize(("more", "name"), [
    ('[unit]\ncolumn = "user"\n', "user"), ('[unit]\ncolumn = "user"\nwindow = "day"\n', "user-day"), ("", "record"),
    ('[unit]\nname = "patient"\ncolumn = "pid"\n', "patient"),
])
def test_a_unit_without_a_name_is_called_after_its_column(more: str, name: str) -> None:
    assert parse(more).unit.name == name


def test_whole_numbers_stay_whole() -> None:
    """A schema counts 100.0 as an integer."""
    found = parse("[limits]\nminimum_units = 100.0\nmax_rows_per_unit = 5.0\n[unit]\nrows = 3.0\n")
    assert [type(value) for value in (found.limits.minimum_units, found.limits.max_rows_per_unit, found.rows_per_unit)] == [int] * 3


# ------------------------------------------------------------------------------------------- mistakes, with key and next step


@pytest.mark.parametrize(("text", "parts"), [
    (LEAST.replace("epsilon = 1\n", ""), ["[privacy] epsilon", "missing", "tacit init"]),
    (LEAST.replace("version = 1\n", ""), ["version", "missing"]),
    (LEAST.replace('[dataset]\nname = "auth"\n', ""), ["[dataset]", "missing"]),
    (LEAST.replace("version = 1", "version = 2"), ["version = 2", "expected 1"]),
    (LEAST.replace("version = 1", "version = true"), ["version = true", "expected 1"]),
    (LEAST.replace("epsilon = 1", "epsilon = -1"), ["[privacy] epsilon = -1", "a number > 0", "Correct"]),
    (LEAST.replace("epsilon = 1", "epsilon = 0"), ["[privacy] epsilon = 0", "> 0"]),
    (LEAST.replace("epsilon = 1", "epsilon = 1001"), ["[privacy] epsilon", "<= 1000"]),
    (LEAST.replace("epsilon = 1", 'epsilon = "1"'), ["[privacy] epsilon", "(text)", "a number"]),
    (LEAST.replace("epsilon = 1", "epsilon = true"), ["[privacy] epsilon", "(true/false)", "a number"]),
    (LEAST.replace("epsilon = 1", "epsilon = nan"), ["[privacy] epsilon = nan", "finite"]),
    (LEAST.replace("epsilon = 1", "epsilon = inf"), ["[privacy] epsilon = inf", "finite"]),
    (LEAST.replace("delta = 1e-6", "delta = -inf"), ["[privacy] delta = -inf", "finite"]),
    (LEAST.replace("delta = 1e-6", "delta = 1"), ["[privacy] delta = 1", "< 1"]),
    (LEAST.replace("delta = 1e-6", "delta = 0.0"), ["[privacy] delta", "> 0"]),
    (LEAST + 'windw = "all"\n', ["[privacy] windw", "unknown", "window", "Correct or delete"]),
    (LEAST + "[privcy]\nepsilon = 2\n", ["[privcy]", "unknown", "privacy"]),
    (LEAST + 'relation = "swap"\n', ["[privacy] relation", "add/remove", "replace", "zero-out"]),
    (LEAST + 'window = "year"\n', ["[privacy] window", "month"]),
    (LEAST + 'filter = "none"\n', ["[privacy] filter", "auto", "renyi"]),
    (LEAST + "count_share = 1\n", ["[privacy] count_share", "< 1"]),
    (LEAST.replace('"auth"', '"auth logs"'), ["[dataset] name", "letters, digits"]),
    (LEAST.replace('"auth"', '"auth\\n"'), ["[dataset] name", "letters, digits"]),
    (LEAST.replace('"auth"', f'"{"a" * 81}"'), ["[dataset] name", "letters, digits"]),
    (LEAST.replace('"auth"', '"../auth"'), ["[dataset] name"]),
    (LEAST + "[limits]\nminimum_units = -1\n", ["[limits] minimum_units = -1", "a whole number >= 0"]),
    (LEAST + 'filter = "single"\n', ["single", "minimum_units = 0"]),
    (LEAST + "[limits]\nminimum_units = 1.5\n", ["[limits] minimum_units", "whole number"]),
    (LEAST + '[limits]\nquestions = ["histogram"]\n', ["[limits] questions", "histogram@1"]),
    (LEAST + '[limits]\nquestions = ["cells@1\\n"]\n', ["[limits] questions"]),
    (LEAST + "[limits]\nquestions = []\n", ["[limits] questions", "not empty"]),
    (LEAST + '[limits]\nquestions = ["cells@1", "cells@1"]\n', ["[limits] questions", "repetitions"]),
    (LEAST + '[limits]\napproval = "maybe"\n', ["[limits] approval", "automatic", "owner"]),
    (LEAST + '[unit]\nname = ""\n', ["[unit] name", "one line"]),
    (LEAST + '[unit]\nname = "a\\nb"\n', ["[unit] name", "one line"]),
    (LEAST + '[unit]\nwindow = "year"\n', ["[unit] window", "day"]),
    (LEAST + '[unit]\nrows = "many"\n', ["[unit] rows", "whole number"]),
    (LEAST + "[gates]\nauc_loss = 2\n", ["[gates] auc_loss", "<= 1"]),
    ("version = 1\nprivacy = 3\n", ["[dataset] is missing"]),
    ("version = 1\nversion = 1\n", ["TOML", "tacit init"]),
    ("this is no toml", ["TOML"]),
])
def test_a_mistake_is_named_with_its_key_and_what_was_expected(text: str, parts: list[str]) -> None:
    message = refusal(text)
    assert all(part in message for part in parts), message


KEYS = [
    ("dataset", "name"), ("unit", "name"), ("unit", "column"), ("unit", "window"), ("unit", "rows"), ("privacy", "relation"), ("privacy", "epsilon"),
    ("privacy", "delta"), ("privacy", "window"), ("privacy", "count_share"), ("privacy", "filter"), ("limits", "minimum_units"),
    ("limits", "questions"), ("limits", "approval"), ("limits", "max_rows_per_unit"), ("ledger", "url"), ("ledger", "key"), ("domain", "file"),
    ("files", "source"), ("gates", "auc_loss"),
]


@pytest.mark.parametrize(("table", "key"), KEYS)
@pytest.mark.parametrize("value", ["{ a = 1 }", "[[1]]", "2026-11-25", "nan"])
def test_a_value_of_a_wrong_type_is_named_whatever_it_is(table: str, key: str, value: str) -> None:
    tables: dict[str, dict[str, str]] = {"dataset": {"name": '"auth"'}, "privacy": {"epsilon": "1", "delta": "1e-6"}}
    tables.setdefault(table, {})[key] = value
    text = "version = 1\n" + "".join(f"[{name}]\n" + "".join(f"{k} = {v}\n" for k, v in keys.items()) for name, keys in tables.items())
    assert f"[{table}] {key}" in refusal(text)


@given(st.text(max_size=60))
def test_no_text_makes_it_fail_in_another_way(text: str) -> None:
    with pytest.raises(ConfigError):
        Policy.parse(text)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="tacit init"):
        Policy.load(tmp_path / "absent.toml")
    with pytest.raises(ConfigError, match="no policy can be read"):
        Policy.load(tmp_path)
    path = tmp_path / "latin.toml"
    path.write_bytes(LEAST.encode() + b'[unit]\nname = "\xe9"\n')
    with pytest.raises(ConfigError, match="UTF-8"):
        Policy.load(path)


def test_paths_are_taken_from_the_files_folder(tmp_path: Path) -> None:
    path = tmp_path / "tacit.toml"
    path.write_text(LEAST + '[domain]\nfile = "d.toml"\n', encoding="utf-8")
    found = Policy.load(path)
    assert (found.ledger, found.domain) == (str(tmp_path / "tacit-ledger.db"), tmp_path / "d.toml")


# ------------------------------------------------------------------------------------------------------------ the file it writes


def test_the_default_text_is_valid_and_says_what_the_defaults_are() -> None:
    found = Policy.parse(default_policy_text())
    assert found == Policy("my-records", PrivacyUnit("record"), Relation.ADD_REMOVE, Budget(1.0, 1e-6))


def test_every_commented_key_of_the_default_text_is_valid_too() -> None:
    lines = default_policy_text().splitlines()
    lines = [line[2:] if line.startswith("# ") and (" = " in line or line.startswith("# [")) else line for line in lines]
    text = "\n".join(lines)
    tomllib.loads(text)
    found = Policy.parse(text)
    assert found.unit == PrivacyUnit("record", "user", "day")
    assert found.limits.questions is not None
    assert found.domain is not None


def test_it_is_written_whole_and_never_over_another(tmp_path: Path) -> None:
    path = tmp_path / "tacit.toml"
    write_default_policy(path)
    assert path.read_text(encoding="utf-8") == default_policy_text()
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match="stays as it is"):
        write_default_policy(path)
    assert path.read_text(encoding="utf-8") == "mine"
    assert [item.name for item in tmp_path.iterdir()] == ["tacit.toml"]
    with pytest.raises(StorageError, match="Nothing was written"):
        write_default_policy(tmp_path / "absent" / "tacit.toml")
    assert stat.S_ISREG(path.stat().st_mode)


# ----------------------------------------------------------------------------------------------------------- windows and scopes


def test_a_renewing_budget_needs_a_unit_that_ends() -> None:
    message = refusal(LEAST + 'window = "month"\n[unit]\ncolumn = "user"\n')
    assert "renewing budget needs a windowed unit" in message


@pytest.mark.parametrize("unit", windows.UNIT_WINDOWS)
@pytest.mark.parametrize("budget", ["month", "week", "day"])
def test_a_unit_must_not_lie_in_two_windows(unit: str, budget: str) -> None:
    text = LEAST + f'window = "{budget}"\n[unit]\ncolumn = "user"\nwindow = "{unit}"\n'
    if windows.nests(unit, budget):
        assert Policy.parse(text).unit.window == unit
    else:
        assert "one unit would lie in two" in refusal(text)


@given(st.dates(date(1971, 1, 1), date(2100, 1, 1)), st.sampled_from(["month", "week", "day"]), st.sampled_from(["week", "month", "day"]))
def test_nesting_is_what_the_calendar_says(day: date, budget: str, unit: str) -> None:
    """Both ends of a unit's window lie in one budget window, where they are said to nest."""
    name = windows.window_name(unit, day)
    first, end = windows.window_start(name), windows.window_end(name)
    assert first is not None
    assert end is not None
    if windows.nests(unit, budget):
        assert windows.window_name(budget, first) == windows.window_name(budget, end - timedelta(days=1))


def test_a_week_can_lie_in_two_months() -> None:
    assert not windows.nests("week", "month")
    assert not windows.nests("month", "week")
    assert windows.nests("month", "all")


@given(st.dates(date(1971, 1, 1), date(2100, 1, 1)), st.sampled_from(["month", "week", "day"]))
def test_a_window_holds_the_days_from_its_start_to_its_end(day: date, kind: str) -> None:
    name = windows.window_name(kind, day)
    first, end = windows.window_start(name), windows.window_end(name)
    assert first is not None
    assert end is not None
    assert first <= day < end
    assert windows.window_name(kind, first) == windows.window_name(kind, end - timedelta(days=1)) == name
    assert windows.window_name(kind, end) != name


def test_the_window_that_never_ends() -> None:
    assert (windows.window_name("all", date(2026, 1, 1)), windows.window_end("all"), windows.window_start("all")) == ("all", None, None)
    assert windows.window_end("2026-12") == date(2027, 1, 1)
    assert windows.window_name("week", date(2027, 1, 1)) == "2026-W53"
    with pytest.raises(UsageError, match="month"):
        windows.window_name("year", date(2026, 1, 1))


def test_a_scope_is_a_data_set_and_the_window_of_the_day() -> None:
    assert parse().scope(date(2026, 11, 25)) == Scope("auth", "all")
    renewing = Policy.parse(LEAST + 'window = "week"\n[unit]\ncolumn = "user"\nwindow = "day"\n')
    assert renewing.scope(date(2026, 11, 25)) == Scope("auth", "2026-W48")


# ------------------------------------------------------------------------------------------------------- what it allows of a plan


def plan(kind: str = "cells@1", **changes: Any) -> Plan:
    given_: dict[str, Any] = {"unit": PrivacyUnit("record"), "relation": Relation.ADD_REMOVE, **changes}
    return Plan("t", given_["unit"], given_["relation"], (PlanStep("count@1", 1, 9.0, 1), PlanStep(kind, 1, 5.0, 4)), run="r")


def test_a_plan_about_another_unit_or_relation_is_refused() -> None:
    policy = parse()
    policy.require(plan())
    for changes, what in (({"unit": PrivacyUnit("user", "user")}, "user"), ({"relation": Relation.REPLACE}, "replace")):
        with pytest.raises(PolicyViolation, match=rf"^refused: .*{what}.*Plan"):
            policy.require(plan(**changes))


def test_a_kind_that_is_not_listed_is_refused() -> None:
    policy = parse('[limits]\nquestions = ["count@1", "cells@1"]\n')
    policy.require(plan("cells@1"))
    with pytest.raises(PolicyViolation, match=r"^refused: .*«moments@1».*\[limits\] questions"):
        policy.require(plan("moments@1"))


def test_the_digest_covers_every_decision_and_no_path() -> None:
    base = parse()
    moved = Policy.parse(LEAST, folder=Path("elsewhere"))
    assert moved.digest == base.digest
    changed = [
        LEAST.replace("epsilon = 1", "epsilon = 2"), LEAST.replace("auth", "dns"), LEAST + 'relation = "replace"\n', LEAST + "count_share = 0.02\n",
        LEAST + "[limits]\nminimum_units = 3\n", LEAST + '[limits]\napproval = "owner"\n', LEAST + '[limits]\nquestions = ["cells@1"]\n',
        LEAST + '[unit]\ncolumn = "u"\n', LEAST + "[unit]\nrows = 2\n", LEAST + "[gates]\nauc_loss = 0\n", LEAST + 'filter = "renyi"\n',
    ]
    assert len({Policy.parse(text).digest for text in changed} | {base.digest}) == len(changed) + 1
