"""The result of a pilot as frozen data: what was compared, measured, charged and recommended, with the evidence behind each number.

Every number is a `Measure` (or sits beside a ``ref``) that names a row of `PilotResult.evidence`; a result with a number that points at
no evidence cannot be built. ``to_dict`` and ``from_dict`` round-trip through plain JSON: the file and the page hold the same numbers.

>>> book = EvidenceBook()
>>> ref = book.measured("utility of the baseline", "held-out days, 200 bootstrap resamples")
>>> Measure(0.93, ref, 0.90, 0.95)
Measure(value=0.93, ref='M1', low=0.9, high=0.95)
>>> [row.id for row in book.rows]
['M1']
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from tacit.errors import DataError, UsageError

T = TypeVar("T")
SCHEMA = "tacit.pilot/1"
OWNER_SIDE = (
    "Owner-side: contains measurements on the records that are not private. Show it only to people who may see the records; "
    "for everybody else make a release version."
)
KINDS = ("baseline", "private", "federated", "linear")
PASS, FAIL, UNSETTLED = "pass", "fail", "unsettled"


@dataclass(frozen=True, slots=True)
class Measure:
    """One number, the evidence row behind it, and its 95 % interval where there is one.

    Raises:
        UsageError: if the value or an end is not finite, or if the interval is one-sided or does not contain the value.
    """

    value: float
    ref: str
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if not all(math.isfinite(x) for x in (self.value, self.low, self.high) if x is not None):
            raise UsageError("Expected a finite measure with finite interval ends; leave out (None) what was not measured.")
        if (self.low is None) != (self.high is None):
            raise UsageError("Expected both ends of an interval, or neither.")
        slack = 1e-9 * max(1.0, abs(self.value))
        if self.low is not None and self.high is not None and not self.low - slack <= self.value <= self.high + slack:
            raise UsageError(f"Expected low={self.low:g} <= value={self.value:g} <= high={self.high:g} for an interval.")

    @property
    def has_interval(self) -> bool:
        """Whether a 95 % interval is known."""
        return self.low is not None


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Held-out records with similar scores: mean predicted probability, share that was positive, and how many there were."""

    predicted: float
    observed: float
    count: int


