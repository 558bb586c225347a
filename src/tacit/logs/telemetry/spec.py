"""How much telemetry: an enterprise, and how many of its events."""

from __future__ import annotations

from dataclasses import dataclass

from tacit.errors import UsageError
from tacit.logs.spec import SimulationSpec


@dataclass(frozen=True)
class TelemetrySpec:
    """An enterprise and how many of its events are told; public, like everything in it.

    Attributes:
        simulation: The enterprise, its calendar and its seed.
        events: At most so many events, from the first on.

    Raises:
        UsageError: if ``events`` is not a positive integer.

    >>> TelemetrySpec.thousand(seed=1).events
    1000
    """

    simulation: SimulationSpec
    events: int

    def __post_init__(self) -> None:
        if isinstance(self.events, bool) or not isinstance(self.events, int) or self.events < 1:
            raise UsageError(f"Expected events={self.events!r} >= 1; pass how many events are to be told at most.")

    @classmethod
    def thousand(cls, *, seed: int) -> TelemetrySpec:
        """A thousand events of 40 accounts, for tests."""
        return cls(SimulationSpec(users=40, days=1, hosts=60, intrusions=5, seed=seed, events_per_user_day=40.0), 1_000)

    @classmethod
    def million(cls, *, seed: int) -> TelemetrySpec:
        """A million events of a working day of 20,000 accounts and 30,000 machines, about 570 bytes each as JSON lines."""
        return cls(SimulationSpec(users=20_000, days=1, hosts=30_000, intrusions=20, seed=seed, events_per_user_day=38.0), 1_000_000)
