"""A detector: a private model of windows, with what one needs to use it again, in one folder."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import polars as pl

from tacit.errors import ConfigError, DataError, StorageError, UsageError
from tacit.guarantee import Budget
from tacit.learn import UNLABELLED, LearnSpec, TargetSpec, fit_anomaly, fit_boosted
from tacit.logs.detection.alerts import Alert, Evidence, Sighting
from tacit.logs.detection.techniques import TECHNIQUES, Technique
from tacit.logs.detection.windows import TARGET, Windows
from tacit.logs.feature_schema import FEATURE_SCHEMA, feature_domain
from tacit.models import load, save
from tacit.replacing import replacing

if TYPE_CHECKING:
    from tacit.crypto import SigningKey
    from tacit.guard import Aggregator
    from tacit.models import Model

MODEL, ABOUT = "model.tacit", "detector.json"
_VERSION = 1
_EVIDENCE, _TECHNIQUES = 5, 3
_MEANINGS = {spec.name: spec.meaning for spec in FEATURE_SCHEMA}


@dataclass(frozen=True)
class DetectorSpec:
    """What to learn.

    Args:
        budget: what it may cost.
        windows: what a row is about.
        alerts_per_day: how many alerts a day somebody has time for; the default when it runs.
        run: public name of the run.
    """

    budget: Budget
    windows: Windows = field(default_factory=Windows)
    alerts_per_day: float = 20.0
    run: str | None = None

    def __post_init__(self) -> None:
        _require_alerts(self.alerts_per_day)


@dataclass(frozen=True, eq=False)
class Detector:
    """A model and what its rows are about.

    Args:
        model: the released model.
        windows: what a row is about.
        alerts_per_day: the default budget of alerts.
    """

    model: Model
    windows: Windows
    alerts_per_day: float

    @classmethod
    def fit(cls, spec: DetectorSpec, aggregator: Aggregator, *, labels: bool) -> Self:
        """Learn from the rows that an aggregator answers for.

        Args:
            spec: what to learn.
            aggregator: one guard over rows of `Windows.features`, or many.
            labels: whether the rows have the column ``malicious``; without, what is unusual is learned.

        Raises:
            Refused: if the plan is refused; nothing is charged then.
        """
        domain = feature_domain()
        target = TargetSpec(TARGET, classes=("0", "1"), positive="1") if labels else UNLABELLED
        purpose = f"train a detector of {'malicious' if labels else 'unusual'} windows of {spec.windows.length} per {spec.windows.entity}"
        learn = LearnSpec(tuple(domain.names), target, spec.budget, domain=domain, purpose=purpose, run=spec.run)
        model = fit_boosted(learn, aggregator) if labels else fit_anomaly(learn, aggregator)
        return cls(model, spec.windows, spec.alerts_per_day)

    def save(self, folder: str | Path, key: SigningKey) -> None:
        """Write the folder: the signed model, and what its rows are about.

        Raises:
            StorageError: it cannot be written.
        """
        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"Cannot make the folder {folder}: {error.strerror}. Name another.") from error
        save(self.model, folder / MODEL, key)
        about = {"version": _VERSION, "model": self.model.digest, "windows": asdict(self.windows), "alerts_per_day": self.alerts_per_day}
        with replacing(folder / ABOUT) as file:
            file.write(json.dumps(about, indent=2).encode() + b"\n")

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read a folder that `save` wrote.

        Raises:
            ConfigError: what it says does not belong to its model.
            DataError: there is none.
        """
        path = Path(folder) / ABOUT
        try:
            about: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            version, digest = about["version"], about["model"]
            windows, alerts = Windows(**about["windows"]), float(about["alerts_per_day"])
        except OSError as error:
            raise DataError(f"Cannot read {path}: {error.strerror}. Name the folder that «tacit detect train» wrote.") from error
        except (KeyError, TypeError, ValueError):
            raise ConfigError(f"Expected {path} as «tacit detect train» wrote it; it is damaged. Train again, or take a copy.") from None
        model = load(Path(folder) / MODEL)
        if version != _VERSION or digest != model.digest:
            raise ConfigError(f"Expected {path} to describe the model beside it; it is about another. Copy both files together.")
        return cls(model, windows, alerts)

    def with_alerts(self, per_day: float) -> Self:
        """The same with another budget of alerts.

        Raises:
            UsageError: unless it is a positive number.
        """
        _require_alerts(per_day)
        return replace(self, alerts_per_day=per_day)

    def scores(self, features: pl.DataFrame) -> np.ndarray[Any, np.dtype[np.float64]]:
        """The score of every row, float64 ``[rows]``: a probability, or a rank among the records it was trained on."""
        if not features.height:
            return np.zeros(0)
        answers = self.model.predict_proba(features.select(self.model.domain.names).to_arrow())
        return np.asarray(answers[:, 1], np.float64)

    def alerts(self, features: pl.DataFrame) -> Iterator[Alert]:
        """The highest scores of each window, as many as the budget of alerts allows; ties are broken by name.

        They are about persons and computed from their events in the clear: for the owner's analysts, not for release.
        """
        scored = features.with_columns(pl.Series("_score", self.scores(features)))
        most = max(1, math.ceil(self.alerts_per_day / self.windows.per_day))
        for (begin,), rows in scored.group_by("window", maintain_order=True):
            best = rows.sort(["_score", self.windows.entity], descending=[True, False]).head(most)
            for place, row in enumerate(best.iter_rows(named=True), 1):
                if row["_score"] > self.floor:
                    yield self._alert(row, begin, place)

    @property
    def floor(self) -> float:
        """No row is an alert at or below: for ranks, the middle of the training records."""
        return 0.5 if self.scale == "rank" else 0.0

    @property
    def scale(self) -> str:
        """What a score is: «probability», or «rank»."""
        return "rank" if self.model.classes == UNLABELLED.classes else "probability"

    def _alert(self, row: dict[str, Any], begin: Any, place: int) -> Alert:
        evidence = self._evidence(row)
        length = dt.timedelta(hours=24 // self.windows.per_day)
        sighting = Sighting(self.windows.entity, row[self.windows.entity], begin, begin + length)
        techniques: dict[str, Technique] = {}
        for one in evidence:
            technique = TECHNIQUES.get(one.feature)
            if technique is not None and len(techniques) < _TECHNIQUES:
                techniques.setdefault(technique.uid, technique)
        return Alert(
            sighting, float(row["_score"]), self.scale, place, self.alerts_per_day, self.model.digest, str(self.model.guarantee), evidence,
            tuple(techniques.values()),
        )

    def _evidence(self, row: dict[str, Any]) -> tuple[Evidence, ...]:
        """The single features that spoke most for an alert; trees over several features count for each by an equal share."""
        explain = getattr(self.model, "explain", None)
        if explain is None:
            return ()
        weights: dict[str, float] = {}
        cells: dict[str, str] = {}
        for one in explain({name: row[name] for name in self.model.domain.names}).contributions:
            for name in one.features:
                weights[name] = weights.get(name, 0.0) + one.values[-1] / len(one.features)
            if len(one.features) == 1 and "tree" not in one.where:
                cells[one.features[0]] = one.where
        best = sorted((name for name in weights if weights[name] > 0), key=lambda name: -weights[name])[:_EVIDENCE]
        return tuple(Evidence(name, _MEANINGS.get(name, ""), row[name], cells.get(name, ""), weights[name]) for name in best)


def _require_alerts(per_day: float) -> None:
    if not (isinstance(per_day, int | float) and math.isfinite(per_day) and per_day > 0):
        raise UsageError(f"Expected a positive number of alerts per day; got {per_day!r}.")
