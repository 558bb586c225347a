"""Detection on pseudonyms: Sigma rules with the recorded events on which they must fire, before and after treatment."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.datasets import MissingData, data_folder
from benchmarks.result import Check, Incomplete, Measured, Options, Row

SHARE = 0.99
PACK = "windows"


@dataclass(frozen=True)
class Fixture:
    """A recording and the rule that must fire on it: ``begin`` to ``end`` are its events' places."""

    rule: str
    title: str
    begin: int
    end: int


def records(path: Path) -> list[dict[str, Any]]:
    """The events of an EVTX file, as its reader writes them in JSON.

    Raises:
        Incomplete: the reader is not installed.
    """
    try:
        import evtx
    except ImportError:
        raise Incomplete("Expected the library evtx; pip install evtx") from None
    return [json.loads(record["data"]) for record in evtx.PyEvtxParser(str(path)).records_json()]


def recordings(folder: Path) -> tuple[list[dict[str, Any]], list[Fixture]]:
    """All recorded events, and which rule belongs to which.

    Raises:
        MissingData: the folder is not there.
    """
    if not folder.is_dir():
        raise MissingData("Expected sigma_rules in the data folder; set TACIT_DATA to the folder that holds it.")
    events: list[dict[str, Any]] = []
    fixtures: list[Fixture] = []
    for path, rules in _tests(folder):
        begin = len(events)
        events += records(path)
        fixtures += [Fixture(rule, title, begin, len(events)) for rule, title in rules]
    return events, fixtures


def _tests(folder: Path) -> Iterator[tuple[Path, list[tuple[str, str]]]]:
    for info in sorted((folder / "regression_data").rglob("info.yml")):
        said = yaml.safe_load(info.read_text(encoding="utf-8"))
        rules = [(rule["id"], rule["title"]) for rule in said["rule_metadata"]]
        for test in said.get("regression_tests_info") or ():
            if test["type"] == "evtx":
                yield folder / test["path"], rules


def sigma(_options: Options) -> Measured:
    """The share of rules that fire on their recordings before treatment and still do after it, with translated rules."""
    from tacit.logs.anonymise import Anonymiser
    from tacit.logs.content import Rules
    from tacit.logs.keys import EpochKey
    from tacit.logs.policies import SourcePolicy

    folder = data_folder() / "sigma_rules"
    events, fixtures = recordings(folder)
    start = time.process_time()
    rules = Rules.load(folder / "rules")
    read = time.process_time()
    policy, key = SourcePolicy.pack(PACK), EpochKey.for_tests()
    before = rules.match(events)
    anonymiser = Anonymiser(policy, key)
    anonymiser.learn(events)
    treated = anonymiser.batch(events).events
    begin = time.process_time()
    translation = rules.translate(policy, key, anonymiser.tools.identities)
    translated = time.process_time()
    after, untranslated = translation.match(treated), rules.match(treated)
    end = time.process_time()
    known = {rule.id for rule in rules.rules}
    firing = [one for one in fixtures if _fires(before, one)]
    kept = [one for one in firing if _fires(after, one)]
    pairs, pairs_after = _pairs(before), _pairs(after)
    share = len(kept) / len(firing)
    checks = (
        Check("share of true positives that still fire", share, SHARE),
        Check("true positives before treatment, of the recordings whose rule is there", len(firing), sum(one.rule in known for one in fixtures)),
        Check("share of all hits of all rules on all recordings that stay", len(pairs & pairs_after) / len(pairs), SHARE),
        Check("hits that were none before", len(pairs_after - pairs), 0, at_least=False),
    )
    details = {
        "rules": len(rules), "true_positives_raw": len(firing), "kept": len(kept), "share": share, "events": len(events), "recordings": len(fixtures),
        "recordings_without_their_rule": sum(one.rule not in known for one in fixtures), "verdicts": translation.counts,
        "lost": [one.title for one in firing if one not in kept], "hits_raw": len(pairs), "hits_kept": len(pairs & pairs_after),
        "cpu_seconds": {"read": read - start, "translate": translated - begin, "match_twice": end - translated},
    }  # fmt: skip
    theirs = sum(_fires(untranslated, one) for one in firing) / len(firing)
    return Measured(share, "share of true positives", "the same rules, not translated", theirs, checks, details)


def _fires(hits: dict[str, list[int]], one: Fixture) -> bool:
    return any(one.begin <= place < one.end for place in hits.get(one.rule, ()))


def _pairs(hits: dict[str, list[int]]) -> set[tuple[str, int]]:
    return {(rule, place) for rule, places in hits.items() for place in places}


ROWS = (Row("logs.sigma", "Sigma rules on treated Windows events: true positives that still fire", sigma),)
