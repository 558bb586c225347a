"""The four hospitals of the heart disease data: the split of FLamby's Fed-Heart-Disease, with two kinds of features.

*Public* features are the ten columns that every hospital has, within clinical bounds of ``domains/heart.toml``. *Standardised* features are FLamby's:
categories as indicators, every column less its own centre's mean and over its deviation. Those means are read off the training patients and charged
to nobody, so that what is learned from them is private only beside them; they are here because published figures are about them.

Data: Janosi, Steinbrunn, Pfisterer, Detrano 1988, doi 10.24432/C52P4X (CC BY 4.0). Split: du Terrail et al. 2022, arXiv 2210.04620.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split

from benchmarks.datasets import DOMAINS, MissingData, columns_of, data_folder
from tacit.crypto import SigningKey
from tacit.domain import Domain, Numeric
from tacit.federation import LocalFederation, MaskedFederation, Parties, Roster, SiteAgent
from tacit.federation.roster import COORDINATOR
from tacit.federation.transports import LocalTransport
from tacit.guarantee import Budget, PrivacyUnit, Relation
from tacit.guard import Guard, Limits, MemoryBooks, Policy, Records
from tacit.learn import LearnSpec, TargetSpec
from tacit.questions.linear import DESIGN_UNIT, design

CENTRES = ("cleveland", "hungarian", "switzerland", "va")
SIZES = ((199, 104), (172, 89), (30, 16), (85, 45))
PATIENT = PrivacyUnit("patient")
DELTA = 1e-3
LABEL = "disease"
_NAMES = ("age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalach", "exang", "oldpeak", "slope", "ca", "thal", "num")
_CODED = {"cp": (2, 3, 4), "restecg": (1, 2)}
_REACH = 3.0
"""Standard deviations within which standardised columns are told apart."""


@dataclass(frozen=True)
class Hospitals:
    """Training and test tables of the four centres, with their public domain."""

    train: tuple[pa.Table, ...]
    test: tuple[pa.Table, ...]
    domain: Domain

    @property
    def together(self) -> pa.Table:
        """All test patients."""
        return pa.concat_tables(self.test)

    @property
    def sick(self) -> NDArray[np.bool_]:
        """Their labels."""
        return np.asarray(self.together[LABEL].to_numpy() == "1")

    def auc(self, scores: NDArray[np.float64]) -> float:
        """Of scores of all test patients together."""
        return float(roc_auc_score(self.sick, scores))

    def without_privacy(self) -> float:
        """AUC of scikit-learn's logistic regression, as it comes, on the pooled training patients."""
        pooled = pa.concat_tables(self.train)
        matrices = [
            design({name: table[name].combine_chunks() for name in self.domain.names}, table.num_rows, self.domain) / DESIGN_UNIT
            for table in (pooled, self.together)
        ]
        model = LogisticRegression(max_iter=1_000).fit(matrices[0], pooled[LABEL].to_numpy() == "1")
        return self.auc(model.decision_function(matrices[1]))

    def spec(self, epsilon: float) -> LearnSpec:
        """What is learned."""
        return LearnSpec(self.domain.names, TargetSpec(LABEL, classes=("0", "1")), Budget(epsilon, DELTA), domain=self.domain)

    def guards(self, epsilon: float) -> list[Guard]:
        """A guard for each centre, with books of its own."""
        return guards_of(self.train, Budget(epsilon, DELTA))


def guards_of(tables: Sequence[pa.Table], budget: Budget) -> list[Guard]:
    """A guard for each table."""
    return [
        Guard(
            Records.open(table), ledger=MemoryBooks(),
            policy=Policy(f"hospital {place}", unit=PATIENT, relation=Relation.ADD_REMOVE, budget=budget, limits=Limits(minimum_units=0)),
        ) for place, table in enumerate(tables)
    ]  # fmt: skip


class FullNoise(LocalFederation):
    """Sites whose answers anyone may see: each adds all the noise."""

    @property
    def share(self) -> Fraction:
        """All of it."""
        return Fraction(1)


def on_the_wire(guards: Sequence[Guard]) -> MaskedFederation:
    """Masked rounds, message for message, between sites in this process."""
    keys, coordinator = {name: SigningKey.generate() for name in CENTRES}, SigningKey.generate()
    roster = Roster("heart", coordinator.public, {name: key.public for name, key in keys.items()})
    for name, key in {**keys, COORDINATOR: coordinator}.items():
        roster = roster.signed_by(name, key)
    agents = {name: SiteAgent(name=name, roster=roster, key=keys[name], guard=guard) for name, guard in zip(CENTRES, guards, strict=True)}
    return MaskedFederation(roster, coordinator, LocalTransport(agents))


def masked(guards: Sequence[Guard]) -> LocalFederation:
    """The noise of masked rounds among so many sites, none of which is missing."""
    return LocalFederation(guards, parties=Parties.of(len(guards)))


def hospitals(*, standardised: bool = False) -> Hospitals:
    """The four centres.

    Raises:
        MissingData: if the files are not there, or are split differently.
    """
    train, test = zip(*(_centre(name, standardised=standardised) for name in CENTRES), strict=True)
    found = tuple((a.num_rows, b.num_rows) for a, b in zip(train, test, strict=True))
    if found != SIZES:
        raise MissingData(f"Expected FLamby's split {SIZES}; got {found}. Another version of scikit-learn may shuffle differently.")
    names = [name for name in train[0].column_names if name != LABEL]
    within = Domain(tuple((name, Numeric(-_REACH, _REACH)) for name in names))
    return Hospitals(train, test, within if standardised else Domain.load(DOMAINS / "heart.toml"))


def _centre(name: str, *, standardised: bool) -> tuple[pa.Table, pa.Table]:
    path = data_folder() / "heart" / f"processed.{name}.data"
    if not path.is_file():
        raise MissingData(f"Expected heart/{path.name} in the data folder; set TACIT_DATA to the folder that holds it.")
    table = pl.read_csv(path, has_header=False, new_columns=list(_NAMES), null_values="?").drop("slope", "ca", "thal").drop_nulls()
    table = table.cast(pl.Float64)
    sick = (table["num"] > 0).to_numpy().astype(np.int64)
    by_class = sick if min(np.bincount(sick, minlength=2)) > 2 else None
    train, test = train_test_split(np.arange(len(sick)), test_size=1 - 0.66, train_size=0.66, random_state=43, shuffle=True, stratify=by_class)
    features = _standardised(table.drop("num"), train) if standardised else _public(table)
    labelled = features.with_columns(pl.Series(LABEL, sick.astype(str)))
    return labelled[train].to_arrow(), labelled[test].to_arrow()


def _public(table: pl.DataFrame) -> pl.DataFrame:
    texts = [column["name"] for column in columns_of("heart") if column["type"] == "category"]
    return table.drop("num").with_columns(pl.col(texts).cast(pl.Int64).cast(pl.String))


def _standardised(table: pl.DataFrame, train: NDArray[np.int64]) -> pl.DataFrame:
    coded = [(pl.col(name) == value).cast(pl.Float64).alias(f"{name}_{value}") for name, values in _CODED.items() for value in values]
    wide = table.with_columns(coded).drop(*_CODED)
    known = wide[train]
    return wide.select((pl.col(name) - known[name].mean()) / (known[name].std() + 1e-9) for name in wide.columns)
