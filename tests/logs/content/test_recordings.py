"""The rules and recordings of a public rule set: what fires before treatment fires after it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("sigma", reason="pySigma is not installed; pip install tacit[logs]")

from tacit.logs.anonymise import Anonymiser
from tacit.logs.content import Rules, to_yaml
from tacit.logs.keys import EpochKey
from tacit.logs.policies import SourcePolicy


@pytest.fixture(scope="module")
def folder(data_directory: Path) -> Path:
    found = data_directory / "sigma_rules"
    if not found.is_dir():
        pytest.skip("the rules and recordings are absent; set TACIT_DATA to the folder that holds sigma_rules")
    return found


def flat(event: dict[str, Any]) -> dict[str, Any]:
    """As shippers write it."""
    system, data = event["Event"]["System"], event["Event"].get("EventData") or {}
    return {"EventID": system["EventID"], "Channel": system["Channel"], "Hostname": system["Computer"], **data}


@pytest.mark.slow
@pytest.mark.parametrize("form", ["nested", "flat"])
def test_true_positives_still_fire(folder: Path, form: str) -> None:
    evtx = pytest.importorskip("evtx", reason="the reader of recordings is not installed; pip install evtx")
    rules = Rules.load(folder / "rules/windows")
    known, events, expected = {rule.id for rule in rules.rules}, [], []
    for info in sorted((folder / "regression_data").rglob("info.yml")):
        said = yaml.safe_load(info.read_text())
        for test in said.get("regression_tests_info") or ():
            begin = len(events)
            events += [json.loads(record["data"]) for record in evtx.PyEvtxParser(str(folder / test["path"])).records_json()]
            expected += [(rule["id"], begin, len(events), test.get("match_count")) for rule in said["rule_metadata"] if rule["id"] in known]
    if form == "flat":
        events = [flat(event) for event in events]
    before = rules.match(events)
    for rule, begin, end, count in expected:
        found = sum(begin <= place < end for place in before.get(rule, ()))
        assert found == count if count else found, "the evaluation disagrees with the rule's own test"
    anonymiser = Anonymiser(SourcePolicy.pack("windows"), EpochKey.for_tests())
    anonymiser.learn(events)
    treated = anonymiser.batch(events).events
    translation = rules.translate(anonymiser.policy, EpochKey.for_tests(), anonymiser.tools.identities)
    after = translation.match(treated)
    kept = sum(any(begin <= place < end for place in after.get(rule, ())) for rule, begin, end, _ in expected)
    assert len(expected) >= 132
    assert kept >= 0.99 * len(expected)
    assert sum(len(set(places) - set(before.get(rule, ()))) for rule, places in after.items()) == 0
    assert translation.counts["lost"] <= 2
    again = Rules.parse("\n---\n".join(to_yaml(rule) for rule in translation.rules.rules if rule.id in after))
    assert again.match(treated) == after
