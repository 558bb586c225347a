"""The owner's policy: what may be asked of which data set, and what it may cost. One TOML file, checked against a versioned schema.

>>> policy = Policy.parse(default_policy_text())
>>> policy.budget.epsilon, policy.unit.name, policy.window
(1.0, 'record', 'all')
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from tacit.errors import ConfigError, PolicyViolation, StorageError, UsageError
from tacit.guarantee import Budget, PrivacyUnit, Relation, Scope
from tacit.guard.filters import Filter
from tacit.guard.plan import Plan
from tacit.guard.policy_text import POLICY_TEXT
from tacit.guard.tables import require_schema
from tacit.guard.windows import nests, window_name

DEFAULT_GATES: Mapping[str, float] = {"auc_loss": 0.02, "recall_loss": 0.05, "attack_advantage": 0.02, "group_gap": 0.05}
_NAME = "tacit.toml"


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds a plan beside its budget.

    Args:
        minimum_units: nothing but the noised count is answered for fewer units; tested on that count.
        questions: the question kinds that may be asked; ``None`` for every kind there is.
        approval: ``"automatic"``, or ``"owner"``: every plan waits for the owner's entry in the ledger.
        max_rows_per_unit: rows of one unit beyond this many are left out.
    """

    minimum_units: int = 100
    questions: tuple[str, ...] | None = None
    approval: str = "automatic"
    max_rows_per_unit: int | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """A validated policy file.

    Args:
        dataset: public name of the data set: what budgets, charges and guarantees are about.
        unit: who is protected.
        relation: the neighbouring relation.
        budget: per data set and window.
        window: how long a budget lasts: ``"all"``, ``"month"``, ``"week"`` or ``"day"``.
        rows_per_unit: public assumption on how many rows a unit usually has; never read off the data.
        count_share: share of μ² that the one noised count of units takes.
        filter: ``"auto"``, ``"renyi"``, ``"single"`` or ``"pure"``, see `tacit.guard.filters.Filter`.
        limits: what bounds a plan beside its budget.
        ledger: file or URL.
        key: file of the signing key; ``None`` for the default beside the ledger.
        domain: file that declares columns; ``None`` if it is found by charged questions.
        source: file with the records, if the policy names one.
        gates: what a pilot must show, as shares.
    """

    dataset: str
    unit: PrivacyUnit
    relation: Relation
    budget: Budget
    window: str = "all"
    rows_per_unit: int = 1
    count_share: float = 0.01
    filter: str = "auto"
    limits: Limits = field(default_factory=Limits)
    ledger: str = "tacit-ledger.db"
    key: Path | None = None
    domain: Path | None = None
    source: Path | None = None
    gates: Mapping[str, float] = field(default_factory=lambda: dict(DEFAULT_GATES))

    def __post_init__(self) -> None:
        if self.filter == "single" and self.limits.minimum_units:
            raise ConfigError(
                '[privacy] filter = "single" leaves no room for a noised count beside the one plan. '
                "Set [limits] minimum_units = 0, or choose another filter."
            )
        if self.window == "all":
            return
        if self.unit.window is None:
            raise ConfigError(
                f"[privacy] window = {self.window!r}: a renewing budget needs a windowed unit, or one unit would be charged anew for ever. "
                "Set window in [unit] (such as \"day\"), or [privacy] window = \"all\"."
            )
        if not nests(self.unit.window, self.window):
            raise ConfigError(
                f"[unit] window = {self.unit.window!r} does not fit into a budget window of one {self.window}: one unit would lie in two. "
                "Choose a shorter unit window, or [privacy] window = \"all\"."
            )

    @classmethod
    def load(cls, path: str | Path = _NAME) -> Policy:
        """Read and check a policy file; paths in it are taken from its folder.

        Raises:
            ConfigError: if there is no such file, it is not TOML, or it breaks the schema: one line, with the key and what was expected.
        """
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path}: expected UTF-8 text; save the file as UTF-8.") from error
        except OSError as error:
            raise ConfigError(f"{path}: no policy can be read ({error.strerror}). Write one with `tacit init`.") from error
        return cls.parse(text, name=str(path), folder=path.parent)

    @classmethod
    def parse(cls, text: str, *, name: str = _NAME, folder: Path | None = None) -> Policy:
        """The policy in ``text``; ``name`` stands in messages.

        Raises:
            ConfigError: as for `load`.
        """
        try:
            data = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{name}: expected TOML: {error}. `tacit init` writes a commented example.") from error
        require_schema(data, name=name, schema=("tacit.guard", "policy_schema.json"), example="`tacit init` writes a commented example")
        try:
            return _build(cls, data, folder or Path())
        except UsageError as error:
            raise ConfigError(f"{name}: {error}") from error

    def scope(self, at: date) -> Scope:
        """The scope that a plan opened on this day is charged to."""
        return Scope(self.dataset, window_name(self.window, at))

    @property
    def counts_units(self) -> bool:
        """Whether a noised count of units is released before anything else: all that has to hold it against a minimum, or normalises by it."""
        return self.filter not in ("single", "pure") or self.limits.minimum_units > 0

    @property
    def accounting(self) -> Filter:
        """The filter that decides about plans of one scope."""
        return Filter(self.budget, self.relation, self.filter)

    def require(self, plan: Plan) -> None:
        """Check everything about a plan that does not depend on what was spent.

        Raises:
            PolicyViolation: if the plan is about another unit or relation, asks a kind of question that is not allowed, or has noise of a kind whose
            budget is kept otherwise.
        """
        if plan.unit != self.unit:
            raise PolicyViolation(f"refused: the policy protects «{self.unit}»; the plan is about «{plan.unit}». Plan for the policy's unit.")
        if plan.relation is not self.relation:
            raise PolicyViolation(f"refused: the policy is under {self.relation}; the plan under {plan.relation}. Plan under the policy's relation.")
        if (plan.mechanism == "laplace") != (self.filter == "pure"):
            raise PolicyViolation(
                f"refused: the policy's filter is «{self.filter}»; the plan has {plan.mechanism} noise. [privacy] filter = \"pure\" admits Laplace "
                "noise (counts: tacit logs stats), and every other filter all but that. Plan for the policy's filter, or ask the owner."
            )
        allowed = self.limits.questions
        if denied := [kind for kind in plan.kinds if allowed is not None and kind not in allowed]:
            raise PolicyViolation(
                f"refused: the policy does not allow «{denied[0]}». Ask the owner to add it to [limits] questions, or plan without it."
            )

    def to_dict(self) -> dict[str, Any]:
        """What was decided, in plain form, without the paths of the owner's machine."""
        return {
            "dataset": self.dataset,
            "unit": {"name": self.unit.name, "column": self.unit.column, "window": self.unit.window},
            "relation": self.relation.value, "epsilon": self.budget.epsilon, "delta": self.budget.delta, "window": self.window,
            "rows_per_unit": self.rows_per_unit, "count_share": self.count_share, "filter": self.filter,
            "minimum_units": self.limits.minimum_units, "approval": self.limits.approval,
            "questions": None if self.limits.questions is None else list(self.limits.questions),
            "max_rows_per_unit": self.limits.max_rows_per_unit, "gates": dict(self.gates),
        }

    @property
    def digest(self) -> str:
        """SHA-256 of the decisions, hex: says in the ledger which policy was in force."""
        return hashlib.sha256(b"tacit.policy@1\0" + json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()


def default_policy_text() -> str:
    """The commented policy that `tacit init` writes."""
    return POLICY_TEXT


def write_default_policy(path: str | Path) -> None:
    """Write the commented policy, all or nothing; an existing file is never replaced.

    Raises:
        UsageError: if there is a file already.
        StorageError: if it cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        temporary.write_text(default_policy_text(), encoding="utf-8")
        os.link(temporary, path)
    except FileExistsError:
        raise UsageError(f"Expected no file at «{path}»; there is one, and it stays as it is. Name another.") from None
    except OSError as error:
        raise StorageError(f"Cannot write «{path}»: {error.strerror}. Nothing was written; check the folder and the disk.") from None
    finally:
        temporary.unlink(missing_ok=True)


def _build(cls: type[Policy], data: dict[str, Any], folder: Path) -> Policy:
    unit, privacy, limits = (data.get(name, {}) for name in ("unit", "privacy", "limits"))
    column, window = unit.get("column"), unit.get("window")
    name = unit.get("name", (column or "record") + (f"-{window}" if window else ""))
    ledger = data.get("ledger", {})
    return cls(
        dataset=data["dataset"]["name"],
        unit=PrivacyUnit(name, column, window),
        relation=Relation(privacy.get("relation", "add/remove")),
        budget=Budget(float(privacy["epsilon"]), float(privacy["delta"])),
        window=privacy.get("window", "all"),
        rows_per_unit=int(unit.get("rows", 1)),
        count_share=float(privacy.get("count_share", 0.01)),
        filter=privacy.get("filter", "auto"),
        limits=Limits(
            int(limits.get("minimum_units", 100)), tuple(limits["questions"]) if "questions" in limits else None,
            limits.get("approval", "automatic"), int(limits["max_rows_per_unit"]) if "max_rows_per_unit" in limits else None,
        ),
        ledger=_location(ledger.get("url", "tacit-ledger.db"), folder),
        key=folder / ledger["key"] if "key" in ledger else None,
        domain=folder / data["domain"]["file"] if data.get("domain") else None,
        source=folder / data["files"]["source"] if data.get("files") else None,
        gates={**DEFAULT_GATES, **data.get("gates", {})},
    )


def _location(url: str, folder: Path) -> str:
    return url if "://" in url else str(folder / url)
