"""How bytes get from the coordinator to the sites and back."""

from __future__ import annotations

from tacit.federation.transports.base import Handler, Missing, Transport
from tacit.federation.transports.local import LocalTransport
from tacit.federation.transports.outbound import SiteOptions, serve
from tacit.federation.transports.websocket import WebSocketTransport

__all__ = ["Handler", "LocalTransport", "Missing", "SiteOptions", "Transport", "WebSocketTransport", "serve"]
