"""Masked rounds: many sites' vectors in, their sum out, and nothing else. Pure state machines: bytes in, bytes out."""

from __future__ import annotations

from tacit.federation.rounds.coordinator import CoordinatorRound
from tacit.federation.rounds.masks import BITS
from tacit.federation.rounds.site import SiteRound
from tacit.federation.rounds.wire import Address, Stage, address_of

__all__ = ["BITS", "Address", "CoordinatorRound", "SiteRound", "Stage", "address_of"]
