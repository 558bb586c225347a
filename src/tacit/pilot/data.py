"""What a pilot compares on: records split into training and held-out ones. Owner-side."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from tacit.domain import Category, ColumnType, Domain, Numeric
from tacit.errors import DataError
from tacit.guard import Records
from tacit.pilot.results import Words

ALERT_SHARE = 0.02


@dataclass(frozen=True)
class PilotData:
    """Records for a pilot, split.

    Args:
        name: public name of the data set.
        source: ``simulated SOC``, ``file`` or ``hospital``.
        train: training records, with the target column of 0 and 1.
        test: held-out records.
        features: columns to learn from.
        domain: declared columns, if any.
        unit: what one record is to the reader.
        unit_sentence: the same in a sentence.
        split: how it was split.
        alerts: how many alerts the held-out period may raise, and in words.
        groups: columns that tell groups apart.
    """

    name: str
    source: str
    train: pa.Table
    test: pa.Table
    features: tuple[str, ...]
    domain: Domain | None
    unit: str
    unit_sentence: str
    split: str
    alerts: tuple[int, str]
    groups: tuple[str, ...] = ()
    words: Words = field(default_factory=Words)

    def labels(self, table: pa.Table) -> NDArray[np.int64]:
        """0 and 1, ``[rows]``."""
        return np.asarray(table.column(TARGET).to_numpy(), np.int64)


TARGET = "(target)"


def simulated(seed: int, *, small: bool = False) -> PilotData:
    """User-days of a simulated enterprise; the last third of the days is held out."""
    from tacit.logs import FEATURE_SCHEMA, GROUP_SCHEMA, SimulationSpec, entity_window_features, simulate

    simulation = simulate(SimulationSpec.small(seed=seed) if small else SimulationSpec.pilot(seed=seed))
    frame = entity_window_features(simulation.events(labels=True), directory=simulation.directory)
    frame = frame.with_columns(pl.col("malicious").cast(pl.Int64).alias(TARGET)).sort("window")
    days = frame["window"].unique().sort()
    border = days[int(len(days) * 0.7)]
    kinds: list[tuple[str, ColumnType]] = []
    for spec in FEATURE_SCHEMA:
        number = spec.kind == "numeric"
        kinds.append((spec.name, Numeric(spec.lower, spec.upper, min(spec.resolution, spec.upper / 4)) if number else Category(spec.categories)))
    held = len(days) - int(len(days) * 0.7)
    return PilotData(
        "simulated-soc", "simulated SOC", frame.filter(pl.col("window") < border).to_arrow(), frame.filter(pl.col("window") >= border).to_arrow(),
        tuple(name for name, _ in kinds), Domain(tuple(kinds)), "user-day",
        "One user-day is everything one user did on one day: the guarantee covers all of it together, not just single events.",
        f"the last {held} of {len(days)} days are held out", (30 * held, "30 alerts a day"), tuple(spec.name for spec in GROUP_SCHEMA),
        Words("intrusion", "intrusions", "user-day", "user-days"),
    )


def hospital(seed: int) -> PilotData:
    """The breast-cancer records that come with scikit-learn."""
    from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer()
    columns: dict[str, Any] = {name.replace(" ", "_"): bunch.data[:, i] for i, name in enumerate(bunch.feature_names)}
    columns[TARGET] = 1 - bunch.target
    return _random_split(
        pa.table(columns), "hospital", "hospital", words=Words("malignant finding", "malignant findings", "patient", "patients"), seed=seed,
    )


@dataclass(frozen=True)
class TableSpec:
    """A table of the owner's: where it is, and what its columns mean."""

    path: str
    target: str
    positive: str | None = None
    format: str | None = None
    groups: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()


def from_file(spec: TableSpec, seed: int, domain: Domain | None = None) -> PilotData:
    """Records of a file.

    Raises:
        DataError: if the target is missing, constant, or has several values and no positive one is named.
    """
    with Records.open(spec.path, format=spec.format) as records:
        records.require((spec.target, *spec.groups))
        table = records.table()
    values = pl.Series([str(v).strip() if v is not None else None for v in table.column(spec.target).to_pylist()])
    labels = _labels(values, spec)
    known = values.is_not_null().to_numpy()
    table = table.drop_columns([spec.target, *spec.drop]).append_column(TARGET, pa.array(labels)).filter(pa.array(known))
    found = _random_split(table, "file", "file", words=Words("positive", "positives"), seed=seed, groups=spec.groups)
    return found if domain is None else PilotData(**{**found.__dict__, "domain": domain})


def _labels(values: pl.Series, spec: TableSpec) -> NDArray[np.int64]:
    different = sorted(values.drop_nulls().unique().to_list())
    if len(different) < 2:
        raise DataError(f"Expected at least two values in the target «{spec.target}»; it has {len(different)}. A constant target cannot be learned.")
    positive = spec.positive if spec.positive is not None else (different[-1] if len(different) == 2 else None)
    if positive is None:
        raise DataError(f"Expected two values in the target «{spec.target}»; it has {len(different)}. Name the one to detect with --positive.")
    if positive not in different:
        raise DataError(f"Expected --positive to be a value of «{spec.target}»; the value given is not there. Check its spelling.")
    return np.asarray((values == positive).fill_null(False).to_numpy(), np.int64)


def _random_split(table: pa.Table, name: str, source: str, *, words: Words, seed: int, groups: tuple[str, ...] = ()) -> PilotData:
    unit = words.record
    from sklearn.model_selection import train_test_split

    labels = table.column(TARGET).to_numpy()
    if min(np.bincount(labels, minlength=2)) < 2:
        raise DataError("Expected at least two records of each class to split them; there are fewer. Add records, or choose another target.")
    train, test = train_test_split(np.arange(table.num_rows), test_size=0.3, random_state=seed, stratify=labels)
    alerts = max(1, round(max(ALERT_SHARE, float(labels.mean())) * len(test)))
    return PilotData(
        name, source, table.take(np.sort(train)), table.take(np.sort(test)), tuple(c for c in table.column_names if c != TARGET), None, unit,
        f"One {unit} is one row: the guarantee covers the whole row.", "30 % of the rows, drawn at random, are held out",
        (alerts, f"{alerts:,} alerts on the held-out rows"), groups, words,
    )
