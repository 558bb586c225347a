"""Whether detection survives anonymisation: the same learners on events, and on the same events under pseudonyms."""

from __future__ import annotations

import json

from benchmarks.contest import Failed, run, workplace
from benchmarks.result import Check, Incomplete, Measured, Options, Row

SIZE = "pilot"
LOST, LOST_PRIVATE = 0.01, 0.03


def detection(_options: Options) -> Measured:
    """User-days of the pilot's simulated enterprise (3.4 million events); the last third of the days is held out."""
    try:
        with workplace() as folder:
            found = json.loads(run("benchmarks.workers.detection", [str(folder), SIZE]))
    except Failed as error:
        raise Incomplete(str(error)) from error
    raw, treated = found["raw"], found["anonymised"]
    checks = (
        Check("AUC lost to anonymisation, gradient boosting", raw["boosting"]["auc"] - treated["boosting"]["auc"], LOST, at_least=False),
        Check("recall at 20 alerts a day lost, gradient boosting", raw["boosting"]["recall"] - treated["boosting"]["recall"], LOST, at_least=False),
        Check("AUC lost to anonymisation, private at ε=1", raw["private"]["auc"] - treated["private"]["auc"], LOST, at_least=False),
        Check("AUC lost to anonymisation and ε=1 together", raw["boosting"]["auc"] - treated["private"]["auc"], LOST_PRIVATE, at_least=False),
        Check("share of events that passed", found["written"] / found["events"], 1.0),
    )
    return Measured(treated["private"]["auc"], "AUC on anonymised events at ε=1 per user-day", "gradient boosting on the events themselves",
                    raw["boosting"]["auc"], checks, found)


ROWS = (Row("logs.detection", "detection on anonymised events against detection on the events themselves", detection),)
