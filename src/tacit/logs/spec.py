"""What to simulate: size, calendar and seed of one synthetic enterprise."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from tacit.errors import UsageError

_MONDAY = dt.date(2026, 1, 5)
_LIMITS = {
    "users": (20, 10_000_000, "accounts, people and services together"),
    "days": (1, 3_660, "calendar days"),
    "intrusions": (0, 1_000_000, "attack campaigns"),
    "seed": (0, 2**63 - 1, "a public number; the same one gives the same enterprise and the same events"),
}


def _check_integer(name: str, value: object, lower: int, upper: int, meaning: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not lower <= value <= upper:
        raise UsageError(f"Expected {lower} <= {name} <= {upper} ({meaning}), got {name}={value!r}; pass an integer in that range.")


@dataclass(frozen=True, kw_only=True)
class SimulationSpec:
    """Size and calendar of a simulated enterprise; public, and without a default seed.

    Attributes:
        users: Accounts, people and services together.
        days: Calendar days, weekends included.
        hosts: Machines: one workstation per account, the rest are servers; at least ``users + 12``.
        start: First day (UTC).
        events_per_user_day: Mean number of events per account and calendar day, before intrusions; the total comes within about 10 % of it.
        intrusions: Number of labelled attack campaigns, spread evenly over the five kinds.
        loudness: Mean intensity of the campaigns, from near 0 (patient, close to ordinary days) to near 1 (loud); single ones differ widely.
        seed: Public seed; the same spec always gives the same events.

    Raises:
        UsageError: if a value is outside its range.

    >>> SimulationSpec.small(seed=7).users
    160
    """

    users: int
    days: int
    hosts: int
    intrusions: int
    seed: int
    start: dt.date = _MONDAY
    events_per_user_day: float = 57.0
    loudness: float = 5 / 12

    def __post_init__(self) -> None:
        for name, (lower, upper, meaning) in _LIMITS.items():
            _check_integer(name, getattr(self, name), lower, upper, meaning)
        _check_integer("hosts", self.hosts, self.users + 12, 20_000_000, "one workstation per account and at least 12 servers")
        if isinstance(self.start, dt.datetime) or not isinstance(self.start, dt.date):
            raise UsageError(f"Expected start=datetime.date, got {type(self.start).__name__}; pass the first day without a time.")
        if not 10 <= self.events_per_user_day <= 100_000:
            raise UsageError(f"Expected 10 <= events_per_user_day={self.events_per_user_day} <= 100000; pass a mean number of events.")
        if not 0.05 <= self.loudness <= 0.95:
            raise UsageError(f"Expected 0.05 <= loudness={self.loudness} <= 0.95; it is the mean intensity of the campaigns.")

    @classmethod
    def pilot(cls, *, seed: int) -> SimulationSpec:
        """The default enterprise of a pilot: 4,000 accounts, six weeks, about 3.4 million events, mostly loud intrusions and a few patient ones."""
        return cls(users=4_000, days=42, hosts=4_600, intrusions=240, seed=seed, events_per_user_day=20.0, loudness=0.85)

    @classmethod
    def small(cls, *, seed: int) -> SimulationSpec:
        """A week of a small office, for tests: a few ten thousand events in well under a second."""
        return cls(users=160, days=7, hosts=200, intrusions=10, seed=seed, events_per_user_day=40.0)
