"""What a row of figures is: a ratio against a peer, and the thresholds it has to hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


class Incomplete(Exception):
    """A row cannot be measured here: data, a peer or a part of Tacit is missing. The message says which, and the next step."""


@dataclass(frozen=True)
class Options:
    """How a row is measured: at most so many seeds, and whether kept answers of peers may be used again."""

    seeds: int = 5
    reuse: bool = False


@dataclass(frozen=True)
class Check:
    """A measured value against its limit. Aims are stated beside thresholds and do not decide.

    >>> Check("AUC at ε=1", 0.9, 0.895).holds, Check("CPU ratio", 0.2, 0.125, at_least=False).holds
    (True, False)
    """

    what: str
    value: float
    limit: float
    at_least: bool = True
    decides: bool = True

    @property
    def holds(self) -> bool:
        """Whether the value is on the right side of the limit; what is no number is not."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def plain(self) -> dict[str, Any]:
        """For the JSON line."""
        return {"what": self.what, "value": self.value, "limit": f"{'>=' if self.at_least else '<='} {self.limit:.6g}", "holds": self.holds}


@dataclass(frozen=True)
class Measured:
    """What a row's function returns.

    Args:
        figure: ours.
        unit: of both figures.
        peer: who it is compared with.
        peer_figure: theirs, from the same run.
        checks: thresholds and aims.
        details: everything else, plain.
    """

    figure: float
    unit: str
    peer: str
    peer_figure: float
    checks: tuple[Check, ...]
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """Our figure over theirs."""
        return self.figure / self.peer_figure if self.peer_figure else None

    @property
    def passed(self) -> bool:
        """Whether every threshold holds; a row without one proves nothing."""
        deciding = [check.holds for check in self.checks if check.decides]
        return bool(deciding) and all(deciding)


@dataclass(frozen=True)
class Row:
    """A named row: what it measures, and the function that does."""

    name: str
    about: str
    measure: Callable[[Options], Measured]


def line_of(name: str, measured: Measured, seconds: float) -> dict[str, Any]:
    """The JSON line of a row: eight binding keys, then the details."""
    thresholds = [check.plain() for check in measured.checks if check.decides]
    aims = [check.plain() for check in measured.checks if not check.decides]
    line = {
        "name": name, "figure": measured.figure, "unit": measured.unit, "peer": measured.peer, "peer_figure": measured.peer_figure,
        "ratio": measured.ratio, "passed": measured.passed, "seconds": seconds,
        "details": {"thresholds": thresholds, "aims": aims, **measured.details},
    }  # fmt: skip
    return {key: rounded(value) for key, value in line.items()}


def missing_line(name: str, reason: str, seconds: float) -> dict[str, Any]:
    """The JSON line of a row that could not be measured: no figure, not passed, and why."""
    empty = dict.fromkeys(("figure", "unit", "peer", "peer_figure", "ratio"))
    return {"name": name, **empty, "passed": False, "seconds": rounded(seconds), "details": {"missing": reason}}


def rounded(value: Any) -> Any:
    """The same with floats at six significant digits, which is more than any of them deserves."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def as_json(line: dict[str, Any]) -> str:
    """One line; numbers that are none would be no JSON, and raise."""
    return json.dumps(line, ensure_ascii=False, allow_nan=False)
