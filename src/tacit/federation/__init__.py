"""Many guards, one sum."""

from __future__ import annotations

from tacit.federation.agent import SiteAgent
from tacit.federation.groups import GroupedConversation, GroupedFederation, GroupReport
from tacit.federation.journal import JournaledTransport
from tacit.federation.local import LocalFederation
from tacit.federation.masked import MaskedConversation, MaskedFederation, RoundReport
from tacit.federation.roster import Roster
from tacit.federation.table import Parties

__all__ = [
    "GroupReport", "GroupedConversation", "GroupedFederation", "JournaledTransport", "LocalFederation", "MaskedConversation", "MaskedFederation",
    "Parties", "Roster", "RoundReport", "SiteAgent",
]
