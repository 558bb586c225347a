"""The page for those who set a federation up says what the program does."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tacit.cli.coordinator import coordinator
from tacit.cli.site import site
from tacit.federation.site.beginning import FirstPolicy
from tacit.federation.site.preflight import CHECKS
from tacit.federation.study import PARAMETERS, StudyCard, example_text
from tacit.guard import Policy

REPOSITORY = Path(__file__).resolve().parents[3]
PAGE = (REPOSITORY / "docs" / "federation.md").read_text(encoding="utf-8")


def keys(schema: dict[str, Any]) -> set[str]:
    found = set(schema.get("properties", {}))
    return found.union(*(keys(below) for below in schema.get("properties", {}).values()))


def test_every_check_and_no_other_is_in_its_table() -> None:
    section = PAGE.partition("### Preflight")[2].partition("## ")[0]
    assert re.findall(r"^\| `([a-z ]+)` \|", section, re.MULTILINE) == list(CHECKS)


def test_every_command_is_there() -> None:
    for name, group in (("site", site), ("coordinator", coordinator)):
        assert {command for command in group.commands if f"`tacit {name} {command}" not in PAGE} == set()


def test_every_key_of_a_study_card_and_every_learner_is_explained() -> None:
    schema = json.loads((REPOSITORY / "src" / "tacit" / "federation" / "study_schema.json").read_text(encoding="utf-8"))
    told = set(re.findall(r"`([a-z_-]+)`", PAGE))
    tables = {"study", "privacy", "learner", "sites"}
    assert keys(schema) - tables - told == set()
    assert set(PARAMETERS) <= told


def test_the_card_on_the_page_is_right() -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert StudyCard.parse(block).learner.kind == "boosted-trees"
    assert StudyCard.parse(example_text()).name == "readmission-2027"


def test_a_first_policy_says_what_was_decided_and_stays_commented() -> None:
    first = FirstPolicy("heart", 'a "b".csv', "patient", "pid", 0.5, 1e-3, "owner")
    found = Policy.parse(first.text)
    assert (found.dataset, found.unit.name, found.unit.column, found.limits.approval) == ("heart", "patient", "pid", "owner")
    assert (found.budget.epsilon, found.budget.delta, str(found.source)) == (0.5, 1e-3, 'a "b".csv')
    assert first.text.count("#") > 20
    assert not any(line != line.rstrip() for line in first.text.splitlines())
