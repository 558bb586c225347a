"""The side that asks: invitations, the desk where sites join, and studies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tacit.federation.faces import face

if TYPE_CHECKING:
    from tacit.federation.coordinator.desk import Desk
    from tacit.federation.coordinator.folder import CoordinatorFolder, name_from
    from tacit.federation.coordinator.gathering import Gathering
    from tacit.federation.coordinator.listening import DeskServer
    from tacit.federation.coordinator.running import StudyReport, run_study
else:
    __getattr__ = face(__name__, {
        "desk": ("Desk",),
        "folder": ("CoordinatorFolder", "name_from"),
        "gathering": ("Gathering",),
        "listening": ("DeskServer",),
        "running": ("StudyReport", "run_study"),
    })

__all__ = ["CoordinatorFolder", "Desk", "DeskServer", "Gathering", "StudyReport", "name_from", "run_study"]
