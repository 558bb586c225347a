"""A hospital's, a bank's or a house's side of a federation: its folder, joining, and what it says to studies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tacit.federation.faces import face

if TYPE_CHECKING:
    from tacit.federation.site.admission import Admission, Decision, decide, decisions
    from tacit.federation.site.folder import SiteFolder
    from tacit.federation.site.joining import Joining, Membership
    from tacit.federation.site.serving import Told, agent_of
else:
    __getattr__ = face(__name__, {
        "admission": ("Admission", "Decision", "decide", "decisions"),
        "folder": ("SiteFolder",),
        "joining": ("Joining", "Membership"),
        "serving": ("Told", "agent_of"),
    })

__all__ = ["Admission", "Decision", "Joining", "Membership", "SiteFolder", "Told", "agent_of", "decide", "decisions"]
