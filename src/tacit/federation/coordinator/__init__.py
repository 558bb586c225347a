"""The side that asks: invitations, the desk where sites join, and studies."""

from __future__ import annotations

from tacit.federation.coordinator.desk import Desk
from tacit.federation.coordinator.folder import CoordinatorFolder
from tacit.federation.coordinator.listening import DeskServer

__all__ = ["CoordinatorFolder", "Desk", "DeskServer"]
