"""What is promised to whom: privacy unit, neighbouring relation, budget, and the guarantee that travels with a value.

A guarantee is never an epsilon alone. Two guarantees can be ordered only where they promise the same kind of thing about the same
unit and scope; anything else raises `GuaranteeMismatch`. Guarantees are never composed: the *events* in a ledger are, by an accountant.

>>> budget = Budget(epsilon=1.0, delta=1e-5)
>>> unit = PrivacyUnit("customer", column="customer_id")
>>> strong = Guarantee(0.5, 1e-5, unit, Relation.ADD_REMOVE, Scope("payments"), TrustModel.curator(), "gdp")
>>> weak = Guarantee(1.0, 1e-5, unit, Relation.ADD_REMOVE, Scope("payments"), TrustModel.curator(), "pld")
>>> strong.is_at_least_as_strong_as(weak)
True
>>> print(weak)
(1, 1e-05)-DP per customer, add/remove, curator, pld, on «payments»
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context
from enum import StrEnum
from typing import Any, NoReturn

from tacit.errors import GuaranteeMismatch, UsageError


class Relation(StrEnum):
    """When two data sets are neighbours, in terms of one privacy unit (Dwork & Roth 2014, §2.3; Kairouz et al. 2021, §2)."""

    ADD_REMOVE = "add/remove"
    REPLACE = "replace"
    ZERO_OUT = "zero-out"

    @property
    def factor(self) -> int:
        """How many times one unit's bound a neighbouring data set can move a sum: 2 under replace, else 1."""
        return 2 if self is Relation.REPLACE else 1


@dataclass(frozen=True, slots=True)
class PrivacyUnit:
    """Who or what is protected as one: a record, a user, a user's day, a patient.

    Args:
        name: what a person reads, in the singular (``"user-day"``).
        column: the column that identifies the unit; ``None`` if every record is a unit of its own.
        window: for a windowed unit, what one window is (``"day"``); ``None`` if the unit spans all time.
    """

    name: str = "record"
    column: str | None = None
    window: str | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise UsageError("Expected a name for the privacy unit, for example «user»; got an empty one.")

    @property
    def is_record(self) -> bool:
        """Whether every record is its own unit."""
        return self.column is None

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Budget:
    """How much may be spent: (ε, δ).

    Raises:
        UsageError: unless 0 < epsilon < inf and 0 < delta < 1.
    """

    epsilon: float
    delta: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.epsilon) and self.epsilon > 0):
            raise UsageError(f"Expected epsilon={self.epsilon} > 0 and finite; a usual value lies between 0.1 and 8.")
        if not 0 < self.delta < 1:
            raise UsageError(f"Expected 0 < delta={self.delta} < 1; use well below one over the number of units, such as 1e-6.")


@dataclass(frozen=True, slots=True)
class Scope:
    """Which data the guarantee is about: a named data set, and the time window the budget renews in."""

    dataset: str
    window: str = "all"

    def __str__(self) -> str:
        return f"«{self.dataset}»" if self.window == "all" else f"«{self.dataset}», window {self.window}"


@dataclass(frozen=True, slots=True)
class TrustModel:
    """Whom a unit has to trust: ``curator``, ``distributed(n,t,c)`` or ``local``."""

    kind: str
    sites: int = 1
    threshold: int = 1
    colluding: int = 0

    @classmethod
    def curator(cls) -> TrustModel:
        """One party sees the records and adds the noise."""
        return cls("curator")

    @classmethod
    def distributed(cls, sites: int, *, threshold: int, colluding: int) -> TrustModel:
        """Each of ``sites`` parties adds a share of the noise; ``colluding`` of them may pool what they know with the receiver."""
        if not (1 <= threshold <= sites and 0 <= colluding < threshold):
            raise UsageError(f"Expected 1 <= threshold={threshold} <= sites={sites} and 0 <= colluding={colluding} < threshold.")
        return cls("distributed", sites, threshold, colluding)

    def __str__(self) -> str:
        return self.kind if self.kind != "distributed" else f"distributed({self.sites},{self.threshold},{self.colluding})"


