"""What an outlet is: somewhere that holds treated events durably once it has said so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from tacit.errors import StorageError


class OutletError(StorageError):
    """An outlet could not take a batch now; it is tried again. The message holds nothing of the batch."""


class Outlet(Protocol):
    """Where treated events go."""

    name: str

    def deliver(self, texts: list[str]) -> Sequence[tuple[int, str]] | None:
        """Take JSON texts of events, and return when they are durable.

        Returns:
            Places of events that the outlet will never take, with a reason in public words; nothing or ``None`` if it took all.

        Raises:
            OutletError: it may work later; everything is delivered again, so an outlet may get an event twice.
        """

    def close(self) -> None:
        """Let go of files and connections."""


def divided(texts: list[str], deliver: Callable[[list[str]], list[tuple[int, str]]], *, reason: str) -> list[tuple[int, str]]:
    """What to do with a batch that a server refuses as a whole: each half by itself, until single events are left.

    >>> def deliver(texts):
    ...     return divided(texts, deliver, reason="wrong") if "bad" in texts else []
    >>> deliver(["a", "bad", "c"])
    [(1, 'wrong')]
    """
    if len(texts) == 1:
        return [(0, reason)]
    middle = len(texts) // 2
    return [*deliver(texts[:middle]), *((middle + place, why) for place, why in deliver(texts[middle:]))]
