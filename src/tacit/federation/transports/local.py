"""Sites in the same process: for tests, notebooks and simulations."""

from __future__ import annotations

from collections.abc import Mapping

from tacit.federation.transports.base import Handler, Missing


class LocalTransport:
    """Calls handlers one after the other. ``timeout`` is not enforced: a handler that hangs, hangs the caller.

    Args:
        handlers: one per site, by name.
    """

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._handlers = dict(handlers)

    @property
    def sites(self) -> tuple[str, ...]:
        """The names of the sites."""
        return tuple(sorted(self._handlers))

    def call(self, stage: str, messages: Mapping[str, bytes], *, timeout: float) -> dict[str, bytes | Missing]:
        """See `Transport`."""
        return {site: self._one(site, stage, message) for site, message in messages.items()}

    def _one(self, site: str, stage: str, message: bytes) -> bytes | Missing:
        handler = self._handlers.get(site)
        return Missing("unreachable") if handler is None else handler.handle(stage, message)

    def close(self) -> None:
        """Nothing to end."""