@dataclass(frozen=True, slots=True)
class Guarantee:
    """(ε, δ)-differential privacy, with everything without which the two numbers mean nothing.

    Guarantees:
        For every pair of data sets that are neighbours under ``relation`` in one ``unit`` within ``scope``, and every set of outputs,
        P[M(D) in S] <= e^ε P[M(D') in S] + δ (Dwork et al. 2006), against a party that ``trust`` does not include.

    Edge cases:

    ==============================  =========================================================
    comparison across units         raises `GuaranteeMismatch`
    different δ                     comparable only if both ε and δ are ordered the same way
    adding two guarantees           raises; compose the events in the ledger
    ``epsilon=inf``                 allowed: it says that there is no guarantee
    ==============================  =========================================================
    """

    epsilon: float
    delta: float
    unit: PrivacyUnit
    relation: Relation
    scope: Scope
    trust: TrustModel
    accountant: str

    def __post_init__(self) -> None:
        if math.isnan(self.epsilon) or self.epsilon < 0 or not 0 <= self.delta <= 1:
            raise UsageError(f"Expected epsilon={self.epsilon} >= 0 and 0 <= delta={self.delta} <= 1.")

    @property
    def holds(self) -> bool:
        """Whether anything at all is promised."""
        return math.isfinite(self.epsilon) and self.delta < 1

    def is_at_least_as_strong_as(self, other: Guarantee) -> bool:
        """Whether this promises no less than ``other``.

        Raises:
            GuaranteeMismatch: if they are about different units, relations, scopes or trust models, or if neither implies the other.
        """
        self._require_alike(other)
        if self.epsilon <= other.epsilon and self.delta <= other.delta:
            return True
        if self.epsilon >= other.epsilon and self.delta >= other.delta:
            return False
        raise GuaranteeMismatch(
            f"Expected guarantees of which one implies the other; got delta {self.delta:g} and {other.delta:g} with epsilon the other way "
            "round. Restate both at one delta."
        )

    def _require_alike(self, other: Guarantee) -> None:
        if not isinstance(other, Guarantee):
            raise GuaranteeMismatch("Expected a Guarantee to compare with; an epsilon alone says nothing.")
        for field in ("unit", "relation", "scope", "trust"):
            mine, theirs = getattr(self, field), getattr(other, field)
            if mine != theirs:
                raise GuaranteeMismatch(f"Expected guarantees about the same {field}; got {mine} and {theirs}. They cannot be compared.")

    def __lt__(self, other: Guarantee) -> bool:
        return self.is_at_least_as_strong_as(other) and self != other

    def __le__(self, other: Guarantee) -> bool:
        return self.is_at_least_as_strong_as(other)

    def __gt__(self, other: Guarantee) -> bool:
        return other.is_at_least_as_strong_as(self) and self != other

    def __ge__(self, other: Guarantee) -> bool:
        return other.is_at_least_as_strong_as(self)

    def __add__(self, other: object) -> NoReturn:
        raise GuaranteeMismatch("Guarantees are not added; the events in the ledger compose. See `tacit ledger show`.")

    def __str__(self) -> str:
        if not self.holds:
            return f"no guarantee ({self.accountant})"
        head = f"({_up(self.epsilon)}, {_up(self.delta)})-DP per {self.unit}, {self.relation}, {self.trust}, {self.accountant}"
        return f"{head}, on {self.scope}"

    def to_dict(self) -> dict[str, Any]:
        """Plain, canonical form; `from_dict` reverses it."""
        return {
            "epsilon": self.epsilon if self.holds else None,
            "delta": self.delta,
            "unit": {"name": self.unit.name, "column": self.unit.column, "window": self.unit.window},
            "relation": self.relation.value,
            "scope": {"dataset": self.scope.dataset, "window": self.scope.window},
            "trust": {
                "kind": self.trust.kind, "sites": self.trust.sites, "threshold": self.trust.threshold, "colluding": self.trust.colluding,
            },
            "accountant": self.accountant,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Guarantee:
        """The guarantee that `to_dict` described."""
        epsilon = math.inf if data["epsilon"] is None else float(data["epsilon"])
        return cls(
            epsilon, float(data["delta"]), PrivacyUnit(**data["unit"]), Relation(data["relation"]),
            Scope(**data["scope"]), TrustModel(**data["trust"]), str(data["accountant"]),
        )


def _up(value: float) -> str:
    """Four significant digits, rounded so that no more is promised than holds.

    >>> _up(0.98001), _up(1.0), _up(1e-05)
    ('0.9801', '1', '1e-05')
    """
    rounded = f"{value:.4g}"
    return rounded if float(rounded) >= value else f"{Context(prec=4, rounding=ROUND_CEILING).create_decimal_from_float(value):g}"
