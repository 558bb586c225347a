"""What every key has asked: each request once, and no more records than its budget."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock

from tacit.errors import BudgetExceeded, Replayed

_REMEMBERED = 4_096


class Meter:
    """Counts in memory: after a restart everything is forgotten. See `tacit.encrypted.serving.KeptMeter` for one that remembers.

    >>> meter = Meter(budget=2)
    >>> meter.charge("a", number=1, rows=2)
    >>> meter.scored
    {'a': 2}

    Args:
        budget: records that each key may have scored; ``None`` for any number.
    """

    def __init__(self, budget: int | None = None) -> None:
        self.budget = budget
        self._seen: dict[str, set[int]] = {}
        self._scored: dict[str, int] = {}
        self._lock = Lock()

    @property
    def scored(self) -> Mapping[str, int]:
        """Records so far, by whoever pays for them."""
        return dict(self._scored)

    def payer(self, key: str) -> str:
        """Whose budget a key's records are taken from: its own."""
        return key

    def charge(self, key: str, *, number: int, rows: int) -> None:
        """Note a request and its records, or refuse; nothing is noted then.

        Raises:
            Replayed: it was noted before, or is older than the 4,096 newest of its key.
            BudgetExceeded: too few records are left.
        """
        payer = self.payer(key)
        with self._lock:
            seen = self._seen.setdefault(key, set())
            if number in seen or number <= self.floor(key) or (len(seen) >= _REMEMBERED and number < min(seen)):
                raise Replayed("The request was answered before, or is too old to tell. Encrypt again")
            used = self._scored.get(payer, 0)
            if self.budget is not None and used + rows > self.budget:
                raise BudgetExceeded(f"Expected at most {self.budget - used:,} more records of this key, got {rows:,}; ask the model's owner")
            self.keep(payer, key, number=max(number, *seen) if seen else number, records=used + rows)
            seen.add(number)
            if len(seen) > _REMEMBERED:
                seen.remove(min(seen))
            self._scored[payer] = used + rows

    def floor(self, key: str) -> int:
        """The newest request that was noted before this process began."""
        return -1

    def keep(self, payer: str, key: str, *, number: int, records: int) -> None:
        """Make durable what is about to be noted: the newest number of the key, all records of the payer."""
