"""What a pilot compares on: records split into training and held-out ones, by whole privacy units. Owner-side."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from tacit.domain import Domain, Numeric
from tacit.errors import DataError
from tacit.guarantee import PrivacyUnit
from tacit.guard import Records
from tacit.pilot.results import Words

ALERT_SHARE = 0.02
HELD_OUT = 0.3
SOC_ALERTS = 80
TARGET = "(target)"
_NUCLEI = {  # public ranges of what is measured on cell nuclei, in the units of the images: no nucleus is larger or rougher than that
    "radius": 50.0, "texture": 60.0, "perimeter": 350.0, "area": 5_000.0, "smoothness": 0.5, "compactness": 2.0, "concavity": 2.0,
    "concave_points": 0.5, "symmetry": 1.0, "fractal_dimension": 0.5,
}
_PLURALS = {"record": "records", "row": "rows", "patient": "patients"}


@dataclass(frozen=True)
class PilotData:
    """Records for a pilot, split.

    Args:
        name: public name of the data set.
        source: ``simulated SOC``, ``file`` or ``hospital``.
        train: training records, with the target column of 0 and 1.
        test: held-out records, of other units.
        features: columns to learn from.
        domain: declared columns, if any.
        unit: who is protected as one.
        time: for a unit with a window, the column that says when.
        rows_per_unit: public assumption on how many rows a unit has.
        unit_sentence: what one unit is, for the reader.
        split: how it was split.
        alerts: how many alerts the held-out records may raise, and in words.
        groups: columns that tell groups apart.
        words: what the reader calls things.
    """

    name: str
    source: str
    train: pa.Table
    test: pa.Table
    features: tuple[str, ...]
    domain: Domain | None
    unit: PrivacyUnit
    unit_sentence: str
    split: str
    alerts: tuple[int, str]
    time: str | None = None
    rows_per_unit: int = 1
    groups: tuple[str, ...] = ()
    words: Words = field(default_factory=Words)

    def labels(self, table: pa.Table) -> NDArray[np.int64]:
        """0 and 1, ``[rows]``."""
        return np.asarray(table.column(TARGET).to_numpy(), np.int64)

    def records(self, table: pa.Table) -> Records:
        """A table as records of the privacy unit."""
        return Records.open(table, unit=self.unit, time=self.time)


def simulated(seed: int, *, small: bool = False) -> PilotData:
    """User-days of a simulated enterprise; the last third of the days is held out."""
    from tacit.logs import GROUP_SCHEMA, SimulationSpec, entity_window_features, feature_domain, simulate

    simulation = simulate(SimulationSpec.small(seed=seed) if small else SimulationSpec.pilot(seed=seed))
    frame = entity_window_features(simulation.events(labels=True), directory=simulation.directory)
    frame = frame.with_columns(pl.col("malicious").cast(pl.Int64).alias(TARGET)).sort("window")
    days = frame["window"].unique().sort()
    border = days[int(len(days) * (1 - HELD_OUT))]
    domain = feature_domain()
    held = len(days) - int(len(days) * (1 - HELD_OUT))
    # A user-day has exactly one row here, so that every row is a unit and nothing needs to be grouped.
    return PilotData(
        "simulated-soc", "simulated SOC", frame.filter(pl.col("window") < border).to_arrow(), frame.filter(pl.col("window") >= border).to_arrow(),
        tuple(domain.names), domain, PrivacyUnit("user-day", window="day"),
        "One user-day is everything one user did on one day: the guarantee covers all of it together, not just single events.",
        f"the last {held} of {len(days)} days are held out", (SOC_ALERTS * held, f"{SOC_ALERTS} alerts a day"),
        groups=tuple(spec.name for spec in GROUP_SCHEMA), words=Words("intrusion", "intrusions", "user-day", "user-days"),
    )


def hospital(seed: int) -> PilotData:
    """The breast-cancer records that come with scikit-learn."""
    from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer()
    columns: dict[str, Any] = {name.replace(" ", "_"): bunch.data[:, i] for i, name in enumerate(bunch.feature_names)}
    table = pa.table({**columns, TARGET: 1 - bunch.target})
    spec = TableSpec("", TARGET, unit=PrivacyUnit("patient"), words=Words("malignant finding", "malignant findings", "patient", "patients"))
    domain = Domain(tuple((name, _nucleus(name)) for name in columns if name != TARGET))
    return replace(_split(table, np.arange(table.num_rows), spec, seed=seed), name="hospital", source="hospital", domain=domain)


def _nucleus(column: str) -> Numeric:
    """The public range of one column; standard errors are told apart on a finer scale."""
    quantity = column.removeprefix("mean_").removeprefix("worst_").removesuffix("_error")
    upper = _NUCLEI[quantity] / (10.0 if column.endswith("_error") else 1.0)
    return Numeric(0.0, upper, upper / 1_000)


@dataclass(frozen=True)
class TableSpec:
    """A table of the owner's: where it is, and what its columns mean.

    Args:
        path: the file.
        target: the column to predict.
        positive: the value to detect; may be left out where there are two values.
        format: of the file, where its name does not say.
        unit: who is protected as one; by default every row.
        time: for a unit with a window, the column that says when.
        rows_per_unit: public assumption on how many rows a unit has.
        groups: columns that tell groups apart.
        drop: columns to leave out.
        words: what the reader calls things.
    """

    path: str
    target: str
    positive: str | None = None
    format: str | None = None
    unit: PrivacyUnit = field(default_factory=PrivacyUnit)
    time: str | None = None
    rows_per_unit: int = 1
    groups: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    words: Words = field(default_factory=lambda: Words("positive", "positives"))


def from_file(spec: TableSpec, seed: int, domain: Domain | None = None) -> PilotData:
    """Records of a file.

    Raises:
        DataError: if the target is missing, constant, or has several values and no positive one is named.
    """
    with Records.open(spec.path, format=spec.format, unit=spec.unit, time=spec.time) as records:
        records.require((spec.target, *spec.groups, *spec.drop))
        table, owner = records.table(), records.unit_index()
    values = pl.Series([str(v).strip() if v is not None else None for v in table.column(spec.target).to_pylist()])
    labels = _labels(values, spec)
    known = values.is_not_null().to_numpy()
    dropped = [spec.target, *(name for name in spec.drop if name != spec.target)]
    table = table.drop_columns(dropped).append_column(TARGET, pa.array(labels)).filter(pa.array(known))
    found = _split(table, owner[known], spec, seed=seed)
    return found if domain is None else replace(found, domain=domain)


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


def _split(table: pa.Table, owner: NDArray[np.int64], spec: TableSpec, *, seed: int) -> PilotData:
    labels = table.column(TARGET).to_numpy()
    held = _held_out(labels, owner, seed)
    if min(np.bincount(labels[held], minlength=2).min(), np.bincount(labels[~held], minlength=2).min()) < 1:
        raise DataError("Expected records of both classes among the training and the held-out ones; there are too few. Add records.")
    alerts = max(1, round(max(ALERT_SHARE, float(labels.mean())) * int(held.sum())))
    unit, plural = spec.unit, _plural(spec.unit.name)
    apart = {TARGET, unit.column, spec.time}
    words = spec.words if unit.is_record else replace(spec.words, record=unit.name, records=plural)
    sentence = f"One {unit} is one row: the guarantee covers the whole row."
    if not unit.is_record:
        sentence = f"One {unit} is all rows with the same «{unit.column}»" + (f" within one {unit.window}" if unit.window else "")
        sentence += ": the guarantee covers them together."
    return PilotData(
        "file", "file", table.filter(pa.array(~held)), table.filter(pa.array(held)), tuple(c for c in table.column_names if c not in apart), None,
        unit, sentence, f"{HELD_OUT:.0%} of the {plural}, drawn at random, are held out", (alerts, f"{alerts:,} alerts on the held-out rows"),
        spec.time, spec.rows_per_unit, spec.groups, words,
    )


def _held_out(labels: NDArray[np.int64], owner: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    """Rows of units drawn at random, those with a positive row and the others in proportion where there are both: bool ``[rows]``."""
    from sklearn.model_selection import train_test_split

    _, owner = np.unique(owner, return_inverse=True)
    positive = np.bincount(owner, labels) > 0
    if len(positive) < 4:
        raise DataError(f"Expected at least 4 units, to hold some out; got {len(positive)}. Add records, or protect something smaller.")
    both = min(positive.sum(), (~positive).sum()) >= 2
    _, test = train_test_split(np.arange(len(positive)), test_size=HELD_OUT, random_state=seed, stratify=positive if both else None)
    held = np.zeros(len(positive), bool)
    held[test] = True
    return held[owner]


def _plural(name: str) -> str:
    return _PLURALS.get(name, name + "s")