@dataclass(frozen=True, slots=True)
class Utility:
    """How well a candidate detects on held-out records; ``recall`` and ``precision`` are at the alert budget."""

    auc: Measure | None = None
    average_precision: Measure | None = None
    recall: Measure | None = None
    precision: Measure | None = None
    brier: Measure | None = None
    calibration: tuple[CalibrationBin, ...] = ()
    calibration_ref: str = ""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a candidate costs: CPU seconds to train, peak memory in MB, milliseconds to score 1,000 records."""

    cpu_seconds: Measure | None = None
    peak_memory_mb: Measure | None = None
    latency_ms_per_1000: Measure | None = None


@dataclass(frozen=True, slots=True)
class Encrypted:
    """Scoring what the model's owner cannot read: one record's milliseconds and kilobytes, records per second, share of decisions that stay."""

    latency_ms: Measure
    records_per_second: Measure
    kilobytes: Measure
    agreement: Measure


@dataclass(frozen=True, slots=True)
class Rate:
    """An attack's true positive rate at one false positive rate, and the largest one the guarantee allows (``None``: no guarantee).

    ``tpr`` carries its exact (Clopper-Pearson) interval. ``resolvable`` is false where there were too few non-members to set a threshold
    at this false positive rate; such a rate is never evidence for anything.
    """

    fpr: float
    tpr: Measure
    bound: float | None = None
    resolvable: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.fpr < 1 or not 0 <= self.tpr.value <= 1:
            raise UsageError(f"Expected 0 < fpr={self.fpr} < 1 and 0 <= tpr={self.tpr.value} <= 1.")
        if self.bound is not None and not 0 <= self.bound <= 1:
            raise UsageError(f"Expected 0 <= bound={self.bound} <= 1 for the largest rate a guarantee allows.")


@dataclass(frozen=True, slots=True)
class Control:
    """A run of the attack whose outcome is known beforehand: it must win (positive) or must not (negative)."""

    what: str
    expected: str
    value: Measure
    passed: bool


@dataclass(frozen=True, slots=True)
class Attack:
    """One membership attack on one candidate."""

    name: str
    auc: Measure
    rates: tuple[Rate, ...]
    shadows: int
    members: int
    nonmembers: int
    negative_control: Control | None = None
    positive_control: Control | None = None

    def at(self, fpr: float) -> Rate | None:
        """The rate measured at this false positive rate, if it was."""
        return next((rate for rate in self.rates if math.isclose(rate.fpr, fpr)), None)

    @property
    def trusted(self) -> bool:
        """Whether no control contradicts the attack; a missing control does not."""
        return all(control is None or control.passed for control in (self.negative_control, self.positive_control))


@dataclass(frozen=True, slots=True)
class Group:
    """How one group fares: its score, its gap to everybody (positive: worse), and that same gap under the baseline.

    ``n`` is how many records the score was measured on (for recall: positives). ``resolvable`` is false where they are too few to say anything.
    """

    column: str
    value: str
    n: int
    metric: str
    score: Measure
    gap: Measure
    baseline_gap: Measure | None = None
    baseline_score: Measure | None = None
    resolvable: bool = True

    @property
    def extra_gap(self) -> float:
        """By how much the gap is larger than under the baseline."""
        return self.gap.value - (self.baseline_gap.value if self.baseline_gap else 0.0)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One model that was compared: what it promises, how well it detects, what it costs, what it leaks and for whom it is worse.

    ``budget`` is the ε that was asked for; ``epsilon`` and ``delta`` are what is guaranteed, at most that, and ``None`` without a guarantee.
    ``epsilon_30`` is the guarantee after 30 windows of the same unit. ``guarantee_ref`` names the ledger entry that was charged.
    """

    name: str
    kind: str
    epsilon: float | None = None
    delta: float | None = None
    guarantee: str = "no guarantee"
    guarantee_ref: str = ""
    model: str = ""
    trust: str = "curator"
    sites: int = 1
    epsilon_30: float | None = None
    plan_digest: str = ""
    utility: Utility = field(default_factory=Utility)
    cost: Cost = field(default_factory=Cost)
    attacks: tuple[Attack, ...] = ()
    groups: tuple[Group, ...] = ()
    budget: float | None = None
    encrypted: Encrypted | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"Expected a kind of candidate among {', '.join(KINDS)}; got «{self.kind}».")
        if (self.epsilon is None) != (self.delta is None):
            raise UsageError("Expected epsilon and delta together, or neither: an epsilon alone means nothing.")
        if self.epsilon is not None and not self.guarantee_ref:
            raise UsageError(f"Expected guarantee_ref, the ledger entry charged for «{self.name}»; a guarantee needs evidence.")
        if self.budget is not None and (self.epsilon is None or self.epsilon > self.budget * (1 + 1e-9)):
            raise UsageError(f"Expected a guarantee within budget={self.budget:g} for «{self.name}»; got epsilon={self.epsilon}.")

    @property
    def is_private(self) -> bool:
        """Whether it carries a guarantee."""
        return self.epsilon is not None

    @property
    def asked(self) -> float | None:
        """The ε that was asked for, or the guaranteed one where nobody noted it."""
        return self.epsilon if self.budget is None else self.budget

    def cap(self, fpr: float = 0.01) -> float | None:
        """The highest true positive rate that the guarantee allows any attack (Kairouz et al. 2015); a tighter one if an attack carries it."""
        if self.epsilon is None or self.delta is None:
            return None
        grown, shrunk = math.exp(min(self.epsilon, 700.0)) * fpr + self.delta, 1 - math.exp(-self.epsilon) * (1 - fpr - self.delta)
        known = [rate.bound for attack in self.attacks if (rate := attack.at(fpr)) is not None and rate.bound is not None]
        return min(1.0, grown, shrunk, *known)

    def rate(self, fpr: float = 0.01) -> Rate | None:
        """The highest resolvable true positive rate any attack reached at this false positive rate."""
        rates = [rate for attack in self.attacks if (rate := attack.at(fpr)) is not None]
        return max(rates, key=lambda rate: (rate.resolvable, rate.tpr.value), default=None)


@dataclass(frozen=True, slots=True)
class GateResult:
    """One gate for one candidate: the threshold (the policy's, or what the guarantee allows), the value held against it, what came of it.

    ``status`` is ``pass``, ``fail`` or ``unsettled`` (the data cannot tell); ``settled`` says whether the whole 95 % interval agrees.
    """

    candidate: str
    name: str
    title: str
    threshold: float
    value: float | None
    status: str
    why: str
    settled: bool = True
    refs: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the gate passed."""
        return self.status == PASS


@dataclass(frozen=True, slots=True)
class Reason:
    """A sentence and the evidence rows its numbers come from."""

    text: str
    refs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """Something to do next, with the command for it and why it comes now."""

    title: str
    command: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What the pilot says: ``pass`` with a candidate, ``none`` where none passes, or ``alarm`` where an attack broke a guarantee.

    ``closest`` names the candidate that misses the gates by least where none passes.
    """

    verdict: str
    headline: str
    sentence: str
    candidate: str | None = None
    reasons: tuple[Reason, ...] = ()
    helps: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    refs: tuple[str, ...] = ()
    closest: str | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """Where numbers come from: a ledger entry, a measurement, or the owner's policy."""

    id: str
    kind: str
    what: str
    source: str
    entry: int | None = None
    digest: str = ""


