"""HTTP as every room with an endpoint uses it: TLS, tokens, bounded bodies, and no log of what is asked."""

from __future__ import annotations

from tacit.web.bodies import LARGE, Bodies, BodyError, Held, unpacked
from tacit.web.server import WebServer, bound
from tacit.web.tls import context_for
from tacit.web.tokens import Tokens, read_private

__all__ = ["LARGE", "Bodies", "BodyError", "Held", "Tokens", "WebServer", "bound", "context_for", "read_private", "unpacked"]
