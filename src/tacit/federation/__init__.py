"""Many guards, one sum."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tacit.federation.faces import face

if TYPE_CHECKING:
    from tacit.federation.agent import SiteAgent
    from tacit.federation.groups import GroupedConversation, GroupedFederation, GroupReport
    from tacit.federation.journal import JournaledTransport
    from tacit.federation.local import LocalFederation
    from tacit.federation.masked import MaskedConversation, MaskedFederation, RoundReport
    from tacit.federation.roster import Roster
    from tacit.federation.table import Parties
else:
    __getattr__ = face(__name__, {
        "agent": ("SiteAgent",),
        "groups": ("GroupedConversation", "GroupedFederation", "GroupReport"),
        "journal": ("JournaledTransport",),
        "local": ("LocalFederation",),
        "masked": ("MaskedConversation", "MaskedFederation", "RoundReport"),
        "roster": ("Roster",),
        "table": ("Parties",),
    })

__all__ = [
    "GroupReport", "GroupedConversation", "GroupedFederation", "JournaledTransport", "LocalFederation", "MaskedConversation", "MaskedFederation",
    "Parties", "Roster", "RoundReport", "SiteAgent",
]
