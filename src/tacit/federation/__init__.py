"""Many guards, one sum."""

from __future__ import annotations

from tacit.federation.local import LocalFederation
from tacit.federation.roster import Roster
from tacit.federation.table import Parties

__all__ = ["LocalFederation", "Parties", "Roster"]