class EvidenceBook:
    """Collects evidence rows while a pilot runs and hands out their ids: L for ledger entries, M for measurements, P for policy."""

    def __init__(self) -> None:
        self._rows: list[Evidence] = []

    def measured(self, what: str, how: str) -> str:
        """Note a measurement on the owner's records; it is not private."""
        return self._add("M", Evidence("", "measurement", what, how))

    def charged(self, what: str, *, entry: int, digest: str = "") -> str:
        """Note a ledger entry that was charged."""
        return self._add("L", Evidence("", "ledger", what, f"ledger entry {entry}", entry, digest))

    def policy(self, what: str, source: str) -> str:
        """Note a choice of the owner's, such as a gate."""
        return self._add("P", Evidence("", "policy", what, source))

    def _add(self, letter: str, row: Evidence) -> str:
        name = f"{letter}{1 + sum(other.kind == row.kind for other in self._rows)}"
        self._rows.append(dataclasses.replace(row, id=name))
        return name

    def restore(self, rows: list[dict[str, Any]]) -> None:
        """Put back rows that an interrupted run had noted.

        Raises:
            DataError: if they are no rows, or would not get the ids they had; then none is put back.
        """
        found, known = [_decode_dataclass(Evidence, row) for row in rows], {row.id for row in self._rows}
        if known & {row.id for row in found}:
            raise DataError("Expected evidence that was not noted yet; start the pilot anew.")
        self._rows += found

    @property
    def rows(self) -> tuple[Evidence, ...]:
        """All rows so far."""
        return tuple(self._rows)


@dataclass(frozen=True, slots=True)
class Words:
    """What the reader calls things, so that the page can speak plainly."""

    positive: str = "intrusion"
    positives: str = "intrusions"
    record: str = "record"
    records: str = "records"


@dataclass(frozen=True, slots=True)
class AlertBudget:
    """How many alerts somebody has time to look at, in words and as a number."""

    text: str
    ref: str
    alerts_per_day: float | None = None
    share: float | None = None


@dataclass(frozen=True, slots=True)
class LedgerInfo:
    """The ledger the pilot charged: where it is, its head, and how many entries this run charged."""

    head: str
    charged: int
    path: str = ""


@dataclass(frozen=True, slots=True)
class Meta:
    """What was compared on which data, and everything needed to do it again. ``source`` is ``simulated SOC``, ``file`` or ``hospital``."""

    title: str
    dataset: str
    source: str
    unit: str
    unit_sentence: str
    relation: str
    delta: float
    created: str
    version: str
    run: str
    ledger: LedgerInfo
    data_ref: str
    features: int
    train_rows: int | None = None
    test_rows: int | None = None
    test_positives: int | None = None
    split: str = ""
    seeds: tuple[int, ...] = ()
    words: Words = field(default_factory=Words)
    alert: AlertBudget | None = None
    command: str = "tacit pilot"
    data_arguments: str = ""


@dataclass(frozen=True, slots=True)
class Threat:
    """To whom something may leak: the attacker that was played, who is trusted with what, and what the guarantee does not cover."""

    attacker: str
    trust: str
    not_covered: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NoisedValue:
    """A value that was charged to the ledger and noised, and may therefore be released; ``noise`` is its standard deviation."""

    what: str
    value: float
    ref: str
    noise: float | None = None
    candidate: str | None = None


