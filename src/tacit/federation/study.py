"""The study card: who asks what of whom, what for, at what price and until when. Public, and signed by the coordinator.

>>> card = StudyCard.parse(example_text())
>>> card.name, card.budget.epsilon, card.sites
('readmission-2027', 1.0, ('anna', 'berta', 'carl'))
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from tacit.crypto import SigningKey, VerifyKey, canonical_bytes, digest, from_canonical
from tacit.domain import Domain
from tacit.errors import ConfigError, UsageError, VerificationError
from tacit.guarantee import Budget, PrivacyUnit, Relation
from tacit.guard.tables import require_schema

if TYPE_CHECKING:
    from tacit.learn import TargetSpec

_CONTEXT = "tacit.study@1"
_EXAMPLE = "docs/federation.md has one"
LONGEST = 1 << 20
UNLABELLED_KINDS = ("anomaly", "components")
Parameter: TypeAlias = int | float | tuple[int, ...]
PARAMETERS: Mapping[str, frozenset[str]] = {
    "boosted-trees": frozenset({"passes", "trees", "depth"}), "additive": frozenset({"iterations", "trees", "depth"}),
    "linear": frozenset({"iterations"}), "network": frozenset({"hidden", "steps", "rate", "learning_rate"}),
    "anomaly": frozenset({"trees", "depth"}), "components": frozenset(),
}
"""Which parameters each learner takes."""


@dataclass(frozen=True, slots=True)
class LearnerSpec:
    """Which learner, what it predicts, and its public parameters.

    Args:
        kind: one of `PARAMETERS`.
        target: the label's column; empty for the kinds that learn without labels.
        classes: the public classes.
        positive: or the one value that is told apart from all others.
        bounds: or the public bounds of a number.
        parameters: sizes; those left out are the learner's own.

    Raises:
        ConfigError: unless a labelled kind has a target with exactly one of classes, positive and bounds, and an unlabelled kind has none of them.
    """

    kind: str
    target: str = ""
    classes: tuple[str, ...] = ()
    positive: str = ""
    bounds: tuple[float, float] | None = None
    parameters: Mapping[str, Parameter] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in PARAMETERS:
            raise ConfigError(f"Expected [learner] kind to be one of {', '.join(PARAMETERS)}; got {self.kind!r}.")
        declared = sum((bool(self.classes), bool(self.positive), self.bounds is not None))
        if self.kind in UNLABELLED_KINDS and (self.target or declared):
            raise ConfigError(f"Expected no target for «{self.kind}», which learns without labels. Delete it from [learner].")
        if self.kind not in UNLABELLED_KINDS and not (self.target and declared == 1):
            raise ConfigError("Expected [learner] target, and exactly one of classes, positive and bounds: sites cannot look for them together.")
        if self.bounds is not None and not (math.isfinite(self.bounds[0]) and math.isfinite(self.bounds[1]) and self.bounds[0] < self.bounds[1]):
            raise ConfigError(f"Expected [learner] bounds = {list(self.bounds)} to be two finite numbers, the smaller first.")
        if other := sorted(set(self.parameters) - PARAMETERS[self.kind]):
            known = ", ".join(sorted(PARAMETERS[self.kind])) or "none"
            raise ConfigError(f"[learner] parameters.{other[0]} is no parameter of «{self.kind}»; it takes {known}. Delete it.")

    @property
    def target_spec(self) -> TargetSpec:
        """As learners take it."""
        from tacit.learn import UNLABELLED, TargetSpec

        if not self.target:
            return UNLABELLED
        task = "classify" if self.bounds is None else "predict"
        return TargetSpec(self.target, task, self.classes or None, self.positive or None, self.bounds)

    def to_dict(self) -> dict[str, Any]:
        """Plain form."""
        return {
            "kind": self.kind, "target": self.target, "classes": list(self.classes), "positive": self.positive,
            "bounds": None if self.bounds is None else list(self.bounds),
            "parameters": {name: list(value) if isinstance(value, tuple) else value for name, value in self.parameters.items()},
        }


@dataclass(frozen=True)
class StudyCard:
    """What a site is asked to agree to.

    Args:
        name: public name.
        purpose: what a person reads, here and in every site's ledger.
        asker: the person or house that answers for it.
        dataset: the name under which each site's policy keeps the records that are asked.
        ends: the last day on which a site answers, UTC.
        unit: who is protected, at each site.
        budget: all that the study may cost one unit, aborted runs included.
        learner: what is learned.
        sites: whom it asks.
        domain: the public columns that are learned from.
        relation: the neighbouring relation.
        rows_per_unit: public assumption on how many rows a unit has.
        edition: counted up when a card is changed.

    Raises:
        ConfigError: if the target is among the columns, or the unit is.
    """

    name: str
    purpose: str
    asker: str
    dataset: str
    ends: date
    unit: PrivacyUnit
    budget: Budget
    learner: LearnerSpec
    sites: tuple[str, ...]
    domain: Domain
    relation: Relation = Relation.ADD_REMOVE
    rows_per_unit: int = 1
    edition: int = 1

    def __post_init__(self) -> None:
        for name in (self.learner.target, self.unit.column):
            if name and name in self.domain.names:
                raise ConfigError(f"Expected [[columns]] that are learned from; «{name}» is the target or the unit. Take it out.")

    @classmethod
    def load(cls, path: str | Path) -> StudyCard:
        """Read and check a card.

        Raises:
            ConfigError: if there is no such file, it is not TOML, or it breaks the schema: one line, with the key and what was expected.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path}: expected UTF-8 text; save the file as UTF-8.") from error
        except OSError as error:
            raise ConfigError(f"{path}: no study card can be read ({error.strerror}). Check the path; {_EXAMPLE}.") from error
        return cls.parse(text, name=str(path))

    @classmethod
    def parse(cls, text: str, *, name: str = "study.toml") -> StudyCard:
        """The card in ``text``; ``name`` stands in messages.

        Raises:
            ConfigError: as for `load`.
        """
        try:
            data = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{name}: expected TOML: {error}. {_EXAMPLE.capitalize()}.") from error
        study = data.get("study")
        if isinstance(study, dict) and type(study.get("ends")) is date:
            study["ends"] = study["ends"].isoformat()
        return cls.from_dict(data, name=name)

    @classmethod
    def from_dict(cls, data: dict[str, Any], *, name: str = "study card") -> StudyCard:
        """The card that `to_dict` or a TOML file described.

        Raises:
            ConfigError: if it is none.
        """
        if not isinstance(data, dict):
            raise ConfigError(f"{name}: expected a table of tables; {_EXAMPLE}.")
        require_schema(data, name=name, schema=("tacit.federation", "study_schema.json"), example=_EXAMPLE)
        try:
            return _build(cls, data)
        except (UsageError, ValueError) as error:
            raise ConfigError(f"{name}: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """Plain form, in which what has a default is written out."""
        learner = {key: value for key, value in self.learner.to_dict().items() if value or key == "kind"}
        unit = {"name": self.unit.name, "column": self.unit.column, "window": self.unit.window, "rows": self.rows_per_unit}
        return {
            "version": 1,
            "study": {
                "name": self.name, "edition": self.edition, "purpose": self.purpose, "asker": self.asker, "dataset": self.dataset,
                "ends": self.ends.isoformat(),
            },
            "unit": {key: value for key, value in unit.items() if value is not None},
            "privacy": {"relation": self.relation.value, "epsilon": self.budget.epsilon, "delta": self.budget.delta},
            "learner": learner, "sites": {"names": list(self.sites)}, "columns": self.domain.to_dict()["columns"],
        }

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the canonical form, hex: what approvals, ledger entries and reports refer to."""
        return digest(self.to_dict(), domain=_CONTEXT).hex()

    @property
    def run(self) -> str:
        """What the name of every run of this study begins with."""
        return f"{self.name}.{self.digest[:16]}."

    def sign(self, key: SigningKey, *, roster: bytes) -> bytes:
        """The card with the coordinator's signature, for the federation with this roster's id alone."""
        content = canonical_bytes({"card": self.to_dict(), "roster": roster})
        return canonical_bytes({"content": content, "signature": key.sign(content, context=_CONTEXT)})

    @classmethod
    def verified(cls, data: bytes, key: VerifyKey, *, roster: bytes) -> StudyCard:
        """The card in what `sign` wrote, once the signature and the federation are found to be right.

        Raises:
            VerificationError: if they are not, or it is no card.
        """
        try:
            if len(data) > LONGEST:
                raise ValueError("too long")
            outer = from_canonical(data)
            content, signature = outer["content"], outer["signature"]
            key.verify(content, signature, context=_CONTEXT)
            inner = from_canonical(content)
            card = cls.from_dict(inner["card"])
        except (KeyError, TypeError, ValueError, UsageError) as error:
            raise VerificationError("Expected a signed study card; this is none. Ask the coordinator to run the study again.") from error
        if inner["roster"] != roster or outer.keys() != {"content", "signature"} or inner.keys() != {"card", "roster"}:
            raise VerificationError("The study card was signed for another federation, or another list of its members. Compare the rosters.")
        return card


def _build(cls: type[StudyCard], data: dict[str, Any]) -> StudyCard:
    study, unit, privacy, learner = data["study"], data["unit"], data["privacy"], data["learner"]
    bounds = learner.get("bounds")
    return cls(
        name=study["name"], edition=int(study.get("edition", 1)), purpose=study["purpose"], asker=study["asker"], dataset=study["dataset"],
        ends=date.fromisoformat(study["ends"]),
        unit=PrivacyUnit(unit["name"], unit.get("column"), unit.get("window")), rows_per_unit=int(unit.get("rows", 1)),
        budget=Budget(float(privacy["epsilon"]), float(privacy["delta"])), relation=Relation(privacy.get("relation", "add/remove")),
        learner=LearnerSpec(
            learner["kind"], learner.get("target", ""), tuple(learner.get("classes", ())), learner.get("positive", ""),
            None if bounds is None else (float(bounds[0]), float(bounds[1])),
            {name: tuple(value) if isinstance(value, list) else value for name, value in learner.get("parameters", {}).items()},
        ),
        sites=tuple(sorted(data["sites"]["names"])), domain=Domain.from_dict({"columns": data["columns"]}),
    )


def example_text() -> str:
    """A small card that is right."""
    return _EXAMPLE_TEXT


_EXAMPLE_TEXT = '''\
version = 1

[study]
name = "readmission-2027"
purpose = "predict who is readmitted within 30 days"
asker = "Dr. B. Example, University Hospital"
dataset = "stays"            # the name in every site's tacit.toml
ends = 2027-12-31            # the last day on which sites answer

[unit]                       # as in every site's tacit.toml
name = "patient"
column = "patient_id"
rows = 2

[privacy]                    # all that the study may cost one patient at one site
epsilon = 1.0
delta = 1e-5

[learner]
kind = "boosted-trees"       # or additive, linear, network, anomaly, components
target = "readmitted"
positive = "yes"             # or classes = [...], or bounds = [lower, upper]
[learner.parameters]
passes = 2
trees = 50

[sites]
names = ["anna", "berta", "carl"]

[[columns]]                  # what is learned from: public bounds and categories
name = "age"
type = "number"
lower = 0
upper = 120

[[columns]]
name = "ward"
type = "category"
values = ["surgery", "medicine", "other"]
'''
