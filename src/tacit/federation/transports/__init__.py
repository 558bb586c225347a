"""How bytes get from the coordinator to the sites and back."""

from __future__ import annotations

from tacit.federation.transports.base import Handler, Missing, Transport
from tacit.federation.transports.local import LocalTransport

__all__ = ["Handler", "LocalTransport", "Missing", "Transport"]
