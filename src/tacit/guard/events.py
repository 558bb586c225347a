"""What an accountant is told: the `dp_accounting` events Tacit knows, one of its own, and their plain form for the ledger.

>>> event = dp_accounting.SelfComposedDpEvent(dp_accounting.GaussianDpEvent(10.0), 25)
>>> gaussian_mu_squared(event)
0.25
>>> event_from_dict(event_to_dict(event)) == event
True
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import dp_accounting

from tacit.errors import Refused, UsageError

UNIFORM_VARIANCE = 1 / 12  # rounding X to the grid adds a nearly independent uniform on [-1/2, 1/2]


@dataclass(frozen=True)
class SkellamDpEvent(dp_accounting.DpEvent):  # type: ignore[misc]
    """One release of an integer vector with independent Skellam noise (Agarwal, Kairouz & Liu 2021, arXiv 2110.04995).

    Args:
        l1: L1 distance between neighbours, in grid integers.
        l2: L2 distance between neighbours, in grid integers.
        variance: of the noise on each coordinate, in squared grid integers.
    """

    l1: float
    l2: float
    variance: float

    def __post_init__(self) -> None:
        if not (0 <= self.l2 <= self.l1 < math.inf and UNIFORM_VARIANCE < self.variance < math.inf):
            raise UsageError(f"Expected 0 <= l2={self.l2} <= l1={self.l1} and variance={self.variance} > 1/12.")

    @property
    def gaussian_mu_squared(self) -> float:
        """μ² of the rounded Gaussian with the same variance, which the noise is told apart from only by its stated distance."""
        return self.l2**2 / (self.variance - UNIFORM_VARIANCE)


def leaves(event: Any, count: int = 1) -> Iterator[tuple[Any, int]]:
    """The events that release something, each with how often; compositions are walked, nothing else is.

    Raises:
        Refused: for an event that promises nothing.
    """
    if isinstance(event, dp_accounting.NoOpDpEvent):
        return
    if isinstance(event, dp_accounting.SelfComposedDpEvent):
        yield from leaves(event.event, count * event.count)
    elif isinstance(event, dp_accounting.ComposedDpEvent):
        for part in event.events:
            yield from leaves(part, count)
    elif isinstance(event, (dp_accounting.NonPrivateDpEvent, dp_accounting.UnsupportedDpEvent)) or not isinstance(event, dp_accounting.DpEvent):
        raise Refused(f"unknown event: refuse. {type(event).__name__} has no accounting here; plan with Gaussian or Skellam noise.")
    else:
        yield event, count


def gaussian_mu_squared(event: Any) -> float | None:
    """Σ μ² if everything in ``event`` is Gaussian or stands in for it (Skellam); ``None`` if anything is not."""
    parts: list[float] = []
    for leaf, count in leaves(event):
        if isinstance(leaf, dp_accounting.GaussianDpEvent):
            parts.append(count / leaf.noise_multiplier**2 if leaf.noise_multiplier > 0 else math.inf)
        elif isinstance(leaf, SkellamDpEvent):
            parts.append(count * leaf.gaussian_mu_squared)
        else:
            return None
    return math.fsum(parts)


def pure_epsilon(event: Any) -> float:
    """Σ ε if everything in ``event`` is Laplace noise, which needs no δ; infinite if anything is not."""
    parts: list[float] = []
    for leaf, count in leaves(event):
        if not (isinstance(leaf, dp_accounting.LaplaceDpEvent) and leaf.noise_multiplier > 0):
            return math.inf
        parts.append(count / leaf.noise_multiplier)
    return math.fsum(parts)


_CLASSES: dict[str, Any] = {
    "none": dp_accounting.NoOpDpEvent,
    "gaussian": dp_accounting.GaussianDpEvent,
    "laplace": dp_accounting.LaplaceDpEvent,
    "zcdp": dp_accounting.ZCDpEvent,
    "skellam": SkellamDpEvent,
    "poisson": dp_accounting.PoissonSampledDpEvent,
    "repeated": dp_accounting.SelfComposedDpEvent,
    "composed": dp_accounting.ComposedDpEvent,
    "truncated_poisson_gaussian": dp_accounting.TruncatedSubsampledGaussianDpEvent,
}
_FIELDS: dict[str, tuple[str, ...]] = {
    "none": (), "gaussian": ("noise_multiplier",), "laplace": ("noise_multiplier",), "zcdp": ("rho", "xi"), "skellam": ("l1", "l2", "variance"),
    "poisson": ("sampling_probability", "event"), "repeated": ("event", "count"), "composed": ("events",),
    "truncated_poisson_gaussian": ("dataset_size", "sampling_probability", "truncated_batch_size", "noise_multiplier"),
}


def event_to_dict(event: Any) -> dict[str, Any]:
    """Plain form of an event, for a ledger entry.

    Raises:
        Refused: for an event whose meaning could not be read back.
    """
    name = next((name for name, kind in _CLASSES.items() if type(event) is kind), None)
    if name is None:
        raise Refused(f"unknown event: refuse. {type(event).__name__} cannot be written to a ledger; plan with Gaussian or Skellam noise.")
    return {"type": name} | {field: _plain(getattr(event, field)) for field in _FIELDS[name]}


def _plain(value: Any) -> Any:
    if isinstance(value, dp_accounting.DpEvent):
        return event_to_dict(value)
    if isinstance(value, (list, tuple)):
        return [event_to_dict(part) for part in value]
    return value


def event_from_dict(data: dict[str, Any]) -> Any:
    """The event that `event_to_dict` described.

    Raises:
        Refused: for an event of a later version, or anything else that is not known.
    """
    name = data.get("type")
    if not isinstance(name, str) or set(data) != {"type", *_FIELDS.get(name, ("",))}:
        raise Refused(f"unknown event: refuse. The ledger names «{name}»; use the version of Tacit that wrote it.")
    return _CLASSES[name](**{field: _event_or_value(data[field]) for field in _FIELDS[name]})


def _event_or_value(value: Any) -> Any:
    if isinstance(value, dict):
        return event_from_dict(value)
    if isinstance(value, list):
        return [event_from_dict(part) for part in value]
    return value