@dataclass(frozen=True, slots=True)
class PilotResult:
    """Everything a pilot found. See the module's docstring.

    Raises:
        UsageError: if names or evidence ids repeat, if a number is not finite or points at an evidence row that does not exist, or if a
            candidate is recommended that was not compared.
    """

    meta: Meta
    candidates: tuple[Candidate, ...]
    gates: tuple[GateResult, ...]
    recommendation: Recommendation | None
    evidence: tuple[Evidence, ...]
    threat: Threat
    warnings: tuple[str, ...] = ()
    noised: tuple[NoisedValue, ...] = ()
    disclosure: str = OWNER_SIDE
    released: bool = False
    omitted: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _require_unique("candidate names", [candidate.name for candidate in self.candidates])
        _require_unique("evidence ids", [row.id for row in self.evidence])
        known = {row.id for row in self.evidence}
        if missing := sorted(set(_refs(self)) - known):
            raise UsageError(f"Expected an evidence row for every number; none has the id {', '.join(repr(ref) for ref in missing[:5])}.")
        if not all(math.isfinite(number) for number in _numbers(self)):
            raise UsageError("Expected finite numbers in a pilot result; leave out (None) what was not measured.")
        named = (self.recommendation.candidate, self.recommendation.closest) if self.recommendation else ()
        if unknown := {name for name in named if name is not None} - {candidate.name for candidate in self.candidates}:
            raise UsageError(f"Expected to recommend one of the candidates; got «{min(unknown)}».")

    @property
    def baseline(self) -> Candidate | None:
        """The candidate without privacy that the others are compared with."""
        return next((candidate for candidate in self.candidates if candidate.kind == "baseline"), None)

    @property
    def chosen(self) -> Candidate | None:
        """The recommended candidate, if there is one."""
        name = self.recommendation.candidate if self.recommendation else None
        return next((candidate for candidate in self.candidates if candidate.name == name), None)

    @property
    def subject(self) -> Candidate | None:
        """Whom the page is about: the recommended candidate, or the one that comes closest."""
        name = self.recommendation.closest if self.recommendation else None
        return self.chosen or next((candidate for candidate in self.candidates if candidate.name == name), None)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; `from_dict` reverses it."""
        return {"schema": SCHEMA, **_encode(self)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> PilotResult:
        """The result that `to_dict` described.

        Raises:
            DataError: if it is another schema, or a field is missing, unknown or of another type.
        """
        if not isinstance(data, dict) or data.get("schema") != SCHEMA:
            raise DataError(f"Expected a pilot result with schema «{SCHEMA}»; make a new one with `tacit pilot`.")
        return _decode_dataclass(cls, {key: value for key, value in data.items() if key != "schema"})

    def to_json(self) -> str:
        """The JSON file's text."""
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def _require_unique(what: str, names: list[str]) -> None:
    if len(set(names)) != len(names):
        raise UsageError(f"Expected unique {what}; at least one repeats.")


def _refs(value: Any) -> Iterator[str]:
    """Every evidence id that anything below ``value`` points at; optional ones only where they are set."""
    if isinstance(value, tuple):
        for item in value:
            yield from _refs(item)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for item in dataclasses.fields(value):
            inner = getattr(value, item.name)
            if item.name in {"ref", "data_ref"}:
                yield inner
            elif item.name == "refs" or (item.name in {"guarantee_ref", "calibration_ref"} and inner):
                yield from (inner if item.name == "refs" else (inner,))
            else:
                yield from _refs(inner)


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, float):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _numbers(item)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field_ in dataclasses.fields(value):
            yield from _numbers(getattr(value, field_.name))


def encoded(value: object) -> Any:
    """A frozen dataclass of this module's kind in plain JSON values; `decoded` reverses it."""
    return _encode(value)


def decoded(kind: type[T], data: Any) -> T:
    """The dataclass that `encoded` described.

    Raises:
        DataError: if a field is missing, unknown or of another type.
    """
    return _decode_dataclass(kind, data)


def _encode(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: _encode(getattr(value, item.name)) for item in dataclasses.fields(value)}
    return [_encode(item) for item in value] if isinstance(value, tuple) else value


@cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    return get_type_hints(kind)


def _decode_dataclass(kind: type[T], data: Any) -> T:
    fields = {item.name: item for item in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if not isinstance(data, dict) or not set(data) <= set(fields):
        raise DataError(f"Expected the fields of a {kind.__name__} in the pilot result; got something else.")
    named: Any = kind
    hints = _hints(named)
    try:
        return kind(**{name: _decode(hints[name], value, f"{kind.__name__}.{name}") for name, value in data.items()})
    except TypeError:
        raise DataError(f"Expected every required field of a {kind.__name__} in the pilot result; at least one is missing.") from None


def _decode(hint: Any, value: Any, where: str) -> Any:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return None if value is None else _decode(next(arg for arg in get_args(hint) if arg is not type(None)), value, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise DataError(f"Expected a list for {where} in the pilot result; got {type(value).__name__}.")
        return tuple(_decode(get_args(hint)[0], item, where) for item in value)
    if dataclasses.is_dataclass(hint):
        return _decode_dataclass(hint, value)  # type: ignore[arg-type]
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise DataError(f"Expected {hint.__name__} for {where} in the pilot result; got {type(value).__name__}.")
    return value
