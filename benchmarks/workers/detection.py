"""Detection on events and on the same events anonymised: ``python -m benchmarks.workers.detection FOLDER pilot|small``.

The last third of the days is held out. The same learners on both sides: gradient boosting without privacy, and ours at ε = 1 per user-day.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from tacit import Budget
from tacit.learn import DetectionClassifier
from tacit.logs import FEATURE_SCHEMA, SimulationSpec, feature_domain, simulate
from tacit.logs.anonymise import Anonymiser
from tacit.logs.detection import Windows, event_frames
from tacit.logs.formats import batches, by_name
from tacit.logs.keys import EpochKey
from tacit.logs.policies import SourcePolicy
from tacit.logs.stages import LINES, DeadLetters, LinesSink, run

ALERTS_PER_DAY, HELD_OUT, DELTA, FITS = 20, 1 / 3, 1e-5, 5
NUMBERS = [spec.name for spec in FEATURE_SCHEMA if spec.kind == "numeric"]


def main(arguments: list[str]) -> int:
    folder = Path(arguments[0])
    simulation = simulate((SimulationSpec.pilot if arguments[1] == "pilot" else SimulationSpec.small)(seed=1))
    plain, hidden = folder / "plain.ndjson", folder / "hidden.ndjson"
    simulation.write_ndjson(plain, labels=True)
    anonymiser = Anonymiser(SourcePolicy.pack("ecs"), EpochKey.for_tests())
    begin = time.process_time()
    with plain.open("rb") as file, hidden.open("wb") as out, DeadLetters(folder / "dead.jsonl") as dead:
        tally = run(batches(file, lines=LINES), by_name("ecs"), anonymiser, sink=LinesSink(out), dead=dead)
    seconds = time.process_time() - begin
    windows, form = Windows(), by_name("ecs")
    raw = windows.features(event_frames(plain, form, labels=True))
    names = raw.with_columns(pl.col("user.name").map_elements(anonymiser.tools.names.user, return_dtype=pl.String))
    labels = names.select("user.name", "window", "malicious")
    treated = windows.features(event_frames(hidden, form)).join(labels, on=["user.name", "window"], how="left")
    different = [name for name in NUMBERS if not _same(names, treated, name)]
    answer = {
        "events": tally.read, "written": tally.written, "anonymise_cpu_seconds": seconds, "windows": raw.height, "windows_hidden": treated.height,
        "malicious": int(raw["malicious"].sum()), "features_that_differ": different,
        "raw": dict(_measured(raw)), "anonymised": dict(_measured(treated)),
    }
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


def _same(names: pl.DataFrame, treated: pl.DataFrame, name: str) -> bool:
    order = ["window", "user.name"]
    return bool(names.sort(order)[name].equals(treated.sort(order)[name]))


def _measured(table: pl.DataFrame) -> Iterator[tuple[str, dict[str, float]]]:
    days = table["window"].unique().sort()
    border = days[int(len(days) * (1 - HELD_OUT))]
    train, test = table.filter(pl.col("window") < border), table.filter(pl.col("window") >= border)
    y, truth = train["malicious"].cast(pl.Int64).to_numpy(), test["malicious"].cast(pl.Int64).to_numpy()
    plain = HistGradientBoostingClassifier(random_state=0).fit(train[NUMBERS].to_numpy(), y)
    yield "boosting", _figures(plain.predict_proba(test[NUMBERS].to_numpy())[:, 1], truth, test)
    found = []
    for _ in range(FITS):
        domain = feature_domain()
        ours = DetectionClassifier(budget=Budget(1.0, DELTA), domain=domain, classes=[0, 1]).fit(train.select(domain.names), y)
        found.append(_figures(ours.predict_proba(test.select(domain.names))[:, 1], truth, test))
    yield "private", {name: float(np.mean([one[name] for one in found])) for name in found[0]}


def _figures(scores: Any, truth: Any, test: pl.DataFrame) -> dict[str, float]:
    """AUC, and the share of malicious windows among the alerts of each day."""
    ranked = test.select("window").with_columns(pl.Series("score", scores), pl.Series("truth", truth)).sort("score", descending=True)
    alerted = ranked.group_by("window", maintain_order=True).head(ALERTS_PER_DAY)
    return {"auc": float(roc_auc_score(truth, scores)), "recall": float(alerted["truth"].sum() / max(1, truth.sum()))}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
